"""Keys that drifted: a rationale beside another key than it argues for, and replies whose letters are not in order."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from bench.cases import load
from bench.guard_pairs import packs
from bench.section import Section
from langmill.api import Choice, Loader
from langmill_plugins.guards.choices import in_order
from langmill_plugins.guards.conclusions import concludes
from langmill_plugins.loaders.casimedicos import CasiMedicos
from langmill_plugins.loaders.cmexam import CMExam
from langmill_plugins.loaders.kormedmcqa_cot import KorMedMCQACoT

MANY, QUICK = 1000, 200
SETS: Mapping[str, Callable[[], Loader]] = {
    "casimedicos": partial(CasiMedicos, path="$data_dir/casimedicos/casimedicos-arg", license="x"),
    "cmexam": partial(CMExam, path="$data_dir/cmexam", license="x"),
    "kormedmcqa": partial(KorMedMCQACoT, path="$data_dir/kormedmcqa-cot", license="x"),
}
PLAIN: Mapping[str, str] = {
    "en": r"(?:correct|right) (?:answer|option|one)(?: here| therefore)?(?: is|:| would be)(?: the| option| answer| number)* ?\(?([1-5])\b",
    "es": r"(?:respuesta|opción) correcta(?: es|:| sería)(?: la| el| opción| respuesta| número)* ?\(?([1-5])\b",
    "fr": r"(?:bonne réponse|réponse correcte|réponse exacte)(?: est|:| :)(?: la| l'option| réponse| numéro)* ?\(?([1-5])\b",
    "zh": r"(?:故选|本题选|答案选|正确答案[是为])([A-E])(?![A-E])|（([A-E])(?:对|正确)", "ko": r"(?:정답은|답은|정답:) ?\**([A-E])\b",
}  # fmt: skip
"""How a rationale says plainly which option is right, with its number or letter: the benchmark's own pattern."""


def plain(rationale: str, answers: Sequence[int], language: str) -> bool:
    """Whether a rationale plainly says the one right option, and no other one."""
    said = {"12345ABCDE".index("".join(found.groups(""))) % 5 for found in re.finditer(PLAIN[language], rationale)}
    return len(answers) == 1 and said == set(answers)


def keys(quick: bool, work: Path, data: Path) -> Section:
    """Rationales of doctors, of a textbook publisher and of a model, by language; then every wrong order of letters."""
    section, chance = Section("keys"), random.Random(17)
    table: list[tuple[object, ...]] = []
    for name, make in SETS.items():
        rows = [row for row in load(make(), name, data) if isinstance(row.body, Choice) and row.body.explanation]
        for language in sorted({row.language for row in rows}):
            own = [row.body for row in rows if row.language == language and isinstance(row.body, Choice)]
            own = chance.sample(own, min(len(own), QUICK if quick else MANY))
            pack = packs()[language]
            told = Counter[str]()
            planted, caught = Counter[bool](), Counter[bool]()
            for body in own:
                said = concludes(body.explanation or "", body.options, body.answers, pack)
                told[said[0].reason if said else "concludes"] += 1
                others = [index for index in range(len(body.options)) if index not in body.answers]
                if not said and others:
                    found = concludes(body.explanation or "", body.options, (chance.choice(others),), pack)
                    for kind in {False, plain(body.explanation or "", body.answers, language)}:
                        planted[kind] += 1
                        caught[kind] += bool(found)
            share, sure = (caught[kind] / max(1, planted[kind]) for kind in (False, True))
            table.append((f"{name}, {language}", len(own), *(f"{told[reason] / len(own):.1%}" for reason in
                          ("concludes", "no_conclusion", "argues_for_another")), planted[False], f"{share:.1%}",
                          planted[True], f"{sure:.1%}"))  # fmt: skip
            section.figures[f"{name}, {language}"] = {
                **told, "planted": planted[False], "caught": share, "plain": planted[True], "caught plain": sure}  # fmt: skip
            section.goal(f"{name}, {language}: another key caught of {planted[True]} plain ones", sure, ">=", 1.0)
    names = ("rationales", "read", "concludes with the key", "concludes nothing", "with another", "other keys", "caught",
             "where said plainly", "caught")  # fmt: skip
    section.table(names, table)
    right, wrong, passed = 0, 0, 0
    for pack in packs().values():
        for count in (4, 5):
            letters = list(pack.need("choice").letters[:count])
            right += not in_order(letters, pack, count)
            for one in range(count):
                for other in range(one):
                    swapped = letters.copy()
                    swapped[one], swapped[other] = swapped[other], swapped[one]
                    wrong, passed = wrong + 1, passed + (not in_order(swapped, pack, count))
    section.lines.append(
        f"letters of a reply: {right} right ones pass, {wrong - passed} of {wrong} with two swapped are caught"
    )
    section.goal("letters of a reply out of order: share caught", (wrong - passed) / wrong, ">=", 1.0)
    return section
