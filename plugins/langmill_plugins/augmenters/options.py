"""Options that augmenters share: guards, each of which can be switched off."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints

from langmill.api import Field


class Options(BaseModel):
    """Options that belong together: closed and frozen, as parts are."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Term = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Terms = Annotated[tuple[Term, ...], BeforeValidator(_as_tuple)]
"""Texts of a recipe's list, none empty. Its own way to a tuple: what a validator has looked at is no longer JSON, and strict."""


class Guards(Options):
    """The guards over any text that a model wrote. Each can be switched off, and the card says so."""

    language: bool = Field(True, description="all of it is in the language that was asked for")
    chatter: bool = Field(True, description="nothing is said round it, such as: Here is the translation")
    leaks: bool = Field(True, description="nothing of the prompt is in it")
    loops: bool = Field(True, description="it does not say the same over and over")

    def switches(self) -> dict[str, bool]:
        """Each guard, and whether it is on."""
        return {name: value for name, value in self if isinstance(value, bool)}

    def on(self) -> frozenset[str]:
        """The guards that are on."""
        return frozenset(name for name, value in self.switches().items() if value)

    def any(self) -> bool:
        """Whether there is anything to look at: a guard that is on, a term, a glossary."""
        return any(bool(value) for _, value in self)


def watched(kind: type[Guards]) -> Any:
    """The option ``guards`` of a part: guards of this kind, each on unless it is switched off; ``false`` for none at all."""

    def or_false(schema: dict[str, Any]) -> None:
        schema["anyOf"] = [{"$ref": schema.pop("$ref")}, {"const": False}]

    described = "what is watched over, guard by guard; false for nothing at all"
    return Field(default_factory=kind, description=described, json_schema_extra=or_false)


def guards_of(kind: type[Guards], value: object) -> object:
    """What a recipe says of guards, as a mapping: ``false`` switches every one off. Raises ValueError for what is neither."""
    if value is False:
        return dict.fromkeys(kind().switches(), False)
    if not isinstance(value, dict | Guards):
        raise ValueError("must be a mapping of guard: false, or false for none")
    return value
