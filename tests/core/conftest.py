"""A finished run's folder without the run: hand-written rows, and counts as the pipeline leaves them."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.evaluations import examined

from langmill.api import (
    LLM,
    Answer,
    Answered,
    Augmenter,
    Chat,
    Choice,
    Context,
    Drop,
    EvalContext,
    Evaluator,
    Executor,
    Exporter,
    Filter,
    Flag,
    Loader,
    Mark,
    Marked,
    Message,
    Origin,
    Pack,
    Part,
    Question,
    Reject,
    Row,
    Skip,
    SourceContext,
    Split,
    Stage,
    StepContext,
    Text,
    Trainer,
    TrainJob,
    hookimpl,
    packs_in,
)
from langmill.disk.store import RunFolder, file_hash
from langmill.disk.tables import rejects_to_table, rows_to_table
from langmill.parts.facts import Identity
from langmill.recipe.assembly import Assembly, assemble
from langmill.recipe.registry import Registry

DATA = Path(__file__).resolve().parents[2] / "recipes/data"
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
NASTY = '<script>alert(1)</script> {{ 7 * 7 }} | <img src="https://example.org/x"> **bold**'

RECIPE = """
name: small
languages: [en, es, fr, ja, ko, ru, zh, ar]
llm: {model: small/writer}
sources:
  own_qa: {use: lines, path: data/qa.*.jsonl, license: CC0-1.0}
  own_choice: {use: lines, path: data/choice.*.jsonl, license: CC0-1.0}
  odd: {use: lines, path: $data_dir/odd, license: "ask <the> author"}
datasets:
  exams:
    from: [own_choice]
    steps: [{use: tidy}]
  ift:
    from: [own_qa, odd]
    steps: [{use: tidy}, {use: same}, {use: apart, against: exams}, {use: rewrite}]
train:
  use: adapt
  base: small/base
  stages:
    - {name: first, data: ift}
    - {name: second, data: exams, start: first, handover: merge}
  allow_unchecked: true
eval:
  - {use: asked, data: exams, models: [base, first, second]}
"""


class Lines(Loader):
    def load(self, context: SourceContext) -> Iterator[Row | Reject]:
        yield from ()


class Tidy(Filter):
    def judge(self, rows: Sequence[Row], context: StepContext) -> list[Drop | Flag | None]:
        return [None for _ in rows]


class Apart(Tidy):
    against: str


class Rewrite(Augmenter):
    async def augment(self, row: Row, context: StepContext) -> Iterable[Row | Drop | Skip]:
        return ()


class Writer(LLM):
    @property
    def demonstration(self) -> bool:
        return True

    async def answer(
        self, messages: Sequence[Message], *, seed: int, schema: Mapping[str, object] | None = None
    ) -> Answer:
        return Answer("")


class Adapt(Trainer):
    def train(self, job: TrainJob) -> Path:
        return job.folder

    def deciding(self, stage: Stage | None, context: Context) -> Mapping[str, object]:
        return {"base": self.base, "stage": stage and stage.name}

    def open(self, adapter: Path | None, context: Context) -> LLM:
        return Writer(model="small/writer")


class Asked(Evaluator):
    def questions(self, rows: Sequence[Row], context: EvalContext) -> Iterable[Question]:
        return ()

    async def mark(self, rows: Sequence[Row], answered: Sequence[Answered], context: EvalContext) -> Marked:
        return Marked(())


class Here(Executor):
    def map(self, work, partitions, context):  # type: ignore[no-untyped-def]
        return map(work, partitions)


class Parts:
    """What the recipe names."""

    @hookimpl
    def register_loaders(self) -> Mapping[str, type[Part]]:
        return {"lines": Lines}

    @hookimpl
    def register_filters(self) -> Mapping[str, type[Part]]:
        return {"tidy": Tidy, "same": Tidy, "apart": Apart}

    @hookimpl
    def register_augmenters(self) -> Mapping[str, type[Part]]:
        return {"rewrite": Rewrite}

    @hookimpl
    def register_llms(self) -> Mapping[str, type[Part]]:
        return {"small": Writer}

    @hookimpl
    def register_exporters(self) -> Mapping[str, type[Exporter]]:
        return {}

    @hookimpl
    def register_trainers(self) -> Mapping[str, type[Part]]:
        return {"adapt": Adapt}

    @hookimpl
    def register_evaluators(self) -> Mapping[str, type[Part]]:
        return {"asked": Asked}

    @hookimpl
    def register_executors(self) -> Mapping[str, type[Part]]:
        return {"local": Here}

    @hookimpl
    def register_languages(self) -> Iterable[Pack]:
        yield from packs_in("langmill_languages")
        facts = {"code": "ar", "name": "Arabic", "native_name": "العربية", "scripts": ["Arab"], "lid_labels": ["ar"]}
        yield Pack(
            Identity.model_validate({**facts, "sample": "نقص الحديد هو السبب الأكثر شيوعا لفقر الدم"}), None, None, {}
        )


class Finished(NamedTuple):
    """A run's assembly and folder, and the rows of each data set."""

    assembly: Assembly
    store: RunFolder
    rows: dict[str, list[Row]]


def hand_written(kind: str, source: str) -> Iterator[Row]:
    """The rows beside the recipes, as a loader makes them."""
    for path in sorted(DATA.glob(f"{kind}.*.jsonl")):
        for record in map(json.loads, path.read_text("utf-8").splitlines()):
            body: Chat | Choice
            if kind == "qa":
                body = Chat.of(record["question"], record["answer"])
            else:
                answers = tuple("ABCDEFGHIJ".index(letter) for letter in record["answer"].split(","))
                body = Choice(record["question"], tuple(record["options"]), answers, record["explanation"])
            id = f"{source}/{record['id']}"
            yield Row(id, record["language"], record["split"], id, body, Origin(source, record["id"], ("CC0-1.0",)))


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Rows as a finished data set has them."""
    return sorted(rows, key=lambda row: (row.language, SPLITS.index(row.split)))


def _exams(store: RunFolder) -> list[Row]:
    rows = in_order(hand_written("choice", "own_choice"))
    bad = Reject("own_choice", "en-choice-99", "sources.own_choice", "no_answer", "answer is ''", NASTY, "en")
    files = store.write_dataset(
        "exams", iter([rows_to_table(rows)]), {"00-read-own_choice": iter([rejects_to_table([bad])])}
    )
    n = Counter(row.language for row in rows)
    read = {f"read own_choice\t{code}": {"read": count, "kept": count} for code, count in n.items()}
    read["read own_choice\ten"] |= {"read": n["en"] + 1, "rejected:no_answer": 1}
    tidy = {f"tidy\t{code}": {"read": count, "kept": count} for code, count in n.items()}
    funnel = [{"segment": "read own_choice", "counts": read}, {"segment": "00 tidy", "counts": tidy}]
    store.write_json("exams/dataset.json", {"name": "exams", "key": "k", "files": files, "funnel": funnel})
    return rows


def _ift(store: RunFolder) -> list[Row]:
    own = list(hand_written("qa", "own_qa"))
    odd = Row(
        "odd/1", "ar", "train", "odd/1", Chat.of("ما هو فقر الدم؟", NASTY), Origin("odd", "1", ("ask <the> author",))
    )
    choice = Row(
        "odd/2", "ar", "train", "odd/2", Choice("أي؟", ("أ", "ب"), (0, 1)), Origin("odd", "2", ("ask <the> author",))
    )
    passage = Row("odd/3", "en", "train", "odd/3", Text(NASTY), Origin("odd", "3", ("ask <the> author",)))
    dropped, near = own[3], own[4]
    kept = [row for row in own if row not in (dropped, near)]
    mark = Mark("rewrite", "small/writer", "en/expand@0123456789ab", "c" * 64)
    made = [
        row.child("rewrite", Chat.of(row.body.question, f"{row.body.answer} {row.body.answer}"), marks=[mark]).flagged("demonstration")
        for row in kept
        if row.language == "en" and row.split == "train" and isinstance(row.body, Chat)
    ]  # fmt: skip
    rows = in_order([*kept, odd, choice, passage.flagged("doubtful"), *made])
    rejects = [
        Reject.of(dropped, "datasets.ift.steps[0]", Drop("too_short", "2 words, at least 3")),
        Reject.of(near, "datasets.ift.steps[2]", Drop("in_test_set", "like own_choice/en-choice-01")),
    ]
    files = store.write_dataset(
        "ift",
        iter([rows_to_table(rows)]),
        {"02-00-tidy": iter([rejects_to_table(rejects[:1])]), "03-02-apart": iter([rejects_to_table(rejects[1:])])},
    )
    n = Counter(row.language for row in own)
    lines = {code: {"read": count, "kept": count} for code, count in n.items()}
    read_odd = {
        "ar": {"read": 2, "kept": 2},
        "en": {"read": 1, "kept": 1},
        "tlh": {"read": 4, "skipped:language_not_in_recipe": 4},
    }
    first = {code: dict(counts) for code, counts in lines.items()} | {"ar": {"read": 2, "kept": 2}}
    first["en"] = {"read": n["en"] + 1, "kept": n["en"], "rejected:too_short": 1, "flagged:doubtful": 1}
    second = {code: {"read": counts["kept"], "kept": counts["kept"]} for code, counts in first.items()}
    third = {code: dict(counts) for code, counts in second.items()}
    third["en"] = {"read": n["en"], "kept": n["en"] - 1, "rejected:in_test_set": 1}
    fourth = {code: {"read": counts["kept"], "kept": counts["kept"]} for code, counts in third.items()}
    fourth["en"] |= {"made": len(made), "rejected:schema": 2}
    fourth["ko"] |= {"skipped:language_not_written": 18}

    def keyed(step: str, counts: Mapping[str, Mapping[str, int]]) -> dict[str, Mapping[str, int]]:
        return {f"{step}\t{code}": what for code, what in counts.items()}

    funnel = [
        {"segment": "read own_qa", "counts": keyed("read own_qa", lines)},
        {"segment": "read odd", "counts": keyed("read odd", read_odd)},
        {"segment": "00 tidy", "counts": {**keyed("same", second), **keyed("tidy", first)}},  # fused: keys come sorted
        {"segment": "02 apart", "counts": keyed("apart", third)},
        {"segment": "03 rewrite", "counts": keyed("rewrite", fourth)},
    ]
    store.write_json("ift/dataset.json", {"name": "ift", "key": "k", "files": files, "funnel": funnel})
    return rows


def _trained(store: RunFolder) -> None:
    for number, (name, data) in enumerate((("first", "ift"), ("second", "exams"))):
        digests = [file_hash(path) for path in store.data_files(data)]
        facts = {"key": "k", "adapter": f"train/{name}/adapter", "data": data, "data_sha256": digests, "seconds": 81.5}
        store.write_json(f"train/{name}/stage.json", facts)
        figures = {
            "train_loss": {"first": 3.3, "last": 1.42, "steps": 10},
            "steps": 40,
            "dev_loss": {"first": 3.1, "last": 1.9},
            "rows": {"train": 150, "dev": 12},
            "left_out": {"train": {"too_long": {"en": 3, "ru": 1}}, "dev": {"too_long": {"en": 7}}},
            "tokens": 20_480,
            "seconds": 80.0,
            "base": {"name": "small/base", "demonstration": False},
        }
        figures |= _of_first() if name == "first" else {}  # the second is a trainer's that tells less
        store.write_json(f"train/{name}/result.json", figures)
        lines: list[dict[str, object]] = [
            {"step": step, "loss": 1.4 + 1.9 * math.exp(-step / 7) + 0.08 * math.sin(step * (2 + number)), "lr": 1e-4, "tokens": 512 * step}
            for step in range(1, 41)
        ] + [{"step": step, "dev_loss": 1.9 + 1.2 * math.exp(-step / 9)} for step in (0, 20, 40)]  # fmt: skip
        log = store.stage(name) / "train_log.jsonl"
        log.write_text("\n".join(json.dumps(line) for line in lines) + '\n{"step": 41, "lo', "utf-8")


def _of_first() -> dict[str, object]:
    """All that a trainer can tell."""
    return {
        "examples": {"train": 163, "dev": 12},
        "forms_left_out": {"train": {"too_long": {"zh": 5}}, "dev": {}},
        "cut": {"train": {"prompt": {"zh": 2}}, "dev": {}},
        "draws": {"en": {"own_qa": 80, "odd": 3}, "zh": {"own_qa": 77}},
        "trained_tokens": {"en": 9_000, "zh": 2_345},
        "packed": True,
        "fill": 0.9987,
        "backend": "peft",
        "held_in": "4bit",
        "trained_parameters": 4_884_480,
        "processes": 2,
        "halvings": 1,
        "chat_template": "own",
        "peak_memory_bytes": 3 * 2**29,
        "base": {"name": "small/base", "identity": "sha256:0123", "demonstration": False},
    }


@pytest.fixture
def small_assembly(tmp_path: Path) -> Callable[[str], Assembly]:
    """Assembles a recipe from text, with parts that do nothing."""

    def make(text: str) -> Assembly:
        file = tmp_path / "recipe.yaml"
        file.write_text(text, "utf-8")
        return assemble(file, registry=Registry([Parts()]))

    return make


@pytest.fixture
def finished(small_assembly: Callable[[str], Assembly], tmp_path: Path) -> Finished:
    """A run that went to its end."""
    store = RunFolder(tmp_path / "run")
    rows = {"exams": _exams(store), "ift": _ift(store)}
    _trained(store)
    examined(store)
    usage = {"model": "small/writer", "step": "rewrite", "calls": 20, "cached": 3, "failed": 1, "prompt_tokens": 5120,
             "answer_tokens": 1800, "cost": 0.0123, "priced": True}  # fmt: skip
    store.write_json("manifest.json", {"seconds": 240.0, "sources": {}, "calls": [usage]})
    return Finished(small_assembly(RECIPE), store, rows)
