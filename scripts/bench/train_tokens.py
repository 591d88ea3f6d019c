"""Rows rendered, tokenised and masked: how fast beside TRL's own preparation, and whether the same tokens are trained."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

from bench.chain import POOLS
from bench.section import Section, environment, say
from langmill.api import Chat, Context, Message, Origin, Row, SourceContext, packs_in

BASE = "local/smollm2-135m-instruct"
SIZE = 2048  # longest example, tokens; both tools then have the same rows to learn from
TIMED = "qwen2_5"  # the template both forms are timed with: TRL finds the assistant's words itself in few others
FORMS = ("prompt_completion", "messages")
CHECKED = (("smollm2", FORMS[0]), ("llama3", FORMS[0]), (TIMED, FORMS[0]), (TIMED, FORMS[1]))
STEERING = {"llama3": ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")}
CHECKED_ROWS = 1000


def tokens(quick: bool, work: Path, data: Path) -> Section:
    """Both tools in turn over the same conversations, each in a process of its own and on one core."""
    section = Section("tokens")
    rows, rounds = (10_000, 2) if quick else (50_000, 4)
    languages = _write_rows(work, data, rows, rounds)
    section.lines.append(f"{rows * rounds:,} conversations in {len(languages)} languages, {rounds} rounds: {languages}")
    runs: list[dict[str, Any]] = []
    for form in FORMS:
        for number in range(rounds):
            for tool in ("ours", "trl") if number % 2 == 0 else ("trl", "ours"):
                runs.append(_in_own_process(tool, TIMED, form, work / f"rows-{number}.jsonl", work))
                say(f"  {form}, {tool}: {runs[-1]['rows'] / runs[-1]['cpu_s']:,.0f} rows a CPU second")
    table, figures = [], {}
    for form in FORMS:
        ours, theirs = ([run for run in runs if (run["form"], run["tool"]) == (form, tool)] for tool in ("ours", "trl"))
        for tool, some in (("ours", ours), ("trl", theirs)):
            speed = median(run["rows"] / run["cpu_s"] for run in some)
            table.append((form, tool, speed, median(run["tokens"] / run["cpu_s"] for run in some),
                          max(run["peak_mb"] for run in some)))  # fmt: skip
        times = median(b["cpu_s"] / a["cpu_s"] for a, b in zip(ours, theirs, strict=True))
        figures[form] = times
        section.goal(f"times as fast as TRL, {form}", times, ">=", 1.0)
    section.table(("form", "tool", "rows a CPU second", "tokens a CPU second", "peak MB"), table)
    section.lines.append("")
    same = [_compared(template, form, work) for template, form in CHECKED]
    section.lines.append(
        "the same rows, token by token; TRL also trains on the template's line breaks before or after an answer"
    )
    section.table(
        ("template", "form", "rows", "same tokens", "same trained", "same but for line breaks"),
        [
            (one["template"], one["form"], one["rows"], one["ids"], one["trained"], one["but_for_breaks"])
            for one in same
        ],
    )
    for one in same:
        what = f"rows with the same trained tokens, {one['template']}, {one['form']}"
        section.goal(what, one["but_for_breaks"] / one["rows"], "==", 1.0)
    section.figures = {"languages": languages, "times_as_fast": figures, "runs": runs, "same": same}
    return section


# --- rows ---


def _write_rows(work: Path, data: Path, rows: int, rounds: int) -> dict[str, int]:
    """Conversations of real rows, in turn from each language; where there are fewer, they come again with a number before them."""
    packs = {pack.code: pack for pack in packs_in("langmill_languages")}
    pools = {language: list(_chats(language, data, packs)) for language in POOLS}
    counts = dict.fromkeys(pools, 0)
    languages = list(pools)
    for part in range(rounds):
        with (work / f"rows-{part}.jsonl").open("w", encoding="utf-8") as file:
            for number in range(part * rows, (part + 1) * rows):
                language = languages[number % len(languages)]
                again, place = divmod(number // len(languages), len(pools[language]))
                turns = pools[language][place]
                if again:
                    turns = [{**turn, "content": f"{again}. {turn['content']}"} for turn in turns]
                counts[language] += 1
                file.write(json.dumps({"language": language, "messages": turns}, ensure_ascii=False) + "\n")
    return counts


def _chats(language: str, data: Path, packs: Any) -> Iterator[list[dict[str, str]]]:
    loader = POOLS[language]
    context = SourceContext("sources.s", 17, packs, Path(), data, source=language, splits=loader.splits)
    for item in loader.load(context):
        if isinstance(item, Row) and item.language == language:
            yield [message._asdict() for message in packs[language].conversation(item.body)]


def _rows(path: Path) -> Iterator[Row]:
    for number, line in enumerate(path.read_text("utf-8").splitlines()):
        fact = json.loads(line)
        name = f"bench/{number}"
        chat = Chat(tuple(Message(turn["role"], turn["content"]) for turn in fact["messages"]))
        yield Row(name, fact["language"], "train", name, chat, Origin("bench", str(number), ("x",)))


# --- processes of their own ---


def _in_own_process(tool: str, template: str, form: str, rows: Path, work: Path, out: Path | None = None) -> Any:
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "RAYON")}
    quiet = {
        "HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "HF_DATASETS_CACHE": str(work / "cache"),
        "TOKENIZERS_PARALLELISM": "false",
    }  # fmt: skip
    command = [sys.executable, "-m", "bench.train_tokens", tool, template, form, str(rows), str(out or "")]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=Path(__file__).parents[1], env=environment(**threads, **quiet)
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[2:])}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _compared(template: str, form: str, work: Path) -> dict[str, Any]:
    """Rows in which both tools have the same ids, the same trained ones, and the same but for line breaks that TRL trains too."""
    few = work / "few.jsonl"
    few.write_text(
        "".join((work / "rows-0.jsonl").read_text("utf-8").splitlines(keepends=True)[:CHECKED_ROWS]), "utf-8"
    )
    found: dict[str, dict[int, Any]] = {}
    for tool in ("ours", "trl"):
        out = work / f"{tool}.jsonl"
        _in_own_process(tool, template, form, few, work, out)
        examples = map(json.loads, out.read_text("utf-8").splitlines())
        found[tool] = {one["row"]: (one["ids"], one["labels"]) for one in examples}
    ours = found["ours"]
    theirs = {row: one for row, one in found["trl"].items() if len(one[0]) <= SIZE}

    tokenizer = _tokenizer(template)
    breaks = {number for number in tokenizer.get_vocab().values() if not tokenizer.decode([number]).strip("\n")}

    def more(row: int) -> set[int]:
        """The tokens that one of them trains and the other does not; -1: one that is ours alone."""
        pairs = zip(ours[row][1], theirs[row][1], strict=True)
        return {their if own < 0 else -1 for own, their in pairs if own != their}

    both = [row for row in ours.keys() & theirs.keys() if ours[row][0] == theirs[row][0]]
    return {
        "template": template, "form": form, "rows": len(ours.keys() | theirs.keys()), "ids": len(both),
        "trained": sum(not more(row) for row in both), "but_for_breaks": sum(more(row) <= breaks for row in both),
    }  # fmt: skip


def _tokenizer(template: str) -> Any:
    from langmill_plugins.trainers.weights.base_model import find_base, load_tokenizer, quiet

    quiet()
    packs = {pack.code: pack for pack in packs_in("langmill_languages")}
    tokenizer = load_tokenizer(find_base(BASE, Context("bench", 17, packs, Path())).folder)
    if template != "smollm2":
        tokenizer.chat_template = (files("trl") / "chat_templates" / f"{template}.jinja").read_text("utf-8")
    if template in STEERING:
        tokenizer.add_special_tokens({"additional_special_tokens": list(STEERING[template])})
    return tokenizer


def ours(template: str, form: str, path: Path, out: Path | None) -> dict[str, Any]:
    """The way of a stage, from the lines of a file to arrays. It has one form: an answer is found in any conversation."""
    from langmill_plugins.trainers.options import AdapterStage
    from langmill_plugins.trainers.tokens.tokenising import Recording, tokenise

    packs = {pack.code: pack for pack in packs_in("langmill_languages")}
    stage = AdapterStage(name="one", data="all")
    how = Recording(_tokenizer(template), Context("bench", 17, packs, Path()), SIZE, stage, lambda *parts: 17)
    began = process_time()
    made = tokenise(_rows(path), how)
    spent = process_time() - began
    examples = made.examples
    if out:
        lines = (
            {
                "row": int(examples.row[one]),
                "ids": examples.ids_of(one).tolist(),
                "labels": examples.labels_of(one).tolist(),
            }
            for one in range(len(examples))
        )
        out.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    rows = len(examples) + sum(made.left_out.values())
    return {"cpu_s": spent, "rows": rows, "tokens": examples.tokens, "left_out": made.left_out_by_reason()}


def trl(template: str, form: str, path: Path, out: Path | None) -> dict[str, Any]:
    """SFTTrainer's own preparation of a data set, without the model it wants to be made with. It cuts what is longer from the end."""
    from datasets import Dataset, load_dataset
    from trl import SFTConfig, SFTTrainer
    from trl.chat_template_utils import get_training_chat_template

    tokenizer = _tokenizer(template)
    rows = load_dataset("json", data_files=str(path), split="train")
    if form == FORMS[0]:
        parted = [{"prompt": turns[:-1], "completion": turns[-1:]} for turns in rows["messages"]]
        file = path.with_suffix(".parted.jsonl")
        file.write_text("".join(json.dumps(row) + "\n" for row in parted), "utf-8")
        rows = load_dataset("json", data_files=str(file), split="train")
    assert isinstance(rows, Dataset)
    longest = 1 << 30 if out else SIZE  # for comparing: what is too long for one is whole in the other
    args = SFTConfig(
        output_dir=str(path.parent / "trl"), max_length=longest, assistant_only_loss=form == FORMS[1], use_cpu=True,
        bf16=False, shuffle_dataset=False, report_to="none",
    )  # fmt: skip
    trainer: Any = SFTTrainer.__new__(SFTTrainer)
    trainer._tokenizer = tokenizer
    trainer.completion_only_loss = form == FORMS[0]
    trainer.chat_template = get_training_chat_template(tokenizer) if form == FORMS[1] else None
    began = process_time()
    made = trainer._prepare_dataset(rows, tokenizer, args, False, None, "train")
    spent = process_time() - began
    if out:
        lines = ({"row": number, "ids": row["input_ids"], "labels": row["labels"]} for number, row in enumerate(made))
        out.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return {"cpu_s": spent, "rows": len(rows), "tokens": sum(map(len, made["input_ids"]))}


def _run(arguments: Sequence[str]) -> None:
    tool, template, form, path, out = arguments
    found = {"ours": ours, "trl": trl}[tool](template, form, Path(path), Path(out) if out else None)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"tool": tool, "form": form, **found, "peak_mb": round(peak)}))


if __name__ == "__main__":
    _run(sys.argv[1:])
