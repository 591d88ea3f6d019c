"""The JSON schema of a recipe, for editors: with the parts of a registry in it, told apart by ``use``."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel

from langmill.api import Trainer
from langmill.errors import RecipeError
from langmill.recipe.file import Recipe
from langmill.recipe.registry import OTHERS, Registry


def json_schema(registry: Registry) -> dict[str, Any]:
    """The schema as plain data. A part that does not load is left out: a recipe that uses it says why."""
    schema = Recipe.model_json_schema(by_alias=True)
    shared: dict[str, Any] = schema["$defs"]

    def parts(*kinds: str, **more: Any) -> dict[str, Any]:
        known = [
            _hoisted(shared, f"{kind}.{use}", part, {"use": {"const": use}, **more})
            for kind in kinds
            for use, part in _loaded(registry, kind)
        ]
        return {"oneOf": known} if known else {"type": "object"}

    named = "|".join(re.escape(name) for name in registry.names("llms") if name != OTHERS)
    models = []
    for use, part in _loaded(registry, "llms"):
        pattern = f"^(?!({named})/)[^/]+/." if use == OTHERS else f"^{re.escape(use)}/."
        models.append(_hoisted(shared, f"llms.{use}", part, {"model": {"pattern": pattern}}))
    shared["Source"], shared["Step"] = parts("loaders"), parts("filters", "augmenters")
    shared["Write"], shared["Score"] = parts("exporters"), parts("evaluators")
    shared["DatasetShape"]["properties"]["steps"]["items"] = {"$ref": "#/$defs/Step"}
    shared["DatasetShape"]["properties"]["write"]["items"] = {"$ref": "#/$defs/Write"}
    shared["ModelShape"] = {"oneOf": models} if models else {"type": "object"}
    allowed = shared["TrainShape"]["properties"]["allow_unchecked"]
    shared["TrainShape"] = parts("trainers", stages={"type": "array", "minItems": 1})
    for use, trainer in _loaded(registry, "trainers"):
        assert issubclass(trainer, Trainer)
        options = shared[f"trainers.{use}"]["properties"]
        options["allow_unchecked"] = allowed
        options["stages"] = {**options["stages"], "items": _hoisted(shared, trainer.stage.__name__, trainer.stage, {})}
    properties = schema["properties"]
    for section in ("sources", "models", "datasets", "profiles"):
        properties[section]["additionalProperties"] = False  # the pattern of names is all there may be
    sources = properties["sources"]["patternProperties"]
    sources.update({pattern: {"$ref": "#/$defs/Source"} for pattern in sources})
    properties["run"] = {"description": properties["run"]["description"], **parts("executors")}
    properties["eval"]["items"] = {"$ref": "#/$defs/Score"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _loaded(registry: Registry, kind: str) -> list[tuple[str, type[BaseModel]]]:
    found: list[tuple[str, type[BaseModel]]] = []
    for use in registry.names(kind):
        try:
            found.append((use, registry.get(kind, use)))
        except RecipeError:
            continue
    return found


def _hoisted(shared: dict[str, Any], name: str, model: type[BaseModel], more: dict[str, Any]) -> dict[str, Any]:
    """A reference to a model's schema, which is put into ``shared`` with all it refers to; ``more`` are properties that
    the recipe adds and asks for, such as ``use``."""
    schema = model.model_json_schema(by_alias=True, ref_template=f"#/$defs/{name}.{{model}}")
    shared.update({f"{name}.{inner}": found for inner, found in schema.pop("$defs", {}).items()})
    properties = schema.get("properties", {})
    schema["properties"] = {**more, **{key: {**found, **more.get(key, {})} for key, found in properties.items()}}
    schema["required"] = list(dict.fromkeys([*more, *schema.get("required", [])]))
    shared[name] = schema
    return {"$ref": f"#/$defs/{name}"}
