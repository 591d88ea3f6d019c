"""The models that a recipe asks, and what would keep them from answering."""

from __future__ import annotations

from langmill.api import Augmenter
from langmill.recipe.assembly import Assembly


def asked_models(assembly: Assembly) -> list[str]:
    """Names of the models that steps and evaluations ask, and of those that take over from them; base and stages are none."""
    steps = [step.part for plan in assembly.datasets.values() for step in plan.steps]
    first = [name for part in steps if isinstance(part, Augmenter) for name in part.models()]
    first += [name for _, evaluator in assembly.evaluators for name in (*evaluator.models, *evaluator.judges())]
    asked: dict[str, None] = {}
    for one in first:
        name: str | None = one
        while name and name in assembly.models and name not in asked:
            asked[name] = None
            name = assembly.models[name].fallback
    return list(asked)


def unable(assembly: Assembly, name: str, *, offline: bool = False) -> list[str]:
    """A line for each thing that would keep a model of the recipe from answering, as far as that can be told in a moment."""
    place = name if name == "llm" else f"models.{name}"
    return list(assembly.models[name].missing(assembly.context(place, offline=offline)))


def all_unable(assembly: Assembly) -> list[str]:
    """The lines of all models that the recipe asks."""
    return list(dict.fromkeys(line for name in asked_models(assembly) for line in unable(assembly, name)))
