"""What a model said, as a file that grows answer by answer: after a kill only what is missing is asked again, and a changed way of
reading answers asks nothing."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from langmill.api import Answer, Answered, FactoryError, Likelihood, Question

KEPT = ("text", "finish", "prompt_tokens", "answer_tokens", "cost")  # of an answer


@dataclass(frozen=True, slots=True)
class Refused:
    """That a provider would not take a question, and what it said. It counts as an empty answer, and is asked again in the next run:
    filters change, and so do their reasons."""

    why: str


Said = Answer | Refused | tuple[Likelihood, ...]


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
    """The answers of one model (``model`` is a hash of what decides what it says) to one evaluation, JSON Lines: first the model,
    then one answer a line. As a context manager it may be added to; one process at a time. A line that a kill has cut off, or that
    is damaged, is passed over; a file of another model is begun anew when it is first added to."""

    def __init__(self, path: Path, model: str):
        self.path, self.model = path, model
        self._known: dict[str, Said] = {}
        self._mine = self._whole = False  # the file is this model's; its last line came to its end
        self._handle: Any = None
        self._read()

    def _read(self) -> None:
        if not self.path.exists():
            return
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines):
                self._whole = line.endswith(b"\n")
                try:
                    facts = json.loads(line)
                    if not number:
                        self._mine = facts["model"] == self.model
                    else:
                        self._known[facts["asked"]] = _said(facts)
                except (ValueError, KeyError, TypeError):
                    pass
                if not self._mine:
                    return

    def missing(self, questions: Sequence[Question]) -> list[Question]:
        """Those that are not answered yet, each wording once. What was refused is answered, with nothing."""
        return list({key: one for one in questions if (key := asked(one)) not in self._known}.values())

    def refused(self, questions: Sequence[Question]) -> list[tuple[Question, str]]:
        """Those that were refused, each wording once, with the provider's words."""
        found = {key: one for one in questions if isinstance(self._known.get(key := asked(one)), Refused)}
        return [(one, said.why) for key, one in found.items() if isinstance(said := self._known[key], Refused)]

    def answered(self, questions: Sequence[Question]) -> list[Answered]:
        """The questions with their answers, in order. Raises KeyError for one that has none."""
        return [_answered(question, self._known[asked(question)]) for question in questions]

    def __enter__(self) -> AnswerFile:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = self.path.open("ab" if self._mine else "wb", buffering=0)
        except OSError as error:
            raise self._refused(error) from error
        if not self._mine:
            self._write({"model": self.model})
        elif not self._whole:
            self._put(b"\n")
        self._mine = self._whole = True
        return self

    def add(
        self,
        question: Question,
        *,
        answer: Answer | None = None,
        likelihoods: Sequence[Likelihood] = (),
        refused: str | None = None,
    ) -> None:
        """Keep what was said to a question, or the words with which it was refused. It is handed to the system at once and reaches the
        disk at the end. Raises FactoryError when the disk takes no more."""
        line: dict[str, Any] = {"asked": asked(question), "question": question.name}
        if refused is not None:
            line["refused"] = refused
        elif answer is not None:
            line |= {name: getattr(answer, name) for name in KEPT}
        else:
            line["likelihoods"] = [[one.log_probability, one.tokens] for one in likelihoods]
        self._write(line)
        self._known[line["asked"]] = _said(line)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            os.fsync(self._handle.fileno())
        except OSError as refused:
            if error is None:
                raise self._refused(refused) from refused
        finally:
            self._handle.close()

    def _write(self, facts: Mapping[str, Any]) -> None:
        self._put(json.dumps(facts, ensure_ascii=False).encode("utf-8", "replace") + b"\n")

    def _put(self, line: bytes) -> None:
        try:
            while line:
                line = line[self._handle.write(line) :]
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> FactoryError:
        return FactoryError(
            f"can not write {self.path}: {error.strerror or error}. The answers before are kept: make room, then run the same "
            "command again"
        )


def _said(line: Mapping[str, Any]) -> Said:
    """What a line holds. Raises KeyError, TypeError for one that is none of ours."""
    if "refused" in line:
        return Refused(str(line["refused"]))
    if "likelihoods" in line:
        return tuple(Likelihood(float(value), int(tokens)) for value, tokens in line["likelihoods"])
    return Answer(line["text"], **{name: line[name] for name in KEPT if name in line and name != "text"})


def _answered(question: Question, said: Said) -> Answered:
    match said:
        case Refused():
            return Answered(question, Answer("", "refusal"))
        case Answer():
            return Answered(question, said)
    return Answered(question, None, said)
