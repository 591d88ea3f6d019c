"""Plain data held against a pydantic model, strictly, with every fault in our words: found, possible, nearest name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from langmill.errors import nearest
from langmill.yaml12 import Loc

Shaped = TypeVar("Shaped", bound=BaseModel)


def validated(model: type[Shaped], data: Mapping[str, Any]) -> Shaped:
    """A model of plain data, strictly: text is no number, a truth value neither. Raises ValidationError."""
    return model.model_validate_json(json.dumps(data), strict=True)  # strict JSON still reads lists as tuples


def explained(error: ValidationError, model: type[BaseModel], data: Any) -> list[tuple[Loc, str]]:
    """Each fault as its location inside ``data`` and a message: what was found, what was possible, the nearest name."""
    found: dict[tuple[Loc, str], None] = {}
    for item in error.errors(include_url=False):
        loc = _real(item["loc"], data)
        found[loc, _worded(item, model, loc)] = None
    return list(found)


def _worded(item: ErrorDetails, model: type[BaseModel], loc: Loc) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        return f"there is no '{loc[-1]}' here; {nearest(str(loc[-1]), _fields(model, loc[:-1]))}"
    if kind == "missing":
        about = _fields(model, loc[:-1]).get(str(loc[-1]), "")
        return "is missing" + (f": {about}" if about else "")
    if kind == "json_invalid":
        return str(context.get("error", item["msg"]))
    if kind == "withheld":  # what was found may be a secret
        return item["msg"]
    message = re.sub(r"^(Input|String|Value|Dictionary|Tuple|List) should( be)?", "must\\2", item["msg"])
    if str(context.get("pattern", "")).startswith(_CODE):
        message = "must be a language code such as en"
    for theirs, ours in _WORDS.items():
        message = message.replace(theirs, ours)
    message = f"found {described(item['input'])}: {message}"
    if kind == "literal_error" and isinstance(item["input"], str):
        words = re.findall(r"'([^']*)'", str(context["expected"]))
        message += f" ({nearest(item['input'], words)})"
    return message


def described(value: Any) -> str:
    """A value as people call it, shortened: ``the text 'abc'``, ``a list``."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case str():
            return f"the text {value[:60]!r}" + ("…" if len(value) > 60 else "")
        case int() | float():
            return f"the number {value}"
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list" if value else "an empty list"
        case _:
            return type(value).__name__


_CODE = "^[a-z]{2,3}"  # how the patterns of language codes begin
_WORDS = {
    "Value error, ": "",
    "Assertion failed, ": "",
    " after validation": "",
    "must be an object": "must be a mapping",
    "must be a valid dictionary": "must be a mapping",
    "must be a valid array": "must be a list",
    "must be a valid string": "must be text",
    "must be a valid boolean": "must be true or false",
}


def _real(loc: Loc, data: Any) -> Loc:
    """The location in ``data``: without what pydantic adds (a union's branch, ``[key]``), with a last, missing key."""
    steps: list[str | int] = []
    for index, step in enumerate(loc):
        found = inside(data, step)
        last = index == len(loc) - 1 and isinstance(data, dict) and step != "[key]"
        if found is not None or last or (isinstance(data, dict) and step in data):
            steps.append(step)
            data = found
    return tuple(steps)


def inside(data: Any, step: str | int) -> Any:
    """What a mapping or list has at a key or number; None when it has nothing there."""
    if isinstance(data, dict):
        return data.get(step)
    return data[step] if isinstance(data, list) and isinstance(step, int) and step < len(data) else None


def _fields(model: Any, loc: Loc) -> dict[str, str]:
    """Option names and what they are, of the model at ``loc`` inside a model; empty when no model stands there."""
    for step in loc:
        fields = _described_fields(model)
        if fields is None:
            model = get_args(model)[-1 if get_origin(model) is dict else 0] if get_args(model) else None
        else:
            model = fields[str(step)].annotation if step in fields else None
        model = _plain_type(model)
    return {name: info.description or "" for name, info in (_described_fields(model) or {}).items()}


def _described_fields(model: Any) -> dict[str, FieldInfo] | None:
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return None
    return {info.alias or name: info for name, info in model.model_fields.items()}


def _plain_type(annotation: Any) -> Any:
    """An annotation without Annotated and without None."""
    while get_origin(annotation) in (Annotated, Union, UnionType):
        choices = [inner for inner in get_args(annotation) if inner is not type(None)]
        annotation = next((inner for inner in choices if _described_fields(inner) is not None), choices[0])
    return annotation
