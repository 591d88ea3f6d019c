"""A provider of answers for tests: a real OpenAI-compatible server in a process of its own, on loopback, with every kind of
trouble on request. What it does to a request depends on the prompt and on how often that prompt was asked, and on nothing else.

    with Provider(latency=0.01, refuse=0.2, broken=0.05) as provider: ... provider.url ... provider.seen()
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from typing import Any

TROUBLES = (
    *("refuse", "broken", "garbage", "drop", "truncate", "unfit", "empty", "filter"),
    *("stall", "cut", "malformed", "wrong_usage"),  # new ones go to the end: the draws of the others stay as they are
)
WRONG_USAGES: tuple[Any, ...] = (
    {"prompt_tokens": -5, "completion_tokens": -1},
    {"prompt_tokens": 10**15, "completion_tokens": 10**15},
    {"prompt_tokens": "many", "completion_tokens": "12"},
    {"prompt_tokens": 1.5, "completion_tokens": None},
    {"prompt_tokens": True, "completion_tokens": [3]},
    "plenty",
    None,
)


class Provider:
    """The server. Options:

    ``latency`` in seconds, or [least, most]; ``room``, requests it takes at once (429 beyond); ``retry_after`` in seconds;
    ``key`` that it asks for; ``quota`` False for an account without money; ``models``, the names it knows, and ``unknown``, 404
    (the default) or 400, for others; ``no_schema`` True refuses a JSON schema with 400; ``no`` a list of parameters it refuses as
    OpenAI does; ``count`` False leaves the usage out; ``headers`` to put on whole answers; ``idle`` in seconds, after which it
    closes a connection that waits; ``replies``, each {text, status, headers}, sent in turn, whatever is asked.

    Shares in 0..1 of: refuse (429), broken (500), garbage (a body that is no JSON), drop (connection closed before the answer),
    cut (in the middle of its body), stall (no answer until the client gives up), truncate (finish reason length), unfit (JSON
    that does not fit), malformed (an answer that is no JSON, in a sound envelope), empty, filter (content filter), wrong_usage
    (WRONG_USAGES)."""

    def __init__(self, **options: Any):
        self.options = options

    def __enter__(self) -> Provider:
        self._process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(self.options)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def seen(self) -> dict[str, Any]:
        """``requests`` and ``answered`` (whole answers sent) by prompt, ``most`` in flight, ``spent`` in US dollars at PRICES,
        ``connections`` made, those ``open`` now, ``last``: body and headers of the last request."""
        with urllib.request.urlopen(f"{self.url}/seen") as reply:
            return dict(json.load(reply))


PRICES = (1e-6, 3e-6)  # US dollars a token, prompt and answer


def serve(options: Mapping[str, Any]) -> None:
    """Serve until standard input closes. HTTP is spoken by hand: as little as it takes, so that clients are what is tested."""
    import asyncio
    import threading
    from collections import Counter

    requests: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    state: dict[str, Any] = {"now": 0, "most": 0, "spent": 0.0, "last": None}
    state |= {"connections": -1, "open": -1}  # without the one that asks
    replies = options.get("replies")
    latency = options.get("latency", 0.0)
    shares = [(name, options[name]) for name in TROUBLES if options.get(name)]

    class Connection(asyncio.Protocol):
        """One connection: a request, its reply, the next request."""

        def connection_made(self, transport: Any) -> None:
            self.transport, self.got, self.stalled, self.timer = transport, bytearray(), False, None
            state["connections"] += 1
            state["open"] += 1

        def connection_lost(self, error: Exception | None) -> None:
            state["open"] -= 1
            if self.stalled:
                state["now"] -= 1

        def data_received(self, data: bytes) -> None:
            self.got += data
            while (end := self.got.find(b"\r\n\r\n")) >= 0:
                lines = self.got[:end].decode("latin-1").split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
                whole = end + 4 + int(headers.get("content-length", 0))
                if len(self.got) < whole:
                    return
                body = bytes(self.got[end + 4 : whole])
                del self.got[:whole]
                if self.timer:
                    self.timer.cancel()
                self.handle(lines[0].split()[1], headers, body)

        def send(
            self, body: Any, status: int = 200, headers: Mapping[str, str] | None = None, cut: bool = False
        ) -> None:
            if self.transport.is_closing():
                return
            body = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
            facts = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
            head = "".join(f"{name}: {value}\r\n" for name, value in facts.items())
            self.transport.write(
                f"HTTP/1.1 {status} -\r\n{head}\r\n".encode() + (body[: len(body) // 2] if cut else body)
            )
            if cut:
                self.transport.close()
            elif idle := options.get("idle"):
                self.timer = asyncio.get_running_loop().call_later(idle, self.transport.close)

        def refuse(self, code: str = "rate_limit_exceeded") -> None:
            error = {"error": {"message": f"too many ({code})", "type": code, "code": code}}
            self.send(error, 429, {"Retry-After": str(options.get("retry_after", 0.05))})

        def handle(self, path: str, headers: Mapping[str, str], raw: bytes) -> None:
            if path == "/v1/seen":
                return self.send({"requests": requests, "answered": answered, **state})
            if path != "/v1/chat/completions":
                return self.send({"detail": "Not Found"}, 404)
            body = json.loads(raw)
            state["last"] = {"body": body, "headers": headers}
            prompt = body["messages"][-1]["content"]
            requests[prompt] += 1
            given = headers.get("authorization", "")
            if "key" in options and given != f"Bearer {options['key']}":
                return self.send({"error": {"message": f"Incorrect API key provided: {given}"}}, 401)
            if replies:
                reply = replies[(sum(requests.values()) - 1) % len(replies)]
                return self.send(reply["text"].encode(), reply.get("status", 200), reply.get("headers"))
            if body["model"] not in options.get("models", [body["model"]]):
                said = f"The model `{body['model']}` does not exist or you do not have access to it."
                error = {"message": said, "type": "invalid_request_error", "code": "model_not_found"}
                return self.send({"error": error}, options.get("unknown", 404))
            for name in options.get("no", ()):
                if name in body:
                    error = {
                        "message": f"Unsupported parameter: '{name}'",
                        "param": name,
                        "code": "unsupported_parameter",
                    }
                    return self.send({"error": error}, 400)
            if options.get("no_schema") and (body.get("response_format") or {}).get("type") == "json_schema":
                said = "response_format.type: Input should be 'text' or 'json_object'"
                return self.send({"error": {"message": said, "type": "invalid_request_error"}}, 400)
            if options.get("quota") is False:
                return self.refuse("insufficient_quota")
            if state["now"] >= options.get("room", 1 << 30):
                return self.refuse()
            self.act(body, prompt)

        def act(self, body: Mapping[str, Any], prompt: str) -> None:
            dice = random.Random(f"{options.get('seed', 0)}/{prompt}/{requests[prompt]}")
            draw, trouble = dice.random(), ""
            for name, share in shares:
                draw -= share
                if draw < 0:
                    trouble = name
                    break
            state["most"] = max(state["most"], state["now"] + 1)
            if trouble == "refuse":
                self.refuse()
            elif trouble == "broken":
                self.send({"error": {"message": "boom"}}, 500)
            elif trouble == "stall":
                state["now"] += 1
                self.stalled = True
            else:
                state["now"] += 1
                wait = dice.uniform(*latency) if isinstance(latency, list) else latency
                asyncio.get_running_loop().call_later(wait, self.finish, body, prompt, dice, trouble)

        def finish(self, body: Mapping[str, Any], prompt: str, dice: random.Random, trouble: str) -> None:
            state["now"] -= 1
            if trouble == "drop":
                return self.transport.close()
            if trouble == "garbage":
                return self.send(b'{"choices": [{"mess')
            question = next(message["content"] for message in body["messages"] if message["role"] == "user")
            text, finish = json.dumps({"text": f"answer to {question}"}, ensure_ascii=False), "stop"
            if trouble == "truncate":
                text, finish = text[:-5], "length"
            if trouble == "filter":
                text, finish = "I can not help with that", "content_filter"
            text = {"unfit": '{"words": 3}', "malformed": text[:-2], "empty": ""}.get(trouble, text)
            most = body.get("max_completion_tokens") or body.get("max_tokens") or 100
            usage: Any = {
                "prompt_tokens": sum(len(message["content"].encode()) for message in body["messages"]) // 3,
                "completion_tokens": dice.randint(1, most),
            }
            state["spent"] += usage["prompt_tokens"] * PRICES[0] + usage["completion_tokens"] * PRICES[1]
            if trouble == "wrong_usage":
                usage = dice.choice(WRONG_USAGES)
            answered[prompt] += trouble != "cut"
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
            facts = {
                "id": f"r-{sum(requests.values())}",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
            }
            sent = {"seed": body.get("seed"), "format": body.get("response_format")}
            counted = {"usage": usage} if options.get("count", True) else {}
            reply = {**facts, "choices": [choice], **counted, "sent": sent}
            self.send(reply, headers=options.get("headers"), cut=trouble == "cut")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=4096)
        print(server.sockets[0].getsockname()[1], flush=True)
        over = asyncio.Event()
        threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(over.set)), daemon=True).start()
        await over.wait()

    asyncio.run(main())


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
