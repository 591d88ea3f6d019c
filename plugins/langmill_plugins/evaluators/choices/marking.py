"""From answers to items: what was chosen in each order of the options, and what that is worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, isnan, prod
from typing import Any

from langmill.api import Answered, Choice, Item, Likelihood, Pack, Row
from langmill_plugins.replies.reading import read_choice

from .chance import chance_exact, chance_partial, overlap
from .orders import shown
from .positions import Place
from .prompts import Way

EXCERPT = (
    160  # characters of the beginning and of the end of a reply that an item keeps; all of it is among the answers
)


@dataclass(frozen=True, slots=True)
class Try:
    """An item asked once. ``order`` has the options' own numbers place by place; ``places`` are the chosen places, None where no
    answer could be read; ``facts`` is more, for people."""

    order: tuple[int, ...]
    places: tuple[int, ...] | None
    facts: Mapping[str, Any]

    @property
    def chosen(self) -> tuple[int, ...] | None:
        """The chosen options by their own numbers."""
        return None if self.places is None else tuple(sorted(self.order[place] for place in self.places))

    def plain(self) -> dict[str, Any]:
        """As an item keeps it."""
        chosen = None if self.chosen is None else list(self.chosen)
        return {"order": list(self.order), "chosen": chosen, "places": self.places and list(self.places), **self.facts}


def tries_of(one: Answered, body: Choice, pack: Pack, others: Sequence[Pack]) -> Iterator[tuple[Way, Try]]:
    """What was chosen, in each way that the question asks."""
    order = tuple(one.question.facts["order"])
    put = shown(body, order)
    ways: Sequence[Way] = one.question.facts["ways"]
    if ways == ["generation"]:
        yield "generation", _read(one, order, put, pack, others)
        return
    size = len(order)
    for way, start in zip(ways, range(0, size * len(ways), size), strict=True):
        found = one.likelihoods[start : start + size]
        values = [likelihood.log_probability for likelihood in found]
        if way == "text":
            values = [_by_byte(likelihood, text) for likelihood, text in zip(found, put.options, strict=True)]
        yield way, Try(order, best(values, len(put.answers)), {})


def _read(one: Answered, order: tuple[int, ...], put: Choice, pack: Pack, others: Sequence[Pack]) -> Try:
    cut = one.answer is not None and one.answer.finish == "length"
    reading = read_choice(one.text, put, pack, others, cut=cut)
    text = one.text if len(one.text) <= 2 * EXCERPT else f"{one.text[:EXCERPT]} […] {one.text[-EXCERPT:]}"
    facts = {"how": reading.how, "read": reading.excerpt, "reply": text}
    if one.answer and one.answer.finish != "stop":
        facts["finish"] = one.answer.finish
    return Try(order, reading.answers, facts)


def best(values: Sequence[float], count: int) -> tuple[int, ...] | None:
    """The places of the ``count`` greatest values, ascending; of equals the earlier one. An option may be impossible (minus
    infinity); None where a value is no number or the greatest is not finite: weights that are broken have chosen nothing."""
    if any(map(isnan, values)) or not isfinite(max(values)):
        return None
    return tuple(sorted(sorted(range(len(values)), key=lambda place: (-values[place], place))[:count]))


def _by_byte(likelihood: Likelihood, text: str) -> float:
    return likelihood.log_probability / max(1, len(text.encode("utf-8", "surrogatepass")))


def items_of(row: Row, way: Way, tries: Sequence[Try], *, partial: bool) -> Iterator[Item]:
    """The items of a row that was asked in one way: right or not; how steady, where it was asked in several orders; and, with
    ``partial``, how much of it was right. A try that could not be read is worth nothing in any of them, and marks the item."""
    body = row.body
    assert isinstance(body, Choice)
    size, gold = len(body.options), body.answers
    told = way != "generation" or len(gold) == 1
    readable = all(one.chosen is not None for one in tries)
    facts: dict[str, Any] = {"gold": list(gold), **tries[0].plain()}
    if len(tries) > 1:
        facts["more"] = [one.plain() for one in tries[1:]]

    def item(metric: str, values: Sequence[float], chance: float, **more: Any) -> Item:
        value = sum(values) / len(values)
        return Item(row.id, row.language, metric, value, chance, readable, facts=more)

    exact = chance_exact(size, len(gold), told=told)
    yield item(way, [float(one.chosen == gold) for one in tries], exact, **facts)
    if partial:
        shares = [overlap(one.chosen, gold) if one.chosen else 0.0 for one in tries]
        yield item(f"{way} partial", shares, chance_partial(size, len(gold), told=told))
    if len(tries) > 1:
        steady = readable and len({one.chosen for one in tries}) == 1
        yield item(f"{way} steady", [float(steady)], prod([exact] * (len(tries) - 1)))


def places_of(body: Choice, tries: Sequence[Try]) -> Iterator[Place]:
    """The place of the key and the chosen one in each try, where one option is right; several chosen ones are none."""
    if len(body.answers) == 1:
        for one in tries:
            chosen = one.places[0] if one.places and len(one.places) == 1 else None
            yield Place(len(one.order), one.order.index(body.answers[0]), chosen)
