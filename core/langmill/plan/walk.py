"""A recipe walked through without asking: what its steps would ask, and what would come of it.

A step that asks a model is walked through with a model that asks nobody: what the ledger has comes back and the row goes on
as it would; any other call is counted, and the row goes on as a stand-in for what it would become (``Augmenter.expected``),
in a short and in a long form. Stand-ins pass filters unjudged; the low end takes away a share of them. Of many rows a sample
is walked through, chosen by hash, unless the ledger knows the step: then each call is looked up, so that what is paid is told
exactly. A step that asks again with what it was told is counted to the first call that is not answered.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from langmill.api import Augmenter, Drop, Message, Model, Row, RowFault, Skip, StepContext, words
from langmill.calls.engine import REASKS
from langmill.calls.silent import Asked, Notes, silenced
from langmill.disk.partitions import Partition, Tally, write_partition
from langmill.disk.tables import read_rows
from langmill.errors import LanguageNotWritten
from langmill.ledger.ledger import Call, Habit
from langmill.pipeline.dataset import Pipeline
from langmill.pipeline.segments import Loaded
from langmill.plan.ahead import LEFT, Made, filtered
from langmill.plan.estimate import Calls, Meter, Prompt, Span, habit_of, together
from langmill.recipe.dataset_plan import DatasetPlan, StepPlan

MANY, SAMPLE = 2000, 500  # rows a language from which on a sample is walked through, and how large it is
EXAMPLES = 40  # rows a language on which its characters a token are measured
ALONE = 8  # partitions, or sources, up to which this process does the work of the executor
TRIES = 1 + max(REASKS.values())  # times one call may be answered in vain


@dataclass
class Group:
    """The calls of one step in one language."""

    dataset: str
    place: str
    name: str  # of the model, in the recipe
    calls: Calls
    rows: float = 0.0
    paid: int = 0
    saved: float = 0.0
    made: float = 0.0
    declared: float = 0.0  # of those made, calls about rows of absent sources, or made of such
    sampled: bool = False
    label: str = ""  # what the calls are called; their step when empty
    follows: bool = False  # with a label: they are about what other calls bring


class Walk(Pipeline):
    """A pipeline whose steps that ask a model are walked through with a silent one."""

    extends = False

    def begin(self) -> None:
        """Before anything is read."""
        self.groups: dict[tuple[str, str, str, str, str], Group] = {}
        self.meters: dict[tuple[str, int], Meter] = {}  # by name and longest answer
        self.examples: dict[str, list[str]] = {}
        self.habits: dict[str, list[Habit]] = {}
        self.seen: set[str] = set()  # keys: the same call twice is paid once
        self.made: dict[str, Sequence[Made]] = {}  # by data set, and by absent source
        self.declared: set[str] = set()  # absent sources whose rows are reckoned with
        self.flow: list[Made] = []  # of the data set under way
        self.skips: Counter[str] = Counter()

    def read(self, loaded: Loaded) -> dict[str, int]:
        """A source's rows by language; some of them become examples."""
        by_language: Counter[str] = Counter()
        for partition in loaded.partitions:
            for row in read_rows(partition.path):
                by_language[row.language] += 1
                if by_language[row.language] <= EXAMPLES:
                    self.examples.setdefault(row.language, []).append(words(row.body)[:4000])
        return dict(sorted(by_language.items()))

    async def make(self, plan: DatasetPlan, sources: Mapping[str, Loaded]) -> dict[str, object]:
        """One data set, its stand-ins beside it."""
        self.flow = filtered((item for name in plan.inputs for item in self.made.get(name, ())), plan.steps)
        facts = await super().make(plan, sources)
        self.made[plan.name] = self.flow
        return facts

    async def _augment(self, plan: DatasetPlan, step: StepPlan, partitions: Sequence[Partition]) -> list[Partition]:
        part = step.part
        assert isinstance(part, Augmenter)
        name, notes = part.models()[0], Notes()

        def asked(name: str) -> Model:
            return silenced(self.engine.model(name, plan.name), notes)

        context = self.workshop.step_context(step.place, asked(name), models=asked)
        turn = _Turn(self, plan.name, step.place, name, part, context, notes, self._read_again(plan, step))
        await turn.choose(partitions)
        outs = []
        for number, item in enumerate(partitions):
            kept: list[Row] = []
            for row in read_rows(item.path):
                kept += await turn.row(row) if row.id in turn.weights else [row]
            out = self.store.work(plan.name, f"plan {step.place}") / f"{number:05d}.parquet"
            outs.append(write_partition(out, kept, [], Tally()))
        self.flow = await turn.stand_ins(self.flow)
        return outs

    def _map(self, work: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        """A few pieces are done sooner here than processes of their own have started."""
        return map(work, items) if len(items) <= ALONE else super()._map(work, items)

    def _read_again(self, plan: DatasetPlan, step: StepPlan) -> bool:
        """Whether anything later acts on what a step makes, or learns from it."""
        later = plan.steps[plan.steps.index(step) + 1 :]
        return (
            any(isinstance(other.part, Augmenter) for other in later)
            or any(plan.name in other.inputs for other in self.assembly.datasets.values())
            or any(plan.name == stage.data for stage in self.assembly.stages)
        )

    def rank(self, id: str) -> bytes:
        """The place of a row in a step's choice, as the pipeline has it."""
        return hashlib.sha256(f"{self.assembly.recipe.seed}\0{id}".encode()).digest()

    def group(self, dataset: str, place: str, name: str, call: Call, max_tokens: int | None = None) -> Group:
        """The sum that a call belongs to; ``max_tokens`` bounds its answers where that is not the recipe's bound."""
        key = (dataset, place, name, call.step, call.language)
        if key not in self.groups:
            llm, model = self.assembly.models[name], call.model
            most = llm.max_tokens if max_tokens is None else max_tokens
            if (name, most) not in self.meters:
                bounded = llm.model_copy(update={"max_tokens": most})
                self.meters[name, most] = Meter(bounded, self.workshop.packs(), self.examples)
            habit, same = habit_of(self.known(model), call.step, call.language)
            calls = Calls(call.language, call.step, self.meters[name, most], habit, same)
            self.groups[key] = Group(dataset, place, name, calls)
        return self.groups[key]

    def known(self, model: str) -> list[Habit]:
        """What the ledger knows of a model."""
        if model not in self.habits:
            self.habits[model] = self.engine.account.ledger.habits(model)
        return self.habits[model]


@dataclass
class _Turn:
    """One step's turn: which rows it walks through, and what comes of each."""

    walk: Walk
    dataset: str
    place: str
    name: str
    part: Augmenter
    context: StepContext
    notes: Notes
    read_again: bool
    weights: dict[str, float] = field(
        default_factory=dict
    )  # by id, of rows that are there; 0: another one stands for it
    chosen: dict[str, tuple[float, float]] = field(default_factory=dict)  # by id: weight and share of stand-ins
    made: list[Made] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)  # that are taken: a child is made once

    # --- which rows ---

    async def choose(self, partitions: Iterable[Partition]) -> None:
        """The rows the step acts on: all, as many a language as its limit allows, or a sample of very many."""
        there: dict[str, list[tuple[bytes, str, Made | None]]] = {}
        first: list[Row] = []
        for item in partitions:
            for row in read_rows(item.path):
                self.ids.add(row.id)
                if self.part.takes(row):
                    there.setdefault(row.language, []).append((self.walk.rank(row.id), row.id, None))
                    first += [row] if len(first) < 3 else []
        for made in self.walk.flow:
            self.ids.add(made.long.id)
            if self.part.takes(made.short) or self.part.takes(made.long):
                id = made.long.id
                there.setdefault(made.long.language, []).append((self.walk.rank(id), id, made))
        for ranked in there.values():
            ranked.sort(key=lambda item: item[:2])
            self._limit(ranked)
            many = [id for _, id, made in ranked if made is None and id in self.weights]
            if len(many) > MANY and not await self._may_be_paid(first):
                self.weights |= {id: len(many) / SAMPLE if place < SAMPLE else 0.0 for place, id in enumerate(many)}

    def _limit(self, ranked: Sequence[tuple[bytes, str, Made | None]]) -> None:
        all_ = sum(made.weight if made else 1.0 for _, _, made in ranked)
        left = wanted = min(all_, float(self.part.limit or all_))
        surely = min(wanted, sum(made.weight * made.share if made else 1.0 for _, _, made in ranked))
        of_made = sum_made = 0.0
        taken: list[tuple[Made, float]] = []
        for _, id, made in ranked:
            weight = min(left, made.weight if made else 1.0)
            if weight <= 1e-9:
                break
            left -= weight
            if made is None:
                self.weights[id] = 1.0
            else:
                taken.append((made, weight))
                of_made += weight
                sum_made += weight * made.share
        if self.part.limit and of_made:  # others take the place of those that filters drop
            share = max(0.0, min(1.0, (surely - (wanted - of_made)) / of_made))
            self.chosen |= {made.long.id: (weight, max(share, made.share)) for made, weight in taken}
        else:
            self.chosen |= {made.long.id: (weight, made.share) for made, weight in taken}

    async def _may_be_paid(self, rows: Sequence[Row]) -> bool:
        """Whether the ledger has answers of this step at all: it goes by the names under which some rows ask."""
        names: set[tuple[str, str]] = set()
        for row in rows:
            await self._asked(row)
            calls = [*(asked[0] for asked in self.notes.unpaid), *(call for call, _ in self.notes.paid.values())]
            names |= {(call.model, call.step) for call in calls}
        return any(habit.step == step for model, step in names for habit in self.walk.known(model))

    # --- what comes of a row ---

    async def _asked(self, row: Row) -> Sequence[Row | Drop | Skip]:
        self.notes.paid, self.notes.unpaid = {}, []
        try:
            return list(await self.part.augment(row, self.context))
        except LanguageNotWritten as fault:
            return [Skip(fault.reason, fault.detail)]
        except RowFault as fault:
            return [Drop(fault.reason, fault.detail)]

    async def row(self, row: Row) -> list[Row]:
        """The rows that a row leaves behind, itself included, as far as the ledger knows them."""
        weight = self.weights[row.id]
        if not weight:
            return [row] if self.part.keep == "always" else []
        made = await self._asked(row)
        self._skipped(made, weight)
        touched: dict[int, Group] = {}
        for key, (call, answer) in self.notes.paid.items():
            group = self.walk.group(self.dataset, self.place, self._of(call), call)
            touched[id(group)] = group
            if key not in self.walk.seen:
                self.walk.seen.add(key)
                group.paid += 1
                group.saved += answer.cost or 0.0
        as_it_is = Made(row, row, weight)
        for asked in self.notes.unpaid:
            group = self._unpaid(as_it_is, asked, asked)
            touched[id(group)] = group
        for group in touched.values():
            group.rows += weight
            group.sampled |= weight != 1.0
        children = [item for item in made if isinstance(item, Row) and item.id not in self.ids]
        self.ids |= {child.id for child in children}
        worked = any(isinstance(item, Row if self.part.keep == "unmade" else Row | Drop) for item in made)
        stays = self.part.keep == "always" or (self.part.keep in ("skipped", "unmade") and not worked)
        return [*([row] if stays else []), *children]

    def _unpaid(
        self,
        row: Made,
        short: Asked,
        long: Asked,
        *,
        stand_in: bool = False,
    ) -> Group:
        """Count a call and make stand-ins of what it would bring."""
        call = long[0]
        group = self.walk.group(self.dataset, self.place, self._of(call), call)
        sizes = [self.part.call_size(item, call.step, call.language, self.context) for item in (row.short, row.long)]
        size = sizes[0] and sizes[1] and _either(Span(*sizes[0]), Span(*sizes[1]))
        if stand_in or call.key not in self.walk.seen:
            if not stand_in:
                self.walk.seen.add(call.key)
            prompts = [prompt_of(asked, item, row.grown) for asked, item in ((short, row.short), (long, row.long))]
            group.calls.add(prompts[0], prompts[1], size, row.weight, row.share, TRIES)
            group.made += row.weight if stand_in else 0.0
            group.declared += row.weight if row.long.origin.source in self.walk.declared else 0.0
            self._followed(row, call, prompts)
        if self.read_again:
            low, high = group.calls.characters(size)
            shorter, longer = (
                list(self.part.expected(item, call.language, length, self.context))
                for item, length in ((row.short, low), (row.long, high))
            )
            most = row.grown + self.walk.assembly.models[self.name].max_tokens
            for one, other in zip(shorter, longer, strict=False):
                if other.id not in self.ids:
                    self.ids.add(other.id)
                    self.made.append(Made(one, other, row.weight, row.share * LEFT, most))
        return group

    def _of(self, call: Call) -> str:
        """The recipe's name of the model that a call is for."""
        names = {self.walk.engine.model(name).name: name for name in reversed(self.part.models())}
        return names.get(call.model, self.name)

    def _followed(self, row: Made, call: Call, prompts: Sequence[Prompt]) -> None:
        """Count the calls that an answer may bring about: as long as the first one and its answer, at the most."""
        grown = self.walk.assembly.models[self.name].max_tokens
        for name, step, size, (least, most), own in self.part.followed(
            row.long, call.step, call.language, self.context
        ):
            group = self.walk.group(
                self.dataset, self.place, name, call._replace(step=step, model=self.walk.engine.model(name).name)
            )
            short, long = (_grown(prompt, own.messages if own else None, grown) for prompt in prompts)
            share = row.share * least / most if most else 0.0
            group.calls.add(short, long, size, row.weight * most, share, TRIES)

    def _skipped(self, made: Iterable[object], weight: float) -> None:
        for item in made:
            if isinstance(item, Skip):
                why = item.detail if item.reason == "language_not_written" else item.reason.replace("_", " ")
                self.walk.skips[why] += round(weight)

    async def stand_ins(self, flow: Sequence[Made]) -> list[Made]:
        """Walk the stand-ins of earlier steps through this one; returns those that the next step has before it."""
        kept: list[Made] = []
        self.notes.look_up = False
        for made in flow:
            if made.long.id not in self.chosen:
                kept.append(made)
                continue
            weight, share = self.chosen[made.long.id]
            row = Made(made.short, made.long, weight, share, made.grown)
            results = await self._asked(made.short)
            short = self.notes.unpaid
            if made.long is not made.short:
                results = await self._asked(made.long)
            long = self.notes.unpaid or short
            self._skipped(results, weight)
            for index, asked in enumerate(long):
                group = self._unpaid(row, short[index] if index < len(short) else asked, asked, stand_in=True)
                group.rows += weight
            worked = any(isinstance(item, Row if self.part.keep == "unmade" else Row | Drop) for item in results)
            stays = self.part.keep == "always" or (self.part.keep in ("skipped", "unmade") and not worked)
            if rest := made.weight - (0.0 if stays else weight):
                kept.append(Made(made.short, made.long, rest, made.share, made.grown))
        self.notes.look_up = True
        return self._thinned([*kept, *self.made])

    def _thinned(self, flow: Sequence[Made]) -> list[Made]:
        """A sample of very many, each standing for several."""
        by_language: dict[str, list[Made]] = {}
        for made in flow:
            by_language.setdefault(made.long.language, []).append(made)
        thinned: list[Made] = []
        for items in by_language.values():
            if len(items) > MANY:
                ranked = sorted(items, key=lambda item: self.walk.rank(item.long.id))[:SAMPLE]
                more = sum(item.weight for item in items) / sum(item.weight for item in ranked)
                items = [Made(item.short, item.long, item.weight * more, item.share, item.grown) for item in ranked]
            thinned += items
        return thinned


def _either(short: Span, long: Span) -> tuple[float, float]:
    """The size of an answer about a row of which only the shortest and the longest form are known."""
    span = together(short, Span(1.0, max(1.0, (long.low * long.high / (short.low * short.high)) ** 0.5)))
    return span.low, span.high


def prompt_of(asked: Asked, row: Row, grown: int) -> Prompt:
    """A call about a row as its size goes; ``grown`` is how many tokens longer it may be in the worst case."""
    _, messages, shape = asked
    text = "".join(message.content for message in messages)
    # As the sender reserves for it: a token a byte at the most, and the schema in the provider's own words.
    most = _bytes(text, messages) + 2 * len(shape.text.encode()) + 256
    return Prompt(text, len(messages), len(words(row.body)), row.language, len(shape.text), most + grown)


def _bytes(text: str, messages: Sequence[Message]) -> int:
    return len(text.encode("utf-8", "replace")) + 16 * len(messages)


def _grown(prompt: Prompt, own: Sequence[Message] | None, grown: int) -> Prompt:
    """The prompt of a call that follows one with ``prompt``: with an answer more in it, and its own messages if it has such."""
    most = prompt.most + grown
    if own is None:
        return replace(prompt, most=most)
    text = "".join(message.content for message in own)
    return replace(prompt, text=text, messages=len(own), most=most + _bytes(text, own))
