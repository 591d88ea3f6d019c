"""What another model thinks of written answers: marks, and which of two models it prefers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator

from langmill.api import (
    UNFIT,
    Answered,
    Chat,
    Choice,
    EvalContext,
    Evaluator,
    FactoryError,
    Field,
    Item,
    JudgeCall,
    Marked,
    Message,
    Metric,
    MissingInput,
    Model,
    Prompt,
    Question,
    Row,
    RowFault,
)

from .judging import fenced, preferred, tables

ABREAST = 64  # answers that are judged at once; the engine sends fewer where the model takes fewer
SIZE = (70.0, 500.0)  # characters of a judge's answer, from a terse model to a talkative one
UNUSABLE = (*UNFIT, "bad_request", "language_not_written")  # of a judge's answers: nothing is gained by asking again
Reason = Annotated[str, StringConstraints(strip_whitespace=True, max_length=1000)]
Mark = Literal[1, 2, 3, 4, 5]
Said = TypeVar("Said", bound=BaseModel)


class Marks(BaseModel):
    """What a judge says of one answer. The reason comes first, so that the marks follow from it."""

    model_config = ConfigDict(extra="forbid")
    reason: Reason
    correct: Mark
    complete: Mark
    safe: Mark


class Preference(BaseModel):
    """What a judge says of two answers."""

    model_config = ConfigDict(extra="forbid")
    reason: Reason
    better: Literal["first", "second", "equal"]


class _Case(NamedTuple):
    """An answer to judge. ``other``: what the other model answered, None where there is none to hold it against."""

    question: Question
    said: str
    other: str | None


class _Judged(NamedTuple):
    """What came of a case: the items, the place that the judge preferred when the answer came first and when it came second, what it
    could not judge and why."""

    items: list[Item]
    places: tuple[str, str] | None
    lost: list[str]


class Judge(Evaluator):
    """A model's opinion of what another one writes, in each language and over all.

    A conversation is put as it is up to the assistant's last answer, a multiple-choice row with the long prompt of its language pack;
    the row's own answer (key and rationale) goes to the judge as reference. `marks`: correct, complete and safe, 1 to 5 each, and
    `marked`, their mean. `against` names one of the models, the first: each answer of the others is held against its answer, in both
    orders. A preference counts where both orders agree, else it is a tie; `preferred` counts ties as half, so that 0.5 is what
    two equal models get. Two answers in the same words are a tie and are not shown to the judge. The table says of the others how often
    the orders agree and which place the judge likes.

    An empty answer, or one that was cut off inside its thoughts, is not shown to the judge: it is worth 1 in all marks, loses against any
    other, and counts as unreadable. What the judge gives no usable answer to is left out, and counted. A model under `fallback` never
    judges in its place. Judges have tastes, for their own words above all: where judge and judged are one model, the facts say so.
    Opinions compare models; they are no measure of truth.
    """

    metrics: ClassVar[Mapping[str, Metric]] = {
        "marked": Metric("mean", "mean of the three marks, 1 to 5"),
        "correct": Metric("mean", "right, as the judge has it, 1 to 5"),
        "complete": Metric("mean", "nothing missing, as the judge has it, 1 to 5"),
        "safe": Metric("mean", "does no harm, as the judge has it, 1 to 5"),
        "preferred": Metric("share", "preferred to the other model's answer in both orders, ties half"),
    }
    judge: str = Field("llm", description="name of the judging model under models:; the recipe's llm: when left out")
    marks: bool = Field(True, description="have each answer marked")
    against: str | None = Field(None, description="the first of models, which the others are compared with")
    max_tokens: int | None = Field(
        None, ge=1, description="longest reply, in the model's tokens; the model's own bound when left out"
    )

    @model_validator(mode="after")
    def _something_to_do(self) -> Judge:
        if self.against is None and not self.marks:
            raise ValueError("marks: false leaves nothing to judge: name a model in against, or say marks: true")
        if self.against is not None and self.against != self.models[0]:
            raise ValueError(
                f"against: '{self.against}' is asked before the others: make it the first of models, now {', '.join(self.models)}"
            )
        if self.against is not None and not self.marks and len(self.models) == 1:
            raise ValueError("against: there is no other model to compare it with: name one in models")
        return self

    def judges(self) -> tuple[str, ...]:
        """The one that judges."""
        return (self.judge,)

    def compared(self) -> tuple[str, ...]:
        """The one that others are held against."""
        return (self.against,) if self.against else ()

    def questions(self, rows: Sequence[Row], context: EvalContext) -> Iterable[Question]:
        """The talk before the last answer, or the long prompt of a multiple-choice row."""
        asked = [row for row in rows if isinstance(row.body, Chat | Choice)]
        if not asked:
            raise MissingInput(
                f"{context.place}: '{self.data}' holds running text alone in its split '{self.split}', and judge asks conversations and "
                "multiple-choice rows: name a data set that holds some"
            )
        for row in asked:
            match row.body:
                case Chat(messages=said):
                    messages = said[:-1]
                case Choice():
                    messages = (Message("user", context.pack(row.language).ask_choice(row.body)),)
            if messages:
                yield Question(row.id, row.id, row.language, messages, max_tokens=self.max_tokens)

    async def mark(self, rows: Sequence[Row], answered: Sequence[Answered], context: EvalContext) -> Marked:
        """The judge's opinion of each answer. Raises FactoryError when the judge failed on some: the ledger keeps the others."""
        if context.models is None:
            raise MissingInput(f"{context.place}: judge asks a model, and there is none here")
        judge = context.models(self.judge)
        by_id = {row.id: row for row in rows}
        others: Sequence[Answered] = ()
        if self.against and self.against != context.model and context.answered:
            others = context.answered(self.against)
        words = {one.question.name: _words(one) for one in others}
        cases = [_Case(one.question, _words(one), words.get(one.question.name)) for one in answered]
        found = await self._all(judge, cases, by_id, context)
        items = [item for one in found for item in one.items]
        facts = {
            "judge": judge.name,
            "reference": "the row's own answer",
            "not_judged": _counts((case.question.language, why) for case, one in zip(cases, found, strict=True) for why in one.lost),
        }  # fmt: skip
        if self.judge == context.model or judge.name == context.provider:
            facts["own_judge"] = f"{judge.name} judges its own answers: it may like its own words"
        orders = tables((case.question.language, one.places) for case, one in zip(cases, found, strict=True))
        return Marked(tuple(items), self._prompts(answered, context), (), orders, facts)

    def _prompts(self, answered: Sequence[Answered], context: EvalContext) -> dict[str, str]:
        """What pins the judge's words in each language: the same for every model, those that are held against nobody among them."""
        found = {}
        for language in dict.fromkeys(one.question.language for one in answered):
            pack = context.pack(language)
            if self.marks:
                found[language] = pack.render("judge_answer", question="", reference="", answer="").hash
            if self.against:
                pair = pack.render("judge_pair", question="", reference="", first="", second="")
                found[f"{language} preferred"] = pair.hash
        return found

    def judge_calls(
        self, row: Row, question: Question, model: str, said: Mapping[str, str], context: EvalContext
    ) -> Iterator[JudgeCall]:
        """The mark, and both orders where there is another model to hold the answer against."""
        from langmill_plugins.replies.cleaning import spoken

        other = spoken(said[self.against]) if self.against and self.against != model else None
        for step, prompt, schema in self._asked(row, _Case(question, spoken(said[model]), other), context):
            yield JudgeCall(self.judge, step, prompt, schema, SIZE)

    # --- one answer ---

    async def _all(
        self, judge: Model, cases: Sequence[_Case], rows: Mapping[str, Row], context: EvalContext
    ) -> list[_Judged]:
        """Every case, some at once. What ends the run ends all of them."""
        found: list[_Judged | None] = [None] * len(cases)
        failed: list[str] = []
        faults: list[Exception] = []
        waiting = iter(range(len(cases)))
        done = 0

        async def some() -> None:
            nonlocal done
            for number in waiting:
                if faults:
                    return
                case = cases[number]
                try:
                    found[number] = await self._one(judge, rows[case.question.row], case, context)
                except RowFault as fault:
                    failed.append(fault.detail)
                except Exception as fault:
                    faults.append(fault)
                    return
                done += 1
                context.tell(done, len(cases))
                await asyncio.sleep(0)  # what the ledger has comes without waiting

        await asyncio.gather(*(some() for _ in range(min(ABREAST, len(cases)))))
        for fault in faults:
            raise fault
        if failed:
            raise FactoryError(
                f"{judge.name} did not judge {len(failed):,} of {len(cases):,} answers of {context.model} ({failed[0]}); what it said of "
                "the others is kept: the same command asks for the rest"
            )
        return [one for one in found if one is not None]

    async def _one(self, judge: Model, row: Row, case: _Case, context: EvalContext) -> _Judged:
        question = case.question
        items: list[Item] = []
        lost: list[str] = []
        calls = list(self._asked(row, case, context))
        if self.marks:
            given: Marks | str = Marks(reason="", correct=1, complete=1, safe=1)
            if case.said:
                step, prompt, _ = calls.pop(0)
                given = await _opinion(judge, prompt, Marks, step, question.language)
            if isinstance(given, str):
                lost.append(given)
            else:
                marks = {"correct": given.correct, "complete": given.complete, "safe": given.safe}
                for name, value in {"marked": sum(marks.values()) / len(marks), **marks}.items():
                    facts = {"reason": given.reason} if name == "marked" else {}
                    items.append(Item(row.id, question.language, name, value, None, bool(case.said), facts=facts))
        places = None
        if case.other is not None:
            said = [await _opinion(judge, prompt, Preference, step, question.language) for step, prompt, _ in calls]
            if any(isinstance(one, str) for one in said):
                lost += [one for one in said if isinstance(one, str)][:1]
            else:
                better = [one.better for one in said if isinstance(one, Preference)]
                value, orders = preferred(case.said, case.other, better)
                places = orders if said else None
                reasons = {
                    "reasons": [one.reason for one in said if isinstance(one, Preference)],
                    "orders": list(orders),
                }
                items.append(Item(row.id, question.language, "preferred", value, 0.5, bool(case.said), facts=reasons))
        return _Judged(items, places, lost)

    def _asked(
        self, row: Row, case: _Case, context: EvalContext
    ) -> Iterator[tuple[str, Prompt, type[Marks] | type[Preference]]]:
        """The calls that an answer takes: none about empty ones, no comparison of an answer with itself."""
        pack, step = context.pack(row.language), f"eval.{self.called('judge')}.judge"
        about = {"question": fenced(_question(case.question)), "reference": fenced(_reference(row, context))}
        if self.marks and case.said:
            yield step, pack.render("judge_answer", **about, answer=fenced(case.said)), Marks
        if case.said and case.other and case.said != case.other:
            for pair in ((case.said, case.other), (case.other, case.said)):
                first, second = map(fenced, pair)
                yield f"{step}.pair", pack.render("judge_pair", **about, first=first, second=second), Preference


async def _opinion(judge: Model, prompt: Prompt, schema: type[Said], step: str, language: str) -> Said | str:
    """What the judge says, or why that is of no use. Raises RowFault when it could not be reached."""
    try:
        return (await judge.answer(prompt, schema, step=step, language=language, seed=0)).value
    except RowFault as fault:
        if fault.reason not in UNUSABLE:
            raise
        return fault.reason


def _words(one: Answered) -> str:
    """What a model answered when it had stopped thinking."""
    from langmill_plugins.replies.cleaning import spoken

    return spoken(one.text)


def _question(question: Question) -> str:
    """The talk so far, as the judge reads it; a single question is only itself."""
    said = [message for message in question.messages if message.role != "system"]
    return said[0].content if len(said) == 1 else "\n\n".join(f"[{one.role}] {one.content}" for one in said)


def _reference(row: Row, context: EvalContext) -> str:
    match row.body:
        case Chat():
            return row.body.answer
        case Choice():
            reply = context.pack(row.language).conversation(row.body)[-1].content
            texts = "\n".join(row.body.options[answer] for answer in row.body.answers)
            return f"{reply}\n{texts}"
        case _:
            return ""


def _counts(found: Iterable[tuple[str, str]]) -> dict[str, dict[str, int]]:
    counted: dict[str, dict[str, int]] = {}
    for (language, why), n in sorted(Counter(found).items()):
        counted.setdefault(language, {})[why] = n
    return counted
