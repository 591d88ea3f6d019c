"""What a recipe would do before it does it: rows, calls, tokens, money and time, by data set, step and language.

Sources are read and filters run for real, in a folder that is thrown away. How the steps that ask a model are walked through
says langmill.plan.walk, how tokens, dollars and seconds come about langmill.plan.estimate.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from langmill.api import Part, Price, StageForecast
from langmill.calls.engine import Engine
from langmill.disk.store import RunFolder
from langmill.ledger.ledger import Ledger
from langmill.licensing.gate import refuse
from langmill.licensing.notes import notes
from langmill.parts.contexts import held_against
from langmill.pipeline.expected import held_against as beside_expected
from langmill.pipeline.expected import lost
from langmill.pipeline.segments import Loaded, Workshop
from langmill.plan.ahead import Made
from langmill.plan.declared import declared
from langmill.plan.estimate import NOTHING, Span, without_language
from langmill.plan.evaluations import ExamForecast, evaluations
from langmill.plan.training import stages
from langmill.plan.walk import Group, Walk
from langmill.recipe.able import all_unable
from langmill.recipe.absent import Absent
from langmill.recipe.assembly import Assembly
from langmill.recipe.dataset_plan import DatasetPlan


@dataclass(frozen=True)
class StepCost:
    """One step of one data set in one language, or one model of an evaluation (``dataset`` is "eval NAME" then). ``calls`` are all
    that it takes, ``paid`` those that the ledger has answered (``saved`` is their price in US dollars); tokens, ``dollars``, ``batch``
    (through the provider's batch API) and ``seconds`` are for the others, None where no price is known. ``worst`` is what they can not
    exceed while none is lost on its way. ``made`` counts calls about rows that are not there yet, ``declared`` those of them that rest
    on what absent sources declare (the others are about rows that earlier steps have yet to make), ``known`` the answers
    that lengths were taken from (0: the step's own word), ``sampled`` tells that not every row was walked through, ``counted`` that the
    model's tokenizer was at hand, ``follows`` that the calls are about answers of other calls: to mend or to judge them."""

    dataset: str
    step: str
    place: str
    language: str
    model: str
    rows: int
    calls: int
    paid: int
    saved: float
    prompt_tokens: Span
    answer_tokens: Span
    dollars: Span | None
    batch: Span | None
    worst: float | None
    seconds: Span
    made: int
    declared: int
    known: int
    sampled: bool
    counted: bool
    follows: bool


@dataclass
class Planned:
    """The plan: rows by source and language, what of each source was ``lost`` (rejected or skipped, by reason), how many sources there
    are, which of them differ from what is declared, what is absent (with declared counts); of the absent ones the rows that the plan
    reckons with (``declared``), those that declare none (``uncounted``), those whose rows are dealt out over all languages (``dealt``),
    the data sets that rest on them (``resting``); what is to be said of licences and writers, what training lacks on this machine, what
    keeps models from answering, the steps that ask a model, what is skipped and how often, models without a price by their name in the
    recipe, the recipe's own cap, the seconds in all but training and the examination of weights, what the stages of training take, what
    evaluations ask, and what a person should be told about the ledger, if anything."""

    rows: dict[str, dict[str, int]] = field(default_factory=dict)
    lost: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    sources: int = 0
    differing: dict[str, str] = field(default_factory=dict)
    absent: tuple[Absent, ...] = ()
    declared: dict[str, dict[str, int]] = field(default_factory=dict)
    uncounted: tuple[str, ...] = ()
    dealt: tuple[str, ...] = ()
    resting: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    unready: list[str] = field(default_factory=list)
    unable: list[str] = field(default_factory=list)
    steps: list[StepCost] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    unpriced: dict[str, str] = field(default_factory=dict)
    budget: float | None = None
    seconds: Span = NOTHING
    stages: list[StageForecast] = field(default_factory=list)
    examinations: list[ExamForecast] = field(default_factory=list)
    notice: str = ""

    @property
    def dollars(self) -> Span:
        """US dollars that are still to be paid, as far as prices are known."""
        return sum((cost.dollars for cost in self.steps if cost.dollars), NOTHING)

    @property
    def worst(self) -> float:
        """US dollars that a run can not exceed while no call is lost on its way, as far as prices are known."""
        return sum(cost.worst for cost in self.steps if cost.worst)

    @property
    def saved(self) -> float:
        """US dollars that the answers in the ledger have cost."""
        return sum(cost.saved for cost in self.steps)


async def plan(assembly: Assembly, limit: int | None = None) -> Planned:
    """Read what is there and count. Sources that are absent are listed; those that declare their size are reckoned with, the others
    left out, and so is a step whose files are absent. Raises RecipeError where a licence forbids what the recipe does."""
    refuse(assembly)
    planned = Planned(
        budget=assembly.recipe.budget,
        sources=len(assembly.sources),
        absent=assembly.absent(),
        unready=assembly.unready(),
        unable=all_unable(assembly),
        notes=[*assembly.foreign(), *notes(assembly)],
    )
    gone = {item.name for item in planned.absent}
    idle = {item.place for item in planned.absent if not item.name}  # steps that a file is missing to
    present = [name for name in assembly.sources if name not in gone]
    with tempfile.TemporaryDirectory(prefix="langmill-plan-") as scratch, Ledger() as ledger:
        store = RunFolder(Path(scratch))
        full = _full(assembly, present)
        asked = {name: splits for name, splits in assembly.benchmarks.items() if name in full}
        shop = replace(Workshop.of(assembly, store.root, whole=False), benchmarks=asked)
        engine = Engine(
            assembly.models, ledger, run="plan", budget=None, context=assembly.context("llm"), report=lambda event: None
        )
        walk = Walk(assembly, store, shop, engine, lambda event: None, limit)
        walk.begin()
        sources = walk.load(present)
        ahead = declared(assembly, [name for name in assembly.sources if name in gone], limit)
        walk.made, walk.declared = dict(ahead.made), set(ahead.made)
        for name, loaded in sources.items():
            planned.rows[name] = walk.read(loaded)
            planned.lost[name] = lost(loaded)
            if told := beside_expected(assembly.sources[name].expect, loaded).difference:
                planned.differing[name] = told
        planned.declared = {name: _by_language(made) for name, made in ahead.made.items()}
        planned.uncounted = tuple(name for name in assembly.sources if name in gone and name not in ahead.made)
        planned.dealt = ahead.dealt
        sources |= {name: Loaded(name, (), {}, False) for name in ahead.made}
        for dataset in assembly.datasets.values():
            there = tuple(name for name in dataset.inputs if name in sources or name in assembly.datasets)
            steps = tuple(
                step for step in dataset.steps if step.place not in idle and not _idle(step.part, assembly, full)
            )
            await walk.make(DatasetPlan(dataset.name, there, steps, ()), sources)
        planned.resting = tuple(
            name
            for name in assembly.datasets
            if any(item.long.origin.source in walk.declared for item in walk.made[name])
        )
        planned.notice = ledger.notice
        planned.stages = stages(walk)
        planned.examinations = await evaluations(walk)
        _sum_up(planned, walk, assembly)
    return planned


def _by_language(made: Sequence[Made]) -> dict[str, int]:
    rows: dict[str, float] = {}
    for item in made:
        rows[item.long.language] = rows.get(item.long.language, 0.0) + item.weight
    return {language: round(number) for language, number in sorted(rows.items())}


def _full(assembly: Assembly, present: Sequence[str]) -> set[str]:
    """The sources that are there, and the data sets that one of them flows into."""
    found = set(present)
    for dataset in assembly.datasets.values():
        if found.intersection(dataset.inputs):
            found.add(dataset.name)
    return found


def _idle(part: Part, assembly: Assembly, full: set[str]) -> bool:
    """Whether a step holds rows against data sets of which none has a source that is there yet."""
    against = getattr(part, "against", None)
    return against is not None and full.isdisjoint(held_against(against, assembly.benchmarks))


def _sum_up(planned: Planned, walk: Walk, assembly: Assembly) -> None:
    seconds: dict[str, Span] = {}
    for group in walk.groups.values():
        llm, cost = assembly.models[group.name], _cost(group, assembly)
        if group.label and not cost.calls:  # an earlier evaluation asks the same
            continue
        planned.steps.append(cost)
        if cost.dollars is None:
            planned.unpriced[group.name] = llm.model
        before = seconds.get(
            group.place, NOTHING
        )  # a step's languages share the model's room; its batches go side by side
        seconds[group.place] = before.widest(cost.seconds) if llm.batch else before + cost.seconds
    planned.seconds = sum(seconds.values(), NOTHING)
    planned.skipped = dict(sorted(walk.skips.items()))


def _cost(group: Group, assembly: Assembly) -> StepCost:
    calls, llm = group.calls, assembly.models[group.name]
    named = without_language(calls.step, calls.language)
    price = llm.price()
    dollars = calls.dollars(price) if price else None
    batch = dollars.times(price.batch, price.batch) if dollars and price and price.batch is not None else None
    return StepCost(
        dataset=group.dataset,
        step=group.label or " ".join(named),
        follows=group.follows if group.label else len(named) > 1,
        place=group.place,
        language=calls.language,
        model=llm.model,
        rows=round(group.rows),
        calls=round(calls.n) + group.paid,
        paid=group.paid,
        saved=group.saved,
        prompt_tokens=calls.prompt_tokens(),
        answer_tokens=calls.answer_tokens(),
        dollars=batch if llm.batch and batch else dollars,
        batch=batch,
        worst=calls.worst(_prices(group.name, assembly)) if price else None,
        seconds=calls.seconds(),
        made=round(group.made),
        declared=round(group.declared),
        known=calls.habit.calls if calls.habit else 0,
        sampled=group.sampled,
        counted=calls.meter.counts,
    )


def _prices(name: str, assembly: Assembly) -> list[Price]:
    """The prices of a model and of those that take over from it, as far as they are known."""
    found, next_ = [], name
    while next_:
        llm = assembly.models[next_]
        found.append(llm.price())
        next_ = llm.fallback or ""
    return [price for price in found if price]


def facts(planned: Planned) -> dict[str, Any]:
    """The plan for programs. Ranges are {low, high}, money is in US dollars."""
    return {
        "rows": planned.rows,
        "lost": planned.lost,
        "differing": planned.differing,
        "absent": [item.facts() for item in planned.absent],
        "declared": planned.declared,
        "uncounted": planned.uncounted,
        "dealt": planned.dealt,
        "resting": planned.resting,
        "notes": planned.notes,
        "unready": planned.unready,
        "unable": planned.unable,
        "steps": [asdict(cost) for cost in planned.steps],
        "skipped": planned.skipped,
        "unpriced": planned.unpriced,
        "budget": planned.budget,
        "dollars": asdict(planned.dollars),
        "saved": planned.saved,
        "worst": planned.worst,
        "seconds": asdict(planned.seconds),
        "stages": [asdict(stage) for stage in planned.stages],
        "examinations": [asdict(one) for one in planned.examinations],
        "notice": planned.notice,
    }
