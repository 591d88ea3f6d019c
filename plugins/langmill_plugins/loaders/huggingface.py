"""Data sets of the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from langmill.api import Context, Field, MissingInput, Reject, Row, Seen, SourceContext, missing_package

from .fields import Fields
from .formats.columnar import parquet_records
from .keys import Keys
from .layout import Layout
from .records import Entry, FileLoader, split_told

if TYPE_CHECKING:
    from huggingface_hub import HfFileSystem

AT_ONCE = 8 << 20  # bytes of a column asked for at once: each is a request


class HuggingFace(Fields, FileLoader):
    """Reads Parquet files of a data set on the Hugging Face hub, at one commit; options say which column holds what.

    Only Parquet is read and no code of the data set is run. ``revision`` is a whole commit id, so that the same recipe reads
    the same rows next year; ``git ls-remote https://huggingface.co/datasets/OWNER/NAME`` tells it. A file's name tells the
    split (``doctor/test-00000-of-00001.parquet``). A set that asks for a login takes it from HF_TOKEN. Without a network:
    download the files and use the loader ``table``. Which fields the known sets have: recipes/hub.md.
    """

    path: str = Field(pattern=r"^\w[\w.-]*/\w[\w.-]*$", description="OWNER/NAME of the data set")
    revision: str = Field(pattern=r"^[0-9a-f]{40}$", description="the commit, 40 hexadecimal digits")
    data_files: str = Field(
        "**/*.parquet",
        pattern=r"^([\w*\[-][\w.*\[\]-]*/)*[\w*\[-][\w.*\[\]-]*\.parquet$",
        description="Parquet files inside the data set, a glob; */[td]*.parquet leaves out fewshot-00000-of-00001.parquet",
    )

    def files(self, context: Context) -> list[Path]:
        """None on this machine: repository, revision and data_files are the source's identity."""
        return []

    def load(self, context: SourceContext) -> Iterator[Row | Reject]:
        """Streams the records. Raises MissingInput offline, or when the hub does not give the files."""
        if context.offline:
            raise MissingInput(
                f"{context.place}: '{self.path}' lies on the Hugging Face hub and this run is offline: "
                "download its Parquet files and read them with use: table"
            )
        files = self._listed(context)
        seen, layout = Seen(), Layout(context.place, self.needs(), self.named(), several=len(files) > 1)
        keys = self._keys = Keys()
        for path in files:
            place = f"{self.path}/{path}@{self.revision[:12]}"
            yield from self.rows_of(layout.checked(self.entries(path, context), place), seen, context)
        layout.done()
        keys.done(context.place)

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """One a record of a file, named by file and number from 1 unless it has an id."""
        name, split = ".".join((*path.parent.parts, path.stem)), split_told((*path.parent.parts, path.stem))
        with self._asking(context) as hub, hub.open(f"{self._root}/{path}", "rb", cache_type="none") as file:
            for number, value in parquet_records(file, self.columns_of, AT_ONCE):
                yield self.entry(value, f"{name}-{number}", f"{path}:{number}", split)

    def row(self, entry: Entry, context: SourceContext) -> Row:
        """The row the fields tell."""
        return self.made(entry, context)

    @property
    def _root(self) -> str:
        return f"datasets/{self.path}@{self.revision}"

    def _listed(self, context: SourceContext) -> list[Path]:
        """The files inside the data set. Raises MissingInput when there are none."""
        with self._asking(context) as hub:
            steps = [*takewhile(lambda step: not set(step) & set("*["), self.data_files.split("/")[:-1])]
            listed = [str(name) for name in hub.find("/".join((self._root, *steps)))]
        files = [name.removeprefix(f"{self._root}/") for name in listed]
        found = [Path(name) for name in sorted(files) if _fits(name, self.data_files)]
        if not found:
            shown = ", ".join(files[:10]) or "nothing"
            raise MissingInput(
                f"{context.place}.data_files: no file of '{self.path}@{self.revision[:12]}' is '{self.data_files}'; there: {shown}. "
                "Sets in other formats: download them and use: table, or take the commit of refs/convert/parquet (recipes/hub.md)"
            )
        return found

    @contextmanager
    def _asking(self, context: SourceContext) -> Iterator[HfFileSystem]:
        """The hub's client; whatever it raises becomes a MissingInput."""
        try:
            from huggingface_hub import HfFileSystem
        except ImportError:
            raise missing_package("the loader huggingface", "huggingface_hub", "data") from None
        try:
            yield HfFileSystem()
        except MissingInput:
            raise
        # hub, network and Arrow each have their own classes; none is a fault of the recipe's row
        except Exception as error:
            reason = str(error).strip().splitlines() or [""]
            raise MissingInput(
                f"{context.place}: '{self.path}@{self.revision[:12]}' could not be read: {type(error).__name__}: {reason[0][:300]}. "
                "Check the name, the revision and the network, or read a downloaded copy with use: table"
            ) from error


def _fits(name: str, pattern: str) -> bool:
    """Whether a path is what a glob says; ``**/`` stands for any folders, or none."""
    text = "".join(
        {"**/": "(?:.*/)?", "*": "[^/]*"}.get(step, step if step[0] == "[" else re.escape(step))
        for step in re.findall(r"\*\*/|\*|\[[^]]+\]|.", pattern)
    )
    return re.fullmatch(text, name) is not None
