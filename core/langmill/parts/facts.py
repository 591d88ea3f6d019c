"""What a language pack says of its language, section by section: the shape of ``pack.yaml``."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator


class Section(BaseModel):
    """One section of a pack: closed, so that a misspelt fact is an error and not a silence."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Identity(Section):
    """Which language this is."""

    code: str = Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]+)*$", description="BCP-47 code; also the folder's name")
    name: str = Field(description="the name in English")
    native_name: str = Field(description="the name in the language itself")
    scripts: tuple[str, ...] = Field(min_length=1, description="ISO 15924 codes of the scripts it is written in")
    lid_labels: tuple[str, ...] = Field(min_length=1, description="labels of fastText lid.176 that mean this language")
    sample: str = Field(min_length=20, description="one sentence in the language, for checks")


class Shingles(Section):
    """How near-duplicate search cuts text."""

    by: Literal["word", "character"]
    size: int = Field(ge=1, le=20)


class TextFacts(Section):
    """How running text is cut."""

    shingles: Shingles
    sentence_ends: str


def _regex(text: str) -> str:
    try:
        re.compile(
            text.replace("{picture}", "x").replace("{option}", "x").replace("{letter}", "x").replace("{number}", "1")
        )
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return text


class ChoiceFacts(Section):
    """How a multiple-choice item is written down."""

    letters: tuple[str, ...] = Field(min_length=2)
    separator: str = Field(description="between letters when several answers are right")
    option: str = Field(pattern=r"\{letter\}.*\{text\}", description="one option's line")
    answer: str = Field(pattern=r"\{letters\}", description="the line that states the answer")
    ordered: tuple[Annotated[str, AfterValidator(_regex)], ...] = Field(
        (),
        description="how a question or an option speaks of other options, so that their order means something; regular expressions "
        "with {option} for a capital letter or number of an option that stands alone, {letter} for such a letter",
    )
    cited: tuple[Annotated[str, AfterValidator(_regex)], ...] = Field(
        (), description="how an explanation names options by letter or number; regular expressions as in ordered"
    )

    def speaks_of_order(self, question: str, options: Sequence[str]) -> bool:
        """Whether the question or an option speaks of other options; a pack that does not know how that is said says it
        always does."""
        pattern = _of_options(self.ordered, self.letters, len(options))
        return pattern is None or any(pattern.search(_plain(text)) for text in (question, *options))

    def cites(self, explanation: str, options: int) -> bool:
        """Whether an explanation names any of so many options by letter or number; as careful where the pack does not know."""
        pattern = _of_options(self.cited, self.letters, options)
        return pattern is None or pattern.search(_plain(explanation)) is not None


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).strip()


@lru_cache(maxsize=256)
def _of_options(patterns: tuple[str, ...], letters: tuple[str, ...], options: int) -> re.Pattern[str] | None:
    """All patterns as one, for items of so many options. A letter or number stands alone where no letter or digit of an alphabet
    touches it; Han, kana and hangul may."""
    if not patterns:
        return None
    names = [re.escape(letter) for letter in letters[:options]]
    letter = rf"(?<![0-9A-Za-zÀ-ɏЀ-ӿ])(?-i:{'|'.join(names)})(?![0-9A-Za-zÀ-ɏЀ-ӿ])"
    numbers = [str(number) for number in range(1, options + 1)]
    option = rf"(?<![0-9A-Za-zÀ-ɏЀ-ӿ.,/])(?:(?-i:{'|'.join(names)})|{'|'.join(numbers)})(?![0-9A-Za-zÀ-ɏЀ-ӿ%]|[.,/]\d)"
    said = "|".join(f"(?:{pattern})" for pattern in patterns)
    return re.compile(said.replace("{letter}", letter).replace("{option}", option), re.IGNORECASE | re.MULTILINE)


class SizeFacts(Section):
    """How much room the language takes: for the price before a run, and for what is too short or too long. The defaults stand
    for a language that does not say."""

    characters_a_token: tuple[float, float] = Field(
        (0.7, 4.8), description="characters to a token: by a tokenizer that knows the language little, and well"
    )
    of_english: float = Field(1.0, gt=0, description="characters of a text, for one character of its English edition")
    spread: float = Field(
        0.3, gt=0, le=1, description="standard deviation of the logarithm of that, from one long text to the next"
    )

    @field_validator("characters_a_token")
    @classmethod
    def _in_order(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1]:
            raise ValueError("two numbers above 0, the lower one first")
        return value


ANY_SIZE = SizeFacts()


class Thresholds(Section):
    """What a text of a subject holds at least."""

    least_keywords: int = Field(ge=1, description="different keywords")
    least_density: float = Field(ge=0, le=1, description="share of its characters that stand in keywords")


class MedicalFacts(Thresholds):
    """How medical text is told from other text: by the words in ``keywords.txt``, and by how many of them."""

    by: Literal["word", "character"] = Field(description="keywords are whole words, or stand anywhere in running text")
    published: Thresholds | None = Field(None, description="the thresholds published with the keywords of MMedC")


class PictureFacts(Section):
    """How a question points to a picture that text does not carry: regular expressions (Python's) that are searched for in
    text in lower case, after NFKC."""

    picture: Annotated[str, AfterValidator(_regex)] = Field(description="the words for a picture, parted by |")
    phrases: tuple[Annotated[str, AfterValidator(_regex)], ...] = Field(
        min_length=1, description="phrases that point to one; {picture} stands for those words"
    )

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """All phrases as one."""
        return re.compile("|".join(self.phrases).replace("{picture}", f"(?:{self.picture})"))

    @model_validator(mode="after")
    def _fit_together(self) -> PictureFacts:
        try:
            self.pattern  # noqa: B018
        except re.error as error:
            raise ValueError(f"picture and phrases make no regular expression together: {error}") from None
        return self


def _value(said: object) -> Fraction:
    """A number as YAML holds it: 2, 0.5 or the text "1/2"."""
    if isinstance(said, bool) or not isinstance(said, int | float | str):
        raise ValueError("is no number: 2, 0.5 or 1/2")
    try:
        return Fraction(str(said))
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"'{said}' is no number: 2, 0.5 or 1/2") from None


def _phrase(text: str) -> str:
    if not text.strip(" _") or "_" in text.strip(" _"):
        raise ValueError(f"'{text}' is no phrase: words, with _ in front or at the end for the number beside them")
    return text


Value = Annotated[Fraction, BeforeValidator(_value)]
Phrase = Annotated[str, AfterValidator(_phrase)]
"""Words as they stand in text, in lower case. A letter of a spaced script at either end must not go on into another letter, unless
a star stands there (``*word*``); Han, kana and hangul may stand inside anything. ``_`` stands for the number beside it."""


class NumberFacts(Section):
    """How the language writes numbers. Digits of every script and full-width ones are read everywhere."""

    decimal: str = Field(".", description="the mark before decimals", min_length=1, max_length=1)
    groups: tuple[str, ...] = Field((",", " "), description="marks between groups of three digits")
    words: Mapping[Phrase, Value] = Field(
        default_factory=dict, description="numbers written out, each of which another language must have, too"
    )
    hints: Mapping[Phrase, Value | tuple[Value, ...]] = Field(
        default_factory=dict,
        description="words that may stand for a number and need not: once, both, half, double; [] for one that is no number "
        "and only holds a word or a numeral",
    )
    scales: Mapping[Phrase, int] = Field(
        default_factory=dict, description="what multiplies the number before it: hundred, thousand, 万"
    )
    joiners: tuple[str, ...] = Field((), description="words and marks between the words of one number: and")
    ones_first: bool = Field(False, description="five and twenty is 25")
    numerals: str = Field(
        "", description="signs for 0 to 9 of a script that writes numbers with its scales: 〇一二三四五六七八九"
    )
    counters: tuple[Phrase, ...] = Field(
        (), description="what makes a number of one single numeral beside it, units apart: 次, 种, 第_"
    )
    months: Mapping[Phrase, Annotated[int, Field(ge=1, le=12)]] = Field(
        default_factory=dict,
        description="names of months; one that stands in hints, too (may), is a month only before a number",
    )
    minus: tuple[Phrase, ...] = Field((), description="words for the sign before a number")
    ranges: tuple[str, ...] = Field(
        (), description="words and marks between the ends of a range, which share a unit: to"
    )
    silent: tuple[Value, ...] = Field(
        (Fraction(1),),
        description="numbers that are left unsaid or said otherwise as a rule: 1; 2 in a language with a dual",
    )


class UnitFacts(Section):
    """What the language calls units, how often and which way something is given. Symbols of units (mg, mL, °C) are known."""

    names: Mapping[str, tuple[Phrase, ...]] = Field(
        default_factory=dict, description="words for a unit, by its UCUM code: mg, ug, mL, [IU], d, wk; % for percent"
    )
    per: tuple[Phrase, ...] = Field((), description="words between a unit and what it is counted on: per")
    frequencies: Mapping[str, tuple[Phrase, ...]] = Field(
        default_factory=dict,
        description="how often: 1/d, 2/d, 3/d, 4/d, 1/wk, 1/mo, 6h (every six hours), as_needed, bedtime",
    )
    routes: Mapping[str, tuple[Phrase, ...]] = Field(
        default_factory=dict,
        description="which way: oral, sublingual, intravenous, intramuscular, subcutaneous, topical, inhaled, rectal, nasal, ocular",
    )


Comparison = Literal["<", "<=", ">", ">="]


class CueFacts(Section):
    """Small words that carry the sense, and what gives a model away."""

    negation: tuple[Phrase, ...] = Field((), description="words that negate whatever they stand with: not, no, without")
    softer: tuple[Phrase, ...] = Field(
        (),
        description="words that another language may have a negation for, and need not: unable, lack, except. "
        "A word in both lists (nobody, where one says that nobody does not) is firm where its clause has no other firm one",
    )
    neutral: tuple[Phrase, ...] = Field(
        (), description="phrases that hold a negation and deny nothing: not only, no doubt, 不过"
    )
    left: tuple[Phrase, ...] = Field((), description="words for the left side of the body")
    right: tuple[Phrase, ...] = Field((), description="words for the right side of the body")
    comparisons: Mapping[Comparison, tuple[Phrase, ...]] = Field(
        default_factory=dict, description="words for a bound, with _ where the number stands: at least _, _ or more"
    )
    names: Mapping[str, tuple[Phrase, ...]] = Field(
        default_factory=dict,
        description="what the language calls what others call by a code: COVID-19, HIV, vitamin B12",
    )
    chatter: tuple[Annotated[str, AfterValidator(_regex)], ...] = Field(
        (),
        description="what a model says round its answer; regular expressions, matched at the beginning or the end of a text",
    )
    passage: tuple[Annotated[str, AfterValidator(_regex)], ...] = Field(
        (), description="phrases that speak of a text the reader does not have; regular expressions"
    )
    conclusion: tuple[Annotated[str, AfterValidator(_regex)], ...] = Field(
        (),
        description="how a rationale names the right option, with {option} for its letter or words; regular expressions",
    )
    judged: tuple[Annotated[str, AfterValidator(_regex)], ...] = Field(
        (),
        description="how a rationale calls what an option says right, be it the answer or not; regular expressions as in conclusion",
    )


Pattern = Annotated[str, AfterValidator(_regex)]


class ReplyFacts(Section):
    """How a model's reply says which options it chooses. Regular expressions are searched for without regard to case, after NFKC, with
    marks of markdown taken out; {option} stands for one option or several, by letter, number or words."""

    states: tuple[Pattern, ...] = Field(
        (), description="how a reply states its answer, beside cues.conclusion, which is read here, too; with {option}"
    )
    judges: tuple[Pattern, ...] = Field(
        (), description="how it calls an option right without calling it the answer, beside cues.judged; with {option}"
    )
    denies: tuple[Pattern, ...] = Field((), description="how it calls an option wrong or leaves it out; with {option}")
    supposes: tuple[Pattern, ...] = Field(
        (), description="what makes a sentence a mere supposition, or the word of somebody else"
    )
    doubts: tuple[Pattern, ...] = Field(
        (), description="what makes it uncertain; not what a clause with one of `concludes` says after it"
    )
    concludes: tuple[Pattern, ...] = Field((), description="words that draw a conclusion from the clause before: so")
    turns: tuple[Pattern, ...] = Field((), description="words that set a clause against the one before: but")
    withdraws: tuple[Pattern, ...] = Field((), description="how it takes back what it said before")
    refuses: tuple[Pattern, ...] = Field((), description="how it declines to answer")
    again: tuple[Pattern, ...] = Field((), description="how the next question begins, for a model that goes on writing")
    named: tuple[Pattern, ...] = Field(
        (), description="words before an option's letter that only say what it is: option"
    )
    articles: tuple[Pattern, ...] = Field((), description="words before a letter that say nothing at all: the")
    numbered: tuple[Pattern, ...] = Field((), description="how an option is called by its number; with {number}")
    ordinals: tuple[Pattern, ...] = Field((), description="the first option, the second one and so on, in words")
    after: tuple[Pattern, ...] = Field(
        (),
        description="what may follow an option's letter in running text; before anything else a letter is taken for part of a name",
    )
    joiners: tuple[Pattern, ...] = Field((), description="words between options that are all chosen: and")
    alternatives: tuple[Pattern, ...] = Field((), description="words between options of which one is right: or")
    names: tuple[Pattern, ...] = Field(
        (), description="names that hold a letter which is no option's: vitamin A, hepatitis B"
    )
    parting: str = Field(
        "",
        description="characters of a script without spaces after which a word may begin; others go on into a longer one",
    )
    yes_no: tuple[Pattern, ...] = Field(
        (), description="yes and no, each in all its forms: options that are common words as well"
    )
    inflects: int = Field(0, ge=0, le=3, description="how many letters at a word's end change with its case or number")
    alike: tuple[str, ...] = Field(
        (),
        description="letters of the language's own script that look like those of choice.letters, by place; '' for none",
    )
    alphabet: tuple[str, ...] = Field(
        (), description="the letters that people of this language letter options by, by place, if they are others"
    )


class PackFile(Section):
    """``pack.yaml`` whole."""

    identity: Identity
    text: TextFacts | None = None
    choice: ChoiceFacts | None = None
    medical: MedicalFacts | None = None
    pictures: PictureFacts | None = None
    numbers: NumberFacts | None = None
    units: UnitFacts | None = None
    cues: CueFacts | None = None
    replies: ReplyFacts | None = None
    size: SizeFacts = ANY_SIZE
