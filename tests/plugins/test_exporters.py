"""The exporters, on hand-written rows of all seven languages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from langmill.api import Chat, Choice, Context, FactoryError, Origin, Row, Split, Text, packs_in
from langmill_plugins.exporters.choice_jsonl import ChoiceJsonl
from langmill_plugins.exporters.messages_jsonl import MessagesJsonl

DATA = Path(__file__).resolve().parents[2] / "recipes/data"
LANGUAGES = ("en", "es", "fr", "ja", "ko", "ru", "zh")
CONTEXT = Context("ift.write", 17, {pack.code: pack for pack in packs_in("langmill_languages")}, DATA)


def body_of(record: dict[str, object]) -> Text | Chat | Choice:
    if "text" in record:
        return Text(str(record["text"]))
    if "options" not in record:
        return Chat.of(str(record["question"]), str(record["answer"]))
    answers = tuple(sorted("ABCDEFGHIJ".index(letter) for letter in str(record["answer"]).split(",")))
    return Choice(str(record["question"]), tuple(record["options"]), answers, str(record["explanation"]))  # type: ignore[arg-type]


def hand_written(*kinds: str) -> list[Row]:
    """Rows by language, then split, as a finished data set streams them."""
    rows = []
    for language in LANGUAGES:
        for kind in kinds:
            for line in (DATA / f"{kind}.{language}.jsonl").read_text("utf-8").splitlines():
                record = json.loads(line)
                split: Split = record["split"]
                id = f"{kind}/{record['id']}"
                rows.append(Row(id, language, split, id, body_of(record), Origin(kind, record["id"], ("CC0-1.0",))))
    order = ("train", "dev", "test")
    return sorted(rows, key=lambda row: (row.language, order.index(row.split)))


def read(folder: Path) -> dict[str, list[dict[str, object]]]:
    return {
        path.relative_to(folder).as_posix(): [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        for path in sorted(folder.rglob("*.jsonl"))
    }


def test_messages_hold_every_conversation_and_no_running_text(tmp_path: Path) -> None:
    rows = hand_written("qa", "choice", "passages")
    where = MessagesJsonl().export(iter(rows), tmp_path, CONTEXT)
    assert where == tmp_path / "messages"
    files = read(where)
    assert set(files) == {f"{row.language}/{row.split}.jsonl" for row in rows}
    written = {line["id"]: line for lines in files.values() for line in lines}
    talks = [row for row in rows if not isinstance(row.body, Text)]
    assert list(written) == [row.id for row in sorted(talks, key=lambda row: f"{row.language}/{row.split}.jsonl")]
    line = written["choice/zh-choice-01"]
    assert line["language"] == "zh" and line["source"] == "choice" and line["licenses"] == ["CC0-1.0"]
    user, assistant = line["messages"]  # type: ignore[misc]
    assert user["role"] == "user" and "B. 厚薄血膜涂片镜检" in user["content"]
    assert assistant["content"].endswith("答案：B") and "疟疾" in assistant["content"]


def test_choice_has_the_layout_of_mmedbench(tmp_path: Path) -> None:
    rows = hand_written("qa", "choice")
    files = read(ChoiceJsonl().export(iter(rows), tmp_path, CONTEXT))
    written = {line["id"]: line for lines in files.values() for line in lines}
    assert set(written) == {row.id for row in rows if isinstance(row.body, Choice)}
    several = written["choice/en-choice-01"]
    assert list(several) == ["question", "options", "answer_idx", "rationale", "id"]
    assert several["answer_idx"] == "A,D"
    assert list(several["options"]) == ["A", "B", "C", "D", "E"]  # type: ignore[call-overload]
    assert several["rationale"].startswith("Early destruction of red cells")  # type: ignore[attr-defined]


def test_a_passage_stands_before_its_question(tmp_path: Path) -> None:
    body = Choice("Is it so?", ("yes", "no"), (0,), None, "It was so.")
    row = Row("s/1", "en", "test", "s/1", body, Origin("s", "1", ("CC0-1.0",)))
    line = read(ChoiceJsonl().export([row], tmp_path, CONTEXT))["en/test.jsonl"][0]
    assert line["question"] == "It was so.\nIs it so?" and line["rationale"] == ""


def test_an_older_export_is_replaced_and_a_failed_one_leaves_it(tmp_path: Path) -> None:
    rows = hand_written("choice")
    ChoiceJsonl().export(rows, tmp_path, CONTEXT)
    french = [row for row in rows if row.language == "fr"]
    ChoiceJsonl().export(french, tmp_path, CONTEXT)
    after = read(tmp_path / "choice")
    assert {name.split("/")[0] for name in after} == {"fr"}

    def breaks() -> Iterator[Row]:
        yield rows[0]
        many = Choice("?", tuple(str(number) for number in range(27)), (26,))
        yield Row("s/27", "en", "train", "s/27", many, Origin("s", "27", ("CC0-1.0",)))

    with pytest.raises(FactoryError, match=r"row 's/27' has 27 options"):
        ChoiceJsonl().export(breaks(), tmp_path, CONTEXT)
    assert read(tmp_path / "choice") == after
    assert [path.name for path in tmp_path.iterdir()] == ["choice"]
