"""How like a model's rationales are to the data set's own."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

from langmill.api import (
    Answered,
    Choice,
    EvalContext,
    Evaluator,
    Field,
    Item,
    Marked,
    Metric,
    MissingInput,
    Pack,
    Question,
    Row,
    Table,
)
from langmill_plugins.review.verdicts import told

from .choices.prompts import hash_of, messages_for, wording
from .exporting.rationales import export_rationales, exports_of
from .similarity import Similarity, packages, similarities

Measure = Literal["bleu1", "bleu4", "rouge1", "rougeL", "rouge1_set"]
STRANGERS = 200  # rows of a language that tell what another row's rationale gets


class RationaleSimilarity(Evaluator):
    """Likeness of the rationale that a model writes to the row's own explanation, in each language and over all.

    A multiple-choice row is put with the long prompt of its language pack; what the model writes, without its answer line and
    without thoughts, is compared with the explanation, from 0 to 1. Rows without an explanation are passed over, and so are those
    whose source says that people did not check it or did not let it pass (flag `explanation_unchecked`), or of which the step
    `reviewed` says so. A reply without a rationale is worth 0 and counted as unreadable.

    `measures`: `bleu1` and `rouge1` are what MMedBench reports in its paper, `bleu4` and `rougeL` what its released code computes
    as it is. BLEU is of one sentence, 0.1 for a count that is none; ROUGE is F1. `rouge1` counts a word as often as it is in both
    texts; `rouge1_set` counts it once, as the package does whose figures MMedBench published: on real rationales that is 1 to 3
    points of 100 more for texts that are half alike, and 2 to 7 less for strangers, so take it to stand beside theirs. Case
    counts, and marks are words.

    Words are cut by what the language needs (rjieba, MeCab, NLTK, letters); which and which version is in the results. Unlike
    texts of one language share words: a table says what the explanation of another row gets, the floor of the scale.

    `bert_score` names an encoder (a folder, or a hub name that is on this machine) and adds BERTScore: F1 of greedy cosines,
    states of the layer three quarters up, no word weights, no rescaling, texts cut at what the encoder reads (512 tokens for most).
    """

    metrics: ClassVar[Mapping[str, Metric]] = {
        "bleu1": Metric("mean", "BLEU-1 of the rationale against the row's explanation"),
        "bleu4": Metric("mean", "BLEU-4 of the rationale against the row's explanation"),
        "rouge1": Metric("mean", "ROUGE-1 F1 of the rationale against the row's explanation"),
        "rougeL": Metric("mean", "ROUGE-L F1 of the rationale against the row's explanation"),
        "rouge1_set": Metric("mean", "ROUGE-1 F1 with each word counted once"),
        "bert_score": Metric("mean", "BERTScore F1 of the rationale against the row's explanation"),
    }
    measures: tuple[Measure, ...] = Field(("bleu1", "rouge1"), min_length=1, description="how likeness is measured")
    bert_score: str | None = Field(None, description="encoder for BERTScore: a folder, or a hub name that was fetched")
    max_tokens: int | None = Field(
        None, ge=1, description="longest reply, in the model's tokens; the model's own bound when left out"
    )

    def questions(self, rows: Sequence[Row], context: EvalContext) -> Iterable[Question]:
        """The long prompt of each row that has a checked rationale, or one of which nobody says whether it was checked."""
        asked = [(row, row.body) for row in rows if isinstance(row.body, Choice) and row.body.explanation]
        checked = [(row, body) for row, body in asked if told(row.flags) is not False]
        if not checked:
            why = (
                f"of its {len(asked):,} rows with an explanation none was checked by people"
                if asked
                else "it holds no multiple-choice rows with an explanation"
            )
            raise MissingInput(
                f"{context.place}: nothing in '{self.data}' ({self.split}) to compare a rationale with: {why}. Name a data set that "
                "has some, or run choice_accuracy, which needs none"
            )
        self._ready({row.language: context.pack(row.language) for row, _ in checked}, context)
        for row, body in checked:
            messages = messages_for(body, context.pack(row.language), "generation", ())
            yield Question(row.id, row.id, row.language, messages, max_tokens=self.max_tokens)

    def _ready(self, packs: Mapping[str, Pack], context: EvalContext) -> None:
        """Raises MissingInput for what marking needs and is not there, before a model is asked."""
        from langmill_plugins.text.segmenters import segmenter_of

        for pack in packs.values():
            segmenter_of(pack, context.place)
        similarities(self.measures, context.place)
        if self.bert_score:
            from .bert_score import find_encoder

            find_encoder(self.bert_score, context)

    async def mark(self, rows: Sequence[Row], answered: Sequence[Answered], context: EvalContext) -> Marked:
        """One item a row and measure."""
        from langmill_plugins.replies.cleaning import spoken
        from langmill_plugins.text.segmenters import segmenter_of

        bodies = {row.id: row.body for row in rows}
        packs = {one.question.language: context.pack(one.question.language) for one in answered}
        segmenters = {language: segmenter_of(pack, context.place) for language, pack in packs.items()}
        measures = similarities(self.measures, context.place)
        items: list[Item] = []
        references: dict[str, list[list[str]]] = {}
        pairs: list[tuple[str, str]] = []
        for one in answered:
            body, language = bodies[one.question.row], one.question.language
            assert isinstance(body, Choice) and body.explanation
            cut = segmenters[language].words
            texts = [rationale_of(text, packs[language], body.options) for text in (spoken(one.text), body.explanation)]
            words, reference = map(cut, texts)
            references.setdefault(language, []).append(reference)
            pairs.append((texts[0], texts[1]))
            facts = {"words": len(words), "reference": len(reference)}
            for name, measure in measures.items():
                value = measure(words, reference) if words and reference else 0.0
                items.append(Item(one.question.row, language, name, value, readable=bool(words), facts=facts))
        items += self._bert_items(answered, pairs, context)
        return Marked(
            tuple(items),
            {language: hash_of(wording(pack, "generation", ())) for language, pack in packs.items()},
            tables=tuple(_floors(references, measures)),
            facts={
                "words": {language: segmenter.name for language, segmenter in sorted(segmenters.items())},
                "packages": packages(self.measures),
                "left out": self._left_out(rows),
                **({"bert_score": self.bert_score} if self.bert_score else {}),
            },
        )

    def exports(self) -> Mapping[str, str]:
        """Written rationales for MMedBench."""
        return exports_of()

    def export(
        self, kind: str, rows: Sequence[Row], answered: Sequence[Answered], folder: Path, context: EvalContext
    ) -> str:
        """Write them; how to use them, in Markdown."""
        return export_rationales(self, rows, answered, folder, context)

    def _bert_items(
        self, answered: Sequence[Answered], pairs: Sequence[tuple[str, str]], context: EvalContext
    ) -> list[Item]:
        if not self.bert_score:
            return []
        from .bert_score import f1_scores, load_encoder

        values = f1_scores(pairs, load_encoder(self.bert_score, context))
        return [
            Item(one.question.row, one.question.language, "bert_score", value, readable=bool(texts[0].strip()))
            for one, texts, value in zip(answered, pairs, values, strict=True)
        ]

    def _left_out(self, rows: Sequence[Row]) -> dict[str, int]:
        """Multiple-choice rows that are not asked, by why."""
        bodies = [(row, row.body) for row in rows if isinstance(row.body, Choice)]
        return {
            "no explanation": sum(not body.explanation for _, body in bodies),
            "not checked": sum(bool(body.explanation) and told(row.flags) is False for row, body in bodies),
        }


def rationale_of(text: str, pack: Pack, options: Sequence[str]) -> str:
    """A reply without what states its answer, wherever that stands: the pack's answer line with its letters and, where it repeats
    it, the option; a line of letters alone. What a model copies from the prompt earns nothing so."""
    facts = pack.need("choice")
    stated, alone = _answer_patterns(facts.answer, facts.letters)
    kept: list[str] = []
    for line in unicodedata.normalize("NFC", text).splitlines():
        if alone.fullmatch(line):
            continue
        kept.append(stated.sub(lambda found: _without_option(found, options), line))
    return "\n".join(kept).strip()


def _without_option(found: re.Match[str], options: Sequence[str]) -> str:
    """What follows the letters of an answer, without the option that it repeats. All of it where words follow at once: "the answer: A
    drug which" is prose."""
    rest: str = found.group("rest")
    said = rest.lstrip(" .):：。、*-–")
    for option in options:
        if said.casefold().startswith(option.strip().casefold()):
            return said[len(option.strip()) :].lstrip(" .。*")
    if found.string[found.start("rest") - 1].isalpha() and rest.lstrip()[:1].isalnum():
        return found.group()
    return said if any(letter.isalnum() for letter in said) else ""


@lru_cache
def _answer_patterns(answer: str, letters: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """How an answer line is found in a line, with or without marks of markdown; and a line that is letters alone. ``answer`` is the
    pack's line with {letters} in it."""
    before, after = (part.strip() for part in answer.split("{letters}"))
    words = r"\s*".join("[:：]" if word in ":：" else re.escape(word) for word in re.findall(r"\w+|\S", before))
    letter = f"(?:{'|'.join(map(re.escape, letters))})"
    # What repeats gives nothing back, and a line begins or a sentence has ended: a reply that is all stars costs no more than another.
    several = rf"[*_(\[「（]*+{letter}(?:[\s,，、/&+;]*+{letter})*(?![^\W\d_])[*_)\]」）]*+{re.escape(after)}"
    begins = r"(?:^|(?<=[.!?:*_]\s)|(?<=[。！？：]))"
    stated = re.compile(rf"{begins}[#>*_\s]{{0,20}}(?i:{words})[*_\s]{{0,20}}{several}(?P<rest>.*)")
    return stated, re.compile(rf"[\W_]*+{several}\W*", re.IGNORECASE)


def _floors(references: Mapping[str, Sequence[list[str]]], measures: Mapping[str, Similarity]) -> Iterable[Table]:
    """What the explanation of another row gets, the next one in order, by language and measure."""
    told: dict[str, tuple[float, ...]] = {}
    for language, texts in sorted(references.items()):
        some = texts[: STRANGERS + 1]
        pairs: list[tuple[list[str], list[str]]] = list(zip(some[1:], some, strict=False))
        if pairs:
            told[language] = tuple(
                round(sum(measure(one, other) for one, other in pairs) / len(pairs), 4) for measure in measures.values()
            )
    if told:
        note = "What the explanation of another row gets: a rationale that is worth no more says nothing about its question."
        yield Table("explanations of other rows", "all", tuple(told), tuple(measures), tuple(told.values()), note)
