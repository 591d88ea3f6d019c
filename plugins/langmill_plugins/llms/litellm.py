"""Any provider that litellm knows, and any endpoint that speaks OpenAI's dialect, through ``api_base``."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import PrivateAttr

from langmill.api import (
    LLM,
    Answer,
    CallError,
    Context,
    Field,
    Message,
    MissingInput,
    Part,
    Price,
    RecipeError,
    missing_package,
)

LOST = {"JSONDecodeError", "ReadError", "ReadTimeout", "RemoteProtocolError", "ServerDisconnectedError", "Timeout"}
NO_MONEY = re.compile("insufficient_quota|exceeded your current quota|credit balance is too low")
SECRET = re.compile("KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
LITELLM_QUOTES = re.compile(r" (?:Received:|Raw keys:|Traceback )")  # from here on litellm quotes the answer
ECHO = 12  # bytes of a prompt in a row that an error may not repeat: four Chinese characters, two English words
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Prices(Part):
    """What tokens cost, in US dollars per million."""

    input: float = Field(ge=0, description="US dollars per million prompt tokens")
    output: float = Field(ge=0, description="US dollars per million answer tokens")


class LiteLLM(LLM):
    """Asks a provider through litellm: openai/…, anthropic/…, mistral/…, or openai/NAME with api_base for a server of yours."""

    api_base: str | None = Field(
        None, description="address of an OpenAI-compatible server, e.g. http://127.0.0.1:8000/v1"
    )
    api_key_env: str | None = Field(
        None, description="name of the environment variable with the key; the provider's own if left out"
    )
    prices: Prices | None = Field(None, description="prices, where litellm knows none or others hold")

    _strict: bool = PrivateAttr(False)
    _extra: dict[str, Any] = PrivateAttr(default_factory=dict)

    def price(self) -> Price | None:
        """The recipe's prices, else litellm's own map; a server on this machine costs nothing."""
        if self.prices is not None:
            return Price(self.prices.input / 1e6, self.prices.output / 1e6)
        if self.api_base and urlsplit(self.api_base).hostname in LOOPBACK:
            return Price(0.0, 0.0)
        try:
            known = _litellm().get_model_info(self.model)
        except Exception:  # litellm raises a bare Exception for a model it does not know
            return None
        prompt, answer = known.get("input_cost_per_token"), known.get("output_cost_per_token")
        return None if prompt is None or answer is None else Price(float(prompt), float(answer))

    async def start(self, context: Context) -> None:
        """Find the provider and its key. Raises RecipeError for an unknown provider, MissingInput for a key that is not set."""
        local = self.api_base is not None and urlsplit(self.api_base).hostname in LOOPBACK
        if context.offline and not local:
            raise MissingInput(
                f"{context.place}: {self.model} is not on this machine, and --offline calls nothing beyond it"
            )
        litellm = _litellm()
        try:
            _, provider, _, _ = litellm.get_llm_provider(self.model)
        except Exception:
            raise RecipeError(
                f"{context.place}.model: litellm knows no provider for '{self.model}': PROVIDER/MODEL, e.g. openai/gpt-4o-mini, "
                "anthropic/claude-3-5-haiku-latest, or openai/NAME with api_base: for a server of yours"
            ) from None
        if self.api_key_env and not os.environ.get(self.api_key_env):
            raise MissingInput(
                f"{context.place}: the environment variable {self.api_key_env} is not set: export {self.api_key_env}=…"
            )
        if not self.api_key_env and not self.api_base:
            missing = litellm.validate_environment(self.model).get("missing_keys") or []
            if missing:
                names = " and ".join(missing)
                raise MissingInput(
                    f"{context.place}: {self.model} needs the environment variable {names}: export {missing[0]}=…"
                )
        self._strict = bool(self.api_base) or bool(
            litellm.supports_response_schema(model=self.model, custom_llm_provider=provider)
        )

    async def answer(
        self, messages: Sequence[Message], *, seed: int, schema: Mapping[str, Any] | None = None
    ) -> Answer:
        """One call. A provider that takes no JSON schema is told it in words."""
        litellm = _litellm()
        sent = [{"role": message.role, "content": message.content} for message in messages]
        options: dict[str, Any] = {"extra_body": self._extra} if self._extra else {}
        if schema is not None and self._strict:
            shape = {"name": "answer", "schema": closed(schema), "strict": True}
            options["response_format"] = {"type": "json_schema", "json_schema": shape}
        elif schema is not None:
            sent[-1]["content"] += "\n\nAnswer with one JSON object and nothing else. It must fit this JSON schema:\n"
            sent[-1]["content"] += json.dumps(schema, ensure_ascii=False)
        if self.api_base:
            key = os.environ.get(self.api_key_env or "", "") or "none"
            options.update(api_base=self.api_base, api_key=key)
        elif self.api_key_env:
            options["api_key"] = os.environ[self.api_key_env]
        try:
            reply = await litellm.acompletion(
                model=self.model,
                messages=sent,
                temperature=self.temperature,
                max_tokens=self.max_tokens,
                seed=seed,
                timeout=self.timeout,
                num_retries=0,
                max_retries=0,
                drop_params=True,
                **options,
            )
        except Exception as error:
            if type(error).__name__ == "ContentPolicyViolationError":
                return Answer("", "refusal")
            raise call_error(error, messages) from None
        answer = _answer(reply)
        # Where the recipe or the address decides the price, litellm's map does not.
        return replace(answer, cost=None) if self.prices or self.api_base else answer

    async def stop(self) -> None:
        """Close the connections."""
        await _litellm().close_litellm_async_clients()


def closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with no room for other keys, as strict modes ask, and without bounds on lengths of text: some providers
    refuse them, and llama.cpp unrolls "at most 4000 characters" into a grammar that takes seconds a token. The core holds
    every answer against the whole schema in any case."""

    def close(item: Any) -> Any:
        if isinstance(item, Mapping):
            found = {key: close(value) for key, value in item.items() if key not in ("minLength", "maxLength")}
            if found.get("type") == "object":
                found.setdefault("additionalProperties", False)
                found["required"] = list(found.get("properties", {}))
            return found
        return [close(value) for value in item] if isinstance(item, list) else item

    shape: dict[str, Any] = close(schema)
    return shape


def call_error(error: Exception, messages: Sequence[Message] = ()) -> CallError:
    """A litellm error as ours: by what happened on the wire, then by status code. Its words, without keys and without what
    was said in ``messages``."""
    chain = _chain(error)
    names = {type(link).__name__ for link in chain}
    status = getattr(error, "status_code", None)
    kind: CallError.Kind = "server"
    if names & {"ConnectionRefusedError", "gaierror", "ConnectError", "ClientConnectorError"}:
        kind = "server"  # nothing was sent
    elif status == 408 or names & LOST or LITELLM_QUOTES.search(str(error)):
        kind = "timeout"  # an answer that no one can read may be billed like one that was lost
    elif status == 429:
        kind = "quota" if NO_MONEY.search(str(error)) else "rate_limit"
    elif status in (401, 403, 404):
        kind = "auth"  # an unknown model is for good, too
    elif status == 402:
        kind = "quota"
    elif status in (400, 413, 422):
        kind = "bad_request"
    words = _without_echo(_words(error), "\n".join(message.content for message in messages))
    return CallError(kind, f"{type(error).__name__}: {words}"[:320], _retry_after(chain))


def _chain(error: BaseException) -> list[BaseException]:
    """The error and all that it came of: litellm keeps what happened under two or three layers of its own."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    return chain


def _retry_after(chain: Sequence[BaseException]) -> float | None:
    """Seconds, from the first answer in the chain that names them."""
    for link in chain:
        for holder in (
            getattr(link, "litellm_response_headers", None),
            getattr(getattr(link, "response", None), "headers", None),
        ):
            if (seconds := _seconds(holder or {})) is not None:
                return seconds
    return None


def _seconds(headers: Mapping[str, str]) -> float | None:
    """How long to wait, as the headers say it: milliseconds (Azure), seconds, or a date (RFC 9110)."""
    with contextlib.suppress(KeyError, ValueError, TypeError):
        return max(0.0, float(headers["retry-after-ms"]) / 1000)
    with contextlib.suppress(KeyError, ValueError, TypeError):
        return max(0.0, float(headers["retry-after"]))
    with contextlib.suppress(KeyError, ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time())
    return None


def _words(error: Exception) -> str:
    """The provider's message, short, on one line, without any key: neither what looks like one nor what the environment holds."""
    text = " ".join(str(getattr(error, "message", None) or error).split())
    text = re.sub(r"^(litellm\.)?\w+(Error|Exception): ", "", text)
    text = LITELLM_QUOTES.split(text)[0]
    for name, value in os.environ.items():
        if len(value) >= 8 and SECRET.search(name):
            text = text.replace(value, "***")
    return re.sub(r"(?i)(bearer\s+|\b(sk|key)-)[^\s'\",;]+", "***", text)[:1000]


def _without_echo(text: str, said: str) -> str:
    """The text without the stretches of ECHO bytes and more that were said to the model: providers like to quote."""
    said, kept, start = " ".join(said.split()), "", 0
    while start < len(text):
        end = start
        while end < len(text) and text[start : end + 1] in said:
            end += 1
        if len(text[start:end].encode("utf-8", "replace")) >= ECHO:
            kept, start = kept + "…", end
        else:
            kept, start = kept + text[start], start + 1
    return kept


def _answer(reply: Any) -> Answer:
    if not reply.choices:
        raise CallError("timeout", "an answer without content")  # like one that was lost: it may be billed
    choice, usage = reply.choices[0], getattr(reply, "usage", None)
    more = getattr(choice.message, "provider_specific_fields", None) or {}
    finish: Literal["stop", "length", "refusal", "other"] = "other"
    if choice.finish_reason in ("content_filter", "refusal") or more.get("refusal"):
        finish = "refusal"  # told beside an ordinary finish reason where a schema was asked for
    elif choice.finish_reason in ("stop", "eos", "end_turn"):
        finish = "stop"
    elif choice.finish_reason in ("length", "max_tokens"):
        finish = "length"
    cost = (getattr(reply, "_hidden_params", None) or {}).get("response_cost")
    return Answer(
        text=choice.message.content or "",
        finish=finish,
        prompt_tokens=max(0, int(getattr(usage, "prompt_tokens", 0) or 0)),
        answer_tokens=max(0, int(getattr(usage, "completion_tokens", 0) or 0)),
        cost=float(cost) if cost else None,
        request_id=str(getattr(reply, "id", "") or ""),
    )


def _litellm() -> Any:
    """litellm, quiet and without a look at the network. Raises MissingInput when it is not installed."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault(
        "LITELLM_MODE", "PRODUCTION"
    )  # otherwise it reads keys out of a .env file that happens to lie about
    try:
        import litellm
    except ImportError:
        raise missing_package("a model that is not packaged", "litellm", "data") from None
    import logging
    import warnings

    warnings.filterwarnings("ignore", "Pydantic serializer warnings", UserWarning)  # they quote the answer
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.turn_off_message_logging = True
    for name in ("LiteLLM", "openai", "httpx", "httpcore"):  # their debug lines hold whole prompts
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return litellm
