"""Passages of a corpus made into instructions: a question that a passage answers, then the answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field as Bounds
from pydantic import PrivateAttr

from langmill.api import Chat, Context, Drop, Field, FollowUp, Pack, Prompt, Row, Skip, StepContext, Text
from langmill_plugins.augmenters.candidates import Candidate, read_by_guards
from langmill_plugins.augmenters.glossed import Glossaries
from langmill_plugins.augmenters.guarded import MENDED, REPAIR, TOLD, Guarded
from langmill_plugins.augmenters.options import Guards, watched
from langmill_plugins.augmenters.replies import JSON, Answer, Question, Reply

# Characters of an English question and of an answer to it, from terse models to talkative ones.
QUESTION, ANSWER = (60, 260), (150, 1400)
# The longest question, in English characters: in Chinese, which takes 0.34 times the room, these are the 180 of HuatuoGPT-II.
LONGEST = 530
STEP, FOLLOWING = "unify", ".answer"
ANSWERED = (0.85, 1.0)  # share of the questions that are sound, and so are answered

Characters = Annotated[int, Bounds(ge=20)]


class Asked(Reply):
    """A question."""

    question: Question


class Answered(Reply):
    """Its answer."""

    answer: Answer


class UnifyGuards(Guards):
    """The guards over a question and its answer, beside the passage that they are made from."""

    numbers: bool = Field(True, description="every number is in the passage")
    units: bool = Field(True, description="with its unit, how often and which way a drug is given")
    standalone: bool = Field(True, description="neither speaks of the passage: according to the reference")
    glossary: str | None = Field(
        None,
        description="CSV of terms and their translations, a path beside the recipe: where the passage is in another language, a "
        "listed term of the answer must be one of the passage",
    )


class Unify(Guarded):
    """Has a model turn a passage of a corpus into a question with its answer: HuatuoGPT-II's data unification.

    Two calls a passage. The first (prompt `unify_question`) sees the first `question_characters` and makes a question that the
    passage answers in full; the second (`unify_answer`) sees the question and the first `answer_characters`, and answers without
    letting on that there was a passage. Both prompts are those of the language written: the row's own, or `into`, so that a
    corpus in several languages becomes instructions in one. The conversation is called `…/unify`, or `…/unify.CODE`.

    Caps count characters, up to the last sentence that fits; `{books: 1200}` sets one for a source, others keep the published
    400 and 600. A passage of more than `most_characters` is skipped as `passage_too_long`: cut it when it is read, since what
    lies beyond the caps is never seen.

    Guards (`guards:`): standalone (`not_standalone`), numbers and units (they are the passage's), language, chatter, leaks,
    loops; `question_too_long` (over 180 Chinese characters, and as many as say the same in other languages); by the option
    `support`, an answer's words occur in the passage (`not_supported`). Where the language written is another one, words can not
    be held against the passage: numbers are, and the terms of a `glossary`. Each call is made once more, with what was found by name;
    what is found then rejects the row. An unsound question is not answered.
    """

    bodies: ClassVar[tuple[type, ...]] = (Text,)
    into: str | None = Field(None, description="code of the language to write in; each row's own when left out")
    question_characters: Characters | Mapping[str, Characters] = Field(
        400, description="of a passage, for its question: of every source, or by source, e.g. {books: 800}"
    )
    answer_characters: Characters | Mapping[str, Characters] = Field(
        600, description="of a passage, for the answer: of every source, or by source, e.g. {books: 1200}"
    )
    most_characters: int = Field(8000, ge=1, description="longest passage, in characters")
    support: float = Field(0.25, ge=0, le=1, description="least share of an answer's terms that the passage has too")
    guards: UnifyGuards = watched(UnifyGuards)

    _glossaries: Glossaries = PrivateAttr(default_factory=Glossaries)

    def guarded(self) -> Mapping[str, bool]:
        """Each guard, support among them, and whether it is on."""
        return {**super().guarded(), "support": self.support > 0}

    def further_checks(self) -> tuple[str, ...]:
        """The glossary, too."""
        told = [f"glossary {self.guards.glossary}"] if self.guards.glossary else []
        return (*super().further_checks(), *told)

    def files(self, context: Context) -> list[Path]:
        """The glossary, when there is one. Raises MissingInput when it is not there, can not be read, or has nothing for any pair of
        languages."""
        targets = (self.into,) if self.into else tuple(context.languages)
        pairs = [(target, source) for target in targets for source in context.languages if source != target]
        return [*super().files(context), *self._glossaries.files(self.guards.glossary, context, pairs)]

    async def augment(self, row: Row, context: StepContext) -> Iterable[Row | Drop | Skip]:
        """The conversation, if both its halves are sound."""
        assert isinstance(row.body, Text)
        passage = row.body.text.strip()
        if len(passage) > self.most_characters:
            return [Skip("passage_too_long", f"{len(passage)} characters, most {self.most_characters}")]
        code = self.into or row.language
        home, pack = context.pack(row.language), context.pack(code)
        other = home if code != row.language else None
        self._open(context, row.language, code)
        glossary = self._glossaries.of(self.guards.glossary, context, code, row.language) if other else None
        shown = [begin(passage, self._cap(which, row), home) for which in ("question", "answer")]
        known = max(shown, key=len)
        prompt = self._question(shown[0], home, pack)
        on, unasked = self.guards.on(), self.asked(context, prompt, [passage])

        async def sound(said: Asked) -> list[Drop]:
            def look() -> list[Drop]:
                from langmill_plugins.guards.pairs import answered

                [found] = answered([(said.question, "")], known, pack, on, unasked, 0, other)
                return [*self._too_long(said.question, pack), *found][:TOLD]

            return await read_by_guards(len(known) + len(said.question), look)

        asked = await context.ask(row, STEP, prompt, Asked, language=code, check=sound, repair=self.repair)
        question = asked.sound().value.question
        prompt = self._answer(question, shown[1], home, pack)
        answering = self.asked(context, prompt, [passage, question])

        def read(said: Answered) -> list[Candidate]:
            return [Candidate(Chat.of(question, said.answer), f"{question}\n{said.answer}")]

        def look(said: Answered) -> list[list[Drop]]:
            from langmill_plugins.guards.claims import unsupported
            from langmill_plugins.guards.pairs import answered, strange_terms

            [found] = answered([(question, said.answer)], known, pack, on, answering, 0, other)
            # Words of two languages do not meet: there numbers, and terms that a glossary lists, must do.
            found += [] if other else unsupported(said.answer, known, pack, self.support)
            found += strange_terms(said.answer, known, glossary) if glossary else []
            return [found]

        [made] = await self.written(
            row, STEP + FOLLOWING, prompt, Answered, context, read, look, source=known, language=code
        )
        made.marks = (*asked.marks, *made.marks)
        made.repaired = made.repaired or asked.repaired
        return [made.child(row, f"{STEP}.{code}" if self.into else STEP, language=code)]

    def _cap(self, which: str, row: Row) -> int:
        """How much of a row's passage is shown."""
        said: int | Mapping[str, int] = getattr(self, f"{which}_characters")
        if isinstance(said, int):
            return said
        usual: int = type(self).model_fields[f"{which}_characters"].default
        return said.get(row.origin.source, usual)

    def _question(self, passage: str, home: Pack, pack: Pack) -> Prompt:
        return pack.render("unify_question", passage=passage, source=home.identity.native_name, most=_most(pack))

    def _answer(self, question: str, passage: str, home: Pack, pack: Pack) -> Prompt:
        return pack.render("unify_answer", question=question, passage=passage, source=home.identity.native_name)

    def _too_long(self, question: str, pack: Pack) -> list[Drop]:
        if len(question) <= _most(pack):
            return []
        return [Drop("question_too_long", f"{len(question)} characters, most {_most(pack)}: {question[:100]}")]

    def answer_size(self, row: Row, language: str, context: StepContext) -> tuple[float, float]:
        """An answer grows with what it draws on, up to a talkative model's own length."""
        of_english, home = context.pack(language).size.of_english, context.pack(row.language).size.of_english
        seen = min(len(row.body.text), self._cap("answer", row)) / home if isinstance(row.body, Text) else 0.0
        low, high = max(ANSWER[0], 0.4 * seen), max(ANSWER[1], 1.5 * seen)
        return JSON + low * of_english, JSON + high * of_english

    def call_size(self, row: Row, step: str, language: str, context: StepContext) -> tuple[float, float]:
        """The question's, for the first of the two calls."""
        if step.startswith(STEP + FOLLOWING):
            return self.answer_size(row, language, context)
        of_english = context.pack(language).size.of_english
        return JSON + QUESTION[0] * of_english, JSON + QUESTION[1] * of_english

    def followed(self, row: Row, step: str, language: str, context: StepContext) -> Iterable[FollowUp]:
        """After a question the call that mends it, and the answer with what follows that."""
        if step.startswith(STEP + FOLLOWING):
            yield from super().followed(row, step, language, context)
        elif not step.endswith(REPAIR) and isinstance(row.body, Text):
            writer, size = self.models()[0], self.call_size(row, step, language, context)
            if self.repair and self.guards.any():
                yield FollowUp(writer, step + REPAIR, size, MENDED)
            home, pack = context.pack(row.language), context.pack(language)
            question = pack.filler(sum(QUESTION) / 2 * pack.size.of_english)
            prompt = self._answer(question, begin(row.body.text, self._cap("answer", row), home), home, pack)
            size = self.answer_size(row, language, context)
            yield FollowUp(writer, step + FOLLOWING, size, ANSWERED, prompt)
            for more in super().followed(row, step + FOLLOWING, language, context):
                yield more._replace(prompt=prompt)

    def expected(self, row: Row, language: str, characters: float, context: StepContext) -> Iterable[Row]:
        """One conversation; a model whose questions are long has long answers."""
        pack = context.pack(language)
        low, high = self.answer_size(row, language, context)
        answer = min(max(characters * sum(ANSWER) / sum(QUESTION), low), high)
        question = min(characters, QUESTION[1] * pack.size.of_english)
        body = Chat.of(pack.filler(question), pack.filler(answer))
        yield row.child(f"{STEP}.{language}" if self.into else STEP, body, language=language)


def begin(passage: str, most: int, pack: Pack) -> str:
    """The beginning of a passage in at most so many characters: up to the last sentence that ends in its second half, else up to
    the last blank in it, else just so many, but no number in two. HuatuoGPT-II cuts where the count ends."""
    if len(passage) <= most:
        return passage
    cut, half = passage[: most + 1], most // 2
    ends = pack.text.sentence_ends if pack.text else ".!?。！？"
    at = max(
        (i + 1 for i in range(half, most) if cut[i] in ends and not (cut[i] == "." and cut[i + 1].isalnum())), default=0
    )
    at = at or next((i for i in range(most, half, -1) if cut[i].isspace()), 0)
    if not at:
        at = next((i for i in range(most, half, -1) if not (cut[i - 1].isnumeric() and cut[i].isnumeric())), most)
    return passage[:at].rstrip()


def _most(pack: Pack) -> int:
    """Characters of the longest question in a language."""
    return round(LONGEST * pack.size.of_english)
