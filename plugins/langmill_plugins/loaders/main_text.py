"""The main text of a web page or of a chapter of an electronic book, in the page's own order."""

from __future__ import annotations

import codecs
import re
import unicodedata
from typing import Any

from langmill.api import RowFault, missing_package

_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([A-Za-z0-9_.:-]{2,40})""")
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_SPACE = re.compile(r"\s+")
LONGEST = 10_000_000  # characters: no page that a person wrote comes near it


def page_text(data: bytes) -> str:
    """A page's bytes as text: UTF-8 where it is that, else what the page declares. Nothing is guessed.

    Raises RowFault not_utf8 when it is neither.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        declared = _DECLARED.search(data[:4096])
        name = declared[1].decode("ascii") if declared else ""
        try:
            if name:
                return data.decode(name)
        except (LookupError, UnicodeDecodeError):
            pass
        said = f"and not the '{name}' that it declares" if name else "and declares no other encoding"
        raise RowFault("not_utf8", f"byte {error.start + 1} of the page is not UTF-8, {said}") from None


def main_text(page: str, chapter: bool = False) -> tuple[list[str], str]:
    """The paragraphs of a page's main text, and the language that its first tag names (empty when it names none).

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
    # A declaration of an encoding in text that is decoded already is refused by lxml.
    page = re.sub(r"^\s*<\?xml[^>]*\?>", "", page)
    try:
        tree = lxml.html.document_fromstring(page)
    except (lxml.etree.LxmlError, ValueError):
        raise RowFault("no_text", "the page holds no element") from None
    language = _language(tree)
    whole = _visible(tree)
    if not whole:
        raise RowFault("no_text", "the page holds no text")
    found = trafilatura.extract(
        page, include_comments=False, include_tables=chapter, include_formatting=False, favor_recall=chapter
    )
    paragraphs = [line.strip() for line in (found or "").splitlines() if line.strip()]
    if not paragraphs:
        raise RowFault("no_main_text", f"no running text among {len(whole):,} characters")
    return _in_order(paragraphs, whole), language


def _language(tree: Any) -> str:
    for name in ("lang", "{http://www.w3.org/XML/1998/namespace}lang", "xml:lang", "data-iso6393"):
        if said := (tree.get(name) or "").strip():
            return str(said)
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
        place = whole.find(bare, after.get(bare, 0))
        if place >= 0:
            after[bare] = place + 1  # the same words once more: the next place of them
            last = place
        placed.append((last, number, paragraph))
    return [paragraph for _, _, paragraph in sorted(placed)]
