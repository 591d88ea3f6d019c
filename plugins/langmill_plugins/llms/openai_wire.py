"""OpenAI's chat dialect straight over aiohttp, for endpoints that speak it: a fifth of a millisecond a call, where general
clients take two to seventeen."""

from __future__ import annotations

import json
import re
import select
import urllib.request
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring as quoted
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from langmill.api import Answer, CallError, Message, RecipeError, missing_package
from langmill_plugins.llms.errors import clean, encodable, kind_of, pause_of, retry_after

LOOPBACK = ("127.0.0.1", "localhost", "::1")
CONNECT = 30.0  # seconds to reach a server
KEPT = 4.0  # seconds that an idle connection is kept: less than servers keep theirs (uvicorn, which vLLM runs on: 5)
MOST_HEADS = 256  # schemas come and go only in a program that makes them as it runs
LARGEST = 1 << 24  # bytes of a reply: thousands of times the longest answer
MOST_TOKENS = 10_000_000  # no model takes or writes as many in one call: a count beyond is none
ADAPTATIONS = 4  # times a call is put differently because the endpoint takes no such parameter
NO_SCHEMA = re.compile("response_format|json_schema", re.IGNORECASE)
LIMITS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}  # two names for one thing
NOT_TAKEN = ("unsupported_parameter", "unsupported_value")
FILTERED = ("content_filter", "content_policy_violation")
UNREADABLE: CallError.Kind = "timeout"  # an answer that no one can read may be billed like one that was lost
FINISHES: Mapping[object, Literal["stop", "length", "refusal"]] = {
    "stop": "stop", "eos": "stop", "end_turn": "stop", "length": "length", "max_tokens": "length",
    "content_filter": "refusal", "refusal": "refusal",
}  # fmt: skip


def on_this_machine(url: str) -> bool:
    """Whether an address is one of this machine's own."""
    return urlsplit(url).hostname in LOOPBACK


class Head(NamedTuple):
    """What is the same in all calls with one schema. The schema is kept, so that its id stays its own."""

    schema: Mapping[str, Any] | None
    strict: bool
    start: bytes
    words: str


class Wire:
    """One model at one endpoint. Connections stay open between calls; a call has no deadline here, that is the core's."""

    def __init__(self, url: str, fields: Mapping[str, Any], *, key: str, headers: Mapping[str, str] | None = None,
                 strict: bool = True):  # fmt: skip
        """``url`` up to and with its version (…/v1), ``fields`` of the body that all calls share; ``seed`` True among them
        sends each call's own. ``strict``: the endpoint takes a JSON schema."""
        self._url, self._key, self._strict = f"{url.rstrip('/')}/chat/completions", key, strict
        self._fields = dict(fields)
        self._seeded = bool(self._fields.pop("seed", False))
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}", **(headers or {})}
        self._heads: dict[int, Head] = {}
        self._no_limits: set[str] = set()  # names of the limit on answers that the endpoint does not take
        self._told: dict[int, Mapping[str, Any] | None] = {}  # the schemas that the endpoint does not take as such
        self._session: Any = None

    async def open(self) -> None:
        """Make ready to connect; nothing is sent."""
        try:
            import aiohttp
        except ImportError:
            raise missing_package("a model at an address", "aiohttp", "data") from None
        from yarl import URL

        class Request(aiohttp.ClientRequest):  # type: ignore[misc]
            """Looks, before a word is written, whether the server has closed the connection meanwhile."""

            async def send(self, conn: Any) -> Any:
                if conn.transport is not None and _closed(conn.transport.get_extra_info("socket")):
                    raise aiohttp.ClientConnectionResetError("closed while idle")
                return await super().send(conn)

        self._target = URL(self._url)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT, ttl_dns_cache=300),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT),
            headers={"Accept-Encoding": "identity", "User-Agent": "langmill", **self._headers},
            cookie_jar=aiohttp.DummyCookieJar(),
            request_class=Request,
            **_proxy(self._url),
        )
        self._resets = aiohttp.ClientConnectionResetError
        self._not_sent = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError)
        self._untrusted = aiohttp.ClientConnectorCertificateError
        self._lost = (aiohttp.ClientError, OSError, TimeoutError)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def answer(self, messages: Sequence[Message], seed: int, schema: Mapping[str, Any] | None) -> Answer:
        """One call, put differently where the endpoint says that it does not take it as it is. Raises CallError."""
        adapted = 0
        while True:
            head = self._head(schema)
            status, headers, body = await self._post(self._body(head, messages, seed))
            reply = _read(body)
            error = reply.get("error") if isinstance(reply, dict) else None
            if status == 200 and (not error or reply.get("choices")):
                return answer_of(reply, headers)
            adapted += 1
            if adapted > ADAPTATIONS or not self._adapt(head, status, body, error):
                return self._refused(status, headers, body, reply, messages)

    def _refused(
        self, status: int, headers: Mapping[str, str], body: bytes, reply: Any, messages: Sequence[Message]
    ) -> Answer:
        """What an error of the provider comes to: a refusal by its content filter is an answer, all else a CallError."""
        error = reply.get("error") if isinstance(reply, dict) else None
        code = error.get("code") if isinstance(error, dict) else None
        if code in FILTERED:
            return Answer("", "refusal")
        if status == 200:  # OpenRouter tells its errors so
            status = code if isinstance(code, int) and 400 <= code < 600 else 500
        said = _said(reply, body, headers)
        said = f"{said} ({code})" if isinstance(code, str) and code not in said else said
        words = clean(said, messages, self._key) or "it gave no reason"
        wait = retry_after(headers, words)
        raise CallError(kind_of(status, words, wait is not None), f"HTTP {status}: {words}", wait)

    def _body(self, head: Head, messages: Sequence[Message], seed: int) -> bytes:
        said = [f'{{"role":{quoted(message.role)},"content":{quoted(message.content)}}}' for message in messages]
        if head.words:
            last = messages[-1]
            said[-1] = f'{{"role":{quoted(last.role)},"content":{quoted(last.content + head.words)}}}'
        tail = f'],"seed":{seed}}}' if self._seeded else "]}"
        return head.start + (",".join(said) + tail).encode("utf-8", "replace")

    def _head(self, schema: Mapping[str, Any] | None) -> Head:
        """The constant part for a schema."""
        if (head := self._heads.get(id(schema))) is not None:
            return head
        if len(self._heads) >= MOST_HEADS:
            self._heads.clear()
            self._told.clear()
        strict = schema is not None and self._strict and id(schema) not in self._told
        fields = {**self._fields, **({"response_format": as_format(schema)} if strict and schema else {})}
        start = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))[:-1] + ',"messages":['
        words = in_words(schema) if schema is not None and not strict else ""
        self._heads[id(schema)] = head = Head(schema, strict, start.encode("utf-8", "replace"), words)
        return head

    def _adapt(self, head: Head, status: int, body: bytes, error: Any) -> bool:
        """Learn from a refusal how this endpoint wants to be asked; whether asking again makes sense. Raises CallError where
        it could be asked only without a limit on answers."""
        if status not in (400, 422, 500, 501):
            return False
        if self._heads.get(id(head.schema)) is not head:
            return True  # another call has learned something since this one was put together
        name = error.get("param") if isinstance(error, dict) and error.get("code") in NOT_TAKEN else None
        if name in LIMITS and name in self._fields:  # reasoning models: their thinking counts, too
            if LIMITS[name] in self._no_limits:
                raise CallError(
                    "bad_request",
                    "this endpoint takes no limit on the length of answers, without which no price can be capped",
                )
            self._no_limits.add(name)
            self._fields[LIMITS[name]] = self._fields.pop(name)
        elif name == "seed" and self._seeded:
            self._seeded = False
        elif name == "temperature" and name in self._fields:
            del self._fields[name]
        elif head.strict and NO_SCHEMA.search(body[:100_000].decode("utf-8", "replace")):
            self._told[id(head.schema)] = head.schema
        else:
            return False
        self._heads.clear()
        return True

    async def _post(self, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of a reply. Raises CallError when there is none."""
        tries = 0
        while True:
            try:
                async with self._session.post(self._target, data=body, allow_redirects=False) as response:
                    return response.status, response.headers, await _bounded(response)
            except self._resets as error:
                if tries < 2 and "idle" in str(error):  # nothing was written, so nothing can be billed
                    tries += 1
                    continue
                raise CallError("server" if "idle" in str(error) else "timeout", _named(error)) from None
            except self._untrusted as error:
                raise CallError("auth", f"the server's certificate is not trusted ({_named(error)})") from None
            except self._not_sent as error:
                raise CallError("server", f"no connection to {self._target.host}: {_named(error)}") from None
            except self._lost as error:
                raise CallError("timeout", f"the connection was lost: {_named(error)}") from None


def as_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    """``response_format`` for a schema."""
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": closed(schema), "strict": True}}


def in_words(schema: Mapping[str, Any]) -> str:
    """What is added to the last message for a model that takes no schema."""
    told = "\n\nAnswer with one JSON object and nothing else. It must fit this JSON schema:\n"
    return told + json.dumps(schema, ensure_ascii=False)


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


def answer_of(reply: Any, headers: Mapping[str, str]) -> Answer:
    """A whole reply. Raises CallError for one that is none."""
    try:
        choice = reply["choices"][0]
        message, finish = choice["message"], choice.get("finish_reason")
        text, refused = message.get("content"), message.get("refusal")
    except (LookupError, TypeError, AttributeError):
        raise CallError(UNREADABLE, "an answer that is no JSON of OpenAI's shape") from None
    if text is not None and not isinstance(text, str):
        raise CallError(UNREADABLE, "an answer whose content is no text")
    usage, name = reply.get("usage"), reply.get("id")
    counts = usage if isinstance(usage, dict) else {}
    return Answer(
        encodable(text or ""),
        # told beside an ordinary finish reason where a schema was asked for
        "refusal" if refused else FINISHES.get(finish, "other") if isinstance(finish, str) else "other",
        tokens(counts.get("prompt_tokens")),
        tokens(counts.get("completion_tokens")),
        None,
        encodable(name[:200]) if isinstance(name, str) else "",
        pause_of(headers),
    )


def _read(body: bytes) -> Any:
    """The JSON of a body; None for what is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _said(reply: Any, body: bytes, headers: Mapping[str, str]) -> str:
    """A provider's words in one of the shapes that errors have: OpenAI's, Mistral's, FastAPI's, or plain text."""
    error = reply.get("error", reply) if isinstance(reply, dict) else reply
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error.get("msg") or error.get("type") or ""
    if isinstance(error, list):  # FastAPI: each with the input that it complains of, which is left out
        faults = [item for item in error if isinstance(item, dict)]
        error = "; ".join(f"{'.'.join(map(str, item.get('loc') or ()))}: {item.get('msg')}" for item in faults)
    if isinstance(error, str):
        return error
    if isinstance(error, dict):
        return str(error.get("message") or "")
    kind = str(headers.get("Content-Type", "")).partition(";")[0]
    return body[:2000].decode("utf-8", "replace") if kind == "text/plain" and not body.lstrip().startswith(b"<") else ""


async def _bounded(response: Any) -> bytes:
    """The body, of LARGEST bytes at most. One beyond that is no model's answer; as it may be billed it counts as lost."""
    length, encoded = response.content_length, "Content-Encoding" in response.headers
    if length is not None and length <= LARGEST and not encoded:
        return bytes(await response.read())
    body = bytearray()
    while chunk := await response.content.readany():
        body += chunk
        if len(body) > LARGEST:
            raise CallError(UNREADABLE, f"a reply of more than {LARGEST >> 20} MB")
    return bytes(body)


def _closed(sock: Any) -> bool:
    """Whether the other side has ended a connection, even if the loop was too busy to hear of it."""
    if sock is None:
        return False
    ends = select.poll()
    ends.register(sock, getattr(select, "POLLRDHUP", 0))
    return bool(ends.poll(0))


def _proxy(url: str) -> dict[str, str]:
    """The proxy that the environment names for an address, once for all calls; none for this machine. Raises RecipeError."""
    parts = urlsplit(url)
    if on_this_machine(url) or urllib.request.proxy_bypass(parts.netloc):
        return {}
    named = urllib.request.getproxies()
    proxy = named.get(parts.scheme) or named.get("all") or ""
    if proxy and urlsplit(proxy).scheme not in ("http", "https"):
        raise RecipeError(
            f"the environment names a proxy for {parts.scheme}:// that is no http:// proxy (it begins with "
            f"'{urlsplit(proxy).scheme}'): set {parts.scheme.upper()}_PROXY=http://HOST:PORT, or NO_PROXY={parts.hostname}"
        )
    return {"proxy": proxy} if proxy else {}


def _named(error: BaseException) -> str:
    reason = getattr(error, "strerror", None)
    return f"{type(error).__name__} ({reason})"[:200] if reason else type(error).__name__


def tokens(count: object) -> int:
    """A count of tokens that can be believed, else 0: the core then books the worst case."""
    return count if type(count) is int and 0 <= count <= MOST_TOKENS else 0
