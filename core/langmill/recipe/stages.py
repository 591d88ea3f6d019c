"""The stages that train: names, as the trainer that they are for understands them; every fault with its line."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import ValidationError

from langmill.api import Stage, Trainer
from langmill.errors import Fault, RecipeError
from langmill.recipe.file import RecipeFile
from langmill.recipe.registry import Registry
from langmill.recipe.shape import explained, validated

TAKEN = {"llm": "the recipe's own model", "base": "the model that training starts from"}
"""Names that no stage and no model may have, and what they mean."""
Known = Callable[..., bool]
"""Whether a name (location, what it should be, name, those known, those that come later) refers to something; a fault if not."""


def stages_of(
    file: RecipeFile,
    registry: Registry,
    trainer: Trainer | None,
    datasets: Sequence[str],
    known: Known,
    faults: list[Fault],
) -> tuple[Stage, ...]:
    """The stages under train:, as far as they are sound; faults are added. ``trainer`` is None where its own options are wrong."""
    shape = _shape(file, registry)
    if shape is None:  # an unknown trainer is told; what its stages may say is not known
        return ()
    listed = [(loc, item) for loc, item in file.items("train", "stages") if isinstance(item, dict)]
    stages: list[Stage] = []
    names: list[str] = ["base"]
    later = [str(item.get("name")) for _, item in listed]
    for loc, item in listed:
        try:
            stage = validated(shape, item)
        except ValidationError as error:
            faults += [file.fault((*loc, *inner), text) for inner, text in explained(error, shape, item)]
            names.append(str(item.get("name")))
            continue
        if stage.name in names or stage.name in file.mapping("models"):
            means = TAKEN.get(stage.name, "another stage or a model")
            faults.append(
                file.fault((*loc, "name"), f"the name '{stage.name}' is taken: it means {means}; choose another")
            )
        known((*loc, "data"), "data set", stage.data, datasets)
        known((*loc, "start"), "earlier stage", stage.start, names, later)
        stages.append(stage)
        names.append(stage.name)
    if trainer and len(stages) == len(list(file.items("train", "stages"))):
        languages = [code for _, code in file.items("languages") if isinstance(code, str)]
        for number, option, message in trainer.faults(stages, list(file.mapping("sources")), languages):
            faults.append(file.fault(("train", "stages", number, *option.split(".")), message))
    return tuple(stages)


def _shape(file: RecipeFile, registry: Registry) -> type[Stage] | None:
    """What a stage of this trainer may say; also where another of its options is wrong."""
    use = file.mapping("train").get("use")
    if use not in registry.names("trainers"):
        return None
    try:
        trainer = registry.get("trainers", use)
    except RecipeError:
        return None
    assert issubclass(trainer, Trainer)
    return trainer.stage
