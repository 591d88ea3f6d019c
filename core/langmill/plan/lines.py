"""The plan for people: a table of at most 100 characters a line, totals last."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import reduce
from textwrap import wrap

from langmill.api import Reach, Room, StageForecast
from langmill.pipeline.expected import lost_words
from langmill.plan.estimate import FAST, NOTHING, SLOW, Span
from langmill.plan.evaluations import ExamForecast
from langmill.plan.forecast import Planned, StepCost
from langmill.recipe.absent import told as absent_lines

_HEAD = ("rows", "calls", "paid", "tokens in", "tokens out", "US$", "batch US$", "time")
_NAME = 28  # characters of a data set's or a step's name, at most
_MOST = 100  # characters a line
_GB = 1 << 30
FAR = 4  # times a device's memory from which on nobody asks what to change


def lines(planned: Planned) -> list[str]:
    """What is to be told about the ledger, sources, then each data set's steps by language, then what it all comes to."""
    out = planned.notice.splitlines()
    for source, by_language in planned.rows.items():
        out.append(_source(source, by_language))
        out += [folded for line in lost_words(planned.lost.get(source, {})) for folded in _folded(f"  {line}")]
    out += [f"{source}: {told}" for source, told in planned.differing.items()]
    out += absent_lines(planned.absent, planned.sources)
    out += [folded for line in _declared(planned) for folded in _folded(line)]
    out += [folded for note in planned.notes for folded in _folded(f"note: {note}")]
    out += [f"can not train yet: {line}" for line in planned.unready]
    out += [f"can not answer yet: {line}" for line in planned.unable]
    if planned.steps:
        out += ["", *_table(planned), ""]
    else:
        out.append("no step asks a model" if not planned.skipped else "no model is asked")
    return [*out, *_notes(planned), *_training(planned.stages, planned.resting), *_examining(planned.examinations)]


def _source(source: str, by_language: dict[str, int]) -> str:
    listed = "  ".join(f"{language} {n:,}" for language, n in by_language.items())
    return f"{source}: {sum(by_language.values()):,} rows   {listed}".rstrip()


def _declared(planned: Planned) -> Iterable[str]:
    """What the plan makes of absent sources."""
    if planned.declared:
        rows = sum(sum(by_language.values()) for by_language in planned.declared.values())
        yield (
            f"declared: {rows:,} rows of {len(planned.declared)} absent sources are reckoned with, by number as expect: has them; as "
            "long as its tokens say, else as such rows usually are"
        )
    if planned.dealt:
        yield f"declared: no language is told of {', '.join(planned.dealt)}: dealt out over all languages of the recipe"
    if planned.uncounted:
        yield f"not counted, since they declare neither rows nor tokens (expect:): {', '.join(planned.uncounted)}"


def _table(planned: Planned) -> list[str]:
    """A head and rows for each data set, then the sum; no column for a batch price that nobody has."""
    high = max((cost.dollars.high for cost in planned.steps if cost.dollars), default=0.0)
    scale = math.floor(math.log10(max(high, 1e-6)))
    decimals = max(2, 3 - scale if scale >= 0 else 2 - scale) if high < 1000 else 0
    rows: list[tuple[str, ...]] = []
    for dataset in dict.fromkeys(cost.dataset for cost in planned.steps):
        rows += [() if rows else ("",), (_marked(dataset[:_NAME], planned), *_HEAD)]
        for cost in _together(planned.steps):
            if cost.dataset == dataset:
                rows.append((f"  {cost.step} {cost.language}".rstrip()[:_NAME], *_figures(cost, decimals)))
    rows += [(), ("all", *_sum(planned, decimals))]
    rows = rows[1:]
    if not any(cost.batch for cost in planned.steps):
        drop = 1 + _HEAD.index("batch US$")
        rows = [row[:drop] + row[drop + 1 :] for row in rows]
    widths = [max(len(row[column]) for row in rows if row) for column in range(len(rows[0]))]
    gap = "  " if sum(widths) + 2 * (len(widths) - 1) <= _MOST else " "
    return [_row(row, widths, gap) for row in rows]


def _marked(name: str, planned: Planned) -> str:
    """A data set's or an evaluation's name, with a word where it rests on what absent sources declare."""
    resting = any(cost.declared for cost in planned.steps if cost.dataset[:_NAME] == name)
    return f"{name} (declared)" if resting else name


def _together(costs: Sequence[StepCost]) -> list[StepCost]:
    """Calls that follow others are one line for all languages, after the step's own."""
    lines: list[StepCost] = []
    for place in dict.fromkeys((cost.dataset, cost.place) for cost in costs):
        mine = [cost for cost in costs if (cost.dataset, cost.place) == place]
        lines += [cost for cost in mine if not cost.follows]
        for name in dict.fromkeys((cost.step, cost.model) for cost in mine if cost.follows):
            lines.append(reduce(_added, [cost for cost in mine if (cost.step, cost.model) == name]))
    return lines


def _added(one: StepCost, other: StepCost) -> StepCost:
    def money(mine: Span | None, theirs: Span | None) -> Span | None:
        return None if mine is None or theirs is None else mine + theirs

    return replace(
        one, language="", calls=one.calls + other.calls, paid=one.paid + other.paid,
        prompt_tokens=one.prompt_tokens + other.prompt_tokens, answer_tokens=one.answer_tokens + other.answer_tokens,
        dollars=money(one.dollars, other.dollars), batch=money(one.batch, other.batch), seconds=one.seconds + other.seconds,
    )  # fmt: skip


def _row(cells: Sequence[str], widths: Sequence[int], gap: str) -> str:
    """The name from the left, figures from the right."""
    padded = [
        cell.rjust(width) if number else cell.ljust(width)
        for number, (cell, width) in enumerate(zip(cells, widths, strict=bool(cells)))
    ]
    return gap.join(padded).rstrip()


def _figures(cost: StepCost, decimals: int) -> tuple[str, ...]:
    rows = "" if cost.follows else _number(cost.rows)  # they are counted where the first call about them is
    if not _ahead(cost):
        return rows, _number(cost.calls), "all", "", "", "", "", ""
    calls = _number(cost.calls) if cost.calls > cost.paid else "<1"
    return (
        rows,
        f"{'~' if (cost.made or cost.sampled or cost.follows) and cost.calls > cost.paid else ''}{calls}",
        _number(cost.paid),
        _tokens(cost.prompt_tokens),
        _tokens(cost.answer_tokens),
        _money(cost.dollars, decimals),
        _money(cost.batch, decimals),
        _time(cost.seconds),
    )


def _ahead(cost: StepCost) -> bool:
    """Whether anything is still to be paid: a fraction of a call, too."""
    return cost.calls > cost.paid or cost.prompt_tokens.high > 0


def _sum(planned: Planned, decimals: int) -> tuple[str, ...]:
    steps = planned.steps
    calls, paid = sum(cost.calls for cost in steps), sum(cost.paid for cost in steps)
    if not any(map(_ahead, steps)):
        return "", _number(calls), "all", "", "", "", "", ""
    about = any(cost.made or cost.sampled or cost.follows for cost in steps)
    batches = [cost.batch for cost in steps if cost.batch]
    return (
        "",
        f"{'~' if about else ''}{_number(calls)}",
        _number(paid),
        _tokens(sum((cost.prompt_tokens for cost in steps), NOTHING)),
        _tokens(sum((cost.answer_tokens for cost in steps), NOTHING)),
        _money(planned.dollars if any(cost.dollars for cost in steps) else None, decimals),
        _money(sum(batches, NOTHING) if batches else None, decimals),
        _time(planned.seconds),
    )


def _notes(planned: Planned) -> Iterable[str]:
    steps = [cost for cost in planned.steps if _ahead(cost)]
    for why, n in planned.skipped.items():
        yield f"skipped: {n:,} times, {why}"
    if any(cost.made for cost in steps):
        yield "~ counts rows that are not there yet; some of them checks and filters will take away"
    if any(cost.follows for cost in steps):
        yield "repair, judge and the like follow an answer, and are counted by what may be: from few to many"
    if any(cost.sampled for cost in steps):
        yield "~ stands for a sample where a language has very many rows"
    for model in dict.fromkeys(cost.model for cost in steps):
        yield _grounds(model, [cost for cost in steps if cost.model == model])
    if any(not cost.known for cost in steps):
        yield (
            f"time: {FAST[0]:g} to {SLOW[0]:g} s a call and {SLOW[1]:g} to {FAST[1]:g} tokens a second are assumed where none was timed"
        )
    if planned.steps and not steps:
        yield f"all paid: a run costs $0, ${_amount(planned.saved)} saved by answers that the ledger has"
        return
    if any(cost.paid for cost in planned.steps):
        yield f"already paid: ${_amount(planned.saved)} saved by answers that the ledger has"
    for name, model in planned.unpriced.items():
        place = "llm:" if name == "llm" else f"models: {name}:"
        yield f"no price is known for {model}: give it in {place} prices: {{input: …, output: …}}, US$ per million tokens"
    priced = [cost for cost in steps if cost.dollars is not None]
    if priced and not planned.worst:
        yield "a run costs $0: the model is free"
    elif priced:
        rest = " (models without a price aside)" if len(priced) < len(steps) else ""
        yield f"a run costs ${_amount(planned.dollars.low)}-{_amount(planned.dollars.high)}{rest}"
        yield f"at the very most ${_amount(planned.worst)}: every answer max_tokens long and of no use until the third time,"
        yield "every prompt a token a byte; calls that are lost on their way may be billed on top"
        if planned.budget is not None and planned.dollars.high > planned.budget:
            yield f"budget: ${planned.budget:g} in the recipe may stop it before its end"
        elif planned.budget is None and planned.dollars.high > 0:
            yield "--max-cost USD caps it, whatever happens"


def _grounds(model: str, costs: Sequence[StepCost]) -> str:
    tokens = "by its own tokenizer" if costs[0].counted else "by characters a token"
    known = ["as earlier ones"] * any(cost.known for cost in costs)
    declared = ["as the steps declare"] * any(not cost.known and not _examines(cost) for cost in costs)
    unknown = ["as max_tokens at most"] * any(not cost.known and _examines(cost) for cost in costs)
    answers = f"as long {' or '.join((*known, *declared, *unknown))}"
    return f"{model}: tokens {tokens}, answers {answers}"


def _examines(cost: StepCost) -> bool:
    """Whether it is an evaluation's own question, whose answer nobody can foretell."""
    return cost.place.startswith("eval[") and not cost.follows


# --- training ---


def _training(stages: Sequence[StageForecast], resting: Sequence[str]) -> Iterable[str]:
    """Each stage; what is noted of several is told once. ``resting``: data sets that rest on what absent sources declare."""
    told: set[str] = set()
    for stage in stages:
        yield from ("", *_stage(stage, stage.data in resting))
        for note in stage.notes:
            yield from () if note in told else _folded(f"  {note}")
        told.update(stage.notes)


def _stage(stage: StageForecast, declared: bool) -> Iterable[str]:
    """What a stage learns from, then a few lines for each kind of device."""
    size = (
        ""
        if stage.parameters is None
        else f" ({_number(stage.parameters)} parameters, {_number(stage.trained or 0)} trained)".replace("G", "B")
    )
    yield from _folded(f"stage {stage.stage}: {stage.base}{size}")
    left = f", {_reach(stage.left_out)} left out as too long" if round(stage.left_out[1]) else ""
    drawn = f"{_reach(stage.examples)} examples, {_reach(stage.tokens)} tokens{' (declared)' if declared else ''}"
    yield from _folded(f"  {stage.data}: {_reach(stage.rows)} train rows{left}; in all {drawn}")
    for room in stage.rooms:
        yield from _room(room)


def _room(room: Room) -> Iterable[str]:
    name = f"on this machine ({room.device}, {room.total / _GB:.0f} GB)" if room.total else f"on {room.device}"
    if room.total is None and room.cards:
        name = f"{name} of {room.cards[0]} GB or more"
    far = bool(room.total and room.need > FAR * room.total)
    time = f", {_time(Span(*room.seconds))} ({room.timed_on})" if room.seconds and not far else ""
    yield f"  {name}: {_reach(room.steps)} steps{time}"
    if room.memory:
        listed = ", ".join(f"{what} {size / _GB:.1f}" for what, size in room.memory.items())
        yield from _folded(f"    memory {room.need / _GB:.1f} GB in {room.held}: {listed}")
    if far:
        yield "    it does not fit there by far"
    elif room.advice:
        yield f"    {'it does not fit there' if room.total else 'it fits no single card'}; change, one after another:"
        yield from (f"      {line}" for line in room.advice)


def _reach(reach: Reach) -> str:
    return _tokens(Span(*reach))


def _folded(line: str) -> list[str]:
    """A line, or several that are indented by four."""
    indent = len(line) - len(line.lstrip())
    return wrap(line, _MOST, subsequent_indent=" " * (indent + 4), break_long_words=False, break_on_hyphens=False)


# --- evaluation ---


def _examining(exams: Sequence[ExamForecast]) -> Iterable[str]:
    """What weights on this machine are asked, and what can not be told; what providers are asked is in the table."""
    for name in dict.fromkeys(exam.evaluation for exam in exams):
        mine = [exam for exam in exams if exam.evaluation == name]
        told = [exam for exam in mine if exam.here and not exam.why]
        if any(exam.why for exam in mine):
            yield from ("", *_folded(f"eval {name}: can not be told: {mine[0].why}"))
        elif told:
            one, models = told[0], ", ".join(exam.model for exam in told)
            scored = f", {_number(one.continuations)} likelihoods" if one.continuations else ""
            about = "~" if one.made else ""
            rows = f"{about}{_number(one.rows)} rows{' (declared)' if one.declared else ''}"
            asked = f"{about}{_number(one.questions)} questions about {rows}{scored}"
            yield from ("", *_folded(f"eval {name}: {asked}, to {models} on this machine"))


# --- figures ---


def _number(n: float) -> str:
    """Whole below ten thousand, then two or three figures."""
    if n < 9_999.5:
        return f"{n:,.0f}"
    for size, letter in ((1e3, "k"), (1e6, "M"), (1e9, "G")):
        if n < 999.5 * size:
            return f"{n / size:.0f}{letter}" if n >= 9.95 * size else f"{n / size:.1f}{letter}"
    return f"{n / 1e9:,.0f}G"


def _tokens(span: Span) -> str:
    low, high = _number(span.low), _number(span.high)
    return low if low == high else f"{low}-{high}"


def _amount(dollars: float) -> str:
    """Cents at least, two figures of what is less."""
    if 0 < dollars < 0.1:
        return f"{dollars:.2g}" if dollars >= 1e-4 else f"{dollars:.7f}"
    return f"{dollars:,.2f}" if dollars < 100 else f"{dollars:,.0f}"


def _money(span: Span | None, decimals: int) -> str:
    if span is None or not span.high:
        return "?" if span is None else "0"
    return f"{span.low:,.{decimals}f}-{span.high:,.{decimals}f}"


def _time(span: Span) -> str:
    if span.high <= 99:
        return f"{span.low:.0f}-{span.high:.0f} s"
    if span.high <= 99 * 60:
        return f"{span.low / 60:.0f}-{span.high / 60:.0f} min"
    if span.high <= 200 * 3600:
        return f"{span.low / 3600:.1f}-{span.high / 3600:.0f} h"
    return f"{span.low / 86400:.1f}-{span.high / 86400:.0f} days"
