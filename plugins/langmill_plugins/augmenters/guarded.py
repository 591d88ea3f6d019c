"""What the built-in augmenters share: guards over what a model wrote, one round of repair, a judge."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, PrivateAttr, StringConstraints, field_validator

from langmill.api import (
    Augmenter,
    Body,
    Drop,
    Field,
    FollowUp,
    LanguageNotWritten,
    Mark,
    MissingInput,
    Model,
    Prompt,
    Reply,
    Row,
    RowFault,
    Schema,
    StepContext,
)

if TYPE_CHECKING:
    from langmill_plugins.guards.pairs import Asked

SECOND = (".judge", ".back")  # steps of calls that look at an answer
USELESS = (
    "schema",
    "truncated",
    "empty",
    "refusal",
)  # of answers that say nothing; other reasons are not about the answer
MENDED = (
    0.0,
    0.25,
)  # share of answers that guards find a fault in, for the price before a run: with good writers, with weaker ones
PASSED = (
    0.7,
    1.25,
)  # share of answers that a second model is asked about: those without a fault, mended ones among them
VERDICT = (70.0, 500.0)  # characters of a judge's answer
TOLD = 8  # faults that are told, to the model and in a reject


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Terms = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
"""Texts of a recipe's list. Its own way to a tuple: what a validator has looked at is no longer JSON, and strict."""


class Options(BaseModel):
    """Options that belong together: closed and frozen, as parts are."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Guards(Options):
    """The guards over any text that a model wrote. Each can be switched off, and the card says so."""

    language: bool = Field(True, description="all of it is in the language that was asked for")
    chatter: bool = Field(True, description="nothing is said round it, such as: Here is the translation")
    leaks: bool = Field(True, description="nothing of the prompt is in it")
    loops: bool = Field(True, description="it does not say the same over and over")

    def switches(self) -> dict[str, bool]:
        """Each guard, and whether it is on."""
        return {name: value for name, value in self if isinstance(value, bool)}

    def on(self) -> frozenset[str]:
        """The guards that are on."""
        return frozenset(name for name, value in self.switches().items() if value)


def watched(kind: type[Guards]) -> Any:
    """The option ``guards`` of a part: guards of this kind, each on unless it is switched off; ``false`` for none at all."""

    def or_false(schema: dict[str, Any]) -> None:
        schema["anyOf"] = [{"$ref": schema.pop("$ref")}, {"const": False}]

    described = "what is watched over, guard by guard; false for nothing at all"
    return Field(default_factory=kind, description=described, json_schema_extra=or_false)


class Judge(Options):
    """A model that marks what was written: faithful, complete and safe, 1 to 5 each."""

    llm: str | None = Field(None, description="name of a model under models:; the step's own when left out")
    least: int = Field(4, ge=1, le=5, description="least mark, in each of the three")


class Verdict(Options):
    """What a judge says of one text. The reason comes first, so that the marks follow from it."""

    reason: Annotated[str, StringConstraints(strip_whitespace=True, max_length=1000)]
    faithful: Literal[1, 2, 3, 4, 5]
    complete: Literal[1, 2, 3, 4, 5]
    safe: Literal[1, 2, 3, 4, 5]


@dataclass
class Unit:
    """What stands or falls as one: a translation, a pair of several. ``text`` is all its words, ``name`` tells it from others."""

    text: str
    faults: list[Drop]
    name: str = ""


@dataclass
class Written(Generic[Schema]):
    """An answer, what was found in it, and the marks of the judge that let it pass."""

    reply: Reply[Schema]
    units: Sequence[Unit]
    judged: list[Mark] = field(default_factory=list)

    def child(self, row: Row, name: str, body: Body, *, language: str | None = None) -> Row:
        """A row made of the answer, with the marks of all calls that it owes itself to, and flagged when it mends another one."""
        made = row.child(name, body, language=language, marks=(*self.reply.marks, *self.judged))
        return made.flagged("repaired") if self.reply.repaired else made


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
        if value is not False:
            return value
        whole: Guards = cls.model_fields["guards"].get_default(call_default_factory=True)
        return dict.fromkeys(whole.switches(), False)

    def guarded(self) -> Mapping[str, bool]:
        """Each guard, and whether it is on."""
        return self.guards.switches()

    def models(self) -> tuple[str, ...]:
        """The writer, and the judge where it is another one."""
        writer = super().models()
        return tuple(dict.fromkeys((*writer, self.judge.llm))) if self.judge and self.judge.llm else writer

    def followed(self, row: Row, step: str, language: str, context: StepContext) -> Iterable[FollowUp]:
        """The call that mends an answer, and those that judge it."""
        if step.endswith(SECOND):
            return
        writer, judge = self.models()[0], self.models()[-1]
        if self.repair and self.guards.on() and not step.endswith(".repair"):
            size = self.answer_size(row, language, context) or VERDICT
            yield FollowUp(writer, f"{step}.repair", size, MENDED)
        if self.judge:
            yield FollowUp(judge, f"{step.removesuffix('.repair')}.judge", VERDICT, times(PASSED, self.parts()))

    def parts(self) -> int:
        """How many units an answer has, at the most."""
        return 1

    async def written(
        self,
        row: Row,
        step: str,
        prompt: Prompt,
        schema: type[Schema],
        context: StepContext,
        read: Callable[[Schema], Sequence[Unit]],
        *,
        source: str,
        language: str = "",
        further: Callable[[Schema], Awaitable[Sequence[Drop]]] | None = None,
    ) -> Written[Schema]:
        """Ask the step's model. ``read`` finds the faults of an answer, unit by unit; a unit without any goes on to ``further``,
        which may ask a model, and to the judge, who holds it against ``source``."""
        language = language or row.language
        judge = self._judge(context, row.language, language)
        looks: list[Written[Schema]] = []

        async def check(value: Schema) -> Sequence[Drop]:
            look = Written(Reply(value, ()), read(value))
            looks.append(look)
            for unit in look.units:
                if not unit.faults and further:
                    unit.faults += await further(value)
                if not unit.faults and judge and self.judge:
                    prompt = context.pack(language).render("judge", source=source, text=unit.text)
                    drops, mark = await _marked(
                        judge, prompt, f"{step}.judge", language, self.judge.least, context.seed
                    )
                    unit.faults += drops
                    look.judged.append(mark)
                del unit.faults[TOLD:]
            return [named(fault, unit.name) for unit in look.units for fault in unit.faults][:TOLD]

        reply = await context.ask(row, step, prompt, schema, language=language, check=check, repair=self.repair)
        return Written(reply, looks[-1].units, looks[-1].judged)

    def asked(self, context: StepContext, prompt: Prompt, row: Sequence[str]) -> Asked:
        """What guards must know of a question: its prompt and the ``row``'s pieces in it, the recipe's languages, and the model that
        tells them apart."""
        from langmill_plugins.guards.pairs import Asked
        from langmill_plugins.text.identifiers import FastText

        if self.guards.language and self._identifier is None:
            self._identifier = FastText(None, context.offline, f"{context.place}.guards.language")
        packs = tuple(context.languages.values())
        return Asked(packs, self._identifier, "\n".join(message.content for message in prompt.messages), row)

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
                raise LanguageNotWritten(model.name, language)
        return model


async def _marked(
    judge: Model, prompt: Prompt, step: str, language: str, least: int, seed: int
) -> tuple[list[Drop], Mark]:
    """A judge's fault with a text, if it has one, and the mark of its call. Raises RowFault `not_judged` for a useless answer: no
    repair would help."""
    try:
        reply = await judge.answer(prompt, Verdict, step=step, language=language, seed=seed)
    except RowFault as fault:
        if fault.reason in USELESS:
            raise RowFault("not_judged", f"{fault.reason}: {fault.detail}") from None
        raise
    said = reply.value.model_dump(exclude={"reason"})
    low = [f"{name} {mark} of 5" for name, mark in said.items() if mark < least]
    drops = [Drop("judged", f"{', '.join(low)}: {reply.value.reason}")] if low else []
    return drops, reply.marks[-1]


def named(fault: Drop, name: str) -> Drop:
    """A fault whose detail begins with the name of what it is in."""
    return fault._replace(detail=f"{name}: {fault.detail}") if name else fault


def together(faults: Sequence[Drop]) -> Drop:
    """One drop of several faults: the first one's reason, and all of them in the detail."""
    return Drop(faults[0].reason, "; ".join(f"{fault.reason}: {fault.detail}" for fault in faults))


def times(share: tuple[float, float], number: int) -> tuple[float, float]:
    """A range of shares, so many times."""
    return share[0] * number, share[1] * number
