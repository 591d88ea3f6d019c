"""The work that crosses to other processes: load a source, judge a partition. (What filters of the whole data set do is in
deciding.)

Each function takes one plain dataclass and leaves a whole Parquet file named by the key of the work; a file that is there
already is the work done. The file's own metadata holds its counts, so that a kept segment is counted like a fresh one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from langmill.api import (
    Context,
    Drop,
    Filter,
    Flag,
    Loader,
    Model,
    Part,
    Reject,
    Row,
    SourceContext,
    Split,
    StepContext,
    words,
)
from langmill.disk.partitions import Partition, Tally, rejected, write_partition, write_tables
from langmill.disk.seen import Seen
from langmill.disk.store import RunFolder, file_hash, key_of
from langmill.disk.tables import read_facts, read_rows, read_table, table_rows
from langmill.recipe.assembly import Assembly
from langmill.recipe.registry import Registry

PARTITION_ROWS = 1000
PARTITION_BYTES = 1 << 25  # of text, about: a partition is in memory whole, several times over


@dataclass(frozen=True)
class PartRef:
    """A part as plain data: a process builds it from its own registry, once for each ``key``, which stands for all that
    decides what it does beside the rows."""

    kind: str
    use: str
    options: Mapping[str, Any]
    place: str
    name: str
    key: str = ""


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
    benchmarks: Mapping[str, tuple[Split, ...]] = field(default_factory=dict)
    whole: bool = True  # whether data sets have all their rows, which those of a plan and of a bounded run have not

    @classmethod
    def of(cls, assembly: Assembly, run: Path, *, offline: bool = False, whole: bool = True) -> Workshop:
        """The workshop of a recipe whose run lies in a folder."""
        recipe, languages = assembly.recipe, tuple(assembly.packs)
        return cls(
            assembly.registry,
            recipe.seed,
            languages,
            assembly.file.folder,
            assembly.data_dir,
            offline,
            run,
            assembly.benchmarks,
            whole,
        )

    def part(self, ref: PartRef) -> Part:
        """The part, built once in each process, since some load a model or read a benchmark."""
        options = _Options(ref.options)
        return _built(
            self.registry, self.run, ref.kind, ref.use, ref.key, repr(sorted(ref.options.items())), options, ref.place
        )

    def step_context(
        self,
        place: str,
        llm: Any = None,
        own: Mapping[str, Sequence[Path]] | None = None,
        models: Callable[[str], Model] | None = None,
    ) -> StepContext:
        """A step's context, with the earlier data sets of the run at hand, and what there is so far of its ``own``; ``models``
        gives others of the recipe's models by name."""
        rows = partial(self.rows, own=own or {})
        packs = self.packs()
        return StepContext(
            place,
            self.seed,
            packs,
            self.folder,
            self.data_dir,
            self.offline,
            llm,
            rows,
            self.benchmarks,
            models,
            self.whole,
        )

    def context(self, place: str) -> Context:
        """A plain context."""
        return Context(place, self.seed, self.packs(), self.folder, self.data_dir, self.offline)

    def packs(self) -> dict[str, Any]:
        """The recipe's languages."""
        return {code: pack for code, pack in self.registry.packs().items() if code in self.languages}

    def rows(self, dataset: str, split: Split | None, own: Mapping[str, Sequence[Path]]) -> Iterator[Row]:
        """An earlier data set of this run, or the step's own."""
        if dataset not in own:
            return RunFolder(self.run).rows(dataset, split)
        return (row for path in own[dataset] for row in read_rows(path) if split in (None, row.split))


class _Options(dict[str, Any]):
    """Options that do not take part in the cache's key (their repr does)."""

    def __hash__(self) -> int:  # type: ignore[override]
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Options)


@lru_cache(maxsize=256)
def _built(
    registry: Registry, run: Path, kind: str, use: str, key: str, options_repr: str, options: _Options, place: str
) -> Part:
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
    """A source's partitions, in order, its files' hashes, and its records by the split that it gives them itself."""

    source: str
    partitions: tuple[Partition, ...]
    files: Mapping[str, str]
    kept: bool
    records: Mapping[str, int] = field(default_factory=dict)


def load_source(work: LoadWork) -> Loaded:
    """Read a source into partitions of PARTITION_ROWS rows, fewer where rows are long; keep what a former run read if no file changed."""
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
    options = {name: value for name, value in ref.options.items() if name not in ("home", "expect")}  # told, not done
    shape = [options, ref.name, sorted(hashes.items()), code, shop.seed, shop.languages, work.limit]
    key = key_of("load", "records by split", shape)
    last = work.out / f"{key}.end.parquet"
    if last.exists():
        facts = read_facts(last)
        number = facts["partitions"]
        done = tuple(Partition.read(work.out / f"{key}-{index:05d}.parquet") for index in range(number))
        return Loaded(ref.name, (*done, Partition.read(last)), hashes, True, facts["records"])
    partitions: list[Partition] = []
    rows: list[Row] = []
    rejects: list[Reject] = []
    tally = Tally()
    seen, held = Seen(), 0
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
        elif (size := _bytes(item)) is None:
            excerpt = words(item.body)[:200].encode("utf-8", "backslashreplace").decode()
            place, record = f"sources.{ref.name}", item.origin.record  # without the row, which no file can hold
            reject(Reject(ref.name, record, place, "not_unicode", excerpt=excerpt, language=item.language))
        elif limits and taken[item.language, item.split] >= min(limits):
            tally.add(step, item.language, "skipped:over_limit")
        elif not seen.add(item.id):
            reject(Reject.of(item, ref.place, Drop("duplicate_id", item.id)))
        else:
            taken[item.language, item.split] += 1
            tally.add(step, item.language, "kept")
            rows.append(item)
            held += size
        if len(rows) == PARTITION_ROWS or held >= PARTITION_BYTES:
            path = work.out / f"{key}-{len(partitions):05d}.parquet"
            partitions.append(write_partition(path, rows, rejects, tally))
            rows, rejects, tally, held = [], [], Tally(), 0
    records = dict(sorted(context.records.items()))
    partitions.append(write_partition(last, rows, rejects, tally, partitions=len(partitions), records=records))
    return Loaded(ref.name, tuple(partitions), hashes, False, records)


def _bytes(row: Row) -> int | None:
    """How many bytes its text has; None for text with lone surrogates, which no file can hold."""
    try:
        return len(words(row.body).encode("utf-8"))
    except UnicodeEncodeError:
        return None


# --- judge: fused filters that judge row by row ---


@dataclass(frozen=True)
class JudgeWork:
    """One partition through filters that judge row by row, one after another."""

    workshop: Workshop
    filters: tuple[PartRef, ...]
    source: Partition
    out: Path


def judge_partition(work: JudgeWork) -> Partition:
    """Keep, flag or reject each row of a partition. What is kept is taken from the table that was read: only flags change."""
    import pyarrow as pa

    table, tally = read_table(work.source.path), Tally()
    rows = list(enumerate(table_rows(table)))
    places: list[int] = []
    said: list[tuple[str, Drop, str]] = []
    flagged = False
    for ref in work.filters:
        part = work.workshop.part(ref)
        assert isinstance(part, Filter)
        mine = [(place, row) for place, row in rows if acts_on(part, row)]
        verdicts = part.judge([row for _, row in mine], work.workshop.step_context(ref.place)) if mine else []
        if len(verdicts) != len(mine):
            raise RuntimeError(f"{ref.place}: '{ref.use}' gave {len(verdicts)} verdicts for {len(mine)} rows")
        tally.count(ref.name, "read", (row.language for _, row in rows))
        changed: dict[int, Row | None] = {}
        for (place, row), verdict in zip(mine, verdicts, strict=True):
            if isinstance(verdict, Drop):
                places.append(place)
                said.append((ref.place, verdict, words(row.body)[:200]))
                tally.add(ref.name, row.language, f"rejected:{verdict.reason}")
                changed[place] = None
            elif isinstance(verdict, Flag):
                tally.add(ref.name, row.language, f"flagged:{verdict.flag}")
                changed[place] = row.flagged(verdict.flag)
                flagged = True
        if changed:
            rows = [(place, kept) for place, row in rows if (kept := changed.get(place, row)) is not None]
        tally.count(ref.name, "kept", (row.language for _, row in rows))
    kept = table.take(pa.array([place for place, _ in rows], pa.int64())) if places else table
    if flagged:
        number = kept.schema.get_field_index("flags")
        field = kept.schema.field(number)
        kept = kept.set_column(number, field, pa.array([row.flags for _, row in rows], field.type))
    return write_tables(work.out, kept, rejected(table, places, said), tally)


def acts_on(part: Filter, row: Row) -> bool:
    """Whether a filter judges a row; others pass unchanged."""
    return isinstance(row.body, part.bodies) and row.split in part.splits
