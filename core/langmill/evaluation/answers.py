"""What a model said, as a file that grows answer by answer: after a kill only what is missing is asked again, and a changed way of
reading answers asks nothing."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from langmill.api import Answer, Answered, Likelihood, Question
from langmill.disk.whole import write_text

KEPT = ("text", "finish", "prompt_tokens", "answer_tokens", "cost")  # of an answer


def asked(question: Question) -> str:
    """A hash of all that a model sees of a question."""
    facts = [
        [(message.role, message.content) for message in question.messages],
        question.continuations,
        question.max_tokens,
    ]
    text = json.dumps(facts, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:20]


class AnswerFile:
    """The answers of one model (``model`` is a hash of what decides what it says) to one evaluation. As a context manager it may be
    added to; one process at a time. A line cut off by a kill is passed over."""

    def __init__(self, path: Path, model: str):
        self.path, self.model = path, model
        self._known: dict[str, Mapping[str, Any]] = {}
        for line in self._lines():
            if "asked" in line:
                self._known[line["asked"]] = line
        self._handle: Any = None

    def _lines(self) -> Iterable[dict[str, Any]]:
        """The lines of this model; none where the file is another's."""
        if not self.path.exists():
            return
        with self.path.open(encoding="utf-8") as lines:
            for number, text in enumerate(lines):
                try:
                    line = json.loads(text)
                except ValueError:
                    continue
                if not number and line.get("model") != self.model:
                    return
                yield line

    def missing(self, questions: Sequence[Question]) -> list[Question]:
        """Those that are not answered yet, each wording once."""
        return list({key: one for one in questions if (key := asked(one)) not in self._known}.values())

    def answered(self, questions: Sequence[Question]) -> list[Answered]:
        """The questions with their answers, in order. Raises KeyError for one that has none."""
        return [_answered(question, self._known[asked(question)]) for question in questions]

    def __enter__(self) -> AnswerFile:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        head = [
            {"model": self.model},
            *self._known.values(),
        ]  # what another model said goes, and so does a line cut off
        write_text(self.path, "".join(_line(line) for line in head))
        self._handle = self.path.open("a", encoding="utf-8")
        return self

    def add(self, question: Question, *, answer: Answer | None = None, likelihoods: Sequence[Likelihood] = ()) -> None:
        """Keep what was said to a question. It is handed to the system at once and reaches the disk at the end."""
        line: dict[str, Any] = {"asked": asked(question), "question": question.name}
        if answer is not None:
            line |= {name: value for name, value in asdict(answer).items() if name in KEPT}
        else:
            line["likelihoods"] = [[one.log_probability, one.tokens] for one in likelihoods]
        self._known[line["asked"]] = line
        self._handle.write(_line(line))
        self._handle.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.fsync(self._handle.fileno())
        self._handle.close()


def _line(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, ensure_ascii=False).encode("utf-8", "replace").decode() + "\n"


def _answered(question: Question, line: Mapping[str, Any]) -> Answered:
    if "likelihoods" in line:
        return Answered(question, None, tuple(Likelihood(*pair) for pair in line["likelihoods"]))
    return Answered(question, Answer(**{name: line[name] for name in KEPT if name in line}))
