"""What every registered part must be: documented, closed, described option by option, and the same after a trip as JSON."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from langmill.api import Augmenter, DatasetFilter, Filter, Loader, Part
from langmill.recipe.registry import KINDS, Registry
from langmill.recipe.shape import validated

REGISTRY = Registry.of_installed()
PARTS = [(kind, use) for kind in KINDS for use in REGISTRY.names(kind)]
NEEDED: dict[str, Any] = {
    "path": "data/x.jsonl", "license": "CC0-1.0", "body": "chat", "against": "exams", "into": ["fr"], "base": "local/x",
    "data": "exams", "models": ["base"], "answers": "script.jsonl", "stands_for": "openai/x", "revision": "0" * 40,
    "language": "en", "tokenizer": "local/x",
}  # fmt: skip
"""Values for options that have no default."""


def part_of(kind: str, use: str) -> type[Part]:
    return REGISTRY.get(kind, use)


def example(kind: str, use: str) -> Part:
    """The part with its defaults, and any value for what has none."""
    cls = part_of(kind, use)
    options = {name: NEEDED[name] for name, info in cls.model_fields.items() if info.is_required() and name != "model"}
    if "model" in cls.model_fields:
        options["model"] = {"local": "local/smollm2-135m-instruct", "replay": "replay/openai/x"}.get(use, f"{use}/x")
    if use == "huggingface":
        options["path"] = "owner/name"
    return validated(cls, options)


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The pydantic models inside an annotation."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models_in(inner)


def fields_of(cls: type[BaseModel], place: str = "") -> Iterator[tuple[str, Any]]:
    """Every option, those of options that are mappings included."""
    for name, info in cls.model_fields.items():
        yield f"{place}{name}", info
        for inner in models_in(info.annotation):
            yield from fields_of(inner, f"{place}{name}.")


def test_all_kinds_have_parts() -> None:
    assert REGISTRY.broken == {}
    assert {kind for kind, _ in PARTS} == set(KINDS)
    assert len(PARTS) > 35


def test_steps_have_one_name_each() -> None:
    assert not set(REGISTRY.names("filters")) & set(REGISTRY.names("augmenters"))


@pytest.mark.parametrize(("kind", "use"), PARTS)
def test_names_are_lower_case_words(kind: str, use: str) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", use)


@pytest.mark.parametrize(("kind", "use"), PARTS)
def test_help_begins_with_a_line_of_its_own(kind: str, use: str) -> None:
    cls = part_of(kind, use)
    own = cls.__dict__.get("__doc__") or ""
    first = own.strip().split("\n")[0]
    assert len(first) > 10, f"{cls.__name__} has no help"
    assert first[0].isupper()


@pytest.mark.parametrize(("kind", "use"), PARTS)
def test_every_option_is_described(kind: str, use: str) -> None:
    silent = [place for place, info in fields_of(part_of(kind, use)) if not (info.description or "").strip()]
    assert silent == []


@pytest.mark.parametrize(("kind", "use"), PARTS)
def test_options_are_closed_and_frozen(kind: str, use: str) -> None:
    cls = part_of(kind, use)
    assert cls.model_config["extra"] == "forbid"
    assert cls.model_config["frozen"]


@pytest.mark.parametrize(("kind", "use"), PARTS)
def test_options_survive_json(kind: str, use: str) -> None:
    part = example(kind, use)
    plain = part.model_dump(mode="json")
    again = validated(type(part), json.loads(json.dumps(plain)))
    assert again.model_dump(mode="json") == plain
    assert again == part
    assert REGISTRY.part(kind, use, plain, "place").model_dump(mode="json") == plain, "as another process builds it"


@pytest.mark.parametrize(("kind", "use"), PARTS)
def test_defaults_pass_their_own_rules(kind: str, use: str) -> None:
    """A default is not checked when a part is built; written out by hand in a recipe it would be."""
    cls = part_of(kind, use)
    defaults = {
        name: info.get_default(call_default_factory=True)
        for name, info in cls.model_fields.items()
        if not info.is_required() and info.get_default(call_default_factory=True) is not PydanticUndefined
    }
    told = json.loads(example(kind, use).model_dump_json(include=set(defaults)))
    example_options = json.loads(example(kind, use).model_dump_json())
    assert validated(cls, {**example_options, **told})


@pytest.mark.parametrize(("kind", "use"), PARTS)
def test_the_one_method_is_there(kind: str, use: str) -> None:
    cls = part_of(kind, use)
    assert not inspect.isabstract(cls)
    if issubclass(cls, Filter):
        methods = ("sign", "decide") if issubclass(cls, DatasetFilter) else ("judge",)
        base = DatasetFilter if issubclass(cls, DatasetFilter) else Filter
        assert all(getattr(cls, name) is not getattr(base, name) for name in methods)
    if issubclass(cls, Filter | Augmenter):
        assert cls.bodies
    if issubclass(cls, Augmenter):
        assert inspect.iscoroutinefunction(cls.augment)
        assert cls.model_fields["splits"].default == ("train",), "rows of dev and test are not touched"
    if issubclass(cls, Loader):
        assert inspect.isgeneratorfunction(cls.load)
