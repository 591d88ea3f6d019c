"""What tests of guarded augmenters share: a model that says what a script has, rows for it, what comes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from langmill.api import (
    Augmenter,
    Body,
    Chat,
    Drop,
    Mark,
    Origin,
    Prompt,
    Reply,
    Row,
    RowFault,
    Skip,
    StepContext,
    packs_in,
)
from langmill.pipeline.again import made_of

Schema = TypeVar("Schema", bound=BaseModel)
PACKS = {pack.code: pack for pack in packs_in("langmill_languages")}

QUESTION = "How much paracetamol may an adult take in one day?"
ANSWER = "An adult may take no more than 4 g of paracetamol in 24 hours."
FRENCH = {
    "question": "Quelle quantité de paracétamol un adulte peut-il prendre par jour ?",
    "answer": "Un adulte peut prendre au plus 4 g de paracétamol en 24 heures.",
}
WRONG = FRENCH | {"answer": "Un adulte peut prendre au plus 40 g de paracétamol en 24 heures."}
SOUND = {"reason": "", "faithful": 5, "complete": 5, "safe": 5}


@dataclass
class Model:
    """Says what a step's list has for the call's sample, and the last of it beyond; texts in the list are reasons to fail,
    functions are called with the prompt."""

    answers: Mapping[str, Sequence[Any]]
    languages: frozenset[str] | None = None
    name: str = "scripted/test"
    asked: list[str] = field(default_factory=list)
    prompts: list[Prompt] = field(default_factory=list)

    async def answer(
        self, prompt: Prompt, schema: type[Schema], *, step: str, language: str, seed: int, sample: int = 0
    ) -> Reply[Schema]:
        self.asked.append(f"{step}#{sample}" if sample else step)
        self.prompts.append(prompt)
        said = self.answers[step][min(sample, len(self.answers[step]) - 1)]
        said = said(prompt) if callable(said) else said
        if isinstance(said, str):
            raise RowFault(said)
        try:
            value = schema.model_validate(said)
        except ValidationError as fault:
            raise RowFault("schema", str(fault)) from None
        return Reply(value, (Mark(step, self.name, prompt.hash, f"{step}-{sample}-{len(prompt.messages)}"),))


def row(body: Body, language: str = "en") -> Row:
    """A row of that body."""
    return Row("s/1", language, "train", "f", body, Origin("s", "1", ("CC0-1.0",)))


def run(part: Augmenter, item: Row, model: Model, **more: Any) -> Sequence[Row | Drop | Skip]:
    """What comes of a row; ``more`` of the context."""
    context = StepContext("datasets.x.steps[0]", 17, PACKS, Path(), llm=model, **more)
    return asyncio.run(made_of(part, item, context))


def one(part: Augmenter, item: Row, model: Model, **more: Any) -> Row | Drop | Skip:
    """The one thing that comes of a row."""
    [made] = run(part, item, model, **more)
    return made


PARACETAMOL = row(Chat.of(QUESTION, ANSWER))


SHORT = row(Chat.of("Is aspirin safe in children with fever?", "No, it can cause Reye syndrome below 16 years."))
LONGER = (
    "No. In children with fever aspirin can cause Reye syndrome, a rare disease of liver and brain, so that it is not given "
    "below 16 years of age; about 1 in 3 of those who fall ill die."
)

PASSAGE = (
    "Iron is part of haemoglobin. Adults hold about 4 g of iron, 65% of it in haemoglobin. Tablets of 100 mg are taken once a day "
    "by mouth; infusions of 1 g are given into a vein."
)


def pairs(*found: tuple[str, str]) -> dict[str, Any]:
    """An answer to ask."""
    return {"pairs": [{"question": question, "answer": answer} for question, answer in found]}


GOOD = ("How much iron do adults hold?", "Adults hold about 4 g of iron, and of these 4 g 65% is in haemoglobin.")
BAD = ("How are tablets of iron taken?", "Tablets of 200 mg are taken once a day by mouth.")
MENDED = ("How are tablets of iron taken?", "Tablets of 100 mg are taken once a day by mouth.")
