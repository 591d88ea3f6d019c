"""Faults in numbers and units, where the other side plainly has the same. Tables and rules are the benchmark's own and not the
guards'."""

from __future__ import annotations

import random
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from bench import guard_words as words


class Edit(NamedTuple):
    """A piece of a text, by place, and what comes in its stead."""

    start: int
    end: int
    text: str


class Sides(NamedTuple):
    """A piece and its translation, with both languages and the means to choose."""

    source: str
    target: str
    source_language: str
    target_language: str
    chance: random.Random


# --- numbers ----------------------------------------------------------------------------------------------------------

LETTER = r"A-Za-zÀ-ɏͰ-ԯ\u0620-\u064a\u0671-\u06d3"
_NUMBER = re.compile(r"\d{1,3}(?:[ \u00a0\u202f]\d{3})+(?![\d.,])|\d+(?:[.,٫٬]\d+)*")
_SYMBOLS = "|".join(sorted(f"{forms}" for forms in words.SYMBOLS.values()))
_BEHIND_IDENTIFIER = re.compile(rf"[-‑]?(?!(?:{_SYMBOLS})(?![{LETTER}]))[A-Za-z]|[-‑]\d+[A-Za-z]|\d|[-‑][A-Z]")
CHINESE = "零〇一二三四五六七八九十百千万亿億两兩几数多余半"


class Token(NamedTuple):
    """A number in digits: its place, its digits alone (ASCII), and as it stands there."""

    start: int
    end: int
    digits: str
    text: str


@lru_cache(maxsize=4096)
def tokens(text: str) -> tuple[Token, ...]:
    """Numbers in digits that are part of no name, code or address."""
    found = []
    for match in _NUMBER.finditer(text):
        start, end = match.span()
        before, after = text[max(0, start - 2) : start], text[end : end + 4]
        if re.search(rf"[{LETTER}_^][-‑.]?$|\d[-‑]$|[.,]$|\D[/:]$|^[/:]$", before) or _BEHIND_IDENTIFIER.match(after):
            continue
        word = text[text.rfind(" ", 0, start) + 1 : (text + " ").find(" ", end)]
        if re.search(r"(?:^|\n|\()$", text[:start]) and re.match(r"\d{1,2}[.)](?!\d)", text[start:]):
            continue  # counts a list
        if re.search(r"http|www\.|doi|@|//|10\.\d{4}/", word) or re.match(r"[.,]\d", after):
            continue
        digits = "".join(str(unicodedata.digit(sign)) for sign in match.group() if sign.isdigit())
        found.append(Token(start, end, digits, match.group()))
    return tuple(found)


@lru_cache(maxsize=32)
def _word_forms(language: str) -> tuple[tuple[int, re.Pattern[str], str], ...]:
    """Value, pattern and forms of the language's number words."""
    found = []
    for value, forms in words.NUMBERS[language].items():
        spaced = language not in words.COUNTED
        left, right = (
            (rf"(?<![{LETTER}\d-])", rf"(?![{LETTER}-])")
            if spaced
            else (f"(?<![{CHINESE}\\d.가-힣])", f"(?![{CHINESE}])" + words.COUNTED[language])
        )
        found.append((value, re.compile(f"{left}(?:{forms}){right}", re.IGNORECASE), forms))
    return tuple(found)


@lru_cache(maxsize=4096)
def values(text: str, language: str) -> Counter[str]:
    """How often a text says each number, in digits or in words of the tables."""
    said = Counter(token.digits for token in tokens(text))
    for value, pattern, _ in _word_forms(language):
        if count := len(pattern.findall(text)):
            said[str(value)] += count
    return said


def _anywhere(digits: str, text: str) -> bool:
    """Whether a text has these digits at all, in names and codes, too."""
    plain = "".join(str(unicodedata.digit(sign)) if sign.isdigit() else sign for sign in text)
    return digits.lstrip("0") in {number.replace(".", "").replace(",", "").lstrip("0")
                                  for number in re.findall(r"\d+(?:[.,]\d+)*", plain)}  # fmt: skip


def _shared(sides: Sides) -> list[Token]:
    """Numbers in digits of the translation that the source says as often at least."""
    theirs, mine = values(sides.source, sides.source_language), values(sides.target, sides.target_language)
    return [token for token in tokens(sides.target) if 0 < mine[token.digits] <= theirs[token.digits]]


def _new(sides: Sides, digits: str) -> bool:
    """Whether a number is new to both sides."""
    return digits not in values(sides.source, sides.source_language) and not (
        _anywhere(digits, sides.source) or _anywhere(digits, sides.target)
    )


def _other_script(text: str, like: str) -> str:
    """ASCII digits in the script of another number."""
    zero = next((ord(sign) - unicodedata.digit(sign) for sign in like if sign.isdigit()), ord("0"))
    return "".join(chr(zero + int(sign)) if sign.isdigit() else sign for sign in text)


def digit_changed(sides: Sides) -> Iterator[Edit]:
    for token in _shared(sides):
        places = [place for place, sign in enumerate(token.text) if sign.isdigit()]
        place = sides.chance.choice(places)
        old = unicodedata.digit(token.text[place])
        now = sides.chance.choice([digit for digit in range(1, 10) if digit != old])
        text = token.text[:place] + _other_script(str(now), token.text) + token.text[place + 1 :]
        index = places.index(place)
        if _new(sides, token.digits[:index] + str(now) + token.digits[index + 1 :]):
            yield Edit(token.start, token.end, text)


def digits_dropped(sides: Sides) -> Iterator[Edit]:
    for token in _shared(sides):
        if not token.digits.strip("0") or re.search(rf"[A-Za-z]-?{token.digits}(?!\d)", sides.target):
            continue  # 10:00 is 10, and ACE2 says the 2 once more
        percent = re.compile(words.PERCENT).match(sides.target, token.end)
        yield Edit(token.start, percent.end() if percent else token.end, "")


def number_added(sides: Sides) -> Iterator[Edit]:
    spaced = sides.target_language not in ("zh", "ja")
    for match in re.finditer(
        rf"(?<=[{LETTER}가-힣] )(?=[{LETTER}가-힣]{{3}})" if spaced else "(?<=[，、。,])(?=[ぁ-ヿ一-鿿])", sides.target
    ):
        number = str(sides.chance.randint(3, 97))
        if _new(sides, number):
            yield Edit(match.start(), match.start(), number + (" " if spaced else ""))


def word_changed(sides: Sides) -> Iterator[Edit]:
    for value, match, forms in _words(sides):
        own = forms.split("|").index(match.group().casefold()) if match.group().casefold() in forms.split("|") else 0
        others = {
            other: said.split("|") for other, said in words.NUMBERS[sides.target_language].items()
            if other != value and (value > 10) == (other > 10) and _new(sides, str(other))
        }  # fmt: skip
        if others:
            said = sides.chance.choice(list(others.values()))
            text = said[min(own, len(said) - 1)]
            yield Edit(match.start(), match.end(), text.capitalize() if match.group()[0].isupper() else text)


def word_dropped(sides: Sides) -> Iterator[Edit]:
    for _, match, _ in _words(sides):
        yield Edit(match.start(), match.end(), "")


def _words(sides: Sides) -> Iterator[tuple[int, re.Match[str], str]]:
    theirs, mine = values(sides.source, sides.source_language), values(sides.target, sides.target_language)
    for value, pattern, forms in _word_forms(sides.target_language):
        if 0 < mine[str(value)] <= theirs[str(value)]:
            for match in pattern.finditer(sides.target):
                yield value, match, forms


def decimal_moved(sides: Sides) -> Iterator[Edit]:
    comma = sides.target_language in ("es", "fr", "ru")
    for token in _shared(sides):
        marks = re.findall(r"\D", token.text)
        if not marks:
            mark = "٫" if not token.text.isascii() else "," if comma else "."
            ways = [token.digits + "0"] + (
                [token.digits[:-1]] if token.digits.endswith("0") and len(token.digits) > 1 else []
            )
            ways += [f"0{mark}{token.digits}"] if len(token.digits) == 1 and token.digits != "0" else []
        elif len(marks) == 1 and marks[0] in ".,٫" and re.search(r"\D\d{1,2}$|^[0٠]\D", token.text):
            whole, part = (_ascii(text) for text in token.text.split(marks[0]))
            ways = [whole.lstrip("0") + part, f"0{marks[0]}{'0' if whole == '0' else ''}{whole.lstrip('0')}{part}"]
            ways += [f"{whole[:-1]}{marks[0]}{whole[-1]}{part}"] if len(whole) > 1 else []
        else:
            continue
        way = _other_script(sides.chance.choice(ways), token.text)
        if way.strip("0") and not re.search(rf"(?<!\d){re.escape(way)}(?![\d])", sides.source):
            yield Edit(token.start, token.end, way)


def _ascii(text: str) -> str:
    return "".join(str(unicodedata.digit(sign)) for sign in text)


def thousands_lost(sides: Sides) -> Iterator[Edit]:
    """A group of three digits lost, or a word that multiplies exchanged."""
    for token in _shared(sides):
        groups = re.fullmatch(r"(\d{1,3}(?:([.,٬ \u00a0\u202f])\d{3})*)[.,٬ \u00a0\u202f]\d{3}", token.text)
        if groups and not token.digits.startswith("0") and _new(sides, _ascii(re.sub(r"\D", "", groups[1]))):
            yield Edit(token.start, token.end, groups[1])
    spaced = sides.target_language not in ("zh", "ja", "ko")
    for was, now in words.SCALES[sides.target_language]:
        edge = rf"(?![{LETTER}])" if spaced else ""
        behind = r"(?<=\d )" if spaced else r"(?<=[\d一二三四五六七八九两])"
        for match in re.finditer(behind + was + edge, sides.target):
            yield Edit(match.start(), match.end(), now)


# --- units ------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=32)
def _units(language: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Code and forms; the language's own first."""
    own = words.UNITS[language]
    codes = dict.fromkeys((*own, *words.SYMBOLS))
    return tuple(
        (code, tuple(form for table in (own, words.SYMBOLS) if code in table for form in table[code].split("|")))
        for code in codes
    )


class Measured(NamedTuple):
    """A number with its unit: the number, the place of the unit with the gap before it, its code and form."""

    token: Token
    start: int
    end: int
    code: str
    form: str


@lru_cache(maxsize=4096)
def measured(text: str, language: str) -> tuple[Measured, ...]:
    """Numbers in digits with a unit of the tables behind them; dates and years are none."""
    found = []
    for token in tokens(text):
        best: Measured | None = None
        for code, forms in _units(language):
            for form in forms:
                edge = rf"(?![{LETTER}])" if re.match(f"[{LETTER}µμ]", form[-1]) else ""
                match = re.compile(rf"[ \u00a0\u202f-]?({re.escape(form)}){edge}").match(text, token.end)
                if match and (best is None or match.end() > best.end):
                    best = Measured(token, match.start(), match.end(), code, form)
        if best and not (
            (best.code == "d" and re.search(r"[月월] ?$", text[: token.start]))
            or (best.code == "a" and len(token.digits) > 3)
            or (best.form == "分" and text[best.end : best.end + 1] in ("の", "之"))
            or (
                best.form in "일주년분"
                and re.match(r"[가-힣]", text[best.end :])
                and text[best.end] not in "간의에은이을동정마"
            )
            or (best.form == "日" and re.match("目", text[best.end :]))
        ):
            found.append(best)
    return tuple(found)


def unit_changed(sides: Sides) -> Iterator[Edit]:
    theirs = {(one.token.digits, one.code) for one in measured(sides.source, sides.source_language)}
    forms = dict(_units(sides.target_language))
    for one in measured(sides.target, sides.target_language):
        if (one.token.digits, one.code) not in theirs or one.token not in _shared(sides):
            continue
        codes = [
            code for code in words.SWAPS.get(one.code, ()) if code in forms and (one.token.digits, code) not in theirs
        ]
        if codes:
            code = sides.chance.choice(codes)
            symbols = words.SYMBOLS.get(one.code, "").split("|")
            if one.form in symbols and code in words.SYMBOLS:
                now = words.SYMBOLS[code].split("|")[0]
            else:
                now = forms[code][min(forms[one.code].index(one.form), len(forms[code]) - 1)]
            yield Edit(one.end - len(one.form), one.end, now)


def unit_dropped(sides: Sides) -> Iterator[Edit]:
    """All but years: a man of 65 is one of 65 years."""
    theirs = {(one.token.digits, one.code) for one in measured(sides.source, sides.source_language)}
    for one in measured(sides.target, sides.target_language):
        if re.match(r"[ ]?[-^⁻]\d", sides.target[one.end :]):  # cm-1
            continue
        if _first_of_range(sides.target, one.end, rf"[ \u00a0\u202f]?{re.escape(one.form)}"):
            continue
        if one.code != "a" and (one.token.digits, one.code) in theirs and one.token in _shared(sides):
            yield Edit(one.start, one.end, "")


_RANGE = r" ?(?:[-–~～〜]|to|and|a|y|à|et|до|и|至|到|から|에서|إلى|و) ?"


def _first_of_range(text: str, end: int, unit: str) -> bool:
    """Whether a unit ends there that the next number of a range has, too: without it the range means the same."""
    return re.compile(rf"{_RANGE}[\d.,٫]+{unit}").match(text, end) is not None


def percent_dropped(sides: Sides) -> Iterator[Edit]:
    pattern = re.compile(words.PERCENT)
    theirs = {token.digits for token in tokens(sides.source) if pattern.match(sides.source, token.end)}
    for token in _shared(sides):
        match = pattern.match(sides.target, token.end)
        if match and token.digits in theirs and not _first_of_range(sides.target, match.end(), words.PERCENT):
            yield Edit(match.start(), match.end(), "")
