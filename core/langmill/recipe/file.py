"""The shape of a recipe, and where each of its words was said: in the file, in a profile, or on the command line.

Only the shape: which parts exist and what options they take is for the registry. A profile is an overlay: mappings
merge deeply, anything else replaces, null removes. A name that a profile adds stands before the next of its names that was there, so
that it can add a data set that later ones refer to; without one it stands last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from langmill.errors import Fault, RecipeError, nearest
from langmill.recipe.shape import described, explained, inside, validated
from langmill.yaml12 import Document, Loc, draft_file, load_value, place_of

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
FolderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
COMMAND_LINE = "--set"


class Shape(BaseModel):
    """A closed piece of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Use(Shape):
    """A part: its name and its options, which the part itself checks."""

    model_config = ConfigDict(extra="allow")
    use: str = Field(min_length=1, description="the part's name: factory plugins lists them")


class ModelShape(Shape):
    """A model that answers, and its options."""

    model_config = ConfigDict(extra="allow")
    model: str = Field(pattern=r"^[^/\s]+/\S", description="PROVIDER/MODEL: the one word that swaps the provider")


class DatasetShape(Shape):
    """A data set: what it is made from, what is done to it, how it is written."""

    inputs: tuple[str, ...] = Field(alias="from", min_length=1, description="sources, or earlier data sets")
    steps: tuple[Use, ...] = Field((), description="filters and augmenters, in order")
    write: tuple[Use, ...] = Field((), description="more shapes to write it in; Parquet per language is always written")


class RunShape(Use):
    """Where the work runs: an executor and its options."""

    use: str = Field("local", min_length=1, description="the executor's name")


class TrainShape(Use):
    """A trainer, its options, and its stages."""

    stages: tuple[dict[str, Any], ...] = Field(min_length=1, description="training stages, in order")
    allow_unchecked: bool = Field(False, description="train on data that was not held against what eval: asks")


class Recipe(Shape):
    """A recipe whole. What is left out has the default said here."""

    name: FolderName = Field(description="also the name of the run's folder")
    seed: int = Field(17, ge=0, description="what every random choice is derived from")
    languages: tuple[str, ...] = Field(min_length=1, description="codes of language packs")
    purpose: Literal["research", "commercial"] = Field("research", description="what the data is for")
    plugins: tuple[str, ...] = Field((), description="plugin files of your own beside this recipe")
    run: RunShape = Field(default_factory=RunShape, description="where the work runs")
    budget: float | None = Field(None, ge=0, allow_inf_nan=False, description="most US dollars to spend on calls")
    max_rejected: float = Field(1.0, ge=0, le=1, description="share of rows rejected above which the exit code is 4")
    data_dir: str | None = Field(None, min_length=1, description="folder of public sets; FACTORY_DATA when left out")
    llm: ModelShape | None = Field(None, description="the model that steps ask")
    models: dict[Name, ModelShape] = Field({}, description="more models, by name")
    sources: dict[Name, Use] = Field({}, description="where rows come from")
    datasets: dict[Name, DatasetShape] = Field({}, description="what is made, in this order")
    train: TrainShape | None = Field(None, description="what is trained on it")
    eval: tuple[Use, ...] = Field((), description="what is scored")
    profiles: dict[Name, dict[str, Any]] = Field({}, description="overlays, picked with --profile")

    @property
    def allows_unchecked(self) -> bool:
        """Whether data that was not held against what eval: asks is trained on."""
        return self.train is not None and self.train.allow_unchecked


# --- where a value was said ---


@dataclass
class Placed:
    """A value with the place it was said. ``gone`` keeps the places where keys of a mapping were removed."""

    value: Any
    file: str
    line: int
    gone: dict[str, Placed] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Document, data: Any, loc: Loc) -> Placed:
        """What a document says at ``loc``, with its lines."""
        value = data
        if isinstance(data, dict):
            value = {key: cls.of(document, item, (*loc, key)) for key, item in data.items()}
        elif isinstance(data, list):
            value = [cls.of(document, item, (*loc, index)) for index, item in enumerate(data)]
        return cls(value, document.name, document.line(loc))

    @classmethod
    def typed(cls, value: Any, number: int) -> Placed:
        """What the command line's ``--set`` number ``number`` (from 1) says."""
        return cls.of(Document(COMMAND_LINE, value, {(): number}), value, ())

    def plain(self) -> Any:
        """The value without its places."""
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        return [item.plain() for item in self.value] if isinstance(self.value, list) else self.value

    def nearest(self, loc: Loc) -> Placed:
        """What stands (or was removed) at ``loc``, or its nearest ancestor."""
        here = self
        for step in loc:
            found = inside(here.value, step)
            if found is None:
                return here.gone.get(str(step), here)
            here = found
        return here

    def overlaid(self, over: Placed) -> Placed:
        """This value under an overlay."""
        if not isinstance(over.value, dict):
            return over
        result = Placed({}, over.file, over.line)
        if isinstance(self.value, dict):
            result = Placed(dict(self.value), self.file, self.line, dict(self.gone))
        for key, item in over.value.items():
            if key not in result.value:
                result.value[key] = (
                    item  # there is nothing to merge with or to remove: it stands as it is said, null too
                )
            elif item.value is None:
                del result.value[key]
                result.gone[key] = item
            else:
                result.value[key] = result.value[key].overlaid(item)
        old = list(self.value) if isinstance(self.value, dict) else []
        result.value = {key: result.value[key] for key in _in_order(old, list(over.value)) if key in result.value}
        return result


def _in_order(old: list[str], over: list[str]) -> list[str]:
    """The names of a mapping under an overlay: new ones before the next of the overlay's that is old."""
    made, following = list(old), None
    for name in reversed(over):
        if name not in made:
            made.insert(made.index(following) if following else len(made), name)
        following = name
    return made


def _assign(top: Placed, text: str, number: int) -> Fault | None:
    """Do what ``--set a.b.0.c=value`` says, making mappings on the way; null removes a key. A fault if it can not."""
    path, equals, value = text.partition("=")
    steps = re.sub(r"\[(\d+)\]", r".\1", path.strip()).split(".")
    if not equals or not all(steps):
        return Fault(COMMAND_LINE, number, text, "is not key=value, for example llm.model=local/NAME")
    try:
        placed = Placed.typed(load_value(value), number)
    except RecipeError as error:
        return Fault(COMMAND_LINE, number, path, "; ".join(fault.message for fault in error.faults))
    if steps[0] == "profiles":
        return Fault(COMMAND_LINE, number, path, "a profile is merged before --set: set the key itself")
    here = top
    for depth, step in enumerate(steps):
        last = depth == len(steps) - 1
        here.value = {} if here.value is None else here.value
        if isinstance(here.value, list):
            if not step.isdecimal() or int(step) >= len(here.value):
                return Fault(COMMAND_LINE, number, path, f"no item '{step}': {_numbers(steps[:depth], here.value)}")
            if last:
                here.value[int(step)] = placed
            else:
                here = here.value[int(step)]
        elif isinstance(here.value, dict):
            if last and placed.value is None:
                here.value.pop(step, None)
                here.gone[step] = placed
            elif last:
                here.value[step] = placed
            else:
                here = here.value.setdefault(step, Placed({}, COMMAND_LINE, number))
        else:
            found = f"'{'.'.join(steps[:depth])}' is {described(here.value)}"
            return Fault(COMMAND_LINE, number, path, f"{found}, which has no '{step}' inside")
    return None


def _numbers(steps: Sequence[str], items: Sequence[object]) -> str:
    where = ".".join(steps)
    return f"'{where}' has items 0 to {len(items) - 1}" if items else f"'{where}' is an empty list"


# --- the file ---


@dataclass(frozen=True)
class RecipeFile:
    """A recipe with its profile and ``--set`` merged in. ``merged`` is plain data, as recipe.lock.yaml holds it. ``origin`` is
    the folder that the recipe came from, for the copy of it that lies in a run's folder."""

    path: Path
    profile: str | None
    merged: dict[str, Any]
    faults: tuple[Fault, ...]
    placed: Placed = field(repr=False)
    origin: Path | None = None

    @property
    def folder(self) -> Path:
        """The folder that relative paths of the recipe start from."""
        return self.origin or self.path.absolute().parent

    @property
    def recipe(self) -> Recipe:
        """The recipe's shape. Raises RecipeError with the faults of the shape."""
        if self.faults:
            raise RecipeError(self.faults)
        return validated(Recipe, self.merged)

    def fault(self, loc: Loc, message: str) -> Fault:
        """A fault at a location of the merged recipe, with the file and line that said it."""
        here = self.placed.nearest(loc)
        return Fault(here.file, here.line, place_of(loc), message)

    def mapping(self, *loc: str | int) -> dict[str, Any]:
        """The mapping at a location; empty when something else stands there (which is a fault already)."""
        value = self._at(loc)
        return value if isinstance(value, dict) else {}

    def items(self, *loc: str | int) -> Iterator[tuple[Loc, Any]]:
        """The items of the list at a location, each with its own location."""
        value = self._at(loc)
        if isinstance(value, list):
            yield from (((*loc, index), item) for index, item in enumerate(value))

    def _at(self, loc: Loc) -> Any:
        value: Any = self.merged
        for step in loc:
            value = inside(value, step)
        return value


def read_recipe(path: Path, profile: str | None = None, sets: Sequence[str] = ()) -> RecipeFile:
    """Read a recipe, overlay a profile, apply ``key=value`` words. Raises RecipeError with every fault of its shape."""
    file = draft_recipe(path, profile, sets)
    if file.faults:
        raise RecipeError(file.faults)
    return file


def draft_recipe(path: Path, profile: str | None = None, sets: Sequence[str] = ()) -> RecipeFile:
    """As :func:`read_recipe`, with the faults in ``faults``, to be told with others. Raises where it is not YAML."""
    document = draft_file(path)
    faults = list(document.faults)
    data = document.data
    if not isinstance(data, dict):
        message = f"found {described(data)}: a recipe is a mapping, which begins with name:"
        raise RecipeError([*faults, document.fault((), message)])
    profiles = data.get("profiles")
    placed = Placed.of(document, {key: item for key, item in data.items() if key != "profiles"}, ())
    if profile is not None:
        overlay = profiles.get(profile) if isinstance(profiles, dict) else None
        if isinstance(overlay, dict):
            over = Placed.of(document, overlay, ("profiles", profile))
            if "profiles" in over.value:
                faults.append(document.fault(("profiles", profile, "profiles"), "a profile has no profiles inside"))
                del over.value["profiles"]
            placed = placed.overlaid(over)
        elif overlay is None:
            known = profiles if isinstance(profiles, dict) else {}
            faults.append(document.fault(("profiles",), f"no profile '{profile}': {nearest(profile, known)}"))
    for number, text in enumerate(sets, 1):
        if fault := _assign(placed, text, number):
            faults.append(fault)
    file = RecipeFile(path, profile, placed.plain(), (), placed)
    try:
        validated(Recipe, file.merged)
    except ValidationError as error:
        faults += [file.fault(loc, message) for loc, message in explained(error, Recipe, file.merged)]
    try:
        validated(Recipe, {"name": "x", "languages": ["x"], "profiles": profiles or {}})
    except ValidationError as error:
        faults += [document.fault(loc, text) for loc, text in explained(error, Recipe, {"profiles": profiles})]
    return RecipeFile(path, profile, file.merged, tuple(faults), placed)
