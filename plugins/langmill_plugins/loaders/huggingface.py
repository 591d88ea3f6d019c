"""Data sets of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from langmill.api import Context, Field, MissingInput, Reject, Row, Seen, SourceContext, missing_package

from .fields import Fields
from .records import Entry, FileLoader


class HuggingFace(Fields, FileLoader):
    """Reads Parquet files of a data set on the Hugging Face hub, at one commit; options say which column holds what.

    Only Parquet is read and no code of the data set is run. ``revision`` is a whole commit id, so that the same recipe reads
    the same rows next year. A set that asks for a login takes it from HF_TOKEN. Without a network: download the files and
    use the loader ``parquet``.
    """

    path: str = Field(pattern=r"^\w[\w.-]*/\w[\w.-]*$", description="OWNER/NAME of the data set")
    revision: str = Field(pattern=r"^[0-9a-f]{40}$", description="the commit, 40 hexadecimal digits")
    data_files: str = Field(
        "**/*.parquet",
        pattern=r"^([\w*-][\w.*-]*/)*[\w*-][\w.*-]*\.parquet$",
        description="Parquet files inside the data set, a glob",
    )

    def files(self, context: Context) -> list[Path]:
        """None on this machine: repository, revision and data_files are the source's identity."""
        return []

    def load(self, context: SourceContext) -> Iterator[Row | Reject]:
        """Streams the records. Raises MissingInput offline, or when the hub does not give the files."""
        if context.offline:
            raise MissingInput(
                f"{context.place}: '{self.path}' lies on the Hugging Face hub and this run is offline: "
                "download its Parquet files and read them with use: parquet"
            )
        yield from self.rows_of(self.entries(Path(self.path), context), Seen(), context)

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """One a record, named by its number from 1 unless it has an id."""
        try:
            import datasets
        except ImportError:
            raise missing_package("the loader huggingface", "datasets", "data") from None
        where = f"{self.path}@{self.revision[:12]}"
        pattern = f"hf://datasets/{self.path}@{self.revision}/{self.data_files}"
        try:
            records = datasets.load_dataset("parquet", data_files=pattern, split="train", streaming=True)
            for number, value in enumerate(records, start=1):
                yield self.entry(dict(value), f"{self.path.split('/')[1]}-{number}", f"{where}:{number}", None)
        except (
            Exception
        ) as error:  # hub, network and Arrow each have their own classes; none is a fault of the recipe's row
            reason = str(error).strip().splitlines() or [""]
            raise MissingInput(
                f"{context.place}: '{where}' could not be read: {type(error).__name__}: {reason[0][:300]}. "
                "Check the name, the revision and the network, or read a downloaded copy with use: parquet"
            ) from error

    def row(self, entry: Entry, context: SourceContext) -> Row:
        """The row the fields tell."""
        return self.made(entry, context)
