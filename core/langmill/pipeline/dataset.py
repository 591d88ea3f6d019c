"""One data set: read, step after step, keep or reject, write.

Steps are cut into segments: neighbouring filters that judge row by row are fused, a filter of the whole data set and a step
that asks a model stand alone. A segment's output is Parquet named by the hash of its input's content, the parts' options and code and
the packs; that one mechanism is resume, cache and "kept".
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

from langmill.api import Augmenter, DatasetFilter, Drop, Executor, Filter, Model
from langmill.calls.engine import Engine
from langmill.disk.indexes import Index
from langmill.disk.partitions import (
    Partition,
    counts_of,
    ids_of,
    offspring_elsewhere,
    rejects_of,
    repeated_ids,
)
from langmill.disk.store import RunFolder, file_hash, key_of
from langmill.disk.tables import count_rows, read_rows, read_table
from langmill.errors import BudgetReached, FactoryError
from langmill.parts.filters import IndexedFilter
from langmill.pipeline.augment import Augmentation, Counts, Step, Work
from langmill.pipeline.deciding import ApplyWork, Decision, apply_drops
from langmill.pipeline.expected import held_against
from langmill.pipeline.money import Money
from langmill.pipeline.segments import JudgeWork, Loaded, LoadWork, PartRef, Workshop, judge_partition, load_source
from langmill.recipe.assembly import Assembly
from langmill.recipe.dataset_plan import DatasetPlan, StepPlan

OPEN_ROWS = 4  # rows waiting for a model, for each call that may be in flight
BATCH_ROWS = 20_000  # rows open at once where calls are handed in by the batch, which may take a day
Report = Callable[[Mapping[str, Any]], None]


@dataclass
class Pipeline:
    """Makes data sets of one recipe in one run's folder."""

    assembly: Assembly
    store: RunFolder
    workshop: Workshop
    engine: Engine
    report: Report
    limit: int | None = None
    asking: Callable[[], AbstractContextManager[None]] = nullcontext  # held while a model is asked
    extends: ClassVar[bool] = True  # whether what is kept goes into the indexes that the recipe names

    def load(self, names: Sequence[str]) -> dict[str, Loaded]:
        """Read sources that no data set of this run has read yet; each is one piece of work for the executor."""
        works = []
        for name in names:
            loader = self.assembly.sources[name]
            ref = self._ref("loaders", self.assembly.uses[name], loader, f"sources.{name}", name)
            works.append(LoadWork(self.workshop, ref, self.store.work("sources", name), self.limit))
        done: dict[str, Loaded] = {}
        for loaded in self._map(load_source, works):
            done[loaded.source] = loaded
            rows = sum(partition.rows for partition in loaded.partitions)
            self.report({"event": "source", "source": loaded.source, "rows": rows, "kept": loaded.kept})
            if told := held_against(self.assembly.sources[loaded.source].expect, loaded).difference:
                self.report({"event": "note", "text": f"source {loaded.source}: {told}"})
        return done

    async def make(self, plan: DatasetPlan, sources: Mapping[str, Loaded]) -> dict[str, Any]:
        """Make one data set; returns what dataset.json holds. Kept whole when nothing that decides it changed."""
        partitions: list[Partition] = []
        pieces: list[tuple[str, list[Partition]]] = []
        for name in plan.inputs:
            read = list(sources[name].partitions) if name in sources else self._earlier(name)
            partitions.extend(read)
            pieces.append((f"read {name}", read))
        if any(name not in sources for name in plan.inputs) and any(repeated := repeated_ids(partitions)):
            partitions = self._join(plan, partitions, repeated)
            pieces.append(("join", partitions))
        fused: list[StepPlan] = []
        for step in (*plan.steps, None):
            if step is not None and isinstance(step.part, Filter) and not isinstance(step.part, DatasetFilter):
                fused.append(step)
                continue
            if fused:
                partitions = self._judge(plan, fused, partitions)
                pieces.append((_slug(fused[0]), partitions))
                fused = []
            if step is None:
                break
            if isinstance(step.part, Augmenter):
                partitions = await self._augment(plan, step, partitions)
            else:
                partitions = self._decide(plan, step, partitions)
            pieces.append((_slug(step), partitions))
        return self._finish(plan, partitions, pieces)

    # --- segments ---

    def _join(
        self, plan: DatasetPlan, partitions: Sequence[Partition], repeated: Sequence[set[str]]
    ) -> list[Partition]:
        """Each row once, where a data set is read beside what it was made of: an id stands for one row."""
        folder, place = self.store.work(plan.name, "join"), f"datasets.{plan.name}.from"
        joined = []
        for part, ids in zip(partitions, repeated, strict=True):
            out = folder / f"{key_of('join', part.content, sorted(ids))}.parquet"
            if not out.exists():
                drops = {n: Drop("duplicate_id", id) for n, id in enumerate(ids_of(part)) if id in ids}
                apply_drops(ApplyWork(part, "join", place, drops, out))
            joined.append(Partition.read(out))
        return joined

    def _judge(self, plan: DatasetPlan, steps: Sequence[StepPlan], partitions: Sequence[Partition]) -> list[Partition]:
        refs = tuple(self._step_ref(step) for step in steps)
        shape = [self._shape(step) for step in steps]
        folder = self.store.work(plan.name, _slug(steps[0]))
        outs = [folder / f"{key_of('judge', part.content, shape)}.parquet" for part in partitions]
        todo = [
            JudgeWork(self.workshop, refs, part, out)
            for part, out in zip(partitions, outs, strict=True)
            if not out.exists()
        ]
        self._tell(plan, " + ".join(ref.name for ref in refs), len(partitions), len(todo))
        for _ in self._map(judge_partition, todo):
            pass
        return [Partition.read(out) for out in outs]

    def _decide(self, plan: DatasetPlan, step: StepPlan, partitions: Sequence[Partition]) -> list[Partition]:
        assert isinstance(step.part, DatasetFilter)
        index = self._index(plan, step, step.part)
        with index.open() if index else nullcontext():
            return self._decided(plan, step, step.part, partitions, index)

    def _decided(
        self,
        plan: DatasetPlan,
        step: StepPlan,
        part: DatasetFilter,
        partitions: Sequence[Partition],
        index: Index | None,
    ) -> list[Partition]:
        folder = self.store.work(plan.name, _slug(step))
        whole = key_of("decide", [item.content for item in partitions], self._shape(step), index and index.state())
        outs = [folder / f"{key_of(whole, item.content)}.parquet" for item in partitions]
        missing = {number for number, out in enumerate(outs) if not out.exists()}
        if index and not index.holds(whole):
            missing = set(range(len(outs)))
        ref = replace(self._step_ref(step), key=whole)
        self._tell(plan, ref.name, len(partitions), len(missing))
        own = {plan.name: tuple(item.path for item in partitions)} if plan.name in step.against else {}
        work = Decision(self.workshop, ref, part, partitions, folder / "signed", whole, self._map, index, own)
        if missing:
            drops = work.drops()
            works = [
                ApplyWork(partitions[number], ref.name, step.place, drops[number], outs[number])
                for number in sorted(missing)
            ]
            for _ in self._map(apply_drops, works):
                pass
        work.clear()  # also what a run left that was killed at this very place
        return [Partition.read(out) for out in outs]

    def _index(self, plan: DatasetPlan, step: StepPlan, part: DatasetFilter) -> Index | None:
        if not isinstance(part, IndexedFilter) or part.index is None:
            return None
        same = [each for each in plan.steps if each.use == step.use and getattr(each.part, "index", None)]
        owner = f"{self.assembly.recipe.name}.{plan.name}.{step.use}.{same.index(step) + 1}"
        packs = sorted(self.assembly.packs.items())
        shape = {
            "step": step.use,
            "form of signatures": part.form,
            **part.model_dump(mode="json", exclude={"index", "splits"}),
            **{f"shingles of {code}": pack.text.shingles.model_dump() for code, pack in packs if pack.text},
        }
        root = self.workshop.context(step.place).path(part.index)
        return Index(root, step.place, owner, shape, extended=self.extends and self.limit is None)

    async def _augment(self, plan: DatasetPlan, step: StepPlan, partitions: Sequence[Partition]) -> list[Partition]:
        part = step.part
        assert isinstance(part, Augmenter)
        asked = partial(self._model, dataset=plan.name)
        llm, *others = (self.assembly.models[name] for name in part.models())
        context = self.workshop.step_context(step.place, asked(part.models()[0]), models=asked)
        chosen = self._chosen(part, partitions)
        identities = [llm.deciding(context), *([[other.deciding(context) for other in others]] if others else [])]
        shape = [self._shape(step), *identities, chosen and key_of(sorted(chosen))]
        folder = self.store.work(plan.name, _slug(step))
        times = self.store.retries.get(step.use, {})
        works = []
        for item, ids in zip(partitions, offspring_elsewhere(partitions), strict=True):
            retried = {id: times[id] for id in ids_of(item) if id in times} if times else {}
            more = [*([sorted(ids)] if ids else []), *([{"retried": retried}] if retried else [])]
            works.append(Work(item, folder / f"{key_of('augment', item.content, shape, *more)}.parquet", ids, retried))
        todo = [work for work in works if not work.out.exists() or not Partition.read(work.out).complete]
        self._tell(plan, step.use, len(works), len(todo))
        if todo:
            acting = Step(step.use, step.place, part, context, chosen, self._demonstration_models())
            abreast = max(OPEN_ROWS * llm.concurrency, BATCH_ROWS if llm.batch else 0)
            augmentation = Augmentation(acting, todo, abreast, partial(self._tell_rows, plan, step))
            await self._ask(plan, step, augmentation)
        return [Partition.read(work.out) for work in works]

    async def _ask(self, plan: DatasetPlan, step: StepPlan, augmentation: Augmentation) -> None:
        """Run a step. Raises what stopped it, after telling and keeping what is left of it and about what that costs."""
        money, counts = Money(self.engine), augmentation.counts
        try:
            with self.asking():
                faults = await augmentation.run()
            for fault in sorted(faults, key=lambda item: isinstance(item, BudgetReached)):
                raise fault  # the budget last: anything else is the graver news
            if self.engine.stopped:
                raise self.engine.stopped
        except (FactoryError, asyncio.CancelledError):
            left = {"dataset": plan.name, "step": step.use, "rows": counts.of - counts.done, "of": counts.of}
            self.store.left = facts = {**left, **money.of(counts.done, counts.of - counts.done)}
            self.report({"event": "left", **facts})
            raise

    def _tell_rows(self, plan: DatasetPlan, step: StepPlan, counts: Counts) -> None:
        self.report({"event": "rows", "dataset": plan.name, "step": step.use, **vars(counts)})

    def _model(self, name: str, dataset: str) -> Model:
        return self.engine.model(name, dataset)

    def _demonstration_models(self) -> set[str]:
        return {llm.model for llm in self.assembly.models.values() if llm.demonstration}

    # --- the end ---

    def _finish(
        self, plan: DatasetPlan, partitions: Sequence[Partition], pieces: Sequence[tuple[str, list[Partition]]]
    ) -> dict[str, Any]:
        write = [[use, part.model_dump(mode="json")] for use, part in plan.write]
        key = key_of([part.content for part in partitions], write, [[name, counts_of(items)] for name, items in pieces])
        facts = self.store.dataset_facts(plan.name)
        if facts and facts["key"] == key:
            self.report({"event": "dataset", "dataset": plan.name, "kept": True, "files": facts["files"]})
            return facts
        rejects = {
            f"{number:02d}-{name.replace(' ', '-')}": rejects_of(items) for number, (name, items) in enumerate(pieces)
        }
        files = self.store.write_dataset(
            plan.name,
            (read_table(part.path) for part in partitions),
            rejects,
        )
        for use, exporter in plan.write:
            exporter.export(
                self.store.rows(plan.name), self.store.dataset(plan.name), self.workshop.context(f"{plan.name}.{use}")
            )
        funnel = [{"segment": name, "counts": counts_of(items)} for name, items in pieces]
        facts = {"name": plan.name, "key": key, "files": files, "funnel": funnel}
        self.store.write_json(f"{plan.name}/dataset.json", facts)
        self.report({"event": "dataset", "dataset": plan.name, "kept": False, "files": files})
        return facts

    def _earlier(self, name: str) -> list[Partition]:
        """An earlier data set of this run, as partitions: its own data files."""
        found = []
        for path in self.store.data_files(name):
            rows = count_rows(path)
            counts = {f"read {name}\t{path.parent.name}": {"read": rows, "kept": rows}}
            found.append(Partition(path, file_hash(path), rows, counts))
        return found

    # --- small things ---

    def _map(self, work: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        executor: Executor = self.assembly.executor
        return executor.map(work, items, self.workshop.context("run"))

    def _ref(self, kind: str, use: str, part: Any, place: str, name: str) -> PartRef:
        return PartRef(kind, use, part.model_dump(mode="json"), place, name)

    def _step_ref(self, step: StepPlan) -> PartRef:
        ref = self._ref("filters", step.use, step.part, step.place, step.use)
        return replace(ref, key=key_of(self._shape(step)))

    def _shape(self, step: StepPlan) -> list[object]:
        """What decides a step's result beside its input: options and files they name, code, packs, and the data set it is held
        against."""
        options = step.part.model_dump(mode="json", exclude={"llm"})
        made = step.place.split(".")[1]
        against = [
            [
                name,
                self.assembly.benchmarks.get(name),
                name != made and (self.store.dataset_facts(name) or {}).get("key"),
            ]
            for name in step.against
        ]
        packs = [pack.fingerprint for _, pack in sorted(self.assembly.packs.items())]
        read = [file_hash(path) for path in step.part.files(self.workshop.context(step.place))]
        return [step.use, options, step.code_id, packs, self.assembly.recipe.seed, against, read]

    def _chosen(self, part: Augmenter, partitions: Sequence[Partition]) -> frozenset[str] | None:
        """The rows a bounded step acts on: per language the first ``limit`` by a hash of the id."""
        if part.limit is None:
            return None
        by_language: dict[str, list[tuple[bytes, str]]] = {}
        for item in partitions:
            for row in read_rows(item.path):
                if part.takes(row):
                    rank = hashlib.sha256(f"{self.assembly.recipe.seed}\0{row.id}".encode()).digest()
                    by_language.setdefault(row.language, []).append((rank, row.id))
        return frozenset(id for ranked in by_language.values() for _, id in sorted(ranked)[: part.limit])

    def _tell(self, plan: DatasetPlan, step: str, partitions: int, todo: int) -> None:
        self.report(
            {"event": "step", "dataset": plan.name, "step": step, "partitions": partitions, "kept": partitions - todo}
        )


def _slug(step: StepPlan) -> str:
    """A segment's folder: the place of its first step, e.g. ``steps[1] minhash``."""
    number = step.place.rsplit("[", 1)[-1].rstrip("]")
    return f"{int(number):02d} {step.use}"
