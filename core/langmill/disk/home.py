"""Where the factory keeps what outlives a run: the ledger and the packaged models."""

from __future__ import annotations

import os
from pathlib import Path

from langmill.errors import FactoryError


def home() -> Path:
    """LANGMILL_HOME, else the user's data folder; made on first use, readable by its owner alone.

    Answers and prices lie here, so a new folder gets mode 0700; the mode of one that exists is its owner's affair.
    """
    named = os.environ.get("LANGMILL_HOME")
    if named:
        folder = Path(named).expanduser().absolute()
    else:
        import platformdirs

        folder = platformdirs.user_data_path("langmill", appauthor=False)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as fault:
        raise FactoryError(
            f"the folder {folder} can not be made ({fault.strerror}): name another one with LANGMILL_HOME=/a/folder"
        ) from fault
    return folder
