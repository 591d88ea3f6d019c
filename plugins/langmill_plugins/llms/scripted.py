"""A model that says what a file tells it to: for tests and rehearsals, where an answer must be known."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import PrivateAttr, ValidationError

from langmill.api import LLM, Answer, Context, Field, Message, MissingInput, Part, Price, RecipeError


class NotScripted(AssertionError):
    """The script has no answer: a test asked for more than it told."""


class Line(Part):
    """One line of a script."""

    match: str | tuple[str, ...]
    answer: str | dict[str, Any]


class Scripted(LLM):
    """Answers from a script: JSON Lines of {"match": text or list of texts that the messages hold, "answer": text or JSON}.
    The first line that matches answers; no match fails the run loudly."""

    answers: str = Field(description="the script, a file beside the recipe")

    _script: list[tuple[tuple[str, ...], str]] = PrivateAttr(default_factory=list)

    def identity(self) -> dict[str, object]:
        """The script's name stands for its content."""
        return {**super().identity(), "answers": self.answers}

    def price(self) -> Price:
        """Nothing."""
        return Price(0.0, 0.0)

    def missing(self, context: Context) -> Iterator[str]:
        """The script."""
        path: Path = context.path(self.answers)
        if not path.is_file():
            yield f"{context.place}.answers: no script at '{self.answers}' ({path})"

    async def start(self, context: Context) -> None:
        """Read the script. Raises MissingInput when it is not there, RecipeError with every bad line."""
        for line in self.missing(context):
            raise MissingInput(line)
        path: Path = context.path(self.answers)
        faults = []
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            try:
                said = Line.model_validate_json(line)
            except ValidationError as error:
                faults += [f"{path}:{number}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
                continue
            answer = said.answer if isinstance(said.answer, str) else json.dumps(said.answer, ensure_ascii=False)
            self._script.append(((said.match,) if isinstance(said.match, str) else said.match, answer))
        if faults:
            raise RecipeError("\n".join(faults))

    async def answer(
        self, messages: Sequence[Message], *, seed: int, schema: Mapping[str, Any] | None = None
    ) -> Answer:
        """The scripted answer."""
        text = "\n".join(message.content for message in messages)
        for match, answer in self._script:
            if all(part in text for part in match):
                return Answer(answer, prompt_tokens=len(text) // 4, answer_tokens=len(answer) // 4)
        raise NotScripted(f"{self.model}: the script has no answer for: {text[-300:]}")
