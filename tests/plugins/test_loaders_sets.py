"""The built-in loaders on the published files: every record is counted, and what is known of a set holds."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from langmill.api import Chat, Choice, Loader, RecipeError, Reject, Row, SourceContext, Text, words
from langmill_plugins.loaders.casimedicos import CasiMedicos
from langmill_plugins.loaders.cmexam import CMExam
from langmill_plugins.loaders.frenchmedmcqa import FrenchMedMCQA
from langmill_plugins.loaders.headqa import HeadQA
from langmill_plugins.loaders.igakuqa import IgakuQA
from langmill_plugins.loaders.kormedmcqa_cot import KorMedMCQACoT
from langmill_plugins.loaders.medmcqa import MedMCQA
from langmill_plugins.loaders.medqa import MedQA
from langmill_plugins.loaders.medquad import MedQuad
from langmill_plugins.loaders.openstax import OpenStax
from langmill_plugins.loaders.pubmedqa import PubMedQA
from langmill_plugins.loaders.rumeddanet import RuMedDaNet
from langmill_plugins.loaders.table import Table

DATA = Path(os.environ.get("FACTORY_DATA", ""))
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif("FACTORY_DATA" not in os.environ, reason="FACTORY_DATA is not set"),
]


def load(loader: Loader) -> tuple[list[Row], list[Reject]]:
    context = SourceContext(
        place="sources.set", seed=17, languages={}, folder=Path(), data_dir=DATA, source="set", license="x",
        shares=(("dev", loader.dev), ("test", loader.test)), splits=loader.splits,
    )  # fmt: skip
    found = list(loader.load(context))
    names = Counter(item.origin.record if isinstance(item, Row) else item.record for item in found)
    assert [name for name, count in names.items() if count > 1] == []
    rows = [item for item in found if isinstance(item, Row)]
    for row in rows:
        words(row.body).encode("utf-8")  # what is written to disk later can be written
    return rows, [item for item in found if isinstance(item, Reject)]


def reasons(rejects: list[Reject]) -> dict[str, int]:
    return dict(Counter(reject.reason for reject in rejects))


def where(rows: list[Row]) -> dict[str, int]:
    return dict(Counter(f"{row.language} {row.split}" for row in rows))


def choices(rows: list[Row]) -> list[Choice]:
    bodies = [row.body for row in rows if isinstance(row.body, Choice)]
    assert len(bodies) == len(rows)
    return bodies


def test_medquad_keeps_every_answer_and_counts_the_empty_ones() -> None:
    rows, rejects = load(MedQuad(path="$data_dir/medquad", license="x"))
    # 5,209 pairs as the set's readme spells them and 8 in two documents of an older spelling
    assert len(rows) + reasons(rejects)["no_answer"] == 5209 + 8
    assert reasons(rejects) == {"no_answer": 423, "no_pairs": 4}
    assert where(rows) == {"en train": 4794}
    assert sum(row.id.startswith("set/6_NINDS_QA.0000007-") for row in rows) == 4
    for row in rows:
        assert isinstance(row.body, Chat)
        assert " ?" not in row.body.question[-3:] and "??" not in row.body.question[-3:]
        assert "  " not in row.body.answer and "\n\n\n" not in row.body.answer
    body = next(row.body for row in rows if row.origin.record == "7_SeniorHealth_QA.0000001-4")
    assert isinstance(body, Chat)
    assert body.question == "Who is at risk for Age-related Macular Degeneration?"
    assert "Other risk factors include:\n- Smoking\n- Obesity\n- Race." in body.answer


def test_medqa_in_both_layouts() -> None:
    five, rejects = load(MedQA(path="$data_dir/medqa-usmle", license="x"))
    assert len(five) + len(rejects) == 900 and reasons(rejects) == {"needs_image": 78}
    assert {len(body.options) for body in choices(five)} == {5} and where(five) == {"en test": 822}
    four, rejects = load(MedQA(path="$data_dir/medqa-usmle-4opt/test.jsonl", license="x"))
    assert len(four) + len(rejects) == 300 and reasons(rejects) == {"needs_image": 23}
    answer = {body.question: body.options[body.answers[0]] for body in choices(five)}
    # the same questions with other letters: the right option's text is the same
    assert all(body.options[body.answers[0]] == answer[body.question] for body in choices(four))


def test_the_split_can_be_left_to_the_hash() -> None:
    rows, _ = load(MedQA(path="$data_dir/medqa-usmle", license="x", splits={"test": None}, dev=0.1, test=0.2))
    share = Counter(row.split for row in rows)
    assert 0.05 < share["dev"] / len(rows) < 0.15 and 0.15 < share["test"] / len(rows) < 0.25


def test_medmcqa_normalised() -> None:
    rows, rejects = load(MedMCQA(path="$data_dir/medmcqa-normalised", license="x"))
    assert len(rows) + len(rejects) == 1200 and reasons(rejects) == {"needs_image": 4}
    assert where(rows) == {"en test": 1196} and {len(body.options) for body in choices(rows)} == {4}


def test_pubmedqa_takes_the_upstream_test_articles() -> None:
    rows, rejects = load(PubMedQA(path="$data_dir/pubmedqa", license="x"))
    assert rejects == [] and where(rows) == {"en test": 291, "en train": 309}
    bodies = choices(rows)
    assert Counter(body.answers for body in bodies) == {(0,): 339, (1,): 189, (2,): 72}
    assert all(body.context and body.explanation for body in bodies)


def test_cmexam_reads_the_options_out_of_their_cell() -> None:
    rows, rejects = load(CMExam(path="$data_dir/cmexam", license="x"))
    assert len(rows) + len(rejects) == 4500 and where(rows) == {"zh dev": 4488}
    assert reasons(rejects) == {"no_answer": 1, "broken_options": 1, "needs_image": 10}
    bodies = choices(rows)
    # 132 items with several letters; 127 with four options, one of them without A and one with a picture
    assert sum(len(body.answers) > 1 for body in bodies) == 132
    assert Counter(len(body.options) for body in bodies) == {5: 4363, 4: 125}
    assert not any("\\n" in option or option[:2] in ("A ", "B ", "E ") for body in bodies for option in body.options)


def test_igakuqa_rejects_what_needs_a_picture_and_what_is_no_choice() -> None:
    rows, rejects = load(IgakuQA(path="$data_dir/igakuqa", license="x"))
    assert len(rows) + len(rejects) == 1600
    assert reasons(rejects) == {"needs_image": 430, "number_answer": 9, "withdrawn": 5}
    assert "112B30" in {reject.record for reject in rejects}  # the one whose key is "a or d"
    assert where(rows) == {"ja train": 1148, "en train": 8}
    assert {row.family for row in rows if row.origin.record == "112A1"} == {"igakuqa/112A1"}
    body = next(row.body for row in rows if row.origin.record == "112A1")
    assert isinstance(body, Choice) and body.options[body.answers[0]] == "オルニチントランスカルバミラーゼ欠損症"


def test_frenchmedmcqa_keeps_every_right_answer() -> None:
    rows, rejects = load(FrenchMedMCQA(path="$data_dir/frenchmedmcqa", license="x"))
    assert len(rows) + len(rejects) == 2171 + 312
    assert reasons(rejects) == {"needs_image": 5, "duplicate_id": 1} and where(rows) == {
        "fr train": 2166,
        "fr dev": 311,
    }
    several = [row for row in rows if row.split == "train" and len(choices([row])[0].answers) > 1]
    lost = [reject for reject in rejects if "train.json" in reject.detail and "'type': 'multiple'" in reject.excerpt]
    assert 1576 - 5 <= len(several) + len(lost) <= 1576
    assert sum(len(body.answers) == 5 for body in choices(rows)) == 36


def test_rumeddanet_is_a_choice_of_two() -> None:
    rows, rejects = load(RuMedDaNet(path="$data_dir/rumedbench/data/RuMedDaNet", license="x"))
    assert rejects == [] and where(rows) == {"ru train": 1052, "ru dev": 256}
    assert Counter(body.answers for body in choices(rows)) == {(0,): 654, (1,): 654}
    assert all(body.options == ("да", "нет") and body.context for body in choices(rows))


def test_headqa_editions_are_one_family() -> None:
    rows, rejects = load(HeadQA(path="$data_dir/headqa", license="x"))
    assert len(rows) + len(rejects) == 2 * 4023 and reasons(rejects) == {"needs_image": 2 * 98}
    assert where(rows) == {"es train": 2589, "es dev": 1336, "en train": 2589, "en dev": 1336}
    families = Counter(row.family for row in rows)
    assert set(families.values()) == {2}
    editions: dict[str, set[tuple[str, tuple[int, ...]]]] = {}
    for row in rows:
        editions.setdefault(row.family, set()).add((row.split, choices([row])[0].answers))
    assert all(len(found) == 1 for found in editions.values())  # same split, same key


def test_headqa_reads_the_languages_asked_for() -> None:
    rows, _ = load(HeadQA(path="$data_dir/headqa", license="x", languages=("es",)))
    assert where(rows) == {"es train": 2589, "es dev": 1336}


def test_headqa_agrees_with_the_gold_files() -> None:
    rows, _ = load(HeadQA(path="$data_dir/headqa", license="x"))
    gold: dict[str, int] = {}
    for path in (DATA / "headqa" / "HEAD").glob("*.gold"):
        for line in path.read_text("utf-8").splitlines():
            number, answer = line.split("\t")
            gold[f"headqa/{path.stem}-{number}"] = int(answer)
    assert all(choices([row])[0].answers == (gold[row.family] - 1,) for row in rows)


def test_casimedicos_is_readable_in_three_languages() -> None:
    rows, rejects = load(CasiMedicos(path="$data_dir/casimedicos", license="x"))
    assert rejects == []
    assert where(rows) == {
        f"{code} {split}": n for code in ("en", "es", "fr") for split, n in (("train", 381), ("dev", 55))
    }
    keys: dict[str, set[tuple[int, ...]]] = {}
    for row in rows:
        body = choices([row])[0]
        keys.setdefault(row.family, set()).add(body.answers)
        assert body.explanation and len(body.options) in (4, 5) and "nan" not in body.options
        assert "QUESTION TYPE" not in words(body) and not body.question.startswith("CLINICAL CASE")
    assert len(keys) == 436 and all(len(found) == 1 for found in keys.values())


def test_casimedicos_text_reads_as_written() -> None:
    rows, _ = load(CasiMedicos(path="$data_dir/casimedicos", license="x"))
    first = {row.language: choices([row])[0] for row in rows if row.family == "casimedicos/dev-1"}
    assert first["en"].question.endswith("Is PGD indicated in this case?")
    assert first["es"].question.endswith("¿Está indicado en este caso un DGP?")
    assert first["fr"].question.endswith("Le DPI est-il indiqué dans ce cas ?")
    assert first["es"].options[1] == (
        "Está indicado tras detectar la mutación causante en el caso índice y eventualmente en su madre."
    )
    assert first["en"].answers == (1,)


def test_kormedmcqa_cot_takes_the_chat_apart() -> None:
    rows, rejects = load(KorMedMCQACoT(path="$data_dir/kormedmcqa-cot", license="x"))
    assert (
        len(rows) + len(rejects) == 1000 and reasons(rejects) == {"needs_image": 1} and where(rows) == {"ko train": 999}
    )
    bodies = choices(rows)
    assert {len(body.options) for body in bodies} == {5}
    assert not any("[문제]" in body.question or "[선택지]" in body.question for body in bodies)
    last = [str(body.explanation).splitlines()[-1] for body in bodies]
    assert all(body.explanation for body in bodies) and not any(line.startswith("정답:") for line in last)
    assert not any(line in ("Final answer:", "Thus, final answer:", "최종 답변:", "최종적으로:") for line in last)


def test_openstax_passages_end_where_paragraphs_end() -> None:
    rows, rejects = load(OpenStax(path="$data_dir/openstax-anatomy-physiology", license="x"))
    assert rejects == [] and len({row.family for row in rows}) == 30
    texts = [row.body.text for row in rows if isinstance(row.body, Text)]
    assert len(texts) == len(rows) > 300 and max(map(len, texts)) <= 1500
    whole = "\n".join(texts)
    assert "10⁶" in whole or "Ca²⁺" in whole or "Ca⁺⁺" in whole
    assert "Watch this" not in whole and "()" not in whole and "By the end of this section" not in whole
    short, _ = load(OpenStax(path="$data_dir/openstax-anatomy-physiology", license="x", max_characters=300))
    bare = "".join(words(row.body) for row in short)
    assert "".join(bare.split()) == "".join(whole.split())  # cut elsewhere, nothing lost


def test_a_set_without_answers_is_refused() -> None:
    """It used to be 250 rejects."""
    fields = {"body": "choice", "language": "ru", "id": "idx", "options": ("1", "2", "3", "4")}
    with pytest.raises(
        RecipeError, match=r"private_test_v1\.jsonl: none .* 'answer'.*: idx, question, 1, 2, 3, 4\. None"
    ):
        load(Table(path="$data_dir/rumedbench/data/RuMedTest", license="x", **fields))


def test_more_than_five_options_through_jsonl() -> None:
    fields = {"body": "choice", "language": "en", "id": "realidx", "answer": "answer_idx"}
    rows, rejects = load(Table(path="$data_dir/mmlu-pro-health-normalised", license="x", **fields))
    assert rejects == [] and sum(len(body.options) == 10 for body in choices(rows)) == 108


def test_exams_with_a_column_an_option_through_csv() -> None:
    letters = ("A", "B", "C", "D")
    fields = {"body": "choice", "language": "zh", "question": "Question", "answer": "Answer", "options": letters}
    rows, rejects = load(Table(path="$data_dir/cmmlu/data", license="x", **fields))
    assert rejects == [] and where(rows) == {"zh dev": 35, "zh test": 1722}
    columns = ("question", *letters, "answer")
    rows, rejects = load(
        Table(path="$data_dir/jmmlu/JMMLU", license="x", body="choice", language="ja", columns=columns, options=letters)
    )
    assert rejects == [] and where(rows) == {"ja train": 831}
    assert not any("﻿" in words(row.body) for row in rows)
    options = tuple(f"option{letter}" for letter in letters)
    rows, rejects = load(
        Table(path="$data_dir/jmed-llm/datasets/crade.csv", license="x", body="choice", language="ja", options=options)
    )
    assert rejects == [] and len(rows) == 100
