"""A language pack: facts and prompts of one language, data only.

A pack is a folder: ``pack.yaml`` in sections, each optional but ``identity``, ``prompts/*.jinja`` and ``keywords.txt``. A missing
section or prompt switches off what needs it and says so when it is asked for. Prompts run in Jinja's immutable sandbox with strict
undefined; row text goes in as a value and is never itself a template.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from langmill.errors import Fault, MissingInput, RecipeError, nearest
from langmill.parts.facts import (
    ANY_SIZE,
    ChoiceFacts,
    CueFacts,
    Identity,
    MedicalFacts,
    NumberFacts,
    PackFile,
    PictureFacts,
    ReplyFacts,
    SizeFacts,
    TextFacts,
    UnitFacts,
)
from langmill.rows import Body, Chat, Choice, Message, Text
from langmill.yaml12 import load_file

if TYPE_CHECKING:
    import jinja2


@dataclass(frozen=True)
class Prompt:
    """A rendered prompt and the hash of the templates it came from."""

    messages: tuple[Message, ...]
    hash: str


@dataclass(frozen=True)
class Pack:
    """One language. Sections that the pack leaves out are None; :meth:`need` turns that into a clear error. ``size`` is there
    always: an estimate needs no pack's word, it only gets wider without it."""

    identity: Identity
    text: TextFacts | None
    choice: ChoiceFacts | None
    templates: dict[str, str] = field(repr=False)
    fingerprint: str = ""
    folder: Path | None = field(default=None, compare=False)
    size: SizeFacts = ANY_SIZE
    medical: MedicalFacts | None = None
    pictures: PictureFacts | None = None
    numbers: NumberFacts | None = None
    units: UnitFacts | None = None
    cues: CueFacts | None = None
    keywords: tuple[str, ...] = field(default=(), repr=False)
    replies: ReplyFacts | None = None

    @property
    def code(self) -> str:
        """The language's code."""
        return self.identity.code

    def need(self, section: Literal["text", "choice", "medical", "numbers"]) -> Any:
        """A section's facts; raises MissingInput when the pack does not have it."""
        facts = getattr(self, section)
        if facts is None:
            raise MissingInput(
                f"the language pack '{self.code}' has no section '{section}', which this step needs: "
                f"add it to its pack.yaml, then: factory languages check {self.code}"
            )
        return facts

    def render(self, name: str, **values: object) -> Prompt:
        """The system prompt (when the pack has one) and the prompt ``name`` as messages.

        Raises MissingInput for a prompt that the pack lacks, naming those it has.
        """
        system = [Message("system", self._text("system", {}))] if "system" in self.templates else []
        used = self.templates.get("system", "") + "\0" + self._template(name)
        return Prompt(
            (*system, Message("user", self._text(name, values))),
            f"{self.code}/{name}@{hashlib.sha256(used.encode()).hexdigest()[:12]}",
        )

    def filler(self, characters: float) -> str:
        """So many characters of the language (its sample, over and over): stands in for text that is not written yet."""
        wanted = max(1, round(characters))
        sample = self.identity.sample + " "
        return (sample * (wanted // len(sample) + 1))[:wanted]

    def lettered(self, options: Sequence[str]) -> list[str]:
        """The options as lines with the language's letters."""
        facts: ChoiceFacts = self.need("choice")
        if len(options) > len(facts.letters):
            raise MissingInput(
                f"the language pack '{self.code}' has {len(facts.letters)} letters, an item has {len(options)} options: "
                "add letters to choice.letters in its pack.yaml"
            )
        return [
            facts.option.format(letter=letter, text=text) for letter, text in zip(facts.letters, options, strict=False)
        ]

    def letters(self, answers: Sequence[int]) -> str:
        """The letters of the right answers, joined the language's way."""
        facts: ChoiceFacts = self.need("choice")
        return facts.separator.join(facts.letters[index] for index in answers)

    def answer_line(self, answers: Sequence[int]) -> str:
        """The line that states the answer, in the language's words."""
        facts: ChoiceFacts = self.need("choice")
        return facts.answer.format(letters=self.letters(answers))

    def ask_choice(self, body: Choice, *, short: bool = False) -> str:
        """The user message that puts a multiple-choice item: reason and answer, or (short) the letter alone."""
        values = {
            "question": body.question,
            "options": self.lettered(body.options),
            "context": body.context or "",
            "several": len(body.answers) > 1,
        }
        return self._text("choice_short" if short else "choice", values)

    def conversation(self, body: Body, *, short: bool = False) -> tuple[Message, ...]:
        """A body as the messages a model is trained on. A choice item ends in its rationale, if it has one, and the
        answer line; in the letters alone where it has none, or with ``short``. Text has no conversation and raises
        ValueError."""
        match body:
            case Chat(messages=messages):
                return messages
            case Choice(explanation=explanation, answers=answers):
                short = short or not explanation
                reply = self.letters(answers) if short else f"{explanation}\n{self.answer_line(answers)}"
                return (Message("user", self.ask_choice(body, short=short)), Message("assistant", reply))
            case Text():
                raise ValueError("running text is not a conversation")

    def ordered(self, body: Choice) -> bool:
        """Whether the order of an item's options means something, since its question or one of them speaks of others."""
        facts: ChoiceFacts = self.need("choice")
        return facts.speaks_of_order(body.question, body.options)

    def cites_options(self, body: Choice) -> bool:
        """Whether an item's explanation names options by letter or number, and so is right in their present order alone."""
        facts: ChoiceFacts = self.need("choice")
        return bool(body.explanation) and facts.cites(body.explanation or "", len(body.options))

    def _template(self, name: str) -> str:
        if name not in self.templates:
            raise MissingInput(
                f"the language pack '{self.code}' has no prompt '{name}': {nearest(name, self.templates)}. "
                f"Add prompts/{name}.jinja to the pack, then: factory languages check {self.code}"
            )
        return self.templates[name]

    def _text(self, name: str, values: dict[str, object]) -> str:
        self._template(name)
        return self._environment.get_template(name).render(values).strip()

    @cached_property
    def _environment(self) -> jinja2.Environment:
        import jinja2
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        return ImmutableSandboxedEnvironment(
            loader=jinja2.DictLoader(self.templates), undefined=jinja2.StrictUndefined, autoescape=False
        )


def read_pack(folder: Path) -> Pack:
    """The pack in a folder. Raises RecipeError with every fault of its pack.yaml, each with its line."""
    document = load_file(folder / "pack.yaml")
    try:
        facts = PackFile.model_validate(document.data)
    except ValidationError as error:
        raise RecipeError([document.fault(item["loc"], item["msg"]) for item in error.errors()]) from None
    if facts.identity.code != folder.name:
        raise RecipeError(
            [
                Fault(
                    str(folder / "pack.yaml"),
                    document.line(("identity", "code")),
                    "identity.code",
                    f"is '{facts.identity.code}', but the folder is called '{folder.name}': make them equal",
                )
            ]
        )
    templates = {path.stem: path.read_text("utf-8") for path in sorted((folder / "prompts").glob("*.jinja"))}
    keywords = _keywords(folder / "keywords.txt")
    if facts.medical and not keywords:
        fault = "needs keywords.txt beside it, with a keyword on each line"
        raise RecipeError([Fault(str(folder / "pack.yaml"), document.line(("medical",)), "medical", fault)])
    digest = hashlib.sha256((folder / "pack.yaml").read_bytes())
    for name, text in (*templates.items(), ("keywords", "\n".join(keywords))):
        digest.update(f"\0{name}\0{text}".encode())
    return Pack(
        facts.identity, facts.text, facts.choice, templates, digest.hexdigest(), folder, facts.size, facts.medical,
        facts.pictures, facts.numbers, facts.units, facts.cues, keywords, facts.replies,
    )  # fmt: skip


def _keywords(path: Path) -> tuple[str, ...]:
    """The lines of a keyword list but for blank ones and comments (``#``); none where there is no list."""
    if not path.is_file():
        return ()
    try:
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise RecipeError([Fault(str(path), 1, "keywords", f"is not UTF-8: {error}")]) from None
    return tuple(line for line in lines if line and not line.startswith("#"))


PROMPTS: dict[str, dict[str, object]] = {
    "system": {},
    "expand": {"question": "Q", "answer": "A"},
    "ask": {"passage": "P", "count": 2},
    "unify_question": {"passage": "P", "source": "S", "most": 180},
    "unify_answer": {"question": "Q", "passage": "P", "source": "S"},
    "translate": {"source": "S", "question": "Q", "answer": "A"},
    "translate_choice": {
        "source": "S",
        "question": "Q",
        "options": [{"letter": "A", "text": "X"}, {"letter": "B", "text": "Y"}],
        "explanation": "",
        "context": "",
    },
    "explain": {"question": "Q", "options": ["A. X", "B. Y"], "answer": "A. X", "context": ""},
    "judge": {"source": "S", "text": "T"},
    "judge_answer": {"question": "Q", "reference": "R", "answer": "A"},
    "judge_pair": {"question": "Q", "reference": "R", "first": "F", "second": "L"},
    "choice": {"question": "Q", "options": ["A. X", "B. Y"], "context": "", "several": False},
    "choice_short": {"question": "Q", "options": ["A. X", "B. Y"], "context": "", "several": False},
}
"""Every prompt that a built-in step asks for, with values of the right kind for each variable."""


WITHOUT: dict[str, str] = {
    "numbers": "numbers are compared by digits alone",
    "units": "units are known by their symbols alone, frequencies and routes not at all",
    "cues": "negations, sides and bounds in words are not compared",
    "replies": "an answer is read out of a model's reply only where it stands by itself or in an answer line",
}
"""What is done without a section of facts: by the guards, and by whoever reads a model's replies."""


def faults_of(pack: Pack) -> list[str]:
    """What a pack leaves out or gets wrong: sections, prompts, variables, letters. Empty when it is whole."""
    import jinja2

    faults = [f"section '{name}' is missing" for name in ("text", "choice") if getattr(pack, name) is None]
    faults.extend(
        f"section '{name}' is missing: {without}" for name, without in WITHOUT.items() if getattr(pack, name) is None
    )
    for name, values in PROMPTS.items():
        if name not in pack.templates:
            faults.append(f"prompt '{name}' is missing: add prompts/{name}.jinja")
            continue
        try:
            text = pack.render(name, **values).messages[-1].content
        except jinja2.TemplateError as error:
            faults.append(f"prompt '{name}' does not render: {error}")
            continue
        unused = [key for key, value in values.items() if isinstance(value, str) and value and value not in text]
        faults.extend(f"prompt '{name}' never shows its {key}" for key in unused)
    for name in sorted(set(pack.templates) - set(PROMPTS)):
        faults.append(f"prompt '{name}' is asked for by no built-in step: possible: {', '.join(PROMPTS)}")
    if pack.keywords and not pack.medical:
        faults.append("keywords.txt is read only beside a section 'medical'")
    if len(set(pack.keywords)) < len(pack.keywords):
        faults.append("keywords.txt holds a keyword twice")
    if pack.choice:
        faults.extend(
            f"choice.{name} is missing: the options of its items are never shuffled"
            for name in ("ordered", "cited")
            if not getattr(pack.choice, name)
        )
    if pack.choice and len(set(pack.choice.letters)) < len(pack.choice.letters):
        faults.append("choice.letters holds a letter twice")
    return faults


def packs_in(package: str) -> Iterator[Pack]:
    """Every pack folder inside an installed package: what a language plugin returns from ``register_languages``."""
    root = Path(str(files(package)))
    for path in sorted(root.glob("*/pack.yaml")):
        yield read_pack(path.parent)
