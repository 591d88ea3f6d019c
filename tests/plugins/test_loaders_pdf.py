"""The loader of PDF: text in every script, front matter, running titles, parted words, pictures of text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.book_files import Picture, pdf, photographed, with_drawing_of_itself
from tests.public_sets import PACKS

from langmill.api import MissingInput, Reject, Row, RowFault, SourceContext, words
from langmill_plugins.loaders import ocr, pdf_pages
from langmill_plugins.loaders.pages import Weight, front_and_back, is_picture, lines_of, page_is_picture, running_titles
from langmill_plugins.loaders.pdf import Pdf
from langmill_plugins.loaders.pdf_pages import Pages

LINE = "Blood returns to the right atrium, passes the tricuspid valve and is pumped on to the lungs"
BLANK = Picture(40, 40, b"\xff" * 1600)


def load(folder: Path, data: bytes, **options: Any) -> list[Row | Reject]:
    (folder / "b.pdf").write_bytes(data)
    context = SourceContext("sources.set", 17, PACKS, folder, source="set", license="x")
    return list(Pdf(**{"path": "b.pdf", "license": "x", "language": "en", **options}).load(context))


def text(items: list[Row | Reject]) -> str:
    return "\n\n".join(words(item.body) for item in items if isinstance(item, Row))


def reasons(items: list[Row | Reject]) -> list[tuple[str, str]]:
    return [(item.record, item.reason) for item in items if isinstance(item, Reject)]


@pytest.mark.parametrize(
    ("language", "lines", "read"),
    [
        ("en", ["An examina-", "tion of the well-known chest and of the well-", "known heart."],
         "An examination of the well-known chest and of the well-known heart."),
        ("zh", ["心脏是一个肌性器官，它把血液泵入动脉，供给全身各处的组", "织，血液经静脉回到心脏。"],
         "心脏是一个肌性器官，它把血液泵入动脉，供给全身各处的组织，血液经静脉回到心脏。"),
        ("ja", ["肝臓は人体で最も大きな内臓であり、胆汁を作って脂肪の消化を", "助ける。"],
         "肝臓は人体で最も大きな内臓であり、胆汁を作って脂肪の消化を助ける。"),
        ("ko", ["폐는 공기에서 산소를 받아들이고 이산화탄소를 내보내는", "기관이다."],
         "폐는 공기에서 산소를 받아들이고 이산화탄소를 내보내는 기관이다."),
        ("ru", ["Почка образует мочу и под-", "держивает постоянство внутренней среды организма."],
         "Почка образует мочу и поддерживает постоянство внутренней среды организма."),
        ("fr", ["L’œdème aigu du pou-", "mon gêne l’hématose."], "L’œdème aigu du poumon gêne l’hématose."),
        ("es", ["El riñón filtra la san-", "gre y elimina la urea."], "El riñón filtra la sangre y elimina la urea."),
    ],
)  # fmt: skip
def test_text_is_read_right_in_every_script(tmp_path: Path, language: str, lines: list[str], read: str) -> None:
    (row,) = load(tmp_path, pdf([lines]), language=language)
    assert isinstance(row, Row) and words(row.body) == read and row.language == language and not row.flags


def test_a_short_line_ends_its_paragraph_and_a_full_one_goes_on_over_the_page(tmp_path: Path) -> None:
    (row,) = load(tmp_path, pdf([[LINE, LINE, "ends here.", LINE], [LINE, "and ends."]]))
    assert isinstance(row, Row)
    assert words(row.body).split("\n\n") == [f"{LINE} {LINE} ends here.", f"{LINE} {LINE} and ends."]


def test_running_titles_and_page_numbers_go() -> None:
    """Titles of left and right pages differ, and so do the numbers of pages; the front ones are Roman."""
    letters = "abefghjkmn"
    pages = [
        f"{'Physiology' if n % 2 else 'The Heart'}\n{letter}\n{LINE}\n{letter * 2}\n{'xi' if n < 3 else n}\n"
        for n, letter in enumerate(letters)
    ]
    titles = running_titles(pages)
    assert titles == {"Physiology", "The Heart", "#"}
    assert [lines_of(page, titles) for page in pages] == [[letter, LINE, letter * 2] for letter in letters]


def test_a_books_own_words_stay_where_they_do_not_repeat() -> None:
    pages = [f"Physiology {n}\n{chr(96 + n) * 30}\n{chr(64 + n) * 30}\n- {n} -" for n in range(1, 11)]
    titles = running_titles(pages)
    assert titles == {"Physiology #", "- # -"}
    assert lines_of(pages[2], titles) == ["c" * 30, "C" * 30]
    assert running_titles(pages[:3]) == set(), "three pages prove nothing"


def test_front_matter_and_back_of_a_long_book_go_as_published(tmp_path: Path) -> None:
    assert front_and_back(99) == range(99)
    assert front_and_back(100) == range(4, 95) and front_and_back(1000) == range(21, 995)
    names = [f"{first}{second}." for first in "QRSTU" for second in "abcdefghijkmnopqrstuwxyz"]
    items = load(
        tmp_path, pdf([[name, *(f"{LINE} {name} {a}" for a in "defg")] for name in names]), most_characters=100_000
    )
    assert reasons(items) == [("b.ends", "front_and_back")]
    assert "pages 1 to 5 and 116 to 120" in items[0].detail  # type: ignore[union-attr]
    assert [name in text(items) for name in (names[4], names[5], names[114], names[115])] == [False, True, True, False]


def test_the_published_rule_at_its_borders() -> None:
    assert not is_picture([Weight(200, 400)]) and is_picture([Weight(199, 200)]) and is_picture([Weight(200, 401)])
    assert not is_picture([Weight(0, 0), Weight(400, 500)]), "a book is asked as a whole"
    assert page_is_picture(Weight(0, 0), shows=True, book=False)
    assert not page_is_picture(Weight(150, 180), shows=False, book=True), "short, but it is text"
    assert page_is_picture(Weight(0, 0), shows=False, book=True) and not page_is_picture(Weight(0, 0), False, False)
    assert page_is_picture(Weight(50, 400), shows=False, book=False), "codes that no map tells the letters of"


def test_a_picture_in_a_text_book_is_a_reject_with_its_page(tmp_path: Path) -> None:
    items = load(tmp_path, pdf([[LINE] * 5, BLANK, [LINE] * 5]))
    assert reasons(items) == [("b.page2", "image_page")]
    assert "b.pdf:page 2" in items[1].detail and "ocr: tesseract" in items[1].detail  # type: ignore[union-attr]
    assert text(items).count("tricuspid") == 10


def test_a_page_is_read_by_ocr_and_its_passage_says_so(tmp_path: Path) -> None:
    said = ["The kidney filters the blood and forms urine.", "Each kidney holds about one million nephrons."]
    items = load(tmp_path, pdf([[LINE] * 5, photographed(said), [LINE] * 5]), ocr="tesseract")
    assert [item.flags for item in items if isinstance(item, Row)] == [(), ("ocr",), ()]
    assert words(items[1].body) == " ".join(said)  # type: ignore[union-attr]
    assert [item.id for item in items if isinstance(item, Row)] == ["set/b-1", "set/b-2", "set/b-3"]


def test_ocr_without_its_language_stops_before_the_first_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ocr.NAMES, "ru", "nowhere")
    with pytest.raises(
        MissingInput,
        match=r"sources\.set\.ocr: .*nowhere\.traineddata.*apt install tesseract-ocr-nowhere.*TESSDATA_PREFIX",
    ):
        load(tmp_path, pdf([[LINE] * 5]), language="ru", ocr="tesseract")
    assert load(tmp_path, pdf([[LINE] * 5]), language="ru"), "without OCR nothing is asked for"


@pytest.mark.parametrize("data", [b"", b"%PDF-1.7 no more", b"not a book", pdf([[LINE]])[:400]])
def test_a_broken_file_is_one_reject(tmp_path: Path, data: bytes) -> None:
    assert reasons(load(tmp_path, data)) == [("b", "broken_pdf")]


def test_a_bomb_of_a_page_is_drawn_small_and_told_of_when_nothing_is_read(tmp_path: Path) -> None:
    big = pdf([BLANK]).replace(b"0 0 595 842]", b"0 0 9000 9000]")
    assert reasons(load(tmp_path, big, ocr="tesseract")) == [("b.page1", "no_text")]


def test_a_page_that_can_not_be_read_is_a_reject_and_the_others_stay(tmp_path: Path) -> None:
    """The list of pages names an object that there never is, number 0."""
    data = re.sub(rb"/Kids \[(\d+)", lambda found: b"/Kids [" + b"0" * len(found[1]), pdf([[LINE] * 5, [LINE] * 5]))
    items = load(tmp_path, data)
    assert reasons(items) == [("b.page1", "broken_pdf")] and text(items).count("tricuspid") == 5


def test_a_page_that_never_ends_is_left_and_the_next_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A drawing that draws itself twice: as deep as the reader goes, it is a thousand million drawings."""
    monkeypatch.setattr(pdf_pages, "PATIENCE", 2.0)
    items = load(tmp_path, with_drawing_of_itself(pdf([[LINE] * 5, BLANK, [LINE] * 5])))
    assert reasons(items) == [("b.page2", "too_slow")]
    assert text(items).count("tricuspid") == 10


def test_a_process_that_ends_costs_its_page(tmp_path: Path) -> None:
    (tmp_path / "b.pdf").write_bytes(pdf([[LINE] * 5] * 6))
    pages = Pages()
    try:
        assert pages.open(tmp_path / "b.pdf") == 6
        for number in range(3):
            pages._child.kill()  # type: ignore[union-attr]
            pages._child.wait()  # type: ignore[union-attr]
            with pytest.raises(RowFault, match="ended the process"):
                pages.text(number)
            if number < 2:
                assert "tricuspid" in pages.text(number).text
        with pytest.raises(RowFault, match="not read: 3 pages"):
            pages.text(5)
        assert pages.open(tmp_path / "b.pdf") == 6, "another file begins anew"
    finally:
        pages.close()
