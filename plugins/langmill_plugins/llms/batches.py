"""A provider's batch API, through litellm's functions for files and batches: many calls in one file, half the price, up to a day.

The requests go up as JSON Lines in OpenAI's dialect, which litellm translates where the provider has another; answers come
back as JSON Lines, in any order, those that failed in a second file. A batch carries our mark as its name, so that one whose
name was lost on the way is found again.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langmill.api import Answer, BatchItem, CallError, RecipeError, Unlisted
from langmill_plugins.llms.errors import clean, kind_of
from langmill_plugins.llms.openai_wire import answer_of, as_format, in_words

# Whose batches litellm can make, look at and read. Anthropic's it can not make, Gemini's it does not know, Bedrock's it does not
# read: their output comes as Bedrock wrote it. Vertex AI takes its files from a bucket, which GCS_BUCKET_NAME names.
PROVIDERS = ("azure", "litellm_proxy", "mistral", "openai", "vertex_ai", "xai")
NAMED = ("azure", "litellm_proxy", "openai", "xai")  # can be asked for their batches by our mark
WITH_MODEL = ("mistral",)  # one model a batch, which litellm has to be told
OPENAI_DIALECT = ("litellm_proxy", "vertex_ai")  # litellm translates the lines itself
PAGE, PAGES = 100, 50  # batches looked through for a mark, newest first
TIMEOUT = 600.0  # seconds for one request: a file of 200 MB takes its time
UNDER_WAY = ("validating", "in_progress", "finalizing", "cancelling")
SEEDS = ("seed", "random_seed")  # OpenAI's name and Mistral's


def check_provider(litellm: Any, model: str, place: str) -> None:
    """Raise RecipeError when litellm makes no batches for a model's provider; an unknown provider is told elsewhere."""
    try:
        provider = litellm.get_llm_provider(model)[1]
    except Exception:
        return
    if provider not in PROVIDERS:
        possible = ", ".join(PROVIDERS)
        raise RecipeError(
            f"{place}.batch: litellm makes no batches for '{provider}', only for {possible}: set batch: false"
        )


@dataclass(frozen=True)
class Batches:
    """The batches of one model. ``options`` are those of a single call, ``strict`` whether it takes a JSON schema; ``access``
    holds api_base and api_key where the recipe names them; ``failure`` makes a CallError of litellm's errors."""

    litellm: Any
    model: str
    options: Mapping[str, Any]
    strict: bool
    access: Mapping[str, Any]
    failure: Callable[[Exception], CallError]

    async def submit(self, items: Sequence[BatchItem], mark: str) -> str:
        """Hand in calls; returns the provider's name for the batch. Raises CallError."""
        url = "/v1/chat/completions"
        heads: dict[int, tuple[dict[str, Any], str]] = {}
        lines = []
        for item in items:
            head = heads.get(id(item.schema)) or heads.setdefault(id(item.schema), self._head(item.schema))
            body = self._body(item, *head)
            line = {"custom_id": item.name, "method": "POST", "url": url, "body": body}
            lines.append(json.dumps(line, ensure_ascii=False).encode("utf-8", "replace"))
        content = b"\n".join(lines)
        try:
            file = await self.litellm.acreate_file(
                file=(f"{mark}.jsonl", content, "application/jsonl"), purpose="batch", **self._options()
            )
        except Exception as error:
            raise self.failure(error) from None
        try:
            batch = await self.litellm.acreate_batch(
                completion_window="24h", endpoint=url, input_file_id=file.id, metadata={"name": mark}, **self._options()
            )
        except Exception as error:
            failure = self.failure(error)
            if failure.kind not in ("timeout", "server"):  # otherwise it may have been made, of this very file
                await self._delete([file.id])
            raise failure from None
        return str(batch.id)

    async def find(self, mark: str) -> str | None:
        """The batch with a mark; None when there is none. Raises CallError, Unlisted where there is no list."""
        if self._provider()[1] not in NAMED:
            raise Unlisted(f"{self.model}: its batches can not be looked through")
        after: dict[str, Any] = {}
        for _ in range(PAGES):
            try:
                found = await self.litellm.alist_batches(limit=PAGE, **after, **self._options())
            except Exception as error:
                raise self.failure(error) from None
            for batch in found.data:
                if (getattr(batch, "metadata", None) or {}).get("name") == mark:
                    return str(batch.id)
            if not found.data or not getattr(found, "has_more", False):
                break
            after = {"after": getattr(found, "next_page_token", None) or found.data[-1].id}
        return None

    async def collect(self, name: str) -> dict[str, Answer | CallError] | str:
        """What came of the requests, by name, without those of which nothing can be read; the state of a batch that is under
        way. Raises CallError: bad_request when the provider refused the batch as a whole."""
        batch = await self._look(name)
        counts = getattr(batch, "request_counts", None)
        files = [file for file in (batch.output_file_id, batch.error_file_id) if file]
        if batch.status in UNDER_WAY:
            return str(batch.status)
        if batch.status == "failed":
            faults = [str(fault.message) for fault in (batch.errors.data if batch.errors else None) or []]
            raise CallError("bad_request", clean("; ".join(faults[:3])) or "it gave no reason")
        if not files and (counts.completed + counts.failed if counts else batch.status == "completed"):
            return "finalizing"  # done, and its files not named yet: that takes a moment
        found: dict[str, Answer | CallError] = {}
        for file in files:
            try:
                content = (await self.litellm.afile_content(file_id=file, **self._options())).content
            except Exception as error:
                raise self._unseen(error) from None
            found.update(self._results(content))
            if not found and content.strip():  # paid, and sent anew it would be paid again
                raise CallError("auth", "its answers have no shape that can be read")
        return found

    async def clear(self, name: str) -> None:
        """Delete the batch's files at the provider, as far as it lets us: they hold prompts and answers."""
        with contextlib.suppress(CallError):
            batch = await self._look(name)
            await self._delete([batch.output_file_id, batch.error_file_id, batch.input_file_id])

    # --- the pieces ---

    def _head(self, schema: Mapping[str, Any] | None) -> tuple[dict[str, Any], str]:
        """What all calls with a schema share, as the model takes it (litellm renames and drops options), and the schema in words
        where it is to be told so."""
        from litellm.utils import get_optional_params

        name, provider = self._provider()
        told = schema is not None and not self.strict
        shape = {"response_format": as_format(schema)} if schema is not None and not told else {}
        dialect = "openai" if provider in OPENAI_DIALECT else provider
        wanted = {**self.options, **shape, "seed": 1}
        taken = get_optional_params(model=name, custom_llm_provider=dialect, drop_params=True, **wanted)
        more = taken.pop("extra_body", None) or {}
        taken.pop("stream", None)
        return {"model": name, **taken, **more}, in_words(schema) if schema is not None and told else ""

    def _body(self, item: BatchItem, head: Mapping[str, Any], words: str) -> dict[str, Any]:
        said = [{"role": message.role, "content": message.content} for message in item.messages]
        said[-1]["content"] += words
        return {**head, "messages": said, **{name: item.seed for name in SEEDS if name in head}}

    def _provider(self) -> tuple[str, str]:
        name, provider, _, _ = self.litellm.get_llm_provider(self.model)
        return name, provider

    def _options(self) -> dict[str, Any]:
        name, provider = self._provider()
        model = {"model": name} if provider in WITH_MODEL else {}
        return {"custom_llm_provider": provider, "timeout": TIMEOUT, "max_retries": 0, **model, **self.access}

    async def _look(self, name: str) -> Any:
        try:
            # litellm would read the whole output itself, each time, to report its cost.
            quiet = {"litellm_metadata": {"batch_ignore_default_logging": True}}
            return await self.litellm.aretrieve_batch(batch_id=name, **quiet, **self._options())
        except Exception as error:
            raise self._unseen(error) from None

    def _unseen(self, error: Exception) -> CallError:
        """Why a batch can not be looked at. That a request for it was a bad one says nothing of the batch."""
        failure = self.failure(error)
        return CallError("auth", str(failure)) if failure.kind == "bad_request" else failure

    async def _delete(self, files: Sequence[str | None]) -> None:
        for file in files:
            if file:
                with contextlib.suppress(Exception):  # not every provider can; the file then ends with its time there
                    await self.litellm.afile_delete(file_id=file, **self._options())

    def _results(self, content: bytes) -> Iterator[tuple[str, Answer | CallError]]:
        for line in content.splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
                item = json.loads(line)
                yield str(item["custom_id"]), self._result(item)

    def _result(self, item: Mapping[str, Any]) -> Answer | CallError:
        """One line. What the provider says of a failure may quote the prompt, so only its code is told."""
        response, fault = item.get("response") or {}, item.get("error") or {}
        status = int(response.get("status_code") or 0)
        body = response.get("body") or {}
        if status == 200 and not fault:
            try:
                return answer_of(body, {})
            except CallError as error:
                return error
        inner = body.get("error") or {}
        code = clean(str(fault.get("code") or inner.get("code") or inner.get("type") or "no reason given"))
        return CallError(kind_of(status, code), f"it failed in the batch: {status or ''} {code}".replace("  ", " "))
