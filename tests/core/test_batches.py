"""Batches against a real server in a process of its own: nothing handed in twice, nothing paid twice, every row answered."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from langmill.api import CallError
from langmill.calls import batches, delivery
from langmill.calls.account import Stopped
from langmill.errors import BudgetReached, ProviderDown, RecipeError
from langmill.ledger.ledger import Ledger

sys.path.append(str(Path(__file__).resolve().parents[1]))
posting = importlib.import_module("posting")
asking, provider = posting.asking, posting.provider
Direct, Posted, QUESTIONS = asking.Direct, posting.Posted, asking.QUESTIONS
BatchProvider = provider.BatchProvider
FEW = QUESTIONS[:40]


def script(home: Path, server: Any, *, run: str = "run", first: int = 0, last: int = len(FEW)) -> subprocess.Popen[str]:
    command = [sys.executable, posting.__file__, str(home), server.url, run, str(first), str(last)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def answered(process: subprocess.Popen[str]) -> int:
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return int(told)


def attempts(home: Path) -> list[tuple[Any, ...]]:
    """What the ledger says of attempts: (status, kind, how many)."""
    with contextlib.closing(sqlite3.connect(home / "ledger.sqlite")) as db:
        return db.execute("SELECT status, kind, COUNT(*) FROM attempts GROUP BY 1, 2 ORDER BY 1, 2").fetchall()


def spent(home: Path, run: str = "run") -> float:
    with Ledger(home) as ledger:
        return ledger.spent(run)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for (module, name), seconds in posting.QUICK.items():
        monkeypatch.setattr(module, name, seconds)
    monkeypatch.delenv("LANGMILL_MAX_COST", raising=False)


def test_a_batch_answers_all_at_its_share_of_the_price(tmp_path: Path) -> None:
    events: list[Any] = []
    with BatchProvider(polls=3) as server:
        llm = Posted(api_base=server.url, priced=True)
        assert asking.together(tmp_path, llm, QUESTIONS, events=events) == {"answered": 200}
        seen = server.seen()
        assert len(seen["batches"]) == 1 and set(seen["items"].values()) == {1} and not seen["chats"]
        assert spent(tmp_path) == pytest.approx(seen["spent"])
        assert seen["files"] == []  # nothing is left at the provider
        ordinary = llm.model_copy(update={"batch": False})  # transport alone: the same ledger, the same keys
        assert asking.together(tmp_path, ordinary, QUESTIONS) == {"answered": 200}
        assert server.seen()["chats"] == {}
    notes = [event["text"] for event in events if event["event"] == "note"]
    assert notes[0].startswith("batch of 200 calls handed in (batch_0);")
    assert notes[1:] == [
        "the batch batch_0 is now validating",
        "the batch batch_0 is now in_progress",
        "the batch batch_0 is done: 200 of 200 calls answered",
    ]
    counts = [event for event in events if event["event"] == "calls"]
    assert max(event["in_flight"] for event in counts) == 200 and counts[-1]["in_flight"] == 0


@pytest.mark.parametrize("trouble", ["refused", "broken", "expired", "missing", "unread"])
def test_items_that_failed_are_sent_alone(tmp_path: Path, trouble: str) -> None:
    with BatchProvider(**{trouble: 0.2}) as server:
        llm = Posted(api_base=server.url, priced=True)
        assert asking.together(tmp_path, llm, FEW) == {"answered": 40}
        seen = server.seen()
    alone = sum(seen["chats"].values())
    assert 0 < alone < 20 and set(seen["chats"].values()) == {1} and set(seen["items"].values()) == {1}
    assert len(seen["batches"]) == 1
    cost = spent(tmp_path)
    if trouble in ("missing", "unread"):  # they may be billed
        assert cost > seen["spent"]
    else:
        assert cost == pytest.approx(seen["spent"])


def test_an_answer_of_no_use_is_asked_again_in_a_batch_of_its_own(tmp_path: Path) -> None:
    with BatchProvider(unfit=0.3, seed=1) as server:
        assert asking.together(tmp_path, Posted(api_base=server.url), FEW)["answered"] >= 35
        seen = server.seen()
    assert len(seen["batches"]) in (2, 3) and seen["batches"][1]["items"] < 20 and not seen["chats"]


def test_a_batch_that_is_refused_as_a_whole_costs_nothing_and_says_why(tmp_path: Path) -> None:
    with BatchProvider(invalid="Invalid model: no batches of it") as server:
        with pytest.raises(ProviderDown, match="Invalid model: no batches of it"):
            asking.together(tmp_path, Posted(api_base=server.url, priced=True), FEW)
        assert spent(tmp_path) == 0 and attempts(tmp_path) == [("failed", "bad_request", 40)]
    with BatchProvider() as server:  # mended
        llm = Posted(api_base=server.url, priced=True, revision="2")
        assert asking.together(tmp_path, llm, FEW) == {"answered": 40}


@pytest.mark.parametrize(
    ("events", "status"),
    [("upload", 500), ("upload", 429), ("create", 500), ("create list", 429), ("created", 500), ("created list", 500),
     ("retrieve", 500), ("retrieve", 429), ("content", 500)],
)  # fmt: skip
def test_a_request_that_fails_is_made_again_and_no_batch_twice(tmp_path: Path, events: str, status: int) -> None:
    with BatchProvider(fail=dict.fromkeys(events.split(), 1), status=status) as server:
        llm = Posted(api_base=server.url, priced=True)
        assert asking.together(tmp_path, llm, FEW) == {"answered": 40}
        seen = server.seen()
    assert len(seen["batches"]) == 1 and set(seen["items"].values()) == {1} and not seen["chats"]
    assert spent(tmp_path) == pytest.approx(seen["spent"])


@pytest.mark.parametrize("kind", ["timeout", "server"])
def test_a_batch_that_is_shown_late_is_not_handed_in_again(tmp_path: Path, kind: CallError.Kind) -> None:
    """The provider has it, the reply was lost, and its list shows the batch only after some looks."""

    class Late(Posted):  # type: ignore[misc, valid-type]
        looks: list[str] = []

        async def submit(self, items: Any, mark: str) -> str:
            await super().submit(items, mark)
            raise CallError(kind, "the reply was lost")

        async def find_batch(self, mark: str) -> str | None:
            self.looks.append(mark)
            return await super().find_batch(mark) if len(self.looks) > 3 else None

    with BatchProvider() as server:
        assert asking.together(tmp_path, Late(api_base=server.url, priced=True), FEW) == {"answered": 40}
        seen = server.seen()
    assert len(seen["batches"]) == 1 and set(seen["items"].values()) == {1}
    assert spent(tmp_path) == pytest.approx(seen["spent"])


def test_half_characters_in_a_batch_lose_no_answer(tmp_path: Path) -> None:
    class Half(Posted):  # type: ignore[misc, valid-type]
        async def collect(self, batch: str) -> Any:
            found = await super().collect(batch)
            if isinstance(found, str):
                return found
            return {name: replace(answer, request_id="half \ud800") for name, answer in found.items()}

    with BatchProvider() as server:
        assert asking.together(tmp_path, Half(api_base=server.url), FEW) == {"answered": 40}
        assert server.seen()["chats"] == {}


def test_a_batch_that_is_not_taken_costs_nothing(tmp_path: Path) -> None:
    with BatchProvider(fail={"create": 99}, status=400) as server:
        llm = Posted(api_base=server.url, priced=True)
        with pytest.raises(ProviderDown, match="a batch of 40 calls was not taken: status 400"):
            asking.together(tmp_path, llm, FEW)
    assert spent(tmp_path) == 0 and attempts(tmp_path) == [("failed", "bad_request", 40)]


@pytest.mark.parametrize("phase", ["upload", "create", "created", "retrieve", "content", "delete"])
def test_killed_in_any_phase_nothing_is_handed_in_twice(tmp_path: Path, phase: str) -> None:
    with BatchProvider(stall=phase) as server:
        process = script(tmp_path, server)
        server.wait_for(phase)
        process.kill()
        process.communicate()
        assert asking.together(tmp_path, Posted(api_base=server.url, priced=True), FEW) == {"answered": 40}
        seen = server.seen()
    assert len(seen["batches"]) == 1 and set(seen["items"].values()) == {1} and not seen["chats"]
    assert spent(tmp_path) == pytest.approx(seen["spent"])  # what never arrived is not paid for


def test_killed_while_it_can_not_be_looked_for_the_batch_counts_as_lost(tmp_path: Path) -> None:
    with BatchProvider(stall="created") as server:
        process = script(tmp_path, server)
        server.wait_for("created")
        process.kill()
        process.communicate()
        llm = Posted(api_base=server.url, priced=True, listed=False)
        assert asking.together(tmp_path, llm, FEW) == {"answered": 40}
        assert len(server.seen()["batches"]) == 2
        assert spent(tmp_path) >= server.seen()["spent"] / 2
    assert attempts(tmp_path) == [("answered", "", 40), ("failed", "lost", 40)]


def test_a_batch_that_is_not_shown_stays_for_the_next_run(tmp_path: Path) -> None:
    with BatchProvider(fail={"retrieve": 1}, status=404) as server:
        llm = Posted(api_base=server.url, priced=True)
        with pytest.raises(
            ProviderDown, match=r"the batch batch_0 can not be looked at: status 404\. It stays in the ledger"
        ):
            asking.together(tmp_path, llm, FEW)
        assert asking.together(tmp_path, llm, FEW) == {"answered": 40}
        assert len(server.seen()["batches"]) == 1
    assert attempts(tmp_path) == [("answered", "", 40)]


def test_a_batch_that_is_not_shown_any_more_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "GIVEN_UP", 0.0)
    with BatchProvider(fail={"retrieve": 1}, status=404) as server:
        llm = Posted(api_base=server.url, priced=True)
        assert asking.together(tmp_path, llm, FEW) == {"answered": 40}
        assert len(server.seen()["batches"]) == 2
    assert attempts(tmp_path) == [("answered", "", 40), ("failed", "lost", 40)]
    assert spent(tmp_path) > server_price(80)  # what it may have cost is booked


def test_single_calls_do_not_pay_for_what_a_batch_has(tmp_path: Path) -> None:
    with BatchProvider(hold=True) as server:
        process = script(tmp_path, server)
        server.wait_for("retrieve")
        process.kill()
        process.communicate()
        llm = Posted(api_base=server.url, batch=False)
        with pytest.raises(
            RecipeError, match="out in a batch, which an earlier run handed in: set batch: true to wait"
        ):
            asking.together(tmp_path, llm, FEW)
        assert server.seen()["chats"] == {}


def test_two_processes_at_once_hand_in_one_batch(tmp_path: Path) -> None:
    with BatchProvider(hold=True) as server:
        first = script(tmp_path, server, run="one")
        server.wait_for("retrieve")
        second = script(tmp_path, server, run="two")
        third = script(tmp_path, server, run="three", first=30, last=60)
        server.finish()
        assert (answered(first), answered(second), answered(third)) == (40, 40, 30)
        seen = server.seen()
    assert set(seen["items"].values()) == {1} and len(seen["items"]) == 60 and len(seen["batches"]) == 2
    assert spent(tmp_path, "one") + spent(tmp_path, "three") == pytest.approx(seen["spent"])
    assert spent(tmp_path, "two") == 0


def test_a_process_waits_for_another_and_takes_over_when_it_dies(tmp_path: Path) -> None:
    with BatchProvider(hold=True) as server:
        first = script(tmp_path, server, run="one")
        server.wait_for("retrieve")
        second = script(tmp_path, server, run="two")
        first.kill()
        first.communicate()
        server.finish()
        assert answered(second) == 40
        assert len(server.seen()["batches"]) == 1
    assert spent(tmp_path, "two") == 0 and spent(tmp_path, "one") == pytest.approx(server_price(40))


def server_price(calls: int) -> float:
    return calls * (20 * provider.PRICES[0] + 10 * provider.PRICES[1]) / 2


def test_a_drain_stops_waiting_at_once_and_the_next_run_waits_on(tmp_path: Path) -> None:
    with BatchProvider(hold=True) as server:
        llm = Posted(api_base=server.url, priced=True)

        async def stopped() -> None:
            async with asking.engine(tmp_path, llm) as opened:
                work = asyncio.ensure_future(asking.ask_all(opened.model("llm"), FEW))
                await asyncio.to_thread(server.wait_for, "retrieve")
                opened.drain()
                with pytest.raises(Stopped):
                    await work

        asyncio.run(stopped())
        assert attempts(tmp_path) == [("sent", "", 40)]
        server.finish()
        assert asking.together(tmp_path, llm, FEW) == {"answered": 40}
        assert len(server.seen()["batches"]) == 1
    assert spent(tmp_path) == pytest.approx(server_price(40))


def test_what_a_dead_run_left_is_collected_though_nobody_asks_for_it(tmp_path: Path) -> None:
    with BatchProvider(hold=True) as server:
        process = script(tmp_path, server)
        server.wait_for("retrieve")
        process.kill()
        process.communicate()
        server.finish()
        other = QUESTIONS[100:140]
        assert asking.together(tmp_path, Posted(api_base=server.url, priced=True), other, run="new") == {"answered": 40}
        assert len(server.seen()["batches"]) == 2
    assert attempts(tmp_path) == [("answered", "", 80)]
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as db:
        steps = db.execute("SELECT run, step, COUNT(*) FROM answers GROUP BY 1, 2 ORDER BY 1").fetchall()
    assert steps == [("new", "test", 40), ("run", "test", 40)]


def test_a_batch_without_a_name_is_looked_for_only_by_those_who_need_it(tmp_path: Path) -> None:
    with BatchProvider(stall="created") as first, BatchProvider() as second:
        process = script(tmp_path, first)
        first.wait_for("created")
        process.kill()
        process.communicate()
        elsewhere = Posted(api_base=second.url, revision="elsewhere")  # where nobody knows of that batch
        assert asking.together(tmp_path, elsewhere, FEW) == {"answered": 40}
        assert ("sent", "", 40) in attempts(tmp_path)
        assert asking.together(tmp_path, Posted(api_base=first.url), FEW) == {"answered": 40}
        assert len(first.seen()["batches"]) == 1
    assert attempts(tmp_path) == [("answered", "", 80)]


def test_a_cap_holds_for_batches(tmp_path: Path) -> None:
    with BatchProvider() as server:
        llm = Posted(api_base=server.url, priced=True, max_tokens=10)
        reserve = 5e-4  # about the worst case of a call, twice that of one in a batch
        with pytest.raises(BudgetReached):
            asking.together(tmp_path, llm, FEW, budget=reserve * 1.5)
        seen = server.seen()
    assert 0 < len(seen["items"]) < 40 and seen["spent"] <= reserve * 1.5
    assert spent(tmp_path) == pytest.approx(seen["spent"])
    assert len(seen["batches"]) > 1  # what came back was spent, too


@pytest.mark.parametrize(("limit", "most"), [("MOST_CALLS", 80), ("MOST_BYTES", 80 * 1_200)])
def test_a_batch_is_cut_at_the_providers_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, most: int
) -> None:
    monkeypatch.setattr(batches, limit, most)
    with BatchProvider() as server:
        assert asking.together(tmp_path, Posted(api_base=server.url), QUESTIONS) == {"answered": 200}
        seen = server.seen()
    items = [batch["items"] for batch in seen["batches"]]
    assert len(items) == 3 and items[0] == items[1] and 60 < items[0] < 99 and sum(items) == 200


def test_a_model_under_two_names_does_not_take_its_own_batch_for_a_dead_ones(tmp_path: Path) -> None:
    with BatchProvider(hold=True) as server:
        one, two = Posted(api_base=server.url), Posted(api_base=server.url, concurrency=3)

        async def both() -> None:
            async with asking.engine(tmp_path, one, other=two) as opened:
                first = asyncio.ensure_future(asking.ask_all(opened.model("llm"), FEW))
                await asyncio.to_thread(server.wait_for, "retrieve")
                second = asyncio.ensure_future(asking.ask_all(opened.model("other"), QUESTIONS[20:60]))
                await asyncio.to_thread(server.finish)
                assert await first == await second == {"answered": 40}

        asyncio.run(both())
        seen = server.seen()
    assert set(seen["items"].values()) == {1} and len(seen["items"]) == 60 and len(seen["batches"]) == 2


def test_a_model_without_a_batch_api_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    with BatchProvider() as server:
        with pytest.raises(RecipeError, match="test/direct has no batch API: set batch: false"):
            asking.together(tmp_path, Direct(api_base=server.url, batch=True), FEW)
        assert server.seen()["events"] == {} and server.seen()["chats"] == {}
