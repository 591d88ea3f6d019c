"""How many tokens, dollars and seconds calls take that nobody has made yet: a low and a high figure each, and the worst case.

Prompts are counted with the model's tokenizer, where it is at hand, else by the characters a token has in the language.
Answers are as long as earlier ones of the same model, step and language were (the ledger's habits), else as the step
declares (``Augmenter.answer_size``). Low and high hold over the sum of a step's calls, not over each of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from langmill.api import LLM, Pack, Price
from langmill.ledger.ledger import Habit
from langmill.parts.facts import ANY_SIZE

ENOUGH = 20  # answered calls of a step from which on the ledger knows it better than the step's own word
COUNTED = 200  # prompts of a step and language that are really counted; the others by their length
REASKED = 0.1  # share of calls that are asked again, at the high end: broken JSON, an empty answer
AGAIN = 60  # tokens that ask again, beside the answer that was of no use
SPREAD = 1.6  # a long answer, for one of mean length: what can be cut off at max_tokens
OWN_RATE = 0.1  # how far a language's characters a token may lie from those measured on some of its rows, as a share
SAME_STEP, LIKE_STEP = 0.15, 0.4  # how far answers may lie from earlier ones in the same language, and in others
FAST, SLOW = (0.4, 150.0), (3.0, 30.0)  # seconds before an answer and its tokens a second: assumed where none was timed
BATCH_SECONDS = (60.0, 86_400.0)  # a provider's batch is promised within a day
WRAPPED = (3, 10)  # tokens that a chat template puts round a message
SCHEMA_RATE = 2.5  # characters a token in a JSON schema, at the least


@dataclass(frozen=True)
class Span:
    """From low to high."""

    low: float = 0.0
    high: float = 0.0

    def __add__(self, other: Span) -> Span:
        return Span(self.low + other.low, self.high + other.high)

    def times(self, low: float, high: float) -> Span:
        """Each end by its own factor."""
        return Span(self.low * low, self.high * high)

    def widest(self, other: Span) -> Span:
        """The higher of both, at each end."""
        return Span(max(self.low, other.low), max(self.high, other.high))


NOTHING = Span()


def together(*factors: Span) -> Span:
    """The product of ranges that have nothing to do with one another: not all of them are at the same end at once."""
    middle = math.prod(_middle(factor) for factor in factors)
    width = math.exp(math.hypot(*(math.log(max(1.0, factor.high / max(1e-12, factor.low))) / 2 for factor in factors)))
    return Span(middle / width, middle * width)


class Meter:
    """Tokens of one model: by its own tokenizer, or by what the packs say of their languages."""

    def __init__(self, llm: LLM, packs: Mapping[str, Pack], examples: Mapping[str, Sequence[str]]):
        """``examples`` are some rows' words by language."""
        self.llm, self.packs, self.examples = llm, packs, examples
        self.counts = llm.count(["a"]) is not None  # whether the tokenizer is at hand
        self._rates: dict[str, Span] = {}

    def tokens(self, texts: Sequence[str]) -> int:
        """Tokens of texts by the model's own tokenizer."""
        return sum(self.llm.count(texts) or ())

    def rate(self, language: str) -> Span:
        """Characters a token in a language."""
        if language not in self._rates:
            pack = self.packs.get(language)
            low, high = (pack.size if pack else ANY_SIZE).characters_a_token
            texts = list(self.examples.get(language, ())) or ([pack.identity.sample] if pack else [])
            if self.counts and texts:
                measured = sum(map(len, texts)) / max(1, self.tokens(texts))
                low, high = measured * (1 - OWN_RATE), measured * (1 + OWN_RATE)
            self._rates[language] = Span(low, high)
        return self._rates[language]


@dataclass(frozen=True)
class Prompt:
    """A call as it would be sent, as far as its size goes. ``text`` holds its messages; ``row`` is how many characters of it
    are the row's own, in ``row_language``; ``schema`` in characters; ``most`` is what its tokens can not exceed."""

    text: str
    messages: int
    row: int
    row_language: str
    schema: int
    most: float


@dataclass
class Calls:
    """The calls of one step in one language that are still to be paid, added up. Weights count calls that stand for several."""

    language: str
    step: str
    meter: Meter
    habit: Habit | None
    same_language: bool = True
    n: float = 0.0
    low_n: float = 0.0
    prompts: Span = NOTHING  # tokens, without what is counted below
    schemas: float = 0.0
    messages: float = 0.0
    rows: float = 0.0  # tokens of row text in the prompts, about
    answers: Span = NOTHING  # tokens, as declared
    again: float = 0.0  # calls that are asked again, at the high end
    most: Span = NOTHING  # low: prompt tokens in the worst case, high: answers
    _counted: list[tuple[int, int]] = field(default_factory=list)
    _moments: list[float] = field(default_factory=lambda: [0.0] * 5)  # of rows' and declared answers' characters

    def add(
        self, short: Prompt, long: Prompt, size: tuple[float, float] | None, weight: float, share: float, tries: int
    ) -> None:
        """One call, by its shortest and its longest form (the same for a row that is there). ``size`` is the answer's, in
        characters; ``share`` how much of the weight the low end counts; ``tries`` how often it may be asked."""
        llm, rate = self.meter.llm, self.meter.rate(self.language)
        self.n, self.low_n = self.n + weight, self.low_n + weight * share
        tokens = Span(self._tokens(short).low, self._tokens(long).high)
        self.prompts += tokens.times(weight * share, weight)
        self.schemas += weight * long.schema
        self.messages += weight * long.messages
        self.rows += weight * (short.row + long.row) / 2 / _middle(self.meter.rate(long.row_language))
        low, high = (1.0, float(llm.max_tokens))
        if size:
            likely = together(Span(*size), Span(1 / rate.high, 1 / rate.low))
            low, high = likely.low, likely.high
        cut = _cut(low, SPREAD * high, llm.max_tokens)
        high = min(high, llm.max_tokens)
        again = (1 - cut) * high + 2 * cut * llm.max_tokens + REASKED * high if tries > 1 else high
        self.answers += Span(weight * share * min(low, llm.max_tokens), weight * again)
        self.again += weight * (cut + REASKED) if tries > 1 else 0.0
        row, answer = (short.row + long.row) / 2, _middle(Span(*size)) if size else 1.0
        for index, moment in enumerate((1.0, row, answer, row * row, row * answer)):
            self._moments[index] += weight * moment
        said = min(4 * 2000, 4 * llm.max_tokens) + 1000  # what asking again adds to a prompt
        self.most += Span(weight * (tries * long.most + (tries - 1) * said), weight * tries * llm.max_tokens)

    def _tokens(self, prompt: Prompt) -> Span:
        length = len(prompt.text)
        if self.meter.counts:
            if len(self._counted) < COUNTED:
                self._counted.append((length, self.meter.tokens([prompt.text])))
                return Span(self._counted[-1][1], self._counted[-1][1])
            characters, tokens = map(sum, zip(*self._counted, strict=True))
            return Span(length * tokens / characters, length * tokens / characters)
        row, rest = min(prompt.row, length), max(0, length - prompt.row)
        own, other = self.meter.rate(self.language), self.meter.rate(prompt.row_language)
        return Span(rest / own.high + row / other.high, rest / own.low + row / other.low)

    def characters(self, size: tuple[float, float] | None) -> tuple[float, float]:
        """How long an answer may be, for what is made of it: as earlier ones were, else as declared (``size``)."""
        rate, most = self.meter.rate(self.language), self.meter.llm.max_tokens
        if self.habit is not None:
            mean, apart = usual(self.habit)[0], SAME_STEP if self.same_language else LIKE_STEP
            return mean * (1 - apart) * rate.low, min(most, mean * (1 + apart)) * rate.high
        low, high = size or (1.0, math.inf)
        return low, min(high, most * rate.high)

    # --- the sums ---

    def prompt_tokens(self) -> Span:
        """Tokens sent, those of calls asked again at the high end."""
        wrapped = Span(
            WRAPPED[0] * self.messages * self._share, WRAPPED[1] * self.messages + self.schemas / SCHEMA_RATE
        )
        once = self.prompts + wrapped
        again = self.again / self.n if self.n else 0.0
        said = self.again * min(self.meter.llm.max_tokens, 2000 / self.meter.rate(self.language).low)
        return Span(once.low, once.high * (1 + again) + said)

    def answer_tokens(self) -> Span:
        """Tokens answered. Few calls may all happen to be short, or long."""
        if not self.n:
            return NOTHING
        if self.habit is None:
            luck = 1 / math.sqrt(max(1.0, self.n))
            found = self.answers.times(1 - 0.3 * luck, 1 + 0.4 * luck)
            return found if self.again else Span(found.low, min(found.high, self.n * self.meter.llm.max_tokens))
        mean, deviation = usual(self.habit)
        most = self.meter.llm.max_tokens
        longer = self._longer()
        near, far = mean * min(1.0, longer.low), mean * max(1.0, longer.high)
        apart = SAME_STEP if self.same_language else LIKE_STEP
        luck = 2 * deviation / mean * math.sqrt(1 / max(1.0, self.n) + 1 / self.habit.calls)
        apart = math.hypot(apart, luck)
        low, high = max(1.0, min(most, near * max(0.2, 1 - apart))), min(most, far * (1 + apart))
        cut = min(0.5, _cut(mean - 2 * deviation, far * (1 + apart) + 2 * deviation, most))
        again = (1 - cut) * high + 2 * cut * most + REASKED * high if self.again else high
        return Span(self.low_n * low, self.n * again)

    def _longer(self) -> Span:
        """How much more row text there is in these prompts than in the earlier ones: some answers grow with it. How much of
        the earlier ones was the schema, and calls asked again with what was said, is not known."""
        assert self.habit is not None
        row, wrapped = self.rows / self.n, WRAPPED[0] * self.messages / self.n
        before = self.habit.prompt_tokens / self.habit.calls
        rest = max(0.0, _middle(self.prompts) / max(1.0, (self.n + self.low_n) / 2) - row) + wrapped
        most = self.schemas / self.n / SCHEMA_RATE + REASKED * (self.habit.answer_tokens / self.habit.calls + AGAIN)
        earlier = max(1.0, before - rest)
        more = (min(4.0, max(0.25, row / max(earlier / 2, earlier - besides))) for besides in (0.0, most))
        return Span(*(times ** self._grows() for times in more))

    def _grows(self) -> float:
        """By how many per cent an answer grows with a row that is longer by one per cent, as the step declares it: 0 to 1."""
        n, rows, answers, squares, products = self._moments
        varied = squares * n - rows * rows
        if varied <= 1e-6 * squares * n:
            return 1.0
        return min(1.0, max(0.0, (products * n - rows * answers) / varied * rows / answers))

    @property
    def _share(self) -> float:
        return self.low_n / self.n if self.n else 1.0

    def dollars(self, price: Price) -> Span:
        """What they cost one by one, without a batch."""
        asked, said = self.prompt_tokens(), self.answer_tokens()
        return Span(
            asked.low * price.prompt + said.low * price.answer, asked.high * price.prompt + said.high * price.answer
        )

    def worst(self, prices: Iterable[Price]) -> float:
        """US dollars that they can not exceed as long as none is lost on its way, by the dearest of the models."""
        return max(self.most.low * price.prompt + self.most.high * price.answer for price in prices)

    def seconds(self) -> Span:
        """From the first call to the last, at the model's concurrency and its limits a minute."""
        llm = self.meter.llm
        if not self.n:
            return NOTHING
        if llm.batch:
            return Span(*BATCH_SECONDS)
        said = self.answer_tokens()
        if self.habit is not None:
            each = Span(self.habit.seconds / self.habit.calls, self.habit.seconds / self.habit.calls).times(0.7, 1.6)
        else:
            low, high = said.low / max(1.0, self.low_n), said.high / self.n
            each = Span(FAST[0] + low / FAST[1], SLOW[0] + high / SLOW[1])
        rounds = Span(
            max(1.0, self.low_n / llm.concurrency), max(1.0, (self.n + self.again) / min(llm.concurrency, self.n))
        )
        span = Span(each.low * rounds.low, each.high * rounds.high)
        for per_minute, used in (
            (llm.requests_per_minute, Span(self.low_n, self.n + self.again)),
            (llm.tokens_per_minute, self.prompt_tokens() + Span(self.low_n, self.n).times(llm.max_tokens, llm.max_tokens)),
        ):  # fmt: skip
            if per_minute:
                span = Span(
                    max(span.low, 60 * (used.low / per_minute - 1)), max(span.high, 60 * used.high / per_minute)
                )
        return span


def usual(habit: Habit) -> tuple[float, float]:
    """Mean and standard deviation of an answer's tokens."""
    mean = habit.answer_tokens / habit.calls
    return mean, math.sqrt(max(0.0, habit.squares / habit.calls - mean * mean))


def habit_of(habits: Iterable[Habit], step: str, language: str) -> tuple[Habit | None, bool]:
    """What is known of a step's calls in a language, or else of the step's calls in any; and whether it is the former.
    ``translate.fr`` is a step of ``translate``, and ``translate.fr.repair`` one of ``translate.repair``."""
    name = without_language(step, language)
    own = [
        habit for habit in habits if without_language(habit.step, habit.language) == name and habit.answer_tokens
    ]  # some count nothing
    exact = [habit for habit in own if (habit.step, habit.language) == (step, language)]
    if sum(habit.calls for habit in exact) >= ENOUGH:
        own = exact
    if sum(habit.calls for habit in own) < ENOUGH:
        return None, True
    sums = [
        sum(getattr(habit, name) for habit in own)
        for name in ("calls", "prompt_tokens", "answer_tokens", "squares", "seconds")
    ]
    return Habit(step, language, *sums), own == exact


def without_language(step: str, language: str) -> list[str]:
    """A step's name without the language."""
    return [part for part in step.split(".") if part != language]


def _cut(low: float, long: float, most: float) -> float:
    """The share of answers from low to long, evenly spread, that is longer than most."""
    return min(1.0, max(0.0, (long - most) / max(1e-9, long - low)))


def _middle(span: Span) -> float:
    return math.sqrt(max(1e-12, span.low) * max(1e-12, span.high))
