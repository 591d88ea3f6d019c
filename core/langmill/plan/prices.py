"""Prices that stay: what a run's models cost is looked up once, when it begins, and counts for all its resumes.

They are written into the run's recipe.lock.yaml, for people to see, and into run.json, which tells a price that was looked up
from one that the recipe gives: the latter always holds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from langmill.api import LLM, FactoryError
from langmill.disk.store import RunFolder
from langmill.recipe.able import asked_models
from langmill.recipe.assembly import Assembly

MILLION = 1_000_000


def current(assembly: Assembly, store: RunFolder) -> Assembly:
    """The assembly of a run's own recipe, without prices that were looked up for a model which --set replaced."""
    kept, models = store.prices, dict(assembly.models)
    for name, llm in models.items():
        facts = kept.get(name)
        if facts and facts["prices"] == plain(llm) and facts["model"] != _which(llm):
            models[name] = llm.model_copy(update={"prices": None})
    return replace(assembly, models=models)


def frozen(assembly: Assembly, store: RunFolder) -> Assembly:
    """The assembly with the prices of the models that its steps ask, as they were when the run began; those that were not
    looked up yet are looked up and kept."""
    asked = asked_models(assembly)
    kept = store.prices
    models = {}
    for name, llm in assembly.models.items():
        models[name] = llm
        if "prices" not in type(llm).model_fields:
            continue
        facts = kept.get(name)
        given = plain(llm)
        if given and not (facts and facts["prices"] == given):
            kept.pop(name, None)  # the recipe's own
            continue
        bare = llm.model_copy(update={"prices": None})
        if not (facts and facts["model"] == _which(llm)):
            facts = _looked_up(bare) if name in asked else None
        models[name] = bare
        kept.pop(name, None)
        if facts and (priced := _priced(bare, facts["prices"])):
            kept[name], models[name] = facts, priced
    store.remember(prices=kept)
    return replace(assembly, models=models)


def _which(llm: LLM) -> list[Any]:
    """What a price belongs to."""
    return [llm.model, llm.place]


def plain(llm: LLM) -> dict[str, Any] | None:
    """The prices that a model was given, in US dollars per million tokens; None where it has none."""
    found: dict[str, Any] | None = llm.model_dump(mode="json", include={"prices"}, exclude_none=True).get("prices")
    return found


def _looked_up(llm: LLM) -> dict[str, Any] | None:
    """What a model costs now, in US dollars per million tokens; None where nothing is known, or it costs nothing."""
    try:
        price = llm.price()
    except FactoryError:  # a package is missing: asking the model says so, if it comes to that
        return None
    if price is None or not any(price[:2]):
        return None
    prices = {"input": round(price[0] * MILLION, 9), "output": round(price[1] * MILLION, 9)}
    if len(price) > 2 and price[2] is not None:
        prices["batch"] = price[2]
    return {"model": _which(llm), "prices": prices}


def _priced(llm: LLM, prices: dict[str, Any]) -> LLM | None:
    """The model with prices given; None where its option of that name has another shape."""
    annotation: Any = type(llm).model_fields["prices"].annotation
    shape: TypeAdapter[Any] = TypeAdapter(annotation)
    try:
        return llm.model_copy(update={"prices": shape.validate_python(prices)})
    except ValidationError:
        return None
