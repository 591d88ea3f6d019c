#!/usr/bin/env python3
"""How well `factory plan` foretells the price: recipes are planned, run with a model that counts what it says, and compared.

    .venv/bin/python scripts/bench_plan.py [--quick] [--seed N] [--json FILE]

Twenty recipes over our own rows and, where FACTORY_DATA is set, over public sets: chains of expand, ask, translate and
explain with several tokenizers, prices and longest answers. The model (bench/plan_writer.py) writes answers as long as real
ones are: those of doctors (CasiMedicos, PubMedQA), of exam commentators (CMExam), of other models (GenMedGPT, KorMedMCQA with
reasoning), translations as long as those of TICO-19 and of the declaration of human rights, made longer or shorter by a
talkativeness of its own; some of its answers do not fit, some come back in the wrong language. The plan knows none of that.
Each recipe is planned on an empty ledger, run over a few rows, planned again with what the ledger knows now, run over all
rows, and planned at last when all is paid. The exit code is 1 when a price lies outside its range more than once in twenty.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.section import ROOT, Section, finish, say, work_folder

DATA = ROOT / "recipes" / "data"
WRITER = Path(__file__).parent / "bench" / "plan_writer.py"
ENGLISH = "en"
CONTAINED = 0.95  # share of recipes whose price must lie in its range

# Sources by name, with the data set they belong to ("" for our own rows).
SOURCES = {
    "own_qa": ("", "{use: table, path: data/qa.*.jsonl, body: chat, license: CC0-1.0}"),
    "own_choice": ("", "{use: table, path: data/choice.*.jsonl, body: choice, license: CC0-1.0}"),
    "own_bare": ("", "{use: table, path: data/choice.*.jsonl, body: choice, explanation: null, license: CC0-1.0}"),
    "own_passages": ("", "{use: table, path: data/passages.*.jsonl, body: text, license: CC0-1.0}"),
    "medquad": ("medquad", "{use: medquad, path: $data_dir/medquad, license: CC-BY-4.0, limit: 60}"),
    "bentsao": (
        "bentsao-huatuo",
        "{use: table, path: $data_dir/bentsao-huatuo/data/llama_data.json, body: chat, language: zh, "
        "question: instruction, answer: output, license: unknown, limit: 60}",
    ),
    "headqa": ("headqa", "{use: headqa, path: $data_dir/headqa, license: MIT, limit: 40}"),
    "casimedicos": ("casimedicos", "{use: casimedicos, path: $data_dir/casimedicos/casimedicos-arg, license: CC-BY-4.0, limit: 30}"),
    "cmexam": ("cmexam", "{use: cmexam, path: $data_dir/cmexam, license: Apache-2.0, splits: {dev: train}, limit: 40}"),
    "frenchmedmcqa": ("frenchmedmcqa", "{use: frenchmedmcqa, path: $data_dir/frenchmedmcqa/corpus, license: Apache-2.0, limit: 60}"),
    "igakuqa": ("igakuqa", "{use: igakuqa, path: $data_dir/igakuqa/data, license: unknown, limit: 60}"),
    "rumeddanet": ("rumedbench", "{use: rumeddanet, path: $data_dir/rumedbench/data/RuMedDaNet, license: Apache-2.0, limit: 60}"),
    "openstax": (
        "openstax-anatomy-physiology",
        "{use: openstax, path: $data_dir/openstax-anatomy-physiology/modules, license: CC-BY-4.0, limit: 30}",
    ),
}  # fmt: skip
# What is written here is as long as real answers are, and no text that guards would pass.
TIDY = "{use: language_id}, {use: exact}"
EXPAND = "{use: expand, guards: false, most_characters: 300}"
ASK = "{use: ask, guards: false, count: 2, keep: never}"
ASK_MANY = "{use: ask, guards: false, count: 4, support: 0, keep: never}"
EXPLAIN = "{use: explain, guards: false, keep: skipped}"
SEVEN, THREE = "[en, zh, ja, ko, fr, es, ru]", "[zh, es, ru]"


class Case(NamedTuple):
    """One recipe: its sources, its steps, and the model it asks."""

    sources: tuple[str, ...]
    steps: str
    max_tokens: int
    tokenizer: str
    tells: bool
    fallback: tuple[str, ...]  # instead of sources that are not at hand


def _translate(into: str, limit: int | None = None) -> str:
    return f"{{use: translate, guards: false, into: {into}{f', limit: {limit}' if limit else ''}}}"


CASES = (
    Case(("own_qa",), EXPAND, 1024, "o200k_base", True, ()),
    Case(("own_qa",), f"{EXPAND}, {_translate(SEVEN, 6)}, {TIDY}", 512, "o200k_base", True, ()),
    Case(("own_passages",), f"{ASK}, {TIDY}", 800, "cl100k_base", True, ()),
    Case(("own_passages",), f"{ASK_MANY}, {_translate(THREE)}, {TIDY}", 1024, "o200k_base", False, ()),
    Case(("own_choice",), f"{_translate(SEVEN, 5)}, {TIDY}", 1024, "claude", False, ()),
    Case(("own_qa", "own_passages"), f"{TIDY}, {EXPAND}, {ASK}, {_translate(SEVEN, 8)}, {TIDY}", 320, "o200k_base", True, ()),
    Case(("medquad",), f"{TIDY}, {EXPAND}, {_translate(THREE)}", 1024, "o200k_base", True, ("own_qa",)),
    Case(("bentsao",), f"{EXPAND}, {_translate('[en, ja, ko]', 30)}, {TIDY}", 768, "cl100k_base", True, ("own_qa",)),
    Case(("headqa",), f"{EXPLAIN}", 1024, "o200k_base", True, ("own_bare",)),
    Case(("headqa",), f"{EXPLAIN}, {_translate('[fr]', 30)}, {TIDY}", 512, "o200k_base", False, ("own_bare",)),
    Case(("casimedicos",), f"{_translate('[zh, ko]')}, {TIDY}", 2048, "o200k_base", True, ("own_choice",)),
    Case(("cmexam",), f"{_translate('[en, ru]')}, {TIDY}", 1024, "claude", True, ("own_choice",)),
    Case(("frenchmedmcqa",), f"{EXPLAIN}, {TIDY}", 400, "cl100k_base", False, ("own_bare",)),
    Case(("igakuqa",), f"{EXPLAIN}, {_translate('[en]', 40)}", 1500, "o200k_base", True, ("own_bare",)),
    Case(("rumeddanet",), f"{EXPLAIN}, {_translate('[en, es]', 20)}, {TIDY}", 1024, "cl100k_base", True, ("own_bare",)),
    Case(("openstax",), f"{ASK}, {EXPAND}, {_translate('[ja, fr]')}, {TIDY}", 1024, "o200k_base", True, ("own_passages",)),
    Case(("openstax", "own_passages"), f"{ASK_MANY}, {TIDY}", 640, "claude", False, ("own_passages",)),
    Case(("own_qa", "medquad", "bentsao"), f"{TIDY}, {EXPAND}, {_translate(SEVEN, 10)}, {TIDY}", 1024, "o200k_base", True, ("own_qa",)),
    Case(("own_bare", "igakuqa", "frenchmedmcqa"), f"{EXPLAIN}", 900, "claude", False, ("own_bare",)),
    Case(("headqa", "rumeddanet"), f"{EXPLAIN}, {_translate('[zh]')}, {TIDY}", 1024, "o200k_base", True, ("own_bare",)),
)  # fmt: skip

# Characters of a text for one of its English edition: TICO-19 (zh, fr, es, ru), guidance on COVID-19 (ko), declaration of
# human rights (ja).
RATIO = {"en": 1.0, "zh": 0.35, "ja": 0.39, "ko": 0.42, "fr": 1.16, "es": 1.16, "ru": 1.15}
# Lengths in characters, where no public set is at hand: deciles, in English, of the sets that _lengths() reads.
DECILES = {
    "expansion": [177, 260, 320, 365, 399, 430, 470, 520, 611],
    "explanation": [170, 240, 310, 370, 431, 520, 640, 820, 1130],
    "question": [45, 60, 70, 80, 90, 100, 115, 135, 170],
    "answer": [120, 160, 200, 230, 261, 290, 330, 370, 430],
}


def main() -> int:
    """Run the recipes; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="six recipes instead of twenty")
    parser.add_argument("--seed", type=int, default=0, help="other answers, prices and faults")
    parser.add_argument("--json", type=Path, help="the figures, into a file")
    options = parser.parse_args()
    with work_folder() as work:
        done = section(
            CASES[:: len(CASES) // 6][:6] if options.quick else CASES,
            work,
            os.environ.get("FACTORY_DATA"),
            options.seed,
        )
    done.tell()
    return finish([done], options.quick, options.json)


def section(cases: Sequence[Case], work: Path, data: str | None, seed: int = 0) -> Section:
    """The recipes' prices, foretold and real. ``data`` is the folder of public sets, if there is one."""
    done = Section("plan")
    done.lines.append(
        "US$ foretold and real, before anything is known (new) and (*) with a ledger that knows a few rows"
    )
    rows, results = [], []
    texts, lengths = _texts(), _lengths(data)
    for number, case in enumerate(cases):
        result = compare(case, work / str(number), 1000 * seed + CASES.index(case) + 1, texts, lengths, data)
        results.append(result)
        shown = [f"{result[key]:.5f}" for key in ("low", "high", "cost", "known_low", "known_high", "known_cost")]
        marks = ["yes" if result[key] else "NO" for key in ("contained", "known_contained", "below_worst", "all_paid")]
        name = f"{'+'.join(result['sources'])}: {result['steps']}"
        rows.append([name[:44], *shown, *marks, f"{result['plan_seconds']:.1f}"])
        say(f"  {number + 1}/{len(cases)} {name[:60]}: {shown[0]}-{shown[1]}, real {shown[2]}")
    done.table(("recipe", "low", "high", "real", "low*", "high*", "real*", "in", "in*", "most", "paid", "s"), rows)
    for key, what in (("", "new"), ("known_", "known")):
        some = [result for result in results if result[f"{key}cost"]]  # of small sources the first rows are all rows
        inside = sum(result[f"{key}contained"] for result in some) / len(some)
        width = statistics.median(result[f"{key}high"] / result[f"{key}low"] for result in some)
        place = statistics.median(
            (result[f"{key}cost"] - result[f"{key}low"]) / (result[f"{key}high"] - result[f"{key}low"])
            for result in some
        )
        done.figures[what] = {"contained": inside, "median_width": width, "median_place": place, "recipes": len(some)}
        done.lines.append(
            f"{what}: {inside:.0%} of {len(some)} contained, high/low {width:.2f} (median), the real price lies at "
            f"{place:.0%} of the range (median)"
        )
        done.goal(f"{what}: share of prices inside their range", inside, ">=", CONTAINED)
    n = len(results)
    done.goal("prices below the worst case", sum(result["below_worst"] for result in results) / n, "==", 1.0)
    done.goal("plans after the run that say all paid", sum(result["all_paid"] for result in results) / n, "==", 1.0)
    done.figures["recipes"] = results
    return done


def compare(
    case: Case, folder: Path, seed: int, texts: Mapping[str, str], lengths: Mapping[str, Any], data: str | None
) -> dict[str, Any]:
    """One recipe planned and run, on a ledger of its own."""
    from langmill.plan.forecast import plan
    from langmill.recipe.assembly import assemble

    dice = random.Random(seed)
    there = [
        name for name in case.sources if not SOURCES[name][0] or (data and (Path(data) / SOURCES[name][0]).is_dir())
    ]
    sources = tuple(dict.fromkeys([*there, *(() if len(there) == len(case.sources) else case.fallback)]))
    folder.mkdir(parents=True)
    shutil.copytree(DATA, folder / "data")
    shutil.copy(WRITER, folder / "plan_writer.py")
    secrets = {
        "text": texts,
        "lengths": lengths,
        "ratio": {
            code: ratio * (1.0 if code == ENGLISH else dice.uniform(0.88, 1.12)) for code, ratio in RATIO.items()
        },
        "talk": dice.lognormvariate(0.1, 0.3),
        "carried": dice.uniform(0.88, 1.12),
        "unfit": dice.choice([0.0, 0.01, 0.03, 0.08]),
        "astray": dice.choice([0.0, 0.02, 0.1]),
        "schema_counts": dice.random() < 0.5,
    }
    (folder / "secrets.json").write_text(json.dumps(secrets, ensure_ascii=False), "utf-8")
    prices = dice.choice([(0.15, 0.6), (3.0, 15.0), (0.25, 1.25), (1.0, 1.0)])
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        "\n".join(
            [
                "name: bench",
                f"seed: {seed}",
                f"languages: {SEVEN}",
                "plugins: [plan_writer.py]",
                "run: {use: local, workers: 1}",
                f"llm: {{model: writer/one, secrets: secrets.json, tokenizer: {case.tokenizer}, tells: {str(case.tells).lower()}, "
                f"max_tokens: {case.max_tokens}, input: {prices[0]}, output: {prices[1]}, concurrency: 64}}",
                "sources:",
                *(f"  {name}: {SOURCES[name][1]}" for name in sources),
                "datasets:",
                f"  made: {{from: [{', '.join(sources)}], steps: [{case.steps}]}}",
                "",
            ]
        ),
        "utf-8",
    )
    with _environment(LANGMILL_HOME=str(folder / "home"), FACTORY_DATA=data or ""):
        assembly = assemble(recipe)
        began = time.perf_counter()
        new = asyncio.run(plan(assembly))
        took = time.perf_counter() - began
        few = _run(assembly, folder / "few", 8 if all(name.startswith("own") for name in sources) else 25)
        known = asyncio.run(plan(assembly))
        rest = _run(assembly, folder / "all", None)
        after = asyncio.run(plan(assembly))
    cost = few + rest if few + rest else 0.0
    paid = all(step.calls == step.paid for step in after.steps) and after.dollars.high == 0.0
    return {
        "sources": sources,
        "steps": case.steps.replace("{use: ", "").replace("}", ""),
        "low": new.dollars.low,
        "high": new.dollars.high,
        # The few rows' calls are among those of all rows, save for a limit that chooses others.
        "cost": after.saved if paid else cost,
        "worst": new.worst,
        "known_low": known.dollars.low,
        "known_high": known.dollars.high,
        "known_cost": rest,
        "contained": new.dollars.low <= after.saved <= new.dollars.high,
        "known_contained": known.dollars.low <= rest <= known.dollars.high,
        "below_worst": after.saved <= new.worst,
        "all_paid": paid,
        "calls": sum(step.calls for step in after.steps),
        "foretold_calls": sum(step.calls for step in new.steps),
        "plan_seconds": took,
    }


def _run(assembly: Any, folder: Path, limit: int | None) -> float:
    """Make the recipe's data; what it cost in US dollars."""
    from langmill import run as runner
    from langmill.disk.store import RunFolder
    from langmill.ledger.ledger import Ledger

    store = RunFolder(folder)
    runner.run(assembly, store, runner.Request("data", limit=limit), lambda event: None)
    with Ledger() as ledger:
        return ledger.spent(store.run_id)


class _environment:
    """Variables set for a while; an empty one is taken away."""

    def __init__(self, **values: str):
        self.values = values

    def __enter__(self) -> None:
        self.before = {name: os.environ.get(name) for name in self.values}
        self._set(self.values)

    def __exit__(self, *_: object) -> None:
        self._set({name: value or "" for name, value in self.before.items()})

    def _set(self, values: Mapping[str, str]) -> None:
        for name, value in values.items():
            if value:
                os.environ[name] = value
            else:
                os.environ.pop(name, None)


# --- what the model writes with ---


def _own(kind: str) -> Iterator[dict[str, Any]]:
    for path in sorted(DATA.glob(f"{kind}.*.jsonl")):
        yield from map(json.loads, path.read_text("utf-8").splitlines())


def _texts() -> dict[str, str]:
    """Real running text by language: our own passages, answers and explanations."""
    texts: dict[str, list[str]] = {}
    for kind, names in (("passages", ("text",)), ("qa", ("answer",)), ("choice", ("explanation",))):
        for record in _own(kind):
            texts.setdefault(record["language"], []).extend(record[name] for name in names if record.get(name))
    return {language: " ".join(parts) for language, parts in texts.items()}


def _lengths(data: str | None) -> dict[str, dict[str, list[int]]]:
    """Lengths in characters of real answers, by what they are and by language; en stands for all that have none."""
    lengths: dict[str, dict[str, list[int]]] = {name: {ENGLISH: list(values)} for name, values in DECILES.items()}
    if data is None:
        return lengths
    root = Path(data)
    if (path := root / "genmedgpt-5k" / "chatdoctor5k.json").is_file():
        lengths["expansion"][ENGLISH] = [len(item["output"]) for item in json.loads(path.read_text("utf-8"))]
    if (path := root / "pubmedqa" / "data" / "ori_pqal.json").is_file():
        items = json.loads(path.read_text("utf-8")).values()
        lengths["answer"][ENGLISH] = [len(item["LONG_ANSWER"]) for item in items]
        lengths["question"][ENGLISH] = [len(item["QUESTION"]) for item in items]
    for path in sorted((root / "kormedmcqa-cot" / "data" / "sft").glob("*.jsonl"))[:1]:
        said = [json.loads(line)["messages"][-1]["content"] for line in path.read_text("utf-8").splitlines()]
        korean = [text for text in said if sum("가" <= letter <= "힣" for letter in text) > 0.3 * len(text)]
        lengths["explanation"]["ko"] = [len(text) for text in korean]
    return lengths


if __name__ == "__main__":
    sys.exit(main())
