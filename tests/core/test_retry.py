"""Rejected rows asked about again: they alone, and of each row the part that failed. A server on loopback counts requests."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

LANGUAGES = {"Traduisez": "fr", "Traduzca": "es", "Переведите": "ru"}


@dataclass
class Translator:
    """A provider that translates. ``spoilt`` says how often, from now on, it fails a question in a language, and how."""

    spoilt: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    url: str = ""

    def reply(self, prompt: str) -> str:
        """What it says to a prompt."""
        passage = re.search(r"<passage>\s*(.*?)\s*</passage>", prompt, re.DOTALL)
        if passage:
            what = ("ask", passage[1][:20])
            self.requests[what] += 1
            pair = {"question": f"What is told in turn {'abc'[self.requests[what] - 1]}?", "answer": passage[1]}
            spoilt = {"question": "According to the passage, what is it?", "answer": passage[1]}
            return json.dumps({"pairs": [pair, spoilt] if self.requests[what] == 1 else [spoilt, pair]})
        question = re.search(r"<question>\s*(.*?)\s*</question>", prompt, re.DOTALL)
        assert question
        what = (question[1], LANGUAGES[prompt.split()[0]])
        self.requests[what] += 1
        fault = self.spoilt[what].pop(0) if self.spoilt.get(what) else ""
        if fault == "schema":
            return '{"question": 3'
        answer = f"{what[1]} {self.requests[what]}"
        return json.dumps(
            {"question": question[1] if fault == "untranslated" else f"{what[1]}: {question[1]}", "answer": answer}
        )


@pytest.fixture
def translator() -> Iterator[Translator]:
    """The provider, on loopback."""
    provider, lock = Translator(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                text = provider.reply(next(item["content"] for item in body["messages"] if item["role"] == "user"))
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
            reply = {"id": "r", "model": body["model"], "choices": [choice], "usage": usage}
            reply |= {"object": "chat.completion", "created": 0}
            sent = json.dumps(reply).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    provider.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    yield provider
    server.shutdown()
    server.server_close()


RECIPE = """\
name: small
languages: [en, fr, es, ru]
run: {workers: 1}
llm: {model: openai/translator, api_base: URL, prices: {input: 1, output: 2}}
sources:
  qa: {use: table, path: data/qa.jsonl, body: chat, license: CC0-1.0}
datasets:
  open: {from: [qa], steps: [{use: length, least: 20}, {use: translate, into: [fr, es, ru], repair: false, GUARDS}]}
""".replace(
    "GUARDS",  # what is translated here is no language: only what comes back as it was counts
    "guards: {language: false, chatter: false, leaks: false, loops: false, numbers: false, units: false, negation: false, "
    "sides: false, comparisons: false, names: false, length: false, options: false}",
)
QUESTIONS = {"a": "What does the mitral valve do?", "b": "What is anaemia?", "c": "What is asthma?", "d": "Short?"}


@pytest.fixture
def small(bench, translator):
    """A recipe that translates three rows into three languages; a fourth is too short."""
    rows = [
        {"id": id, "language": "en", "split": "train", "question": text, "answer": "It depends." if id != "d" else "No"}
        for id, text in QUESTIONS.items()
    ]
    bench.write("data/qa.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    bench.write("small.yaml", RECIPE.replace("URL", translator.url))
    return bench


def made(bench) -> set[str]:
    """The translations there are."""
    return {row.id.removeprefix("qa/") for row in bench.rows("open") if row.origin.marks}


def test_only_what_failed_of_a_row_is_asked_again(small, translator):
    b, c = QUESTIONS["b"], QUESTIONS["c"]
    translator.spoilt = {(b, "es"): ["untranslated"], (c, "ru"): ["schema"] * 3}
    assert small.factory("run", "small.yaml").code == 0
    first = Counter(translator.requests)
    each = [(question, code) for question in (QUESTIONS["a"], b, c) for code in ("fr", "es", "ru")]
    assert first == Counter(each) + Counter({(c, "ru"): 2})
    whole = {f"{id}/translate.{code}" for id in "abc" for code in ("fr", "es", "ru")}
    assert made(small) == whole - {"b/translate.es", "c/translate.ru"}
    before = {row.id: row for row in small.rows("open")}

    said = small.factory("retry", "runs/small", "--reason", "untranslated")
    assert said.code == 0, said.err
    assert "rows that are tried again: 1" in said.err
    assert translator.requests - first == {(b, "es"): 1}, "nothing else is paid again"
    assert made(small) == whole - {"c/translate.ru"}
    assert [reject.reason for reject in small.rejects("open")] == ["too_short", "schema"]

    translator.spoilt = {(c, "ru"): ["schema"] * 3}  # it fails once more
    second = Counter(translator.requests)
    assert small.factory("retry", "runs/small").code == 0
    assert translator.requests - second == {(c, "ru"): 3}
    assert made(small) == whole - {"c/translate.ru"}
    assert small.factory("retry", "runs/small").code == 0
    assert translator.requests - second == {(c, "ru"): 4}
    assert made(small) == whole
    now = {row.id: row for row in small.rows("open")}
    assert {id: now[id] for id in before} == before, "what was fine is as it was"
    assert [reject.reason for reject in small.rejects("open")] == ["too_short"]

    third = Counter(translator.requests)
    again = small.factory("run", "small.yaml")
    assert "open: translate (kept)" in again.err
    moved = RECIPE.replace("URL", translator.url).replace(
        "{use: length, least: 20}", "{use: exact}, {use: length, least: 21}"
    )
    small.write("small.yaml", moved)
    assert small.factory("run", "small.yaml").code == 0
    assert translator.requests == third, "a step more before it asks nothing again"
    assert made(small) == whole


def test_a_pair_that_was_fine_stays_when_the_other_is_asked_again(bench, translator):
    passage = "The heart has four chambers and four valves, which keep the blood on its way through them."
    bench.write("data/p.jsonl", json.dumps({"id": "p", "language": "en", "split": "train", "text": passage}) + "\n")
    recipe = RECIPE.replace("data/qa.jsonl, body: chat", "data/p.jsonl, body: text")
    recipe = recipe[: recipe.index("{use: length")] + "{use: ask, repair: false}]}\n"
    bench.write("small.yaml", recipe.replace("URL", translator.url))
    assert bench.factory("run", "small.yaml").code == 0
    assert [reject.reason for reject in bench.rejects("open")] == ["not_standalone"]
    assert bench.factory("retry", "runs/small").code == 0
    assert set(translator.requests.values()) == {2}
    asked = {row.id: row.body.question for row in bench.rows("open") if row.origin.marks}
    assert asked == {"qa/p/ask.0": "What is told in turn a?", "qa/p/ask.1": "What is told in turn b?"}


def test_a_reason_that_no_other_answer_changes(small, translator):
    translator.spoilt = {(QUESTIONS["b"], "es"): ["untranslated"]}
    assert small.factory("run", "small.yaml").code == 0
    asked = Counter(translator.requests)
    for reason, words in (
        ("too_short", "'too_short' rejected 1 rows, but not in a step that asks a model"),
        ("untranslatd", "nothing was rejected for the reason 'untranslatd'"),
    ):
        said = small.factory("retry", "runs/small", "--reason", reason)
        assert said.code == 2
        assert words in said.err
        assert "Reasons that can be tried again in runs/small: untranslated 1" in said.err
    assert translator.requests == asked
    assert small.run().retries == {}
    no_run = small.factory("retry", "data")
    assert no_run.code == 2
    assert "data is not a run's folder" in no_run.err


def test_a_retry_stops_at_its_cap_and_goes_on(small, translator):
    translator.spoilt = {(QUESTIONS["b"], "es"): ["untranslated"]}
    assert small.factory("run", "small.yaml").code == 0
    asked = Counter(translator.requests)
    said = small.factory("retry", "runs/small", "--max-cost", "0.0001", "--json")
    assert said.code == 3
    assert json.loads(said.out)["left"]["step"] == "translate"
    assert translator.requests == asked
    assert small.factory("run", "runs/small").code == 3, "the cap is the run's until another is given"
    assert translator.requests == asked
    assert small.factory("run", "runs/small", "--max-cost", "100").code == 0, (
        "it goes on with what was to be tried again"
    )
    assert translator.requests - asked == {(QUESTIONS["b"], "es"): 1}
    assert small.rejects("open")[0].reason == "too_short"
    assert json.loads(small.factory("status", "runs/small", "--json").out)["left"] is None
