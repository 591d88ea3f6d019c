"""PDF files as their pages, read by a process of its own (``pdf_child``): what ends or stalls it costs a page, not the run."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from threading import Timer
from typing import Any, NamedTuple

from langmill.api import RowFault, missing_package

CHILD = Path(__file__).with_name("pdf_child.py")
PATIENCE, READING = 30.0, 180.0  # seconds for a page's text, and for reading a picture of one
ENDS = 3  # pages of one file that end the process, after which the file is left alone


class Page(NamedTuple):
    """A page's text, and whether there is a picture beside little text."""

    text: str
    shows: bool


class Pages:
    """One file after another; close it. The process starts with the first. Raises MissingInput without the package."""

    def __init__(self) -> None:
        if find_spec("pypdfium2") is None:
            raise missing_package("reading PDF", "pypdfium2", "corpus")
        self._child: subprocess.Popen[str] | None = None
        self._path, self._ended = "", 0

    def open(self, path: Path) -> int:
        """How many pages a file has. Raises RowFault encrypted, broken_pdf, too_slow or crashed."""
        self._path, self._ended = str(path.resolve()), 0
        return int(self._asked(PATIENCE, "open", self._path)["pages"])

    def text(self, number: int) -> Page:
        """A page's text. Raises RowFault broken_pdf, too_slow or crashed: of this page."""
        reply = self._of_page(PATIENCE, "text", number)
        return Page(reply["text"], reply["shows"])

    def read(self, number: int, folder: Path, languages: str) -> str:
        """A page's text as Tesseract sees it. Raises RowFault as :meth:`text`."""
        return str(self._of_page(READING, "read", number, str(folder), languages)["text"])

    def close(self) -> None:
        """End the process; the next file starts another."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def _of_page(self, patience: float, *request: Any) -> dict[str, Any]:
        if self._ended >= ENDS:
            raise RowFault("broken_pdf", f"not read: {ENDS} pages of this file ended the reading process")
        if self._child is None:
            self._asked(PATIENCE, "open", self._path)
        return self._asked(patience, *request)

    def _asked(self, patience: float, *request: Any) -> dict[str, Any]:
        """The reply to a request; a process that ends, or takes too long, is gone for the next one."""
        if self._child is None:
            self._child = subprocess.Popen(
                # -P: modules beside the script have names of the standard library's.
                [sys.executable, "-P", str(CHILD)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
            )
        child = self._child
        assert child.stdin is not None and child.stdout is not None
        late = Timer(patience, child.kill)
        late.daemon = True
        late.start()
        try:
            child.stdin.write(json.dumps(request) + "\n")
            child.stdin.flush()
            line = child.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            slow = not late.is_alive()
            late.cancel()
        if not line:
            self.close()
            self._ended += 1
            if slow:
                raise RowFault("too_slow", f"took more than {patience:g} seconds")
            raise RowFault("crashed", f"ended the process that reads PDF (exit {child.returncode})")
        reply: dict[str, Any] = json.loads(line)
        if "fault" in reply:
            raise RowFault(*reply["fault"])
        return reply
