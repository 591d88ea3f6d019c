"""The cards that travel with data and adapters: one README.md beside each data set and each training stage.

Everything in them is counted from the run's folder. No prompt, no row and no key goes in.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from langmill import __version__
from langmill.api import Stage, Trainer
from langmill.disk.store import RunFolder
from langmill.disk.whole import write_text
from langmill.licensing.licenses import conflicts, strictest, terms
from langmill.licensing.notes import writer_notes
from langmill.licensing.writers import terms_of
from langmill.parts.evaluation import ALL
from langmill.parts.part import Part
from langmill.parts.training import left, result
from langmill.recipe.assembly import Assembly
from langmill.recipe.dataset_plan import DatasetPlan
from langmill.report.counts import Counts, checks, count, funnel, guarding, unchecked
from langmill.report.pages import page
from langmill.report.scores import ALL_LANGUAGES, Evaluation, against_chance, evaluations
from langmill.yaml12 import dump

NOT_FOR_CARE = "Not reviewed by clinicians. Not for care."
RATIONALES = {
    "explanation_unchecked": "that nobody has checked, or that its source did not let pass",
    "explanation_failed": "that a reviewer did not let pass",
    "explanation_disputed": "that reviewers disagree about",
    "explanation_changed": "that has changed since it was reviewed",
}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10**7, "1M<n<10M"))
_SCORES = re.compile(r"^## Scores\n.*?(?=^## )", re.MULTILINE | re.DOTALL)
_TASKS = {"chat": "question-answering", "choice": "multiple-choice", "text": "text-generation"}


def write_cards(assembly: Assembly, store: RunFolder) -> None:
    """Write the card of every finished data set, and what is known by now of a stage's scores into its card."""
    for name, plan in assembly.datasets.items():
        facts = store.dataset_facts(name)
        if facts is not None:
            write_text(store.card(name), _dataset_card(assembly, store, plan, facts))
    scored = evaluations(assembly, store, keep=True)
    for stage in assembly.stages:
        card = store.stage_card(stage.name)
        if card.exists() and store.read_json(f"train/{stage.name}/stage.json"):
            before = card.read_text("utf-8")
            # the rest tells of the training, by the recipe as it was then
            scores = page("model_scores.md.jinja", **_scored(assembly, stage, scored))
            after = scores.join(_SCORES.split(before, maxsplit=1))
            if after != before:
                write_text(card, after)


def write_stage_card(assembly: Assembly, store: RunFolder, stage: Stage, facts: Mapping[str, Any]) -> None:
    """Write the model card of a trained stage. ``facts`` is what stage.json holds, or is about to."""
    assert assembly.trainer is not None
    chain = stages_behind(assembly, stage)
    names = list(dict.fromkeys(one.data for one in chain))
    counted = {name: count(store, name, "train") for name in names}
    rows = {license for counts in counted.values() for license in counts.every_license}
    licenses = sorted({*rows, *facts.get("licenses", ())})  # those of the base among them
    demonstration = sum((counts.demonstration for counts in counted.values()), Counter[str]())
    figures, weights = result(store, stage.name), left(store, facts.get("adapter") or f"train/{stage.name}/adapter")
    front = {
        "base_model": base_named(assembly.trainer.base),
        **({"library_name": {"adapter": "peft", "model": "transformers"}[weights.kind]} if weights.kind else {}),
        "pipeline_tag": "text-generation",
        "language": sorted({language for counts in counted.values() for language in counts.languages}),
        **_front_license(licenses),
        "datasets": names,
        "tags": [
            "langmill",
            *(["lora"] if weights.kind == "adapter" else []),
            *(["demonstration"] if demonstration or figures.base_is_demonstration else []),
        ],
    }
    text = page(
        "model_card.md.jinja",
        front=dump(front),
        recipe=assembly.recipe,
        use=assembly.recipe.train.use if assembly.recipe.train else "",
        trainer=assembly.trainer,
        base=base_named(assembly.trainer.base),
        chain=chain,
        counted=counted,
        languages=language_names(assembly, front["language"]),
        files=[file for one in chain for file in _learned_files(store, one, facts if one is stage else None)],
        licenses=[terms(license) for license in licenses],
        strictest=strictest(licenses),
        conflicts=conflicts(licenses),
        writers=writers_of(assembly, counted.values()),
        demonstration=demonstration,
        guards=[each for name in names for each in guarding(assembly, name)],
        checks=[check for name in names for check in checks(assembly, store, name)],
        unchecked=[(name, data) for name in names for data in unchecked(assembly, name)],
        allowed=assembly.recipe.allows_unchecked,
        benchmarks=assembly.benchmarks,
        options={**_others(assembly.trainer, Trainer), **_others(stage, Stage)},
        result=figures,
        weights=weights,
        seconds=facts.get("seconds"),
        not_for_care=NOT_FOR_CARE,
        version=__version__,
        **_scored(assembly, stage, evaluations(assembly, store)),
    )
    write_text(store.stage_card(stage.name), text)


def _scored(assembly: Assembly, stage: Stage, found: Sequence[Evaluation]) -> dict[str, Any]:
    """What the card's part on scores is made of: evaluations of the stage, and how to call languages."""
    names = language_names(assembly, list(assembly.packs)) | {ALL: ALL_LANGUAGES}
    return {
        "stage": stage,
        "name_of": lambda code: names.get(code, code),
        "evaluations": [one for one in found if stage.name in one.facts],
        "against_chance": against_chance,
    }


def _learned_files(store: RunFolder, stage: Stage, facts: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """The files that a stage learned from, with the hashes they had then; ``facts`` None: as its stage.json has them. Those of
    other splits count as well where work is kept, and nothing is learned from them."""
    facts = facts or store.read_json(f"train/{stage.name}/stage.json") or {}
    train = set(store.data_files(stage.data, "train"))
    return [
        {"stage": stage.name, "name": path.relative_to(store.root).as_posix(), "sha256": digest}
        for path, digest in zip(store.data_files(stage.data), facts.get("data_sha256") or (), strict=False)
        if path in train
    ]


def _others(part: Part, known: type[Part]) -> dict[str, str]:
    """The options of a part besides those every one of its kind has, as far as they are not what they are when left out."""
    said = part.model_dump(mode="json", exclude_defaults=True)
    return {name: json.dumps(said[name], ensure_ascii=False) for name in said if name not in known.model_fields}


def _dataset_card(assembly: Assembly, store: RunFolder, plan: DatasetPlan, facts: Mapping[str, Any]) -> str:
    counts = count(store, plan.name)
    steps = funnel(plan, facts)
    return page(
        "dataset_card.md.jinja",
        front=dump(_front(assembly, plan, counts)),
        recipe=assembly.recipe,
        plan=plan,
        counts=counts,
        languages=language_names(assembly, counts.languages),
        steps=steps,
        sources=source_facts(assembly, counts),
        licenses=[terms(license) for license in counts.every_license],
        strictest=strictest(counts.every_license),
        conflicts=conflicts(counts.every_license),
        writers=writers_of(assembly, [counts]),
        guards=guarding(assembly, plan.name),
        checks=checks(assembly, store, plan.name),
        unchecked=unchecked(assembly, plan.name),
        allowed=assembly.recipe.allows_unchecked and any(stage.data == plan.name for stage in assembly.stages),
        benchmarks=assembly.benchmarks,
        limits=_limits(assembly, counts, steps),
        not_for_care=NOT_FOR_CARE,
        version=__version__,
    )


def _front(assembly: Assembly, plan: DatasetPlan, counts: Counts) -> dict[str, Any]:
    """The card's YAML: what a hub and ``datasets`` read."""
    size = next((name for most, name in _SIZES if counts.total < most), "n>10M")
    configs: list[dict[str, Any]] = []
    for name, folder, splits in (
        ("default", "*", counts.splits),
        *((code, code, [split for split in counts.splits if counts.rows[code, split]]) for code in counts.languages),
    ):
        files = [{"split": split, "path": f"data/{folder}/{split}-*.parquet"} for split in splits]
        if files:
            configs.append({"config_name": name, "data_files": files})
    tags = [
        "langmill",
        *(["synthetic"] if counts.writers else []),
        *(["demonstration"] if counts.demonstration else []),
    ]
    return {
        "pretty_name": f"{assembly.recipe.name} · {plan.name}",
        "language": counts.languages,
        **_front_license(counts.every_license),
        "multilinguality": "multilingual" if len(counts.languages) > 1 else "monolingual",
        "size_categories": [size],
        "task_categories": [_TASKS[kind] for kind in counts.kind_names],
        "source_datasets": sorted({source for source, _ in counts.sources}),
        "tags": tags,
        "configs": configs,
    }


def _front_license(licenses: Sequence[str]) -> dict[str, str]:
    """One known licence by its id; several, or one that is not known or no id, as ``other`` with all their names."""
    if len(licenses) == 1 and terms(licenses[0]).known and re.fullmatch(r"[\w.+-]+", licenses[0], re.ASCII):
        return {"license": licenses[0].lower()}
    return {"license": "other", "license_name": ", ".join(licenses) or "none"}


def writers_of(assembly: Assembly, counted: Iterable[Counts]) -> list[str]:
    """What is to be said of the terms of the models whose marks rows bear, a line each."""
    names = {model for counts in counted for _, model, _ in counts.writers}
    return writer_notes(terms_of(names, assembly.models.values()), assembly.recipe.purpose)


def stages_behind(assembly: Assembly, stage: Stage) -> list[Stage]:
    """A stage and those it starts from, the first one first."""
    by_name = {one.name: one for one in assembly.stages}
    chain = [stage]
    while chain[0].start != "base":
        chain.insert(0, by_name[chain[0].start])
    return chain


def language_names(assembly: Assembly, codes: Sequence[str]) -> dict[str, str]:
    """Names of languages in English, from their packs."""
    return {code: assembly.packs[code].identity.name if code in assembly.packs else code for code in codes}


def source_facts(assembly: Assembly, counts: Counts) -> list[dict[str, Any]]:
    """The sources behind a data set's rows: how each is read, where it lies, its licences and rows by language."""
    found = []
    for name in sorted({source for source, _ in counts.sources}):
        loader = assembly.sources.get(name)
        rows = {language: counts.sources[name, language] for language in counts.languages}
        found.append(
            {
                "name": name,
                "use": assembly.uses.get(name, ""),
                "place": _place(loader.path) if loader else "",
                "licenses": sorted(counts.source_licenses[name]),
                "rows": rows,
                "total": sum(rows.values()),
            }
        )
    return found


def base_named(name: str) -> str:
    """A recipe's train.base, without saying anything of this machine."""
    return PurePath(name).name if PurePath(name).is_absolute() else name


def _place(path: str) -> str:
    """Where a source lies, without saying anything of this machine."""
    if path.startswith("$data_dir"):
        return "data folder: " + path.removeprefix("$data_dir").lstrip("/")
    if Path(path).is_absolute():
        return PurePath(path).name
    return f"beside the recipe: {path}"


def _limits(assembly: Assembly, counts: Counts, steps: Sequence[Any]) -> list[str]:
    """What a user of the data should know, as far as the numbers show it."""
    limits = []
    missing = [code for code in assembly.packs if code not in counts.languages]
    if missing:
        limits.append(f"No rows in {', '.join(missing)}, though the recipe asks for them.")
    for step in steps:
        for reason, n in step.reasons("skipped").items():
            if reason != "over_limit":
                codes = ", ".join(sorted(step.by_language(f"skipped:{reason}"))) or "no language"
                limits.append(f"{step.name}: {n:,} skipped ({reason}) in {codes}.")
    for flag, n in sorted(counts.flags.items()):
        if flag in RATIONALES:
            limits.append(f"Rows with a rationale {RATIONALES[flag]}: {n:,}.")
        elif flag not in ("demonstration", "repaired", "explanation_checked"):
            limits.append(f"Rows that carry the flag {flag}, because a step had doubts and kept them: {n:,}.")
    for split in ("train", "test"):
        without = [code for code in counts.languages if not counts.rows[code, split]]
        if without and len(without) < len(counts.languages):
            limits.append(f"No {split} rows in {', '.join(without)}.")
    if unknown := [license for license in counts.every_license if not terms(license).known]:
        limits.append(f"The terms of these licences are not known here: {', '.join(unknown)}.")
    if counts.writers:
        limits.append("Rows written by a model passed the steps above and nothing else: no person has read them all.")
    return limits
