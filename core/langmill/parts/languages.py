"""A language pack: facts and prompts of one language, data only.

A pack is a folder: ``pack.yaml`` in sections, each optional but ``identity``, ``prompts/*.jinja`` and ``keywords.txt``. A missing
section or prompt switches off what needs it and says so when it is asked for. Prompts run in Jinja's immutable sandbox with strict
undefined; row text goes in as a value and is never itself a template.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from langmill.errors import Fault, MissingInput, RecipeError, nearest
from langmill.rows import Body, Chat, Choice, Message, Text
from langmill.yaml12 import load_file

if TYPE_CHECKING:
    import jinja2


class Section(BaseModel):
    """One section of a pack: closed, so that a misspelt fact is an error and not a silence."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Identity(Section):
    """Which language this is."""

    code: str = Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]+)*$", description="BCP-47 code; also the folder's name")
    name: str = Field(description="the name in English")
    native_name: str = Field(description="the name in the language itself")
    scripts: tuple[str, ...] = Field(min_length=1, description="ISO 15924 codes of the scripts it is written in")
    lid_labels: tuple[str, ...] = Field(min_length=1, description="labels of fastText lid.176 that mean this language")
    sample: str = Field(min_length=20, description="one sentence in the language, for checks")


class Shingles(Section):
    """How near-duplicate search cuts text."""

    by: Literal["word", "character"]
    size: int = Field(ge=1, le=20)


class TextFacts(Section):
    """How running text is cut."""

    shingles: Shingles
    sentence_ends: str


class ChoiceFacts(Section):
    """How a multiple-choice item is written down."""

    letters: tuple[str, ...] = Field(min_length=2)
    separator: str = Field(description="between letters when several answers are right")
    option: str = Field(pattern=r"\{letter\}.*\{text\}", description="one option's line")
    answer: str = Field(pattern=r"\{letters\}", description="the line that states the answer")


class SizeFacts(Section):
    """How much room the language takes, for the price before a run. The defaults stand for a language that does not say."""

    characters_a_token: tuple[float, float] = Field(
        (0.7, 4.8), description="characters to a token: by a tokenizer that knows the language little, and well"
    )
    of_english: float = Field(1.0, gt=0, description="characters of a text, for one character of its English edition")

    @field_validator("characters_a_token")
    @classmethod
    def _in_order(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1]:
            raise ValueError("two numbers above 0, the lower one first")
        return value


ANY_SIZE = SizeFacts()


class Thresholds(Section):
    """What a text of a subject holds at least."""

    least_keywords: int = Field(ge=1, description="different keywords")
    least_density: float = Field(ge=0, le=1, description="share of its characters that stand in keywords")


class MedicalFacts(Thresholds):
    """How medical text is told from other text: by the words in ``keywords.txt``, and by how many of them."""

    by: Literal["word", "character"] = Field(description="keywords are whole words, or stand anywhere in running text")
    published: Thresholds | None = Field(None, description="the thresholds published with the keywords of MMedC")


def _regex(text: str) -> str:
    try:
        re.compile(text.replace("{picture}", "x"))
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return text


class PictureFacts(Section):
    """How a question points to a picture that text does not carry: regular expressions (Python's) that are searched for in
    text in lower case, after NFKC."""

    picture: Annotated[str, AfterValidator(_regex)] = Field(description="the words for a picture, parted by |")
    phrases: tuple[Annotated[str, AfterValidator(_regex)], ...] = Field(
        min_length=1, description="phrases that point to one; {picture} stands for those words"
    )

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """All phrases as one."""
        return re.compile("|".join(self.phrases).replace("{picture}", f"(?:{self.picture})"))

    @model_validator(mode="after")
    def _fit_together(self) -> PictureFacts:
        try:
            self.pattern  # noqa: B018
        except re.error as error:
            raise ValueError(f"picture and phrases make no regular expression together: {error}") from None
        return self


class PackFile(Section):
    """``pack.yaml`` whole."""

    identity: Identity
    text: TextFacts | None = None
    choice: ChoiceFacts | None = None
    medical: MedicalFacts | None = None
    pictures: PictureFacts | None = None
    size: SizeFacts = ANY_SIZE


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
    keywords: tuple[str, ...] = field(default=(), repr=False)

    @property
    def code(self) -> str:
        """The language's code."""
        return self.identity.code

    def need(self, section: Literal["text", "choice", "medical"]) -> Any:
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

    def conversation(self, body: Body) -> tuple[Message, ...]:
        """A body as the messages a model is trained on. A choice item ends in its rationale, if it has one, and the
        answer line. Text has no conversation and raises ValueError."""
        match body:
            case Chat(messages=messages):
                return messages
            case Choice(explanation=explanation, answers=answers):
                line = self.answer_line(answers)
                short = not explanation
                reply = self.letters(answers) if short else f"{explanation}\n{line}"
                return (Message("user", self.ask_choice(body, short=short)), Message("assistant", reply))
            case Text():
                raise ValueError("running text is not a conversation")

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
        facts.pictures, keywords,
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
    "translate": {"source": "S", "question": "Q", "answer": "A"},
    "translate_choice": {"source": "S", "question": "Q", "options": ["X", "Y"], "explanation": "", "context": ""},
    "explain": {"question": "Q", "options": ["A. X", "B. Y"], "answer": "A. X", "context": ""},
    "choice": {"question": "Q", "options": ["A. X", "B. Y"], "context": "", "several": False},
    "choice_short": {"question": "Q", "options": ["A. X", "B. Y"], "context": "", "several": False},
}
"""Every prompt that a built-in step asks for, with values of the right kind for each variable."""


def faults_of(pack: Pack) -> list[str]:
    """What a pack leaves out or gets wrong: sections, prompts, variables, letters. Empty when it is whole."""
    import jinja2

    faults = [f"section '{name}' is missing" for name in ("text", "choice") if getattr(pack, name) is None]
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
    if pack.choice and len(set(pack.choice.letters)) < len(pack.choice.letters):
        faults.append("choice.letters holds a letter twice")
    return faults


def packs_in(package: str) -> Iterator[Pack]:
    """Every pack folder inside an installed package: what a language plugin returns from ``register_languages``."""
    root = Path(str(files(package)))
    for path in sorted(root.glob("*/pack.yaml")):
        yield read_pack(path.parent)
