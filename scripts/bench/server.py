"""A provider of answers for the benchmarks: an OpenAI-compatible server on loopback, in a process of its own.

    with Server(latency=0.2, refuse=0.2) as server: ... server.url ... server.stats()

It is a bare asyncio protocol that parses no JSON unless it has to reckon prices, so that it is not what is measured. Every
prompt must hold a mark, ROW-000123. What becomes of a request depends on its row and on how often that row was asked, and on
nothing else, so that every client meets the same troubles. Options, all shares 0..1:

    latency      seconds until an answer, or a pair: at random in between
    refuse       429 with Retry-After: ``retry_after`` seconds
    broken       500
    cut          200 with a body that is no whole JSON
    garbled      an answer that is no JSON
    truncated    an answer cut off, finish reason length
    stall        no answer at all
    drop         the connection closed in place of an answer
    uncounted    an answer whose usage is missing, or all zeros
    room         requests it takes at once, 429 beyond; 0 for no limit
    prices       US dollars a token, prompt and answer: it reckons what it charges
    length       with prices: a pair, the shares of max_tokens that answers are long, at random in between
    seed         another number, other troubles

An answer that was begun is charged and counted even if nobody is there any more to take it, as a provider does.
"""

from __future__ import annotations

import asyncio
import gc
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections import deque
from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from typing import Any

TROUBLES = ("refuse", "broken", "cut", "garbled", "truncated", "stall", "drop", "uncounted")
TICK = 0.001  # seconds; answers that are due within one leave together
REFUSAL_SECONDS = 0.002  # until a 429 comes
DEFAULTS: dict[str, Any] = {
    "latency": 0.2, "retry_after": 1, "room": 0, "prices": None, "length": (0.1, 1.0), "seed": 0,
    **dict.fromkeys(TROUBLES, 0.0),
}  # fmt: skip
NANO = 1_000_000_000
ROW = re.compile(rb"ROW-(\d+)")
LENGTH = re.compile(rb"(?:C|\nc)ontent-[Ll]ength: *(\d+)")
TEXT = "It is a treatment with a dose that the patient should take twice a day, with food. " * 6


class Server:
    """The server's process. Options as above."""

    def __init__(self, **options: Any):
        if unknown := set(options) - set(DEFAULTS):
            raise TypeError(f"no such option: {unknown}")
        self.options = {**DEFAULTS, **options}

    def __enter__(self) -> Server:
        command = [sys.executable, __file__, json.dumps(self.options)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.origin = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        self.url = f"{self.origin}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def stats(self) -> dict[str, Any]:
        """``requests``; ``refused`` (429) and every other trouble; ``answers`` sent whole; ``rows`` asked and
        ``rows_answered``, each once; ``again``, whole answers for rows that had one; ``in_flight``, ``most_in_flight``;
        ``charged`` in billionths of a US dollar; ``cpu`` in seconds."""
        with urllib.request.urlopen(f"{self.origin}/stats") as reply:
            return dict(json.load(reply))

    def fate(self, row: int, attempt: int) -> str:
        """What becomes of a row's n-th request (from 1), the room aside: the name of a trouble, or empty."""
        return fate(self.options, b"%06d" % row, attempt)


def draw(seed: int, row: bytes, attempt: int, what: bytes) -> float:
    """A number in 0..1 that these alone decide."""
    # Not a check sum: those of "…/1" and "…/2" belong together, and so would a row's troubles.
    digest = blake2b(b"%d/%s/%d/%s" % (seed, row, attempt, what), digest_size=4).digest()
    return int.from_bytes(digest, "big") / 2**32


def fate(options: dict[str, Any], row: bytes, attempt: int) -> str:
    """The trouble a request meets, or an empty string."""
    left = draw(options["seed"], row, attempt, b"fate")
    for name in TROUBLES:
        left -= options[name]
        if left < 0:
            return name
    return ""


class State:
    """What the server knows of all its connections."""

    def __init__(self, options: dict[str, Any]):
        self.options = options
        self.troubled = any(options[name] for name in TROUBLES)
        self.requests = self.answers = self.again = self.in_flight = self.most = self.charged = 0
        self.troubles = dict.fromkeys(TROUBLES, 0)
        self.cpu = time.process_time()
        self.asked: dict[bytes, int] = {}
        self.answered: set[bytes] = set()
        self._due: deque[tuple[float, Callable[[], None]]] = deque()
        self._loop = asyncio.get_running_loop()

    def later(self, when: float, answer: Callable[[], None]) -> None:
        """Answer then. All wait equally long, so that they take turns, and one timer is enough."""
        self._due.append((when, answer))
        if len(self._due) == 1:
            self._loop.call_at(when, self._answer)

    def _answer(self) -> None:
        now, due = self._loop.time(), self._due
        while due and due[0][0] <= now:
            due[0][1]()
            due.popleft()
        if due:
            self._loop.call_at(max(due[0][0], now + TICK), self._answer)

    def stats(self) -> dict[str, Any]:
        """As :meth:`Server.stats` says."""
        troubles = {"refused" if name == "refuse" else name: count for name, count in self.troubles.items()}
        return {
            "requests": self.requests, **troubles, "answers": self.answers, "rows": len(self.asked),
            "rows_answered": len(self.answered), "again": self.again, "in_flight": self.in_flight,
            "most_in_flight": self.most, "charged": self.charged, "cpu": time.process_time() - self.cpu,
        }  # fmt: skip


class Connection(asyncio.Protocol):
    """One client's connection: requests one after another, or piled up."""

    def __init__(self, state: State, loop: asyncio.AbstractEventLoop):
        self.state, self.loop = state, loop
        self.transport: asyncio.Transport | None = None
        self.buffer = b""
        self.stalled = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody is there."""
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, error: Exception | None) -> None:
        """Nobody is there any more."""
        self.transport = None
        self.state.in_flight -= self.stalled
        self.stalled = 0

    def data_received(self, data: bytes) -> None:
        """Take as many whole requests as there are."""
        self.buffer = data = self.buffer + data if self.buffer else data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            found = LENGTH.search(data, 0, end)
            whole = end + 4 + (int(found[1]) if found else 0)
            if len(data) < whole:
                break
            self.take(data, end + 4, whole)
            data = data[whole:]
        self.buffer = data

    def take(self, data: bytes, start: int, end: int) -> None:
        """One request: its head ends at ``start``, its body at ``end``."""
        state, options = self.state, self.state.options
        mark = ROW.search(data, start, end)
        if mark is None:
            status, body = (200, state.stats()) if data.startswith(b"GET /stats") else (404, {})
            self.send(status, json.dumps(body).encode())
            return
        row = mark[1]
        attempt = state.asked.get(row, 0) + 1
        state.asked[row] = attempt
        state.requests += 1
        if options["room"] and state.in_flight >= options["room"]:
            trouble = "refuse"
        else:
            trouble = fate(options, row, attempt) if state.troubled else ""
            if trouble != "refuse":
                state.in_flight += 1
                state.most = max(state.most, state.in_flight)
        if trouble:
            state.troubles[trouble] += 1
        if trouble == "refuse":
            self.loop.call_later(REFUSAL_SECONDS, self.refuse)
            return
        tokens = self.tokens(data[start:end], row, attempt) if options["prices"] else (100, 100)
        answer = partial(self.finish, row, trouble, tokens, data.startswith(b"POST /v1/messages"))
        latency = options["latency"]
        if isinstance(latency, list):
            latency = latency[0] + (latency[1] - latency[0]) * draw(options["seed"], row, attempt, b"latency")
            self.loop.call_later(latency, answer)
        else:
            state.later(self.loop.time() + latency, answer)

    def tokens(self, body: bytes, row: bytes, attempt: int) -> tuple[int, int]:
        """Tokens of the prompt and of the answer."""
        options = self.state.options
        asked = json.loads(body)
        least, most = options["length"]
        share = least + (most - least) * draw(options["seed"], row, attempt, b"length")
        prompt = sum(len(message["content"].encode()) for message in asked["messages"]) // 3
        return prompt, max(1, int(asked["max_tokens"] * share))

    def refuse(self) -> None:
        """Too many."""
        after = self.state.options["retry_after"]
        body = {
            "error": {"message": "Rate limit reached", "type": "rate_limit_exceeded", "code": "rate_limit_exceeded"}
        }
        self.send(429, json.dumps(body).encode(), b"retry-after: %a\r\n" % after)

    def finish(self, row: bytes, trouble: str, tokens: tuple[int, int], claude: bool) -> None:
        """The end of a request that was taken."""
        state = self.state
        if trouble == "broken":
            state.in_flight -= 1
            self.send(500, b'{"error": {"message": "The server had an error", "type": "server_error"}}')
            return
        if prices := state.options["prices"]:
            state.charged += round(NANO * (tokens[0] * prices[0] + tokens[1] * prices[1]))
        if trouble == "stall":
            if self.transport is None:
                state.in_flight -= 1
            else:
                self.stalled += 1
            return
        state.in_flight -= 1
        if trouble == "drop":
            if self.transport is not None:
                self.transport.close()
            return
        if trouble in ("", "uncounted"):
            state.answers += 1
            state.again += row in state.answered
            state.answered.add(row)
        self.send(200, reply_of(row, trouble, tokens, claude))

    def send(self, status: int, body: bytes, more: bytes = b"") -> None:
        """An answer, if somebody is there to take it."""
        if self.transport is not None:
            head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\n%scontent-length: %d\r\n\r\n"
            self.transport.write(head % (status, more, len(body)) + body)


FRAME = (
    b'{"id": "r-%s", "object": "chat.completion", "created": 1700000000, "model": "bench", "choices": [{"index": 0, '
    b'"message": {"role": "assistant", "content": %s}, "finish_reason": "%s"}]%s}'
)
USAGE = b', "usage": {"prompt_tokens": %d, "completion_tokens": %d, "total_tokens": %d}'
CLAUDE = (
    b'{"id": "r-%s", "type": "message", "role": "assistant", "model": "bench", "content": [{"type": "text", "text": %s}], '
    b'"stop_reason": "end_turn", "stop_sequence": null, "usage": {"input_tokens": %d, "output_tokens": %d}}'
)
WHOLE = json.dumps(json.dumps({"answer": f"Answer @: {TEXT}"})).encode().split(b"@")


def reply_of(row: bytes, trouble: str, tokens: tuple[int, int], claude: bool) -> bytes:
    """The body of an answer."""
    text = row.join(WHOLE)
    if claude:
        return CLAUDE % (row, text, *tokens)
    finish, usage = b"stop", USAGE % (*tokens, sum(tokens))
    if trouble == "garbled":
        text = b'"{\\"answer: no JSON at all"'
    elif trouble == "truncated":
        text, finish = text[:60] + b'"', b"length"
    elif trouble == "uncounted":
        usage = USAGE % (0, 0, 0) if row[-1] % 2 else b""
    body = FRAME % (row, text, finish, usage)
    return body[: len(body) // 2] if trouble == "cut" else body


async def serve(options: dict[str, Any]) -> None:
    """Serve until standard input closes; the port is the first line of output."""
    loop = asyncio.get_running_loop()
    state = State(options)
    server = await loop.create_server(lambda: Connection(state, loop), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    over = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), over.set)
    await over.wait()


if __name__ == "__main__":
    gc.disable()  # nothing here is circular
    asyncio.run(serve(json.loads(sys.argv[1])))
