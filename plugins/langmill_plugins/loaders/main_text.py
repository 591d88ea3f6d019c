"""The main text of a web page or of a chapter of an electronic book, in the page's own order."""

from __future__ import annotations

import codecs
import re
import unicodedata
from typing import Any

from langmill.api import RowFault, missing_package

_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([A-Za-z0-9_.:-]{2,40})""", re.IGNORECASE)
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
# What browsers take a declared name for: nearly always a larger set than it says (WHATWG Encoding Standard). Python's own names of
# codecs are no guide, since some of them are none of text.
_MEANT = {
    "cp1252": "ascii us-ascii iso-8859-1 iso8859-1 iso_8859-1 latin1 l1 windows-1252 cp1252 x-cp1252",
    "cp932": "shift_jis shift-jis sjis x-sjis ms_kanji windows-31j ms932 cp932",
    "gb18030": "gb2312 gb_2312-80 gbk x-gbk chinese gb18030 cp936",
    "cp949": "euc-kr euckr ks_c_5601-1987 ksc5601 ks_c_5601-1989 korean windows-949 cp949",
    "big5hkscs": "big5 big5-hkscs cn-big5 x-x-big5 big-5",
    "euc_jp": "euc-jp x-euc-jp eucjp",
    "iso2022_jp": "iso-2022-jp csiso2022jp",
    "cp1251": "windows-1251 cp1251 x-cp1251",
    "koi8_r": "koi8-r koi8 koi koi8_r",
    "koi8_u": "koi8-u koi8-ru",
    "cp866": "ibm866 cp866 866",
    "cp874": "windows-874 tis-620 iso-8859-11 dos-874",
    "cp1254": "windows-1254 iso-8859-9 latin5 cp1254",
    "iso8859_15": "iso-8859-15 latin9 iso8859-15",
    "iso8859_2": "iso-8859-2 latin2 iso8859-2",
    "iso8859_5": "iso-8859-5 cyrillic iso8859-5",
    "iso8859_6": "iso-8859-6 arabic iso8859-6",
    "iso8859_7": "iso-8859-7 greek iso8859-7",
    "mac_roman": "macintosh mac x-mac-roman",
    **{f"cp125{n}": f"windows-125{n} cp125{n} x-cp125{n}" for n in (0, 3, 5, 6, 7, 8)},
}
_CODECS = {name: codec for codec, names in _MEANT.items() for name in names.split()}
_SPACE = re.compile(r"\s+")
LONGEST = 10_000_000  # characters: no page that a person wrote comes near it
MOST_TAGS = 300_000  # a tag takes a kilobyte of memory, and a page of nothing else minutes
MOST_ATTRIBUTES = 2000  # of one tag: the parser compares each with all others
_LONG_TAG = re.compile(r"<[A-Za-z][^<>]{10000,}")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")


def page_text(data: bytes) -> str:
    """A page's bytes as text: UTF-8 where it is that, else what the page declares. Nothing is guessed.

    A name is taken as browsers take it, for pages say of a larger set that it is the smaller one. Raises RowFault not_utf8 when it
    is neither.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return data.decode(encoding)
            except UnicodeDecodeError as error:
                told = f"byte {error.start + 1} of the page is not {encoding.removesuffix('-sig').upper()}, as its first says"
                raise RowFault("not_utf8", told) from None
    declared = _DECLARED.search(data[:4096])
    name = declared[1].decode("ascii") if declared else ""
    codec = _CODECS.get(name.lower(), "")
    # Seven bits a byte, so it would pass for UTF-8; only this one is told by what it holds.
    seven = codec == "iso2022_jp" and b"\x1b" in data
    try:
        return data.decode(codec if seven else "utf-8")
    except UnicodeDecodeError as error:
        try:
            if codec:
                return data.decode(codec)
        except UnicodeDecodeError:
            pass
        said = f"and not the '{name}' that it declares" if name else "and declares no other encoding"
        raise RowFault("not_utf8", f"byte {error.start + 1} of the page is not UTF-8, {said}") from None


def main_text(page: str, chapter: bool = False) -> tuple[list[str], str]:
    """The paragraphs of a page's main text, and the language that its first tag names, or its `content-language` (empty when
    neither does).

    Menus, comments, tables and what repeats round a text are left out by trafilatura; of a ``chapter``, which has none of that
    round it, as little as can be. Paragraphs come in the page's order: trafilatura itself puts what stands outside of the first
    article after it. Raises RowFault no_text, no_main_text or too_long, MissingInput without the package.
    """
    try:
        import lxml.html
        import trafilatura
    except ImportError:
        raise missing_package("reading web pages", "trafilatura", "corpus") from None
    if len(page) > LONGEST:
        raise RowFault("too_long", f"a page of more than {LONGEST:,} characters")
    if (tags := page.count("<")) > MOST_TAGS:
        raise RowFault("too_long", f"a page of {tags:,} tags, at most {MOST_TAGS:,} are read")
    if any(len(_QUOTED.sub("", tag[0]).split()) > MOST_ATTRIBUTES for tag in _LONG_TAG.finditer(page)):
        raise RowFault("too_long", f"a tag of more than {MOST_ATTRIBUTES:,} attributes")
    # A declaration of an encoding in text that is decoded already is refused by lxml.
    page = re.sub(r"^\s*<\?xml[^>]*\?>", "", page)
    parser = lxml.html.HTMLParser(collect_ids=False, default_doctype=False, remove_comments=True, remove_pis=True)
    try:
        tree = lxml.html.document_fromstring(page, parser=parser)
    except (lxml.etree.LxmlError, ValueError):
        raise RowFault("no_text", "the page holds no element") from None
    if any("depth" in fault.message for fault in parser.error_log):
        # What follows is not in the tree: a part of a page would pass for all of it.
        raise RowFault("too_deep", "elements nested more deeply than the parser goes")
    language = _language(tree)
    for unseen in tree.xpath("//template | //body//*[@hidden]"):
        unseen.drop_tree()
    whole = _visible(tree)
    if not whole:
        raise RowFault("no_text", "the page holds no text")
    found = trafilatura.extract(
        tree, include_comments=False, include_tables=chapter, include_formatting=False, favor_recall=chapter
    )
    paragraphs = [line.strip() for line in (found or "").splitlines() if line.strip()]
    if not paragraphs:
        raise RowFault("no_main_text", f"no running text among {len(whole):,} characters")
    return _in_order(paragraphs, whole), language


def _language(tree: Any) -> str:
    for name in ("lang", "{http://www.w3.org/XML/1998/namespace}lang", "xml:lang", "data-iso6393"):
        if said := (tree.get(name) or "").strip():
            return str(said)
    for meta in tree.iterfind(".//meta[@http-equiv]"):
        if meta.get("http-equiv").lower() == "content-language":
            return str(meta.get("content") or "").strip()
    return ""


def _visible(tree: Any) -> str:
    """All text of a page in its order, without blanks: what is written in scripts and styles is none."""
    hidden = {"script", "style", "template", "noscript", "head"}
    parts: list[str] = []

    def walk(element: Any) -> None:
        stack = [(element, False)]
        while stack:
            node, left = stack.pop()
            if left:
                parts.append(node.tail or "")
                continue
            stack.append((node, True))
            if isinstance(node.tag, str) and node.tag not in hidden:
                parts.append(node.text or "")
                stack.extend((child, False) for child in reversed(node))

    walk(tree)
    return _bare("".join(parts))


def _bare(text: str) -> str:
    """Text as it is looked for: without blanks, and composed, as the extractor gives it."""
    return _SPACE.sub("", unicodedata.normalize("NFC", text))


def _in_order(paragraphs: list[str], whole: str) -> list[str]:
    """Paragraphs sorted by where they stand in the page; one that is not found as it is stays after the one before it."""
    placed: list[tuple[int, int, str]] = []
    after: dict[str, int] = {}
    last = 0
    for number, paragraph in enumerate(paragraphs):
        bare = _bare(paragraph.removeprefix("- "))
        # Behind the one before it, where it nearly always is: looked for from the start, a long page would take minutes.
        place = whole.find(bare, last)
        if place < 0:
            place = whole.find(bare, after.get(bare, 0), last)
        if place >= 0:
            after[bare] = last = place + 1  # the same words once more: the next place of them
        placed.append((last, number, paragraph))
    return [paragraph for _, _, paragraph in sorted(placed)]
