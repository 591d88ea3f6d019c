"""What a recipe's licences and models ask that no gate can decide: told in check, plan and cards."""

from __future__ import annotations

from collections.abc import Iterable

from langmill.api import Augmenter
from langmill.licensing.gate import changing, flows
from langmill.licensing.licenses import conflicts, listed, terms, unlisted
from langmill.licensing.writers import WriterTerms, terms_of
from langmill.recipe.assembly import Assembly

LOUD = "READ THIS BEFORE ANY COMMERCIAL USE"


def licence_notes(assembly: Assembly) -> list[str]:
    """A line for each source with a licence that is not in the table, for each pair of licences that no one licence fits, with the data
    sets that have both, and for each source from which rows are made though nobody knows whether its licence permits that."""
    met: dict[str, list[str]] = {}
    unsure: dict[str, list[str]] = {}
    for dataset, sources in flows(assembly).items():
        for line in conflicts(assembly.sources[name].license for name in sources):
            met.setdefault(line, []).append(dataset)
        for name in sources:
            loader = assembly.sources[name]
            if terms(loader.license).derivatives is None and (steps := changing(assembly, dataset, loader)):
                unsure.setdefault(name, []).extend(step.use for step in steps)
    lines = [
        f"sources.{name}: licence '{loader.license}' {said}"
        for name, loader in assembly.sources.items()
        if (said := unlisted(loader.license))
    ]
    lines += [f"{line} (in {listed(datasets)}); each row keeps its own" for line, datasets in met.items()]
    return lines + [
        f"{name}: licence {assembly.sources[name].license}: whether rows may be made from its rows is not known, and "
        f"{listed(list(dict.fromkeys(uses)))} would"
        for name, uses in unsure.items()
    ]


def writers(assembly: Assembly) -> list[WriterTerms]:
    """The terms of the models that the recipe's steps ask, those that take over included."""
    names: dict[str, None] = {}
    for plan in assembly.datasets.values():
        for step in plan.steps:
            for name in step.part.models() if isinstance(step.part, Augmenter) else ():
                next_: str | None = name
                while next_ and next_ in assembly.models and next_ not in names:
                    names[next_] = None
                    next_ = assembly.models[next_].fallback
    return terms_of((str(assembly.models[name].identity()["model"]) for name in names), assembly.models.values())


def writer_notes(found: Iterable[WriterTerms], purpose: str, did: str = "written") -> list[str]:
    """A line for each model; a loud one where the purpose is commercial and its terms are not plainly free."""
    lines = [(one.training, f"{did} by {one.model}: {one.words}") for one in found]
    return [f"{LOUD}: {line}" if purpose == "commercial" and training != "free" else line for training, line in lines]


def notes(assembly: Assembly) -> list[str]:
    """All of it, licences first."""
    return licence_notes(assembly) + writer_notes(writers(assembly), assembly.recipe.purpose, "to be written")
