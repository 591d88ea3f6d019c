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

TROUBLES = ("refuse", "broken", "garbage", "drop", "truncate", "unfit", "empty", "filter")


class Provider:
    """The server. Options: ``latency`` in seconds; ``room``, requests it takes at once (429 beyond); ``retry_after`` in
    seconds; ``key`` that it asks for; ``quota`` False for an account without money; shares in 0..1 of refuse (429), broken (500),
    garbage (a body that is no JSON), drop (connection closed), truncate (finish reason length), unfit (an answer that does not
    fit), empty, filter (content filter). ``count`` False leaves the usage out; ``replies``, each
    {text, status, headers}, are sent in turn, whatever is asked."""

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
        """``requests`` and ``answered`` (whole answers sent) by prompt, ``most`` in flight, ``spent`` in US dollars at PRICES."""
        with urllib.request.urlopen(f"{self.url}/seen") as reply:
            return dict(json.load(reply))


PRICES = (1e-6, 3e-6)  # US dollars a token, prompt and answer


def serve(options: Mapping[str, Any]) -> None:
    """Serve until standard input closes."""
    import asyncio
    import threading
    from collections import Counter

    from aiohttp import web

    requests: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    state = {"now": 0, "most": 0, "spent": 0.0}

    def refusal(code: str = "rate_limit_exceeded") -> web.Response:
        after = str(options.get("retry_after", 0.05))
        error = {"error": {"message": f"too many ({code})", "type": code, "code": code}}
        return web.json_response(error, status=429, headers={"Retry-After": after})

    async def complete(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        prompt = body["messages"][-1]["content"]
        requests[prompt] += 1
        if "key" in options and request.headers.get("Authorization") != f"Bearer {options['key']}":
            given = request.headers.get("Authorization", "")
            return web.json_response({"error": {"message": f"Incorrect API key provided: {given}"}}, status=401)
        if replies := options.get("replies"):
            reply = replies[(sum(requests.values()) - 1) % len(replies)]
            headers = {"Content-Type": "application/json", **reply.get("headers", {})}
            return web.Response(body=reply["text"].encode(), status=reply.get("status", 200), headers=headers)
        if options.get("quota") is False:
            return refusal("insufficient_quota")
        if state["now"] >= options.get("room", 1 << 30):
            return refusal()
        state["now"] += 1
        state["most"] = max(state["most"], state["now"])
        try:
            return await act(request, body, prompt)
        finally:
            state["now"] -= 1

    async def act(request: web.Request, body: dict[str, Any], prompt: str) -> web.StreamResponse:
        dice = random.Random(f"{options.get('seed', 0)}/{prompt}/{requests[prompt]}")
        draw, trouble = dice.random(), ""
        for name in TROUBLES:
            draw -= options.get(name, 0.0)
            if draw < 0:
                trouble = name
                break
        if trouble == "refuse":
            return refusal()
        if trouble == "broken":
            return web.json_response({"error": {"message": "boom"}}, status=500)
        await asyncio.sleep(options.get("latency", 0.0))
        if trouble == "drop":
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        if trouble == "garbage":
            return web.Response(text='{"choices": [{"mess', content_type="application/json")
        question = next(message["content"] for message in body["messages"] if message["role"] == "user")
        text, finish = json.dumps({"text": f"answer to {question}"}, ensure_ascii=False), "stop"
        if trouble == "truncate":
            text, finish = text[:-5], "length"
        if trouble == "filter":
            text, finish = "I can not help with that", "content_filter"
        text = {"unfit": '{"words": 3}', "empty": ""}.get(trouble, text)
        usage = {
            "prompt_tokens": sum(len(message["content"].encode()) for message in body["messages"]) // 3,
            "completion_tokens": dice.randint(1, body.get("max_tokens", 100)),
        }
        state["spent"] += usage["prompt_tokens"] * PRICES[0] + usage["completion_tokens"] * PRICES[1]
        answered[prompt] += 1
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
        facts = {"id": f"r-{sum(requests.values())}", "object": "chat.completion", "created": 0, "model": body["model"]}
        sent = {"seed": body.get("seed"), "format": body.get("response_format")}
        counted = {"usage": usage} if options.get("count", True) else {}
        return web.json_response({**facts, "choices": [choice], **counted, "sent": sent})

    async def seen(request: web.Request) -> web.Response:
        return web.json_response({"requests": requests, "answered": answered, **state})

    async def main() -> None:
        app = web.Application()
        app.add_routes([web.post("/v1/chat/completions", complete), web.get("/v1/seen", seen)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        print(runner.addresses[0][1], flush=True)
        over = asyncio.Event()
        loop = asyncio.get_running_loop()
        threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(over.set)), daemon=True).start()
        await over.wait()

    asyncio.run(main())


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
