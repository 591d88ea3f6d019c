"""False alarms of the guards on real translations, and what is left of them when the data's own errors are set apart."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from pathlib import Path

from bench.guard_check import GUARDS, check, guard_of
from bench.guard_pairs import PAIRS, SHIFTED, Pair, pairs
from bench.section import Section, say

REVIEWED = Path(__file__).with_name("guard_reviewed.json")
QUICK = 300  # pairs of each set
SOME = {"igakuqa-ja-en": 250}  # of a machine translation that deviates often: so many that their alarms can all be read
NUMBERS, ALL = 0.02, 0.05  # share of segments in which numbers and units, and all guards, may be wrong


def reviewed() -> dict[str, dict[str, dict[str, str]]]:
    """Alarms that were read and are right, since the data deviate: by set, segment and reason, with a word for why."""
    found: dict[str, dict[str, dict[str, str]]] = json.loads(REVIEWED.read_text("utf-8")) if REVIEWED.is_file() else {}
    return found


def sample(name: str, data: Path, quick: bool) -> list[Pair]:
    """The pairs of a set, or some of them by a seed."""
    found = pairs(name, data)
    most = min(SOME.get(name, len(found)), QUICK if quick else len(found))
    return random.Random(17).sample(found, len(found))[:most]


def clean(quick: bool, work: Path, data: Path) -> Section:
    """Every set, segment by segment and guard by guard."""
    section, known = Section("clean"), reviewed()
    shown = [guard for guard in GUARDS if guard not in ("chatter", "leaks", "loops")]
    table, rows = [], []
    for name in PAIRS:
        some = sample(name, data, quick)
        whole = len(some)
        found = [(pair, drop.reason) for pair in some for drop in check(pair)]
        real = known.get(name, {})
        left = [(pair, reason) for pair, reason in found if reason not in real.get(pair.id, {})]
        shares = {}
        for what, said in (("raw", found), ("apart", left)):
            by_guard: dict[str, set[str]] = defaultdict(set)
            for pair, reason in said:
                by_guard[guard_of(reason)].add(pair.id)
            shares[what] = {guard: len(by_guard[guard]) / whole for guard in by_guard}
            shares[what]["doses"] = len(by_guard["numbers"] | by_guard["units"]) / whole
            shares[what]["any"] = len(set().union(*by_guard.values())) / whole if by_guard else 0.0
        set_apart = len(found) - len(left)
        table.append((name, whole, *(f"{shares[what][key]:.1%}" for key in ("doses", "any") for what in ("raw", "apart")),
                      set_apart, f"{len({pair.row for pair, _ in left}) / len({pair.row for pair in some}):.1%}"))  # fmt: skip
        rows.append((name, *(f"{shares['raw'].get(guard, 0):.1%}" for guard in shown),
                     f"{sum(shares['raw'].get(guard, 0) for guard in ('chatter', 'leaks', 'loops')):.1%}"))  # fmt: skip
        section.figures[name] = {"segments": whole, **shares, "set_apart": set_apart, "why": Counter(
            why for reasons in real.values() for why in reasons.values())}  # fmt: skip
        section.goal(f"{name}: numbers and units, real errors apart", shares["apart"]["doses"], "<=", NUMBERS)
        section.goal(f"{name}: all default guards, real errors apart", shares["apart"]["any"], "<=", ALL)
        say(f"  {name}: {shares['raw']['doses']:.1%} numbers and units, {shares['raw']['any']:.1%} all, raw")
    for name in SHIFTED:
        some = pairs(name, data, shifted=True)
        told = sum(bool(check(pair)) for pair in some) / len(some)
        section.lines.append(
            f"left out: {len(some)} units of {name} that are beside other units' text ({told:.0%} with an alarm)"
        )
    section.lines.append("share of segments with an alarm: raw, and with the errors that are the data's own set apart")
    section.table(("pair", "segments", "numbers+units", "apart", "all", "apart", "set apart", "rows, apart"), table)
    section.lines.append("")
    section.lines.append("by guard, raw")
    section.table(("pair", *shown, "chatter, leaks, loops"), rows)
    return section
