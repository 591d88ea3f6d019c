"""A model for scripts/bench_plan.py, put beside its recipes: it writes answers as long as real ones, made of real text, and
counts what it is asked and says with a real tokenizer. What it takes for lengths and faults the plan does not see.
"""

import json
import random
import re
from functools import lru_cache
from pathlib import Path

from pydantic import PrivateAttr

from langmill.api import LLM, Answer, Field, Price, hookimpl

TAG = re.compile(r"<(\w+)>\n?(.*?)\n?</\1>", re.DOTALL)


@lru_cache
def tokenizer(name):
    """A function that counts tokens: cl100k_base and o200k_base (OpenAI's) or claude (Anthropic's for Claude 2)."""
    import importlib.util

    folder = Path(importlib.util.find_spec("litellm").origin).parent / "litellm_core_utils" / "tokenizers"
    if name == "claude":
        from tokenizers import Tokenizer

        known = Tokenizer.from_file(str(folder / "anthropic_tokenizer.json"))
        return lambda text: len(known.encode(text).ids)
    import os

    os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
    import tiktoken

    encoding = tiktoken.get_encoding(name)
    return lambda text: len(encoding.encode_ordinary(text))


class Writer(LLM):
    """Answers at random, the same for the same seed."""

    tokenizer: str
    tells: bool = Field(True, description="whether count() is there")
    secrets: str = Field(description="a file: text and lengths by language, talkativeness, shares of faults")
    input: float = 0.15
    output: float = 0.6

    _secret: dict = PrivateAttr(default_factory=dict)
    _systems: dict = PrivateAttr(default_factory=dict)
    _names: dict = PrivateAttr(default_factory=dict)

    def price(self):
        return Price(self.input / 1e6, self.output / 1e6, 0.5)

    def count(self, texts):
        return [tokenizer(self.tokenizer)(text) for text in texts] if self.tells else None

    async def start(self, context):
        self._secret.update(json.loads(context.path(self.secrets).read_text("utf-8")))
        for code, pack in context.languages.items():
            self._systems[pack.templates["system"].strip()] = code
            self._names[code] = pack.identity.native_name

    async def answer(self, messages, *, seed, schema=None):
        dice = random.Random(seed)
        language = self._systems[messages[0].content]
        parts = {}
        for name, text in TAG.findall(messages[1].content):
            parts.setdefault(name, []).append(text)
        options = re.findall(r"<option>(.*?)</option>", messages[1].content, re.DOTALL)
        head = messages[1].content.partition("<")[0]
        source = next((code for code, name in self._names.items() if code != language and name in head), "en")
        text = json.dumps(self._said(dice, language, source, schema, parts, options), ensure_ascii=False)
        if dice.random() < self._secret["unfit"]:
            text = '{"said": ' + text + "}"
        count, finish = tokenizer(self.tokenizer), "stop"
        said = count(text)
        if said > self.max_tokens:
            text, said, finish = text[: len(text) * self.max_tokens // said], self.max_tokens, "length"
        asked = sum(count(message.content) + 4 for message in messages) + 3
        asked += count(json.dumps(schema)) if self._secret["schema_counts"] else 0
        return Answer(text, finish, asked, said)

    def _said(self, dice, language, source, schema, parts, options):
        secret, fields = self._secret, schema["properties"]

        def write(length, of=language):
            known = secret["text"][of]
            length = max(12, round(length))
            start = dice.randrange(max(1, len(known) - length))
            return (known[start:] + known)[:length].strip() or known[:length]

        def other(text):  # a translation
            of = language if dice.random() >= secret["astray"] else next(iter(secret["text"]))
            ratio = secret["ratio"][language] / secret["ratio"][source]
            return write(len(text) * ratio * secret["carried"] * dice.lognormvariate(0, 0.12), of)

        def long(what):
            lengths = secret["lengths"][what].get(language)
            scale = 1.0
            if lengths is None:
                lengths, scale = secret["lengths"][what]["en"], secret["ratio"][language]
            return dice.choice(lengths) * scale * secret["talk"]

        if "pairs" in fields:
            passage = parts["passage"][0].strip()

            def cut(length):
                length = min(max(15, round(length)), len(passage))
                start = dice.randrange(max(1, len(passage) - length + 1))
                return passage[start : start + length].strip() or passage[:40]

            wanted = fields["pairs"]["maxItems"]
            number = wanted if dice.random() < 0.9 else dice.randint(1, wanted)
            return {
                "pairs": [{"question": cut(long("question")), "answer": cut(long("answer"))} for _ in range(number)]
            }
        if "options" in fields:
            explanation, context = parts.get("explanation", [""])[0], parts.get("context", [""])[0]
            return {
                "question": other(parts["question"][0]),
                "options": [other(option) for option in options],
                "explanation": other(explanation) if explanation else "",
                "context": other(context) if context else "",
            }
        if "explanation" in fields:
            return {"explanation": write(long("explanation"))}
        if "question" in fields:
            return {"question": other(parts["question"][0]), "answer": other(parts["answer"][0])}
        return {"answer": write(max(long("expansion"), 1.05 * len(parts["answer"][0])))}


@hookimpl
def register_llms():
    return {"writer": Writer}
