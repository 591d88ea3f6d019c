"""What is asked anew of a row that is tried again, when calls follow one another: an answer, its repair, its judge."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from langmill.api import (
    Augmenter,
    Chat,
    Drop,
    Mark,
    Message,
    Origin,
    Prompt,
    Reply,
    Row,
    RowFault,
    Skip,
    StepContext,
)
from langmill.pipeline.again import RETRY_SAMPLES, tried_again


class Said(BaseModel):
    text: str


class Model:
    """Says what ``say`` makes of a step and a sample, and notes what it was asked."""

    languages = None

    def __init__(self, name: str, say: Callable[[str, int], str]):
        self.name, self.say = name, say
        self.asked: list[tuple[str, int]] = []

    async def answer(
        self, prompt: Prompt, schema: Any, *, step: str, language: str, seed: int, sample: int = 0
    ) -> Reply[Any]:
        self.asked.append((step, sample))
        text = self.say(step, sample)
        if text == "broken":
            raise RowFault("schema", "no JSON")
        key = f"{step}/{sample}/{prompt.messages[-1].content}"
        return Reply(schema(text=text), (Mark(step, self.name, prompt.hash, key),))


class Judged(Augmenter):
    """Asks, and has another model judge what came; a second answer mends the first one."""

    async def augment(self, row: Row, context: StepContext) -> Iterable[Row | Drop | Skip]:
        async def check(said: Said) -> list[Drop]:
            assert context.models is not None
            prompt = Prompt((Message("user", f"judge {said.text}"),), "j")
            verdict = await context.models("judge").answer(prompt, Said, step="ask.judge", language="en", seed=1)
            return [] if verdict.value.text == "fine" else [Drop("judged", verdict.value.text)]

        prompt = Prompt((Message("user", "ask"),), "p")
        reply = await context.ask(row, "ask", prompt, Said, check=check, repair=True)
        return [row.child("ask", Chat.of("q", reply.sound().value.text), marks=reply.marks)]


ROW = Row("s/1", "en", "train", "s/1", Chat.of("q", "a"), Origin("s", "1", ("CC0-1.0",)))


def tried(writer: Model, judge: Model, times: int) -> list[Row | Drop | Skip]:
    context = StepContext("datasets.x.steps[0]", 17, {}, Path(), llm=writer, models=lambda name: judge)

    async def whole() -> list[Row | Drop | Skip]:
        try:
            return list(await tried_again(Judged(), ROW, context, times))
        except RowFault as fault:
            return [Drop(fault.reason, fault.detail)]

    return asyncio.run(whole())


def test_a_text_that_was_judged_badly_is_written_anew() -> None:
    writer = Model("writer", lambda step, sample: "good" if sample else "bad")
    judge = Model("judge", lambda step, sample: "wrong dose" if len(writer.asked) < 3 else "fine")
    (made,) = tried(writer, judge, 1)
    assert isinstance(made, Row)
    assert writer.asked == [("ask", 0), ("ask.repair", 0), ("ask", RETRY_SAMPLES)]
    assert all(sample == 0 for _, sample in judge.asked)  # it sees another text: that is another call by itself


def test_a_judge_that_said_nothing_of_use_is_asked_anew_and_the_writer_is_not() -> None:
    writer = Model("writer", lambda step, sample: "text")
    judge = Model("judge", lambda step, sample: "fine" if sample else "broken")
    (made,) = tried(writer, judge, 1)
    assert isinstance(made, Row)
    assert set(writer.asked) == {("ask", 0)} and judge.asked == [("ask.judge", 0), ("ask.judge", RETRY_SAMPLES)]


def test_without_a_retry_nothing_is_asked_twice() -> None:
    writer = Model("writer", lambda step, sample: "text")
    judge = Model("judge", lambda step, sample: "wrong")
    (drop,) = tried(writer, judge, 0)
    assert isinstance(drop, Drop) and drop.reason == "judged"
    assert writer.asked == [("ask", 0), ("ask.repair", 0)] and len(judge.asked) == 2
