"""What evaluations would ask: of providers and judges each call is counted, of weights on this machine the questions alone, since how
long they take depends on the machine.

Questions are made of the rows that are there, and of stand-ins for those that models have yet to make. What a model will answer is
not known before it did: a judge's prompt is counted with an answer as short and as long as it may be.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from langmill.api import EvalContext, Evaluator, MissingInput, Question, Row, RowFault, Split
from langmill.calls.silent import Notes, silenced
from langmill.errors import LanguageNotWritten
from langmill.evaluation.answers import asked as hash_of
from langmill.evaluation.asking import bound_of
from langmill.evaluation.rows import chosen_rows, context_of, questions_of
from langmill.ledger.ledger import Call
from langmill.plan.walk import TRIES, Group, Walk, prompt_of

EXAMPLES = 32  # rows at most that one stand-in is read as: nobody asks for more examples before a question
WEIGHTS_TOKENS = 256  # longest answer of weights whose evaluation names no bound: assumed for a judge's prompt


@dataclass(frozen=True)
class ExamForecast:
    """One evaluation of one model: rows and questions, of these how many likelihoods (``continuations``) are asked for; ``here``:
    by weights on this machine, which cost nothing. ``made`` counts questions about rows that are not there yet, ``declared`` those of
    absent sources; ``why`` says why nothing can be told."""

    evaluation: str
    place: str
    model: str
    here: bool
    rows: int = 0
    questions: int = 0
    continuations: int = 0
    made: int = 0
    declared: int = 0
    why: str = ""


async def evaluations(walk: Walk) -> list[ExamForecast]:
    """A forecast for each evaluation and model, in the recipe's order; calls go to the walk's groups."""
    found: list[ExamForecast] = []
    for number, (use, evaluator) in enumerate(walk.assembly.evaluators):
        context = context_of(walk.assembly, walk.store, number)
        name, models = evaluator.called(use), walk.assembly.models
        here = {model: model not in models or models[model].here for model in evaluator.models}
        bare = [ExamForecast(name, context.place, model, here[model]) for model in evaluator.models]
        try:
            exam = _exam(walk, number, name, evaluator, context)
        except MissingInput as error:
            found += [replace(one, why=str(error)) for one in bare]
            continue
        for one in bare:
            if not one.here:
                await exam.ask(one.model)
            found.append(exam.counted(one))
        for judged in evaluator.models if evaluator.judges() else ():
            await exam.judge(judged)
    return found


@dataclass
class _Exam:
    """One evaluation: its rows with what each stands for (weight, share of the low end), its questions, what models are known to have
    said to them."""

    walk: Walk
    number: int
    name: str
    evaluator: Evaluator
    context: EvalContext
    rows: Mapping[str, Row]
    made: Mapping[str, tuple[float, float]]
    questions: Sequence[Question]
    said: dict[tuple[str, str], str] = field(default_factory=dict)
    seen: set[tuple[int, str]] = field(default_factory=set)

    def counted(self, bare: ExamForecast) -> ExamForecast:
        """Its figures."""
        of_made = [self.made[question.row][0] for question in self.questions if question.row in self.made]
        whole = len(self.questions) - len(of_made) + sum(of_made)
        of_rows = sum(self.made.get(id, (1.0,))[0] for id in {question.row for question in self.questions})
        scored = sum(len(one.continuations) * self.made.get(one.row, (1.0,))[0] for one in self.questions)
        of_declared = [self.rows[one.row].origin.source in self.walk.declared for one in self.questions]
        told = sum(self.made[one.row][0] for one, yes in zip(self.questions, of_declared, strict=True) if yes)
        return replace(
            bare, rows=round(of_rows), questions=round(whole), continuations=round(scored), made=round(sum(of_made)),
            declared=round(told),
        )  # fmt: skip

    async def ask(self, model: str) -> None:
        """Count the calls to a provider; what the ledger has answered is kept for the judge."""
        notes, most = Notes(), bound_of(self.walk.assembly.models[model], self.questions)
        bound = silenced(self.walk.engine.model(model, self.evaluator.data, most), notes)
        for question in {hash_of(one): one for one in self.questions}.values():
            notes.paid, notes.unpaid = {}, []
            notes.look_up = question.row not in self.made
            try:
                answer = await bound.reply(question.messages, step=f"eval.{self.name}", language=question.language)
                self.said[model, hash_of(question)] = answer.text
            except RowFault:
                pass
            self._count(notes, question, model, model, None, 1, 0, most)

    async def judge(self, judged: str) -> None:
        """Count the calls to judges about a model's answers."""
        for question in self.questions:
            names = (judged, *self.evaluator.compared())
            known = {name: self.said.get((name, hash_of(question))) for name in names}
            longest = {name: self._longest(name, question) for name in names if known[name] is None}
            short, long = (
                {
                    name: self._words(text, question, longest.get(name, (0, 0))[end] + 2 * at)
                    for at, (name, text) in enumerate(known.items())  # two models are not taken to say the very same
                }
                for end in (0, 1)
            )
            row = self.rows[question.row]
            calls = self.evaluator.judge_calls(row, question, judged, long, self.context)
            shorter = self.evaluator.judge_calls(row, question, judged, short, self.context)
            for call, other in zip(calls, shorter, strict=False):
                notes = Notes(look_up=not longest)
                bound = silenced(replace(self.walk.engine.model(call.judge, self.evaluator.data), fallback=None), notes)
                try:
                    for prompt in (other.prompt, call.prompt) if longest else (call.prompt,):
                        await _noted(
                            bound.answer(prompt, call.schema, step=call.step, language=question.language, seed=0)
                        )
                except LanguageNotWritten as fault:
                    self.walk.skips[fault.detail] += 1
                    continue
                grown = sum(self._tokens(name, question) for name in longest)
                self._count(notes, question, call.judge, f"{call.judge} judges", call.size, TRIES, grown)

    def _count(
        self,
        notes: Notes,
        question: Question,
        model: str,
        label: str,
        size: tuple[float, float] | None,
        tries: int,
        grown: int,
        most: int | None = None,
    ) -> None:
        """Put what a question has asked into the sums: a call in its shortest and its longest form, once."""
        walk, row = self.walk, self.rows[question.row]
        weight, share = self.made.get(row.id, (1.0, 1.0))
        for key, (call, answer) in notes.paid.items():
            group = self._group(call, model, label, most)
            if key not in walk.seen:
                walk.seen.add(key)
                group.paid += 1
                group.saved += answer.cost or 0.0
            self._row(group, row, weight)
        if not notes.unpaid:
            return
        short, long = notes.unpaid[0], notes.unpaid[-1]
        group = self._group(long[0], model, label, most)
        if long[0].key not in walk.seen:
            walk.seen.add(long[0].key)
            forms = [prompt_of(asked, row, grown) for asked in (short, long)]
            group.calls.add(forms[0], forms[1], size, weight, share, tries)
            group.made += weight if row.id in self.made else 0.0
            group.declared += weight if row.origin.source in walk.declared else 0.0
        self._row(group, row, weight)

    def _group(self, call: Call, model: str, label: str, most: int | None) -> Group:
        group = self.walk.group(f"eval {self.name}", f"eval[{self.number}]", model, call, most)
        group.label, group.follows = label, label != model
        return group

    def _row(self, group: Group, row: Row, weight: float) -> None:
        if (id(group), row.id) not in self.seen:
            self.seen.add((id(group), row.id))
            group.rows += weight

    # --- answers that are not there yet ---

    def _tokens(self, model: str, question: Question) -> int:
        llm = self.walk.assembly.models.get(model)
        return bound_of(llm, self.questions) if llm and not llm.here else question.max_tokens or WEIGHTS_TOKENS

    def _longest(self, model: str, question: Question) -> tuple[float, float]:
        """Characters of an answer, from a short one to the longest."""
        pack = self.walk.assembly.packs.get(question.language)
        rate = pack.size.characters_a_token[1] if pack else 4.0
        for group in self.walk.groups.values():
            if (group.dataset, group.name, group.calls.language) == (f"eval {self.name}", model, question.language):
                return group.calls.characters(None)
        return 1.0, rate * self._tokens(model, question)

    def _words(self, known: str | None, question: Question, characters: float) -> str:
        if known is not None:
            return known
        pack = self.walk.assembly.packs.get(question.language)
        return pack.filler(characters) if pack else "x" * max(1, round(characters))


def _exam(walk: Walk, number: int, name: str, evaluator: Evaluator, context: EvalContext) -> _Exam:
    """An evaluation with the rows that it would ask. Raises MissingInput where nothing can be told."""
    seed = walk.assembly.recipe.seed
    ahead = [item for item in walk.made.get(evaluator.data, ()) if item.long.split == evaluator.split]
    try:
        there = chosen_rows(walk.store, evaluator, seed)
    except MissingInput:
        if not ahead:
            raise
        there = []
    made: dict[str, tuple[float, float]] = {}
    for language in dict.fromkeys(item.long.language for item in ahead):
        mine = [item for item in ahead if item.long.language == language]
        weight = sum(item.weight for item in mine)
        room = weight
        if evaluator.limit is not None:
            room = max(0.0, min(weight, evaluator.limit - sum(row.language == language for row in there)))
        made |= {item.long.id: (item.weight * room / weight, item.share) for item in mine if room}
    rows = [*there, *(item.long for item in ahead if item.long.id in made)]
    context = _reading_ahead(walk, evaluator, context)
    questions = questions_of(evaluator, rows, context)
    return _Exam(walk, number, name, evaluator, context, {row.id: row for row in rows}, made, questions)


def _reading_ahead(walk: Walk, evaluator: Evaluator, context: EvalContext) -> EvalContext:
    """A context whose data sets have their stand-ins as well, each as often as rows it stands for, by turns in its shortest and its
    longest form: examples before questions are chosen of them. The split that is asked has none: they share their words with all
    others, so that every example would be a near copy of one."""

    def rows(dataset: str, split: Split | None) -> Iterator[Row]:
        yield from context.rows(dataset, split)
        if (dataset, split) == (evaluator.data, evaluator.split):
            return
        for item in walk.made.get(dataset, ()):
            for number in range(max(1, min(EXAMPLES, round(item.weight)))) if split in (None, item.long.split) else ():
                yield replace(item.short if number % 2 else item.long, id=f"{item.long.id}#{number}")

    return replace(context, rows=rows)


async def _noted(reply: Awaitable[object]) -> None:
    """Have a silent model note what it would ask. Raises LanguageNotWritten."""
    try:
        await reply
    except LanguageNotWritten:
        raise
    except RowFault:
        pass
