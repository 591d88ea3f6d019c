"""Does a model answer in the language it is asked in?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from langmill.api import (
    Answered,
    Chat,
    Choice,
    EvalContext,
    Evaluator,
    Field,
    Item,
    Marked,
    Message,
    Metric,
    MissingInput,
    Pack,
    Question,
    Row,
    Table,
)

from .choices.prompts import hash_of, messages_for, wording

if TYPE_CHECKING:
    from langmill_plugins.text.identifiers import Identifier

FOREIGN = 0.2  # most of an answer that may be in passages of another language, as the filter language_id has it
LEAST = (
    20  # letters below which a language is not told, as the filter has it; a Han, kana or hangul letter counts as three
)
MIXED, EMPTY, SHORT, UNKNOWN = "mixed", "nothing", "too short", "no language"


class LanguageConsistency(Evaluator):
    """Share of written answers that are in the language of the question, in each language and over all.

    A conversation is put as it is up to the assistant's last answer, a multiple-choice row with the long prompt of its language
    pack (reason, then an answer line). What the model writes, without its thoughts, is read passage by passage, by script and then by
    fastText's lid.176, as the filter language_id reads rows. It counts where the answer is in the asked language and at most a
    fifth of it in passages of another one: names, abbreviations and references are no passages.

    An answer of fewer than 20 letters (Han, kana and hangul count as three), such as a letter alone, has no language that could be told:
    it is left out, and counted in the table. An empty answer, or one that was cut off inside its thoughts, counts as not in the
    language, and as unreadable. The table has the found language by the asked one.
    """

    metrics: ClassVar[Mapping[str, Metric]] = {
        "in_language": Metric("share", "written answers that are in the language of the question")
    }
    max_tokens: int | None = Field(
        None, ge=1, description="longest reply, in the model's tokens; the model's own bound when left out"
    )

    def questions(self, rows: Sequence[Row], context: EvalContext) -> Iterable[Question]:
        """The talk before the last answer, or the long prompt of a multiple-choice row."""
        asked = [row for row in rows if isinstance(row.body, Chat | Choice)]
        if not asked:
            raise MissingInput(
                f"{context.place}: '{self.data}' holds running text alone in its split '{self.split}', and language_consistency asks "
                "conversations and multiple-choice rows: name a data set that holds some"
            )
        # What is missing is told before a model is asked.
        _identifier([context.pack(row.language) for row in asked], context)
        for row in asked:
            messages = _messages(row, context.pack(row.language))
            yield Question(row.id, row.id, row.language, messages, max_tokens=self.max_tokens)

    async def mark(self, rows: Sequence[Row], answered: Sequence[Answered], context: EvalContext) -> Marked:
        """One item an answer whose language can be told, or that is empty."""
        from langmill_plugins.replies.cleaning import spoken
        from langmill_plugins.text.passages import passages
        from langmill_plugins.text.sides import labels_of, read_sides

        packs = [context.pack(one.question.language) for one in answered]
        names = {label: code for code, pack in context.languages.items() for label in labels_of(pack)}
        identifier = _identifier(packs, context)
        texts = [spoken(one.text) for one in answered]
        cut = [passages(text, pack.identity.scripts == ("Latn",)) for text, pack in zip(texts, packs, strict=True)]
        sides = read_sides(cut, packs, identifier, {"en", *names}, LEAST)
        items: list[Item] = []
        found: Counter[tuple[str, str]] = Counter()
        for one, text, pack, side in zip(answered, texts, packs, sides, strict=True):
            asked = one.question.language
            if side is None:
                reads = SHORT if text else EMPTY
            elif FOREIGN < side.foreign <= 0.5:
                reads = MIXED
            else:
                label = side.foreign_label if side.foreign > FOREIGN else side.reading.label
                # Packs of one language in two scripts share its labels: the asked one goes first.
                reads = asked if label in labels_of(pack) else names.get(label, label) or UNKNOWN
            found[asked, reads] += 1
            if reads != SHORT:
                facts: dict[str, object] = {"reads": reads}
                if side:
                    facts |= {"score": round(side.reading.score, 3), "foreign": round(side.foreign, 3)}
                right = float(reads == asked)
                items.append(Item(one.question.row, asked, "in_language", right, readable=bool(text), facts=facts))
        left_out = {asked: count for (asked, reads), count in sorted(found.items()) if reads == SHORT}
        return Marked(
            tuple(items),
            _wordings(rows, {pack.code: pack for pack in packs}),
            tables=(_table(found),),
            facts={"identifier": "lid.176.ftz", "too short to tell": left_out},
        )


def _identifier(packs: Iterable[Pack], context: EvalContext) -> Identifier:
    """fastText's lid.176. Raises MissingInput where it is not there, or does not know one of the languages."""
    from langmill_plugins.text.identifiers import FastText
    from langmill_plugins.text.sides import labels_of

    identifier = FastText(None, context.offline, context.place)
    for pack in {pack.code: pack for pack in packs}.values():
        if identifier.labels.isdisjoint(labels_of(pack)):
            raise MissingInput(
                f"{context.place}: fastText's lid.176 does not know {pack.identity.name} "
                f"(lid_labels: {', '.join(pack.identity.lid_labels)}), so whether answers are in it can not be told"
            )
    return identifier


def _messages(row: Row, pack: Pack) -> tuple[Message, ...]:
    if isinstance(row.body, Chat):
        return row.body.messages[:-1]
    assert isinstance(row.body, Choice)
    return messages_for(row.body, pack, "generation", ())


def _wordings(rows: Sequence[Row], packs: Mapping[str, Pack]) -> dict[str, str]:
    """What pins the words by language: the pack's for multiple choice; a conversation has no words but its own."""
    asked = {row.language for row in rows if isinstance(row.body, Choice)}
    return {code: hash_of(wording(pack, "generation", ())) if code in asked else "" for code, pack in packs.items()}


def _table(found: Mapping[tuple[str, str], int]) -> Table:
    rows = sorted({asked for asked, _ in found})
    told = sorted({reads for _, reads in found} - {MIXED, EMPTY, SHORT, UNKNOWN} - set(rows))
    columns = (*rows, *told, MIXED, UNKNOWN, EMPTY, SHORT)
    cells = tuple(tuple(float(found.get((row, column), 0)) for column in columns) for row in rows)
    note = (
        "Answers by the asked language (down) and the one they are in (across). 'too short' is left out of the share; "
        "'mixed' holds more than a fifth in passages of another language."
    )
    return Table("languages of the answers", "all", tuple(rows), columns, cells, note)
