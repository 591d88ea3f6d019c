"""What tests of batches share: a model that hands its batches to the test server with nothing in between, and a short patience.

Run as a script it asks: python posting.py HOME URL RUN FIRST LAST; prints how many of its questions have an answer.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from langmill.api import Answer, BatchItem, CallError, Price, Unlisted
from langmill.calls import batches, delivery, sending

sys.path.append(str(Path(__file__).resolve().parent))
asking = importlib.import_module("asking")
provider = importlib.import_module("batch_provider")
Direct, QUESTIONS = asking.Direct, asking.QUESTIONS
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
            shape = {"type": "json_schema", "json_schema": {"name": "answer", "schema": item.schema}}
            body = {"model": self.model, "messages": said, "seed": item.seed, "response_format": shape}
            line = {"custom_id": item.name, "method": "POST", "url": "/v1/chat/completions", "body": body}
            lines.append(json.dumps(line))
        form = aiohttp.FormData({"purpose": "batch"})
        form.add_field("file", "\n".join(lines), filename="batch.jsonl", content_type="application/jsonl")
        file = await self._ask("POST", "files", data=form)
        wanted = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        return str((await self._ask("POST", "batches", json={**wanted, "metadata": {"name": mark}}))["id"])

    async def find_batch(self, mark: str) -> str | None:
        if not self.listed:
            raise Unlisted
        found = (await self._ask("GET", "batches"))["data"]
        return next((batch["id"] for batch in found if batch["metadata"]["name"] == mark), None)

    async def collect(self, batch: str) -> Mapping[str, Answer | CallError] | str:
        state = await self._ask("GET", f"batches/{batch}")
        if state["status"] == "failed":
            raise CallError("bad_request", state["errors"]["data"][0]["message"])
        if state["status"] not in ("completed", "expired", "cancelled"):
            return str(state["status"])
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


if __name__ == "__main__":
    for (module, name), seconds in QUICK.items():
        setattr(module, name, seconds)
    place, url, run_id, *bounds = sys.argv[1:]
    texts = QUESTIONS[int(bounds[0]) : int(bounds[1])]
    llm = Posted(api_base=url, priced=True)
    print(asking.together(Path(place), llm, texts, run=run_id)["answered"], flush=True)
