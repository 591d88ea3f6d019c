"""SQuAD's layout: articles in paragraphs with questions, whose answers are pieces of the paragraph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from langmill.api import Chat, Field, Gives, RecipeError, Row, RowFault, SourceContext, Text

from .named import named
from .reading import json_document
from .records import Entry, FileLoader, get, name_of, text_of


class Piece(NamedTuple):
    """A paragraph, or a question about it, with the article's title."""

    title: str
    paragraph: Any
    question: Any = None


class Squad(FileLoader):
    """Reads SQuAD, XQuAD and their likes, as paragraphs (``body: text``) or as questions on them (``body: chat``).

    A file's name may tell the language, ``xquad.zh.json``. All that is about one article is one family, in every language of
    the source. Questions without an answer (SQuAD 2.0) are rejected, as are those whose answer is not where ``answer_start``, in
    characters, says that it is.
    """

    gives: ClassVar[Gives] = Gives(Chat)
    suffixes: ClassVar[tuple[str, ...]] = (".json",)
    body: Literal["text", "chat"] = Field(
        description="what a record becomes: a paragraph, or a question with its answer"
    )
    language: str | None = Field(
        None,
        pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]+)*$",
        description="language, BCP-47; left out: the file's name tells it",
    )

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """One a paragraph, named by article and number, or one a question, named by its id; the file's name goes before.
        Raises RecipeError when nothing tells the language."""
        language = self.language or named(path, ".json").language
        if not language:
            raise RecipeError(f"{context.place}: '{path.name}' does not tell its language: add language: CODE")
        split = self.file_split(path, context)
        for article in _listed(json_document(path, dict), "data"):
            title = name_of(article.get("title")) if isinstance(article, dict) else ""
            for number, paragraph in enumerate(_listed(article, "paragraphs"), start=1):
                place = f"{path.name}, {title} {number}"
                found = [Piece(title, paragraph)]
                if self.body == "chat":
                    found = [Piece(title, paragraph, question) for question in _listed(paragraph, "qas")]
                for nth, piece in enumerate(found, start=1):
                    own = name_of(piece.question.get("id")) if isinstance(piece.question, dict) else ""
                    name = own or "-".join([title, str(number), *([str(nth)] if self.body == "chat" else [])])
                    fault = piece.paragraph if isinstance(piece.paragraph, RowFault) else piece.question
                    value = fault if isinstance(fault, RowFault) else piece
                    yield Entry(self.position(path, context, name), place, value, split, language)

    def row(self, entry: Entry, context: SourceContext) -> Row:
        """The paragraph, or the question below it with the answer."""
        title, paragraph, question = entry.value
        whole = get(paragraph, "context")
        passage = text_of(whole, "text")
        family = f"{context.source}/{title}" if title else None
        body: Text | Chat = Text(passage)
        if self.body == "chat":
            asked = text_of(get(question, "question"), "question")
            body = Chat.of(f"{passage}\n\n{asked}", _answer(question, str(whole)))
        return context.row(entry.record, entry.language, body, split=entry.split, family=family)


def _listed(value: Any, name: str) -> list[Any]:
    """A field that is a list; its fault in a list where it is none, so that it is counted."""
    if isinstance(value, RowFault):
        return [value]
    try:
        found = get(value, name)
    except RowFault as fault:
        return [fault]
    return found if isinstance(found, list) else [RowFault("wrong_type", f"expected '{name}' as a list")]


def _answer(question: Any, passage: str) -> str:
    """The first answer. Raises RowFault no_answer, key_mismatch."""
    answers = get(question, "answers")
    if not isinstance(answers, list) or not answers or get(question, "is_impossible"):
        raise RowFault("no_answer", "the question has no answer in the paragraph")
    text, start = text_of(get(answers[0], "text"), "answer"), get(answers[0], "answer_start")
    if not isinstance(start, int) or not passage[max(start, 0) :].lstrip().startswith(text):
        raise RowFault("key_mismatch", f"'{text[:80]}' does not stand at character {start}")
    return text
