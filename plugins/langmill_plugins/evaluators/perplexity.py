"""How likely a model finds text it has not learnt."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from langmill.api import (
    Answered,
    Chat,
    EvalContext,
    Evaluator,
    FactoryError,
    Item,
    Marked,
    Metric,
    MissingInput,
    Question,
    RecipeError,
    Row,
    Text,
)


class Perplexity(Evaluator):
    """How well a model foretells held-out text, in each language and over all: the lower the better.

    Running text is scored by itself, from its first token on; where it is longer than the model reads, in windows that overlap by
    half. Of a conversation it is the assistant's last answer, given the talk before it. Multiple-choice rows are passed over; a
    data set that holds both text and conversations is refused, since the two figures mean different things.

    `perplexity` is the exponential of the mean negative log-probability of a token, over all tokens of a language: it compares models
    of one tokenizer, such as a base and its stages. `bits_per_byte` is the same information for each UTF-8 byte and compares
    models of any tokenizer, but not languages: a Han character is three bytes. Over all languages perplexity is the geometric mean,
    each language weighing the same. Needs a model that gives log-probabilities: the base, or a trained stage.
    """

    metrics: ClassVar[Mapping[str, Metric]] = {
        "perplexity": Metric("exp", "perplexity of a token", "lower"),
        "bits_per_byte": Metric("mean", "bits of surprise for each byte of text", "lower"),
    }

    def scored(self) -> bool:
        """It asks for log-probabilities."""
        return True

    def questions(self, rows: Sequence[Row], context: EvalContext) -> Iterable[Question]:
        """A text by itself; an answer after its talk."""
        kinds = {row.body.kind for row in rows if _asked(row)}
        if not kinds:
            raise MissingInput(
                f"{context.place}: '{self.data}' holds neither text nor conversations in its split '{self.split}', and perplexity "
                "scores nothing else: name a data set that does"
            )
        if len(kinds) > 1:
            raise RecipeError(
                f"{context.place}: '{self.data}' holds running text and conversations, whose perplexities mean different things: make "
                "a data set of each, and name each in an entry of eval: of its own"
            )
        for row in filter(_asked, rows):
            match row.body:
                case Text(text=text):
                    yield Question(row.id, row.id, row.language, (), (text,))
                case Chat(messages=messages, answer=answer):
                    yield Question(row.id, row.id, row.language, messages[:-1], (answer,))

    async def mark(self, rows: Sequence[Row], answered: Sequence[Answered], context: EvalContext) -> Marked:
        """Two items a row. Raises FactoryError where the model gives a text no probability: without it the figure would flatter."""
        items: list[Item] = []
        broken: list[str] = []
        unscored = tokens = 0
        for one in answered:
            (found,), (text,) = one.likelihoods, one.question.continuations
            row, language = one.question.row, one.question.language
            if not math.isfinite(found.log_probability):
                broken.append(row)
                continue
            if not found.tokens:  # all that a tokenizer drops: blanks alone, say
                unscored += 1
                continue
            tokens += found.tokens
            size = len(text.encode("utf-8", "surrogatepass"))
            facts = {"tokens": found.tokens, "bytes": size}
            surprise = -found.log_probability
            items += [
                Item(row, language, "perplexity", surprise / found.tokens, weight=found.tokens, facts=facts),
                Item(row, language, "bits_per_byte", surprise / math.log(2) / size, weight=size, facts=facts),
            ]
        if broken:
            raise FactoryError(
                f"{context.place}: the model finds {len(broken):,} of {len(answered):,} texts impossible ({broken[0]}): its "
                "log-probability is not a number, so its weights or their precision are broken; train it again or load it in bfloat16"
            )
        asked = "text by itself" if not answered or not answered[0].question.messages else "answer after its talk"
        return Marked(tuple(items), facts={"asked": asked, "tokens": tokens, "nothing to score": unscored})


def _asked(row: Row) -> bool:
    match row.body:
        case Text(text=text):
            return bool(text)
        case Chat(answer=answer):
            return bool(answer)
    return False
