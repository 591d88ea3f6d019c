"""The file of answers, and having a provider answer: what is kept whatever happens, and how many are asked at once."""

from __future__ import annotations

import asyncio
import importlib
import json
import math
import resource
import sys
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import PrivateAttr

from langmill.api import LLM, Answer, CallError, FactoryError, Likelihood, Message, Origin, Price, Question, Row, Text
from langmill.errors import BudgetReached, ProviderDown
from langmill.evaluation.answers import AnswerFile, asked
from langmill.evaluation.asking import TOLD_PAUSE, ask_here, ask_provider
from langmill.evaluation.results import write_result
from langmill.evaluation.rows import chosen_rows

sys.path.append(str(Path(__file__).resolve().parents[1]))
posting = importlib.import_module("posting")
asking = posting.asking


def question(name: str, text: str = "", continuations: Sequence[str] = (), max_tokens: int | None = None) -> Question:
    return Question(name, name, "en", (Message("user", text or f"What is {name}?"),), tuple(continuations), max_tokens)


def said(file: AnswerFile, questions: Sequence[Question]) -> list[str]:
    return [one.text for one in file.answered(questions)]


# --- the file ---


def test_answers_are_kept_and_only_what_is_missing_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "eval" / "x.jsonl"
    first, second = question("a"), question("b", "Wie heißt das? 薬 \ud800 \u2028 \x00")
    with AnswerFile(path, "model") as file:
        file.add(first, answer=Answer("yes\r\nor \u2028 no", "length", 3, 4, 0.5, "id", 2.0))
        file.add(second, likelihoods=[Likelihood(-math.inf, 2), Likelihood(-1.5, 1)])
    again = AnswerFile(path, "model")
    assert not again.missing([first, second])
    one, other = again.answered([first, second])
    assert one.answer == Answer("yes\r\nor \u2028 no", "length", 3, 4, 0.5)
    assert other.likelihoods == (Likelihood(-math.inf, 2), Likelihood(-1.5, 1))
    assert again.missing([question("c")]) == [question("c")]
    with pytest.raises(KeyError):
        again.answered([question("c")])


def test_half_characters_in_an_answer_are_kept_as_far_as_they_can_be(tmp_path: Path) -> None:
    with AnswerFile(tmp_path / "x", "model") as file:
        file.add(question("a"), answer=Answer("half \ud83d"))
    assert said(AnswerFile(tmp_path / "x", "model"), [question("a")]) == ["half ?"]


def test_a_question_is_what_the_model_sees_of_it() -> None:
    assert asked(question("a", "same")) == asked(question("b", "same")), "its name is not"
    different = [question("a", "same", max_tokens=5), question("a", "same", ["A"]), question("a", "other")]
    assert len({asked(one) for one in [question("a", "same"), *different]}) == 4
    split = Question("a", "a", "en", (Message("user", "x"), Message("assistant", "y")))
    assert asked(split) != asked(Question("a", "a", "en", (Message("user", "xy"),)))


def test_two_questions_of_one_wording_are_asked_once(tmp_path: Path) -> None:
    twice = [question("a", "same"), question("b", "same")]
    with AnswerFile(tmp_path / "x", "model") as file:
        (only,) = file.missing(twice)
        file.add(only, answer=Answer("yes"))
    assert said(AnswerFile(tmp_path / "x", "model"), twice) == ["yes", "yes"]


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_line_that_a_kill_cut_off_is_asked_again(tmp_path: Path, cut: int) -> None:
    questions = [question(name) for name in "abc"]
    with AnswerFile(tmp_path / "x", "model") as file:
        for one in questions:
            file.add(one, answer=Answer(f"薬 {one.name}"))
    whole = (tmp_path / "x").read_bytes()
    (tmp_path / "x").write_bytes(whole[:-cut])  # also in the middle of a character
    file = AnswerFile(tmp_path / "x", "model")
    missing = file.missing(questions)
    assert missing == ([] if cut == 1 else questions[2:])
    with file:
        for one in missing:
            file.add(one, answer=Answer("again"))
    found = said(AnswerFile(tmp_path / "x", "model"), questions)
    assert found == ["薬 a", "薬 b", "薬 c" if cut == 1 else "again"]


@pytest.mark.parametrize(
    "damage",
    [b"\xff\xfe\n", b"[1, 2]\n", b"3\n", b"{}\n", b'{"asked": "x"}\n', b'{"asked": "x", "likelihoods": [1]}\n', b"\n"],
)
def test_a_damaged_line_spoils_no_other(tmp_path: Path, damage: bytes) -> None:
    with AnswerFile(tmp_path / "x", "model") as file:
        file.add(question("a"), answer=Answer("yes"))
    (tmp_path / "x").write_bytes((tmp_path / "x").read_bytes() + damage)
    with AnswerFile(tmp_path / "x", "model") as file:
        file.add(question("b"), answer=Answer("no"))
    assert said(AnswerFile(tmp_path / "x", "model"), [question("a"), question("b")]) == ["yes", "no"]


@pytest.mark.parametrize("head", [b'{"model": "other"}\n', b'{"mod', b"3\n", b"\xff\n", b""])
def test_what_another_model_said_is_never_taken(tmp_path: Path, head: bytes) -> None:
    with AnswerFile(tmp_path / "x", "other") as file:
        file.add(question("a"), answer=Answer("theirs"))
    lines = (tmp_path / "x").read_bytes().split(b"\n", 1)[1]
    (tmp_path / "x").write_bytes(head + lines)
    file = AnswerFile(tmp_path / "x", "model")
    assert file.missing([question("a")])
    with file:
        file.add(question("a"), answer=Answer("mine"))
    assert said(AnswerFile(tmp_path / "x", "model"), [question("a")]) == ["mine"]
    assert AnswerFile(tmp_path / "x", "other").missing([question("a")])


def test_a_full_disk_is_told_and_what_was_written_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with AnswerFile(path, "model") as file:
        file.add(question("a"), answer=Answer("yes"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 40, before[1]))
    try:
        with (
            pytest.raises(FactoryError, match=r"can not write .*/x: File too large.*make room"),
            AnswerFile(path, "model") as file,
        ):
            file.add(question("b"), answer=Answer("no"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    again = AnswerFile(path, "model")
    assert again.missing([question("a"), question("b")]) == [question("b")]
    with again:
        again.add(question("b"), answer=Answer("no"))
    assert said(AnswerFile(path, "model"), [question("a"), question("b")]) == ["yes", "no"]


def test_a_folder_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "eval").write_text("a file where the folder should be")
    with pytest.raises(FactoryError, match="can not write"), AnswerFile(tmp_path / "eval" / "x", "model"):
        pass


def test_what_was_refused_is_answered_with_nothing_and_known_by_its_reason(tmp_path: Path) -> None:
    with AnswerFile(tmp_path / "x", "model") as file:
        file.add(question("a"), refused="not that")
        file.add(question("b"), refused="not that either")
        file.add(question("b"), answer=Answer("well then"))
    again, asked_for = AnswerFile(tmp_path / "x", "model"), [question("a"), question("c", "What is a?"), question("b")]
    assert not again.missing(asked_for)
    assert [(one.name, why) for one, why in again.refused(asked_for)] == [("c", "not that")]
    assert [one.answer and one.answer.finish for one in again.answered(asked_for)] == ["refusal", "refusal", "stop"]


# --- asking ---


class Voice(LLM):
    """Answers everything, with trouble for what holds a word; knows how many it was asked at once."""

    model: str = "test/voice"
    concurrency: int = 4
    dollars: float = 0.0
    _now: int = PrivateAttr(0)
    _most: int = PrivateAttr(0)
    _seen: list[str] = PrivateAttr(default_factory=list)

    def price(self) -> Price:
        return Price(self.dollars, self.dollars)

    async def answer(
        self, messages: Sequence[Message], *, seed: int, schema: Mapping[str, Any] | None = None
    ) -> Answer:
        text = messages[-1].content
        self._seen.append(text)
        self._now += 1
        self._most = max(self._most, self._now)
        await asyncio.sleep(0.002)
        self._now -= 1
        for kind in ("bad_request", "auth", "quota"):
            if kind in text:
                raise CallError(kind, f"that is {kind}")  # type: ignore[arg-type]
        if "down" in text:
            raise CallError("server", "boom")
        return Answer("" if "silent" in text else f"answer to {text}", "refusal" if "silent" in text else "stop", 10, 5)


def ask(home: Path, llm: LLM, questions: Sequence[Question], told: list[Any] | None = None) -> AnswerFile:
    path = home / "answers.jsonl"

    async def work() -> None:
        async with asking.engine(home, llm) as engine:
            tell = (lambda done, of: None) if told is None else (lambda done, of: told.append((done, of)))
            await ask_provider(engine.model("llm"), "exam", questions, AnswerFile(path, "m"), tell)

    asyncio.run(work())
    return AnswerFile(path, "m")


def fails(home: Path, llm: LLM, questions: Sequence[Question], **options: Any) -> BaseException:
    async def work() -> None:
        async with asking.engine(home, llm, **options) as engine:
            file = AnswerFile(home / "answers.jsonl", "m")
            await ask_provider(engine.model("llm"), "exam", questions, file, lambda done, of: None)

    with pytest.raises(FactoryError) as caught:
        asyncio.run(work())
    return caught.value


def test_many_questions_are_asked_a_few_at_a_time(tmp_path: Path) -> None:
    llm, told = Voice(), list[Any]()
    questions = [question(f"q{number}") for number in range(300)]
    tasks: list[int] = []

    def tell(done: int, of: int) -> None:
        tasks.append(len(asyncio.all_tasks()))

    async def work() -> None:
        async with asking.engine(tmp_path, llm) as engine:
            await ask_provider(engine.model("llm"), "exam", questions, AnswerFile(tmp_path / "a", "m"), tell)

    asyncio.run(work())
    assert len(llm._seen) == 300 and llm._most == 4
    assert max(tasks) < 20, "no task for each question"
    file = ask(tmp_path, llm, questions, told)
    assert len(llm._seen) == 300, "the ledger has them all"
    assert not file.missing(questions) and told[-1] == (300, 300)
    assert len(told) < 30, "counts are told at times"


def test_a_refused_question_is_an_empty_answer_once_anything_was_answered(tmp_path: Path) -> None:
    questions = [question("a", "bad_request 1"), question("b", "silent"), question("c")]
    file = ask(tmp_path, Voice(), questions)
    answers = [one.answer for one in file.answered(questions)]
    assert [(one.text, one.finish) for one in answers if one] == [
        ("", "refusal"),
        ("", "refusal"),
        ("answer to What is c?", "stop"),
    ]
    assert len(answers) == 3


def test_a_provider_that_refuses_everything_is_no_model_that_says_nothing(tmp_path: Path) -> None:
    llm = Voice()
    questions = [question(f"q{number}", f"bad_request {number}") for number in range(100)]
    error = fails(tmp_path, llm, questions)
    assert (
        isinstance(error, ProviderDown)
        and "refuses every question of exam" in str(error)
        and "that is bad_request" in str(error)
    )
    assert len(llm._seen) < 40, "it was noticed early"
    assert len(AnswerFile(tmp_path / "answers.jsonl", "m").missing(questions)) == 100


def test_failures_are_counted_and_the_rest_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langmill.calls.sending.FIRST_PAUSE", 0.001)
    questions = [question(f"q{number}", f"{'down' if number == 3 else 'up'} {number}") for number in range(10)]
    error = fails(tmp_path, Voice(), questions)
    assert "did not answer 1 of 10 questions of exam (server: boom)" in str(error)
    assert AnswerFile(tmp_path / "answers.jsonl", "m").missing(questions) == [questions[3]]


@pytest.mark.parametrize("kind", ["auth", "quota"])
def test_what_ends_the_run_ends_it_with_its_own_words(tmp_path: Path, kind: str) -> None:
    questions = [question(f"q{number}", f"{kind if number == 6 else 'up'} {number}") for number in range(500)]
    llm = Voice()
    error = fails(tmp_path, llm, questions)
    assert isinstance(error, ProviderDown) and f"that is {kind}" in str(error)
    assert len(llm._seen) < 20
    assert len(AnswerFile(tmp_path / "answers.jsonl", "m").missing(questions)) < 500


def test_the_budget_ends_it_and_what_is_answered_is_kept(tmp_path: Path) -> None:
    questions = [question(f"q{number}") for number in range(50)]
    llm = Voice(dollars=1e-5, max_tokens=100)
    error = fails(tmp_path, llm, questions, budget=0.01)
    assert isinstance(error, BudgetReached)
    kept = 50 - len(AnswerFile(tmp_path / "answers.jsonl", "m").missing(questions))
    assert 0 < kept == len(llm._seen) < 50


def test_a_batch_api_answers_an_evaluation_at_its_own_price(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for (module, name), seconds in posting.QUICK.items():
        monkeypatch.setattr(module, name, seconds)
    questions = [question(f"q{number}") for number in range(30)]
    with posting.provider.BatchProvider() as server:
        file = ask(tmp_path, posting.Posted(api_base=server.url, priced=True, concurrency=2), questions)
        assert len(server.seen()["batches"]) == 1, "not as few at once as single calls are"
    assert not file.missing(questions)
    assert all(one.answer and one.answer.cost for one in file.answered(questions))


def test_a_result_is_whole_and_an_item_a_line(tmp_path: Path) -> None:
    facts = {"key": "k", "scores": [{"language": "en"}], "nasty": '薬 " } \ud800'}
    write_result(tmp_path / "r.json", facts, ({"row": number, "value": math.inf} for number in range(3)))
    read = json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert read == {**facts, "nasty": '薬 " } ?', "items": [{"row": number, "value": math.inf} for number in range(3)]}
    write_result(tmp_path / "r.json", {"key": "k"}, [])
    assert json.loads((tmp_path / "r.json").read_text("utf-8")) == {"key": "k", "items": []}
    with pytest.raises(ZeroDivisionError):
        write_result(tmp_path / "r.json", facts, ({"row": 1 // number} for number in (1, 0)))
    assert json.loads((tmp_path / "r.json").read_text("utf-8")) == {"key": "k", "items": []}


@pytest.mark.parametrize("broken", [(math.nan, -1.0), (-1.0, math.inf), (-math.inf, -math.inf)])
def test_likelihoods_that_are_none_give_no_figure(tmp_path: Path, broken: tuple[float, float]) -> None:
    class Broken(Voice):
        def score(self, questions: Sequence[Question]) -> Any:
            for number, one in enumerate(questions):
                values = broken if one.name == "q3" else (-1.0, -math.inf)
                yield number, tuple(Likelihood(value, 1) for value in values)

    questions = [question(f"q{number}", continuations=("A", "B")) for number in range(5)]
    with pytest.raises(FactoryError, match=r"test/voice gives no likelihood to 'q3' \(.*weights are damaged"):
        ask_here(Broken(), questions, AnswerFile(tmp_path / "a", "m"), lambda done, of: None)
    assert AnswerFile(tmp_path / "a", "m").missing(questions) == questions[3:]


def test_no_more_rows_are_held_than_are_asked() -> None:
    class Many:
        def rows(self, data: str, split: str) -> Iterator[Row]:
            for number in range(20_000):
                yield Row(
                    str(number), "en", "test", str(number), Text("x" * 500 + str(number)), Origin("s", "1", ("MIT",))
                )

    asks = SimpleNamespace(data="x", split="test", limit=5)
    tracemalloc.start()
    try:
        rows = chosen_rows(Many(), asks, 17)  # type: ignore[arg-type]
        assert len(rows) == 5 and tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    asks.limit = None
    assert chosen_rows(Many(), asks, 17)[:5] == rows  # type: ignore[arg-type]


def test_weights_tell_their_counts_at_times(tmp_path: Path) -> None:
    class Here(Voice):
        def score(self, questions: Sequence[Question]) -> Any:
            for number in reversed(range(len(questions))):
                yield number, (Likelihood(-float(number), 1),)

        def reply(self, questions: Sequence[Question]) -> Any:
            for number in reversed(range(len(questions))):
                yield number, Answer(f"said {questions[number].name}")

    told: list[tuple[int, int]] = []
    mixed = [question(f"q{number}", continuations=("A",) if number % 2 else ()) for number in range(2000)]
    path = tmp_path / "a"
    with AnswerFile(path, "m") as file:
        file.add(mixed[0], answer=Answer("before"))
    ask_here(Here(), mixed, AnswerFile(path, "m"), lambda done, of: told.append((done, of)))
    found = AnswerFile(path, "m").answered(mixed)
    assert found[0].text == "before" and found[2].text == "said q2"
    assert [one.likelihoods[0].log_probability for one in found if one.likelihoods][:3] == [0.0, -1.0, -2.0]
    assert told[-1] == (2000, 2000) and len(told) < 2 + 30 / TOLD_PAUSE
    assert sum(1 for _ in path.open()) == 2001
    assert all(json.loads(line) for line in path.open())
