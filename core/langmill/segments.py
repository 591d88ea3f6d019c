"""The work that crosses to other processes: load a source, judge a partition, sign it, apply drops to it.

Each function takes one plain dataclass and leaves a whole Parquet file named by the key of the work; a file that is there
already is the work done. The file's own metadata holds its counts, so that a kept segment is counted like a fresh one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langmill.api import (
    Context,
    Drop,
    Filter,
    Flag,
    Loader,
    Part,
    Reject,
    Row,
    SourceContext,
    Split,
    StepContext,
    words,
)
from langmill.assembly import Assembly
from langmill.partitions import Partition, Tally, write_partition
from langmill.registry import Registry
from langmill.store import RunFolder, file_hash, key_of
from langmill.tables import read_facts, read_rows

if TYPE_CHECKING:
    import pyarrow as pa

PARTITION_ROWS = 1000


@dataclass(frozen=True)
class PartRef:
    """A part as plain data: a process builds it from its own registry."""

    kind: str
    use: str
    options: Mapping[str, Any]
    place: str
    name: str


@dataclass(frozen=True)
class Workshop:
    """What every piece of work needs to build its parts and contexts. The registry crosses processes as the list of plugin
    files it was made with."""

    registry: Registry
    seed: int
    languages: tuple[str, ...]
    folder: Path
    data_dir: Path | None
    offline: bool
    run: Path

    @classmethod
    def of(cls, assembly: Assembly, run: Path, *, offline: bool = False) -> Workshop:
        """The workshop of a recipe whose run lies in a folder."""
        recipe, languages = assembly.recipe, tuple(assembly.packs)
        return cls(assembly.registry, recipe.seed, languages, assembly.file.folder, assembly.data_dir, offline, run)

    def part(self, ref: PartRef) -> Part:
        """The part, built once in each process, since some load a model."""
        return _built(
            self.registry, ref.kind, ref.use, repr(sorted(ref.options.items())), _Options(ref.options), ref.place
        )

    def step_context(self, place: str, llm: Any = None) -> StepContext:
        """A step's context, with the earlier data sets of the run at hand."""
        return StepContext(place, self.seed, self.packs(), self.folder, self.data_dir, self.offline, llm, self.rows)

    def context(self, place: str) -> Context:
        """A plain context."""
        return Context(place, self.seed, self.packs(), self.folder, self.data_dir, self.offline)

    def packs(self) -> dict[str, Any]:
        """The recipe's languages."""
        return {code: pack for code, pack in self.registry.packs().items() if code in self.languages}

    def rows(self, dataset: str, split: Split | None) -> Iterator[Row]:
        """An earlier data set of this run."""
        return RunFolder(self.run).rows(dataset, split)


class _Options(dict[str, Any]):
    """Options that do not take part in the cache's key (their repr does)."""

    def __hash__(self) -> int:  # type: ignore[override]
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Options)


@lru_cache(maxsize=256)
def _built(registry: Registry, kind: str, use: str, options_repr: str, options: _Options, place: str) -> Part:
    return registry.part(kind, use, dict(options), place)


# --- load ---


@dataclass(frozen=True)
class LoadWork:
    """One source. ``key`` is empty when the files should be looked at; ``limit`` is --limit."""

    workshop: Workshop
    loader: PartRef
    out: Path
    limit: int | None


@dataclass(frozen=True)
class Loaded:
    """A source's partitions, in order, and its files' hashes."""

    source: str
    partitions: tuple[Partition, ...]
    files: Mapping[str, str]
    kept: bool


def load_source(work: LoadWork) -> Loaded:
    """Read a source into partitions of PARTITION_ROWS rows; keep what a former run read if no file changed."""
    shop, ref = work.workshop, work.loader
    loader = shop.part(ref)
    assert isinstance(loader, Loader)
    context = SourceContext(
        ref.place, shop.seed, shop.packs(), shop.folder, shop.data_dir, shop.offline, ref.name, loader.license,
        (("dev", loader.dev), ("test", loader.test)), loader.splits,
    )  # fmt: skip
    root = loader.root(context)
    root = root if root.is_dir() else root.parent
    hashes = {str(path.relative_to(root)): file_hash(path) for path in loader.files(context)}
    code = shop.registry.code_id(type(loader))
    shape = [ref.options, ref.name, sorted(hashes.values()), code, shop.seed, shop.languages, work.limit]
    key = key_of("load", shape)
    last = work.out / f"{key}.end.parquet"
    if last.exists():
        number = read_facts(last)["partitions"]
        done = tuple(Partition.read(work.out / f"{key}-{index:05d}.parquet") for index in range(number))
        return Loaded(ref.name, (*done, Partition.read(last)), hashes, True)
    partitions: list[Partition] = []
    rows: list[Row] = []
    rejects: list[Reject] = []
    tally = Tally()
    seen: set[str] = set()
    taken: Counter[tuple[str, Split]] = Counter()
    limits = [limit for limit in (loader.limit, work.limit) if limit is not None]
    step = f"read {ref.name}"

    def reject(item: Reject) -> None:
        rejects.append(item)
        tally.add(step, item.language, f"rejected:{item.reason}")

    for item in loader.load(context):
        tally.add(step, item.language, "read")
        if isinstance(item, Reject):
            reject(item)
        elif item.language not in shop.languages:
            tally.add(step, item.language, "skipped:language_not_in_recipe")
        elif item.id in seen:
            reject(Reject.of(item, ref.place, Drop("duplicate_id", item.id)))
        elif not _is_unicode(item):
            excerpt = words(item.body)[:200].encode("utf-8", "backslashreplace").decode()
            reject(context.reject(item.origin.record, "not_unicode", excerpt=excerpt, language=item.language))
        elif limits and taken[item.language, item.split] >= min(limits):
            tally.add(step, item.language, "skipped:over_limit")
        else:
            seen.add(item.id)
            taken[item.language, item.split] += 1
            tally.add(step, item.language, "kept")
            rows.append(item)
        if len(rows) == PARTITION_ROWS:
            path = work.out / f"{key}-{len(partitions):05d}.parquet"
            partitions.append(write_partition(path, rows, rejects, tally))
            rows, rejects, tally = [], [], Tally()
    partitions.append(write_partition(last, rows, rejects, tally, partitions=len(partitions)))
    return Loaded(ref.name, tuple(partitions), hashes, False)


def _is_unicode(row: Row) -> bool:
    """False for text with lone surrogates, which no file can hold."""
    try:
        words(row.body).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


# --- judge: fused row-wise filters ---


@dataclass(frozen=True)
class JudgeWork:
    """One partition through filters of scope row, one after another."""

    workshop: Workshop
    filters: tuple[PartRef, ...]
    source: Partition
    out: Path


def judge_partition(work: JudgeWork) -> Partition:
    """Keep, flag or reject each row of a partition."""
    rows = list(read_rows(work.source.path))
    rejects: list[Reject] = []
    tally = Tally()
    for ref in work.filters:
        part = work.workshop.part(ref)
        assert isinstance(part, Filter)
        mine = [row for row in rows if acts_on(part, row)]
        verdicts = part.judge(mine, work.workshop.step_context(ref.place)) if mine else []
        if len(verdicts) != len(mine):
            raise RuntimeError(f"{ref.place}: '{ref.use}' gave {len(verdicts)} verdicts for {len(mine)} rows")
        by_id = {row.id: verdict for row, verdict in zip(mine, verdicts, strict=True)}
        kept: list[Row] = []
        for row in rows:
            verdict = by_id.get(row.id)
            tally.add(ref.name, row.language, "read")
            if isinstance(verdict, Drop):
                rejects.append(Reject.of(row, ref.place, verdict))
                tally.add(ref.name, row.language, f"rejected:{verdict.reason}")
                continue
            if isinstance(verdict, Flag):
                row = row.flagged(verdict.flag)
                tally.add(ref.name, row.language, f"flagged:{verdict.flag}")
            tally.add(ref.name, row.language, "kept")
            kept.append(row)
        rows = kept
    return write_partition(work.out, rows, rejects, tally)


def acts_on(part: Filter, row: Row) -> bool:
    """Whether a filter judges a row; others pass unchanged."""
    return isinstance(row.body, part.bodies) and row.split in part.splits


# --- sign and apply: filters of scope dataset ---


@dataclass(frozen=True)
class SignWork:
    """One partition's signatures; ``position`` is its first row's place in the data set."""

    workshop: Workshop
    filter: PartRef
    source: Partition
    position: int


def sign_partition(work: SignWork) -> pa.Table:
    """The partition's signatures with each row's position in the data set."""
    import pyarrow as pa

    part = work.workshop.part(work.filter)
    assert isinstance(part, Filter)
    rows = list(read_rows(work.source.path))
    positions = {row.id: work.position + index for index, row in enumerate(rows)}
    batch = part.sign([row for row in rows if acts_on(part, row)], work.workshop.step_context(work.filter.place))
    column = pa.array([positions[id] for id in batch.column("id").to_pylist()], pa.int64())
    return pa.Table.from_batches([batch]).append_column("position", column)


@dataclass(frozen=True)
class ApplyWork:
    """One partition and the drops decided for it."""

    source: Partition
    step: str
    place: str
    drops: Mapping[str, Drop]
    out: Path


def apply_drops(work: ApplyWork) -> Partition:
    """Take out the rows that decide() named."""
    kept: list[Row] = []
    rejects: list[Reject] = []
    tally = Tally()
    for row in read_rows(work.source.path):
        tally.add(work.step, row.language, "read")
        drop = work.drops.get(row.id)
        if drop:
            rejects.append(Reject.of(row, work.place, drop))
            tally.add(work.step, row.language, f"rejected:{drop.reason}")
        else:
            kept.append(row)
            tally.add(work.step, row.language, "kept")
    return write_partition(work.out, kept, rejects, tally)
