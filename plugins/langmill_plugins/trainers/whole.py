"""Folders and files that appear whole or not at all: a temporary name beside the place, to the disk, then a rename."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from langmill.api import FactoryError


@contextmanager
def whole_folder(final: Path) -> Iterator[Path]:
    """A folder to fill, which then takes the place of ``final``. Raises FactoryError when the disk will not have it."""
    work = final.parent / f".{final.name}.{os.getpid()}.tmp"
    try:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        yield work
        for path in sorted(work.rglob("*"), reverse=True):
            _to_disk(path)
        _to_disk(work)
        if final.exists():  # a rename does not replace a folder that holds something
            old = final.parent / f".{final.name}.{os.getpid()}.old.tmp"
            os.replace(final, old)
            os.replace(work, final)
            shutil.rmtree(old)
        else:
            os.replace(work, final)
        _to_disk(final.parent)
    except OSError as error:
        raise FactoryError(
            f"can not write {final}: {error.strerror or error}. What was there before is untouched: make room, then run again"
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def write_json(path: Path, facts: Mapping[str, Any]) -> None:
    """A JSON file, whole. Raises FactoryError when the disk will not have it."""
    work = path.parent / f".{path.name}.{os.getpid()}.tmp"
    try:
        work.write_text(json.dumps(facts, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        _to_disk(work)
        os.replace(work, path)
        _to_disk(path.parent)
    except OSError as error:
        work.unlink(missing_ok=True)
        raise FactoryError(f"can not write {path}: {error.strerror or error}. Make room, then run again") from error


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
