"""What the filters take for the same wording, in every script: folding, words, shingles, and the sides of a body."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias

from langmill.api import Body, Chat, Choice, Text

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Hashes: TypeAlias = npt.NDArray[np.uint64]


class Cut(Protocol):
    """How a language's text is cut into shingles: a pack's ``text.shingles``."""

    @property
    def by(self) -> Literal["word", "character"]: ...
    @property
    def size(self) -> int: ...


class TextFacts(Protocol):
    """A pack's section ``text``, as far as filters read it."""

    @property
    def shingles(self) -> Cut: ...


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


def shingles(text: str, by: Literal["word", "character"], size: int, tag: int = 0) -> Hashes:
    """One 64-bit hash for each run of ``size`` words or characters, in the text's order; a shorter text is one shingle.

    Returns shape (n,), repeats included; n is 0 when the text holds no word at all. Words are hashed by xxHash,
    characters are their code points; runs are mixed from those by multiplication, for the whole text at once. Another
    ``tag`` makes other hashes of the same text.
    """
    import numpy as np

    if by == "character":
        data = letters_only(text).encode("utf-32-le", "surrogatepass")
        units = np.frombuffer(data, "<u4").astype(np.uint64)
        units += np.uint64(1)
    else:
        units = np.array([_word_hash(word) for word in word_list(text)], np.uint64)
    size = min(size, len(units))
    if not size:
        return units
    run = units[: len(units) - size + 1] + np.uint64(tag << 8 | size)
    for offset in range(1, size):
        run *= np.uint64(0x9E3779B97F4A7C15)
        run ^= run >> np.uint64(29)
        run += units[offset : len(units) - size + 1 + offset]
    return mixed(run)


@lru_cache(1 << 16)
def _word_hash(word: str) -> int:
    import xxhash

    return xxhash.xxh3_64_intdigest(word.encode("utf-8", "surrogatepass"))


def mixed(values: Hashes) -> Hashes:
    """The finalizer of MurmurHash3, 64 bits, in place: a bijection that spreads every bit."""
    import numpy as np

    values ^= values >> np.uint64(33)
    values *= np.uint64(0xFF51AFD7ED558CCD)
    values ^= values >> np.uint64(33)
    values *= np.uint64(0xC4CEB9FE1A85EC53)
    values ^= values >> np.uint64(33)
    return values


def shingle_set(texts: Sequence[str], facts: TextFacts, tag: int = 0) -> Hashes:
    """The distinct shingles of several texts, sorted; none runs across two texts. ``facts`` is a pack's text section;
    another ``tag`` makes other shingles, so that a word of the question is not a word of the answer."""
    import numpy as np

    runs = [shingles(text, facts.shingles.by, facts.shingles.size, tag) for text in texts]
    whole = np.concatenate(runs) if runs else np.empty(0, np.uint64)
    return distinct(whole)


def distinct(values: Hashes) -> Hashes:
    """The values sorted, each once (np.unique, without its overhead on short arrays)."""
    import numpy as np

    if len(values) < 2:
        return values
    values = np.sort(values)
    return values[np.concatenate(([True], values[1:] != values[:-1]))]


def jaccard(left: Hashes, right: Hashes) -> float:
    """Shared shingles over all shingles of two sorted sets, 0 to 1; two empty sets are alike."""
    import numpy as np

    if not len(left) and not len(right):
        return 1.0
    shared = len(np.intersect1d(left, right, assume_unique=True))
    return shared / (len(left) + len(right) - shared)
