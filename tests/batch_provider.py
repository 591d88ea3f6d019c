"""A provider with a batch API for tests: real servers on loopback, in a process of their own that all tests share, each with an
address and a memory of its own. They speak OpenAI's endpoints for files, batches and chats (and Azure's addresses for them). What
becomes of an item depends on its custom_id alone.

    with BatchProvider(polls=3, broken=0.1) as provider: ... provider.url ... provider.seen()
"""

from __future__ import annotations

import atexit
import functools
import json
import random
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from typing import Any

TROUBLES = ("refused", "broken", "unread", "missing", "expired", "truncate", "unfit")
LONG = (
    "a longer answer that a teacher would give, with the mechanism behind it and the reason why it matters to a learner"
)
HIDDEN = ("lines", "looks", "good", "bad", "soon")  # of a batch, from whoever asks
PRICES = (1e-6, 3e-6)  # US dollars a token, prompt and answer; half of it in a batch


class BatchProvider:
    """The server. Options: ``polls``, looks at a batch until it is done (2); ``hold`` True: done only after finish(); ``invalid``,
    words with which every batch fails; ``cancelled`` True: batches end so, half of it done; ``key`` that it asks for;
    ``stall``, an event whose request, the first time, is never answered; ``fail``, how often an event gets ``status`` (500) first;
    ``late`` True: a batch is done before its output file is named. ``chat`` False: single calls are refused. Shares in
    0..1 of refused (400), broken (500), unread (no JSON in it), missing (no line), expired, truncate, unfit.

    Events: upload, create (before it happens), created (after it), list, retrieve, content, delete."""

    def __init__(self, **options: Any):
        self.options = options

    def __enter__(self) -> BatchProvider:
        self._port = _told({"open": self.options})
        self.root = f"http://127.0.0.1:{self._port}"
        self.url = f"{self.root}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        _told({"close": self._port})

    def seen(self) -> dict[str, Any]:
        """``batches``: {id, name, items, state} each; ``items``: how often each custom_id was handed in; ``chats``: how often
        each prompt was asked singly; ``files`` that lie there; ``events``: how often each came; ``spent`` in US dollars."""
        return self._get("seen")

    def wait_for(self, event: str) -> None:
        """Return once the event has come."""
        self._get(f"when/{event}")

    def finish(self) -> None:
        """Let batches that are held be done at the next look."""
        self._get("finish")

    def _get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.root}/test/{path}", timeout=60) as reply:
            return dict(json.load(reply))


@functools.cache
def _process() -> subprocess.Popen[str]:
    """The process of the servers, started once; it ends with this one."""
    process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(process.communicate)
    atexit.register(process.kill)
    return process


def _told(order: Mapping[str, Any]) -> int:
    """Have a server opened, or closed; its port."""
    process = _process()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(order) + "\n")
    process.stdin.flush()
    return int(process.stdout.readline())


async def opened(options: Mapping[str, Any]) -> Any:
    """A server that listens, as aiohttp's runner."""
    import asyncio
    from collections import Counter, defaultdict

    from aiohttp import web

    files: dict[str, bytes] = {}
    batches: dict[str, dict[str, Any]] = {}
    items: Counter[str] = Counter()
    chats: Counter[str] = Counter()
    events: Counter[str] = Counter()
    came: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
    state: dict[str, Any] = {"spent": 0.0, "finish": not options.get("hold", False)}

    def trouble_of(name: str) -> str:
        draw = random.Random(f"trouble/{options.get('seed', 0)}/{name}").random()
        for trouble in TROUBLES:
            draw -= options.get(trouble, 0.0)
            if draw < 0:
                return trouble
        return ""

    def completion(body: Mapping[str, Any], trouble: str, share: float) -> dict[str, Any]:
        question = next(message["content"] for message in body["messages"] if message["role"] == "user")
        shape = ((body.get("response_format") or {}).get("json_schema") or {}).get("schema") or {
            "properties": {"text": {}}
        }
        said: dict[str, Any] = {}
        for key, kind in shape["properties"].items():
            words = f"answer to {question}" if list(shape["properties"]) == ["text"] else f"{LONG}, {hash_of(question)}"
            said[key] = [words] if kind.get("type") == "array" else words
        text, finish = json.dumps(said, ensure_ascii=False), "stop"
        if trouble == "truncate":
            text, finish = text[:-5], "length"
        if trouble == "unfit":
            text = '{"words": 3}'
        usage = {"prompt_tokens": 20, "completion_tokens": 10}
        state["spent"] += share * (usage["prompt_tokens"] * PRICES[0] + usage["completion_tokens"] * PRICES[1])
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
        facts = {
            "id": f"chatcmpl-{hash_of(question)}",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
        }
        return {**facts, "choices": [choice], "usage": usage}

    def hash_of(text: str) -> int:
        return random.Random(text).randrange(10**9)

    async def event(name: str) -> web.Response | None:
        """Note it, and do to the request what the options say."""
        events[name] += 1
        came[name].set()
        if options.get("stall") == name and events[name] == 1:
            await asyncio.Event().wait()
        if events[name] <= (options.get("fail") or {}).get(name, 0):
            return web.json_response({"error": {"message": "boom"}}, status=options.get("status", 500))
        return None

    def forbidden(request: web.Request) -> web.Response | None:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ") or request.headers.get("api-key", "")
        if "key" in options and given != options["key"]:
            return web.json_response({"error": {"message": f"Incorrect API key provided: {given}"}}, status=401)
        return None

    async def upload(request: web.Request) -> web.StreamResponse:
        form = await request.post()
        if (no := forbidden(request)) or (no := await event("upload")):
            return no
        assert form["purpose"] == "batch"
        sent = form["file"]
        assert isinstance(sent, web.FileField)
        name = f"file-{len(files) + events['delete']}-{len(batches)}"
        files[name] = sent.file.read()
        facts = {"id": name, "object": "file", "bytes": len(files[name]), "created_at": 0, "status": "processed"}
        return web.json_response({**facts, "filename": sent.filename, "purpose": "batch"})

    async def create(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if (no := forbidden(request)) or (no := await event("create")):
            return no
        assert body["completion_window"] == "24h"
        lines = [json.loads(line) for line in files[body["input_file_id"]].splitlines()]
        assert all(line["method"] == "POST" and line["url"] == body["endpoint"] for line in lines)
        batch = {"id": f"batch_{len(batches)}", "object": "batch", "endpoint": body["endpoint"], "errors": None}
        batch |= {"input_file_id": body["input_file_id"], "completion_window": "24h", "status": "validating"}
        batch |= {
            "created_at": len(batches),
            "metadata": body.get("metadata"),
            "lines": lines,
            "looks": 0,
            "good": 0,
            "bad": 0,
        }
        batches[batch["id"]] = batch
        items.update(line["custom_id"] for line in lines)
        if no := await event("created"):
            return no
        return web.json_response(plain(batch))

    def plain(batch: Mapping[str, Any]) -> dict[str, Any]:
        counts = {"total": len(batch["lines"]), "completed": batch["good"], "failed": batch["bad"]}
        return {key: batch[key] for key in batch if key not in HIDDEN} | {"request_counts": counts}

    async def retrieve(request: web.Request) -> web.StreamResponse:
        if (no := forbidden(request)) or (no := await event("retrieve")):
            return no
        batch = batches.get(request.match_info["id"])
        if batch is None:
            return web.json_response({"error": {"message": "No batch found with that id"}}, status=404)
        advance(batch)
        return web.json_response(plain(batch))

    def advance(batch: dict[str, Any]) -> None:
        batch["looks"] += 1
        if batch["status"] in ("completed", "failed", "expired", "cancelled"):
            if batch.get("soon"):
                batch.update(batch.pop("soon"))
            return
        if options.get("invalid"):
            fault = {"code": "invalid_json_line", "message": options["invalid"], "param": None, "line": 1}
            batch.update(status="failed", errors={"object": "list", "data": [fault]})
            return
        if batch["looks"] <= options.get("polls", 2) or not state["finish"]:
            batch["status"] = ("validating", "in_progress", "finalizing")[min(2, batch["looks"] // 2)]
            return
        good, bad = [], []
        for number, line in enumerate(batch["lines"]):
            name, trouble = line["custom_id"], trouble_of(line["custom_id"])
            if options.get("cancelled") and number % 2:
                trouble = "missing"
            reply: dict[str, Any] = {"id": f"batch_req_{name}", "custom_id": name, "response": None, "error": None}
            if trouble == "expired":
                bad.append(
                    {**reply, "error": {"code": "batch_expired", "message": "This request could not be executed"}}
                )
            elif trouble in ("refused", "broken"):
                status = 400 if trouble == "refused" else 500
                said = {"error": {"message": f"it was {trouble}"}}
                bad.append({**reply, "response": {"status_code": status, "request_id": "r", "body": said}})
            elif trouble != "missing":
                said = completion(line["body"], trouble, 0.5)
                good.append({**reply, "response": {"status_code": 200, "request_id": "r", "body": said}})
                if trouble == "unread":
                    good[-1] = f'{{"custom_id": "{name}", "resp'
        random.Random(batch["id"]).shuffle(good)
        written: dict[str, Any] = {}
        for kind, found in (("output", good), ("error", bad)):
            if found:
                file = written[f"{kind}_file_id"] = f"file-{batch['id']}-{kind}"
                lines = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in found]
                files[file] = "\n".join(lines).encode()
        batch["good"], batch["bad"] = len(good), len(bad)
        expired = any(line["error"] for line in bad)
        batch["status"] = "cancelled" if options.get("cancelled") else "expired" if expired else "completed"
        if options.get("late"):
            batch["soon"] = written
        else:
            batch.update(written)

    async def listing(request: web.Request) -> web.StreamResponse:
        if (no := forbidden(request)) or (no := await event("list")):
            return no
        found, after = list(batches.values())[::-1], request.query.get("after")
        start = 1 + next((place for place, batch in enumerate(found) if batch["id"] == after), -1)
        page = found[start : start + int(request.query.get("limit", 20))]
        more = start + len(page) < len(found)
        return web.json_response({"object": "list", "data": [plain(batch) for batch in page], "has_more": more})

    async def content(request: web.Request) -> web.StreamResponse:
        if (no := forbidden(request)) or (no := await event("content")):
            return no
        return web.Response(body=files[request.match_info["id"]], content_type="application/octet-stream")

    async def delete(request: web.Request) -> web.StreamResponse:
        if (no := forbidden(request)) or (no := await event("delete")):
            return no
        name = request.match_info["id"]
        return web.json_response({"id": name, "object": "file", "deleted": files.pop(name, None) is not None})

    async def chat(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if no := forbidden(request):
            return no
        chats[body["messages"][-1]["content"]] += 1
        if options.get("chat") is False:
            return web.json_response({"error": {"message": "no single calls here"}}, status=400)
        return web.json_response(completion({"model": "azure", **body}, "", 1.0))

    async def seen(request: web.Request) -> web.Response:
        facts = {"files": list(files), "items": items, "chats": chats, "events": events, **state}
        told = [
            {"id": batch["id"], "metadata": batch["metadata"], "items": len(batch["lines"]), "state": batch["status"]}
            for batch in batches.values()
        ]
        lines = [line for batch in batches.values() for line in batch["lines"]][:1]
        return web.json_response({**facts, "batches": told, "lines": lines})

    async def when(request: web.Request) -> web.Response:
        await came[request.match_info["event"]].wait()
        return web.json_response({})

    async def finish(request: web.Request) -> web.Response:
        state["finish"] = True
        return web.json_response({})

    app = web.Application(client_max_size=1 << 30)
    for root in ("/v1", "/openai", "/openai/v1"):
        app.add_routes(
            [
                web.post(f"{root}/files", upload),
                web.get(f"{root}/files/{{id}}/content", content),
                web.delete(f"{root}/files/{{id}}", delete),
                web.post(f"{root}/batches", create),
                web.get(f"{root}/batches", listing),
                web.get(f"{root}/batches/{{id}}", retrieve),
                web.post(f"{root}/chat/completions", chat),
            ]
        )
    app.add_routes([web.post("/openai/deployments/{name}/chat/completions", chat)])
    app.add_routes([web.get("/test/seen", seen), web.get("/test/when/{event}", when), web.get("/test/finish", finish)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)  # zero is for ever
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner


async def serve() -> None:
    """Open and close servers as standard input says, until it closes."""
    import asyncio

    servers: dict[int, Any] = {}
    while line := await asyncio.to_thread(sys.stdin.readline):
        match json.loads(line):
            case {"open": options}:
                runner = await opened(options)
                port = runner.addresses[0][1]
                servers[port] = runner
            case {"close": port}:
                await servers.pop(port).cleanup()
        print(port, flush=True)


if __name__ == "__main__":
    import asyncio

    asyncio.run(serve())
