"""Any provider that litellm knows, and any endpoint that speaks OpenAI's dialect, through ``api_base``."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any

from pydantic import ConfigDict, PrivateAttr

from langmill.api import (
    LLM,
    Answer,
    BatchItem,
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
from langmill_plugins.llms.access import Address, held
from langmill_plugins.llms.batches import Batches, check_provider
from langmill_plugins.llms.counting import openai_tokens
from langmill_plugins.llms.errors import LITELLM_WINDOWS, NO_KEY, clean, encodable, kind_of, pause_of, retry_after
from langmill_plugins.llms.openai_wire import (
    FINISHES,
    NO_SCHEMA,
    Wire,
    as_format,
    in_words,
    on_this_machine,
    tokens,
)

DIALECT = ("openai", "hosted_vllm", "lm_studio", "llamafile", "custom_openai", "openai_like")
"""With an api_base these are servers that take OpenAI's body as it is: litellm is not even loaded."""
PLAIN = ("openai", "hosted_vllm", "lm_studio", "llamafile", "nvidia_nim", "cerebras")
"""Providers whose messages and answers litellm passes on unchanged; it says where they are and what a model takes."""
KEYED = ("openai", "anthropic", "mistral", "groq", "deepseek", "openrouter", "xai", "cohere", "cerebras")
"""Providers that litellm takes one key for, from PROVIDER_API_KEY; for others there are several, or other names."""
OPENAI = "https://api.openai.com/v1"
ACCOUNT = {  # variables that say which account of a key pays, and the headers that they go to
    "OPENAI_ORG_ID": "OpenAI-Organization",
    "OPENAI_ORGANIZATION": "OpenAI-Organization",
    "OPENAI_PROJECT_ID": "OpenAI-Project",
}
LOST = {"JSONDecodeError", "ReadError", "ReadTimeout", "RemoteProtocolError", "ServerDisconnectedError", "Timeout"}
LITELLM_QUOTES = re.compile(r" (?:Received:|Raw keys:|Traceback )")  # from here on litellm quotes the answer
LOGGERS = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy", "openai", "httpx", "httpcore")


class Prices(Part):
    """What tokens cost, in US dollars per million."""

    input: float = Field(ge=0, description="US dollars per million prompt tokens")
    output: float = Field(ge=0, description="US dollars per million answer tokens")
    batch: float | None = Field(None, ge=0, le=1, description="share of both that a batch costs, e.g. 0.5")


class LiteLLM(LLM):
    """Asks a provider through litellm: openai/…, anthropic/…, mistral/…, or openai/NAME with api_base for a server of yours."""

    model_config = ConfigDict(hide_input_in_errors=True)  # an address may hold a key

    api_base: Address | None = Field(
        None, description="address of an OpenAI-compatible server, e.g. http://127.0.0.1:8000/v1"
    )
    api_key_env: str | None = Field(
        None, description="name of the environment variable with the key; the provider's own if left out"
    )
    prices: Prices | None = Field(None, description="prices, where litellm knows none or others hold")

    _wire: Wire | None = PrivateAttr(None)
    _through: Any = PrivateAttr(None)  # litellm, where there is no wire
    _strict: bool = PrivateAttr(False)
    _key: str = PrivateAttr("")  # the one that the recipe names, else the provider's own

    @property
    def place(self) -> str | None:
        """The server's address, where the recipe names one."""
        return self.api_base

    def price(self) -> Price | None:
        """The recipe's prices, else litellm's own map; a server on this machine costs nothing."""
        if self.prices is not None:
            return Price(self.prices.input / 1e6, self.prices.output / 1e6, self.prices.batch)
        if self.api_base and on_this_machine(self.api_base):
            return Price(0.0, 0.0)
        try:
            known = _litellm().get_model_info(self.model)
        except Exception:  # litellm raises a bare Exception for a model it does not know
            return None
        prompt, answer = known.get("input_cost_per_token"), known.get("output_cost_per_token")
        if prompt is None or answer is None:
            return None
        batches = known.get("input_cost_per_token_batches"), known.get("output_cost_per_token_batches")
        shares = [float(some) / whole for some, whole in zip(batches, (prompt, answer), strict=True) if some and whole]
        return Price(float(prompt), float(answer), max(shares, default=None))

    def count(self, texts: Sequence[str]) -> list[int] | None:
        """By OpenAI's tokenizers, which litellm carries; other models' would have to be fetched."""
        return openai_tokens(self.model, texts)

    def missing(self, context: Context) -> Iterator[str]:
        """A network that may not be used, a key where it is known which, litellm where that is needed."""
        if context.offline and not (self.api_base and on_this_machine(self.api_base)):
            yield self._beyond(context.place)
            return
        provider, _, name = self.model.partition("/")
        direct = self.api_base and provider in DIALECT and not name.startswith("responses/") and not self.batch
        if not direct and find_spec("litellm") is None:
            yield str(missing_package("a model that is not packaged", "litellm", "data"))
        own = f"{provider.upper()}_API_KEY" if provider in KEYED and not self.api_base else None
        if variable := self.api_key_env or own:
            try:
                if not held(variable, context.place):
                    yield f"{context.place}: {self.model} needs the environment variable {variable}: export {variable}=…"
            except MissingInput as fault:
                yield str(fault)

    def _beyond(self, place: str) -> str:
        return f"{place}: {self.model} is not on this machine, and --offline calls nothing beyond it"

    async def start(self, context: Context) -> None:
        """Find the provider and its key. Raises RecipeError for an unknown provider, MissingInput for a key that is not set."""
        if context.offline and not (self.api_base and on_this_machine(self.api_base)):
            raise MissingInput(self._beyond(context.place))
        if self.api_key_env:
            self._key = held(self.api_key_env, context.place)
            if not self._key:
                raise MissingInput(
                    f"{context.place}: the environment variable {self.api_key_env} is not set: export {self.api_key_env}=…"
                )
        if self.batch:
            check_provider(_litellm(), self.model, context.place)
        provider, _, name = self.model.partition("/")
        if self.api_base and provider in DIALECT and not name.startswith("responses/"):
            fields = {"model": name, "temperature": self.temperature, "max_tokens": self.max_tokens, "seed": True}
            self._wire, self._strict = Wire(self.api_base, fields, key=self._key or NO_KEY), True
        else:
            self._through = _litellm()
            self._wire = self._find(self._through, context.place)
        if self._wire is not None:
            await self._wire.open()

    def _find(self, litellm: Any, place: str) -> Wire | None:
        """Learn from litellm what there is to know of the model; a wire to it where its provider speaks OpenAI's dialect."""
        try:
            name, provider, key, base = litellm.get_llm_provider(self.model)
        except Exception:
            raise RecipeError(
                f"{place}.model: litellm knows no provider for '{self.model}': PROVIDER/MODEL, e.g. openai/gpt-4o-mini, "
                "anthropic/claude-3-5-haiku-latest, or openai/NAME with api_base: for a server of yours"
            ) from None
        if not self.api_key_env and not self.api_base:
            variable = f"{provider.upper()}_API_KEY"
            own = held(variable, place)
            if key in (None, os.environ.get(variable)):  # litellm would take another one otherwise
                self._key = own
            missing = litellm.validate_environment(self.model).get("missing_keys") or []
            if not own and variable in os.environ:
                missing = [variable]
            if missing:
                names = " and ".join(missing)
                raise MissingInput(
                    f"{place}: {self.model} needs the environment variable {names}: export {missing[0]}=…"
                )
        self._strict = bool(self.api_base) or bool(
            litellm.supports_response_schema(model=self.model, custom_llm_provider=provider)
        )
        if self.api_base or provider not in PLAIN or name.startswith("responses/"):
            return None
        try:
            if litellm.get_model_info(self.model).get("mode") not in (None, "chat"):
                return None  # the Responses API, which litellm translates to
        except Exception:  # a model that it does not know is asked as any other
            self._strict = True
        headers: dict[str, str] = {}
        if provider == "openai":
            base = base or os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE") or OPENAI
            headers = {header: value for variable, header in ACCOUNT.items() if (value := held(variable, place))}
        if not base:
            return None
        taken = _parameters(name, provider, temperature=self.temperature, max_tokens=self.max_tokens, seed=1)
        if taken is None:
            return None
        fields = {"model": name, **taken, "seed": "seed" in taken}
        return Wire(base, fields, key=self._key or key or NO_KEY, headers=headers, strict=self._strict)

    async def answer(
        self, messages: Sequence[Message], *, seed: int, schema: Mapping[str, Any] | None = None
    ) -> Answer:
        """One call. A provider that takes no JSON schema is told it in words."""
        if self._wire is not None:
            return await self._wire.answer(messages, seed, schema)
        strict = self._strict and schema is not None
        try:
            return await self._complete(messages, seed, schema if strict else None, "" if strict else _told(schema))
        except CallError as error:
            if not (strict and isinstance(error, _NoSchema)):
                raise
            self._strict = False
        return await self._complete(messages, seed, None, _told(schema))

    async def _complete(
        self, messages: Sequence[Message], seed: int, schema: Mapping[str, Any] | None, words: str
    ) -> Answer:
        """One call through litellm. Raises CallError."""
        sent = [{"role": message.role, "content": message.content} for message in messages]
        sent[-1]["content"] += words
        options: dict[str, Any] = dict(self._access())
        if schema is not None:
            options["response_format"] = as_format(schema)
        try:
            reply = await self._through.acompletion(
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
            raise call_error(error, messages, self._key) from None
        answer = _answer(reply)
        # Where the recipe or the address decides the price, litellm's map does not.
        return replace(answer, cost=None) if self.prices or self.api_base else answer

    async def submit(self, items: Sequence[BatchItem], mark: str) -> str:
        """Hand in a batch through litellm's files and batches."""
        return await self._batches().submit(items, mark)

    async def find_batch(self, mark: str) -> str | None:
        """Look for a batch by its mark. Raises Unlisted where the provider gives no list of batches."""
        return await self._batches().find(mark)

    async def collect(self, batch: str) -> Mapping[str, Answer | CallError] | str:
        """What came of a batch, or how far it is."""
        return await self._batches().collect(batch)

    async def clear_batch(self, batch: str) -> None:
        """Delete a batch's files."""
        await self._batches().clear(batch)

    def _batches(self) -> Batches:
        options = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        failure = partial(call_error, key=self._key)
        return Batches(_litellm(), self.model, options, self._strict, self._access(), failure)

    def _access(self) -> dict[str, str]:
        """Where and with which key, as far as the recipe and the environment say so."""
        if self.api_base:
            return {"api_base": self.api_base, "api_key": self._key or NO_KEY}
        return {"api_key": self._key} if self._key else {}

    async def stop(self) -> None:
        """Close the connections."""
        if self._wire is not None:
            await self._wire.close()
        elif self._through is not None:
            await self._through.close_litellm_async_clients()


class _NoSchema(CallError):
    """The provider takes no JSON schema."""


def _told(schema: Mapping[str, Any] | None) -> str:
    return "" if schema is None else in_words(schema)


def _parameters(model: str, provider: str, **wanted: Any) -> dict[str, Any] | None:
    """The parameters as the model takes them, by litellm's knowledge: renamed or left out; None where more than that is
    needed."""
    from litellm.utils import get_optional_params

    try:
        taken = get_optional_params(model=model, custom_llm_provider=provider, drop_params=True, **wanted)
    except Exception:  # litellm's own refusals: the call itself will say
        return None
    plain = {key: value for key, value in taken.items() if key not in ("stream", "extra_body") or value}
    return plain if plain.keys() <= {"temperature", "max_tokens", "max_completion_tokens", "seed"} else None


def call_error(error: Exception, messages: Sequence[Message] = (), key: str = "") -> CallError:
    """A litellm error as ours: by what happened on the wire, then by status code. Its words, without keys and without what
    was said in ``messages``; ``key`` is the one in use."""
    chain = _chain(error)
    names = {type(link).__name__ for link in chain}
    status = getattr(error, "status_code", None)
    raw = " ".join(str(getattr(error, "message", None) or error).split())
    words = clean(LITELLM_QUOTES.split(re.sub(r"^((litellm\.)?\w+(Error|Exception): )+", "", raw))[0], messages, key)
    wait = _wait(chain, words)
    kind: CallError.Kind = "server"
    if names & {"ConnectionRefusedError", "gaierror", "ConnectError", "ClientConnectorError"}:
        kind = "server"  # nothing was sent
    elif status == 408 or names & LOST or LITELLM_QUOTES.search(str(error)):
        kind = "timeout"  # an answer that no one can read may be billed like one that was lost
    elif isinstance(status, int):
        kind = kind_of(status, words, wait is not None)
    refused = _NoSchema if status in (400, 422, 500) and NO_SCHEMA.search(raw) else CallError
    return refused(kind, f"{type(error).__name__}: {words}", wait)


def _chain(error: BaseException) -> list[BaseException]:
    """The error and all that it came of: litellm keeps what happened under two or three layers of its own."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    return chain


def _wait(chain: Sequence[BaseException], words: str) -> float | None:
    """Seconds, from the first answer in the chain that names them, else from its words."""
    for link in chain:
        for holder in (
            getattr(link, "litellm_response_headers", None),
            getattr(getattr(link, "response", None), "headers", None),
        ):
            if (seconds := retry_after(holder or {})) is not None:
                return seconds
    return retry_after({}, words)


def _answer(reply: Any) -> Answer:
    if not reply.choices:
        raise CallError("timeout", "an answer without content")  # like one that was lost: it may be billed
    choice, usage = reply.choices[0], getattr(reply, "usage", None)
    more = getattr(choice.message, "provider_specific_fields", None) or {}
    hidden = getattr(reply, "_hidden_params", None) or {}
    cost = hidden.get("response_cost")
    return Answer(
        text=encodable(choice.message.content or ""),
        # told beside an ordinary finish reason where a schema was asked for
        finish="refusal" if more.get("refusal") else FINISHES.get(choice.finish_reason, "other"),
        prompt_tokens=tokens(getattr(usage, "prompt_tokens", None)),
        answer_tokens=tokens(getattr(usage, "completion_tokens", None)),
        cost=float(cost) if cost else None,
        request_id=encodable(str(getattr(reply, "id", "") or "")[:200]),
        pause=pause_of(hidden.get("additional_headers") or {}, LITELLM_WINDOWS),
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
    warnings.filterwarnings("ignore", "Pydantic serializer warnings", UserWarning)  # they quote the answer
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    for name in LOGGERS:  # their debug lines hold whole prompts
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return litellm
