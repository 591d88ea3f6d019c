"""MMedBench as a recipe: what is published, from sets to reviewed rationales to scores on real rows, and two examples a train row."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Bench
from tests.public_sets import DATA, NEEDS_DATA, load
from tests.recipes.test_benchmarks import rows_of

from langmill.api import Choice
from langmill.recipe.assembly import Assembly, assemble
from langmill.scores.published import beside, read_published
from langmill_plugins.augmenters.explain import Explain
from langmill_plugins.filters.reviewed import Reviewed
from langmill_plugins.trainers.options import AdapterStage
from langmill_plugins.trainers.tokens.tokenising import Recording, tokenise

RECIPE = Path(__file__).resolve().parents[2] / "recipes/mmedbench.yaml"
SCORES = RECIPE.parent / "published/mmedbench.yaml"
SIX = ("en", "zh", "ja", "fr", "ru", "es")
TRAIN = {"en": 10_178, "zh": 27_400, "ja": 1_590, "fr": 2_171, "ru": 1_052, "es": 2_657}
SETS = {"en": "medqa_us", "zh": "medqa_mainland", "fr": "frenchmedmcqa", "ru": "rumeddanet", "es": "headqa"}
# For each language: words of the prompt that asks for a rationale, a rationale, words of the exam's prompt, and its answer.
SAID = {
    "en": (
        "Explain why this answer is right",
        "The finding points to it, and the others do not fit.",
        "Answer the medical question",
        "The finding points to it.\nAnswer: A",
    ),
    "zh": (
        "请解释该答案为什么正确",
        "题干中的表现符合该答案，其余各项与题干不符，因此选择该答案。",
        "请回答下面的医学选择题",
        "题干中的表现符合该答案。\n答案：A",
    ),
    "ja": (
        "なぜそれが正解なのかを説明してください",
        "問題文の所見はこの答えに合い、ほかの選択肢は合わない。",
        "以下の医学の問題に答えてください",
        "問題文の所見はこれに合う。\n答え：A",
    ),
    "fr": (
        "Expliquez pourquoi cette réponse est la bonne",
        "Les signes décrits orientent vers cette réponse et les autres propositions ne conviennent pas.",
        "Répondez à la question médicale",
        "Les signes décrits l'indiquent.\nRéponse : A",
    ),
    "ru": (
        "Ниже даны медицинский вопрос",
        "Описанные признаки указывают на этот ответ, а остальные варианты не подходят.",
        "Ответьте на медицинский вопрос",
        "Описанные признаки указывают на него.\nОтвет: A",
    ),
    "es": (
        "Explique por qué esa respuesta es la correcta",
        "Los hallazgos descritos apuntan a esta respuesta y las demás no encajan.",
        "Responda a la siguiente pregunta médica",
        "Los hallazgos lo indican.\nRespuesta: A",
    ),
}

LEFT = "Which two of these vitamins are soluble in fat?"  # the writer says nothing to this


@cache
def assembled(profile: str | None) -> Assembly:
    """The recipe in a profile, read once."""
    return assemble(RECIPE, profile=profile)


# --- what is published ---


def test_paper_and_published_declare_the_published_counts() -> None:
    rows = read_published(SCORES).rows
    assert sum(rows.values()) == 8_518 and sum(TRAIN.values()) == 45_048
    paper = assembled("paper")
    splits = {code: paper.sources[name].expect.rows for code, name in SETS.items()}  # type: ignore[union-attr]
    assert {code: found["train"] for code, found in splits.items()} == {code: TRAIN[code] for code in SETS}  # type: ignore[index]
    test = {code: found.get("test", found.get("dev")) for code, found in splits.items()}  # type: ignore[union-attr]
    assert test == {code: rows[code] for code in SETS}
    igakuqa = paper.sources["igakuqa"]
    assert igakuqa.expect and igakuqa.expect.rows == 2_000
    assert igakuqa.test == pytest.approx(rows["ja"] / (rows["ja"] + TRAIN["ja"]), abs=1e-4)
    assert set(paper.datasets["mmedbench"].inputs) == {*SETS.values(), "igakuqa"}
    whole = assembled("published")
    for code in SIX:
        expect = whole.sources[f"mmedbench_{code}"].expect
        assert expect and expect.rows == {"train": TRAIN[code], "test": rows[code]}
    assert all(loader.home for made in (paper, whole) for loader in made.sources.values() if "$data_dir" in loader.path)


@pytest.mark.parametrize("profile", [None, "public", "paper"])
def test_rationales_are_written_for_all_splits_and_no_row_is_lost_for_one(profile: str | None) -> None:
    made = assembled(profile)
    assert tuple(made.packs) == SIX
    [step] = made.datasets["mmedbench"].steps
    assert isinstance(step.part, Explain)
    assert (step.part.splits, step.part.keep) == (("train", "dev", "test"), "unmade")
    [last] = made.datasets["reviewed"].steps
    assert isinstance(last.part, Reviewed) and last.part.of == "mmedbench"
    assert [use for use, _ in made.datasets["mmedbench"].write] == ["review_sheet"]
    assert [use for use, _ in made.datasets["reviewed"].write] == ["mmedbench_jsonl", "messages_jsonl"]


@pytest.mark.parametrize("profile", ["paper", "published"])
def test_it_asks_in_the_published_settings(profile: str) -> None:
    made = assembled(profile)
    accuracy, likeness = (part for _, part in made.evaluators)
    settings = read_published(SCORES).settings
    assert settings == {"ask": "generation", "shots": 0, "orders": 1, "max_tokens": 1000}
    assert not read_published(SCORES).unlike(accuracy.model_dump())
    assert made.context("eval").path(accuracy.published) == SCORES  # type: ignore[attr-defined]
    assert accuracy.limit is likeness.limit is None and accuracy.data == "mmedbench" and likeness.data == "reviewed"
    assert likeness.measures == ("bleu1", "rouge1") and likeness.max_tokens == 1000  # type: ignore[attr-defined]
    assert made.models["asked"].temperature == 0


def test_ours_stands_beside_published_scores_only_where_rows_and_settings_agree() -> None:
    rows = read_published(SCORES).rows

    def facts(counts: dict[str, int], **options: object) -> dict[str, object]:
        scores = [{"metric": "generation", "language": code, "n": n, "accuracy": 0.5} for code, n in counts.items()]
        asked = {"ask": ["generation"], "shots": 0, "orders": 1, "max_tokens": 1000, **options}
        return {"mine": {"options": asked, "scores": scores}}

    found = beside(SCORES, facts(rows))  # type: ignore[arg-type]
    assert found.columns == (*rows, "mean") and not found.apart and len(found.lines) == 21
    assert found.lines[0] == ("mine", True, (50.0,) * 7)
    by_name = {name: values for name, _, values in found.lines}
    assert by_name["GPT-4"][-1] == pytest.approx(75.31, abs=0.01), "the mean of its figures, not the stated one"
    found = beside(SCORES, facts({**rows, "ja": 162}))  # type: ignore[arg-type]
    assert found.columns == ("en", "zh", "fr", "ru", "es") and found.apart == ("ja: 162 rows here, 199 there",)
    found = beside(SCORES, facts(rows, max_tokens=160, shots=3))  # type: ignore[arg-type]
    assert not found.lines and found.apart == ("shots: 3 here, 0 there", "max_tokens: 160 here, 1000 there")
    found = beside(SCORES, facts(rows, ask=["letters", "text"]))  # type: ignore[arg-type]
    assert not found.lines and found.apart == ("ask: letters, text here, generation there",)
    absent = beside(SCORES.with_name("none.yaml"), facts(rows))  # type: ignore[arg-type]
    assert not absent.lines and "none.yaml" in absent.apart[0], "told, and no run ends on it"


def test_what_the_comments_say_to_type_holds(tmp_path: Path) -> None:
    text = RECIPE.read_text("utf-8")
    said = re.findall(r"--set ('[^']+'|\S+)", text)
    assert len(said) == 6
    made = assemble(RECIPE, profile="public", sets=[option.strip("'") for option in said])
    accuracy, likeness = (part for _, part in made.evaluators)
    [step] = made.datasets["mmedbench"].steps
    assert made.sources["headqa"].limit is accuracy.limit is step.part.limit is None  # type: ignore[attr-defined]
    assert likeness.data == "reviewed" and likeness.bert_score == "google-bert/bert-base-multilingual-cased"  # type: ignore[attr-defined]
    assert "ko" in made.packs
    whole = text.replace("# kormedmcqa:", "kormedmcqa:").replace("      #   answers_from", "        answers_from")
    korean = tmp_path / "korean.yaml"
    korean.write_text(whole, "utf-8")
    made = assemble(korean, profile="paper", sets=["languages=[en, zh, ja, fr, ru, es, ko]"])
    assert made.sources["kormedmcqa"].expect.rows == 5_345  # type: ignore[union-attr]


def test_the_published_files_become_rows_with_what_people_said(tmp_path: Path) -> None:
    names = {"en": "English", "zh": "Chinese", "ja": "Japanese", "fr": "French", "ru": "Russian", "es": "Spanish"}
    record = {
        "question": "Which?",
        "options": {"A": "one", "B": "two", "C": "three"},
        "answer_idx": "A,C",
        "rationale": "So it is.",
    }
    said = [{"human_checked": True, "human_check_passed": passed} for passed in (True, False)]
    for folder in ("Train", "Test"):
        for name in names.values():
            path = tmp_path / "MMedBench" / folder / f"{name}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(record | one) + "\n" for one in said), "utf-8")
    made = assemble(RECIPE, profile="published", sets=[f"data_dir={tmp_path}"])
    for code in SIX:
        rows = rows_of(made, f"mmedbench_{code}")
        assert [(row.language, row.split, row.flags) for row in rows] == [
            (code, split, (f"explanation_{flag}",)) for split in ("test", "train") for flag in ("checked", "unchecked")
        ]
        assert {row.body for row in rows} == {Choice("Which?", ("one", "two", "three"), (0, 2), "So it is.")}


# --- on real rows ---


@NEEDS_DATA[0]
@NEEDS_DATA[1]
def test_sources_at_hand_have_the_published_splits() -> None:
    """Of the sets of the paper's profile that lie here: records by split, as they are declared; no row is lost for a picture."""
    made = assemble(RECIPE, profile="paper", sets=[f"data_dir={DATA.resolve()}"])
    rows = {name: rows_of(made, name) for name in ("frenchmedmcqa", "rumeddanet", "headqa", "igakuqa")}
    found = {name: Counter(row.split for row in some) for name, some in rows.items()}
    assert found["frenchmedmcqa"] == {"train": 2_170}, "2,171 records, one of them twice; test is not at hand"
    assert found["rumeddanet"] == {"train": 1_052, "test": 256}
    assert found["headqa"] == {"train": 2_657}
    share = found["igakuqa"]["test"] / found["igakuqa"].total()
    assert found["igakuqa"].total() > 1_100 and 0.08 < share < 0.15
    # a row of another language than its set's would be one too many in a column of published scores
    for name, code in (("frenchmedmcqa", "fr"), ("rumeddanet", "ru"), ("headqa", "es"), ("igakuqa", "ja")):
        assert {row.language for row in rows[name]} == {code}
    french = [row.body for row in rows["frenchmedmcqa"]]
    several = sum(len(body.answers) > 1 for body in french if isinstance(body, Choice))
    assert round(100 * several / len(french), 1) == 72.6
    russian = [row for row in rows["rumeddanet"] if row.split == "test"]
    assert sum(row.body.answers == (0,) for row in russian) == 128  # type: ignore[union-attr]


@NEEDS_DATA[0]
@NEEDS_DATA[1]
def test_a_train_row_becomes_two_examples() -> None:
    """Both answers of every real row: 45,048 rows are 90,096 examples."""
    rows = [
        row
        for one in ("french", "russian")
        for row in load(one)
        if row.split == "train" and isinstance(row.body, Choice)
    ][-120:]
    explained = [row.child("explain", _explained(row.body)) for row in rows]  # type: ignore[arg-type]
    stage = AdapterStage(name="choices", data="x", choices={"answer": "both"})
    context = assembled(None).context("train")
    how = Recording(byte_tokenizer(), context, 4096, stage, context.seed_for)
    assert len(tokenise(explained, how).examples) == 2 * len(explained) == 240
    assert 2 * sum(TRAIN.values()) == 90_096


def byte_tokenizer() -> Any:
    """A token a byte: how many examples a row becomes is not the tokenizer's doing, and the packaged one takes long to unpack."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = {letter: at for at, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    bare = Tokenizer(models.BPE(vocab=letters, merges=[]))
    bare.pre_tokenizer, bare.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    bare.add_special_tokens(["<s>", "</s>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bare, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ bos_token + m.role + '\\n' + m.content + eos_token + '\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ bos_token + 'assistant\\n' }}{% endif %}"
    )
    return tokenizer


def _explained(body: Choice) -> Choice:
    return Choice(body.question, body.options, body.answers, "Parce que les autres ne conviennent pas.", body.context)


@NEEDS_DATA[0]
@NEEDS_DATA[1]
def test_from_sets_to_reviewed_rationales_to_scores(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The public profile on a few real rows of each language: rationales, a reviewed sheet, flags, the published layout, scores."""
    name = "mmedbench.public"
    monkeypatch.setenv("FACTORY_DATA", str(DATA.resolve()))
    shutil.copy(RECIPE, bench.folder)
    bench.data("choice.*.jsonl", "bare.*.jsonl")
    bench.write("published/mmedbench.yaml", SCORES.read_text("utf-8"))
    bench.script(
        ([LEFT, SAID["en"][0]], {"explanation": ""}),  # type: ignore[arg-type]
        *((key, {"explanation": text}) for key, text, _, _ in SAID.values()),
        *((key, text) for _, _, key, text in SAID.values()),
    )
    # CMExam, the Chinese set of the profile, brings explanations of its own and takes seconds to open: our own rows stand for it.
    sets = ("medqa_us", "igakuqa", "frenchmedmcqa", "rumeddanet", "headqa")
    words = [
        "mmedbench.yaml",
        "--profile",
        "public",
        *(word for one in sets for word in ("--set", f"sources.{one}.limit=2")),
    ]
    for option in (
        "run={use: local, workers: 1}",  # processes take longer to start than these rows
        "llm={model: scripted/writer, answers: script.jsonl}",
        "models.asked={model: scripted/asked, answers: script.jsonl}",
        f"datasets.mmedbench.from=[own_choice, own_bare, {', '.join(sets)}]",
        "datasets.mmedbench.steps.0.limit=null",
        "eval.1.data=reviewed",
        "eval.0.limit=4",
        "eval.1.limit=null",
        "eval.0.published=published/mmedbench.yaml",
    ):
        words += ["--set", option]
    said = bench.factory("run", *words, "--until", "data")
    assert said.code == 0, said.err
    before = {row.id: row for row in bench.rows("mmedbench", name)}
    made = [row for row in before.values() if row.id.endswith("/explain")]
    assert {row.split for row in made} == {"train", "test"}
    assert {row.language for row in made} == set(SIX)
    read = sum(
        counts.get("kept", 0) for step, counts in bench.funnel("mmedbench", name).items() if step.startswith("read ")
    )
    assert len(before) == read, "each row once, with a rationale or without"
    [left] = [row for row in before.values() if row.body.question.startswith(LEFT)]  # type: ignore[union-attr]
    assert left.id == "own_bare/en-bare-03" and left.body.explanation is None  # type: ignore[union-attr]
    assert [one.record for one in bench.rejects("mmedbench", name) if "steps" in one.step] == ["en-bare-03"]

    # people fill in one sheet a language: the first row of ours passes, the second fails
    review = bench.folder / f"runs/{name}/mmedbench/review"
    assert {path.name for path in review.glob("*.csv")} == {f"{code}.csv" for code in SIX}
    verdicts = {}
    for path in review.glob("*.csv"):
        lines = list(csv.DictReader(path.open(encoding="utf-8-sig", newline="")))
        for line, word in zip(lines, ("pass", "fail"), strict=False):
            line["verdict"] = verdicts[line["id"]] = word
        target = bench.write(f"review/mmedbench_public/{path.name}", "")
        with target.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, list(lines[0]), delimiter=";")
            table.writeheader()
            table.writerows(lines)

    said = bench.factory("run", *words)
    assert said.code == 0, said.err
    rows = bench.rows("reviewed", name)
    flagged = Counter(flag for row in rows for flag in row.flags if flag.startswith("explanation_"))
    assert flagged["explanation_checked"] == flagged["explanation_failed"] == 6
    for row in rows:
        old = before[row.id]
        assert row.body == old.body and row.origin == old.origin
    lines = [
        json.loads(line)
        for path in (bench.folder / f"runs/{name}/reviewed/mmedbench").rglob("*.jsonl")
        for line in path.read_text("utf-8").splitlines()
    ]
    assert len(lines) == len(rows)
    assert {line["id"]: line["human_check_passed"] for line in lines if line["human_checked"]} == {
        id: word == "pass" for id, word in verdicts.items()
    }

    facts = bench.run(name).read_json("eval/mmedbench.choice_accuracy.asked.json")
    assert facts is not None
    scores = {score["language"]: score for score in facts["scores"] if score["metric"] == "generation"}
    by_row = {item["row"]: item["value"] for item in facts["items"] if item["metric"] == "generation"}
    for code in SIX:
        asked = [before[id] for id in by_row if before[id].language == code]
        right = sum(row.body.answers == (0,) for row in asked)  # type: ignore[union-attr]
        assert (scores[code]["n"], scores[code]["correct"], scores[code]["unreadable"]) == (4, right, 0)
    mean = sum(scores[code]["accuracy"] for code in SIX) / 6
    assert scores["all"]["accuracy"] == pytest.approx(mean), "the macro mean"
    likeness = bench.run(name).read_json("eval/reviewed.rationale_similarity.asked.json")
    assert likeness is not None
    bleu = {score["language"]: score["n"] for score in likeness["scores"] if score["metric"] == "bleu1"}
    assert bleu == {**dict.fromkeys(SIX, 1), "all": 6}, "what passed, and nothing else"
    page = (bench.folder / f"runs/{name}/report.html").read_text("utf-8")
    assert "Beside published scores" in page and "ja: 4 rows here, 199 there" in page
