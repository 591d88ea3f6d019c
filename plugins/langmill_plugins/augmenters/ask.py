"""Questions and answers made from passages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import ClassVar

from pydantic import Field as Bounds
from pydantic import create_model

from langmill.api import Augmenter, Chat, Drop, Field, Row, Skip, StepContext, Text
from langmill_plugins.augmenters.replies import JSON, Pair, Reply

# A question or an answer that speaks of the passage can not be understood without it. Each phrase needs a word for text
# together with a word that points to it: "the passage of urine" or "una lectura de presión" must stay.
_THE_TEXT = r"(?:passage|text|paragraph|article|excerpt|document|author)"
SPEAKS_OF_TEXT: dict[str, re.Pattern[str]] = {
    language: re.compile(pattern, re.IGNORECASE)
    for language, pattern in {
        "en": rf"\b(?:according to|based on|as (?:stated|described|mentioned|discussed|explained) in|in|from|per) "
        rf"(?:the|this) (?:above |given |following |provided |preceding )?{_THE_TEXT}s?\b(?! of)"
        rf"|\b(?:the|this) {_THE_TEXT} (?:above|below|provided|given|says?|states?|mentions?|describes?|discusses|explains?)\b"
        r"|\b(?:mentioned|described|discussed|listed|stated) (?:above|in the (?:passage|text))\b",
        "zh": r"(?:根据|依据|按照|依照)(?:以?上述?|下列|以下|本|该|这段|此段|所给|给定)?(?:文章|文本|段落|短文|材料|原文|文中|文字)"
        r"|(?:本|上|该|原)文(?:中|提到|指出|所|认为|的|介绍|描述)|文中|文章中|(?:这|该|本)段(?:文字|落|话)?(?:中|提到|指出|介绍|描述|认为)",
        "ja": r"本文(?:に|で|中|の|から|によ)|(?:この|上記の|次の|以下の|上の)(?:文章|文中|テキスト|段落|記事|一節|文書)"
        r"|文章(?:中|によ|で述べ|に書)|文中",
        "ko": r"(?:이|위|본|해당|다음|주어진) ?(?:글|지문|본문|텍스트|문단|단락|기사|문서|구절)(?:에|의|은|는|을|를|이|가|에서|에 따)"
        r"|본문(?:에|의|에서)|지문(?:에|의|에서)",
        "fr": r"\b(?:selon|d[’']apr[eè]s|dans|à partir de) (?:le |la |l[’']|ce |cet |cette )"
        r"(?:texte|passage|paragraphe|extrait|document|article|auteur)\b"
        r"|\b(?:ce|le) (?:texte|passage|paragraphe) (?:ci-dessus|fourni|indique|mentionne|précise|décrit|explique)",
        "es": r"\b(?:según|de acuerdo con|en|a partir de|basándose en) (?:el|la|este|esta) "
        r"(?:texto|pasaje|párrafo|fragmento|artículo|documento|autor)\b(?! de la vida)"
        r"|\b(?:este|el) (?:texto|pasaje|párrafo|fragmento) (?:anterior|indica|menciona|describe|explica|señala)",
        "ru": r"\b(?:согласно|по|в|из|на основании) "
        r"(?:(?:данно|этo|это|приведённо|приведенно|указанно)\w+ )?(?:текст[аеу]|отрывк[аеу]|абзац[аеу]|стать[еи]|фрагмент[аеу])\b"
        r"|\b(?:этот|данный) (?:текст|отрывок|абзац)\b|\b(?:описан|упомянут|указан)\w* (?:выше|в тексте)",
    }.items()
}

PAIR = (160, 600)  # characters of an English question and its answer, from terse models to talkative ones


class Pairs(Reply):
    """Questions and answers."""

    pairs: list[Pair]


@lru_cache
def _at_most(count: int) -> type[Pairs]:
    return create_model("Pairs", __base__=Pairs, pairs=(list[Pair], Bounds(min_length=1, max_length=count)))


class Ask(Augmenter):
    """Has a model write questions, each with its answer, about a passage.

    Asks the prompt `ask` of the row's language for `count` pairs. Each pair becomes a conversation, called `…/ask.0`,
    `…/ask.1` and so on. A pair that speaks of the passage ("according to the text") is rejected as `not_standalone`
    (phrases of en, zh, ja, ko, fr, es and ru are known), one whose question came before as `repeated_question`, one without a
    letter in its question as `no_question`, one whose
    words hardly occur in the passage as `not_supported`. A passage of more than `most_characters` is skipped as
    `passage_too_long`: cut it when it is read.
    """

    bodies: ClassVar[tuple[type, ...]] = (Text,)
    count: int = Field(2, ge=1, le=10, description="pairs asked for per passage")
    most_characters: int = Field(8000, ge=1, description="longest passage, in characters")
    support: float = Field(0.25, ge=0, le=1, description="least share of a pair's terms that the passage has too")

    async def augment(self, row: Row, context: StepContext) -> Iterable[Row | Drop | Skip]:
        """A conversation for each pair that stands alone."""
        assert isinstance(row.body, Text)
        passage = row.body.text.strip()
        if len(passage) > self.most_characters:
            return [Skip("passage_too_long", f"{len(passage)} characters, most {self.most_characters}")]
        prompt = context.pack(row.language).render("ask", passage=passage, count=self.count)
        reply = await context.ask(row, "ask", prompt, _at_most(self.count))
        made: list[Row | Drop | Skip] = []
        asked: set[str] = set()
        facts = context.pack(row.language).text
        spaced = facts is None or facts.shingles.by == "word"
        known = _terms(passage, spaced)
        for index, pair in enumerate(reply.value.pairs):
            fault = _fault(pair, row.language, asked)
            asked.add(pair.question.casefold())
            terms = _terms(f"{pair.question} {pair.answer}", spaced)
            least = (
                max(1.0, self.support * len(terms)) if self.support else 0.0
            )  # a pair without any term is not supported either
            if fault is None and len(terms & known) < least:
                fault = Drop(
                    "not_supported",
                    f"{len(terms & known)} of {len(terms)} terms are in the passage: {pair.answer[:150]}",
                )
            made.append(fault or row.child(f"ask.{index}", Chat.of(pair.question, pair.answer), marks=reply.marks))
        return made

    def answer_size(self, row: Row, language: str, context: StepContext) -> tuple[float, float]:
        """So many pairs; a model may find fewer."""
        of_english, few = context.pack(language).size.of_english, max(1.0, 0.75 * self.count)
        return JSON + few * (2 * JSON + PAIR[0] * of_english), JSON + self.count * (2 * JSON + PAIR[1] * of_english)

    def expected(self, row: Row, language: str, characters: float, context: StepContext) -> Iterable[Row]:
        """So many conversations, a third of each the question."""
        filler, each = context.pack(language).filler, characters / self.count
        for index in range(self.count):
            yield row.child(f"ask.{index}", Chat.of(filler(each / 3), filler(each * 2 / 3)))


def _terms(text: str, spaced: bool) -> set[str]:
    """What a text speaks of, roughly: the first five letters of its longer words, so that inflected forms meet; where words
    are not spaced, every pair of neighbouring characters."""
    folded = text.casefold()
    return set(re.findall(r"\b(\w{5})\w*" if spaced else r"(?=(\w\w))", folded))


def _fault(pair: Pair, language: str, asked: set[str]) -> Drop | None:
    if not any(letter.isalpha() for letter in pair.question):
        return Drop("no_question", pair.question)
    if pair.question.casefold() in asked:
        return Drop("repeated_question", pair.question)
    pattern = SPEAKS_OF_TEXT.get(language)
    for text in (pair.question, pair.answer):
        found = pattern.search(text) if pattern else None
        if found:
            return Drop("not_standalone", f"'{found.group()}' in: {text[:200]}")
    return None
