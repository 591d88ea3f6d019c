"""Batches against a real server in a process of its own: nothing handed in twice, nothing paid twice, every row answered.

Run as a script it asks: python test_batches.py HOME URL RUN FIRST LAST; prints how many of its questions have an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from langmill import batches, delivery, sending
from langmill.account import MONTH_CAP, Stopped
from langmill.api import Answer, BatchItem, CallError, Price
from langmill.errors import BudgetReached, ProviderDown, RecipeError
from langmill.ledger import Ledger

sys.path.append(str(Path(__file__).resolve().parents[1]))
asking = importlib.import_module("asking")
Direct, QUESTIONS = asking.Direct, asking.QUESTIONS
provider = importlib.import_module("batch_provider")
BatchProvider = provider.BatchProvider
FEW = QUESTIONS[:40]
QUICK = {
    (batches, "QUIET"): 0.05, (batches, "LONGEST_HELD"): 0.1, (delivery, "FIRST_LOOK"): 0.05, (delivery, "LONGEST_LOOK"): 0.1,
    (delivery, "FIRST_PAUSE"): 0.01, (delivery, "ARRIVING"): 0.3, (sending, "FIRST_PAUSE"): 0.01,
}  # fmt: skip


class Posted(Direct):  # type: ignore[misc, valid-type]
    """Hands batches to the server with nothing in between, so that the core alone is what is tested."""

    model: str = "test/posted"
    batch: bool = True
    listed: bool = True

    def price(self) -> Price:
        return Price(*provider.PRICES, 0.5) if self.priced else Price(0.0, 0.0)

    async def _ask(self, method: str, path: str, **sent: Any) -> Any:
        try:
            async with self._session.request(method, f"{self.api_base}/{path}", **sent) as reply:
                body = await reply.read()
        except aiohttp.ClientError as error:
            raise CallError("timeout", type(error).__name__) from None
        if reply.status != 200:
            kinds: dict[int, CallError.Kind] = {400: "bad_request", 401: "auth", 404: "auth", 429: "rate_limit"}
            raise CallError(kinds.get(reply.status, "server"), f"status {reply.status}", 0.01)
        return body if path.endswith("content") else json.loads(body)

    async def submit(self, items: Sequence[BatchItem], mark: str) -> str:
        lines = []
        for item in items:
            said = [{"role": message.role, "content": message.content} for message in item.messages]
            body = {"model": self.model, "messages": said, "seed": item.seed}
            line = {"custom_id": item.name, "method": "POST", "url": "/v1/chat/completions", "body": body}
            lines.append(json.dumps(line))
        form = aiohttp.FormData({"purpose": "batch"})
        form.add_field("file", "\n".join(lines), filename="batch.jsonl", content_type="application/jsonl")
        file = await self._ask("POST", "files", data=form)
        wanted = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        return str((await self._ask("POST", "batches", json={**wanted, "metadata": {"name": mark}}))["id"])

    async def find_batch(self, mark: str) -> str | None:
        if not self.listed:
            raise NotImplementedError
        found = (await self._ask("GET", "batches"))["data"]
        return next((batch["id"] for batch in found if batch["metadata"]["name"] == mark), None)

    async def collect(self, batch: str) -> Mapping[str, Answer | CallError] | None:
        state = await self._ask("GET", f"batches/{batch}")
        if state["status"] == "failed":
            raise CallError("bad_request", state["errors"]["data"][0]["message"])
        if state["status"] not in ("completed", "expired", "cancelled"):
            return None
        found: dict[str, Answer | CallError] = {}
        for file in (state.get("output_file_id"), state.get("error_file_id")):
            for line in (await self._ask("GET", f"files/{file}/content")).splitlines() if file else ():
                with contextlib.suppress(ValueError):
                    found[json.loads(line)["custom_id"]] = self._read(json.loads(line))
        return found

    def _read(self, item: Mapping[str, Any]) -> Answer | CallError:
        if item["error"] or item["response"]["status_code"] != 200:
            return CallError("server", "it failed")
        choice, usage = item["response"]["body"]["choices"][0], item["response"]["body"]["usage"]
        return Answer(
            choice["message"]["content"], choice["finish_reason"], usage["prompt_tokens"], usage["completion_tokens"]
        )

    async def clear_batch(self, batch: str) -> None:
        state = await self._ask("GET", f"batches/{batch}")
        for kind in ("input", "output", "error"):
            if file := state.get(f"{kind}_file_id"):
                await self._ask("DELETE", f"files/{file}")


def script(home: Path, server: Any, *, run: str = "run", first: int = 0, last: int = len(FEW)) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, str(home), server.url, run, str(first), str(last)]
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
    for (module, name), seconds in QUICK.items():
        monkeypatch.setattr(module, name, seconds)
    monkeypatch.delenv(MONTH_CAP, raising=False)


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
    assert notes[0].startswith("batch of 200 calls handed in (batch_0);") and "200 of 200" in notes[1]
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
        assert answered(script(tmp_path, server)) == 40
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
            ProviderDown, match="the batch batch_0 can not be looked at: status 404. It stays in the ledger"
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


def test_a_cap_holds_for_batches(tmp_path: Path) -> None:
    with BatchProvider() as server:
        llm = Posted(api_base=server.url, priced=True, max_tokens=10)
        reserve = 5e-4  # about the worst case of a call, twice that of one in a batch
        with pytest.raises(BudgetReached):
            asking.together(tmp_path, llm, QUESTIONS, budget=reserve * 3)
        seen = server.seen()
    assert 0 < len(seen["items"]) < 200 and seen["spent"] <= reserve * 3
    assert spent(tmp_path) == pytest.approx(seen["spent"])
    assert len(seen["batches"]) > 1  # what came back was spent, too


def test_a_batch_is_cut_at_the_providers_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MOST_CALLS", 80)
    with BatchProvider() as server:
        assert asking.together(tmp_path, Posted(api_base=server.url), QUESTIONS) == {"answered": 200}
        seen = server.seen()
    assert [batch["items"] for batch in seen["batches"]] == [80, 80, 40]


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


if __name__ == "__main__":
    for (module, name), seconds in QUICK.items():
        setattr(module, name, seconds)
    place, url, run_id, *bounds = sys.argv[1:]
    texts = QUESTIONS[int(bounds[0]) : int(bounds[1])]
    llm = Posted(api_base=url, priced=True)
    print(asking.together(Path(place), llm, texts, run=run_id)["answered"], flush=True)
