"""Loaders of parallel text and of texts in no language's own format: TMX, aligned lines, CoNLL-U, SQuAD."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from langmill.api import Chat, Loader, MissingInput, RecipeError, Reject, Row, SourceContext, Text
from langmill_plugins.loaders.aligned import Aligned
from langmill_plugins.loaders.conllu import ConllU
from langmill_plugins.loaders.named import code_of, named
from langmill_plugins.loaders.squad import Squad
from langmill_plugins.loaders.tmx import Tmx


def load(loader: Loader, folder: Path) -> tuple[list[Row], list[Reject]]:
    found = list(loader.load(SourceContext("sources.set", 17, {}, folder, source="set", license="x")))
    return [item for item in found if isinstance(item, Row)], [item for item in found if isinstance(item, Reject)]


def told(rejects: list[Reject]) -> list[tuple[str, str]]:
    return [(reject.record, reject.reason) for reject in rejects]


def said(rows: list[Row]) -> list[tuple[str, str, str]]:
    return [(row.origin.record, row.family, row.body.text) for row in rows if isinstance(row.body, Text)]


@pytest.mark.parametrize(
    ("name", "shared", "language"),
    [
        ("tatoeba.ara-eng.ara", "tatoeba.ara-eng", "ar"),
        ("covid19_cdc.en.txt", "covid19_cdc", "en"),
        ("dev.zho_Hans", "dev", "zh"),
        ("book.pt-BR.txt", "book", "pt"),
        ("x.gsw", "x", "gsw"),  # no code of two letters
        ("dev.ger", "dev", "de"),  # the bibliographic code
        ("notes.txt", "notes", ""),
        ("LICENSE", "LICENSE", ""),
        ("data.jsonl", "data.jsonl", ""),
    ],
)
def test_a_name_tells_the_language(name: str, shared: str, language: str) -> None:
    assert named(Path(name), ".txt") == (shared, language)


def test_a_region_is_no_language() -> None:
    assert [code_of(tag) for tag in ("es-LA", "zh_TW", "cmn", "EN")] == ["es", "zh", "zh", "en"]


# --- aligned lines ---


def test_a_line_and_its_translations_are_one_family(tmp_path: Path) -> None:
    (tmp_path / "talk.fra-eng.fra").write_text("Bonjour.\n\nMerci.\n", "utf-8")
    (tmp_path / "talk.fra-eng.eng").write_bytes(b"Hello.\nYes.\nTh\xffanks.\n")
    (tmp_path / "README.md").write_text("Not a text of the set.\n")
    rows, rejects = load(Aligned(path=".", license="x"), tmp_path)
    assert said(rows) == [
        ("en.talk.fra-eng-1", "set/talk.fra-eng-1", "Hello."),
        ("en.talk.fra-eng-2", "set/talk.fra-eng-2", "Yes."),
        ("fr.talk.fra-eng-1", "set/talk.fra-eng-1", "Bonjour."),
        ("fr.talk.fra-eng-3", "set/talk.fra-eng-3", "Merci."),
    ]
    assert told(rejects) == [("en.talk.fra-eng-3", "not_utf8"), ("fr.talk.fra-eng-2", "no_text")]
    french, _ = load(Aligned(path=".", license="x", languages=("fr",)), tmp_path)
    assert {row.language for row in french} == {"fr"}


def test_files_of_one_name_in_two_folders_are_two_texts(tmp_path: Path) -> None:
    for folder in ("dev", "test"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "talk.en").write_text(f"Hello, {folder}.\n")
        (tmp_path / folder / "talk.fr").write_text(f"Bonjour, {folder}.\n")
    rows, rejects = load(Aligned(path=".", license="x"), tmp_path)
    assert not rejects and [(row.origin.record, row.family, row.split) for row in rows] == [
        ("en.dev.talk-1", "set/dev.talk-1", "dev"), ("fr.dev.talk-1", "set/dev.talk-1", "dev"),
        ("en.test.talk-1", "set/test.talk-1", "test"), ("fr.test.talk-1", "set/test.talk-1", "test"),
    ]  # fmt: skip


def test_files_that_do_not_fit_are_not_aligned(tmp_path: Path) -> None:
    (tmp_path / "talk.en.txt").write_text("One.\nTwo.\n")
    (tmp_path / "talk.fr").write_text("Un.\n")
    with pytest.raises(MissingInput, match=r"not aligned: of lines talk\.en\.txt has 2, talk\.fr has 1$"):
        load(Aligned(path=".", license="x"), tmp_path)
    with pytest.raises(MissingInput, match=r"no aligned files below '\.' in de: they are named"):
        load(Aligned(path=".", license="x", languages=("de",)), tmp_path)
    (tmp_path / "plain").write_text("One.\n")
    with pytest.raises(MissingInput, match="does not end on a language"):
        load(Aligned(path="plain", license="x"), tmp_path)


# --- TMX ---


def tmx(*units: tuple[str, dict[str, str]]) -> str:
    body = "".join(
        f'<tu tuid="{name}">' + "".join(f'<tuv xml:lang="{code}"><seg>{text}</seg></tuv>' for code, text in halves.items()) + "</tu>"
        for name, halves in units
    )  # fmt: skip
    return f'<?xml version="1.0"?><tmx version="1.4"><header srclang="en"/><body>{body}</body></tmx>'


UNITS = (
    ("a:1", {"en": "One <bpt i='1'/>two.", "es-LA": "Uno dos."}),
    ("a:2", {"en": "Three.", "es-LA": "Tres."}),
    ("b:3", {"en": "Four.", "es-LA": "  "}),
    ("b:4", {"en": "Five.", "es-LA": "Cinco."}),
)


def test_units_of_a_document_are_running_text_in_each_language(tmp_path: Path) -> None:
    (tmp_path / "x.tmx").write_text(tmx(*UNITS), "utf-8")
    rows, rejects = load(Tmx(path="x.tmx", license="x"), tmp_path)
    assert said(rows) == [
        ("en.a-1", "set/a", "One two. Three."), ("es.a-1", "set/a", "Uno dos. Tres."),
        ("en.b-1", "set/b", "Five."), ("es.b-1", "set/b", "Cinco."),
    ]  # fmt: skip
    assert told(rejects) == [("unit.b:3", "no_text")] and "nothing in es" in rejects[0].detail
    one, _ = load(Tmx(path="x.tmx", license="x", max_characters=1, languages=("es",), documents=("a*",)), tmp_path)
    assert said(one) == [("es.a-1", "set/a", "Uno dos."), ("es.a-2", "set/a", "Tres.")]


def test_the_half_that_several_archives_share_is_kept_once(tmp_path: Path) -> None:
    for code, text in (("zh", "一。"), ("ja", "二。")):
        with zipfile.ZipFile(tmp_path / f"all.en-{code}.tmx.zip", "w") as archive:
            units = (("a:1", {"en": "One.", code: text}), ("a:2", {"en": "Two.", code: text}))
            archive.writestr(f"all.en-{code}.tmx", tmx(*units))
    rows, rejects = load(Tmx(path=".", license="x"), tmp_path)
    assert said(rows) == [
        ("en.a-1", "set/a", "One. Two."),
        ("ja.a-1", "set/a", "二。二。"),
        ("zh.a-1", "set/a", "一。一。"),
    ]
    assert told(rejects) == [("en.a-1#2", "duplicate_id")]


def test_plain_numbers_are_of_their_file(tmp_path: Path) -> None:
    """Two memories that number their units alike hold different texts: neither takes the other's place."""
    (tmp_path / "a.en-fr.tmx").write_text(tmx(("1", {"en": "One.", "fr": "Un."})), "utf-8")
    (tmp_path / "a.en-es.tmx").write_text(tmx(("1", {"en": "Two.", "es": "Dos."})).replace(' tuid="1"', ""), "utf-8")
    rows, rejects = load(Tmx(path=".", license="x"), tmp_path)
    assert not rejects and said(rows) == [
        ("en.a.en-es.1-1", "set/a.en-es.1", "Two."), ("es.a.en-es.1-1", "set/a.en-es.1", "Dos."),
        ("en.a.en-fr.1-1", "set/a.en-fr.1", "One."), ("fr.a.en-fr.1-1", "set/a.en-fr.1", "Un."),
    ]  # fmt: skip


def test_markup_in_a_segment_is_no_text_and_a_usual_document_type_no_fault(tmp_path: Path) -> None:
    text = tmx(
        ("d:1", {"en": "A <bpt i='1'>&lt;b></bpt>big <hi>red</hi><ept i='1'>&lt;/b></ept> cell<ph>&amp;nbsp;</ph>."})
    )
    whole = text.replace("<tmx ", '<!DOCTYPE tmx SYSTEM "tmx14.dtd">\n<tmx ', 1)
    (tmp_path / "x.tmx").write_text(whole, "utf-8")
    rows, rejects = load(Tmx(path="x.tmx", license="x"), tmp_path)
    assert not rejects and said(rows) == [("en.d-1", "set/d", "A big red cell.")]


def test_archives_that_are_none_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(MissingInput, match=r"x\.zip: is not a whole archive"):
        load(Tmx(path="x.zip", license="x"), tmp_path)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(MissingInput, match=r"holds 0 \.tmx files"):
        load(Tmx(path="x.zip", license="x"), tmp_path)
    (tmp_path / "x.tmx").write_text("<!DOCTYPE tmx [<!ENTITY a 'b'>]><tmx/>")
    (tmp_path / "y.tmx").write_text("<tmx><body>")
    _, rejects = load(Tmx(path="*.tmx", license="x"), tmp_path)
    assert told(rejects) == [("x", "doctype"), ("y", "broken_xml")]


def test_masses_of_elements_are_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langmill_plugins.loaders.reading.ELEMENTS", 100)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.tmx", "<tmx>" + "<tu/>" * 100 + "</tmx>")
    _, rejects = load(Tmx(path="x.zip", license="x"), tmp_path)
    assert told(rejects) == [("x", "too_long")]


# --- CoNLL-U ---


def test_sentences_of_a_treebank(tmp_path: Path) -> None:
    (tmp_path / "ko_x-ud-dev.conllu").write_bytes(
        "# newdoc id = n1\n# sent_id = s1\n# text = 가 = 나.\n1\t가\n\n"
        "# sent_id = s2\n1\t다\n\n# newdoc id = n2\n# text = 라.\n\n# text = ".encode()
        + b"\xff\n"
    )
    rows, rejects = load(ConllU(path=".", license="x"), tmp_path)
    assert said(rows) == [("ko_x-ud-dev-s1", "set/n1", "가 = 나."), ("ko_x-ud-dev-9", "set/n2", "라.")]
    assert {(row.language, row.split) for row in rows} == {("ko", "dev")}
    assert told(rejects) == [("ko_x-ud-dev-s2", "no_text"), ("ko_x-ud-dev-12", "not_utf8")]
    (tmp_path / "Bank.conllu").write_text("# text = x\n")
    with pytest.raises(RecipeError, match="add language: CODE"):
        load(ConllU(path="Bank.conllu", license="x"), tmp_path)


def test_parallel_treebanks_share_ids_and_documents(tmp_path: Path) -> None:
    for code in ("fr", "ko"):
        (tmp_path / f"{code}_pud-ud-test.conllu").write_text(
            "# newdoc id = n1\n# sent_id = n1-1\n# text = x\n1\tx\n\n# newdoc\n# sent_id = 2\n# text = y\n1\ty\n"
        )
    rows, rejects = load(ConllU(path=".", license="x"), tmp_path)
    assert not rejects and [(row.language, row.family) for row in rows] == [
        ("fr", "set/n1"), ("fr", "set/fr_pud-ud-test-2"), ("ko", "set/n1"), ("ko", "set/ko_pud-ud-test-2"),
    ]  # fmt: skip


# --- SQuAD ---


def test_paragraphs_or_questions_on_them(tmp_path: Path) -> None:
    question = {"id": "q1", "question": "Who?", "answers": [{"text": "Ann", "answer_start": 3}]}
    broken = [
        question | {"id": "q2", "answers": []},
        question | {"id": "q3", "is_impossible": True},
        question | {"id": "q4", "answers": [{"text": "Ann", "answer_start": 0}]},
        question | {"id": "q5", "question": " "},
        "no object",
    ]
    paragraph = {"context": "It Ann was.", "qas": [question, *broken]}
    articles = [{"title": "T", "paragraphs": [paragraph, {"context": ""}]}, {"title": "U"}, 3]
    (tmp_path / "set.fr.json").write_text(json.dumps({"data": articles}))
    rows, rejects = load(Squad(path=".", license="x", body="text"), tmp_path)
    assert said(rows) == [("set.fr-T-1", "set/T", "It Ann was.")] and rows[0].language == "fr"
    assert [reason for _, reason in told(rejects)] == ["no_text", "wrong_type", "wrong_type"]
    rows, rejects = load(Squad(path=".", license="x", body="chat"), tmp_path)
    assert [row.body for row in rows] == [Chat.of("It Ann was.\n\nWho?", "Ann")]
    reasons = Counter(reason for _, reason in told(rejects))
    assert reasons == {"no_answer": 2, "key_mismatch": 1, "no_question": 1, "wrong_type": 4}
    number = {"title": "T", "paragraphs": [{"context": 5, "qas": [question]}]}
    (tmp_path / "number.fr.json").write_text(json.dumps({"data": [number]}))
    _, rejects = load(Squad(path="number.fr.json", license="x", body="chat"), tmp_path)
    assert told(rejects) == [("number.fr-q1", "key_mismatch")]
    (tmp_path / "set.json").write_text('{"data": []}')
    with pytest.raises(RecipeError, match="add language: CODE"):
        load(Squad(path="set.json", license="x", body="text"), tmp_path)
