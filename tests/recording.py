"""Rows as tokens, for tests: hand-written rows of seven languages, chat templates of six kinds, a tokenizer for each."""

from __future__ import annotations

import copy
import json
import zlib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from langmill.api import Chat, Choice, Context, Message, Origin, Row, Text, packs_in
from langmill_plugins.trainers.options import AdapterStage
from langmill_plugins.trainers.tokens.examples import NO_LOSS, Examples
from langmill_plugins.trainers.tokens.templates import with_template
from langmill_plugins.trainers.tokens.tokenising import Recording, Tokenised, tokenise
from langmill_plugins.trainers.weights.base_model import find_base, load_tokenizer, quiet

CONTEXT = Context("train", 17, {pack.code: pack for pack in packs_in("langmill_languages")}, Path())
DATA = Path(__file__).resolve().parents[1] / "recipes/data"
LANGUAGES = ("en", "zh", "ja", "ko", "fr", "es", "ru")
LETTERS = "ABCDEFGHIJ"
TEMPLATES = {  # template: (its own end token, all tokens it steers with)
    "smollm2": ("<|im_end|>", ()),
    "llama3": ("<|eot_id|>", ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")),
    "qwen2_5": ("<|im_end|>", ()),
    "qwen3": ("<|im_end|>", ()),
    "gemma3": ("<end_of_turn>", ("<bos>", "<start_of_turn>", "<end_of_turn>")),
    "plain": ("<|im_end|>", ()),
}


def made(rows: Iterable[Row], tokenizer: Any, size: int = 4096, occurrence: int = 0, **options: object) -> Tokenised:
    """Rows as examples, under a stage with these options."""
    stage = AdapterStage.model_validate({"name": "s", "data": "d", **options})
    how = Recording(tokenizer, CONTEXT, size, stage, lambda *parts: zlib.crc32(repr(parts).encode()))
    return tokenise(rows, how, occurrence=occurrence)


def words_of(examples: Examples, tokenizer: Any) -> list[str]:
    """What is learnt of each example."""
    return [tokenizer.decode(learnt(examples, one)) for one in range(len(examples))]


def learnt(examples: Examples, one: int) -> list[int]:
    """The tokens of an example that carry loss."""
    return [label for label in examples.labels_of(one).tolist() if label != NO_LOSS]


def row_of(body: Chat | Choice | Text, language: str = "en", number: int = 0) -> Row:
    name = f"test/{language}-{number}"
    return Row(name, language, "train", name, body, Origin("test", str(number), ("CC0-1.0",)))


def hand_written(language: str) -> list[Row]:
    """The recipe's own rows: questions, choices with one and with several right answers, and a conversation of two turns."""
    bodies: list[Chat | Choice] = []
    for line in (DATA / f"qa.{language}.jsonl").read_text("utf-8").splitlines():
        fact = json.loads(line)
        bodies.append(Chat.of(fact["question"], fact["answer"]))
    first, second = bodies[0], bodies[1]
    assert isinstance(first, Chat)
    assert isinstance(second, Chat)
    bodies.append(Chat((*first.messages, *second.messages)))
    bodies.append(Chat((Message("system", first.question), *second.messages)))
    for line in (DATA / f"choice.{language}.jsonl").read_text("utf-8").splitlines():
        fact = json.loads(line)
        right = tuple(LETTERS.index(letter) for letter in fact["answer"] if letter in LETTERS)
        bodies.append(Choice(fact["question"], tuple(fact["options"]), right, fact["explanation"]))
        bodies.append(Choice(fact["question"], tuple(fact["options"]), right))
    assert any(isinstance(body, Choice) and len(body.answers) > 1 for body in bodies)
    return [row_of(body, language, number) for number, body in enumerate(bodies)]


def small_tokenizer(template: str = "smollm2") -> Any:
    """The packaged model's tokenizer, with another model family's template and steering tokens, or the plain template."""
    return copy.deepcopy(_read(template))


@cache
def _read(template: str) -> Any:
    quiet()
    tokenizer = load_tokenizer(find_base("local/smollm2-135m-instruct", CONTEXT).folder)
    if template == "plain":
        return with_template(tokenizer, "plain")[0]
    if template != "smollm2":
        tokenizer.chat_template = (files("trl") / "chat_templates" / f"{template}.jinja").read_text("utf-8")
        tokenizer.add_special_tokens({"additional_special_tokens": list(TEMPLATES[template][1])})
    return tokenizer
