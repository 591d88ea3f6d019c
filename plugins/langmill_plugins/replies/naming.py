"""How options are named in a reply: by their words, by number, by letter. Names by words and by number become signs of no script, which
patterns find wherever the words stood."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

from langmill.api import Pack

MOST = 64
"""Options that an item may have."""
STRONG, WEAK, POINTED, GONE = 0xE000, 0xE100, 0xE200, "\ue3ff"
"""Signs: an option's words; words that may well mean something else (yes, 5); an option's number; a name that does not count."""
STRONG_SIGN = f"[{chr(STRONG)}-{chr(STRONG + MOST)}]"
WEAK_SIGN = f"[{chr(WEAK)}-{chr(WEAK + MOST)}]"
POINTED_SIGN = f"[{chr(POINTED)}-{chr(POINTED + MOST)}]"

ALPHABETIC = "0-9A-Za-zÀ-ʯͰ-ϿЀ-ԯ԰-ۿऀ-ൿ"
_HAN, _KATAKANA, _HANGUL = "\u3400-\u9fff々", "ァ-ヺー", "가-힣"
UNSPACED = re.compile(f"[{_HAN}ぁ-ゖ{_KATAKANA}{_HANGUL}]")
_ASIDE = re.compile(r"^(.+?)\s*\(([^()]+)\)\W*$")
_STEM = 5  # letters that a word has at least, for its last ones to change
_SPECIES = re.compile(
    r"(?<!\w)[A-J]\. ?(?=coli|difficile|albicans|pylori|perfringens|tetani|botulinum|influenzae|diphtheriae|faecalis|neoformans|jejuni|"
    r"dermatitidis|trachomatis|burgdorferi|duodenalis|lamblia|histolytica|granulosus|hominis|canis|anthracis|cereus|fragilis|henselae)",
    re.IGNORECASE,
)


def plain_option(text: str) -> str:
    """An option's words: NFKC, single blanks, no full stop at the end."""
    return " ".join(unicodedata.normalize("NFKC", text).split()).strip(" .。;\"'“”")


def letters_of(pack: Pack, count: int) -> tuple[str, ...]:
    """The letters of an item's options; A, B, C where the pack says none."""
    return (pack.choice.letters if pack.choice else tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))[:count]


def counts_by_number(options: Sequence[str]) -> bool:
    """Whether a bare number may be an option's place: not where an option is a number itself."""
    return not any(re.fullmatch(r"[\d.,]+\D{0,2}", plain_option(option)) for option in options)


def signed(text: str, options: Sequence[str], pack: Pack, others: Sequence[Pack]) -> str:
    """A cleaned reply with signs for the options' words and numbers, and with the letters of other alphabets turned into the pack's."""
    letters = letters_of(pack, len(options))
    for pattern, sign in _wordings(tuple(options), letters, _facts(pack)):
        text = pattern.sub(sign, text)
    text = _SPECIES.sub(GONE, text)
    for one in (pack, *others):
        facts = one.replies
        if facts and facts.names:
            text = _joined(facts.names).sub(GONE, text)
    text = _own_letters(text, letters, pack)
    for one in (pack, *others):
        text = _numbers(text, len(options), one)
    return _together(text, letters)


def _facts(pack: Pack) -> tuple[bool, bool, str, tuple[str, ...], int]:
    """What of a pack decides how words are found: whether it is written without spaces, with kana, what parts words, yes and no,
    how many letters of a word's end change."""
    facts = pack.replies
    unspaced = pack.text is not None and pack.text.shingles.by == "character"
    kana = "Kana" in pack.identity.scripts
    return unspaced, kana, facts.parting if facts else "", facts.yes_no if facts else (), facts.inflects if facts else 0


@lru_cache(maxsize=4096)
def _wordings(
    options: tuple[str, ...], letters: tuple[str, ...], facts: tuple[bool, bool, str, tuple[str, ...], int]
) -> list[tuple[re.Pattern[str], str]]:
    """Each wording of an option as a pattern, the longest first, and the sign that it becomes."""
    found: dict[str, set[int]] = {}
    for index, option in enumerate(options):
        whole = plain_option(option)
        aside = _ASIDE.match(whole)
        for words in (whole, *(aside.groups() if aside else ())):
            found.setdefault(words.casefold(), set()).add(index)
    alone = {words: min(places) for words, places in found.items() if len(places) == 1}
    forms = {}
    for words, index in alone.items():
        inflected = _pattern(words, facts, facts[4])
        shared = any(inflected.fullmatch(other) for other, place in alone.items() if place != index)
        forms[words] = _pattern(words, facts, 0) if shared else inflected
    signs = []
    for words in sorted(alone, key=len, reverse=True):
        if not re.search(r"\w", words) or words.upper() in letters:
            continue  # an option that is called like a letter: the letter is what was asked for
        signs.append((forms[words], chr((WEAK if _is_weak(words, facts) else STRONG) + alone[words])))
    return signs


def _is_weak(words: str, facts: tuple[bool, bool, str, tuple[str, ...], int]) -> bool:
    least = 2 if UNSPACED.search(words) else 3
    return len(words) < least or not re.search(r"[^\W\d_]", words) or _yes_or_no(words, facts[3]) is not None


def _yes_or_no(words: str, yes_no: Iterable[str]) -> str | None:
    return next((one for one in yes_no if re.fullmatch(one, words, re.IGNORECASE)), None)


def _pattern(words: str, facts: tuple[bool, bool, str, tuple[str, ...], int], inflects: int) -> re.Pattern[str]:
    """An option's words where they stand alone: in no longer word, number or name."""
    _, kana, parting, yes_no, _ = facts
    form = _yes_or_no(words, yes_no)
    body = f"(?:{form})" if form else _body(words, inflects)
    first, last = words[0], words[-1]
    return re.compile(_before(first, kana, parting) + body + _behind(last, kana), re.IGNORECASE)


def _body(words: str, inflects: int) -> str:
    """Words with any white space between them; 5mg is 5 mg."""
    parted = re.sub(r"(?<=\d)\s*(?=[^\W\d_])", " ", words)
    parts = re.findall(r"\d+|[^\W\d_]+|\s+|.", parted)
    ends = (*parts[1:], "")
    return "".join(
        r"\s*" if part.isspace() and before.isdigit() and behind.isalpha() else _part(part, inflects)
        for before, part, behind in zip(("", *parts), parts, ends, strict=False)
    )


def _part(part: str, inflects: int) -> str:
    if part.isspace():
        return r"\s+"
    if part in "-‐‑–—":
        return r"\s?[-‐‑–—]?\s?"
    if inflects and len(part) >= _STEM and part.isalpha() and not UNSPACED.search(part):
        return re.escape(part[:-inflects]).replace("ё", "[её]") + rf"\w{{0,{inflects + 1}}}"
    return re.escape(part).replace("ё", "[её]")


def _before(first: str, kana: bool, parting: str) -> str:
    if first.isdigit():
        return rf"(?<![{ALPHABETIC}])(?<!\d[.,])(?<![-‐–]\d)"
    if re.match(f"[{_HANGUL}]", first):
        return f"(?<![{_HANGUL}])"
    if re.match(f"[{_KATAKANA}]", first):
        return f"(?<![{_KATAKANA}])"
    if re.match(f"[{_HAN}]", first):
        return f"(?<![{_HAN}])" if kana else rf"(?:(?<![{_HAN}])|(?<=[{re.escape(parting)}]))" if parting else ""
    return rf"(?<![{ALPHABETIC}])(?<![{ALPHABETIC}][-‐‑])" if first.isalnum() else ""


def _behind(last: str, kana: bool) -> str:
    if last.isdigit():
        return rf"(?![{ALPHABETIC}])(?![.,]\d)(?!\s?[%‰°])(?![-–/]\d)"
    if re.match(f"[{_KATAKANA}]", last):
        return f"(?![{_KATAKANA}])"
    if re.match(f"[{_HAN}]", last):
        return f"(?![{_HAN}])" if kana else ""
    return rf"(?![{ALPHABETIC}])(?![-‐‑][{ALPHABETIC}])" if last.isalnum() and not UNSPACED.match(last) else ""


@lru_cache(maxsize=256)
def _joined(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{one})" for one in patterns), re.IGNORECASE)


def _own_letters(text: str, letters: tuple[str, ...], pack: Pack) -> str:
    """Letters of the language's own alphabet, standing alone, as the pack's letters. They stand for the letters that they look like,
    unless one is used that looks like none: then the reply counts in its own alphabet."""
    facts = pack.replies
    if not facts or not (facts.alike or facts.alphabet):
        return text
    alike = {own: letter for own, letter in zip(facts.alike, letters, strict=False) if own}
    ordered = dict(zip(facts.alphabet, letters, strict=False))
    own = "".join({*alike, *ordered})
    # An option's words say which one is meant, whatever its letter looks like.
    text = re.sub(rf"(?<!\w)[{own}]\s?[.):,\-–—]\s?(?=[{chr(STRONG)}-{chr(WEAK + MOST)}])", "", text)
    lone = rf"(?<![\w])([{own}])(?![\w])"
    # A small one only where it can not be a word: before a bracket, or with a line for itself.
    ends = rf"(?m:(?<!\w)[{own.lower()}](?=\)|\W*$)|^[{own.lower()}](?=[.,)]|$))" if own.lower() != own else "(?!)"
    used = {letter.upper() for letter in (*re.findall(lone, text), *re.findall(ends, text))}
    names = ordered if used - set(alike) or not alike else alike
    text = re.sub(lone, lambda found: names.get(found.group(1), found.group(1)), text)
    return re.sub(ends, lambda found: names.get(found.group().upper(), found.group()).lower(), text)


def _numbers(text: str, count: int, pack: Pack) -> str:
    """Signs for options that are called by their number, in figures or words."""
    facts = pack.replies
    if not facts:
        return text
    for said in facts.numbered:
        pattern = _joined((said.replace("{number}", r"(?<!\d)(\d{1,2})(?!\d)(?![.,]\d)"),))
        text = pattern.sub(lambda found: _sign(found, count), text)
    if facts.numbered:
        also = _also((*facts.joiners, *facts.alternatives))
        while (more := also.sub(lambda found: _sign(found, count), text)) != text:
            text = more
    for index, said in enumerate(facts.ordinals[:count]):
        text = _joined((said,)).sub(chr(POINTED + index), text)
    return text


@lru_cache(maxsize=64)
def _also(words: tuple[str, ...]) -> re.Pattern[str]:
    """A number behind an option's number: "options 2 and 4"."""
    said = "|".join(f"(?:{one})" for one in words) or "(?!)"
    return re.compile(
        rf"(?<={POINTED_SIGN})\s?(?:[,、/&+]\s?(?:(?:{said})\s)?|(?:{said})\s?)(?<!\d)(\d{{1,2}})(?!\s?[%‰°\d]|[.,/–-]\d|\s?[^\W\d_]{{1,2}}(?!\w))",
        re.IGNORECASE,
    )


def _sign(found: re.Match[str], count: int) -> str:
    number = int(found.group(1))
    if not 1 <= number <= count:
        return found.group()
    return found.group()[: found.start(1) - found.start()] + chr(POINTED + number - 1)


def _together(text: str, letters: tuple[str, ...]) -> str:
    """An option that is named twice in one breath, by letter or number and by words, as one name: "B. Glucagon"."""
    for index, letter in enumerate(letters):
        name = rf"(?:{re.escape(letter)}|{re.escape(letter.lower())}|{index + 1}|{chr(POINTED + index)})"
        words = f"[{chr(STRONG + index)}{chr(WEAK + index)}]"
        text = re.sub(
            rf"(?<![{ALPHABETIC}]){name}[\s.):,、\-–—。]{{0,3}}[\"'“«「『(]?{words}", chr(STRONG + index), text
        )
        text = re.sub(rf"{words}\s*[(\[]\s*{name}\s*[)\]]", chr(STRONG + index), text)
    return text
