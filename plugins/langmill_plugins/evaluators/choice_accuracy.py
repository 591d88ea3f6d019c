"""Accuracy on multiple-choice rows: by log-likelihood, or by what a model writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import model_validator

from langmill.api import (
    Answered,
    Choice,
    EvalContext,
    Evaluator,
    Field,
    Item,
    Marked,
    Message,
    Metric,
    MissingInput,
    Question,
    Row,
    Table,
)
from langmill_plugins.replies.reading import reader
from langmill_plugins.text.wording import folded

from .choices.marking import Try, items_of, places_of, tries_of
from .choices.orders import orders_of, shown
from .choices.positions import table_of
from .choices.prompts import Way, continuations_of, hash_of, messages_for, wording
from .choices.shots import examples_for, told
from .exporting.choices import export_choices, exports_of

ENGLISH = "en"
"""What models lapse into: replies are read in it, too."""
_RIGHT: Mapping[Way, str] = {
    "letters": "the likeliest letter is right",
    "text": "the option with the likeliest words, by byte, is right",
    "generation": "the answer read out of the reply is right",
}


def _metrics() -> Mapping[str, Metric]:
    made: dict[str, Metric] = {}
    for way, right in _RIGHT.items():
        made[way] = Metric("share", right)
        made[f"{way} partial"] = Metric(
            "share", f"by {way}: chosen options that are right, of all that are chosen or right"
        )
        made[f"{way} steady"] = Metric("share", f"by {way}: the same answer in every order of the options")
    return made


class ChoiceAccuracy(Evaluator):
    """Share of multiple-choice rows answered right, in each language and over all.

    Three ways to ask (`ask`), each a figure of its own. `letters` takes the likeliest letter; `text` the option whose words are
    likeliest, their log-probability divided by their UTF-8 bytes, so that long options do not lose for being long; both follow the
    short prompt of the language pack (`choice_short`) and need a model that gives log-probabilities: the base, or a trained stage.
    `generation` has the model write, after the pack's long prompt (`choice`: reason, then an answer line), and reads the letters
    out of that; any model can do it. What can not be read is counted as unreadable, and never as right.

    A row with several right answers counts as right when exactly those are chosen. By log-likelihood the model is told how many:
    of k right ones it is given its k likeliest. A model that writes is told that there may be several, and not how many. In
    languages that have such rows `… partial` stands beside: chosen options that are right, of all that are chosen or right (the
    Jaccard index; FrenchMedMCQA's authors call its mean the Hamming score). Chance is what a guess gets, exactly.

    With `orders` each row is asked in several orders of its options, so that the key visits the places evenly; a row counts
    with the share of orders it was answered right in, and `… steady` is the share of rows with one answer in every order. Rows whose
    options speak of their order are asked once, as they are. Tables show the key's place by the place that was chosen, of rows with
    one right answer.

    With `shots` each question follows as many answered examples of its language, the same ones for all of them. They are train
    rows, none of them an edition or a near copy of a row of the split that is asked.

    `all` is the mean over languages, each weighing the same, whatever its number of rows.
    """

    metrics: ClassVar[Mapping[str, Metric]] = _metrics()
    ask: tuple[Way, ...] = Field(("letters", "text"), min_length=1, description="how the answer is asked for")
    orders: int = Field(1, ge=1, le=24, description="orders of its options that each row is asked in")
    shots: int = Field(0, ge=0, le=32, description="answered examples before each question")
    shots_from: str | None = Field(None, description="the data set of the examples; the asked one when left out")
    max_tokens: int | None = Field(
        None, ge=1, description="longest written answer, in the model's tokens; the model's own bound when left out"
    )
    published: str | None = Field(
        None,
        description="a file of published scores, beside the recipe, as recipes/published/mmedbench.yaml is one: the report sets ours "
        "beside them where both are of as many rows, asked alike",
    )

    @model_validator(mode="after")
    def _shots_are_asked_for(self) -> Self:
        if self.shots_from and not self.shots:
            raise ValueError(f"shots_from: {self.shots_from} is where examples come from: say how many with shots")
        return self

    def reads(self) -> tuple[str, ...]:
        """The data set of the examples, where it is another."""
        return (self.shots_from,) if self.shots_from else ()

    def scored(self) -> bool:
        """Log-probabilities are needed unless the model only writes."""
        return any(way != "generation" for way in self.ask)

    def questions(self, rows: Sequence[Row], context: EvalContext) -> Iterable[Question]:
        """One question a row and order, with its letters and its options as continuations; one to be answered in words; with
        examples one for each way, since they answer in it."""
        asked = [(row, row.body) for row in rows if isinstance(row.body, Choice)]
        if not asked:
            raise MissingInput(
                f"{context.place}: '{self.data}' holds no multiple-choice rows in its split '{self.split}', and "
                "choice_accuracy scores nothing else: name a data set that does"
            )
        if "text" in self.ask and (blank := [row.id for row, body in asked if not all(map(folded, body.options))]):
            raise MissingInput(
                f"{context.place}: of {len(blank):,} rows of '{self.data}' an option has no words, e.g. '{blank[0]}', and its likelihood "
                "says nothing: drop them with the step sound_choice, or ask: [letters]"
            )
        examples = self._examples([row for row, _ in asked], context)
        for row, body in asked:
            for turn, order in enumerate(self._orders(row, body, context)):
                for ways in self._together():
                    yield self._question(row, shown(body, order), order, turn, ways, examples[row.language], context)

    def _together(self) -> list[list[Way]]:
        """The ways that can share a question: those without words of their own in its prompt."""
        ways = list(dict.fromkeys(self.ask))
        if self.shots:
            return [[way] for way in ways]
        scored: list[Way] = [way for way in ways if way != "generation"]
        written: list[Way] = [way for way in ways if way == "generation"]
        return [one for one in (scored, written) if one]

    def _orders(self, row: Row, body: Choice, context: EvalContext) -> list[tuple[int, ...]]:
        keep = self.orders > 1 and context.pack(row.language).ordered(body)
        return orders_of(len(body.options), 1 if keep else self.orders, context.seed_for("orders", row.id))

    def _question(
        self,
        row: Row,
        put: Choice,
        order: tuple[int, ...],
        turn: int,
        ways: list[Way],
        examples: Sequence[Row],
        context: EvalContext,
    ) -> Question:
        pack = context.pack(row.language)
        messages = messages_for(put, pack, ways[0], examples)
        facts = {"ways": ways, "order": list(order), "examples": [one.id for one in examples]}
        name = " ".join((row.id, "+".join(ways), *([f"order {turn + 1}"] if turn else [])))
        if ways == ["generation"]:
            return Question(name, row.id, row.language, messages, (), self.max_tokens, facts)
        return Question(name, row.id, row.language, messages, continuations_of(put, pack, ways), facts=facts)

    def _examples(self, asked: Sequence[Row], context: EvalContext) -> dict[str, tuple[Row, ...]]:
        """The examples of each language. Raises MissingInput where there are too few."""
        if not self.shots:
            return {row.language: () for row in asked}
        # Held against the whole split, not against the rows that `limit` leaves: another limit keeps the examples.
        name, languages = self.shots_from or self.data, {row.language for row in asked}
        whole = [row for row in context.rows(self.data, self.split) if isinstance(row.body, Choice)]
        whole = [row for row in whole if row.language in languages]
        # A plan asks rows that are not there yet, maybe in languages of which no row is.
        found = examples_for(whole, context.rows(name, "train"), self.shots, context.seed_for("shots"), languages)
        if few := told(found, self.shots):
            raise MissingInput(
                f"{context.place}.shots: {self.shots} examples are asked for, and '{name}' has too few that give nothing away: "
                f"{few}. Ask for fewer, or name a data set with more train rows: shots_from"
            )
        return {language: one.rows for language, one in found.items()}

    async def mark(self, rows: Sequence[Row], answered: Sequence[Answered], context: EvalContext) -> Marked:
        """Items by row and metric, with what was chosen; the tables of places; the words that were asked."""
        by_row: dict[str, dict[Way, list[Try]]] = {}
        turns: dict[tuple[str, Way], tuple[Message, ...]] = {}
        shots: dict[str, list[str]] = {}
        known = {row.id: row for row in rows}
        lapsed = [context.languages[ENGLISH]] if ENGLISH in context.languages else []
        for one in answered:
            row, language = known[one.question.row], one.question.language
            assert isinstance(row.body, Choice)
            pack = context.pack(language)
            for way, found in tries_of(one, row.body, pack, lapsed):
                by_row.setdefault(row.id, {}).setdefault(way, []).append(found)
                turns[language, way] = one.question.messages[:-1]
            shots[language] = one.question.facts["examples"]
        asked = [known[name] for name in by_row]
        items = list(self._items(asked, by_row))
        words = {place: wording(context.pack(place[0]), place[1], said) for place, said in turns.items()}
        tables = list(_tables(asked, by_row, context))
        places: dict[str, dict[str, Any]] = {}
        for way, language, _, figures in tables:
            places.setdefault(way, {})[language] = figures
        facts = {
            "wordings": {" ".join(place): one for place, one in words.items()}, "examples": shots if self.shots else {},
            "places": places, "order_kept": self._kept(asked, by_row),
        }  # fmt: skip
        if "generation" in self.ask:
            facts["reader"] = {
                code: reader({pack.code: pack for pack in (context.pack(code), *lapsed)}.values())
                for code in sorted(shots)
            }
        return Marked(tuple(items), _prompts(items, words), (), tuple(table for _, _, table, _ in tables), facts)

    def exports(self) -> Mapping[str, str]:
        """Its questions for lm-evaluation-harness, written answers for MMedBench."""
        return exports_of(self.ask)

    def export(
        self, kind: str, rows: Sequence[Row], answered: Sequence[Answered], folder: Path, context: EvalContext
    ) -> str:
        """Write them; how to use them, in Markdown."""
        return export_choices(self, kind, rows, answered, folder, context)

    def _items(self, asked: Sequence[Row], by_row: Mapping[str, Mapping[Way, Sequence[Try]]]) -> Iterator[Item]:
        several = {row.language for row in asked if isinstance(row.body, Choice) and len(row.body.answers) > 1}
        for way in dict.fromkeys(self.ask):
            for row in asked:
                yield from items_of(row, way, by_row[row.id][way], partial=row.language in several)

    def _kept(self, asked: Sequence[Row], by_row: Mapping[str, Mapping[Way, Sequence[Try]]]) -> dict[str, int]:
        """How many rows of each language were asked in one order, since it means something."""
        if self.orders == 1:
            return {}
        return dict(Counter(row.language for row in asked if len(next(iter(by_row[row.id].values()))) == 1))


def _tables(
    asked: Sequence[Row], by_row: Mapping[str, Mapping[Way, Sequence[Try]]], context: EvalContext
) -> Iterator[tuple[Way, str, Table, dict[str, Any]]]:
    """The places of the key by the chosen ones, of each way and language with rows that have one right answer."""
    places: dict[tuple[Way, str], list[Any]] = {}
    for row in asked:
        assert isinstance(row.body, Choice)
        for way, tries in by_row[row.id].items():
            places.setdefault((way, row.language), []).extend(places_of(row.body, tries))
    for (way, language), found in sorted(places.items()):
        if found:
            table, figures = table_of(way, language, found, context.pack(language).need("choice").letters)
            yield way, language, table, figures


def _prompts(items: Iterable[Item], words: Mapping[tuple[str, Way], dict[str, Any]]) -> dict[str, str]:
    """The hash of the words by language, which is that of the first way; other words under ``LANGUAGE METRIC``."""
    made: dict[str, str] = {}
    hashes = {f"{language} {way}": hash_of(one) for (language, way), one in words.items()}
    for item in items:
        found = hashes[f"{item.language} {item.metric.partition(' ')[0]}"]
        if made.setdefault(item.language, found) != found:
            made[f"{item.language} {item.metric}"] = found
    return made
