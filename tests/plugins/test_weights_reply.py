"""Answers that are written many at once are those that are written one by one, and end where they should."""

from __future__ import annotations

import asyncio
import functools
from pathlib import Path
from typing import Any

import pytest
from tests.plugins.test_weights_score import KINDS, opened, questions
from tests.tiny_models import PACKAGED, tiny_base

from langmill.api import Context, FactoryError, Message, Question
from langmill.evaluation.answers import AnswerFile
from langmill.evaluation.asking import ask_here
from langmill_plugins.trainers.tokens.templates import chat_text
from langmill_plugins.trainers.weights import asked as asking
from langmill_plugins.trainers.weights import reading
from langmill_plugins.trainers.weights.local_weights import LocalWeights
from langmill_plugins.trainers.weights.reading import Room
from langmill_plugins.trainers.weights.writing import end_ids


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return Context("train.one", 17, {}, tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def tiny(context: Context, tmp_path_factory: pytest.TempPathFactory) -> Any:
    @functools.cache
    def made(kind: str) -> LocalWeights:
        return opened(tiny_base(tmp_path_factory.mktemp("base") / kind, kind, **KINDS[kind]), context)

    return made


def written(number: int = 11) -> list[Question]:
    """Questions to be answered in words, each in a bound of its own: 1 to 11 tokens, or the model's."""
    made = questions(number)
    return [
        Question(one.name, one.row, "en", one.messages, (), None if at % 5 == 4 else at % 12 + 1)
        for at, one in enumerate(made)
    ]


def by_hand(llm: LocalWeights, question: Question, most: int) -> tuple[str, int, int]:
    """Transformers' own way, one prompt at a time: text, tokens of the prompt and of the answer."""
    ids, made = generated(llm, question, most)
    return llm.loaded()[0].decode(made, skip_special_tokens=True).strip(), len(ids), len(made)


def generated(llm: LocalWeights, question: Question, most: int) -> tuple[list[int], list[int]]:
    """The tokens of the prompt and of the answer."""
    import torch

    tokenizer, model = llm.loaded()
    ids = tokenizer(chat_text(tokenizer, question.messages, ask=True), add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        made = model.generate(
            input_ids=torch.tensor([ids]), attention_mask=torch.ones((1, len(ids)), dtype=torch.long),
            max_new_tokens=most, do_sample=False, eos_token_id=end_ids(tokenizer, model), pad_token_id=tokenizer.pad_token_id,
        )[0, len(ids) :].tolist()  # fmt: skip
    return ids, made


@pytest.mark.parametrize("kind", KINDS)
def test_as_one_by_one(kind: str, tiny: Any) -> None:
    llm, asked = tiny(kind).model_copy(update={"max_tokens": 14}), written()
    found = dict(llm.reply(asked))
    assert sorted(found) == list(range(len(asked)))
    for number, question in enumerate(asked):
        one = found[number]
        assert (one.text, one.prompt_tokens, one.answer_tokens) == by_hand(llm, question, question.max_tokens or 14)
        assert one.cost == 0.0
    assert len({one.text for one in found.values()}) > 5


def test_all_questions_are_looked_at_before_the_first_is_asked(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of scored and of written ones, however many are held at once; and nothing is read for it."""
    monkeypatch.setattr(asking, "WAVE", 2)
    llm, fine = tiny("llama"), questions(5)
    long = [Question(f"long {at}", "", "en", (Message("user", "liver " * 600),), ("A",)) for at in range(2)]
    monkeypatch.setattr(reading.Reader, "forward", lambda *more, **named: pytest.fail("something was read"))
    with pytest.raises(FactoryError, match=r"^2 questions are longer.*'long 0'"):
        llm.score([*fine, long[0], *fine, long[1]])
    writes = Question("write it", "", "en", long[0].messages, (), 4)
    with pytest.raises(FactoryError, match=r"^1 questions are longer.*'write it'"):
        ask_here(llm, [*fine, writes], AnswerFile(tmp_path / "answers.jsonl", "key"), lambda done, of: None)


def test_as_many_at_once_as_may_be_changes_nothing(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    llm = tiny("llama").model_copy(update={"max_tokens": 6})
    text = Question("text", "", "en", (), ("The liver stores bile.",))
    scored, wrote = [*questions(5), text, *questions(3, seed=4)], written(5)
    likely, said = dict(llm.score(scored)), dict(llm.reply(wrote))
    monkeypatch.setattr(asking, "WAVE", 2)
    found = dict(llm.score(scored))
    for number in range(len(scored)):
        values = [[one.log_probability for one in some[number]] for some in (found, likely)]
        assert values[0] == pytest.approx(values[1], rel=1e-4)
    assert dict(llm.reply(wrote)) == said


def test_little_room_changes_nothing(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    llm, asked = tiny("gemma3_text").model_copy(update={"max_tokens": 8}), written()
    wide = dict(llm.reply(asked))
    monkeypatch.setitem(reading.ROOM, "cpu", Room(read=20, kept=300 * 2 * 2 * 2 * 16 * 4, logits=1, rows=3))
    forward, rows = reading.Reader.forward, []

    def counted(self: Any, ids: Any, *more: Any, **named: Any) -> Any:
        rows.append(len(ids))
        return forward(self, ids, *more, **named)

    monkeypatch.setattr(reading.Reader, "forward", counted)
    assert dict(llm.reply(asked)) == wide
    assert 1 < max(rows) <= 3


def test_it_ends_at_an_end_token(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that the model does write is named as an end: the answer stops there, the others go on."""
    llm = tiny("llama").model_copy(update={"max_tokens": 12})
    asked = [Question(one.name, one.row, "en", one.messages) for one in written()]
    tokenizer, model = llm.loaded()
    before = dict(llm.reply(asked))
    end = generated(llm, asked[0], 12)[1][5]
    monkeypatch.setattr(model.generation_config, "eos_token_id", [end, tokenizer.eos_token_id])
    after = dict(llm.reply(asked))
    assert after[0].finish == "stop"
    assert after[0].answer_tokens < before[0].answer_tokens == 12
    assert {one.finish for one in after.values()} == {"stop", "length"}
    for number, question in enumerate(asked):
        assert (after[number].text, after[number].answer_tokens) == by_hand(llm, question, 12)[::2]


def test_as_soon_as_one_is_done(tiny: Any) -> None:
    """The first answer is there before the longest has begun its second half."""
    short = Question("short", "", "en", (Message("user", "Why?"),), (), 1)
    long = Question("long", "", "en", (Message("user", "How?"),), (), 40)
    answers = tiny("llama").reply([long, short])
    assert next(answers)[0] == 1
    assert [number for number, _ in answers] == [0]


def test_through_the_engine_it_says_the_same(tiny: Any) -> None:
    llm = tiny("qwen3").model_copy(update={"max_tokens": 9})
    asked = [Question(one.name, "", "en", one.messages) for one in written(3)]
    found = dict(llm.reply(asked))

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(llm.answer(one.messages, seed=1) for one in asked))

    assert asyncio.run(all_at_once()) == [found[number] for number in range(3)]


def test_no_room_left_to_answer(tiny: Any, context: Context, tmp_path: Path) -> None:
    """It writes to the end of what it reads; a prompt that fills that is named."""
    llm = opened(tiny_base(tmp_path / "small", max_position_embeddings=64), context)
    tokenizer = llm.loaded()[0]

    def question(words: int) -> Question:
        return Question("the question", "", "en", (Message("user", "liver" + " liver" * words),))

    def length(words: int) -> int:
        return len(tokenizer(chat_text(tokenizer, question(words).messages, ask=True))["input_ids"])

    fits = next(words for words in range(64) if length(words) == 60)
    ((_, answer),) = llm.reply([question(fits)])
    assert (answer.answer_tokens, answer.finish) == (5, "length")
    with pytest.raises(FactoryError, match=r"1 questions are longer.*64 tokens.*'the question'"):
        list(llm.reply([question(fits + 5)]))


def test_the_packaged_model(context: Context) -> None:
    llm = opened(PACKAGED, context)
    asked = [
        Question(str(number), "", "en", (Message("user", words),), (), 6)
        for number, words in enumerate(("What stores bile?", "Name a bone of the leg, please.", "Hi"))
    ]
    found = dict(llm.reply(asked))
    for number, question in enumerate(asked):
        assert (found[number].text, found[number].answer_tokens) == by_hand(llm, question, 6)[::2]
