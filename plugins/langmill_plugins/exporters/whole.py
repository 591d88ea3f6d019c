"""A folder of JSON Lines files that appears whole: written beside its place, synced, then swapped in."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from langmill.api import FactoryError


def write_folder(target: Path, lines: Iterable[tuple[str, Mapping[str, Any]]]) -> Path:
    """Write each line to its file (a path below ``target``) and put the folder in the place of an older one.

    One file is open at a time, so lines come grouped by file. Raises FactoryError when the disk refuses; then the older
    folder stays as it was.
    """
    fresh = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    old = target.with_name(f".{target.name}.old.{os.getpid()}.tmp")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        _write(fresh, lines)
        if target.exists():
            target.replace(old)
        fresh.replace(target)
    except OSError as error:
        raise FactoryError(
            f"can not write {target}: {error.strerror or error}. Make room, then run the same command again"
        ) from error
    finally:
        if old.exists() and not target.exists():
            old.replace(target)
        for left in (fresh, old):
            shutil.rmtree(left, ignore_errors=True)
    return target


def _write(folder: Path, lines: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    with ExitStack() as stack:
        name, handle = "", None
        for file, line in lines:
            if handle is None or file != name:
                if handle is not None:
                    _sync(handle)
                stack.close()
                path = folder / file
                path.parent.mkdir(parents=True, exist_ok=True)
                name, handle = file, stack.enter_context(path.open("a", encoding="utf-8", newline="\n"))
            handle.write(json.dumps(line, ensure_ascii=False) + "\n")
        if handle is not None:
            _sync(handle)


def _sync(handle: TextIO) -> None:
    handle.flush()
    os.fsync(handle.fileno())
