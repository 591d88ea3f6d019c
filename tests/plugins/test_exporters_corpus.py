"""What a corpus is written as: text with its sources, and the table of its tokens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.public_sets import PACKS
from tests.tiny_models import packaged_tokenizer

from langmill.api import Chat, Context, MissingInput, Origin, Row, SourceContext, Split, Text, words
from langmill_plugins.exporters.corpus import Corpus
from langmill_plugins.loaders.text import PlainText
from langmill_plugins.trainers.exporting.token_table import TokenTable

CONTEXT = Context("mmedc.write", 17, PACKS, Path())
TOKENIZER = "local/smollm2-135m-instruct"


def row(language: str, source: str, number: int, text: str, split: Split = "train") -> Row:
    origin = Origin(source, str(number), ("CC0-1.0", "CC-BY-4.0"))
    return Row(f"{source}/{number}", language, split, f"{source}/{number // 10}", Text(text), origin)


ROWS = [
    row("en", "web_en", 11, "The heart pumps blood.\n\nThe veins bring it back."),
    row("en", "web_en", 12, "Second passage of one document."),
    row("en", "books", 21, "The kidney forms urine.", "test"),
    row("zh", "web_zh", 31, "心脏泵血。"),
]  # fmt: skip


def test_a_line_has_its_source_and_licences(tmp_path: Path) -> None:
    chat = Row("q/1", "en", "train", "q/1", Chat.of("What?", "That."), Origin("q", "1", ("x",)))
    where = Corpus().export([chat, *ROWS], tmp_path, CONTEXT)
    files = {
        path.relative_to(where).as_posix(): path.read_text("utf-8").splitlines() for path in where.rglob("*.jsonl")
    }
    assert {name: len(lines) for name, lines in files.items()} == {
        "en/train.jsonl": 2,
        "en/test.jsonl": 1,
        "zh/train.jsonl": 1,
    }
    assert json.loads(files["en/train.jsonl"][0]) == {
        "text": "The heart pumps blood.\n\nThe veins bring it back.",
        "id": "web_en/11", "document": "web_en/1", "language": "en", "source": "web_en", "licenses": ["CC0-1.0", "CC-BY-4.0"],
    }  # fmt: skip


def test_plain_text_is_read_back_piece_by_piece(tmp_path: Path) -> None:
    where = Corpus(form="txt").export(iter(ROWS), tmp_path, CONTEXT)
    loader = PlainText(path="en/train.txt", license="x", language="en", documents="blank_line")
    read = list(loader.load(SourceContext("sources.c", 17, PACKS, where, source="c", license="x")))
    assert [words(one.body) for one in read] == [  # type: ignore[union-attr]
        "The heart pumps blood.\nThe veins bring it back.", "Second passage of one document.",
    ]  # fmt: skip
    beside = [json.loads(line) for line in (where / "en/train.sources.jsonl").read_text("utf-8").splitlines()]
    assert [one["id"] for one in beside] == ["web_en/11", "web_en/12"], "line n tells of piece n"
    assert (where / "zh/train.txt").read_text("utf-8") == "心脏泵血。\n\n"


def test_tokens_are_those_of_the_real_tokenizer(tmp_path: Path) -> None:
    table = TokenTable(tokenizer=TOKENIZER, columns={"web": ("web_*",), "sites": ("none",)})
    assert table.tables(tmp_path) == (), "nothing written, nothing told"
    where = table.export(iter(ROWS), tmp_path, CONTEXT)
    facts = json.loads((where / "tokens.json").read_text("utf-8"))
    real = packaged_tokenizer()
    count = {one.id: len(real(words(one.body), add_special_tokens=False)["input_ids"]) for one in ROWS}
    assert facts["tokenizer"] == TOKENIZER and facts["vocabulary"] == 49152
    assert facts["languages"]["en"]["web_en"] == {
        "documents": 1, "rows": 2, "characters": sum(len(words(one.body)) for one in ROWS[:2]),
        "tokens": count["web_en/11"] + count["web_en/12"],
    }  # fmt: skip
    (shown,) = table.tables(tmp_path)
    assert (shown.rows, shown.columns) == (
        ("en", "zh", "sum"),
        ("web", "sites", "books", "all tokens", "documents", "characters"),
    )
    english, chinese, whole = shown.cells
    assert english[:4] == (
        count["web_en/11"] + count["web_en/12"],
        0,
        count["books/21"],
        sum(count.values()) - count["web_zh/31"],
    )
    assert chinese[3:] == (count["web_zh/31"], 1, 5)
    assert whole == tuple(a + b for a, b in zip(english, chinese, strict=True))
    assert english[4] == 2, "passages of one document are one document"


def test_a_tokenizer_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=r"mmedc\.write\.tokenizer.*meta-llama"):
        TokenTable(tokenizer="meta-llama/Nothing-8B").export(iter(ROWS), tmp_path, CONTEXT)
    assert not list(tmp_path.iterdir())


def test_an_empty_data_set_has_an_empty_table(tmp_path: Path) -> None:
    table = TokenTable(tokenizer=TOKENIZER)
    table.export(iter(()), tmp_path, CONTEXT)
    assert [one.rows for one in table.tables(tmp_path)] == [("sum",)]
