"""The English benchmarks in the layouts they are published in, and the real rows at hand."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from tests.public_sets import NEEDS_DATA

from langmill.api import Choice, Loader, MissingInput, Reject, Row, SourceContext
from langmill_plugins.loaders.medmcqa import MedMCQA
from langmill_plugins.loaders.medqa import MedQA
from langmill_plugins.loaders.mmlu import MEDICAL, MMLU
from langmill_plugins.loaders.pubmedqa import PubMedQA

DATA = Path(os.environ.get("FACTORY_DATA", ""))


def read(loader: Loader, folder: Path) -> tuple[list[Row], list[Reject]]:
    context = SourceContext("sources.s", 17, {}, folder, DATA, source="s", license="x", splits=loader.splits)
    found = list(loader.load(context))
    return [one for one in found if isinstance(one, Row)], [one for one in found if isinstance(one, Reject)]


def mmlu(folder: Path) -> None:
    """Files of our own in MMLU's layout: no header, quoted cells with commas, quotes and line breaks; other subjects beside."""
    for split, shown in (("dev", "dev"), ("val", "val"), ("test", "test")):
        (folder / "data" / split).mkdir(parents=True)
        for subject in (*MEDICAL, "astronomy"):
            text = f'Where is {subject}?,here,there,"up, or down",nowhere,C\n"Who said ""{subject}""\nand why?",a,b,c,d,A\n'
            (folder / "data" / split / f"{subject}_{shown}.csv").write_text(text, "utf-8")
    (folder / "data/auxiliary_train").mkdir()
    (folder / "data/auxiliary_train/mc_test.csv").write_text("Which?,a,b,c,d,A\n", "utf-8")
    (folder / "data/auxiliary_train/race.csv").write_text("Which?,a,b,c,d,A\n", "utf-8")


def test_mmlu_is_read_as_published_its_medical_part_alone(tmp_path: Path) -> None:
    mmlu(tmp_path)
    rows, rejects = read(MMLU(path="data", license="MIT"), tmp_path)
    assert not rejects
    assert Counter(row.split for row in rows) == {"test": 12, "dev": 24}
    assert {row.origin.record.rpartition("_")[0] for row in rows} == set(MEDICAL)
    (first, second) = [row for row in rows if row.origin.record.startswith("anatomy_test")]
    assert (first.id, second.id) == ("s/anatomy_test-1", "s/anatomy_test-2")
    assert first.body == Choice("Where is anatomy?", ("here", "there", "up, or down", "nowhere"), (2,))
    assert isinstance(second.body, Choice) and second.body.question == 'Who said "anatomy"\nand why?'
    shots, _ = read(MMLU(path="data", license="MIT", splits={"dev": "train"}), tmp_path)
    assert Counter(row.split for row in shots) == {"test": 12, "train": 24}


def test_mmlu_subjects_that_are_not_there_are_named(tmp_path: Path) -> None:
    mmlu(tmp_path)
    rows, _ = read(MMLU(path="data", license="MIT", subjects=("astronomy",)), tmp_path)
    assert len(rows) == 6
    with pytest.raises(MissingInput, match=r"no file of 'virolgy'.*possible: anatomy, astronomy"):
        read(MMLU(path="data", license="MIT", subjects=("anatomy", "virolgy")), tmp_path)
    (tmp_path / "data/test/anatomy_test.csv").unlink()
    rows, _ = read(MMLU(path="data/*/*_test.csv", license="MIT", subjects=("medical_genetics",)), tmp_path)
    assert len(rows) == 2


def test_mmlu_records_that_can_not_be_asked_are_rejects(tmp_path: Path) -> None:
    """Without a key, with a key outside the options, with a cell too few, with an empty option."""
    lines = (
        "Sound?,a,b,c,d,D",
        "No key?,a,b,c,d,",
        "Key outside?,a,b,c,d,E",
        "A cell too few?,a,b,c,D",
        "Empty?,a,,c,d,A",
    )
    (tmp_path / "anatomy_test.csv").write_text("\n".join(lines) + "\n", "utf-8")
    rows, rejects = read(MMLU(path="anatomy_test.csv", license="MIT", subjects=("anatomy",)), tmp_path)
    assert [row.id for row in rows] == ["s/anatomy_test-1"]
    assert [(one.reason, one.record) for one in rejects] == [
        ("no_answer", "anatomy_test-2"), ("bad_key", "anatomy_test-3"), ("broken_line", "anatomy_test-4"),
        ("empty_option", "anatomy_test-5"),
    ]  # fmt: skip
    assert "anatomy_test.csv:3" in rejects[1].detail


def test_medmcqa_in_the_authors_layout_counts_from_one(tmp_path: Path) -> None:
    """As the recipe's paper profile reads its dev file: what it publishes as test has no key."""
    record = '{"id": "%s", "question": "Which?", "opa": "a", "opb": "b", "opc": "c", "opd": "d", "cop": %s, "choice_type": "single"}\n'
    (tmp_path / "dev.json").write_text(
        record % ("x", 4) + record % ("y", 5) + record % ("z", "null") + record % ("w", 0), "utf-8"
    )
    loader = MedMCQA(path="dev.json", license="MIT", answers_from=1, splits={"dev": "test", "train": None})
    rows, rejects = read(loader, tmp_path)
    assert [(row.split, row.body.answers) for row in rows if isinstance(row.body, Choice)] == [("test", (3,))]
    assert [one.reason for one in rejects] == ["bad_key", "no_answer", "bad_key"]


@NEEDS_DATA[0]
@NEEDS_DATA[1]
def test_the_rows_at_hand() -> None:
    """Every kept record of the four sets is read: what is asked, and how many options it has."""
    pubmed, rejects = read(PubMedQA(path="$data_dir/pubmedqa/data", license="MIT"), Path())
    assert not rejects and Counter(row.split for row in pubmed) == {"test": 291, "train": 309}
    keys = Counter(row.body.options[row.body.answers[0]] for row in pubmed if isinstance(row.body, Choice))
    assert set(keys) == {"yes", "no", "maybe"} and all(
        row.body.context for row in pubmed if isinstance(row.body, Choice)
    )
    health, rejects = read(MedQA(path="$data_dir/mmlu-pro-health-normalised", license="x"), Path())
    sizes = Counter(len(row.body.options) for row in health if isinstance(row.body, Choice))
    assert len(health) + len(rejects) == 150 and max(sizes) == 10 and sizes[10] > 100
