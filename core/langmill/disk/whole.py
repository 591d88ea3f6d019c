"""Files and folders that appear whole or not at all: a temporary name beside the place, to the disk, then a rename.

Temporary names end in .tmp and begin with a dot; a run sweeps away what a killed one left of them.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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
    except OSError as error:
        work.unlink(missing_ok=True)
        raise _refused(path, error) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file whole, UTF-8."""
    write_whole(path, lambda work: work.write_bytes(text.encode("utf-8")))


def write_json(path: Path, facts: Mapping[str, Any]) -> None:
    """Write a JSON file whole."""
    write_text(path, json.dumps(facts, ensure_ascii=False, indent=1) + "\n")


@contextmanager
def whole_folder(final: Path) -> Iterator[Path]:
    """A folder to fill, which then takes the place of ``final``. Raises FactoryError when the disk refuses; then the older
    folder stays as it was."""
    work, old = _beside(final), _beside(final.with_name(f"{final.name}.old"))
    try:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        yield work
        for path in sorted(work.rglob("*"), reverse=True):
            _to_disk(path)
        if final.exists():  # a rename does not replace a folder that holds something
            final.replace(old)
        work.replace(final)
        _to_disk(final.parent)
    except OSError as error:
        raise _refused(final, error) from error
    finally:
        if old.exists() and not final.exists():
            old.replace(final)
        for left in (work, old):
            shutil.rmtree(left, ignore_errors=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _refused(path: Path, error: OSError) -> FactoryError:
    return FactoryError(
        f"can not write {path}: {error.strerror or error}. What was written before is whole: "
        "make room or choose another folder with --out, then run the same command again"
    )


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
