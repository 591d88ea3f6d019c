#!/usr/bin/env python3
"""How much CPU the command takes to start: `factory --help` and `factory check`, beside an empty Python.

    .venv/bin/python scripts/bench_start.py [--quick] [--json FILE]

Medians of five, taken in turn, of the CPU of the whole process. The exit code is 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from bench.section import ROOT, Section, environment, finish, work_folder

FACTORY = str(Path(sys.executable).with_name("factory"))
COMMANDS = {
    "python -c pass": (sys.executable, "-c", "pass"),
    'python -c "import typer"': (sys.executable, "-c", "import typer"),
    "factory --help": (FACTORY, "--help"),
    "factory check mmed_ift": (FACTORY, "check", str(ROOT / "recipes/mmed_ift.yaml")),
}
HELP_BEYOND_TYPER = 0.150  # seconds of CPU
CHECK = 1.0


def cpu(command: tuple[str, ...], home: Path) -> float:
    """Seconds of CPU of a command. Raises RuntimeError when it fails."""
    process = subprocess.Popen(
        command, env=environment(LANGMILL_HOME=str(home)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    words = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{words[-2000:]}")
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    """Measure; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the same: it takes seconds")
    parser.add_argument("--json", type=Path, help="the figures, into a file")
    options = parser.parse_args()
    section = Section("start")
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with work_folder() as home:
        for turn in range(6):
            for name, command in COMMANDS.items():
                seconds = cpu(command, home)
                if turn:  # the first turn fills caches of bytecode and files
                    taken[name].append(seconds)
    middle = {name: median(times) for name, times in taken.items()}
    empty, typer, help_, check = middle.values()
    section.figures = {"cpu_seconds": middle, "ratios": {name: seconds / empty for name, seconds in middle.items()}}
    rows = [(name, seconds, seconds / empty, seconds / typer) for name, seconds in middle.items()]
    section.table(("command", "CPU seconds", "of python -c pass", "of import typer"), rows)
    section.goal("factory --help, CPU seconds beyond import typer", help_ - typer, "<=", HELP_BEYOND_TYPER)
    section.goal("factory check, CPU seconds", check, "<=", CHECK)
    section.tell()
    return finish([section], options.quick, options.json)


if __name__ == "__main__":
    sys.exit(main())
