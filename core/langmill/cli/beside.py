"""The scores of a run beside published ones: no rows to pair, so that intervals alone tell them apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langmill.cli.arguments import give, say
from langmill.cli.lines import table, wrapped
from langmill.errors import MissingInput

if TYPE_CHECKING:
    from langmill.report.scores import Evaluation
    from langmill.scores.published import Figure, Published

ACCURACY, STEADY = "choice_accuracy", " steady"
MARKS = {"above": "+", "below": "-", "overlap": ""}


def beside(kept: Sequence[Evaluation], run: Path, file: Path, model: str | None, json_: bool) -> None:
    """Say it: for each share of right choices that a model of ours has (the last one that was asked, or ``model``), the published shares
    by language, and what of them can not be. Raises MissingInput where nothing is left to show, or more than one evaluation."""
    from langmill.scores.published import read_published

    published = read_published(file)
    facts = [
        {
            "name": one.name,
            "model": asked,
            "metric": metric,
            "about": one.facts[asked]["metrics"][metric]["about"],
            **found,
        }
        for one in kept
        for asked in ([one.models[-1]] if model is None else [name for name in one.models if name == model])
        for metric, ours in _shares(one.facts[asked]).items()
        if (found := _beside(ours, published))["ours"]
    ]
    if not facts:
        asked = "; ".join(f"{one.name} asked {', '.join(one.models)}" for one in kept)
        raise MissingInput(
            f"{run} has no share of right rows (of {ACCURACY}){f' of {model!r}' if model else ''} in a language of {file} "
            f"({', '.join(published.rows)}): {asked}"
        )
    if len(fit := list(dict.fromkeys(one["name"] for one in facts))) > 1:
        raise MissingInput(
            f"{run} has {len(fit)} evaluations that may be what {published.name} asked: {', '.join(fit)}. Say which one: --name {fit[0]}"
        )
    flags = published.flags()
    if json_:
        head = published.model_dump(include={"name", "about", "source", "rows"})
        give({"published": head, "flags": [flag._asdict() for flag in flags], "beside": facts})
    say("")
    for line in wrapped(f"{published.name}: {published.about.strip()} {published.source}", "", "  "):
        say(line)
    for one in facts:
        _tell(one)
    if flags:
        say("")
        say("  ! can not be what they say, and stand as published:")
        for flag in flags:
            for line in wrapped(
                f"{flag.model}, {flag.cell}: {flag.stated:.{published.decimals}f}: {flag.why}", "    ", "      "
            ):
                say(line)


def _shares(facts: Mapping[str, Any]) -> dict[str, dict[str, Figure]]:
    """The shares of right choices of a model, {metric: {language: figure}}, the mean left out; other evaluations have none."""
    from langmill.parts.evaluation import ALL
    from langmill.scores.published import Figure

    found: dict[str, dict[str, Figure]] = {}
    for score in facts["scores"] if facts["use"] == ACCURACY else ():
        if score["metric"].endswith(STEADY):
            continue  # a share, too, but of rows with one answer in every order
        if score["language"] != ALL and facts["metrics"].get(score["metric"], {}).get("kind") == "share":
            low, high = score["interval"]
            found.setdefault(score["metric"], {})[score["language"]] = Figure(
                score["n"], score["accuracy"], (low, high)
            )
    return found


def _beside(ours: Mapping[str, Figure], published: Published) -> dict[str, Any]:
    """Ours and theirs in the languages that both have, and over those; the best of theirs first."""
    from langmill.scores.published import MEAN, over

    languages = [language for language in published.rows if language in ours]
    if not languages:
        return {"ours": {}}
    mine = {language: ours[language] for language in languages}
    mine[MEAN] = over(mine)
    flagged = {(flag.model, flag.cell) for flag in published.flags() if flag.cell != MEAN}  # a mean is made anew here
    theirs: dict[str, dict[str, Any]] = {}
    for name in published.scores:
        cells = {language: found for language in languages if (found := published.figure(name, language))}
        if len(cells) == len(languages):
            cells[MEAN] = over(cells)
        theirs[name] = {
            language: {**_plain(found), "is": _apart(found, mine[language]), "flagged": (name, language) in flagged}
            for language, found in cells.items()
        }
    best = sorted(theirs, key=lambda name: -theirs[name].get(MEAN, {"accuracy": 0})["accuracy"])
    return {
        "ours": {language: _plain(found) for language, found in mine.items()},
        "theirs": {name: theirs[name] for name in best},
    }


def _plain(figure: Figure) -> dict[str, Any]:
    return {"n": figure.n, "accuracy": figure.value, "interval": list(figure.interval)}


def _apart(theirs: Figure, ours: Figure) -> str:
    if theirs.interval[0] > ours.interval[1]:
        return "above"
    return "below" if theirs.interval[1] < ours.interval[0] else "overlap"


def _tell(facts: Mapping[str, Any]) -> None:
    ours, theirs = facts["ours"], facts["theirs"]
    say("")
    for line in wrapped(f"{facts['name']}, {facts['metric']}: {facts['about']}, % of rows", "  ", "    "):
        say(line)
    rows = [
        (facts["model"], *(f"{100 * one['accuracy']:.1f}  " for one in ours.values())),
        ("  from", *(f"{100 * one['interval'][0]:.1f}  " for one in ours.values())),
        ("  to", *(f"{100 * one['interval'][1]:.1f}  " for one in ours.values())),
        ("  rows", *(f"{one['n']:,}  " for one in ours.values())),
    ]
    for name, cells in theirs.items():
        rows.append((name, *(_cell(cells.get(language)) for language in ours)))
    counts: Mapping[str, Any] = next((cells for cells in theirs.values() if cells.keys() >= ours.keys()), {})
    rows.append(("  rows", *(f"{counts[language]['n']:,}  " if language in counts else "–  " for language in ours)))
    for line in table(("", *(f"{language}  " for language in ours)), rows):
        say(line)
    legend = (
        f"+ above {facts['model']} and - below it, their 95% intervals apart; the others overlap. Rows are not paired, and may not be "
        "the same ones: the mean is over these languages, of theirs that of the figures here."
    )
    for line in wrapped(legend, "    ", "    "):
        say(line)


def _cell(cell: Mapping[str, Any] | None) -> str:
    if cell is None:
        return "–  "
    return f"{100 * cell['accuracy']:.1f}{MARKS[cell['is']]:1}{'!' if cell['flagged'] else ' '}"
