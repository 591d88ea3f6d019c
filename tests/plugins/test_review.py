"""Sheets of rationales: what is written, what is read back however a spreadsheet saves it, and what the rows carry then."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.conftest import Bench
from tests.reviewing import CONTEXT, PACKS, item, rows_of, step_context

from langmill.api import Choice, EvalContext, Flag, RecipeError, Row, SourceContext, Split
from langmill_plugins.evaluators.rationale_similarity import RationaleSimilarity
from langmill_plugins.exporters.mmedbench_jsonl import MMedBenchJsonl
from langmill_plugins.exporters.review_sheet import ReviewSheet
from langmill_plugins.filters.reviewed import Reviewed
from langmill_plugins.loaders.table import Table
from langmill_plugins.review.sheets import COLUMNS, harmless, original
from langmill_plugins.review.verdicts import shown_hash, told


def cells_of(data: bytes) -> list[dict[str, str]]:
    """A sheet as a spreadsheet opens it."""
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def filled(sheet: Path, verdicts: dict[str, str], comment: str = "") -> Path:
    """The sheet with verdicts, saved as the csv module does by default."""
    lines = cells_of(sheet.read_bytes())
    with sheet.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows({**line, "verdict": verdicts.get(line["id"], ""), "comment": comment} for line in lines)
    return sheet


def flags(rows: list[Row], path: Path, **options: str) -> dict[str, str]:
    verdicts = Reviewed(path=str(path), **options).judge(rows, step_context())  # type: ignore[arg-type]
    return {row.id: one.flag for row, one in zip(rows, verdicts, strict=True) if isinstance(one, Flag)}


# --- what is written ---


def test_a_sheet_opens_well_in_a_spreadsheet(tmp_path: Path) -> None:
    folder = ReviewSheet().export(rows_of(), tmp_path, CONTEXT)
    assert sorted(path.name for path in folder.iterdir()) == ["en.csv", "ja.csv", "review.html", "zh.csv"]
    data = (folder / "en.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbf") and data.count(b"\r\n") == 4
    lines = cells_of(data)
    assert list(lines[0]) == list(COLUMNS) and [line["id"] for line in lines] == ["s/en-1", "s/en-2", "s/en-3"]
    for line in [*lines, *cells_of((folder / "ja.csv").read_bytes())]:
        assert not any(cell.startswith(tuple("=+-@\t\r")) for cell in line.values())
        assert not line["hash"][0].isdigit() and line["answer"] == "B. Vitamin C"
    assert lines[2]["question"] == "'-1 or +1?" and lines[2]["options"].startswith("A. =SUM")
    assert original(lines[2]["rationale"]) == '=HYPERLINK("x")'


@pytest.mark.parametrize(
    "cell",
    [
        "=1",
        "＝1",
        "－5 mg",
        "\n=1",
        "'=1",
        "''=1",
        "+",
        "-5 mg",
        "@x",
        "\tx",
        "\rx",
        "plain",
        "'quoted'",
        "",
        "'",
        "1=1",
    ],
)
def test_a_harmless_cell_is_read_back_as_it_was(cell: str) -> None:
    assert original(harmless(cell)) == cell and not harmless(cell).startswith(tuple("=+-@\t\r\n＝＋－＠"))


def test_the_sample_is_chosen_by_id_and_bounded_by_language_and_split(tmp_path: Path) -> None:
    splits: tuple[Split, ...] = ("train", "test")
    many = [
        item(f"{code}-{split}-{n}", code, "So.", split) for code in ("en", "zh") for split in splits for n in range(40)
    ]
    some = ReviewSheet(rows=5, splits=("train", "test")).export(many, tmp_path / "a", CONTEXT)
    ids = [line["id"] for line in cells_of((some / "en.csv").read_bytes())]
    assert len(ids) == 10 and sum("train" in id for id in ids) == 5
    # a row that goes takes nothing with it but itself
    fewer = [row for row in many if row.id != ids[0]]
    again = ReviewSheet(rows=5, splits=("train", "test")).export(fewer, tmp_path / "b", CONTEXT)
    assert set(ids[1:]) < {line["id"] for line in cells_of((again / "en.csv").read_bytes())}
    assert ids[:5] != [f"s/en-train-{n}" for n in range(5)], "not simply the first ones"


def test_rows_without_a_rationale_or_with_one_that_passed_are_left_out(tmp_path: Path) -> None:
    rows = [item("a", "en", None), item("b", "en", "So.").flagged("explanation_checked"), item("c", "en", "So.")]
    assert [
        line["id"] for line in cells_of((ReviewSheet().export(rows, tmp_path, CONTEXT) / "en.csv").read_bytes())
    ] == ["s/c"]


def test_a_filled_sheet_is_never_written_over(tmp_path: Path) -> None:
    folder = ReviewSheet().export(rows_of(), tmp_path, CONTEXT)
    before = filled(folder / "en.csv", {"s/en-1": "pass"}).read_bytes()
    for _ in range(2):  # a second time: kept under the same name
        ReviewSheet().export(rows_of(), tmp_path, CONTEXT)
        [kept] = (folder / "earlier").iterdir()
        assert kept.read_bytes() == before and kept.name.startswith("en-")
    assert flags(rows_of(), folder)["s/en-1"] == "explanation_checked"
    (folder / "ja.csv").write_bytes(b"broken \xff")
    ReviewSheet().export(rows_of(), tmp_path, CONTEXT)
    assert len(list((folder / "earlier").iterdir())) == 2, "what can not be read is somebody's work, too"
    filled(folder / "zh.csv", {"s/zh-1": "fail"}).rename(folder / "MINE.CSV")
    (folder / "zh.xlsx").write_bytes(b"a workbook")
    ReviewSheet().export(rows_of(), tmp_path, CONTEXT)
    assert {path.suffix for path in (folder / "earlier").iterdir()} == {".csv", ".CSV", ".xlsx"}
    assert sorted(path.name for path in folder.iterdir()) == ["earlier", "en.csv", "ja.csv", "review.html", "zh.csv"]


# --- what is read back ---


@pytest.mark.parametrize(
    "save",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-8"),
        lambda text: _resaved(text, ";").encode("utf-8-sig"),
        lambda text: _resaved(text, "\t").encode("utf-16"),
        lambda text: text.replace('"",""\r\n', '""\r\n').encode("utf-8"),  # empty last cells left out
    ],
    ids=["with a mark", "without", "semicolons", "Unicode text", "short lines"],
)  # fmt: skip
def test_every_way_to_save_is_read(save: Callable[[str], bytes], tmp_path: Path) -> None:
    folder = ReviewSheet().export(rows_of(), tmp_path, CONTEXT)
    lines = (folder / "en.csv").read_bytes().decode("utf-8-sig").replace('"","",""', '""," PASS ",""', 1)
    sheet = tmp_path / "back.csv"
    sheet.write_bytes(save(lines))
    found = flags(rows_of(), sheet)
    assert found.pop("s/en-1") == "explanation_checked"
    assert set(found.values()) == {"explanation_unchecked"} and len(found) == 6


def _resaved(text: str, delimiter: str) -> str:
    """As a spreadsheet of another country saves it: quotes where they are needed alone."""
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\r\n").writerows(csv.reader(io.StringIO(text, newline="")))
    return out.getvalue()


def test_verdicts_of_several_reviewers(tmp_path: Path) -> None:
    rows = rows_of()
    folder = ReviewSheet().export(rows, tmp_path, CONTEXT)
    sheets = tmp_path / "sheets"
    sheets.mkdir()
    for name, words in (
        ("one", {"s/en-1": "pass", "s/en-2": "pass", "s/en-3": "f"}),
        ("two", {"s/en-1": "P", "s/en-2": "fail"}),
    ):
        (sheets / f"{name}.csv").write_bytes((folder / "en.csv").read_bytes())
        filled(sheets / f"{name}.csv", words, "seen")
    found = flags(rows, sheets)
    assert [found[f"s/en-{n}"] for n in (0, 1, 2, 3)] == [
        "explanation_unchecked", "explanation_checked", "explanation_disputed", "explanation_failed",
    ]  # fmt: skip


def test_a_verdict_on_other_words_does_not_count_and_is_told(tmp_path: Path) -> None:
    row = item("en-1", "en", "Collagen needs it.")
    sheet = filled(ReviewSheet().export([row], tmp_path, CONTEXT) / "en.csv", {"s/en-1": "pass"})
    body = row.body
    assert isinstance(body, Choice)
    for changed in (
        replace(body, explanation="Scurvy."),
        replace(body, answers=(0,)),
        replace(body, context="It was so."),
    ):
        assert flags([replace(row, body=changed)], sheet) == {"s/en-1": "explanation_changed"}
    assert flags([replace(row, id="s/other")], sheet) == {"s/other": "explanation_unchecked"}
    assert shown_hash(body) == shown_hash(replace(body))


def test_what_a_source_says_stays_where_nobody_says_otherwise(tmp_path: Path) -> None:
    rows = [
        item(name, "en", "So.").flagged(f"explanation_{said}") for name, said in (("a", "checked"), ("b", "unchecked"))
    ]
    assert flags(rows, tmp_path / "none") == {}
    sheet = filled(ReviewSheet().export([rows[1]], tmp_path, CONTEXT) / "en.csv", {"s/b": "pass"})
    assert flags(rows, sheet) == {"s/b": "explanation_checked"}
    assert told(("explanation_unchecked", "explanation_checked")) is True
    assert told(("explanation_checked", "explanation_failed")) is False and told(()) is None


def test_all_faults_at_once_with_file_and_line(tmp_path: Path) -> None:
    folder = tmp_path / "sheets"
    folder.mkdir()
    head = ",".join(COLUMNS)
    (folder / "a.csv").write_text(
        f'{head}\ns/1,h1,"two\nlines",,,,,maybe,\ns/2,h2,,,,,,,,,too,many\n,h3,,,,,,pass,\n', "utf-8"
    )
    (folder / "b.csv").write_text("id;question\n1;2\n", "utf-8")
    (folder / "c.csv").write_bytes(f"{head}\ns/1,h1,caf\xe9,,,,,pass,\n".encode("latin-1"))
    (folder / "d.csv").write_text(f'{head}\ns/1,h1,"never ends,,,,,pass,\n', "utf-8")
    (folder / "e.csv").write_text("", "utf-8")
    (folder / "f.csv").write_text(f"{head},verdict\ns/1,h1,,,,,,pass,,fail\n", "utf-8")
    part = Reviewed(path=str(folder))
    with pytest.raises(RecipeError) as error:
        part.files(step_context())
    said = str(error.value).splitlines()
    assert said[0] == "datasets.reviewed.steps[0].path: faults in its sheets: 8"
    for line, (file, words) in zip(
        said[1:],
        [
            ("a.csv:2", "the verdict is 'maybe', possible: pass, fail"), ("a.csv:4", "12 cells, expected 9"),
            ("a.csv:5", "must stay as they were"), ("b.csv:1", "id, hash, verdict among them; found: id;question"),
            ("c.csv:2", "save the sheet as 'CSV UTF-8'"), ("d.csv:2", "is no CSV"), ("e.csv:1", "found: nothing"),
            ("f.csv:1", "two columns are named 'verdict'"),
        ],
        strict=True,
    ):  # fmt: skip
        assert f"/{file}: " in line and words in line, line


def test_a_verdict_on_a_row_that_there_is_not_is_a_fault(tmp_path: Path) -> None:
    rows = rows_of()
    sheet = filled(ReviewSheet().export(rows, tmp_path, CONTEXT) / "en.csv", {"s/en-1": "pass", "s/en-3": "fail"})
    context = replace(step_context(), rows=lambda dataset, split: iter(rows[:3] if dataset == "rationales" else ()))
    with pytest.raises(RecipeError, match=r"en\.csv:7: 's/en-3' is no row of 'rationales': take the line out"):
        Reviewed(path=str(sheet), of="rationales").judge(rows, context)
    assert Reviewed(path=str(sheet), of=None).judge(rows, context)
    part = Reviewed(path=str(sheet), of="rationales")
    assert part.judge(rows, replace(context, whole=False)), "a plan and a bounded run do not have all rows"


def test_what_did_not_pass_is_not_compared() -> None:
    """The evaluator asks the rows that passed, and those of which nobody says anything."""
    flagged = ("checked", "unchecked", "failed", "disputed", "changed")
    rows = [item(name, "en", "So.").flagged(f"explanation_{name}") for name in flagged]
    part = RationaleSimilarity(data="x", models=("base",))
    asked = part.questions([*rows, item("none", "en", "So.")], EvalContext("eval[0]", 17, PACKS, Path()))
    assert [one.row for one in asked] == ["s/checked", "s/none"]


# --- the published layout ---


def test_the_published_layout_is_read_back_as_the_same_rows(tmp_path: Path) -> None:
    said = ("explanation_checked", "explanation_failed", "explanation_unchecked")
    rows = [
        item(f"{split}-{n}", code, f"Because {n}.", split).flagged(said[n])
        for code in ("en", "zh", "ru")
        for split in ("train", "dev", "test")
        for n in range(3)
    ]  # type: ignore[misc]
    several = item("several", "ru", "", "test")
    rows.append(replace(several, body=replace(several.body, answers=(0, 1), explanation=None)))  # type: ignore[type-var]
    folder = MMedBenchJsonl().export(rows, tmp_path, CONTEXT)
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.jsonl"))
    assert names == [
        f"{split}/{name}.jsonl" for split in ("Dev", "Test", "Train") for name in ("Chinese", "English", "Russian")
    ]
    first = (folder / "Train/English.jsonl").read_text("utf-8").splitlines()[1]
    assert first == (
        '{"question": "Question train-1?", "options": {"A": "=SUM(A1)", "B": "Vitamin C"}, "answer_idx": "B", '
        '"rationale": "Because 1.", "human_checked": true, "human_check_passed": false, "id": "s/train-1"}'
    )
    back = []
    for code, name in (("en", "English"), ("zh", "Chinese"), ("ru", "Russian")):
        loader = Table(
            path=f"{folder}/*/{name}.jsonl",
            license="x",
            body="choice",
            language=code,
            answer="answer_idx",
            explanation="rationale",
        )
        back += list(loader.load(SourceContext(**vars(CONTEXT), source="back", license="x")))
    assert all(isinstance(row, Row) for row in back)
    assert {facts(row) for row in back} == {facts(row) for row in rows}


def facts(row: Row) -> object:
    """All of a row but its name; whether its rationale passed, for what of a verdict the layout can hold."""
    return row.origin.record.removeprefix("s_"), row.language, row.split, row.body, bool(told(row.flags))


def test_a_plan_takes_verdicts_on_rows_that_are_not_written_yet(bench: Bench) -> None:
    """Reviewers' sheets go from one machine to another, where no answer of a model is known."""
    bench.data("bare.en.jsonl")
    bench.script(("Explain", {"explanation": "The finding points to it."}))
    bench.write("review/a.csv", "id,hash,verdict\r\nown/en-bare-01/explain,h1,pass\r\nown/none,h1,pass\r\n")
    bench.write("recipe.yaml", PLANNED)
    said = bench.factory("plan", "recipe.yaml")
    assert said.code == 0, said.err
    said = bench.factory("run", "recipe.yaml")
    assert said.code == 2 and "a.csv:3: 'own/none' is no row of 'made': take the line out" in said.err
    assert "own/en-bare-01" not in said.err


PLANNED = """
name: planned
languages: [en]
purpose: research
run: {use: local, workers: 1}
llm: {model: scripted/writer, answers: script.jsonl}
sources:
  own: {use: table, path: data/bare.en.jsonl, body: choice, license: CC0-1.0}
datasets:
  made:
    from: [own]
    steps: [{use: explain, splits: [train, dev, test], keep: unmade}]
  reviewed:
    from: [made]
    steps: [{use: reviewed, path: review, of: made}]
"""
