"""A model's reply without what is not its answer: thoughts, marks of markdown, JSON and LaTeX."""

from __future__ import annotations

import re
import unicodedata

OPEN, CLOSE = "⟦", "⟧"
"""What stands between these on a line of its own was marked as the answer, by a box or a tag."""

_THOUGHT = r"(?:think|thinking|thought|thoughts|reasoning|scratchpad)"
_ENTERS, _LEAVES = re.compile(rf"<{_THOUGHT}>", re.IGNORECASE), re.compile(rf"</{_THOUGHT}>", re.IGNORECASE)
_TOKEN = re.compile(r"<\|[^|<>\n]{1,40}\|>|</?s>|<(?:eos|bos|pad|end_of_turn|start_of_turn)>|\[/?INST\]")
_BOX = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_TAG = re.compile(r"<(answer|final_answer|final)>(.*?)(?:</\1>|$)", re.IGNORECASE | re.DOTALL)
_LATEX = re.compile(r"\\(?:text|mathrm|mathbf|textbf|mathit)\s*\{([^{}]*)\}|\\[\[\]()]|\$")
_KEY = re.compile(r"[{,]?\s*\"([^\"\n]{1,40})\"\s*:\s*")
_JSON = re.compile(r"\{\s*\"[^\"\n]{1,40}\"\s*:")
_STRUCK = re.compile(r"~~[^~\n]*~~")
_FENCE = re.compile(r"^```\w*\s*$", re.MULTILINE)
_LINE_START = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|>[ \t]*|[-*•●▪・][ \t]+)+", re.MULTILINE)
_EMPHASIS = re.compile(r"\*+|__+|`+")
_OPEN_BOX, _TICKED_BOX = (
    re.compile(r"^[ \t]*\[ ?\].*$", re.MULTILINE),
    re.compile(r"^[ \t]*\[[xX]\][ \t]*", re.MULTILINE),
)


def outside_thoughts(reply: str) -> tuple[str, bool]:
    """What a reply says when it has stopped thinking, and whether it never did: then it is all that is there of its thoughts.
    A tag that only closes ends thoughts that the prompt had begun."""
    closed = [found.end() for found in _LEAVES.finditer(reply)]
    said = reply[closed[-1] :] if closed else reply
    enters = _ENTERS.search(said)
    if enters is None:
        if said.strip() or not closed:
            return said, False
        first = _ENTERS.search(reply)  # an answer may stand before the thoughts
        return (reply[: first.start()] if first else ""), False
    before = said[: enters.start()]
    return (before, False) if before.strip() else (said[enters.end() :], True)


def spoken(reply: str) -> str:
    """What a reply says to whoever asked: nothing where it was cut off before its thoughts came to an end."""
    said, thinking = outside_thoughts(reply)
    return "" if thinking else said.strip()


def cleaned(text: str) -> str:
    """A reply as plain lines: NFKC, ASCII digits, no invisible characters, no markdown, LaTeX or JSON; what was marked as the answer
    stands between OPEN and CLOSE. Lists in JSON keep their brackets and commas."""
    text = _TOKEN.sub("\n", text)
    text = _BOX.sub(lambda found: f"\n{OPEN}{_LATEX.sub(_inner, found.group(1))}{CLOSE}\n", text)
    text = _TAG.sub(lambda found: f"\n{OPEN}{found.group(2).strip()}{CLOSE}\n", text)
    text = _LATEX.sub(_inner, text)
    if _JSON.search(text):
        text = _KEY.sub(r"\n\1: ", text)
    text = unicodedata.normalize("NFKC", text)
    text = "".join(_digit(one) for one in text if unicodedata.category(one) not in ("Cf", "Co"))
    text = _FENCE.sub("", _STRUCK.sub(" ", text))
    text = _LINE_START.sub("", text)
    text = _EMPHASIS.sub("", _TICKED_BOX.sub("✓ ", _OPEN_BOX.sub("", text)))
    lines = (" ".join(line.split()) for line in text.splitlines())
    return "\n".join(line for line in lines if line)


def _inner(found: re.Match[str]) -> str:
    return found.group(1) or ""


def _digit(one: str) -> str:
    return one if one < "\x80" or not one.isdecimal() else str(unicodedata.decimal(one))
