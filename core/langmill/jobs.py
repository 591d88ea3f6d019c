"""Training and examining, each in a process of its own: memory goes back when it ends, and a trainer's patches touch nothing else.

    python -m langmill.jobs RUN train STAGE
    python -m langmill.jobs RUN examine NUMBER MODEL KEY [offline]
    python -m langmill.jobs RUN export STAGE KIND FOLDER

The job reads the run's folder alone (recipe.lock.yaml and Parquet): neither the sources nor a provider. It tells what it
does as JSON lines on standard output, and ends when standard input closes, so that it never outlives the run.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from langmill.api import Row, Split, Stage, TrainJob
from langmill.disk.store import RunFolder
from langmill.disk.whole import whole_folder
from langmill.errors import FactoryError, MissingInput
from langmill.evaluation.answers import AnswerFile
from langmill.evaluation.asking import ask_here
from langmill.evaluation.rows import answers_file, chosen_rows, context_of, questions_of
from langmill.recipe.assembly import Assembly, assemble

RANKS = frozenset({"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"})
"""What a launcher of several processes tells each of them."""


class JobFailed(FactoryError):
    """A job ended without a result; the message carries its last words and where the rest is."""


def run_job(run: Path, kind: str, *names: str, log: Path) -> Iterator[Mapping[str, Any]]:
    """Start a job and yield what it tells. Raises JobFailed or the FactoryError that the job met; standard error goes to ``log``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "langmill.jobs", str(run), kind, *names]
    # Threads that wait by spinning cost minutes as soon as anything else runs; this must be set before torch loads.
    # A job is no rank of whatever may have started the run.
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **{name: os.environ[name] for name in os.environ if name not in RANKS}}
    pipe = subprocess.PIPE
    with (
        log.open("ab") as stderr,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=stderr, env=environment) as child,
    ):
        assert child.stdout is not None
        try:
            for line in child.stdout:
                event = _event(line)
                if event.get("event") == "error":
                    child.wait()
                    failure = JobFailed(str(event["message"]))
                    failure.exit_code = int(event["exit_code"])
                    raise failure
                if event:
                    yield event
            code = child.wait()
        except BaseException:
            child.kill()
            raise
    if code != 0:
        words = log.read_text("utf-8", "replace").strip().splitlines()[-3:]
        died = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
        raise JobFailed(f"the job {kind} {' '.join(names)} {died}: {' / '.join(words)} (all of it: {log})")


def _event(line: bytes) -> dict[str, Any]:
    """A told line; anything a library printed is passed over."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _tell(event: Mapping[str, Any]) -> None:
    """One line. Of several processes that share the work, those after the first tell their errors alone."""
    if os.environ.get("RANK", "0") != "0" and event["event"] != "error":
        return
    sys.__stdout__.write(json.dumps(event, ensure_ascii=False) + "\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]


def train(assembly: Assembly, store: RunFolder, stage: Stage) -> None:
    """Train one stage; its folder then holds the adapter and stage.json is the run's to write."""
    trainer = assembly.trainer
    assert trainer is not None
    start = None if stage.start == "base" else store.adapter(stage.start)

    def rows(split: Split) -> Iterator[Row]:
        return store.rows(stage.data, split)

    context = assembly.context(f"train.{stage.name}")
    folder = store.stage(stage.name)
    command = (sys.executable, "-m", "langmill.jobs", *sys.argv[1:])
    adapter = trainer.train(TrainJob(stage, start, rows, folder, context, _tell, command))
    _tell({"event": "trained", "adapter": str(adapter.relative_to(store.root))})


def examine(assembly: Assembly, store: RunFolder, number: int, model: str, key: str, *, offline: bool = False) -> None:
    """Have weights answer an evaluator's questions; the answers are in their file when it ends. ``key`` is a hash of what decides
    them."""
    use, evaluator = assembly.evaluators[number]
    context = context_of(assembly, store, number, offline=offline)
    if model in assembly.models:
        llm = assembly.models[model]
        asyncio.run(llm.start(context))
    else:
        if assembly.trainer is None:
            raise MissingInput(f"eval asks for '{model}', but the recipe trains nothing: add train:")
        llm = assembly.trainer.open(None if model == "base" else store.adapter(model), context)
    name = evaluator.called(use)
    questions = questions_of(evaluator, chosen_rows(store, evaluator, context.seed), context)
    file = AnswerFile(answers_file(store, name, model), key)
    ask_here(llm, questions, file, lambda done, of: _tell({"event": "examining", "name": name, "done": done, "of": of}))


def export(assembly: Assembly, store: RunFolder, stage: Stage, kind: str, out: Path) -> None:
    """Write a trained stage as a model that other programs run, with its card: whole or not at all."""
    from langmill.report.exported import demonstration, export_card, licenses_of, mark

    trainer = assembly.trainer
    assert trainer is not None
    with whole_folder(out) as work:
        use = trainer.export(kind, store.adapter(stage.name), work, assembly.context("export"))
        card = export_card(assembly, store, stage, trainer.exports()[kind], use)
        (work / "README.md").write_text(card, encoding="utf-8")
        mark(work, demonstration(assembly, store, stage), licenses_of(assembly, store, stage))


def _end_with_parent() -> None:
    """Leave at once when the run is gone: its end closes our standard input."""
    sys.stdin.buffer.read()
    os._exit(1)


def main(arguments: list[str]) -> int:
    """The process's whole life."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    store = RunFolder(Path(arguments[0]))
    try:
        assembly = assemble(store.recipe_lock, origin=store.origin)
        stages = {stage.name: stage for stage in assembly.stages}
        if arguments[1] == "train":
            train(assembly, store, stages[arguments[2]])
        elif arguments[1] == "export":
            export(assembly, store, stages[arguments[2]], arguments[3], Path(arguments[4]))
        else:
            number, model, key, *rest = arguments[2:]
            examine(assembly, store, int(number), model, key, offline=bool(rest))
    except FactoryError as error:
        _tell({"event": "error", "message": str(error), "exit_code": error.exit_code})
        return error.exit_code
    return 0


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
    except BaseException as fault:
        traceback.print_exc()
        code = fault.code if isinstance(fault, SystemExit) and isinstance(fault.code, int) else 1
        if "RANK" in os.environ:  # its launcher has to tell the rank that broke from those that it took along
            words = {"message": f"{type(fault).__name__}: {fault}"[:1000], "exit_code": 1, "unforeseen": True}
            _tell({"event": "error", "rank": int(os.environ["RANK"]), **words})
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # an ordinary end would abort at the thread that waits on standard input
