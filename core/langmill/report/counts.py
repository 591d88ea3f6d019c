"""A finished data set counted, for the people's pages: rows, sources, licences, models, and its funnel step by step.

Everything is counted in one pass over the columns that are not text, so the size of a data set does not matter.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langmill.api import Augmenter
from langmill.disk.store import RunFolder
from langmill.recipe.assembly import Assembly
from langmill.recipe.dataset_plan import DatasetPlan, held
from langmill.rows import SPLITS, Row, Split

SAMPLES = 3
_Shape = tuple[bool, str, str]  # made by a model, kind, last step
_COLUMNS = ("id", "language", "split", "kind", "source", "licenses", "marks", "flags")


@dataclass
class Counts:
    """What a data set holds. Keys are spelled beside each counter; ``samples`` are ids of rows to show, by language."""

    rows: Counter[tuple[str, str]] = field(default_factory=Counter)  # language, split
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)  # language, kind
    sources: Counter[tuple[str, str]] = field(default_factory=Counter)  # source, language
    licenses: Counter[tuple[str, ...]] = field(default_factory=Counter)  # all licences of one row
    source_licenses: dict[str, set[str]] = field(default_factory=dict)
    writers: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # step, model, prompt
    made: int = 0  # rows with the mark of a model
    flags: Counter[str] = field(default_factory=Counter)
    demonstration: Counter[str] = field(default_factory=Counter)  # language
    samples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All rows."""
        return self.rows.total()

    @property
    def languages(self) -> list[str]:
        """The languages that have rows, sorted."""
        return sorted({language for language, _ in self.rows})

    @property
    def splits(self) -> list[str]:
        """The splits that have rows, in their usual order."""
        return [split for split in SPLITS if any(found == split for _, found in self.rows)]

    @property
    def kind_names(self) -> list[str]:
        """The kinds of body that there are."""
        return sorted({kind for _, kind in self.kinds})

    def in_language(self, language: str) -> int:
        """All rows of a language."""
        return sum(n for (found, _), n in self.rows.items() if found == language)

    def carrying(self, license: str) -> int:
        """The rows that carry a licence, alone or with others."""
        return sum(n for licenses, n in self.licenses.items() if license in licenses)

    @property
    def every_license(self) -> list[str]:
        """The union of all rows' licences."""
        return sorted({license for licenses in self.licenses for license in licenses})


def count(store: RunFolder, dataset: str, split: Split | None = None) -> Counts:
    """Count a finished data set, or one split of it. Raises MissingInput when it is not there."""
    counts = Counts()
    best: dict[str, dict[_Shape, list[tuple[bytes, str]]]] = {}
    for row in store.columns(dataset, _COLUMNS, split):
        language, licenses, marks = row["language"], tuple(row["licenses"]), row["marks"]
        counts.rows[language, row["split"]] += 1
        counts.kinds[language, row["kind"]] += 1
        counts.sources[row["source"], language] += 1
        counts.licenses[licenses] += 1
        counts.source_licenses.setdefault(row["source"], set()).update(licenses)
        counts.writers.update({(mark["step"], mark["model"], mark["prompt"]) for mark in marks})
        counts.made += bool(marks)
        counts.flags.update(row["flags"])
        if "demonstration" in row["flags"]:
            counts.demonstration[language] += 1
        shape = (bool(marks), row["kind"], marks[-1]["step"] if marks else "")
        ranked = (hashlib.sha256(row["id"].encode()).digest(), row["id"])
        alike = best.setdefault(language, {}).setdefault(shape, [])
        if len(alike) < SAMPLES or ranked < alike[-1]:
            alike.append(ranked)
            alike.sort()
            del alike[SAMPLES:]
    counts.samples = {language: _varied(shapes) for language, shapes in sorted(best.items())}
    return counts


def _varied(shapes: Mapping[_Shape, Sequence[tuple[bytes, str]]]) -> list[str]:
    """A few ids that differ in kind: one row as it came, the others made by a step where there are such, then any."""
    ids = {shape: [id for _, id in ranked] for shape, ranked in sorted(shapes.items())}
    plain = [found[0] for shape, found in ids.items() if not shape[0]]
    made = [found[0] for shape, found in ids.items() if shape[0]]
    more = [id for found in ids.values() for id in found[1:]]
    return [*plain[:1], *made[: SAMPLES - 1], *plain[1:], *made[SAMPLES - 1 :], *more][:SAMPLES]


def sample_rows(store: RunFolder, dataset: str, ids: Iterable[str]) -> dict[str, Row]:
    """Rows by id, from one pass over the data set; stops when all are found."""
    wanted = set(ids)
    found: dict[str, Row] = {}
    for row in store.rows(dataset) if wanted else ():
        if row.id in wanted:
            found[row.id] = row
            if len(found) == len(wanted):
                break
    return found


# --- the funnel -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One line of a step: what happened, to how many rows of each language. ``sign`` says how it moves the number of rows:
    ``+`` came, ``-`` left, ``=`` what is there after the step, empty where it does not."""

    sign: str
    label: str
    reason: str
    counts: Mapping[str, int]

    @property
    def total(self) -> int:
        """Over all languages."""
        return sum(self.counts.values())

    def of(self, languages: Iterable[str]) -> int:
        """Over some languages."""
        return sum(self.counts.get(language, 0) for language in languages)


@dataclass(frozen=True)
class Step:
    """One step of a data set with what it counted, by language."""

    name: str
    number: int | None
    counts: Mapping[str, Mapping[str, int]]

    @property
    def reads(self) -> bool:
        """Whether this is the reading of a source."""
        return self.name.startswith("read ")

    def by_language(self, what: str) -> dict[str, int]:
        """How many rows of each language; ``out`` is what is there after the step."""
        if what == "out":
            return {language: n.get("kept", 0) + n.get("made", 0) for language, n in self.counts.items()}
        return {language: n[what] for language, n in self.counts.items() if n.get(what)}

    def total(self, what: str) -> int:
        """Over all languages; ``rejected`` and ``skipped`` add up their reasons."""
        if what in ("rejected", "skipped", "flagged"):
            return sum(self.total(f"{what}:{reason}") for reason in self.reasons(what))
        return sum(self.by_language(what).values())

    def reasons(self, what: str) -> dict[str, int]:
        """The reasons behind ``rejected``, ``skipped`` or ``flagged``, the commonest first."""
        found: Counter[str] = Counter()
        for counts in self.counts.values():
            for name, n in counts.items():
                if name.startswith(f"{what}:"):
                    found[name.split(":", 1)[1]] += n
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    @property
    def why(self) -> str:
        """All reasons in one line of words."""
        kinds = ((what, self.reasons(what)) for what in ("rejected", "skipped", "flagged"))
        listed = (
            f"{what}: {', '.join(f'{reason} {n:,}' for reason, n in found.items())}" for what, found in kinds if found
        )
        return "; ".join(listed)

    @property
    def lines(self) -> list[Line]:
        """The step as an account: what came in, what was made and what left, what is there after."""
        gone = self.total("read") - self.total("kept") - self.total("replaced") - self.total("dropped")
        lines = [Line("", "read" if self.reads else "in", "", self.by_language("read"))]
        for what, sign in (("made", "+"), ("replaced", "-"), ("dropped", "-")):
            if counts := self.by_language(what):
                lines.append(Line(sign, _WORDS[what], "", counts))
        for reason in self.reasons("rejected"):
            # Of a step that makes rows it is the work that was rejected; its parent stays, or was counted just above.
            sign, label = ("-", "rejected") if gone else ("", "work rejected")
            lines.append(Line(sign, label, reason, self.by_language(f"rejected:{reason}")))
        for reason in self.reasons("skipped"):
            lines.append(Line("-" if self.reads else "", "skipped", reason, self.by_language(f"skipped:{reason}")))
        for reason in self.reasons("flagged"):
            lines.append(Line("", "flagged", reason, self.by_language(f"flagged:{reason}")))
        lines.append(Line("=", "kept" if self.reads else "out", "", self.by_language("out")))
        return lines


_WORDS = {"made": "made", "replaced": "parents replaced", "dropped": "parents dropped with their work"}


def funnel(plan: DatasetPlan, facts: Mapping[str, Any]) -> list[Step]:
    """The steps of a finished data set in the order they were taken."""
    order = [(step.use, number) for number, step in enumerate(plan.steps)]
    steps: list[Step] = []
    for segment in facts["funnel"]:
        named: dict[str, dict[str, Mapping[str, int]]] = {}
        for key, counts in segment["counts"].items():
            name, _, language = key.partition("\t")
            named.setdefault(name, {})[language] = counts
        first = segment["segment"].split(" ")[0]
        start = int(first) if first.isdecimal() else 0
        numbers = {use: number for use, number in reversed(order) if number >= start}
        for name in sorted(named, key=lambda name: (numbers.get(name, len(order)), name)):
            steps.append(Step(name, None if name.startswith("read ") else numbers.get(name), named[name]))
    return steps


# --- guards ---


@dataclass(frozen=True)
class Guarding:
    """A step with a model over whose work guards stand: their names, on and off."""

    dataset: str
    use: str
    on: tuple[str, ...]
    off: tuple[str, ...]
    further: tuple[str, ...]


def guarding(assembly: Assembly, dataset: str) -> list[Guarding]:
    """The guards over a data set's rows: of its steps, and of those of the data sets it is made from."""
    plan = assembly.datasets[dataset]
    found = [each for name in plan.inputs if name in assembly.datasets for each in guarding(assembly, name)]
    for step in plan.steps:
        if isinstance(step.part, Augmenter):
            guards = step.part.guarded()
            on, off = (tuple(name for name, is_on in guards.items() if is_on is wanted) for wanted in (True, False))
            found.append(Guarding(dataset, step.use, on, off, step.part.further_checks()))
    return found


# --- contamination ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """A step that held rows of ``dataset`` against other data sets, and what it took out: rows by kind of evidence and
    language."""

    dataset: str
    use: str
    against: tuple[str, ...]
    evidence: Counter[tuple[str, str]]

    @property
    def rejected(self) -> int:
        """All rows that it took out."""
        return self.evidence.total()

    @property
    def kinds(self) -> dict[str, dict[str, int]]:
        """Rows by kind of evidence, the commonest first, and there by language."""
        found: dict[str, dict[str, int]] = {}
        for (kind, language), n in sorted(self.evidence.items()):
            found.setdefault(kind, {})[language] = n
        return dict(sorted(found.items(), key=lambda item: -sum(item[1].values())))


def checks(assembly: Assembly, store: RunFolder, dataset: str) -> list[Check]:
    """How contamination of a data set was checked: its steps that hold rows against other data sets, and those of the
    data sets it is made from. The detail of a reject `contaminated` begins with the kind of evidence and a colon."""
    plan = assembly.datasets[dataset]
    found = [check for name in plan.inputs if name in assembly.datasets for check in checks(assembly, store, name)]
    evidence = {step.place: Counter[tuple[str, str]]() for step in plan.steps if step.against}
    for reject in store.rejects(dataset) if evidence else ():
        if reject.step in evidence:
            kind = reject.detail.partition(":")[0] if reject.reason == "contaminated" else reject.reason
            evidence[reject.step][kind, reject.language] += 1
    return [
        *found,
        *(Check(dataset, step.use, step.against, evidence[step.place]) for step in plan.steps if step.against),
    ]


def unchecked(assembly: Assembly, dataset: str) -> list[str]:
    """The data sets that evaluators ask and against which a data set was never held; itself only if it is trained on."""
    known = held(assembly.datasets[dataset], assembly.datasets)
    if not any(stage.data == dataset for stage in assembly.stages):
        known.add(dataset)
    return [name for name in assembly.benchmarks if name not in known]
