"""Structured answers: what a provider is asked to fit, and what it said held against it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ValidationError

from langmill.api import Answer, Schema
from langmill.errors import RowFault


@dataclass(frozen=True)
class Shape:
    """A JSON schema, as data and as the canonical text that a call's key holds; None where any text will do."""

    schema: Mapping[str, Any] | None
    text: str


ANY_TEXT = Shape(None, "null")


@lru_cache(maxsize=256)
def shape_of(schema: type[BaseModel]) -> Shape:
    """The shape of a pydantic class."""
    found = schema.model_json_schema()
    return Shape(found, canonical(found))


def canonical(facts: object) -> str:
    """The one JSON text of plain data: keys sorted, no spaces, no escapes that are not needed."""
    return json.dumps(facts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def parsed(answer: Answer, schema: type[Schema]) -> Schema:
    """The answer as the schema has it. Raises RowFault with the reason that is counted."""
    if answer.finish == "refusal":
        raise RowFault("refusal", "the model declined to answer")
    if answer.finish == "length":
        raise RowFault("truncated", "it was cut off at the longest length allowed; make it shorter")
    text = answer.text.strip()
    if not text:
        raise RowFault("empty", "it was empty")
    if not text.startswith("{") and (fenced := re.search(r"```(?:json)?\s*\n(.*?)```", text, re.DOTALL)):
        text = fenced[1]
    try:
        return schema.model_validate_json(text)
    except ValidationError as error:
        faults = []
        for item in error.errors(include_input=False)[:3]:
            ours = item["type"] != "extra_forbidden"  # a key too many is the answer's own word
            place = item["loc"] if ours else item["loc"][:-1]
            faults.append(f"{'.'.join(map(str, place)) or 'answer'}: {item['msg']}")
        raise RowFault("schema", "; ".join(faults)) from None
