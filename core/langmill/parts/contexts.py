"""What parts are handed: the context of a source and of a step, and a model that is already behind the ledger."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel

from langmill.errors import LanguageNotWritten, MissingInput, RowFault, nearest
from langmill.parts.languages import Pack, Prompt
from langmill.rows import Body, Drop, Mark, Message, Origin, Reject, Row, Skip, Split, split_of

Schema = TypeVar("Schema", bound=BaseModel)
UNFIT = ("schema", "truncated", "empty", "refusal")
"""Reasons of answers that are of no use, whatever was asked."""
EVAL = "eval"
"""In a step's ``against``: all data sets that eval: asks. No data set is called so."""


@dataclass(frozen=True)
class Context:
    """What every part is handed: no globals. ``place`` is the part's place in the recipe, e.g. ``datasets.ift.steps[1]``."""

    place: str
    seed: int
    languages: Mapping[str, Pack]
    folder: Path
    data_dir: Path | None = None
    offline: bool = False

    def path(self, text: str) -> Path:
        """A path of the recipe: below ``$data_dir``, absolute, or beside the recipe. Raises MissingInput for an unset data_dir."""
        if text == "$data_dir" or text.startswith("$data_dir/"):
            if self.data_dir is None:
                raise MissingInput(
                    f"{self.place}: '{text}' needs a data folder: set FACTORY_DATA=DIR, or data_dir: in the recipe"
                )
            return self.data_dir / text.removeprefix("$data_dir").lstrip("/")
        return self.folder / text

    def pack(self, language: str) -> Pack:
        """The pack of a language. Raises MissingInput when no plugin brings one."""
        if language not in self.languages:
            raise MissingInput(
                f"{self.place}: no language pack '{language}': {nearest(language, self.languages)}. "
                f"Make one with: factory new language {language}"
            )
        return self.languages[language]

    def seed_for(self, *parts: object) -> int:
        """A seed that depends on the recipe's seed and on these words alone, so that no order of work can change it."""
        text = "\0".join(str(part) for part in (self.seed, *parts))
        return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:4], "big")


@dataclass(frozen=True)
class SourceContext(Context):
    """What a loader is handed; makes its rows, so that ids, splits and licences are alike in every source."""

    source: str = ""
    license: str = ""
    shares: tuple[tuple[Split, float], ...] = ()
    splits: Mapping[Split, Split | None] = field(default_factory=dict)
    records: Counter[str] = field(default_factory=Counter, compare=False)
    """Rows and rejects made so far, by the split that the source itself gives them (empty: none)."""

    def row(
        self,
        record: str | int,
        language: str,
        body: Body,
        *,
        split: Split | None = None,
        family: str | None = None,
        flags: tuple[str, ...] = (),
    ) -> Row:
        """A row of this source. Without a split of its own a hash of the family decides; parallel editions share a family."""
        name = f"{self.source}/{record}"
        family = family or name
        self.records[split or ""] += 1
        split = self.splits.get(split, split) if split else None
        split = split or split_of(family, self.seed, self.shares)
        return Row(name, language, split, family, body, Origin(self.source, str(record), (self.license,)), flags)

    def reject(
        self,
        record: str | int,
        reason: str,
        detail: str = "",
        *,
        excerpt: str = "",
        language: str = "",
        split: Split | None = None,
    ) -> Reject:
        """A record that can not become a row. ``reason`` is a countable word, ``split`` the source's own, for the count of records."""
        self.records[split or ""] += 1
        return Reject(self.source, str(record), f"sources.{self.source}", reason, detail, excerpt[:200], language)


@dataclass(frozen=True)
class Reply(Generic[Schema]):
    """An answer that fitted its schema, and the marks to leave on the rows made of it: the last one is the answer's own, those
    before are of answers that it mends. ``faults`` is what a check still finds in it."""

    value: Schema
    marks: tuple[Mark, ...]
    faults: tuple[Drop, ...] = ()

    @property
    def repaired(self) -> bool:
        """Whether it mends an earlier answer."""
        return len(self.marks) > 1

    def sound(self) -> Reply[Schema]:
        """Itself. Raises RowFault, with every fault in its detail, when a check found any."""
        if self.faults:
            first, *more = self.faults
            told = [first.detail, *(f"{fault.reason}: {fault.detail}" for fault in more)]
            raise RowFault(first.reason, "; ".join(told))
        return self


Check = Callable[[Any], Awaitable[Sequence[Drop]]]
"""What is wrong with an answer that fits its schema; nothing when it may be used. May ask a model itself."""
REPAIR = "That answer can not be used as it is:\n{faults}\nGive the whole answer once more with that mended and all else as it was."


class Model(Protocol):
    """A model as an augmenter sees it: already behind the ledger, the budget, the limits and the retries."""

    @property
    def name(self) -> str:
        """PROVIDER/MODEL."""
        ...

    @property
    def languages(self) -> frozenset[str] | None:
        """The languages the model says it writes; None when it does not say."""
        ...

    async def answer(
        self, prompt: Prompt, schema: type[Schema], *, step: str, language: str, seed: int, sample: int = 0
    ) -> Reply[Schema]:
        """Ask for an answer in ``language`` that fits ``schema``. Raises RowFault (the row is rejected with its reason:
        schema, refusal, truncated, empty, provider) or LanguageNotWritten (the row is skipped)."""
        ...


def held_against(against: str | Sequence[str] | None, benchmarks: Iterable[str]) -> tuple[str, ...]:
    """The data sets that a step's ``against`` means, each once; ``benchmarks`` is what ``eval`` stands for."""
    names = (against,) if isinstance(against, str) else against or ()
    asked = tuple(benchmarks)
    return tuple(dict.fromkeys(one for name in names for one in (asked if name == EVAL else (name,))))


class Around:
    """A model round another one, whose name and languages it keeps: what asking does is for subclasses to say."""

    def __init__(self, model: Model):
        self.model = model

    @property
    def name(self) -> str:
        """The inner model's."""
        return self.model.name

    @property
    def languages(self) -> frozenset[str] | None:
        """The inner model's."""
        return self.model.languages


@dataclass(frozen=True)
class StepContext(Context):
    """What a filter or an augmenter is handed. ``rows(dataset, split)`` streams an earlier data set, or what there is so far of
    the step's own, ``whole`` is False where that lacks rows (a run with --limit, and a plan: no model was asked yet);
    ``benchmarks`` has the splits that eval: asks, by data set; ``models`` gives others of the recipe's models."""

    llm: Model | None = None
    rows: Callable[[str, Split | None], Iterator[Row]] = field(default=lambda dataset, split: iter(()))
    benchmarks: Mapping[str, tuple[Split, ...]] = field(default_factory=dict)
    models: Callable[[str], Model] | None = None
    whole: bool = True

    def held_against(self, against: str | Sequence[str]) -> tuple[str, ...]:
        """The data sets that a step's ``against`` means."""
        return held_against(against, self.benchmarks)

    async def ask(
        self,
        row: Row,
        step: str,
        prompt: Prompt,
        schema: type[Schema],
        *,
        language: str = "",
        sample: int = 0,
        check: Check | None = None,
        repair: bool = False,
    ) -> Reply[Schema]:
        """Ask the step's model about a row, in the row's language unless another is named. A model that says which
        languages it has must have both: what it can not read it can not translate either.

        What ``check`` finds goes back to the model once, when ``repair`` is asked for, as a call of its own (``…repair``); what is
        found then is in the reply's ``faults``. An answer that was asked for once more and does not fit its schema leaves the
        first one's faults.
        """
        if self.llm is None:
            raise MissingInput(f"{self.place}: this step asks a model, and the recipe has no llm:")
        language = language or row.language
        for needed in (row.language, language):
            if self.llm.languages is not None and needed not in self.llm.languages:
                raise LanguageNotWritten(self.llm.name, needed)
        seed = self.seed_for(row.id, step)
        reply = await self.llm.answer(prompt, schema, step=step, language=language, seed=seed, sample=sample)
        faults = tuple(await check(reply.value)) if check else ()
        if not check or not faults or not repair:
            return replace(reply, faults=faults)
        listed = "\n".join(f"- {fault.reason}: {fault.detail}" for fault in faults)
        said = Message("assistant", reply.value.model_dump_json())
        asked = Message("user", REPAIR.format(faults=listed))
        again = Prompt((*prompt.messages, said, asked), f"{prompt.hash}+repair")
        try:
            mended = await self.llm.answer(
                again, schema, step=f"{step}.repair", language=language, seed=seed, sample=sample
            )
        except RowFault as fault:
            if fault.reason not in UNFIT:
                raise
            return replace(reply, faults=faults)
        return replace(mended, marks=(*reply.marks, *mended.marks), faults=tuple(await check(mended.value)))

    async def gather(self, jobs: Iterable[Awaitable[Row]]) -> list[Row | Drop | Skip]:
        """Await several jobs of one row: each one's fault becomes its own drop or skip and spoils no other."""

        async def one(job: Awaitable[Row]) -> Row | Drop | Skip:
            try:
                return await job
            except LanguageNotWritten as fault:
                return Skip(fault.reason, fault.detail)
            except RowFault as fault:
                return Drop(fault.reason, fault.detail)

        # All of them end before the row does, whatever one of them meets: a call left behind would be paid for and lost.
        ended = await asyncio.gather(*(one(job) for job in jobs), return_exceptions=True)
        return [_or_raised(item) for item in ended]


def _or_raised(item: Row | Drop | Skip | BaseException) -> Row | Drop | Skip:
    if isinstance(item, BaseException):
        raise item
    return item
