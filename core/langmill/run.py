"""One recipe: data sets, then stages, then scores, then what people read. Running again continues."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from langmill import __version__
from langmill.api import Stage
from langmill.calls.engine import Engine
from langmill.calls.stopping import draining
from langmill.disk.store import RunFolder, file_hash, key_of
from langmill.disk.whole import write_text, write_whole
from langmill.errors import MissingInput, RecipeError
from langmill.jobs import run_job
from langmill.ledger.ledger import Ledger
from langmill.licensing.carried import learning
from langmill.licensing.gate import refuse, refuse_rows
from langmill.looking import look_before, refuse_unable
from langmill.pipeline.dataset import Pipeline
from langmill.pipeline.expected import held_against, refuse_empty
from langmill.pipeline.segments import Loaded, Workshop
from langmill.plan.prices import frozen, plain
from langmill.plan.retries import try_again
from langmill.recipe.absent import told as absent_lines
from langmill.recipe.assembly import Assembly
from langmill.report.cards import write_cards, write_stage_card
from langmill.report.page import write_report
from langmill.scoring import evaluate
from langmill.yaml12 import dump

Report = Callable[[Mapping[str, Any]], None]
LOG = "stderr.log"
"""What a stage's job said on standard error, in its folder."""


@dataclass(frozen=True)
class Request:
    """What one call of ``factory run`` asks for. ``only`` reads the run's folder alone. ``retry`` names the reasons of rejects
    that are tried again first, all when it is empty."""

    until: Literal["data", "train"] | None = None
    only: Literal["train", "eval"] | None = None
    limit: int | None = None
    max_cost: float | None = None
    offline: bool = False
    fresh: bool = False
    retry: tuple[str, ...] | None = None


def run(assembly: Assembly, store: RunFolder, request: Request, report: Report) -> int:
    """Do what the recipe says; returns the exit code: 0 done, 4 finished with more rejects than the recipe allows.

    Raises MissingInput before anything is written when a source is absent, or something that training needs; RecipeError when
    a licence forbids what the recipe does, or the folder holds something else; NothingRead before any call when no record of a source
    became a row; BudgetReached when the cap is met.
    """
    if request.only is None:
        refuse(assembly)
    if request.only is None and (absent := assembly.absent()):
        lines = (*absent_lines(absent, len(assembly.sources)), *(f"  {line}" for line in _moved(assembly, store)))
        raise MissingInput("\n".join(lines))
    if request.only is not None and not store.recipe_lock.exists():
        raise MissingInput(
            f"{store.root} is not a run's folder (it has no {store.recipe_lock.name}): factory run RECIPE"
        )
    if request.only is not None:
        refuse_rows(assembly, store, *_read_again(assembly, request))
    trains = request.until != "data" and request.only != "eval"
    if trains and (lacks := assembly.unready(offline=request.offline)):
        raise MissingInput(
            "the stages can not be trained here:\n"
            + "\n".join(f"  {line}" for line in lacks)
            + "\n  (the data can be made without: --until data)" * (request.only is None)
        )
    if request.until is None and request.only is None:
        refuse_unable(assembly, store, offline=request.offline)
    if not store.recipe_lock.exists() and store.has_strangers():
        raise RecipeError(
            f"{store.root} is not empty and no run's folder (no {store.recipe_lock.name} in it): nothing is written there. "
            "Choose another with --out DIR"
        )
    with store.open_for_writing():
        for before in store.root.glob("train/.*.before"):  # the run was killed before another took its place
            _put_back(before)
        began = time.time()
        if request.retry is not None:
            again = try_again(assembly, store, request.retry)
            report({"event": "note", "text": f"rows that are tried again: {again:,}"})
        assembly = _write_lock(assembly, store, fresh=request.fresh, only=request.only is not None)
        store.log("run", version=__version__, request=asdict(request))
        store.left = None
        if request.max_cost is not None:
            store.remember(max_cost=request.max_cost)
        facts: dict[str, Any] = {}
        if request.only is None:
            try:
                facts = asyncio.run(_make_data(assembly, store, request, report))
            except asyncio.CancelledError:  # the second Ctrl-C
                raise KeyboardInterrupt from None
        if request.until != "data":
            look_before(assembly, store, asks=request.until is None, offline=request.offline)
            if trains:
                for stage in assembly.stages:
                    _train(assembly, store, stage, report)
            if request.until != "train":
                facts |= evaluate(assembly, store, report, offline=request.offline)
        _finish(assembly, store, facts, time.time() - began)
        rejected = _rejected_share(assembly, store)
        store.log("end", seconds=round(time.time() - began, 1), rejected_share=rejected)
    most = assembly.recipe.max_rejected
    if rejected <= most:
        return 0
    told = (
        f"{rejected:.1%} of what was read or made was rejected, the recipe's max_rejected is {most:.1%}: the reasons are in "
        f"{store.report} and in DATASET/rejected/; mend them, or raise max_rejected"
    )
    report({"event": "note", "text": told})
    return 4


def _read_again(assembly: Assembly, request: Request) -> tuple[list[str], list[str]]:
    """The data sets and the trained stages that ``--only`` takes from the run's folder: after ``train`` there are evaluations, too."""
    trains = request.only == "train"
    datasets = [stage.data for stage in assembly.stages if trains]
    stages = [] if trains else [stage.name for stage in assembly.stages]
    asked: set[str] = set()
    for _, evaluator in assembly.evaluators if request.until is None else ():
        datasets += [evaluator.data, *evaluator.reads()]
        asked |= {*evaluator.models}
    return datasets, [name for name in stages if name in asked]


def _moved(assembly: Assembly, store: RunFolder) -> Iterator[str]:
    """Why a run's own recipe does not find its sources: they lie beside the recipe, which is not where it was."""
    if assembly.file.folder == store.root.absolute():
        yield (
            f"(paths start from {store.root}, since the folder that this run's recipe came from is not here: "
            f"factory run RECIPE --out {store.root} names it, and --only train or eval needs no sources)"
        )


def _write_lock(assembly: Assembly, store: RunFolder, *, fresh: bool, only: bool) -> Assembly:
    """Keep the recipe as run, and the plugin files that it names, so that the folder stands alone; where it came from; and the
    prices of its models, which the assembly that is returned has too."""
    plugins = [path.read_bytes() for path in assembly.plugin_files]
    if fresh and not only:
        for path in store.root.iterdir():
            if path.name != ".lock":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name, content in zip(assembly.recipe.plugins, plugins, strict=True):  # they may come from this very folder
        write_whole(store.root / name, partial(Path.write_bytes, data=content))
    if assembly.file.folder != store.root.absolute():
        named = assembly.data_dir if assembly.file.merged.get("data_dir") else None
        store.remember(origin=str(assembly.file.folder), data_dir=named and str(named.absolute()))
    if not only:
        assembly = frozen(assembly, store)
    # Without data_dir: the folder may be continued on a machine that has another one, or none.
    locked = {key: value for key, value in assembly.file.merged.items() if key not in ("data_dir", "profiles")}
    priced = {name: plain(llm) for name, llm in assembly.models.items() if "prices" in type(llm).model_fields}
    if "llm" in priced:
        locked["llm"] = _with_prices(locked["llm"], priced["llm"])
    if locked.get("models"):
        locked["models"] = {
            name: _with_prices(spec, priced[name]) if name in priced else spec
            for name, spec in locked["models"].items()
        }
    write_text(store.recipe_lock, dump(locked))
    return assembly


def _with_prices(spec: Mapping[str, Any], prices: Mapping[str, Any] | None) -> dict[str, Any]:
    bare = {key: value for key, value in spec.items() if key != "prices"}
    return {**bare, "prices": prices} if prices else bare


async def _make_data(assembly: Assembly, store: RunFolder, request: Request, report: Report) -> dict[str, Any]:
    """All data sets, in the recipe's order; returns the sources' file hashes and the money spent."""
    budget = assembly.recipe.budget if store.max_cost is None else store.max_cost
    workshop = Workshop.of(assembly, store.root, offline=request.offline, whole=request.limit is None)
    context = assembly.context("llm", offline=request.offline)
    ledger = Ledger()
    told = ledger.notice
    try:
        if told:
            report({"event": "note", "text": told})
        engine = Engine(assembly.models, ledger, run=store.run_id, budget=budget, context=context, report=report)
        asking = partial(draining, engine, report)
        pipeline = Pipeline(assembly, store, workshop, engine, report, request.limit, asking)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # not the loop's, which would wait for the step to end
        async with engine:
            sources: dict[str, Loaded] = pipeline.load(_used_sources(assembly))
            refuse_empty(list(sources.values()), lambda text: report({"event": "note", "text": text}))
            for plan in assembly.datasets.values():
                await pipeline.make(plan, sources)
                store.log("dataset", name=plan.name)
    finally:
        spent = [usage._asdict() for usage in ledger.summary(store.run_id)]
        if met := ledger.notice.removeprefix(told).strip():  # damaged answers, asked for again
            report({"event": "note", "text": met})
        ledger.close()
    files = {name: dict(loaded.files) for name, loaded in sources.items()}
    read = {name: held_against(assembly.sources[name].expect, loaded).facts() for name, loaded in sources.items()}
    return {"sources": files, "read": read, "calls": spent}


def _used_sources(assembly: Assembly) -> list[str]:
    """The sources that some data set reads, in the recipe's order."""
    used = {name for plan in assembly.datasets.values() for name in plan.inputs}
    return [name for name in assembly.sources if name in used]


def _train(assembly: Assembly, store: RunFolder, stage: Stage, report: Report) -> None:
    """One stage, kept when its data, start and what decides it are those of the last time. What another one left in its folder
    is given up when the first step is made, so that an option that proves wrong costs nothing."""
    trainer = assembly.trainer
    assert trainer is not None
    start = store.read_json(f"train/{stage.start}/stage.json") if stage.start != "base" else None
    data = [file_hash(path) for path in store.data_files(stage.data)]
    packs = [pack.fingerprint for _, pack in sorted(assembly.packs.items())]
    decides = trainer.deciding(stage, assembly.context(f"train.{stage.name}"))
    key = key_of("stage", assembly.file.merged["train"]["use"], decides, data, packs, start and start["key"])
    done = store.read_json(f"train/{stage.name}/stage.json")
    if done and done["key"] == key:
        report({"event": "stage", "stage": stage.name, "kept": True})
        return
    folder = store.stage(stage.name)
    before = folder.with_name(f".{stage.name}.before")
    begun = store.read_json(f"train/{stage.name}/begun.json")
    if folder.exists() and (begun or {}).get("key") != key:
        folder.replace(before)  # checkpoints of another recipe or other data can not be continued
    store.write_json(f"train/{stage.name}/begun.json", {"key": key})
    report({"event": "stage", "stage": stage.name, "kept": False})
    if done:
        why = "its rows, options, start or base are not those of the last time, or this version of langmill tells them apart otherwise"
        report({"event": "note", "text": f"{stage.name} is trained again: {why}"})
    began, adapter = time.time(), ""
    try:
        for event in run_job(store.root, "train", stage.name, log=folder / LOG):
            if event["event"] == "trained":
                adapter = str(event["adapter"])
            elif event["event"] == "step":
                _give_up(before)
                report({**event, "event": "training", "stage": stage.name})
            else:
                report({**event, "stage": stage.name})
    except BaseException:
        _put_back(before)
        raise
    _give_up(before)
    facts = {
        "key": key,
        "adapter": adapter,
        "data": stage.data,
        "data_sha256": data,
        "licenses": learning(assembly, store, stage),
        "seconds": time.time() - began,
    }
    write_stage_card(assembly, store, stage, facts)
    store.write_json(f"train/{stage.name}/stage.json", facts)
    store.log("stage", name=stage.name, seconds=round(time.time() - began, 1))


def _give_up(before: Path) -> None:
    """Remove a stage that another has taken the place of, under a name that is swept away when this is cut short."""
    if before.exists():
        shutil.rmtree(before.replace(before.with_suffix(".tmp")))


def _put_back(before: Path) -> None:
    """A stage's folder as it was, since what was to take its place made no step; what its job said stays."""
    if not before.exists():
        return
    folder = before.with_name(before.stem.removeprefix("."))
    if (folder / LOG).exists():
        with (before / LOG).open("ab") as log:
            log.write((folder / LOG).read_bytes())
    shutil.rmtree(folder, ignore_errors=True)
    before.replace(folder)


def _finish(assembly: Assembly, store: RunFolder, facts: Mapping[str, Any], seconds: float) -> None:
    """Cards, manifest and report, from what lies in the folder."""
    before = store.read_json("manifest.json") or {}
    kept = {name: facts.get(name, before.get(name)) for name in ("sources", "read", "calls")}
    write_cards(assembly, store)
    store.write_manifest(
        {
            "langmill": __version__,
            "recipe": assembly.recipe.name,
            "recipe_sha256": file_hash(store.recipe_lock),
            "seed": assembly.recipe.seed,
            "packs": {code: pack.fingerprint for code, pack in assembly.packs.items()},
            "plugins": assembly.registry.plugins,
            "seconds": round(seconds, 1),
            **kept,
        }
    )
    write_report(assembly, store)


def _rejected_share(assembly: Assembly, store: RunFolder) -> float:
    """The share, 0..1, of all that was read or made (work that was rejected included) which was rejected; of the worst data
    set."""
    worst = 0.0
    for name in assembly.datasets:
        facts = store.dataset_facts(name) or {"funnel": []}
        seen = rejected = 0
        for segment in facts["funnel"]:
            for key, counts in segment["counts"].items():
                lost = sum(n for what, n in counts.items() if what.startswith("rejected:"))
                rejected += lost
                if key.startswith("read "):
                    seen += counts.get("read", 0)
                else:  # what a filter rejects was seen before; work that a model's step rejects was not
                    stayed = sum(counts.get(what, 0) for what in ("kept", "replaced", "dropped"))
                    seen += counts.get("made", 0) + lost - (counts.get("read", 0) - stayed)
        worst = max(worst, rejected / seen if seen else 0.0)
    return round(worst, 4)
