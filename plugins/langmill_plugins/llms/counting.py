"""Tokens of a text by a model's own tokenizer, where that is on this machine already: nothing is fetched."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import struct
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

ENCODINGS = ("o200k_base", "cl100k_base", "p50k_base")  # those that litellm carries
SAME = {"o200k_harmony": "o200k_base"}  # they differ in the words of control alone
ADDRESS = (
    "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"  # tiktoken names its files by the sum of it
)
FOLDER = "TIKTOKEN_CACHE_DIR"
SPLITTERS = ("smollm",)  # ways to part words that are built here
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}  # GGUF's types
TEXT, LIST = 8, 9


def openai_tokens(model: str, texts: Sequence[str]) -> list[int] | None:
    """Tokens of each text for a model that OpenAI names so; None for another one."""
    encoding = _encoding(model.rsplit("/", 1)[-1])
    return None if encoding is None else [len(found) for found in encoding.encode_ordinary_batch(list(texts))]


@lru_cache
def _encoding(name: str) -> Any:
    if (carrier := importlib.util.find_spec("litellm")) is None or importlib.util.find_spec("tiktoken") is None:
        return None
    import tiktoken

    try:
        encoding = tiktoken.encoding_name_for_model(name)
    except KeyError:
        return None
    encoding = SAME.get(encoding, encoding)
    folder = Path(carrier.origin or "").parent / "litellm_core_utils" / "tokenizers"
    file = hashlib.sha1(ADDRESS.format(encoding).encode(), usedforsecurity=False).hexdigest()
    if encoding not in ENCODINGS or not (folder / file).is_file():
        return None  # tiktoken would fetch it
    before = os.environ.get(FOLDER)
    os.environ[FOLDER] = str(folder)
    try:
        return tiktoken.get_encoding(encoding)
    finally:
        if before is None:
            del os.environ[FOLDER]
        else:
            os.environ[FOLDER] = before


def gguf_tokens(path: Path, texts: Sequence[str]) -> list[int] | None:
    """Tokens of each text for a model in a GGUF file; None where its way of parting words is not known here."""
    tokenizer = _gguf(path)
    return None if tokenizer is None else [len(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts]


@lru_cache
def _gguf(path: Path) -> Any:
    if importlib.util.find_spec("tokenizers") is None:
        return None
    from tokenizers import Tokenizer, models, pre_tokenizers

    with path.open("rb") as file:
        facts = _facts(file)
    if facts.get("tokenizer.ggml.model") != "gpt2" or facts.get("tokenizer.ggml.pre") not in SPLITTERS:
        return None
    vocabulary = {word: number for number, word in enumerate(facts["tokenizer.ggml.tokens"])}
    merges = [tuple(pair.split(" ", 1)) for pair in facts["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    digits, words = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, words])
    return tokenizer


def _facts(file: IO[bytes]) -> dict[str, Any]:
    """What the head of a GGUF file says of the tokenizer; nothing for a file that is none."""

    def number(code: str) -> Any:
        return struct.unpack(f"<{code}", file.read(struct.calcsize(code)))[0]

    def value(kind: int) -> Any:
        if kind == TEXT:
            return file.read(number("Q")).decode("utf-8", "replace")
        if kind == LIST:
            inner, length = number("I"), number("Q")
            return [value(inner) for _ in range(length)]
        return number(NUMBERS[kind])

    if file.read(4) != b"GGUF" or number("I") < 2:
        return {}
    number("Q")  # how many tensors
    facts = {}
    for _ in range(number("Q")):
        name = value(TEXT)
        facts[name] = value(number("I"))
    return facts
