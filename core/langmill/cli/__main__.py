"""python -m langmill.cli, the same as the command factory."""

from langmill.cli import main

main()
