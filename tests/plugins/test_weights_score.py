"""Log-likelihoods read in batches, on top of what is kept, are those of one pass a pair; and what is read is bounded."""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.tiny_models import PACKAGED, packaged_tokenizer, tiny_base

from langmill.api import Context, FactoryError, Likelihood, Message, Question
from langmill_plugins.trainers.peft import PeftTrainer
from langmill_plugins.trainers.tokens.templates import chat_text
from langmill_plugins.trainers.weights import reading
from langmill_plugins.trainers.weights.asked import _Continued
from langmill_plugins.trainers.weights.local_weights import LocalWeights
from langmill_plugins.trainers.weights.reading import Prompt, Room, grouped
from langmill_plugins.trainers.weights.scoring import _spans

WORDS = [
    "fever",
    "cough",
    "liver",
    "heart",
    "心臓",
    "сердце",
    "corazón",
    "병원",
    "drug",
    "dose",
    "of",
    "the",
    "and",
    "blood",
]
KINDS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen3": {},
    "gemma3_text": {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]},
    "lfm2": {"layer_types": ["conv", "full_attention"], "full_attn_idxs": [1]},  # keeps states: nothing can be shared
    "phi3": {  # a line beyond 96 tokens turns the places of all that it is read with
        "rope_parameters": {
            "rope_type": "longrope",
            "rope_theta": 1e4,
            "short_factor": [1.0] * 8,
            "long_factor": [4.0] * 8,
        },
        "original_max_position_embeddings": 96,
    },
}


def said(dice: random.Random, words: int) -> str:
    return " ".join(dice.choices(WORDS, k=words))


def questions(number: int = 12, seed: int = 1) -> list[Question]:
    """Exam-like questions: two languages' heads, prompts of 1 to 60 words, letters and options of 1 to 12 words."""
    dice = random.Random(seed)
    heads = (
        "Answer this question of a medical exam with one letter, and with nothing but that letter. ",
        "回答してください。",
    )
    made = []
    for at in range(number):
        prompt = (heads[at % 2] if at % 5 else "") + said(dice, dice.randint(1, 60))
        options = [said(dice, dice.randint(1, 12)) for _ in range(dice.randint(2, 5))]
        letters = list("ABCDE"[: len(options)])
        chat = (Message("user", prompt),)
        if at % 7 == 3:
            chat = (Message("user", "Yes?"), Message("assistant", "No."), *chat)
        made.append(Question(f"q{at}", f"q{at}", "en", chat, (*letters, *options)))
    return made


def opened(folder: Path | str, context: Context) -> LocalWeights:
    llm = PeftTrainer(base=str(folder)).open(None, context)
    assert isinstance(llm, LocalWeights)
    return llm


def by_hand(llm: LocalWeights, question: Question) -> list[float]:
    """Each pair in a pass of its own, nothing shared, nothing padded."""
    import torch

    tokenizer, model = llm.loaded()
    head = chat_text(tokenizer, question.messages, ask=True)
    before = tokenizer(head, add_special_tokens=False)["input_ids"]
    found = []
    for words in question.continuations:
        whole = tokenizer(head + words, add_special_tokens=False)["input_ids"]
        assert whole[: len(before)] == before
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([whole[:-1]])).logits[0, len(before) - 1 :]  # the last is not read
        chances = logits.double().log_softmax(-1)
        found.append(sum(float(chances[at, token]) for at, token in enumerate(whole[len(before) :])))
    return found


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return Context("train.one", 17, {}, tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def tiny(context: Context, tmp_path_factory: pytest.TempPathFactory) -> Any:
    @functools.cache
    def made(kind: str) -> LocalWeights:
        return opened(tiny_base(tmp_path_factory.mktemp("base") / kind, kind, **KINDS[kind]), context)

    return made


def count_tokens(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What passes through: (rows, columns) of each pass."""
    passes: list[tuple[int, int]] = []
    forward = reading.Reader.forward

    def counted(self: Any, ids: Any, *more: Any, **named: Any) -> Any:
        passes.append(tuple(ids.shape))
        return forward(self, ids, *more, **named)

    monkeypatch.setattr(reading.Reader, "forward", counted)
    return passes


@pytest.mark.parametrize("kind", KINDS)
def test_as_one_pass_a_pair(kind: str, tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    llm, asked = tiny(kind), questions()
    passes = count_tokens(monkeypatch)
    found = dict(llm.score(asked))
    assert sorted(found) == list(range(len(asked)))
    tokenizer = packaged_tokenizer()
    for number, question in enumerate(asked):
        assert [one.log_probability for one in found[number]] == pytest.approx(by_hand(llm, question), rel=1e-4)
        lengths = [len(tokenizer(words, add_special_tokens=False)["input_ids"]) for words in question.continuations]
        assert [one.tokens for one in found[number]] == lengths
    if kind != "lfm2":
        assert max(rows for rows, _ in passes) > 3


def test_what_is_read_beside_changes_no_place(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does the padding behind a continuation, which must not reach beyond what is turned the short way."""
    llm, dice = tiny("phi3"), random.Random(9)
    long = Question("long", "", "en", (Message("user", said(dice, 90)),), ("A", "B"))
    edge = Question("edge", "", "en", (Message("user", "liver " * 64),), ("A B", "B C"))
    short = Question("short", "", "en", (Message("user", "liver?"),), (said(dice, 12), said(dice, 14)))
    passes = count_tokens(monkeypatch)
    together = dict(llm.score([long, edge, short]))
    assert len(passes) < 4, "those of one kind are read together"
    for number, question in enumerate((long, edge, short)):
        assert values(together[number]) == pytest.approx(by_hand(llm, question), rel=1e-5)
        assert values(dict(llm.score([question]))[0]) == pytest.approx(values(together[number]), rel=1e-5)


def test_places_that_grow_with_what_is_read_are_never_made_to(context: Context, tmp_path: Path) -> None:
    """Dynamic scaling begins beyond what the model reads at most; padding behind a short continuation stays within."""
    rope = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}
    base = tiny_base(tmp_path / "base", max_position_embeddings=96, rope_parameters=rope)
    llm, dice = opened(base, context), random.Random(9)
    edge = Question("edge", "", "en", (Message("user", "liver " * 64),), ("A B", "B C"))
    short = Question("short", "", "en", (Message("user", "liver?"),), (said(dice, 12), said(dice, 14)))
    before = dict(llm.score([edge]))
    found = dict(llm.score([edge, short]))
    for number, question in enumerate((edge, short)):
        assert values(found[number]) == pytest.approx(by_hand(llm, question), rel=1e-5)
    assert values(before[0]) == pytest.approx(values(found[0]), rel=1e-5)


def test_the_packaged_model(context: Context) -> None:
    llm, asked = opened(PACKAGED, context), questions(1, seed=2)
    found = dict(llm.score(asked))
    for number, question in enumerate(asked):
        assert [one.log_probability for one in found[number]] == pytest.approx(by_hand(llm, question), rel=1e-4)


@pytest.mark.parametrize("kind", ["llama", "gemma3_text"])
def test_little_room_changes_nothing(kind: str, tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes of at most 100 tokens, 40 of which have logits, and little kept of them; a line by itself may be longer."""
    llm, asked = tiny(kind), questions()
    wide = dict(llm.score(asked))
    tokenizer, model = llm.loaded()
    a_token = 2 * 2 * 2 * 16 * 4
    room = Room(read=100, kept=400 * a_token, logits=40 * 12 * len(tokenizer), rows=2)
    monkeypatch.setitem(reading.ROOM, "cpu", room)
    assert (reading.Reader(tokenizer, model).kept, reading.Reader(tokenizer, model).logits) == (400, 40)
    passes = count_tokens(monkeypatch)
    narrow = dict(llm.score(asked))
    assert all(rows == 1 or rows * columns <= 100 for rows, columns in passes)
    for number, one in wide.items():
        assert values(narrow[number]) == pytest.approx(values(one), rel=1e-4)


def values(found: Sequence[Likelihood]) -> list[float]:
    return [one.log_probability for one in found]


def test_what_is_read(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts once; of a continuation nothing for its first token, and no more than the tokens that are needed, but for padding."""
    llm = tiny("llama")
    prompt = (Message("user", said(random.Random(1), 40)),)
    (ids,) = [len(packaged_tokenizer()(chat_text(llm.loaded()[0], prompt, ask=True))["input_ids"])]
    passes = count_tokens(monkeypatch)
    found = dict(llm.score([Question("q", "q", "en", prompt, tuple("ABCD"))]))
    assert passes == [(1, ids)]
    assert len(found[0]) == 4
    passes.clear()
    words = (" liver liver liver", " heart heart heart")
    list(llm.score([Question("q", "q", "en", prompt, ("A", *words))]))
    assert passes == [(1, ids), (2, 2)]


def test_a_beginning_that_is_shared_is_read_once(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    llm, dice = tiny("llama"), random.Random(5)
    shots = "Examples come first. " + said(dice, 150)
    asked = [
        Question(f"q{at}", "", "en", (Message("user", f"{shots}\n{said(dice, dice.randint(2, 9))}"),), ("A", "B"))
        for at in range(20)
    ]
    tokenizer = llm.loaded()[0]
    lengths = [len(tokenizer(chat_text(tokenizer, one.messages, ask=True))["input_ids"]) for one in asked]
    passes = count_tokens(monkeypatch)
    found = dict(llm.score(asked))
    assert sum(rows * columns for rows, columns in passes) < sum(lengths) / 4
    for number in (0, 7, 19):
        assert values(found[number]) == pytest.approx(by_hand(llm, asked[number]), rel=1e-4)


def test_groups() -> None:
    def prompt(number: int, *ids: int) -> Prompt:
        return Prompt(number, list(ids))

    head, other = range(100, 140), range(200, 230)
    prompts = [
        prompt(0, *head, 1, 2, 3),
        prompt(1, *other, 9),
        prompt(2, *head, 1, 2, 4),
        prompt(3, *head, 7),
        prompt(4, 5),
        prompt(5, *other, 8),
        prompt(6, *other, 8),
        prompt(7, *head),
    ]
    found = [({one.number for one in group}, shared) for group, shared in grouped(prompts)]
    assert ({4}, 0) in found
    assert ({0, 2, 3, 7}, 39) in found  # the last token of number 7 has to be read with it
    assert ({1, 5, 6}, 30) in found
    assert sum(len(numbers) for numbers, _ in found) == len(prompts)


def test_two_that_happen_to_share_more_keep_nobody_out() -> None:
    """A case that two questions tell comes apart from the words that all begin with."""
    head = list(range(100, 130))
    alike = [Prompt(number, [*head, *range(500, 600), number]) for number in range(2)]
    others = [Prompt(number, [*head, 900 + number, 1, 2]) for number in range(2, 6)]
    found = {frozenset(one.number for one in group): shared for group, shared in grouped([*alike, *others])}
    assert found == {frozenset({0, 1}): 130, frozenset({2, 3, 4, 5}): 30}


def test_tokens_that_would_grow_together(tiny: Any) -> None:
    """A continuation's tokens come after the prompt's, as in an answer that is written."""
    tokenizer = packaged_tokenizer()
    continued = _Continued(tokenizer)
    assert continued.tails("<|im_start|>user\nThe liv", ["er", " er"]) == [
        tokenizer("er")["input_ids"],
        tokenizer(" er")["input_ids"],
    ]
    head = "<|im_start|>user\nWhat?<|im_end|>\n<|im_start|>assistant\n"
    whole = tokenizer(head + "The liver.")["input_ids"]
    assert continued.tails(head, ["The liver."]) == [whole[len(tokenizer(head)["input_ids"]) :]]


def test_an_empty_continuation_is_certain(tiny: Any) -> None:
    question = Question("q", "q", "en", (Message("user", "Why?"),), ("", "A"))
    empty, letter = dict(tiny("llama").score([question]))[0]
    assert empty == Likelihood(0.0, 0)
    assert letter.tokens == 1 and letter.log_probability < 0


@pytest.mark.parametrize("kind", ["llama", "lfm2"])
def test_a_prompt_that_is_too_long_is_named(kind: str, tiny: Any) -> None:
    short = Question("short", "s", "en", (Message("user", "Why?"),), ("A",))
    long = Question("the long one", "l", "en", (Message("user", "liver " * 600),), ("A",))
    with pytest.raises(FactoryError, match=r"1 questions are longer.*512 tokens.*'the long one' with \d+.*none is cut"):
        list(tiny(kind).score([short, long]))


def test_a_chat_that_the_template_refuses_is_named(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    llm = tiny("llama")
    tokenizer = llm.loaded()[0]
    refusing = "{%- if messages[0].role == 'system' -%}{{- raise_exception('no system here') -}}{%- endif -%}x"
    monkeypatch.setattr(tokenizer, "chat_template", refusing)
    asked = [
        Question("fine", "", "en", (Message("user", "Why?"),), ("A",)),
        Question("refused", "", "en", (Message("system", "Be."), Message("user", "Why?")), ("A",)),
    ]
    with pytest.raises(FactoryError, match=r"refuses the question 'refused'.*no system here.*chat_template: plain"):
        list(llm.score(asked))


# --- texts by themselves ---


def text(name: str, words: str) -> Question:
    return Question(name, name, "en", (), (words,))


@pytest.mark.parametrize("kind", KINDS)
def test_texts_by_themselves(kind: str, tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    llm, dice = tiny(kind), random.Random(3)
    texts = [said(dice, words) for words in (1, 30, 7, 90, 31)] + [""]
    if kind != "lfm2":
        monkeypatch.setitem(reading.ROOM, "cpu", reading.ROOM["cpu"]._replace(logits=50 * 12 * 49152))  # several pieces
    found = dict(llm.score([text(str(at), words) for at, words in enumerate(texts)]))
    tokenizer, model = llm.loaded()
    for at, words in enumerate(texts[:-1]):
        ids = tokenizer(words)["input_ids"]
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([[tokenizer.bos_token_id, *ids]])).logits[0].double()
        chances = logits.log_softmax(-1)
        expected = sum(float(chances[place, token]) for place, token in enumerate(ids))
        assert found[at][0].log_probability == pytest.approx(expected, rel=1e-4)
        assert found[at][0].tokens == len(ids)
    assert found[len(texts) - 1] == (Likelihood(0.0, 0),)


@pytest.mark.parametrize("kind", ["gemma3_text", "lfm2"])
def test_a_text_longer_than_the_model_reads(kind: str, tiny: Any) -> None:
    """Every token once; from the second window on each has at least half a window before it."""
    import torch

    llm = tiny(kind)
    words = said(random.Random(4), 700)
    (found,) = dict(llm.score([text("long", words), text("short", "liver")]))[0]
    tokenizer, model = llm.loaded()
    ids = [tokenizer.bos_token_id, *tokenizer(words)["input_ids"]]
    assert len(ids) > 1000
    expected, first = 0.0, 1
    while first < len(ids):
        end = min(len(ids), 512 if first == 1 else first + 256)
        begin = max(0, end - 512)
        with torch.inference_mode():
            chances = model(input_ids=torch.tensor([ids[begin:end]])).logits[0].double().log_softmax(-1)
        expected += sum(float(chances[at - begin - 1, ids[at]]) for at in range(first, end))
        first = end
    assert found.log_probability == pytest.approx(expected, rel=1e-4)
    assert found.tokens == len(ids) - 1


@pytest.mark.parametrize(
    ("tokens", "before", "size"), [(1, 1, 8), (2, 1, 8), (8, 1, 8), (9, 1, 8), (50, 1, 8), (50, 2, 7)]
)
def test_windows_score_every_token_once(tokens: int, before: int, size: int) -> None:
    spans = list(_spans(tokens, before, size))
    assert [place for _, end, first in spans for place in range(first, end)] == list(range(before, tokens))
    for begin, end, first in spans:
        assert end - begin <= size
        assert begin == 0 or first - begin >= size // 2
