"""Which rows are asked about again: those that a step with a model rejected, for reasons that another answer can change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from langmill.api import Augmenter
from langmill.disk.store import RunFolder
from langmill.errors import RecipeError
from langmill.recipe.assembly import Assembly


def try_again(assembly: Assembly, store: RunFolder, reasons: Sequence[str]) -> int:
    """Note that rejected rows are to be asked about again, and return how many. ``reasons`` picks them, all when empty.

    Raises RecipeError for a reason that no such reject has, with those that there are.
    """
    asking = {
        step.place: step.use
        for plan in assembly.datasets.values()
        for step in plan.steps
        if isinstance(step.part, Augmenter)
    }
    rows: set[tuple[str, str]] = set()
    there: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for name in assembly.datasets:
        if store.dataset_facts(name) is None:
            continue
        for reject in store.rejects(name):
            if reject.step not in asking or reject.row is None or reject.reason == "duplicate_id":
                others[reject.reason] += 1
                continue
            there[reject.reason] += 1
            if not reasons or reject.reason in reasons:
                rows.add((asking[reject.step], reject.row.id))
    for reason in reasons:
        if reason not in there:
            fixed = f"'{reason}' rejected {others[reason]:,} rows, but not in a step that asks a model: no other answer changes it"
            found = fixed if reason in others else f"nothing was rejected for the reason '{reason}'"
            possible = ", ".join(f"{word} {n:,}" for word, n in there.most_common()) or "none"
            raise RecipeError(
                f"--reason {reason}: {found}. Reasons that can be tried again in {store.root}: {possible}"
            )
    times = store.retries
    for use, id in sorted(rows):
        of_use = times.setdefault(use, {})
        of_use[id] = of_use.get(id, 0) + 1
    if rows:
        store.retries = times
    return len(rows)
