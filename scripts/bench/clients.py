"""The clients that the benchmarks put side by side, each in a process of its own:

    python clients.py NAME OPTIONS      OPTIONS is JSON; the last line of standard output is the result, JSON

    bare       a pool of workers over one aiohttp session, as anybody would write it
    litellm    the same pool round litellm.acompletion
    engine     ours: the same pool round Engine.model().answer, with the ledger on disk and the schema
    pipeline   ours: what ``factory run`` does with a recipe of one step

Options: ``url`` of the server; ``model``, PROVIDER/NAME; ``rows``, how many, or a pair [first, last + 1]; ``concurrency``;
``home``, the ledger's folder. More for ``engine``: ``llm``, options of the litellm part; ``budget`` in US dollars; ``run``;
``warm`` False for no call to warm up; ``wait`` to say "ready" and wait for a line; ``profile``, a file for cProfile's table.
``pipeline`` works below ``folder``.

Result: ``seconds`` and ``cpu`` (seconds of the whole process, all threads and children) from the first call to the last, imports
and one call to warm up excluded; ``rss``, most memory in MB; ``ended``, how many rows ended how; of ``pipeline`` the seconds of
each of its ``phases``, too.
"""

from __future__ import annotations

import asyncio
import cProfile
import io
import json
import os
import pstats
import resource
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

WORDS = (
    "Rewrite this question of a patient as a clear instruction, and answer it for a lay reader, with the reason. " * 3
)
WARM = 900_000  # the number of the row that warms up
SCHEMA = {
    "type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"], "additionalProperties": False,
}  # fmt: skip
Ask = Callable[[int], Awaitable[str]]


def question(row: int) -> str:
    """What is asked about a row."""
    return f"{WORDS}ROW-{row:06d}"


class Clock:
    """Seconds, on the wall and of CPU, between two moments."""

    def __init__(self) -> None:
        self.seconds = self.cpu = 0.0

    def __enter__(self) -> Clock:
        self._wall, self._cpu = time.perf_counter(), _cpu()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds, self.cpu = time.perf_counter() - self._wall, _cpu() - self._cpu


def _cpu() -> float:
    times = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(item.ru_utime + item.ru_stime for item in times)


async def pool(rows: Sequence[int], concurrency: int, ask: Ask) -> Counter[str]:
    """A fixed pool of workers; how the rows ended: answered, or the error's name."""
    ended: Counter[str] = Counter()
    left = iter(rows)

    async def worker() -> None:
        for row in left:
            try:
                ended["answered" if await ask(row) else "empty"] += 1
            except Exception as error:
                ended[getattr(error, "reason", type(error).__name__)] += 1

    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return ended


def rows_of(options: dict[str, Any]) -> range:
    """The rows to ask about."""
    rows = options["rows"]
    return range(*rows) if isinstance(rows, list) else range(rows)


def bare(options: dict[str, Any]) -> dict[str, Any]:
    """aiohttp and nothing else: no ledger, no validation, no second try."""
    import aiohttp

    async def work() -> dict[str, Any]:
        connector = aiohttp.TCPConnector(limit=options["concurrency"])
        headers = {"Authorization": "Bearer none"}
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

            async def ask(row: int) -> str:
                body = {"model": "bench", "messages": [{"role": "user", "content": question(row)}], "max_tokens": 256}
                async with session.post(f"{options['url']}/chat/completions", json=body) as reply:
                    reply.raise_for_status()
                    said = await reply.json()
                    return str(said["choices"][0]["message"]["content"])

            await ask(WARM)
            with Clock() as clock:
                ended = await pool(rows_of(options), options["concurrency"], ask)
        return _result(clock, ended)

    return asyncio.run(work())


def litellm(options: dict[str, Any]) -> dict[str, Any]:
    """litellm.acompletion and nothing else; asked for the same shape of answer as ours asks for."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm as asked

    asked.suppress_debug_info = True

    async def ask(row: int) -> str:
        reply = await asked.acompletion(
            model=options["model"],
            messages=[{"role": "user", "content": question(row)}],
            max_tokens=256,
            temperature=0.7,
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
            },
            drop_params=True,
            api_base=options["url"],
            api_key="none",
            num_retries=0,
            max_retries=0,
        )
        return str(reply.choices[0].message.content)

    async def work() -> dict[str, Any]:
        await ask(WARM)
        with Clock() as clock:
            ended = await pool(rows_of(options), options["concurrency"], ask)
        return _result(clock, ended)

    return asyncio.run(work())


def engine(options: dict[str, Any]) -> dict[str, Any]:
    """Ours, without the pipeline."""
    from pydantic import BaseModel, ConfigDict, Field

    from langmill.api import Context, Message, Prompt
    from langmill.calls.engine import Engine
    from langmill.ledger.ledger import Ledger
    from langmill_plugins.llms.litellm import LiteLLM

    class Reply(BaseModel):
        """What the server answers."""

        model_config = ConfigDict(extra="forbid")
        answer: str = Field(min_length=1)

    home = Path(options["home"])
    part = {"model": options["model"], "api_base": options["url"], "concurrency": options["concurrency"]}
    llm = LiteLLM(**{"max_tokens": 256, **part, **options.get("llm", {})})
    run, budget = options.get("run", "bench"), options.get("budget")
    context = Context("llm", 1, {}, home)

    async def work() -> dict[str, Any]:
        with Ledger(home) as ledger:
            async with Engine(
                {"llm": llm}, ledger, run=run, budget=budget, context=context, report=lambda event: None
            ) as opened:
                model = opened.model("llm", "bench")

                async def ask(row: int) -> str:
                    prompt = Prompt((Message("user", question(row)),), "bench@0")
                    reply = await model.answer(prompt, Reply, step="bench", language="en", seed=row)
                    return reply.value.answer

                if options.get("warm", True):
                    await ask(WARM)
                if options.get("wait"):
                    print("ready", flush=True)
                    sys.stdin.readline()
                # As many in flight as the others; four times as many at hand, as the pipeline has them: a call is on disk before it has
                # its turn, and one that was refused waits.
                with _profiled(options.get("profile")), Clock() as clock:
                    ended = await pool(rows_of(options), 4 * options["concurrency"], ask)
        return _result(clock, ended)

    return asyncio.run(work())


STEP = '''"""One call a row, for the benchmark."""

from langmill.api import Augmenter, Message, Prompt, Text, hookimpl
from pydantic import BaseModel, ConfigDict, Field


class Reply(BaseModel):
    """What the server answers."""

    model_config = ConfigDict(extra="forbid")
    answer: str = Field(min_length=1)


class Restate(Augmenter):
    """Asks the row's text as it stands; what comes back is a row."""

    bodies = (Text,)

    async def augment(self, row, context):
        prompt = Prompt((Message("user", row.body.text),), "bench@0")
        reply = await context.ask(row, "restate", prompt, Reply)
        return [row.child("restate", Text(reply.value.answer), mark=reply.mark)]


@hookimpl
def register_augmenters():
    return {"restate": Restate}
'''
RECIPE = """
name: bench
languages: [en]
plugins: [step.py]
max_rejected: 1.0
llm: {llm}
sources:
  rows: {{use: table, path: rows.jsonl, body: text, language: en, license: CC0-1.0}}
datasets:
  answers: {{from: [rows], steps: [{{use: restate, keep: never}}]}}
"""


def write_recipe(folder: Path, rows: Sequence[int], llm: dict[str, Any]) -> Path:
    """A recipe of one step and its rows, in a folder of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "step.py").write_text(STEP, "utf-8")
    lines = [json.dumps({"id": f"{row:06d}", "text": question(row)}) for row in rows]
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(llm=json.dumps(llm)), "utf-8")
    return recipe


def pipeline(options: dict[str, Any]) -> dict[str, Any]:
    """Ours, whole: rows read from a file, asked about, written as a data set with its card and report."""
    from langmill.disk.store import RunFolder
    from langmill.progress import Progress
    from langmill.recipe.assembly import assemble
    from langmill.run import Request, run

    folder = Path(options["folder"])
    llm = {
        "model": options["model"],
        "api_base": options["url"],
        "concurrency": options["concurrency"],
        "max_tokens": 256,
    }

    marks: dict[str, float] = {}  # when the last event of each kind came

    def go(rows: Sequence[int], name: str) -> RunFolder:
        recipe = write_recipe(folder / name, rows, llm)
        os.environ["LANGMILL_HOME"] = str(Path(options["home"]) / name)
        assembly, store = assemble(recipe), RunFolder(folder / name / "run")
        with open(os.devnull, "w") as quiet, _profiled(options.get("profile")), clock:
            progress, marks["begin"] = Progress(quiet), time.perf_counter()

            def report(event: Any) -> None:
                marks[event["event"]] = time.perf_counter()
                progress(event)

            run(assembly, store, Request(until="data"), report)
            marks["end"] = time.perf_counter()
        return store

    clock = Clock()
    go([WARM], "warm")
    store = go(rows_of(options), "whole")
    ended = Counter({"answered": sum(1 for _ in store.rows("answers"))})
    ended.update(reject.reason for reject in store.rejects("answers"))
    moments = [marks[name] for name in ("begin", "step", "rows", "dataset", "end")]
    phases = {name: moments[n + 1] - moments[n] for n, name in enumerate(("read", "ask", "write", "report"))}
    return {**_result(clock, ended), "phases": phases}


class _profiled:
    """cProfile's table of the functions that take most time themselves, into a file; nothing without one."""

    def __init__(self, path: str | None):
        self.path = path
        self.profile = cProfile.Profile() if path else None

    def __enter__(self) -> None:
        if self.profile:
            self.profile.enable()

    def __exit__(self, *_: object) -> None:
        if self.profile:
            self.profile.disable()
            text = io.StringIO()
            pstats.Stats(self.profile, stream=text).sort_stats("tottime").print_stats(25)
            Path(str(self.path)).write_text(text.getvalue(), "utf-8")


def _result(clock: Clock, ended: Counter[str]) -> dict[str, Any]:
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": clock.seconds, "cpu": clock.cpu, "rss": rss, "ended": dict(ended)}


if __name__ == "__main__":
    clients = {"bare": bare, "litellm": litellm, "engine": engine, "pipeline": pipeline}
    print(json.dumps(clients[sys.argv[1]](json.loads(sys.argv[2]))), flush=True)
