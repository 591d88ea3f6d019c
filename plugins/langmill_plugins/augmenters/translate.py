"""Rows carried into other languages."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from functools import lru_cache
from typing import Annotated, ClassVar

from pydantic import Field as Bounds
from pydantic import create_model

from langmill.api import Augmenter, Chat, Choice, Drop, Field, Row, RowFault, Skip, StepContext, words
from langmill_plugins.augmenters.replies import JSON, Answer, Maybe, Option, Pair, Question, Reply, single_turn

SHORTER, LONGER = 0.65, 1.4  # a translation's length, of what the two languages take: genres and translators differ


class Item(Reply):
    """A multiple-choice item."""

    question: Question
    options: list[Option]
    explanation: Maybe
    context: Maybe


@lru_cache
def _item(options: int, explained: bool, grounded: bool) -> type[Item]:
    """An item with as many options as its source, and with the parts its source has."""
    return create_model(
        "Item",
        __base__=Item,
        options=(list[Option], Bounds(min_length=options, max_length=options)),
        explanation=(Answer if explained else Maybe, ...),
        context=(Answer if grounded else Maybe, ...),
    )


class Translate(Augmenter):
    """Has a model translate conversations and multiple-choice items into each language of `into`.

    Asks the prompts `translate` and `translate_choice` of the *target* language, so that a pack brings all that its
    language needs. A row is not translated into its own language, nor is a translation translated again. Each language fails
    alone: `untranslated` when the question came back as it was, `repeated_option` when two options became one. Skipped
    are conversations with a system message or more than one turn (`not_single_turn`) and rows longer than `most_characters`
    (`row_too_long`). Children are called `…/translate.CODE`; answers keep their places.
    """

    bodies: ClassVar[tuple[type, ...]] = (Chat, Choice)
    into: Annotated[tuple[str, ...], Bounds(min_length=1)] = Field(
        description="codes of the languages to translate into"
    )
    most_characters: int = Field(3000, ge=1, description="longest row, in characters, that is translated")

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
        jobs: list[Awaitable[Row]] = [_translate(row, code, context) for code in codes]
        return await context.gather(jobs)

    def answer_size(self, row: Row, language: str, context: StepContext) -> tuple[float, float]:
        """The row's own length, as its language and the other one take room."""
        ratio = context.pack(language).size.of_english / context.pack(row.language).size.of_english
        parts = 2 if isinstance(row.body, Chat) else 4 + len(row.body.options) if isinstance(row.body, Choice) else 0
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


async def _translate(row: Row, code: str, context: StepContext) -> Row:
    pack, source, step = context.pack(code), context.pack(row.language).identity.native_name, f"translate.{code}"
    if isinstance(row.body, Choice):
        body = row.body
        prompt = pack.render(
            "translate_choice",
            source=source,
            question=body.question,
            options=list(body.options),
            explanation=body.explanation or "",
            context=body.context or "",
        )
        schema = _item(len(body.options), bool(body.explanation), bool(body.context))
        answer = await context.ask(row, step, prompt, schema, language=code)
        item = answer.value
        _changed(body.question, item.question)
        _distinct(item.options)
        new = Choice(
            item.question,
            tuple(item.options),
            body.answers,
            item.explanation if body.explanation else None,
            item.context if body.context else None,
        )
        return row.child(step, new, language=code, marks=answer.marks)
    question, text = single_turn(row) or ("", "")
    prompt = pack.render("translate", source=source, question=question, answer=text)
    reply = await context.ask(row, step, prompt, Pair, language=code)
    _changed(question, reply.value.question)
    return row.child(step, Chat.of(reply.value.question, reply.value.answer), language=code, marks=reply.marks)


def _changed(before: str, after: str) -> None:
    if before.split() == after.split():
        raise RowFault("untranslated", after[:200])


def _distinct(options: Iterable[str]) -> None:
    seen: set[str] = set()
    for option in options:
        if (wording := " ".join(option.casefold().split())) in seen:
            raise RowFault("repeated_option", option)
        seen.add(wording)
