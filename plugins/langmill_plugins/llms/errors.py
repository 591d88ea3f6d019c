"""A failed call as the core counts it: its kind, when to come back, and the provider's words, without keys and without echo."""

from __future__ import annotations

import contextlib
import html
import os
import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime

from langmill.api import CallError, Message

NO_KEY = "none"  # what is sent to servers that ask for no key
LONGEST = 320  # characters of an error's words
LONGEST_WAIT = 1e9  # seconds: what is beyond is a time since 1970, or none
LONGEST_PAUSE = 60.0  # seconds that an answer's headers can ask for: a number without a unit may be milliseconds
ECHO = 12  # bytes of a prompt in a row that an error may not repeat: four Chinese characters, two English words
SECRET = re.compile("KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
NO_MONEY = re.compile(
    r"insufficient[_ ](?:quota|balance|credits?)|credit balance is too low|billing.hard.limit|out of credits",
    re.IGNORECASE,
)
PLAN_USED_UP = "exceeded your current quota"  # OpenAI's word for "no money", Google's for "too many this minute"
NO_SUCH_MODEL = re.compile(
    r"model_not_found|invalid_model|unknown model|not a valid model|invalid model\b"
    r"|\bmodels?\b[^.\n]{0,120}?\b(?:does not exist|do not exist|not exist|not found|is not available)",
    re.IGNORECASE,
)
LATER = re.compile(r"(?:retry|try again) (?:in|after) ((?:[\d.]+ ?(?:ms|[dhms]) ?)+)", re.IGNORECASE)
DURATION = re.compile(r"([\d.]+) ?(ms|[dhms])")
UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
WINDOWS = (  # a count of what is left, and when it is filled up again
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
)
LITELLM_WINDOWS = tuple(  # litellm passes a provider's headers on under names of its own
    (f"llm_provider-{left}", f"llm_provider-{reset}")
    for left, reset in (
        *WINDOWS,
        *(
            (f"anthropic-ratelimit-{what}-remaining", f"anthropic-ratelimit-{what}-reset")
            for what in ("requests", "tokens", "input-tokens", "output-tokens")
        ),
    )
)


def kind_of(status: int, words: str, comes_back: bool = False) -> CallError.Kind:
    """The kind of an error by its HTTP status and by what the provider said; ``comes_back``: it named a time to try again."""
    if NO_MONEY.search(words) and status in (400, 402, 403, 429):
        return "quota"
    if status == 429:
        return "quota" if PLAN_USED_UP in words and not comes_back else "rate_limit"
    if status == 402:
        return "quota"
    if status in (401, 403, 404, 407) or 300 <= status < 400:  # an unknown model or address is for good, too
        return "auth"
    if status == 408:
        return "timeout"
    if status in (400, 413, 422):
        return "auth" if NO_SUCH_MODEL.search(words) else "bad_request"
    return "server"


def retry_after(headers: Mapping[str, str], words: str = "") -> float | None:
    """Seconds to wait, as a refusal says it: milliseconds (Azure), seconds, a date (RFC 9110), the window's end, or words."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        with contextlib.suppress(KeyError, ValueError, TypeError, OverflowError):
            if -LONGEST_WAIT < (seconds := float(headers[name]) * unit) < LONGEST_WAIT:
                return max(0.0, seconds)
    with contextlib.suppress(KeyError, ValueError, TypeError, OverflowError):
        if (seconds := parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time()) < LONGEST_WAIT:
            return max(0.0, seconds)
    if asked := _full(headers, WINDOWS):
        return asked
    said = LATER.search(words)
    return (_duration(said[1]) or None) if said else None


def pause_of(headers: Mapping[str, str], windows: Sequence[tuple[str, str]] = WINDOWS) -> float:
    """Seconds to pause after an answer whose rate-limit headers say that there is no room left, 60 at most: a true wait of
    hours comes back as a refusal. Else 0."""
    return min(LONGEST_PAUSE, _full(headers, windows))


def _full(headers: Mapping[str, str], windows: Sequence[tuple[str, str]]) -> float:
    """Seconds until there is room again, as the rate-limit headers say it; 0 where there is room."""
    pause = 0.0
    for left, reset in windows:
        if headers.get(left) in ("0", 0):
            pause = max(pause, _duration(headers.get(reset) or ""))
    return pause


def _duration(text: str) -> float:
    """Seconds of "1s", "6m0s", "120ms", "1.5", or until a date (RFC 3339); 0 for what is none of them."""
    text = str(text).strip()
    seconds = 0.0
    with contextlib.suppress(ValueError, OverflowError):
        seconds = sum(float(number) * UNITS[unit] for number, unit in DURATION.findall(text.lower()))
    with contextlib.suppress(ValueError, OverflowError):
        seconds = datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() - time.time()
    with contextlib.suppress(ValueError):
        seconds = float(text)
    return seconds if 0 < seconds < LONGEST_WAIT else 0.0


def clean(words: str, messages: Sequence[Message] = (), key: str = "") -> str:
    """A provider's words, short, on one line, without any key (what looks like one, what the environment holds, ``key``) and
    without what was said in ``messages``."""
    text = " ".join(_unescaped(html.unescape(words[:4000])).split())
    secrets = {value.strip() for name, value in os.environ.items() if len(value.strip()) >= 8 and SECRET.search(name)}
    for secret in sorted({*secrets, key} - {"", NO_KEY}, key=len, reverse=True):
        text = text.replace(secret, "***")
    text = re.sub(r"(?i)(bearer\s+|\b(sk|key)-)[^\s'\",;]+", "***", text)[:1000]
    return _without_echo(text, "\n".join(message.content for message in messages))[:LONGEST]


def encodable(text: str) -> str:
    """The text with "?" for half characters, which can not be kept."""
    return text.encode("utf-8", "replace").decode()


def _unescaped(text: str) -> str:
    r"""The text with escapes like \u00e9 as characters: a prompt quoted as JSON inside JSON is still a prompt."""
    text = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)
    text = re.sub(r"\\+[nrt]", " ", text)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _without_echo(text: str, said: str) -> str:
    """The text without the stretches of ECHO bytes and more that were said to the model: providers like to quote."""
    said, shown = " ".join(said.split()).lower(), text.lower()
    if len(shown) != len(text):  # a few letters grow when they are made small
        shown = text
    kept, start = "", 0
    while start < len(text):
        end = start
        while end < len(text) and shown[start : end + 1] in said:
            end += 1
        if len(text[start:end].encode("utf-8", "replace")) >= ECHO:
            kept, start = kept + "…", end
        else:
            kept, start = kept + text[start], start + 1
    return kept
