"""What the filters take for the same wording, in every script: folding, words, and the sides of a body."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from langmill.api import Body, Chat, Choice, Text

# Soft hyphen, zero-width and direction marks: they carry no wording and copies differ in them.
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
# What parts words, after NFKC. Not `\W`, which cuts Indic words at each vowel sign. 々〆〇 are letters and stay.
_GAP = re.compile(
    r"[\s\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\xa9\xab-\xb1\xb4\xb6-\xb8\xbb\xbf\u2000-\u206f\u2190-\u2bff"
    r"\u3000-\u3004\u3008-\u3020\u3030\u060c\u061b\u061f\u066a-\u066d\u06d4\u0964\u0965\ufe30-\ufe6f]+"
)


def folded(text: str) -> str:
    """The wording of a text: NFKC, case folded, invisible marks taken out, every run of white space one blank."""
    if not text.isascii():
        text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
    return " ".join(text.casefold().split())


def word_list(text: str) -> list[str]:
    """The words of a text, folded, without punctuation. Unspaced scripts give one word a clause."""
    return [word for word in _GAP.split(folded(text)) if word]


def letters_only(text: str) -> str:
    """The text folded, with white space and punctuation taken out: what character shingles are cut from."""
    return _GAP.sub("", folded(text))


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


def digest(parts: Iterable[str]) -> bytes:
    """16 bytes that stand for these texts in this order; lone surrogates are hashed as they are."""
    import xxhash

    whole = xxhash.xxh3_128()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        whole.update(len(data).to_bytes(8, "little"))
        whole.update(data)
    return whole.digest()
