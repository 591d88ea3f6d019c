"""Rationales against explanations: what earns something, what earns nothing, and figures that others compute, too."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Bench
from tests.public_sets import NEEDS_DATA, PACKS, load

from langmill.api import (
    Answer,
    Answered,
    Chat,
    Choice,
    EvalContext,
    Marked,
    MissingInput,
    Origin,
    Row,
    SourceContext,
)
from langmill.scores.summing import scores_of
from langmill_plugins.evaluators.rationale_similarity import RationaleSimilarity, rationale_of
from langmill_plugins.evaluators.similarity import similarities
from langmill_plugins.loaders.table import Table

CONTEXT = EvalContext("eval[0]", 17, PACKS, Path())
ALL = ("bleu1", "bleu4", "rouge1", "rougeL", "rouge1_set")
EVALUATOR = RationaleSimilarity(data="mc", models=("base",), measures=ALL)
REASONS = {
    "en": "Iron is needed for haemoglobin, and its lack is the commonest cause of anaemia.",
    "es": "El hierro es necesario para la hemoglobina; su falta es la causa más frecuente de anemia.",
    "fr": "Le fer est nécessaire à l'hémoglobine et son manque est la cause la plus fréquente d'anémie.",
    "ru": "Железо нужно для гемоглобина, и его нехватка чаще всего вызывает анемию.",
    "ko": "철은 헤모글로빈에 필요하며, 철 결핍은 빈혈의 가장 흔한 원인이다.",
    "zh": "铁是合成血红蛋白的原料，缺铁是贫血最常见的原因。",
    "ja": "鉄はヘモグロビンの材料であり、その欠乏が貧血の最も多い原因である。",
}


def row_of(name: str, language: str = "en", explanation: str | None = None, *flags: str) -> Row:
    body = Choice("Which one?", ("iron", "zinc"), (0,), explanation or REASONS[language])
    return Row(name, language, "test", name, body, Origin("test", name, ("CC0-1.0",)), flags)


def marked(rows: Sequence[Row], replies: Sequence[str], evaluator: RationaleSimilarity = EVALUATOR) -> Marked:
    questions = list(evaluator.questions(rows, CONTEXT))
    answered = [Answered(question, Answer(text)) for question, text in zip(questions, replies, strict=True)]
    return asyncio.run(evaluator.mark(rows, answered, CONTEXT))


def values(found: Marked) -> dict[tuple[str, str], float]:
    return {(item.row, item.metric): item.value for item in found.items}


@pytest.mark.parametrize("code", REASONS)
def test_a_rationale_is_like_itself_and_unlike_another(code: str) -> None:
    """Tokenizers that know the letters a to z alone give a Cyrillic or a kanji text 0 against itself."""
    rows = [row_of("a", code), row_of("b", code)]
    assert isinstance(rows[0].body, Choice)
    other = REASONS["ru" if code != "ru" else "zh"]
    found = values(marked(rows, [f"{REASONS[code]}\n{PACKS[code].answer_line((0,))}", other]))
    for measure in ALL:
        assert found["a", measure] == pytest.approx(1.0), measure
        assert found["b", measure] < 0.2, measure


def test_half_of_it_by_hand() -> None:
    """Four of the reference's eight words, no others: BLEU-1 is the brevity penalty, ROUGE-1 has recall a half."""
    row = row_of("a", "en", "one two three four five six seven eight")
    found = values(marked([row], ["one two three four"]))
    assert found["a", "bleu1"] == pytest.approx(2.718281828 ** (1 - 8 / 4))
    assert found["a", "bleu4"] == pytest.approx(2.718281828 ** (1 - 8 / 4))
    assert found["a", "rouge1"] == found["a", "rougeL"] == pytest.approx(2 / 3)
    again = values(marked([row], ["one one one one"]))
    assert again["a", "rouge1"] == pytest.approx(2 * (1 / 4) * (1 / 8) / (1 / 4 + 1 / 8))
    assert again["a", "rouge1_set"] == pytest.approx(2 / (1 + 8))
    turned = values(marked([row], ["four three two one"]))
    assert turned["a", "rouge1"] == pytest.approx(2 / 3)
    assert turned["a", "rougeL"] == pytest.approx(2 * (1 / 4) * (1 / 8) / (1 / 4 + 1 / 8))


def test_bleu_is_nltks_with_smoothing_method1() -> None:
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    measures = similarities(("bleu1", "bleu4"), "x")
    draw = random.Random(5)
    smooth = SmoothingFunction().method1
    for _ in range(200):
        reference = [draw.choice("abcdefghij") for _ in range(draw.randint(4, 40))]
        words = [draw.choice("abcdefghijklmn") for _ in range(draw.randint(4, 40))]
        for name, weights in (("bleu1", (1.0,)), ("bleu4", (0.25,) * 4)):
            theirs = sentence_bleu([reference], words, weights=weights, smoothing_function=smooth)
            assert measures[name](words, reference) == pytest.approx(theirs, abs=1e-9), (words, reference)
    assert measures["bleu4"](["a", "b"], ["a", "b", "c"]) == 0.0  # where NLTK counts n-grams that can not be


@pytest.mark.parametrize(
    ("code", "reply"),
    [
        ("en", "{reason}\nAnswer: A"),
        ("en", "{reason}\n\n**Answer:** A"),
        ("en", "Answer: A. iron\n{reason}"),
        ("en", "{reason} Answer: (A)"),
        ("en", "{reason}\n## Answer: **A, B**"),
        ("en", "<think>Zinc? No, not zinc at all.</think>{reason}\nAnswer: A"),
        ("en", "A\n{reason}"),
        ("fr", "{reason}\nRéponse : A"),
        ("fr", "{reason}\nRéponse: A."),
        ("es", "{reason}\n\nRespuesta: A, B"),
        ("ru", "{reason}\nОтвет: A"),
        ("ko", "{reason}\n정답: A"),
        ("zh", "{reason}\n答案：A、B"),
        ("zh", "{reason}答案: A"),
        ("ja", "{reason}\n答え：A"),
        ("ja", "{reason}\n**答え：A**"),
    ],
)
def test_the_answer_line_is_no_rationale(code: str, reply: str) -> None:
    found = marked([row_of("a", code)], [reply.format(reason=REASONS[code])])
    assert [item.value for item in found.items] == pytest.approx([1.0] * len(ALL))


@pytest.mark.parametrize(
    "reply", ["", "  \n", "A", "Answer: A", "Answer: A. iron", "**Answer: A**\n", "(A)", "<think>x</think>"]
)
def test_a_reply_without_a_rationale_earns_nothing_and_is_counted(reply: str) -> None:
    """An answer line alone is no rationale, even where the explanation holds the same line."""
    row = row_of("a", "en", "Iron, as in all tables. Answer: A. iron")
    (score, *_) = scores_of(marked([row], [reply]), EVALUATOR.metrics, 1)
    assert (score.value, score.n, score.unreadable) == (0.0, 1, 1)


@pytest.mark.parametrize(
    "text",
    [
        "Answer: a patient like this needs iron.",
        "The answer is iron.",
        "Vitamin A is fat-soluble.",
        "A 45-year-old man.",
    ],
)
def test_sentences_are_kept(text: str) -> None:
    assert rationale_of(text, PACKS["en"], ("iron", "zinc")) == text


@pytest.mark.parametrize(
    "text", ["The answer: A drug which thins.", "Answer: A drug which thins.", "What is the answer: A or B?"]
)
def test_prose_is_not_cut_for_its_words(text: str) -> None:
    assert rationale_of(text, PACKS["en"], ("iron", "zinc")) == text


def test_thoughts_that_never_end_earn_nothing() -> None:
    (score, *_) = scores_of(marked([row_of("a")], [f"<think>{REASONS['en']} But wait,"]), EVALUATOR.metrics, 1)
    assert (score.value, score.unreadable) == (0.0, 1)


@pytest.mark.parametrize("part", ["**", "(", "* ", "Answer: A, ", "Answer: "])
def test_a_text_that_loops_is_cut_in_its_time(part: str) -> None:
    """100,000 characters: what grew with the square of them took minutes, and the tests would not end."""
    rationale_of(part * (100_000 // len(part)), PACKS["en"], ("iron", "zinc"))


def test_what_follows_the_letter_is_kept_unless_it_is_the_option() -> None:
    cut = rationale_of("Answer: A, since iron is needed.", PACKS["en"], ("iron", "zinc"))
    assert cut == ", since iron is needed."
    assert rationale_of("答案：A。铁是原料。", PACKS["zh"], ("铁剂", "锌剂")) == "铁是原料。"


def test_rows_that_can_not_be_compared_are_passed_over() -> None:
    bare = Row("bare", "en", "test", "bare", Choice("Q", ("x", "y"), (0,)), Origin("t", "b", ("CC0-1.0",)))
    chat = Row("chat", "en", "test", "chat", Chat.of("Why?", "So."), Origin("t", "c", ("CC0-1.0",)))
    failed = row_of("failed", "en", None, "explanation_unchecked")
    passed = row_of("passed", "en", None, "explanation_checked")
    rows = [bare, chat, failed, passed, row_of("plain")]
    assert [question.row for question in EVALUATOR.questions(rows, CONTEXT)] == ["passed", "plain"]
    found = marked(rows, ["x", "y"])
    assert found.facts["left out"] == {"no explanation": 1, "not checked": 1}
    with pytest.raises(MissingInput, match="of its 1 rows with an explanation none was checked"):
        list(EVALUATOR.questions([bare, failed], CONTEXT))
    with pytest.raises(MissingInput, match="no multiple-choice rows with an explanation"):
        list(EVALUATOR.questions([bare, chat], CONTEXT))


def test_a_set_in_mmedbenchs_layout_says_what_was_checked(tmp_path: Path) -> None:
    record = {
        "question": "Which lack is the commonest cause of anaemia?", "options": {"A": "iron", "B": "zinc"}, "answer_idx": "A",
        "rationale": "Iron it is.", "human_checked": True,
    }  # fmt: skip
    told = [True, False, "True", 0, None, "maybe"]
    lines = [json.dumps({**record, "id": str(number), "human_check_passed": one}) for number, one in enumerate(told)]
    (tmp_path / "English.jsonl").write_text("\n".join([*lines, json.dumps({**record, "id": "none"})]), "utf-8")
    loader = Table(
        path=str(tmp_path), license="x", body="choice", language="en", answer="answer_idx", explanation="rationale"
    )
    items = list(loader.load(SourceContext("sources.s", 17, PACKS, Path(), source="s", license="x")))
    flags = {item.origin.record: item.flags for item in items if isinstance(item, Row)}
    yes, no = ("explanation_checked",), ("explanation_unchecked",)
    assert flags == {"0": yes, "1": no, "2": yes, "3": no, "4": (), "none": ()}
    assert [item.reason for item in items if not isinstance(item, Row)] == ["bad_check"]


def test_the_question_is_the_long_prompt_and_its_hash_is_kept() -> None:
    row = row_of("a", "ja")
    assert isinstance(row.body, Choice)
    (question,) = RationaleSimilarity(data="mc", models=("b",), max_tokens=99).questions([row], CONTEXT)
    assert question.messages[-1].content == PACKS["ja"].ask_choice(row.body)
    assert (question.max_tokens, question.continuations) == (99, ())
    found = marked([row, row_of("b", "ru")], ["x", "y"])
    assert set(found.prompts) == {"ja", "ru"} and len(set(found.prompts.values())) == 2
    assert found.facts["words"]["ja"].startswith("fugashi ") and set(found.facts["packages"]) == {
        "sacrebleu",
        "rouge-score",
    }


def test_the_stated_two_are_the_default_and_the_floor_is_told() -> None:
    evaluator = RationaleSimilarity(data="mc", models=("base",))
    rows = [row_of("a"), row_of("b", "en", "Zinc is an element."), row_of("c", "ru")]
    found = marked(rows, ["x", "y", "z"], evaluator)
    assert {item.metric for item in found.items} == {"bleu1", "rouge1"}
    (table,) = found.tables
    assert (table.rows, table.columns) == (
        ("en",),
        ("bleu1", "rouge1"),
    )  # one Russian row has no other to be held against
    assert all(0 < value < 0.4 for value in table.cells[0])


# --- BERTScore ---


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of four layers that knows letters."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("encoder")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "iron", "zinc", "is", "needed", "not", "."]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", "utf-8")
    BertTokenizerFast(vocab_file=str(folder / "vocab.txt"), model_max_length=16).save_pretrained(folder)
    torch.manual_seed(1)
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    config = BertConfig(vocab_size=len(vocabulary), max_position_embeddings=16, **sizes)
    BertModel(config).eval().save_pretrained(folder)
    return folder


def test_bert_score_is_the_greedy_cosine_by_hand(encoder: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    from langmill_plugins.evaluators.bert_score import f1_scores, load_encoder

    loaded = load_encoder(str(encoder), CONTEXT)
    assert loaded.layer == 3
    pairs = [("iron is needed .", "zinc is not needed"), ("iron", "iron"), ("", "iron"), ("iron is needed .", "zinc")]
    found = f1_scores(pairs, loaded)
    assert found[1] == pytest.approx(1.0) and found[2] == 0.0

    tokenizer, model = AutoTokenizer.from_pretrained(encoder), AutoModel.from_pretrained(encoder)

    def states(text: str) -> list[list[float]]:
        with torch.no_grad():
            read = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
        return [row.tolist() for row in read.hidden_states[3][0, 1:-1]]

    def cosine(one: list[float], other: list[float]) -> float:
        product = sum(a * b for a, b in zip(one, other, strict=True))
        return product / (sum(a * a for a in one) * sum(b * b for b in other)) ** 0.5

    mine, theirs = states("iron is needed ."), states("zinc is not needed")
    precision = sum(max(cosine(a, b) for b in theirs) for a in mine) / len(mine)
    recall = sum(max(cosine(a, b) for a in mine) for b in theirs) / len(theirs)
    assert found[0] == pytest.approx(2 * precision * recall / (precision + recall), abs=1e-5)


def test_bert_score_is_a_figure_beside_the_others(encoder: Path) -> None:
    evaluator = RationaleSimilarity(data="mc", models=("base",), bert_score=str(encoder))
    rows = [
        row_of("a", "en", "iron is needed . " * 20),
        row_of("b", "en", "zinc"),
    ]  # the first is cut at sixteen tokens
    found = marked(rows, ["iron is needed . " * 20, "A"], evaluator)
    scored = values(found)
    assert scored["a", "bert_score"] == pytest.approx(1.0, abs=1e-5) and scored["b", "bert_score"] == 0.0
    assert [item.readable for item in found.items if item.metric == "bert_score"] == [True, False]
    assert found.facts["bert_score"] == str(encoder)


def test_an_encoder_that_is_not_there_is_told_before_a_model_is_asked() -> None:
    evaluator = RationaleSimilarity(data="mc", models=("base",), bert_score="someone/no-such-encoder")
    with pytest.raises(MissingInput, match=r"eval\[0\]\.bert_score: no encoder 'someone/no-such-encoder'.*hf download"):
        list(evaluator.questions([row_of("a")], CONTEXT))


def test_an_encoder_without_weights_is_told(encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((encoder / "config.json").read_bytes())
    evaluator = RationaleSimilarity(data="mc", models=("base",), bert_score=str(tmp_path))
    with pytest.raises(MissingInput, match=r"eval\[0\]\.bert_score: no encoder .*model\.safetensors"):
        marked([row_of("a")], ["x"], evaluator)


# --- real rows ---


@pytest.mark.parametrize("name", [pytest.param(name, marks=NEEDS_DATA) for name in ("casimedicos", "cmexam", "korean")])
def test_real_rationales_are_like_themselves_and_not_like_one_another(name: str) -> None:
    rows = [row for row in load(name) if isinstance(row.body, Choice) and row.body.explanation]
    chosen = random.Random(3).sample(rows, 60)
    evaluator = RationaleSimilarity(data="mc", models=("base",))
    replies = [
        f"{row.body.explanation}\n{PACKS[row.language].answer_line(row.body.answers)}"
        for row in chosen
        if isinstance(row.body, Choice)
    ]
    found = marked(chosen, replies, evaluator)
    assert min(item.value for item in found.items) > 0.999
    assert all(value < 0.3 for cells in found.tables[0].cells for value in cells)


# --- a whole run ---

RECIPE = """\
name: small
languages: [en, ru]
run: {workers: 1}
models: {writer: {model: scripted/writer, answers: script.jsonl}}
sources:
  exam: {use: table, path: exam.jsonl, body: choice, license: CC0-1.0, explanation: rationale, answer: answer_idx}
datasets:
  exams: {from: [exam]}
eval:
  - {use: rationale_similarity, data: exams, models: [writer]}
  - {use: language_consistency, data: exams, models: [writer]}
"""


def test_a_model_behind_the_ledger_is_asked_once_for_both(bench: Bench) -> None:
    exam = [
        {"id": "a", "language": "en", "question": "Which lack makes anaemia?", "human_check_passed": True},
        {"id": "b", "language": "en", "question": "Which gas is carried?", "human_check_passed": False},
        {"id": "c", "language": "ru", "question": "Чего не хватает при анемии?"},
    ]
    rest = {"split": "test", "options": {"A": "Fe", "B": "Zn"}, "answer_idx": "A"}
    lines = [json.dumps({**rest, **one, "rationale": REASONS[one["language"]]}) for one in exam]  # type: ignore[index]
    bench.write("exam.jsonl", "\n".join(lines) + "\n")
    script = [
        {"match": "anaemia", "answer": f"{REASONS['en']}\nAnswer: A"},
        {"match": "carried", "answer": "Oxygen is carried by it.\nAnswer: B"},
        {"match": "анемии", "answer": f"{REASONS['en']}\nОтвет: A"},
    ]
    bench.write("script.jsonl", "\n".join(map(json.dumps, script)) + "\n")
    bench.write("small.yaml", RECIPE)
    said = bench.factory("run", "small.yaml")
    assert said.code == 0, said.err
    assert len(bench.answered()) == 3, "three prompts, two of them asked by both"
    found = bench.run().evaluations()
    alike, language = (found[f"exams.{name}.writer"] for name in ("rationale_similarity", "language_consistency"))
    values = {(score["language"], score["metric"]): score["value"] for score in alike["scores"]}
    assert values["en", "bleu1"] == pytest.approx(1.0) and values["ru", "bleu1"] < 0.2
    assert [item["row"] for item in alike["items"] if item["metric"] == "bleu1"] == ["exam/a", "exam/c"]
    assert {score["language"]: score["accuracy"] for score in language["scores"]} == {"en": 1, "ru": 0, "all": 0.5}
    assert alike["prompts"] == language["prompts"] and alike["prompts"]["ru"].startswith("choice@")
