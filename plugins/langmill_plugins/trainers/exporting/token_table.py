"""Tokens of a data set by language and source: the table that a corpus is known by. Here, since tokenizers are a trainer's business."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Any

from langmill.api import Context, Exporter, Field, Row, Seen, Table, packaged_model, whole_folder, words, write_json
from langmill_plugins.trainers.weights.base_model import find_base, load_tokenizer, quiet

BATCH = 256  # rows tokenised together
FILE = "tokens/tokens.json"


@dataclass
class Amount:
    """How much there is: whole documents (families), the rows that they come in, characters and tokens."""

    documents: int = 0
    rows: int = 0
    characters: int = 0
    tokens: int = 0


class TokenTable(Exporter):
    """Counts tokens by language and source, as corpora are told of: tokens/tokens.json, and a table in the run's report with
    languages down, sources across and their sum, then documents and characters. Counted with the tokenizer of a real model, over
    the words of every row of every split, without marks round a text."""

    tokenizer: str = Field(
        description="the model whose tokens are counted: local/NAME, a folder, or a hub name that is downloaded"
    )
    columns: Mapping[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="the table's columns by the sources they hold, wildcards may be used; other sources have columns of their own",
    )

    def export(self, rows: Iterable[Row], folder: Path, context: Context) -> Path:
        """Write tokens/tokens.json below ``folder``. Raises MissingInput for a tokenizer that is not on this machine."""
        name, identity, tokenizer = self._tokenizer(context)
        counted: dict[str, dict[str, Amount]] = {}
        documents = Seen()
        for batch in _batches(rows):
            texts = [words(row.body) for row in batch]
            # What is longer than the model reads at once is counted whole, and not warned of.
            found = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
            for row, text, tokens in zip(batch, texts, found, strict=True):
                amount = counted.setdefault(row.language, {}).setdefault(row.origin.source, Amount())
                amount.documents += documents.add(f"{row.language}\0{row.origin.source}\0{row.family}")
                amount.rows += 1
                amount.characters += len(text)
                amount.tokens += len(tokens)
        facts = {
            "tokenizer": name,
            "identity": identity,
            "vocabulary": len(tokenizer),
            "languages": {code: {name: asdict(one) for name, one in by.items()} for code, by in counted.items()},
        }
        with whole_folder((folder / FILE).parent) as work:
            write_json(work / Path(FILE).name, facts)
        return (folder / FILE).parent

    def _tokenizer(self, context: Context) -> tuple[str, str, Any]:
        """The tokenizer, its model's name and what tells that model from others. Of a packaged model the weights stay packed."""
        quiet()
        if self.tokenizer.startswith("local/"):
            from transformers import AutoTokenizer

            model = packaged_model(self.tokenizer.removeprefix("local/"), context.offline)
            file, unpacked = model.path, model.path.parent / "hf"
            if unpacked.is_dir():  # someone has trained with it: there it is read in no time
                return self.tokenizer, f"sha256:{model.sha256}", load_tokenizer(unpacked)
            tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, local_files_only=True)
            return self.tokenizer, f"sha256:{model.sha256}", tokenizer
        base = find_base(self.tokenizer, context, f"{context.place}.tokenizer")
        return base.name, base.identity, load_tokenizer(base.folder)

    def tables(self, folder: Path) -> Sequence[Table]:
        """Languages down, columns of sources across, then all tokens, documents and characters; the last row is the sum."""
        path = folder / FILE
        if not path.is_file():
            return ()
        facts = json.loads(path.read_text("utf-8"))
        return [self._table(facts)]

    def _table(self, facts: Mapping[str, Any]) -> Table:
        languages: Mapping[str, Mapping[str, Mapping[str, int]]] = facts["languages"]
        sources = dict.fromkeys(source for by in languages.values() for source in by)
        of = {source: self._column(source) for source in sources}
        named = [*self.columns, *(column for column in of.values() if column not in self.columns)]
        columns = list(dict.fromkeys(named))
        rows = []
        for by in languages.values():
            tokens = [sum(by[source]["tokens"] for source in by if of[source] == column) for column in columns]
            whole = [sum(amount[what] for amount in by.values()) for what in ("tokens", "documents", "characters")]
            rows.append((*tokens, *whole))
        rows.append(tuple(map(sum, zip(*rows, strict=True))) or (0,) * (len(columns) + 3))
        return Table(
            "tokens by language and source",
            "",
            (*languages, "sum"),
            (*columns, "all tokens", "documents", "characters"),
            tuple(tuple(float(n) for n in row) for row in rows),
            f"Tokens of {facts['tokenizer']} ({facts['vocabulary']:,} of them), all splits. A tokenizer made for other languages takes "
            "more tokens for the same text: compare languages by characters.",
        )

    def _column(self, source: str) -> str:
        """The first column that a source belongs to; its own name where none does."""
        for column, patterns in self.columns.items():
            if any(fnmatchcase(source, pattern) for pattern in patterns):
                return column
        return source


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    each = iter(rows)
    while batch := list(islice(each, BATCH)):
        yield batch
