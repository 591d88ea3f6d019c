"""All that a plugin may import: the row, the nine kinds of part, what they are handed and what they give back.

Nothing here is heavy; a part imports what it needs inside the method that needs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pluggy
from pydantic import Field

from langmill.disk.seen import Seen
from langmill.disk.whole import whole_folder, write_json
from langmill.errors import (
    FactoryError,
    LanguageNotWritten,
    MissingInput,
    ProviderDown,
    RecipeError,
    RowFault,
    missing_package,
    nearest,
)
from langmill.parts.contexts import UNFIT, Check, Context, Model, Reply, Schema, SourceContext, StepContext
from langmill.parts.evaluation import Answered, EvalContext, Evaluator, Item, JudgeCall, Marked, Metric, Score, Table
from langmill.parts.filters import DatasetFilter, Facts, Filter, IndexedFilter, Signed
from langmill.parts.forecasts import Reach, Room, RowAhead, StageForecast
from langmill.parts.kinds import (
    Augmenter,
    Executor,
    Expect,
    Exporter,
    FollowUp,
    Gives,
    Loader,
    Stage,
    Trainer,
    TrainJob,
)
from langmill.parts.languages import Pack, Prompt, packs_in
from langmill.parts.part import Part
from langmill.parts.providers import LLM, Answer, BatchItem, CallError, Likelihood, Price, Question, Unlisted
from langmill.rows import (
    SPLITS,
    Body,
    Chat,
    Choice,
    Drop,
    Flag,
    Mark,
    Message,
    Origin,
    Reject,
    Role,
    Row,
    Skip,
    Split,
    Text,
    split_of,
    words,
)
from langmill.yaml12 import dump as yaml_text

hookimpl = pluggy.HookimplMarker("langmill")


@dataclass(frozen=True)
class PackagedModel:
    """A small model that travels inside a package, and what may be said of it."""

    name: str
    sha256: str
    languages: frozenset[str]
    eos_token: str | None
    pad_token: str | None
    demonstration: bool
    offline: bool = False

    @property
    def path(self) -> Path:
        """Its file on this machine, fetched when it is not there yet. Raises MissingInput when it can not be had."""
        from langmill import models

        return models.path(self.name, self.offline)


def packaged_model(name: str, offline: bool = False) -> PackagedModel:
    """A packaged model by name; nothing is fetched until its path is asked for. Raises MissingInput for an unknown name."""
    from langmill import models

    known = models.get(name)
    demonstration = known.fit_for == "demonstration"
    return PackagedModel(name, known.sha256, frozenset(known.languages), known.eos, known.pad, demonstration, offline)


__all__ = [
    "LLM",
    "SPLITS",
    "UNFIT",
    "Answer",
    "Answered",
    "Augmenter",
    "BatchItem",
    "Body",
    "CallError",
    "Chat",
    "Check",
    "Choice",
    "Context",
    "DatasetFilter",
    "Drop",
    "EvalContext",
    "Evaluator",
    "Executor",
    "Expect",
    "Exporter",
    "FactoryError",
    "Facts",
    "Field",
    "Filter",
    "Flag",
    "FollowUp",
    "Gives",
    "IndexedFilter",
    "Item",
    "JudgeCall",
    "LanguageNotWritten",
    "Likelihood",
    "Loader",
    "Mark",
    "Marked",
    "Message",
    "Metric",
    "MissingInput",
    "Model",
    "Origin",
    "Pack",
    "PackagedModel",
    "Part",
    "Price",
    "Prompt",
    "ProviderDown",
    "Question",
    "Reach",
    "RecipeError",
    "Reject",
    "Reply",
    "Role",
    "Room",
    "Row",
    "RowAhead",
    "RowFault",
    "Schema",
    "Score",
    "Seen",
    "Signed",
    "Skip",
    "SourceContext",
    "Split",
    "Stage",
    "StageForecast",
    "StepContext",
    "Table",
    "Text",
    "TrainJob",
    "Trainer",
    "Unlisted",
    "hookimpl",
    "missing_package",
    "nearest",
    "packaged_model",
    "packs_in",
    "split_of",
    "whole_folder",
    "words",
    "write_json",
    "yaml_text",
]  # fmt: skip
