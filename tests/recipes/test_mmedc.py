"""recipes/mmedc.yaml: what it says, and that it makes a medical corpus of pages, books and texts, counted by language and source."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest
from tests.book_files import epub, pdf
from tests.conftest import ROOT, Bench
from tests.public_sets import DATA

from langmill.api import Row, SourceContext, Text, words
from langmill.recipe.assembly import assemble

MAIN = ROOT / "recipes/mmedc.yaml"
TABLE = {  # published, in billions: filtered web, textbooks, websites, small sets
    "en": (6.56, 4.00, 0.00, 0.00), "es": (3.98, 0.31, 0.05, 0.02), "fr": (1.90, 0.02, 0.00, 0.17),
    "ru": (1.29, 0.40, 0.00, 0.00), "zh": (3.34, 1.21, 0.00, 0.19), "ja": (1.93, 0.00, 0.10, 0.01),
}  # fmt: skip


@pytest.mark.parametrize("profile", [None, "public", "paper"])
def test_the_web_is_filtered_and_duplicates_go(profile: str | None) -> None:
    made = assemble(MAIN, profile=profile)
    assert not made.models and not made.stages, "no model is asked, none is trained"
    assert [step.use for step in made.datasets["web"].steps] == ["language_id", "medical_text"]
    assert [step.use for step in made.datasets["mmedc"].steps] == ["language_id", "exact", "minhash"]
    assert "web" in made.datasets["mmedc"].inputs
    assert [use for use, _ in made.datasets["mmedc"].write] == ["corpus", "token_table"]
    assert set(made.packs) == {"en", "zh", "ja", "fr", "es", "ru"} | ({"ko"} if profile != "paper" else set())


def test_paper_is_the_published_table() -> None:
    """Of every source that is not filtered its published tokens are declared; of the web they stand beside it."""
    made = assemble(MAIN, profile="paper")
    text = MAIN.read_text("utf-8")
    for code, (web, *others) in TABLE.items():
        assert re.search(rf"# {web:.2f} billion after the filter\n +culturax_{code}:", text)
        for name, billions in zip((f"books_{code}", f"sites_{code}", f"sets_{code}"), others, strict=True):
            expect = made.sources[name].expect if name in made.sources else None
            assert (expect.tokens if expect else 0) == round(billions * 1e9), name
    assert all(loader.home for loader in made.sources.values() if loader.path.startswith("$data_dir"))
    (table,) = (part for use, part in made.datasets["mmedc"].write if use == "token_table")
    assert list(table.columns) == ["filtered web", "textbooks", "websites", "small sets"]  # type: ignore[attr-defined]


def test_the_page_tells_the_same_figures() -> None:
    page = (ROOT / "recipes/mmedc.md").read_text("utf-8")
    for figures in TABLE.values():
        assert " | ".join(f"{figure:.2f}" for figure in figures) in page


def test_it_runs_as_written(bench: Bench) -> None:
    """Medical pages and pieces stay, the others go; the corpus, its table and the report are there."""
    said = bench.factory("run", str(MAIN), "--out", "runs/mmedc")
    assert said.code == 0, said.err
    kept = {row.origin.source: {one.origin.record for one in bench.rows("web", "mmedc") if one.origin.source == row.origin.source}
            for row in bench.rows("web", "mmedc")}  # fmt: skip
    assert kept == {"own_pages": {"en-anaemia-1", "es-asma-1"}, "own_texts": {"general.en.6-1"}}
    dropped = [one for one in bench.rejects("web", "mmedc") if one.reason == "not_medical"]
    assert {one.language for one in dropped} == {"en", "fr", "ja", "ko", "ru", "zh"} and len(dropped) == 8
    rows = bench.rows("mmedc", "mmedc")
    assert len(rows) == 35 + 3 and all(isinstance(row.body, Text) for row in rows)
    folder = bench.run("mmedc").root / "mmedc"
    facts = json.loads((folder / "tokens/tokens.json").read_text("utf-8"))["languages"]
    assert sum(one["characters"] for by in facts.values() for one in by.values()) == sum(
        len(words(row.body)) for row in rows
    )
    lines = [line for path in folder.glob("corpus/*/*.jsonl") for line in path.read_text("utf-8").splitlines()]
    assert len(lines) == len(rows) and all(json.loads(line)["licenses"] == ["CC0-1.0"] for line in lines)
    report = bench.run("mmedc").report.read_text("utf-8")
    table = report[report.index("Tokens by language and source") :].partition("</table>")[0]
    assert all(f">{name}</th>" in table for name in ("web", "textbooks", "all tokens", "documents", "Korean", "sum"))
    whole = sum(one["tokens"] for by in facts.values() for one in by.values())
    assert f"{whole:,}".replace(",", "\u202f") in table


def test_books_of_every_format_become_one_corpus(bench: Bench) -> None:
    """The recipe's steps on a PDF, an EPUB, a page and a Parquet file of the web; a page twice is one document."""
    text = next(json.loads(line)["text"] for line in (ROOT / "recipes/data/passages.en.jsonl").open(encoding="utf-8"))
    other = [json.loads(line)["text"] for line in (ROOT / "recipes/data/passages.en.jsonl").open(encoding="utf-8")][1]
    books = bench.write("books/one.epub", "").parent
    epub(books / "one.epub", {"a.xhtml": f"<html><body><p>{text}</p></body></html>"}, ["a.xhtml"])
    (books / "two.pdf").write_bytes(pdf([[other[at : at + 80] for at in range(0, len(other), 80)]]))
    bench.write("pages/same.html", f"<html lang='en'><body><p>{text}</p></body></html>")
    bench.write("books.yaml", """
name: books
languages: [en]
purpose: research
sources:
  epubs: {use: epub, path: books/*.epub, license: CC0-1.0}
  pdfs: {use: pdf, path: books/*.pdf, language: en, license: CC0-1.0}
  pages: {use: html, path: pages/*.html, license: CC0-1.0}
datasets:
  mmedc:
    from: [epubs, pdfs, pages]
    steps: [{use: language_id}, {use: medical_text}, {use: exact}]
    write: [{use: corpus, form: txt}]
""")  # fmt: skip
    said = bench.factory("run", "books.yaml")
    assert said.code == 0, said.err
    assert sorted(row.id for row in bench.rows("mmedc", "books")) == ["epubs/one-1", "pdfs/two-1"]
    assert [one.reason for one in bench.rejects("mmedc", "books")] == ["duplicate"]


def test_paper_reads_parquet_in_the_layout_of_culturax(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "CulturaX/fr").mkdir(parents=True)
    record = {
        "text": "Le cœur pompe le sang.",
        "timestamp": "2020/01/01",
        "url": "https://example.org",
        "source": "mC4",
    }
    pq.write_table(pa.Table.from_pylist([record]), tmp_path / "CulturaX/fr/fr_part_00000.parquet")
    made = assemble(MAIN, profile="paper", sets=[f"data_dir={tmp_path}"])
    context = SourceContext(**vars(made.context("sources.culturax_fr")), source="culturax_fr", license="x")
    (row,) = made.sources["culturax_fr"].load(context)
    assert isinstance(row, Row) and (row.language, words(row.body)) == ("fr", record["text"])


LISTS = {code: f"$data_dir/mmedc-keywords/{'jp' if code == 'ja' else code}_*.txt" for code in TABLE}


def test_paper_filters_with_the_published_keywords_and_a_comment_offers_the_packs() -> None:
    made = assemble(MAIN, profile="paper")
    assert made.datasets["web"].steps[1].part.keywords == LISTS  # type: ignore[union-attr]
    (said,) = re.findall(r"--set (datasets\.web\.steps\.1\.keywords=)''", MAIN.read_text("utf-8"))
    made = assemble(MAIN, profile="paper", sets=[said + "''"])
    assert not made.datasets["web"].steps[1].part.keywords  # type: ignore[union-attr]
    (said,) = re.findall(r"--set (datasets\.mmedc\.write\S+)", MAIN.read_text("utf-8"))
    assert assemble(MAIN, sets=[said]).datasets["mmedc"].write[0][1].form == "txt"  # type: ignore[attr-defined]


def test_keywords_that_are_not_there_are_listed_like_sets(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a source that is there, so that the step would have rows to judge."""
    monkeypatch.setenv("FACTORY_DATA", str(bench.folder))
    bench.write("one.yaml", """
name: one
languages: [en]
purpose: research
sources: {own: {use: text, path: own.txt, language: en, license: CC0-1.0}}
datasets: {web: {from: [own], steps: [{use: medical_text, keywords: "$data_dir/lists/en_*.txt"}]}}
""")  # fmt: skip
    bench.write("own.txt", "The heart pumps blood.")
    for command, code in (("check", 0), ("plan", 0), ("run", 2)):
        said = bench.factory(command, "one.yaml")
        assert said.code == code, (command, said.err)
        told = said.out + said.err
        assert told.count("datasets.web.steps[0].keywords: nothing at '$data_dir/lists/en_*.txt'") == 1, told
        assert "keywords.py of GitHub MAGIC-AI4Med/MMedLM" in told
    assert not (bench.folder / "runs").exists()


@pytest.mark.data
@pytest.mark.skipif("FACTORY_DATA" not in os.environ, reason="FACTORY_DATA is not set")
def test_the_public_profile_keeps_what_is_medical(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """End to end on a few real rows of each set."""
    monkeypatch.setenv("FACTORY_DATA", str(DATA.resolve()))
    below = [
        name for name, loader in assemble(MAIN, profile="public").sources.items() if loader.path.startswith("$data_dir")
    ]
    bounds = [word for name in below for word in ("--set", f"sources.{name}.limit=8")]
    said = bench.factory("run", str(MAIN), "--profile", "public", *bounds, "--out", "runs/mmedc")
    assert said.code == 0, said.err
    kept = Counter(row.origin.source for row in bench.rows("web", "mmedc"))
    read = {
        key.split()[1]: counts["read"]
        for key, counts in bench.funnel("web", "mmedc").items()
        if key.startswith("read ")
    }
    assert set(read) == {*below, "own_pages", "own_texts"} - {"openstax"}
    assert kept["tico19"] >= 20 and kept["covid_ko"] >= 6, kept
    assert not {"udhr", "pud_ko", "debian_es", "debian_fr", "debian_ja", "debian_zh"} & set(kept)
    assert {row.language for row in bench.rows("mmedc", "mmedc")} == {"en", "zh", "ja", "ko", "fr", "es", "ru"}
