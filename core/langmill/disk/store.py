"""A run's folder: the only module that knows what lies where inside it.

    runs/NAME/  recipe.lock.yaml  manifest.json  report.html  log.jsonl
                run.json (its name for the ledger, where its recipe came from, the prices it began with)
                retries.json (what was asked again)  left.json (what a run that stopped left undone)
      DATASET/  data/LANG/SPLIT-*.parquet  rejected/*.parquet  README.md  dataset.json  work/ (kept segments)
      train/STAGE/  adapter, log, card, stage.json      eval/*.json

Parquet on disk is the truth about progress. Files appear whole. The folder can be copied and continued elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langmill.disk.shards import Shards
from langmill.disk.tables import read_rejects, read_rows
from langmill.disk.whole import write_json
from langmill.errors import FactoryError, MissingInput
from langmill.rows import SPLITS, Reject, Row, Split

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 2
"""Of what lies in a run's folder; work kept in another format is done again."""
LOCK_NAME = "recipe.lock.yaml"


class RunFolder:
    """One run's folder. Making one touches nothing; :meth:`open_for_writing` does."""

    def __init__(self, root: Path):
        self.root = root

    @contextmanager
    def open_for_writing(self) -> Iterator[None]:
        """Hold the folder for this process. Raises FactoryError when another run holds it."""
        import fcntl

        try:
            self.root.mkdir(parents=True, exist_ok=True)
            handle = (self.root / ".lock").open("a+")
        except OSError as error:
            raise FactoryError(
                f"can not write to {self.root}: {error.strerror}. Choose another with --out DIR"
            ) from None
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                handle.seek(0)
                raise FactoryError(
                    f"another run (process {handle.read().strip() or '?'}) is writing to {self.root}: "
                    "wait for it, stop it, or choose another folder with --out DIR"
                ) from None
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
            for stray in self.root.rglob(".*.tmp"):  # left by a killed run; nobody else can be writing here now
                shutil.rmtree(stray) if stray.is_dir() else stray.unlink()
            yield

    def has_strangers(self) -> bool:
        """Whether the folder is there and holds anything; asked of a folder that holds no recipe.lock.yaml."""
        return self.root.exists() and (
            not self.root.is_dir() or any(item.name != ".lock" for item in self.root.iterdir())
        )

    # --- the run as a whole ---

    @property
    def recipe_lock(self) -> Path:
        """The recipe as run, profile and --set written in."""
        return self.root / LOCK_NAME

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.root / "report.html"

    @property
    def run_id(self) -> str:
        """What the ledger knows this run by, over all its resumes and wherever the folder is moved; made when first asked."""
        facts = self._known()
        if "id" not in facts:
            facts["id"] = uuid.uuid4().hex
            self.write_json("run.json", facts)
        return str(facts["id"])

    @property
    def origin(self) -> Path | None:
        """The folder that the recipe came from, which its relative paths start from; None when it is not there (any more),
        as on another machine."""
        folder = self._known().get("origin")
        return Path(folder) if isinstance(folder, str) and Path(folder).is_dir() else None

    @property
    def data_dir(self) -> Path | None:
        """The data folder that the recipe named; None when it named none, or it is not there."""
        folder = self._known().get("data_dir")
        return Path(folder) if isinstance(folder, str) and Path(folder).is_dir() else None

    @property
    def prices(self) -> dict[str, Any]:
        """The prices this run began with, by the name of the model in the recipe."""
        return dict(self._known().get("prices", {}))

    def remember(self, **facts: object) -> None:
        """Keep facts of the run itself: ``origin`` and ``data_dir`` (as text), ``prices``, ``max_cost``."""
        known = self._known()
        if {**known, **facts} != known:
            self.write_json("run.json", {**known, **facts})

    def _known(self) -> dict[str, Any]:
        return self.read_json("run.json") or {}

    @property
    def max_cost(self) -> float | None:
        """The cap in US dollars that --max-cost set when it was last given: it holds for every resume; None when it never was."""
        found = self._known().get("max_cost")
        return None if found is None else float(found)

    @property
    def retries(self) -> dict[str, dict[str, int]]:
        """How often rows were asked about again: {name of the step's part: {row id: times}}."""
        return self.read_json("retries.json") or {}

    @retries.setter
    def retries(self, times: Mapping[str, Mapping[str, int]]) -> None:
        self.write_json("retries.json", times)

    @property
    def left(self) -> dict[str, Any] | None:
        """What a run that stopped left undone of the step it was at; None when it came to its end."""
        return self.read_json("left.json")

    @left.setter
    def left(self, facts: Mapping[str, Any] | None) -> None:
        if facts is None:
            (self.root / "left.json").unlink(missing_ok=True)
        else:
            self.write_json("left.json", facts)

    def log(self, event: str, **facts: object) -> None:
        """Append one line to log.jsonl: never a prompt, a row or a key."""
        record = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **facts}
        with (self.root / "log.jsonl").open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(record, ensure_ascii=False) + "\n")

    def write_json(self, name: str, facts: Mapping[str, Any]) -> None:
        """Write a JSON file of the run, whole."""
        write_json(self.root / name, facts)

    def read_json(self, name: str) -> dict[str, Any] | None:
        """A JSON file of the run, or None when it is not there."""
        path = self.root / name
        if not path.exists():
            return None
        facts: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return facts

    def write_manifest(self, facts: Mapping[str, Any]) -> None:
        """manifest.json: the facts given, and the sha256 and size of every output file."""
        files = {}
        for path in sorted(self.root.rglob("*")):
            relative = path.relative_to(self.root)
            kept = not ({"work", "checkpoints"} & set(relative.parts)) and relative.name not in (
                "manifest.json",
                "log.jsonl",
                ".lock",
                "report.html",
            )
            if path.is_file() and kept:
                files[str(relative)] = {"sha256": file_hash(path), "bytes": path.stat().st_size}
        self.write_json("manifest.json", {**facts, "files": files})

    # --- data sets ---

    def dataset(self, name: str) -> Path:
        """A data set's folder."""
        return self.root / name

    def work(self, dataset: str, place: str) -> Path:
        """Where one segment of a data set keeps its partitions."""
        return self.root / dataset / "work" / place

    def dataset_facts(self, name: str) -> dict[str, Any] | None:
        """dataset.json: key, files, funnel; None when the data set was not finished."""
        return self.read_json(f"{name}/dataset.json")

    def data_files(self, dataset: str, split: Split | None = None) -> list[Path]:
        """A finished data set's Parquet files, by language and split. Raises MissingInput when it is not there."""
        root = self.dataset(dataset) / "data"
        if not root.is_dir():
            raise MissingInput(
                f"{self.root} holds no data set '{dataset}': make it with factory run RECIPE --until data"
            )
        splits = SPLITS if split is None else (split,)
        return [path for folder in sorted(root.iterdir()) for one in splits for path in sorted(folder.glob(f"{one}-*"))]

    def rows(self, dataset: str, split: Split | None = None) -> Iterator[Row]:
        """Stream a finished data set."""
        for path in self.data_files(dataset, split):
            yield from read_rows(path)

    def write_dataset(
        self, name: str, tables: Iterator[pa.Table], rejects: Mapping[str, Iterator[pa.Table]]
    ) -> dict[str, dict[str, Any]]:
        """Write data/ and rejected/ anew, as streams, and swap them in; returns {relative path: rows, language, split}."""
        root = self.dataset(name)
        fresh = root / f".data.{os.getpid()}.tmp"
        (fresh / "data").mkdir(parents=True, exist_ok=True)
        (fresh / "rejected").mkdir(parents=True, exist_ok=True)
        kinds: dict[tuple[str, Split], Shards] = {}
        for table in tables:
            for kind, some in _by_kind(table):
                shards = kinds.setdefault(kind, Shards(fresh / "data" / kind[0], kind[1]))
                shards.add(some)
        files: dict[str, dict[str, Any]] = {}
        for (language, split), shards in kinds.items():
            shards.close()
            for path, rows in shards.rows.items():
                files[str(path.relative_to(fresh))] = {"rows": rows, "language": language, "split": split}
        for step, items in rejects.items():
            shards = Shards(fresh / "rejected", step)
            for table in items:
                shards.add(table)
            shards.close()
        (root / "dataset.json").unlink(
            missing_ok=True
        )  # from here until it is written again, the data set is unfinished
        for part in ("data", "rejected"):
            shutil.rmtree(root / part, ignore_errors=True)
            (fresh / part).replace(root / part)
        shutil.rmtree(fresh)
        return dict(sorted(files.items()))

    def columns(self, dataset: str, names: Sequence[str], split: Split | None = None) -> Iterator[dict[str, Any]]:
        """Stream some columns of a finished data set, so that counting reads no text."""
        import pyarrow.parquet as pq

        for path in self.data_files(dataset, split):
            with pq.ParquetFile(path, pre_buffer=False) as file:
                for batch in file.iter_batches(batch_size=5000, columns=list(names)):
                    yield from batch.to_pylist()

    def rejects(self, dataset: str) -> Iterator[Reject]:
        """Stream what a finished data set rejected, in the order of its steps."""
        for path in sorted((self.dataset(dataset) / "rejected").glob("*.parquet")):
            yield from read_rejects(path)

    def card(self, dataset: str) -> Path:
        """A data set's card."""
        return self.dataset(dataset) / "README.md"

    # --- training and scores ---

    def stage(self, name: str) -> Path:
        """A training stage's folder."""
        return self.root / "train" / name

    def adapter(self, stage: str) -> Path:
        """A finished stage's adapter. Raises MissingInput when the stage is not done."""
        facts = self.read_json(f"train/{stage}/stage.json")
        if facts is None:
            raise MissingInput(f"stage '{stage}' is not trained in {self.root}: factory run {self.root} --only train")
        return self.root / str(facts["adapter"])

    def stage_card(self, name: str) -> Path:
        """A training stage's model card."""
        return self.stage(name) / "README.md"

    def train_log(self, stage: str) -> list[dict[str, Any]]:
        """What a trainer wrote down as it went: {step, loss, lr, tokens} a line; one cut off by a kill is left out."""
        path = self.stage(stage) / "train_log.jsonl"
        lines = []
        for line in path.read_text("utf-8").splitlines() if path.exists() else ():
            try:
                lines.append(json.loads(line))
            except ValueError:
                continue
        return lines

    def evaluations(self) -> dict[str, dict[str, Any]]:
        """All evaluations done: {name: facts}."""
        found = sorted((self.root / "eval").glob("*.json"))
        return {path.stem: json.loads(path.read_text("utf-8")) for path in found}


def _by_kind(table: pa.Table) -> Iterator[tuple[tuple[str, Split], pa.Table]]:
    """A table's rows by language and split, each in their order."""
    kinds = list(zip(table.column("language").to_pylist(), table.column("split").to_pylist(), strict=True))
    found = dict.fromkeys(kinds)
    for kind in found:
        yield kind, table if len(found) == 1 else table.filter([each == kind for each in kinds])


def file_hash(path: Path) -> str:
    """sha256 of a file's content."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def key_of(*facts: object) -> str:
    """The name of a piece of work: a hash of everything that decides its result."""
    text = json.dumps([FORMAT, *facts], sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:20]
