"""Rows carried into other languages."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BaseModel, PrivateAttr, StringConstraints, create_model
from pydantic import Field as Bounds

from langmill.api import (
    Chat,
    Choice,
    Context,
    Drop,
    Field,
    Mark,
    Pack,
    Prompt,
    Row,
    Skip,
    StepContext,
    words,
)
from langmill_plugins.augmenters.agreement import Agreement
from langmill_plugins.augmenters.candidates import Candidate
from langmill_plugins.augmenters.glossed import Glossaries
from langmill_plugins.augmenters.guarded import BACK, Guarded
from langmill_plugins.augmenters.options import Guards, Terms, watched
from langmill_plugins.augmenters.replies import JSON, Answer, Maybe, Option, Pair, Question, Reply, single_turn

if TYPE_CHECKING:
    from langmill_plugins.guards.pairs import Piece

Letter = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4)]
SHORTER, LONGER = 0.65, 1.4  # a translation's length, of what the two languages take: genres and translators differ


class TranslationGuards(Guards):
    """The guards over a translation, piece by piece. Each can be switched off, and the card says so."""

    numbers: bool = Field(True, description="every number is there, none is new")
    units: bool = Field(True, description="units, how often and which way a drug is given; exact conversions may pass")
    negation: bool = Field(True, description="no negation is gone or new")
    sides: bool = Field(True, description="left stays left")
    comparisons: bool = Field(True, description="at least does not become at most")
    names: bool = Field(True, description="names and codes of genes, drugs and the like stay")
    length: bool = Field(True, description="as long as translations between the two languages are")
    untranslated: bool = Field(True, description="nothing is left in the other language, no two options became one")
    options: bool = Field(True, description="options keep their number and their order")
    keep: Terms = Field((), description="terms that must stay as they are")
    glossary: str | None = Field(None, description="CSV of terms and their translations, a path beside the recipe")


class TranslationAgreement(Agreement):
    """Further translations, or one back into the language it came from. A model at temperature 0 agrees with itself, so that further
    ones tell nothing there; one back does. A step can not see the temperature of its model."""

    back_translation: bool = Field(
        False,
        description="in place of further answers, have the answer translated back and hold that against the source",
    )

    def calls(self) -> tuple[str, int]:
        """One call, of a step of its own, for a translation back."""
        return (BACK, 1) if self.back_translation else super().calls()

    def told(self) -> str:
        """What it is, for the card."""
        return f"translated back, {self.least:g} alike at least" if self.back_translation else super().told()


class Lettered(Reply):
    """An option under its letter."""

    letter: Letter
    text: Option


class Item(Reply):
    """A multiple-choice item."""

    question: Question
    options: list[Lettered]
    explanation: Maybe
    context: Maybe


@lru_cache
def _item(options: int, explained: bool, grounded: bool) -> type[Item]:
    """An item with as many options as its source, and with the parts its source has."""
    return create_model(
        "Item",
        __base__=Item,
        options=(list[Lettered], Bounds(min_length=options, max_length=options)),
        explanation=(Answer if explained else Maybe, ...),
        context=(Answer if grounded else Maybe, ...),
    )


@dataclass(frozen=True)
class _Task:
    """A body to be translated from one language into another."""

    body: Chat | Choice
    source: Pack
    target: Pack

    def letters(self) -> tuple[str, ...]:
        """The letters of an item's options. Raises MissingInput when the target's pack has too few."""
        assert isinstance(self.body, Choice)
        self.target.lettered(self.body.options)
        return tuple(self.target.letters((index,)) for index in range(len(self.body.options)))

    def question(self) -> tuple[Prompt, type[BaseModel]]:
        """What a model is asked, and the shape of its answer."""
        body, name = self.body, self.source.identity.native_name
        if isinstance(body, Chat):
            return self.target.render("translate", source=name, question=body.question, answer=body.answer), Pair
        letters = self.letters()
        prompt = self.target.render(
            "translate_choice",
            source=name,
            question=body.question,
            options=[{"letter": letter, "text": text} for letter, text in zip(letters, body.options, strict=True)],
            explanation=body.explanation or "",
            context=body.context or "",
        )
        return prompt, _item(len(letters), bool(body.explanation), bool(body.context))

    def made(self, said: Any) -> Chat | Choice:
        """The body that an answer makes: the key is the source's own, and options are without letters."""
        if isinstance(self.body, Chat):
            return Chat.of(said.question, said.answer)
        return Choice(
            said.question,
            tuple(self._bare(option, source) for option, source in zip(said.options, self.body.options, strict=True)),
            self.body.answers,
            said.explanation if self.body.explanation else None,
            said.context if self.body.context else None,
        )

    def _bare(self, option: Lettered, source: str) -> str:
        """An option's text; its letter is no part of it, unless it was in the source: A. fumigatus."""
        mark = self.target.need("choice").option.format(letter=option.letter, text="")
        return option.text if source.startswith(mark) else option.text.removeprefix(mark)

    def pieces(self, new: Chat | Choice) -> tuple[list[Piece], list[Piece]]:
        """The source's pieces beside those of a translation, and the options of both."""
        from langmill_plugins.guards.pairs import Piece

        old = self.body
        if isinstance(old, Chat) or isinstance(new, Chat):
            assert isinstance(old, Chat) and isinstance(new, Chat)
            return [Piece("question", old.question, new.question), Piece("answer", old.answer, new.answer)], []
        pieces = [
            Piece("context", old.context or "", new.context or ""),
            Piece("question", old.question, new.question),
            Piece("explanation", old.explanation or "", new.explanation or ""),
        ]
        options = [
            Piece(f"option {letter}", *pair)
            for letter, *pair in zip(self.letters(), old.options, new.options, strict=True)
        ]
        return [piece for piece in pieces if piece.source or piece.name == "question"], options

    def misplaced(self, said: Any) -> list[Drop]:
        """Options that are not under their own letters, in order."""
        from langmill_plugins.guards.choices import in_order

        if isinstance(self.body, Chat):
            return []
        return in_order([option.letter for option in said.options], self.target, len(self.body.options))


class Translate(Guarded):
    """Has a model translate conversations and multiple-choice items into each language of `into`.

    Asks the prompts `translate` and `translate_choice` of the *target* language, so that a pack brings all that its
    language needs. A row is not translated into its own language, nor is a translation translated again. Skipped are
    conversations with a system message or more than one turn (`not_single_turn`) and rows longer than `most_characters`
    (`row_too_long`). Children are called `…/translate.CODE`; answers keep their places.

    Guards (`guards:`): numbers, units, negation, sides, comparisons, names, length, untranslated, options, language, chatter,
    leaks, loops; and, where they are given, `keep` (terms that stay as they are) and `glossary` (terms and their translations).
    What they find goes back to the model once; what they find then rejects this language alone, by the first fault's name:
    `changed_number`, `changed_unit`, `changed_negation`, `options_order`, `wrong_language` and so on.
    """

    bodies: ClassVar[tuple[type, ...]] = (Chat, Choice)
    into: Annotated[tuple[str, ...], Bounds(min_length=1)] = Field(
        description="codes of the languages to translate into"
    )
    most_characters: int = Field(3000, ge=1, description="longest row, in characters, that is translated")
    guards: TranslationGuards = watched(TranslationGuards)
    agreement: TranslationAgreement | None = Field(
        None, description="hold a translation against further ones, or against one back into its language"
    )

    _glossaries: Glossaries = PrivateAttr(default_factory=Glossaries)

    def takes(self, row: Row) -> bool:
        """An original that has somewhere to go."""
        return super().takes(row) and not _translated(row) and any(code != row.language for code in self.into)

    async def augment(self, row: Row, context: StepContext) -> Iterable[Row | Drop | Skip]:
        """One row per language."""
        if isinstance(row.body, Chat) and (single_turn(row) is None or len(row.body.messages) != 2):
            return [Skip("not_single_turn", "only one question with one answer is translated")]
        length = len(words(row.body))
        if length > self.most_characters:
            return [Skip("row_too_long", f"{length} characters, most {self.most_characters}")]
        codes = [code for code in dict.fromkeys(self.into) if code != row.language]
        jobs: list[Awaitable[Row]] = [self._into(code, row, context) for code in codes]
        return await context.gather(jobs)

    async def _into(self, code: str, row: Row, context: StepContext) -> Row:
        assert isinstance(row.body, Chat | Choice)
        step, task = f"translate.{code}", _Task(row.body, context.pack(row.language), context.pack(code))
        prompt, schema = task.question()
        glossary = self._glossaries.of(self.guards.glossary, context, row.language, code)

        def read(said: Any) -> list[Candidate]:
            new = task.made(said)
            return [Candidate(new, words(new))]

        def look(said: Any) -> list[list[Drop]]:
            from langmill_plugins.guards.pairs import faults

            pieces, options = task.pieces(task.made(said))
            asked = self.asked(context, prompt, [piece.source for piece in (*pieces, *options)])
            found = faults(
                pieces,
                options,
                task.source,
                task.target,
                self.guards.on(),
                asked,
                keep=self.guards.keep,
                glossary=glossary,
            )
            return [[*task.misplaced(said), *found]]

        async def back(candidate: Candidate) -> tuple[str, tuple[Mark, ...]]:
            assert isinstance(candidate.body, Chat | Choice)
            home = _Task(candidate.body, task.target, task.source)
            prompt, schema = home.question()
            reply = await context.ask(row, step + BACK, prompt, schema, language=row.language)
            return words(home.made(reply.value)), reply.marks

        turned = self.agreement is not None and self.agreement.back_translation
        [made] = await self.written(
            row,
            step,
            prompt,
            schema,
            context,
            read,
            look,
            source=words(row.body),
            language=code,
            back=back if turned else None,
        )
        return made.child(row, step, language=code)

    def agreed(self) -> Agreement | None:
        """The option."""
        return self.agreement

    def further_checks(self) -> tuple[str, ...]:
        """Terms, too."""
        glossary, keep = self.guards.glossary, len(self.guards.keep)
        told = [f"glossary {glossary}"] if glossary else []
        if keep:
            told.append(f"kept: {keep} term{'s' * (keep > 1)}")
        return (*super().further_checks(), *told)

    def files(self, context: Context) -> list[Path]:
        """The glossary, when there is one. Raises MissingInput when it is not there, can not be read, or has nothing for any pair of
        languages."""
        pairs = [(source, target) for target in self.into for source in context.languages if source != target]
        return [*super().files(context), *self._glossaries.files(self.guards.glossary, context, pairs)]

    def answer_size(self, row: Row, language: str, context: StepContext) -> tuple[float, float]:
        """The row's own length, as its language and the other one take room."""
        ratio = context.pack(language).size.of_english / context.pack(row.language).size.of_english
        # An option comes with its letter.
        parts = (
            2 if isinstance(row.body, Chat) else 4 + 2 * len(row.body.options) if isinstance(row.body, Choice) else 0
        )
        length = ratio * len(words(row.body))
        return JSON * parts + SHORTER * length, JSON * parts + LONGER * length

    def expected(self, row: Row, language: str, characters: float, context: StepContext) -> Iterable[Row]:
        """The row in the other language, each part as long as its share."""
        filler, ratio = context.pack(language).filler, characters / max(1, len(words(row.body)))

        def other(text: str) -> str:
            return filler(ratio * len(text))

        body, turns = row.body, single_turn(row)
        if isinstance(body, Choice):
            new: Chat | Choice = Choice(
                other(body.question),
                tuple(other(option) for option in body.options),
                body.answers,
                other(body.explanation) if body.explanation else None,
                other(body.context) if body.context else None,
            )
        elif turns:
            new = Chat.of(other(turns[0]), other(turns[1]))
        else:
            return
        yield row.child(f"translate.{language}", new, language=language)


def _translated(row: Row) -> bool:
    return any(part.startswith("translate.") for part in row.id.split("/"))
