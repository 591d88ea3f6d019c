"""What the filters take for the same wording, in every script: folding, words, and the sides of a body."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from langmill.api import Body, Chat, Choice, Text

# Soft hyphen, zero-width and direction marks: they carry no wording and copies differ in them.
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
# 10⁵ is not 105. Elsewhere raised digits are often written as plain ones, m² and ¹⁴C, and lowered ones are, H₂O: they stay alike.
_RAISED = re.compile(r"[\u00b2\u00b3\u00b9\u2070\u2074-\u2079](?<=\d.)")
_RARE = re.compile(f"{_INVISIBLE.pattern[:-1]}\u00b2\u00b3\u00b9\u2070\u2074-\u2079]")  # one search for both, for speed
_DECIMAL = re.compile(r"(?<=[0-9])[.,](?=[0-9])")
# What parts words, after NFKC. Not `\W`, which cuts Indic words at each vowel sign. 々〆〇 are letters and stay.
_GAP = re.compile(
    r"[\s\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\xa9\xab-\xb1\xb4\xb6-\xb8\xbb\xbf\u2000-\u206f\u2190-\u2bff"
    r"\u3000-\u3004\u3008-\u3020\u3030\u060c\u061b\u061f\u066a-\u066d\u06d4\u0964\u0965\ufe30-\ufe6f]+"
)
# What differs between copies of one answer: marks that end or part phrases, quotes, hyphens between letters; not .5 and 5'.
_PUNCTUATION = re.compile(
    r"[.,:;!?\u3001\u3002](?![0-9])|(?<![0-9])['\"\xab\xbb\u2018-\u201f]|(?<=[^\W\d])[-\u2010](?=[^\W\d])"
)
_WIDE_BLANK = re.compile(r"(?<=[\u2e80-\U0003ffff]) | (?=[\u2e80-\U0003ffff])")


def folded(text: str) -> str:
    """The wording of a text: invisible marks taken out, NFKC, case folded, every run of white space one blank. A raised digit
    after a digit is written with a caret: 10⁵ is 10^5."""
    if not text.isascii():
        if _RARE.search(text):
            text = _RAISED.sub(r"^\g<0>", _INVISIBLE.sub("", text))
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.casefold().split())


def word_list(text: str) -> list[str]:
    """The words of a text, folded, without punctuation. Unspaced scripts give one word a clause."""
    return [word for word in _GAP.split(folded(text)) if word]


def letters_only(text: str) -> str:
    """The text folded, with white space and punctuation taken out: what character shingles are cut from. A point or comma
    between two digits stays, as a point: 1.25 is not 12.5."""
    return ".".join(_GAP.sub("", part) for part in _DECIMAL.split(folded(text)))


class Sides(NamedTuple):
    """A body as its pieces of text: what is asked, the options if there are any, and what is answered.

    Text has an answer side alone. A choice item is asked with its context and answered by the texts of the right
    options, so that "which is true" and "which is false" over one list of options differ in their answer. System
    messages say how to answer and not what: they are in no side.
    """

    question: tuple[str, ...]
    options: tuple[str, ...]
    answer: tuple[str, ...]

    @classmethod
    def of(cls, body: Body) -> Sides:
        """The sides of a body."""
        match body:
            case Text(text=text):
                return cls((), (), (text,))
            case Chat(messages=messages):
                return cls(
                    tuple(message.content for message in messages if message.role == "user"),
                    (),
                    tuple(message.content for message in messages if message.role == "assistant"),
                )
            case Choice(question=question, options=options, answers=answers, context=context):
                asked = (context, question) if context else (question,)
                return cls(asked, options, tuple(options[index] for index in answers))


def choice_key(question: Iterable[str], options: Iterable[str]) -> tuple[str, ...]:
    """A choice item's wording, whatever the order of its options."""
    return (*(folded(text) for text in question), "\0", *sorted(folded(text) for text in options))


def answer_key(answers: Iterable[str]) -> bytes:
    """16 bytes that stand for right answers, in any order. Signs count, ↑ is not ↓ and ≤ 5 not ≥ 5; punctuation does not."""
    parted = (" ".join(_PUNCTUATION.sub(" ", folded(text)).split()) for text in answers)
    return digest(sorted(_WIDE_BLANK.sub("", text) for text in parted))


def digest(parts: Iterable[str]) -> bytes:
    """16 bytes that stand for these texts in this order; lone surrogates are hashed as they are."""
    import xxhash

    whole = xxhash.xxh3_128()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        whole.update(len(data).to_bytes(8, "little"))
        whole.update(data)
    return whole.digest()
