"""How far a licence lets one go, as far as its name says it: the declared table, licenses.yaml. The terms themselves rule.

What is not known counts as not permitted, and words behind a name make it stricter, never freer: "Apache-2.0, academic use only"
is not for commercial use.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from pathlib import Path

from langmill.yaml12 import load_file

TABLE = Path(__file__).with_name("licenses.yaml")
_VERSION = re.compile(r"[-.]?v?\d+(\.\d+)*$")
_TAIL = re.compile(r"-(only|or-later|international|unported|generic|universal|deed)$|\+$")
_PORT = re.compile(r"(?<=\d)-(?!by$|nc$|sa$|nd$)(igo|[a-z]{2})$")  # of a Creative Commons licence, behind its version
_WORDS = (  # how names are written out
    (r"\b(licen[cs]es?|agreement|version|the|under|publique)\b", " "),
    (r"creative[\s-]commons", "cc"),
    (r"public[\s-]domain[\s-]dedication", "public-domain"),
    (r"\bzero\b", "0"),
    (r"non[\s-]?commercial", "nc"),
    (r"no[\s-]?deriv(ative|ative works|ative-works|ative?s|s)?\b", "nd"),
    (r"share[\s-]?alike", "sa"),
    (r"^(cc[\s-])attribution", r"\1by"),
    (r"^(attribution|by)(?=[\s-]+(nc|sa|nd)\b)", "cc-by"),
    (r"^(meta[\s-]+)?llama[\s-]*(?=\d)", "llama"),
    (",", " "),
)
_BEHIND = re.compile(r"\s*[,;:(]\s*|\s+(?=(?:by|as|for|but|with|per|see)\b)|\s+-\s+", re.IGNORECASE)
_DASHES = (("[\u00ad\u2010-\u2013\u2212]", "-"), ("[\u2014\u2015]", " - "))
_URL = re.compile(
    r"(?:https?://)?(?:www\.)?(creativecommons|opendatacommons|apache|opensource|spdx|gnu|choosealicense)\.(?:org|com)"
    r"/(licen[cs]es?|publicdomain)/([^\s()\[\]<>,;]+)",
    re.IGNORECASE,
)
_URL_TAIL = re.compile(r"(/(deed|legalcode)(\.[\w-]+)?|(\.en)?\.(html|txt|php))$")
_OR = re.compile(r"\s+OR\s+(?!(ANY\s+)?LATER\b)", re.IGNORECASE)
_AND = re.compile(r"\s+AND\s+", re.IGNORECASE)
_TOGETHER = re.compile(r"\s*[,;/&+]\s*(?:and\s+)?|\s+and\s+", re.IGNORECASE)
_NOT_COMMERCIAL = re.compile(
    r"academic|research|scientific|scholar|teaching|education|non-?\s?commercial|\bnc\b|non-?\s?profit|not[\s-]for[\s-]profit|"
    r"\bno commercial|not (for|be used for|for any) commercial|(except|but|other than|excluding|without) (for )?commercial|"
    r"commercial (use |uses |purposes? )?(is |are )?(not|forbidden|prohibited|excluded)|personal use|private use|"
    r"evaluation only|not for sale",
    re.IGNORECASE,
)
_PERMITTED = re.compile(  # all that is said, since one word more may take it back
    r"((free )?for )?any (use|purpose)|(free )?for commercial use|"
    r"((both )?(academic|research|educational|private|personal)( use)?,? (and|as well as) )?commercial (use|purposes?) "
    r"(is |are )?(also )?(allowed|permitted|free)",
    re.IGNORECASE,
)
_NO_DERIVATIVES = re.compile(
    r"no[\s-]?deriv|\bnd\b|rights reserved|not be (changed|modified|altered|distorted|adapted)|unchanged|unmodified",
    re.IGNORECASE,
)
_HARMLESS = re.compile(
    r"((as |per |by |see )?(its|their|the)? ?(own )?(readme|card|page|(web ?)?site|header|paper|authors?|licen[cs]e file|data ?card|"
    r"repository|hub)|international|unported|generic|attribution|(with )?[\w.-]*exception[\w.-]*)[.)\s]*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Terms:
    """One licence: ``family`` is its entry in the table (empty: none). Of the four questions True, False, or None where the answer is
    not known. ``note`` is what else should be known."""

    license: str
    family: str = ""
    spdx: str = ""
    commercial: bool | None = None
    derivatives: bool | None = None
    share_alike: bool | None = None
    attribution: bool | None = None
    note: str = ""

    @property
    def known(self) -> bool:
        """Whether it is known what it permits."""
        return self.commercial is not None

    @property
    def strictness(self) -> int:
        """0 (free for any use) to 6 (nothing known)."""
        if self.commercial is None:
            return 6
        if not self.commercial:
            return 5 if self.derivatives is False else 4
        return 3 if not self.derivatives else 2 if self.share_alike else 1 if self.attribution else 0

    @property
    def words(self) -> str:
        """What it asks and forbids, in words."""
        if self.commercial is None:
            return "terms not known: counts as not permitted for commercial use"
        said = [
            "not for commercial use" if not self.commercial else "",
            "may be passed on unchanged only" if self.derivatives is False else "",
            "what is made from it carries the same licence" if self.share_alike else "",
            "names its authors" if self.attribution else "",
            self.note,
        ]
        return "; ".join(filter(None, said)) or "free for any use"


@lru_cache(maxsize=1)
def table() -> dict[str, Terms]:
    """The declared licences by their names, each family under all of its spellings."""
    found: dict[str, Terms] = {}
    for family, entry in load_file(TABLE).data.items():
        names = entry.pop("names", [])
        one = Terms("", family, **entry)
        for name in map(_plain, (family, *names)):
            if found.setdefault(name, one) is not one:
                raise ValueError(f"{TABLE.name}: '{name}' stands for {found[name].family} and for {family}")
    return found


@lru_cache(maxsize=4096)
def terms(license: str) -> Terms:
    """The terms behind a licence as a source writes it: an SPDX id or expression (AND, OR), a usual spelling, the address of its text,
    several names in a row, words behind a name."""
    return replace(_read(_tidy(license)), license=license)


def unlisted(license: str) -> str:
    """What to say of a licence that nothing is known of, and that does not say so itself; with the nearest name, if one is near, since it
    may be mistyped. Empty for all others."""
    plain, its = _plain(_tidy(license)), terms(license)
    if its.known or its.family or not plain or "unknown" in plain.split("-"):
        return ""
    version = found[0] if (found := _VERSION.search(plain)) else ""
    bare = plain.removesuffix(version)
    near = [
        name
        for one, cutoff in ((plain, 0.8), (bare, 0.66))
        for name in difflib.get_close_matches(one, table(), 1, cutoff)
    ]
    spdx = table()[near[0]].spdx if near else ""
    name = spdx if _VERSION.search(spdx) else spdx + version
    return "is not in the table and counts as unknown" + (f"; nearest: {name}" if spdx else "")


def _tidy(license: str) -> str:
    """It with plain dashes and blanks, and names for addresses."""
    text = unicodedata.normalize("NFKC", license)
    for dashes, plain in _DASHES:
        text = re.sub(dashes, plain, text)
    return re.sub(r"\s+", " ", _URL.sub(_of_address, text)).strip()


def _of_address(found: re.Match[str]) -> str:
    """The name of the licence whose text lies at an address."""
    host, place, path = (found[group].lower() for group in (1, 2, 3))
    name = _URL_TAIL.sub("", path.rstrip("/.")).replace("/", "-")
    if place == "publicdomain":
        return "CC0" if name.startswith("zero") else "public domain"
    if host == "apache":
        return name.replace("license-", "apache-")
    return {"creativecommons": "cc-", "opendatacommons": "odc-"}.get(host, "") + name


def _read(said: str) -> Terms:
    if said[:1] == "(" and said[-1:] == ")" and _level(said[1:-1]):
        return _read(said[1:-1].strip())
    if found := _named(said):
        return found
    either, both = _parts(_OR, said), _parts(_AND, said)
    if _joined(either, " OR " in said):
        return min(map(_read, either), key=lambda item: item.strictness)
    if _joined(both, " AND " in said):
        return _united([_read(part) for part in both])
    if all(names := [_license(part) for part in _parts(_TOGETHER, said)]):
        return _united([name for name in names if name])
    for cut in _BEHIND.finditer(said):
        if found := _named(said[: cut.start()]):
            return _stricter(found, said[cut.end() :])
    if said.lower().startswith("licenseref-"):  # somebody's own text: its name may warn, and promises nothing
        its = _read(said[len("licenseref-") :])
        return Terms("", commercial=its.commercial and None, derivatives=its.derivatives and None)
    if _NOT_COMMERCIAL.search(said) and not _free(said):
        return Terms("", commercial=False)
    return Terms("")


def _level(text: str) -> bool:
    """Whether each bracket closes one that was opened before."""
    depth = 0
    for sign in text:
        depth += (sign == "(") - (sign == ")")
        if depth < 0:
            return False
    return depth == 0


def _parts(between: re.Pattern[str], said: str) -> list[str]:
    """What stands between signs that are in no bracket."""
    ends = [found for found in between.finditer(said) if _level(said[: found.start()])]
    starts = [0, *(found.end() for found in ends)]
    return [
        said[start:end].strip() for start, end in zip(starts, [*(found.start() for found in ends), None], strict=True)
    ]


def _joined(parts: Sequence[str], plainly: bool) -> bool:
    """Whether parts are those of an expression: its word in small letters may be that of a sentence."""
    return len(parts) > 1 and (
        plainly or all(_license(part) or (part[:1] == "(" and _read(part).known) for part in parts)
    )


def _license(part: str) -> Terms | None:
    """The licence that is all of a part; mere words on use are none."""
    found = _named(part)
    return None if found and found.family == "non-commercial" else found


def _free(words: str) -> bool:
    return _PERMITTED.fullmatch(words.strip(" ()[].:;,-")) is not None


def _named(name: str) -> Terms | None:
    """The table's entry for a name without more words, in any version and port."""
    key = _plain(name)
    known = table()
    while key:
        if found := known.get(_ordered(key)):
            return found
        for pattern in (_TAIL, *([_PORT] if key.startswith("cc-") else []), _VERSION):
            if pattern.search(key):
                key = pattern.sub("", key)
                break
        else:
            return None
    return None


def _plain(name: str) -> str:
    """A name in small letters, its usual words short, joined by hyphens."""
    text = name.lower()
    for word, plain in _WORDS:
        text = re.sub(word, plain, text)
    return re.sub(r"-+", "-", re.sub(r"[\s_/]+", "-", text.strip())).strip("-.")


def _ordered(key: str) -> str:
    """The elements of a Creative Commons licence in their usual order, ``by`` with all of them."""
    head, *elements = key.split("-")
    if head != "cc" or not elements or not set(elements) <= {"by", "nc", "sa", "nd"}:
        return key
    return "-".join(["cc", *(one for one in ("by", "nc", "sa", "nd") if one == "by" or one in elements)])


def _stricter(found: Terms, more: str) -> Terms:
    """A licence with words behind its name: what they, or licences that they name, forbid is forbidden, what they mean beyond that is
    not known."""
    more = more.strip(" ()[].:;,-")
    other = _license(more)
    if not more or _HARMLESS.fullmatch(more) or (other and other.family == found.family):
        return found
    if other and other.known:
        return replace(_united([found, other]), family=found.family)
    named = [one for one in map(_license, re.split(r"[\s,;()\[\]]+", more)) if one and one.family.startswith("cc-")]
    commercial, derivatives = found.commercial, found.derivatives
    if _NO_DERIVATIVES.search(more) or any(one.derivatives is False for one in named):
        derivatives = False
    if any(one.commercial is False for one in named) or (_NOT_COMMERCIAL.search(more) and not _free(more)):
        commercial = False
    elif commercial and not _free(more) and derivatives is found.derivatives:
        commercial = None
    return replace(found, commercial=commercial, derivatives=derivatives)


def strictest(licenses: Iterable[str]) -> Terms | None:
    """The strictest of several licences; None for none."""
    found = [terms(license) for license in sorted(licenses)]
    return max(found, key=lambda item: item.strictness) if found else None


def union(licenses: Iterable[str]) -> Terms:
    """What may be done with a row that carries all of these: what every one of them permits, and all that one of them asks."""
    return _united([terms(license) for license in licenses])


def _united(found: Sequence[Terms]) -> Terms:
    return Terms(
        " AND ".join(item.license for item in found),
        commercial=_all(item.commercial for item in found),
        derivatives=_all(item.derivatives for item in found),
        share_alike=_any(item.share_alike for item in found),
        attribution=_any(item.attribution for item in found),
        note="; ".join(dict.fromkeys(item.note for item in found if item.note)),
    )


def _all(answers: Iterable[bool | None]) -> bool | None:
    met = set(answers)
    return False if False in met else None if None in met else True


def _any(answers: Iterable[bool | None]) -> bool | None:
    met = set(answers)
    return True if True in met else None if None in met else False


def conflicts(licenses: Iterable[str]) -> list[str]:
    """Pairs of licences that no one licence fits, in words: both want what is made from them to be theirs, or one wants it to be
    free for a use that the other forbids."""
    found = [terms(license) for license in sorted(set(licenses))]
    lines = []
    for one, other in combinations(found, 2):
        first, second = (one, other) if one.share_alike else (other, one)
        if not first.share_alike or one.family == other.family or _goes_into(one, other):
            continue
        if second.share_alike:
            lines.append(f"{one.license} and {other.license} each want the same licence again: no licence fits both")
        elif first.commercial and second.commercial is False:
            lines.append(
                f"{first.license} wants the same licence again, which permits commercial use, and {second.license} forbids that: "
                "no licence fits both"
            )
    return lines


def _goes_into(one: Terms, other: Terms) -> bool:
    """Whether one of two share-alike licences lets its works go on under the other: CC-BY-SA-4.0 names GPL-3.0 so, and no other."""
    by_family = {one.family: one.license, other.family: other.license}
    shared, code = by_family.get("cc-by-sa", ""), by_family.get("gpl", "").lower()
    return "4.0" in shared and bool(re.search(r"3|later|\+", code))


def listed(names: Sequence[str], most: int = 6) -> str:
    """Names in a line, the rest of very many counted."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
