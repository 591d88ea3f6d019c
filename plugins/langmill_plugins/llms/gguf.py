"""A GGUF file of one's own, served on loopback."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any, ClassVar

from langmill.api import Context, Field, MissingInput
from langmill_plugins.llms.served import Served

NO_THOUGHTS = {"chat_template_kwargs": {"enable_thinking": False}}  # as weights of this process are asked


class Gguf(Served):
    """Runs a GGUF file (gguf/models/tiny.gguf, a path beside the recipe or an absolute one) on this machine's CPU, in the chat
    template of the file. It writes answers; log-probabilities are to be had of the same model as safetensors (hf/FOLDER)."""

    model: str = Field(pattern=r"^gguf/.+", description="gguf/FILE, the file beside the recipe or with its whole path")
    temperature: float = Field(0.0, ge=0, le=2, description="0: the likeliest token")
    context: int = Field(4096, ge=16, description="tokens of prompt and answer together; an answer has half at most")

    sampling: ClassVar[Mapping[str, Any]] = NO_THOUGHTS

    def identity(self) -> dict[str, object]:
        """Of a whole path the last part counts: the machine's folders are nobody's business."""
        path = PurePath(self.model.removeprefix("gguf/"))
        said = f"gguf/{path.name if path.is_absolute() else path}"
        return {**super().identity(), "model": said, "context": self.context, **NO_THOUGHTS}

    def missing(self, context: Context) -> Iterator[str]:
        """What serves it, and the file."""
        yield from super().missing(context)
        try:
            self.file(context)
        except MissingInput as fault:
            yield str(fault)

    def deciding(self, context: Context) -> Mapping[str, Any]:
        """The file counts by its content."""
        file = self.file(context)
        facts = file.stat()
        return {**self.identity(), "sha256": _sha256(file, facts.st_size, facts.st_mtime_ns)}

    def file(self, context: Context) -> Path:
        """Raises MissingInput where it is not there, or is none."""
        file = context.path(self.model.removeprefix("gguf/"))
        if not file.is_file():
            raise MissingInput(
                f"{self.model}: there is no file {file}. A stage becomes one by: factory export RUN STAGE --as gguf"
            )
        with file.open("rb") as head:
            if head.read(4) != b"GGUF":
                raise MissingInput(
                    f"{self.model}: {file} is no GGUF file. A folder of safetensors is asked as hf/FOLDER"
                )
        return file

    def window(self) -> int:
        """As the recipe says."""
        return self.context


@lru_cache
def _sha256(file: Path, size: int, changed: int) -> str:
    """Of a file as it was when it had this size and this time."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
