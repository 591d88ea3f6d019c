"""The field mappings of recipes/hub.md, as they stand there, against small files of the layouts that the hub's editions have."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from pydantic import ValidationError

from langmill.api import Chat, Choice, Reject, Row, SourceContext, Text
from langmill_plugins.loaders.fields import Fields
from langmill_plugins.loaders.formats.columnar import parquet_records
from langmill_plugins.loaders.huggingface import AT_ONCE, HuggingFace, _fits
from langmill_plugins.loaders.table import Table

PAGE = (Path(__file__).resolve().parents[2] / "recipes" / "hub.md").read_text("utf-8")
SOURCES: dict[str, dict[str, Any]] = yaml.safe_load(PAGE.partition("```yaml\n")[2].partition("```")[0])["sources"]

TURNS = [{"from": "human", "value": "问"}, {"from": "gpt", "value": "答"}]
MEDQA = {
    "question": "q",
    "answer": "y",
    "options": {"A": "x", "B": "y"},
    "meta_info": "step1",
    "answer_idx": "B",
    "metamap_phrases": ["q"],
}
HEAD = {"name": "Cuaderno", "year": "2013", "category": "biology", "qid": 1, "qtext": "¿Cuál?", "ra": 2, "image": None,
        "answers": [{"aid": 1, "atext": "Uno."}, {"aid": 2, "atext": "Dos."}]}  # fmt: skip
FRENCH = {"id": "f1", "question": "Laquelle ?", **{f"answer_{letter}": letter * 3 for letter in "abcde"}, "correct_answers": [0, 3],
          "type": "multiple", "subject_name": "pharmacie", "number_correct_answers": 1}  # fmt: skip
KOREAN = {"subject": "doctor", "year": 2023, "period": 1, "q_number": 1, "question": "처치는?",
          **dict(zip("ABCDE", "가나다라마", strict=True)),
          "answer": 5, "cot": "이유."}  # fmt: skip
INDIAN = {"id": "m1", "question": "q", "opa": "w", "opb": "x", "opc": "y", "opd": "z", "cop": 0, "choice_type": "single",
          "exp": None, "subject_name": "Anatomy", "topic_name": None}  # fmt: skip
PUBMED = {"pubid": 7, "question": "Does it?", "long_answer": "It may.", "final_decision": "maybe",
          "context": {"contexts": ["Aim.", "Result."], "labels": ["AIM", "RESULT"], "meshes": ["M"],
                      "reasoning_required_pred": ["y"], "reasoning_free_pred": ["y"]}}  # fmt: skip
FOUR = ("w", "x", "y", "z")
# For each line of the page: the file that a set of that layout has, its records, and what they become (a reject by its reason).
MADE: dict[str, tuple[str, list[dict[str, Any]], list[object]]] = {
    "kormedmcqa": ("doctor/test-00000-of-00001.parquet", [KOREAN, KOREAN | {"answer": 6, "cot": None}],
                   [Choice("처치는?", tuple("가나다라마"), (4,), "이유."), "bad_key"]),
    "medmcqa": ("data/validation-00000-of-00001.parquet", [INDIAN, INDIAN | {"id": "m2", "cop": -1, "exp": "e"}],
                [Choice("q", FOUR, (0,)), "no_answer"]),
    "pubmedqa": ("pqa_labeled/train-00000-of-00001.parquet", [PUBMED, PUBMED | {"pubid": 8, "final_decision": "none"}],
                 [Choice("Does it?", ("yes", "no", "maybe"), (2,), "It may.", "Aim.\nResult."), "bad_key"]),
    "mmlu_anatomy": ("anatomy/dev-00000-of-00001.parquet",
                     [{"question": "q", "subject": "anatomy", "choices": list(FOUR), "answer": 3}], [Choice("q", FOUR, (3,))]),
    "medquad": ("data/train-00000-of-00001-e36383d177026d53.parquet",
                [{"document_id": "1", "question_focus": "f", "question_type": "t", "question": "q", "answer": "a"},
                 {"document_id": "2", "question_focus": "f", "question_type": "t", "question": "q", "answer": None}],
                [Chat.of("q", "a"), "no_answer"]),
    "culturax_ru": ("ru/ru_part_00000.parquet", [{"text": "т", "timestamp": "2020", "url": "u", "source": "mC4"}], [Text("т")]),
    "headqa_es": ("es/train/0000.parquet", [HEAD, HEAD | {"image": {"bytes": b"png", "path": "1.png"}}],
                  [Choice("¿Cuál?", ("Uno.", "Dos."), (1,)), "needs_image"]),
    "frenchmedmcqa": ("default/validation/0000.parquet", [FRENCH],
                      [Choice("Laquelle ?", ("aaa", "bbb", "ccc", "ddd", "eee"), (0, 3))]),
    "cmmlu_anatomy": ("anatomy/test/0000.parquet",
                      [{"Question": "问", "A": "w", "B": "x", "C": "y", "D": "z", "Answer": "D"}], [Choice("问", FOUR, (3,))]),
    "medqa": ("MedQA-USMLE-4-options/phrases_no_exclude_test.jsonl", [MEDQA], [Choice("q", ("x", "y"), (1,))]),
    "medqa_hf": ("MedQA-USMLE-4-options-hf/dev.json",
                 [{"id": "a", "sent1": "q", "sent2": "", "ending0": "w", "ending1": "x", "ending2": "y", "ending3": "z", "label": 2}],
                 [Choice("q", FOUR, (2,))]),
    "jmmlu": ("JMMLU/test/college_medicine.csv",
              [{"question": "問", "A": "w", "B": "x", "C": "y", "D": "z", "answer": "C"}], [Choice("問", FOUR, (2,))]),
    "mmedbench_fr": ("MMedBench/Test/French.jsonl",
                     [{"question": "q", "options": {"A": "x", "B": "y"}, "answer": ["x", "y"], "answer_idx": "A,B", "rationale": "r",
                       "human_checked": 1, "human_check_passed": 1}], [Choice("q", ("x", "y"), (0, 1), "r")]),
    "huatuogpt2_pretraining": ("HuatuoGPT2-Pretraining-Instruction/data/HuatuoGPT2_Pretrain_Medical_Encyclopedia_cn.json",
                               [{"id": "1", "conversations": TURNS}], [Chat.of("问", "答")]),
    "huatuogpt2_sft": ("HuatuoGPT2-SFT-GPT4-140K/HuatuoGPT2-GPT4-SFT-140K.json",
                       [{"conversations": TURNS}, {"conversations": TURNS[1:]}], [Chat.of("问", "答"), "bad_messages"]),
}  # fmt: skip
SPLITS = {
    "pubmedqa": "test",
    "kormedmcqa": "test",
    "medmcqa": "dev",
    "frenchmedmcqa": "dev",
    "headqa_es": "train",
    "mmlu_anatomy": "dev",
}


def written(path: Path, records: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    elif path.suffix == ".csv":
        path.write_text(
            "".join(",".join(cells) + "\n" for cells in [records[0].keys(), *(r.values() for r in records)])
        )
    elif path.name == "dev.json":  # a record a line, as its authors write it
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    else:
        path.write_text(json.dumps(records) if path.suffix == ".json" else "\n".join(map(json.dumps, records)))


def test_every_line_of_the_page_has_a_layout_here() -> None:
    assert set(SOURCES) == set(MADE)


@pytest.mark.parametrize("name", MADE)
def test_a_mapping_of_the_page_reads_the_published_layout(tmp_path: Path, name: str) -> None:
    options, (file, records, found) = dict(SOURCES[name]), MADE[name]
    written(tmp_path / file, records)
    loader: Table | HuggingFace
    if options.pop("use") == "huggingface":
        options["revision"] = options["revision"].replace("COMMIT", "0" * 40)
        assert _fits(file, HuggingFace.model_validate(options).data_files)
        shared = {
            key: value for key, value in options.items() if key in Fields.model_fields or key in ("license", "splits")
        }
        loader = Table.model_validate({**shared, "path": "."})
        with (tmp_path / file).open("rb") as handle:  # as the hub's files are read
            assert len(list(parquet_records(handle, loader.columns_of, AT_ONCE))) == len(records)
    else:
        loader = Table.model_validate(options)
    items = list(
        loader.load(
            SourceContext("sources.s", 17, {}, tmp_path, tmp_path, source="s", license="x", splits=loader.splits)
        )
    )
    assert [item.reason if isinstance(item, Reject) else item.body for item in items] == found
    rows = [item for item in items if isinstance(item, Row)]
    assert name not in SPLITS or {row.split for row in rows} == {SPLITS[name]}
    assert all(row.language == options["language"] for row in rows)
    assert "explanation_checked" in rows[0].flags or name != "mmedbench_fr"


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("**/*.parquet", ["a.parquet", "x/a.parquet", "x/y/a.parquet"]),
        ("*/[td]*.parquet", ["x/test-0.parquet", "x/dev-0.parquet"]),
        ("x/a.parquet", ["x/a.parquet"]),
    ],
)
def test_which_files_of_a_data_set_are_read(pattern: str, names: list[str]) -> None:
    present = [
        "a.parquet",
        "x/a.parquet",
        "x/y/a.parquet",
        "x/test-0.parquet",
        "x/dev-0.parquet",
        "x/fewshot-0.parquet",
    ]
    assert set(names) <= {name for name in present if _fits(name, pattern)}
    assert not _fits("x/fewshot-0.parquet", "*/[td]*.parquet") and not _fits("x/aXparquet", "x/a.parquet")


def test_commits_of_the_page_are_whole_or_said_to_be_open() -> None:
    commits = {name: options["revision"] for name, options in SOURCES.items() if "revision" in options}
    assert all(commit == "COMMIT" or re.fullmatch("[0-9a-f]{40}", commit) for commit in commits.values())
    open_one = dict(SOURCES["medquad"])
    open_one.pop("use")
    with pytest.raises(ValidationError, match="revision"):  # copied as it is, it is refused
        HuggingFace.model_validate(open_one)
