"""Files and folders that appear whole or not at all: a temporary name beside the place, to the disk, then a rename.

Temporary names end in .tmp and begin with a dot; a run sweeps away what a killed one left of them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from langmill.errors import FactoryError


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` on a temporary file, sync it, then rename: readers see the old file or the new one.

    Raises FactoryError when the disk refuses (full, read-only); nothing half written stays.
    """
    work = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(work)
        _to_disk(work)
        work.replace(path)
    except Exception as error:
        work.unlink(missing_ok=True)
        if why := _refusal(error):
            raise _refused(path, why) from error
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file whole, UTF-8."""
    write_whole(path, lambda work: work.write_bytes(text.encode("utf-8")))


def write_json(path: Path, facts: Mapping[str, Any]) -> None:
    """Write a JSON file whole."""
    write_text(path, json.dumps(facts, ensure_ascii=False, indent=1) + "\n")


@contextmanager
def whole_folder(final: Path) -> Iterator[Path]:
    """A folder to fill, which then takes the place of ``final``. Raises FactoryError when the disk refuses; then the older
    folder stays as it was. What killed processes left of the same folder goes first."""
    work, old = _beside(final), _beside(final.with_name(f"{final.name}.old"))
    try:
        _sweep(final)
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        yield work
        for path in sorted(work.rglob("*"), reverse=True):
            _to_disk(path)
        if final.exists():  # a rename does not replace a folder that holds something
            final.replace(old)
        work.replace(final)
        _to_disk(final.parent)
    except Exception as error:
        if why := _refusal(error):
            raise _refused(final, why) from error
        raise
    finally:
        if old.exists() and not final.exists():
            old.replace(final)
        for left in (work, old):
            shutil.rmtree(left, ignore_errors=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _sweep(final: Path) -> None:
    """Delete what processes that are gone have left beside a folder; one that was killed while it put a new folder in the place
    of an older one leaves the older one under another name, and that goes back."""
    left = re.compile(rf"\.{re.escape(final.name)}\.(old\.)?(\d+)\.tmp")
    for stray in list(final.parent.iterdir()) if final.parent.is_dir() else ():
        found = left.fullmatch(stray.name)
        if not found or _runs(int(found[2])):
            continue
        if found[1] and not final.exists():
            with suppress(FileNotFoundError):  # another process was quicker
                stray.replace(final)
        else:
            shutil.rmtree(stray, ignore_errors=True)


def _runs(pid: int) -> bool:
    """Whether there is such a process on this machine."""
    try:
        os.kill(pid, 0)  # signal 0 does nothing but ask
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # somebody else's process; no number of one
        return True
    return True


def _refusal(error: Exception) -> str | None:
    """In words why the disk refused; None for any other error. safetensors and tokenizers, which are written in Rust, raise classes
    of their own for that, and all they have in common is how the system's number stands in the words."""
    if isinstance(error, FactoryError):
        return None
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error) if re.search(r"\(os error \d+\)", str(error)) else None


def _refused(path: Path, why: str) -> FactoryError:
    return FactoryError(
        f"can not write {path}: {why}. What was written before is whole: "
        "make room or choose another folder with --out, then run the same command again"
    )


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
