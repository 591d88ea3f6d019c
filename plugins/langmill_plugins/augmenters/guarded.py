"""What the built-in augmenters share: guards over what a model wrote, one round of repair, a judge, further answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import PrivateAttr, field_validator

from langmill.api import (
    Augmenter,
    Context,
    Drop,
    Field,
    FollowUp,
    LanguageNotWritten,
    Mark,
    MissingInput,
    Model,
    Prompt,
    Row,
    Schema,
    StepContext,
    missing_package,
)
from langmill_plugins.augmenters.agreement import Agreement, disagreement
from langmill_plugins.augmenters.candidates import Candidate, GuardFailed, read_by_guards, settled
from langmill_plugins.augmenters.opinions import VERDICT, Judge, Opinion, judged
from langmill_plugins.augmenters.options import Guards, guards_of, watched

if TYPE_CHECKING:
    from langmill_plugins.guards.pairs import Asked

# What the steps of calls that follow an answer end with; the core calls the one that mends it so.
REPAIR, JUDGE, BACK = ".repair", ".judge", ".back"

# For the price before a run, with good writers and with weaker ones. MENDED: the share of answers in which guards find a fault.
# PASSED: how many looks a second model takes at an answer. Fewer than one, since what has a fault is not shown to it; more, since
# what it finds a fault in itself is mended and shown to it again.
MENDED = (0.0, 0.25)
PASSED = (0.7, 1.25)

TOLD = 8  # faults that are told, to the model and in a reject


class Guarded(Augmenter):
    """An augmenter whose answers are guarded: what is found goes back to the model once, and what is found then rejects."""

    guards: Guards = watched(Guards)
    repair: bool = Field(
        True, description="ask once more, with the faults by name, for an answer in which guards found any"
    )
    judge: Judge | None = Field(None, description="have a model mark what guards found nothing in")

    _identifier: Any = PrivateAttr(None)

    @field_validator("guards", mode="before")
    @classmethod
    def _none_at_all(cls, value: object) -> object:
        kind: Any = cls.model_fields["guards"].default_factory
        return guards_of(kind, value)

    def guarded(self) -> Mapping[str, bool]:
        """Each guard, and whether it is on."""
        return self.guards.switches()

    def agreed(self) -> Agreement | None:
        """The further answers that an answer is held against, for those that have this option."""
        return None

    def parts(self) -> int:
        """How many candidates an answer has, at the most."""
        return 1

    def models(self) -> tuple[str, ...]:
        """The writer, and the judge where it is another one."""
        writer = super().models()
        return tuple(dict.fromkeys((*writer, self.judge.llm))) if self.judge and self.judge.llm else writer

    def further_checks(self) -> tuple[str, ...]:
        """What checks an answer beside the guards, in words."""
        told = [] if self.repair else ["repair off"]
        if self.judge:
            told.append(f"judged by {self.models()[-1]}, {self.judge.least} of 5 at least")
        if agreement := self.agreed():
            told.append(agreement.told())
        return tuple(told)

    def files(self, context: Context) -> list[Path]:
        """None. Raises MissingInput, before anything is paid, for a package that the guards need."""
        needed = {"ahocorasick_rs": "data"} if self.guards.any() else {}
        if self.guards.language:
            needed["fasttext"] = "fasttext"
        for package, extra in needed.items():
            if find_spec(package) is None:
                raise missing_package(f"{context.place}.guards", package, extra)
        return []

    def followed(self, row: Row, step: str, language: str, context: StepContext) -> Iterable[FollowUp]:
        """The call that mends an answer, those that judge it, and those for further ones."""
        if step.endswith((JUDGE, BACK)):
            return
        writer, judge, agreement = self.models()[0], self.models()[-1], self.agreed()
        first = not step.endswith(REPAIR)
        if first and self.repair and (self.guards.any() or self.judge or agreement):
            size = self.answer_size(row, language, context) or VERDICT
            yield FollowUp(writer, step + REPAIR, size, MENDED)
        if self.judge:
            yield FollowUp(judge, step.removesuffix(REPAIR) + JUDGE, VERDICT, _times(PASSED, self.parts()))
        if first and agreement:
            suffix, n = agreement.calls()
            size = self.answer_size(row, row.language if suffix == BACK else language, context) or VERDICT
            yield FollowUp(writer, step + suffix, size, _times(PASSED, n))

    async def written(
        self,
        row: Row,
        step: str,
        prompt: Prompt,
        schema: type[Schema],
        context: StepContext,
        read: Callable[[Schema], Sequence[Candidate]],
        look: Callable[[Schema], Sequence[Sequence[Drop]]],
        *,
        source: str,
        language: str = "",
        back: Callable[[Candidate], Awaitable[tuple[str, tuple[Mark, ...]]]] | None = None,
    ) -> Sequence[Candidate]:
        """Ask the step's model, and what came of it. ``read`` takes an answer apart and ``look`` finds the faults of each part. Parts
        without any are held against further answers, or, translated ``back``, against ``source``; then the judge sees them."""
        language = language or row.language
        judge = self._judge(context, row.language, language)
        self._open(context, row.language, language)
        looks: list[Sequence[Candidate]] = []
        opinions: dict[str, list[Opinion]] = {}

        async def again(number: int) -> tuple[str, tuple[Mark, ...]]:
            reply = await context.ask(row, step, prompt, schema, language=language, sample=number)
            return "\n".join(candidate.text for candidate in read(reply.value)), reply.marks

        async def agrees(candidate: Candidate) -> Opinion:
            agreement = self.agreed()
            if agreement is None:
                return Opinion()
            least, (_, n) = agreement.least, agreement.calls()
            if back is None:
                called = "this answer", "further answer"
                return await disagreement(candidate.text, context.pack(language), least, n, again, called)
            called = "the source", "its translation back"
            home = context.pack(row.language)
            return await disagreement(source, home, least, n, lambda _: back(candidate), called)

        async def judges(candidate: Candidate) -> Opinion:
            if not judge or not self.judge:
                return Opinion()
            shown = context.pack(language).render("judge", source=source, text=candidate.text)
            return await judged(judge, shown, step + JUDGE, language, self.judge.least, context.seed)

        async def check(value: Schema) -> Sequence[Drop]:
            candidates = read(value)
            looks.append(candidates)
            characters = len(source) + sum(len(candidate.text) for candidate in candidates)
            try:
                found = await read_by_guards(characters, lambda: look(value))
            except GuardFailed as failed:
                for candidate in candidates:
                    candidate.take(failed.opinion())
                return []
            for candidate, faults in zip(candidates, found, strict=True):
                candidate.faults += faults
                for opinion in () if faults else await opinions_of(candidate):
                    candidate.take(opinion)
                del candidate.faults[TOLD:]
            return _told(candidates)

        async def opinions_of(candidate: Candidate) -> Sequence[Opinion]:
            """All of one text, asked for once."""
            if candidate.text not in opinions:
                told: list[Opinion] = []
                for ask in (agrees, judges):
                    try:
                        told.append(await ask(candidate))
                    except GuardFailed as failed:
                        told.append(failed.opinion())
                    if told[-1].faults:
                        break
                opinions[candidate.text] = told
            return opinions[candidate.text]

        reply = await context.ask(row, step, prompt, schema, language=language, check=check, repair=self.repair)
        return settled(looks, reply.marks)

    def asked(self, context: StepContext, prompt: Prompt, row: Sequence[str]) -> Asked:
        """What guards must know of a question: its prompt and the ``row``'s pieces in it, the recipe's languages, and the model that
        tells them apart."""
        from langmill_plugins.guards.pairs import Asked

        packs = tuple(context.languages.values())
        return Asked(packs, self._identifier, "\n".join(message.content for message in prompt.messages), row)

    def _open(self, context: StepContext, *languages: str) -> None:
        """Open what guards read with, before anything is paid. Raises MissingInput for what is not there."""
        if self.guards.any():
            from langmill_plugins.guards.lexicon import lexicon

            for language in languages:
                lexicon(context.pack(language))
        if self.guards.language and self._identifier is None:
            from langmill_plugins.text.identifiers import FastText

            self._identifier = FastText(None, context.offline, f"{context.place}.guards.language")

    def _judge(self, context: StepContext, *languages: str) -> Model | None:
        """The model that judges. Raises LanguageNotWritten, before anything is paid, when it does not know a language."""
        if self.judge is None:
            return None
        model = context.llm
        if self.judge.llm:
            if context.models is None:
                raise MissingInput(f"{context.place}.judge.llm: no model '{self.judge.llm}' is at hand here")
            model = context.models(self.judge.llm)
        for language in languages:
            if model and model.languages is not None and language not in model.languages:
                raise LanguageNotWritten(f"the judge {model.name}", language)
        return model


def _told(candidates: Sequence[Candidate]) -> list[Drop]:
    """The faults that a model may mend, by the names of what they are in."""
    from langmill_plugins.guards.pairs import named

    mendable = [candidate for candidate in candidates if candidate.mendable]
    return [fault for candidate in mendable for fault in named(candidate.faults, candidate.name)][:TOLD]


def _times(share: tuple[float, float], number: int) -> tuple[float, float]:
    """A range of shares, so many times."""
    return share[0] * number, share[1] * number
