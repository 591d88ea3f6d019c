"""The gate: what a recipe may not do with its sources, by their licences and the recipe's ``purpose``.

Use is use: a source that is only scored is used as much as one that is learnt. A source whose licence permits no derivatives is
refused where a step makes rows of its rows, whatever the purpose; a licence of which that is not known is told, and refused only where
the purpose is commercial, with all else that is not known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from langmill.api import Augmenter, Loader
from langmill.disk.store import RunFolder
from langmill.errors import RecipeError
from langmill.licensing.carried import of_base, of_rows, of_stage
from langmill.licensing.licenses import Terms, listed, terms, union, unlisted
from langmill.recipe.assembly import Assembly
from langmill.recipe.dataset_plan import StepPlan

_LEAVE = "set purpose: research if that is what it is for, or leave these sources out: scoring with them is use, too"
_LEARNT = "it learnt from what is not for commercial use"
_UNCHANGED = "take these sources into a data set without such a step, where they are read and nothing is made of them"


@dataclass(frozen=True)
class Refusal:
    """A source (or, where rows are looked at, a data set) that may not be used so, by a licence of its own, and why."""

    name: str
    license: str
    why: str
    kind: str

    def __str__(self) -> str:
        return f"{self.name}: licence {self.license}: {self.why}"


def flows(assembly: Assembly) -> dict[str, tuple[str, ...]]:
    """The sources whose rows flow into each data set, straight or through earlier ones."""
    found: dict[str, tuple[str, ...]] = {}
    for name, plan in assembly.datasets.items():
        inputs = (found.get(one, (one,)) for one in plan.inputs)
        found[name] = tuple(dict.fromkeys(source for some in inputs for source in some if source in assembly.sources))
    return found


def refusals(assembly: Assembly) -> list[Refusal]:
    """All that the licences of a recipe's sources, and of what its base learnt from, forbid it, as far as the recipe tells; sources that
    nothing reads are not used."""
    into = flows(assembly)
    found: list[Refusal] = []
    for name, loader in assembly.sources.items():
        used = [dataset for dataset, sources in into.items() if name in sources]
        if used:
            found += _source(assembly, name, loader, used)
    return [*found, *_learnt(assembly, "train.base", of_base(assembly))]


def _source(assembly: Assembly, name: str, loader: Loader, used: Sequence[str]) -> Iterator[Refusal]:
    its = terms(loader.license)
    if assembly.recipe.purpose == "commercial" and not its.commercial:
        yield Refusal(name, loader.license, f"{_not_commercial(its)}; it flows into {listed(used)}", "commercial")
    if its.derivatives is False:
        steps = [step for dataset in used for step in changing(assembly, dataset, loader)]
        if steps:
            told = listed([f"{step.use} ({step.place})" for step in steps])
            yield Refusal(name, loader.license, f"it permits no derivatives, which {told} would make", "derivatives")


def _not_commercial(its: Terms) -> str:
    if its.known:
        return "not for commercial use"
    said = unlisted(its.license)
    return "its terms are not known, which counts as not permitted" + (f" (it {said})" if said else "")


def changing(assembly: Assembly, dataset: str, loader: Loader) -> list[StepPlan]:
    """The steps of a data set that would make rows of a source's rows, as far as the recipe tells what kind of rows it has."""
    kind = getattr(loader, "body", None) or (loader.gives and loader.gives.body.__name__.lower())
    return [
        step
        for step in assembly.datasets[dataset].steps
        if isinstance(step.part, Augmenter)
        and (not isinstance(kind, str) or kind in {one.__name__.lower() for one in step.part.bodies})
    ]


def refuse(assembly: Assembly) -> None:
    """Raises RecipeError, naming all sources that a licence keeps from what the recipe does with them."""
    _refuse(refusals(assembly), "sources")


def refuse_rows(assembly: Assembly, store: RunFolder, datasets: Iterable[str], stages: Iterable[str] = ()) -> None:
    """The same for data sets that lie in a run's folder, by the licences that their rows carry, and for trained stages, by what they
    learnt from: the sources need not be there. Raises RecipeError."""
    found = [one for name in dict.fromkeys(datasets) for one in row_refusals(assembly, store, name)]
    for name, licenses in ((f"stage {stage}", of_stage(store, stage)) for stage in dict.fromkeys(stages)):
        told = {license for one in found for license in one.license.split(" + ")}
        found += _learnt(assembly, name, (license for license in licenses if license not in told))
    _refuse(found, "data sets and stages" if any(one.why == _LEARNT for one in found) else "data sets")


def _learnt(assembly: Assembly, name: str, licenses: Iterable[str]) -> Iterator[Refusal]:
    """What was trained on rows under licences."""
    forbidden = [license for license in licenses if not terms(license).commercial]
    if forbidden and assembly.recipe.purpose == "commercial":
        yield Refusal(name, " + ".join(forbidden), _LEARNT, "commercial")


def row_refusals(assembly: Assembly, store: RunFolder, dataset: str) -> list[Refusal]:
    """What the licences of a finished data set's rows forbid: rows carry those of all that they were made from."""
    forbidden: Counter[tuple[str, str, str]] = Counter()
    for (licenses, made), n in of_rows(assembly, store, dataset).items():
        its = union(licenses)
        if assembly.recipe.purpose == "commercial" and not its.commercial:
            by = [one for one in licenses if not terms(one).commercial]
            why = _not_commercial(min(map(terms, by), key=lambda item: item.known, default=its))
            forbidden[" + ".join(by) or "none", why, "commercial"] += n
        if made and its.derivatives is False:
            by = [one for one in licenses if terms(one).derivatives is False]
            forbidden[" + ".join(by), "it permits no derivatives, and these were made from others", "derivatives"] += n
    return [
        Refusal(f"{dataset}, {n:,} row{'s' * (n != 1)}", license, why, kind)
        for (license, why, kind), n in sorted(forbidden.items())
    ]


def _refuse(found: Sequence[Refusal], what: str) -> None:
    if not found:
        return
    lines = []
    for kind, head, way in (
        ("commercial", f"purpose: commercial is refused by the licences of these {what}:", _LEAVE),
        ("derivatives", f"what the recipe makes of these {what} is refused by their licences:", _UNCHANGED),
    ):
        mine = [f"  {one}" for one in found if one.kind == kind]
        if mine:
            lines += [head, *mine, f"  {way}"]
    raise RecipeError("\n".join(lines))
