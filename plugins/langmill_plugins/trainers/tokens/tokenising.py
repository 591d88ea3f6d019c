"""A data set as examples: every row put, rendered, tokenised and masked, or left out for a reason that is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from langmill.api import Chat, Context, Message, Row, RowFault, Text
from langmill_plugins.trainers.options import AdapterStage
from langmill_plugins.trainers.tokens.chunks import chunks
from langmill_plugins.trainers.tokens.cutting import cut
from langmill_plugins.trainers.tokens.examples import Example, Examples
from langmill_plugins.trainers.tokens.forms import conversations
from langmill_plugins.trainers.tokens.masking import encoded, masked
from langmill_plugins.trainers.tokens.rendering import Rendered, Renderer, steered, steering_ids, steering_texts
from langmill_plugins.trainers.tokens.templates import begin_of

ROWS_AT_ONCE = 512  # a call to the tokenizer; its answer takes some hundred bytes a token until it is stored
LETTERS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Recording:
    """How rows become examples: the tokenizer (its chat template included), packs, the longest example, a stage's options."""

    tokenizer: Any
    context: Context
    max_tokens: int
    stage: AdapterStage
    seed_for: Callable[..., int]


@dataclass
class Tokenised:
    """What became of a data set: examples in the order of their rows; rows left out in every form, by the first one's reason and
    language; forms left out of rows that stay in another; rows that were cut, by what went (``older_turns``, ``question``)
    and language."""

    examples: Examples
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)
    forms_left_out: Counter[tuple[str, str]] = field(default_factory=Counter)
    cut: Counter[tuple[str, str]] = field(default_factory=Counter)

    def left_out_by_reason(self) -> dict[str, dict[str, int]]:
        """``{reason: {language: rows}}``, sorted, for a report."""
        return _table(self.left_out)

    def forms_left_out_by_reason(self) -> dict[str, dict[str, int]]:
        """``{reason: {language: forms}}``, sorted, for a report."""
        return _table(self.forms_left_out)

    def cut_by_kind(self) -> dict[str, dict[str, int]]:
        """``{what went: {language: rows}}``, sorted, for a report."""
        return _table(self.cut)


def tokenise(
    rows: Iterable[Row], how: Recording, *, occurrence: int = 0, only: Container[int] | None = None
) -> Tokenised:
    """Every row that can be learnt from. ``occurrence``: the time it comes (options are shuffled by it); ``only``: row numbers
    that are wanted, all when left out.

    An item that is put in two ways is two examples, a long text several, told apart by ``part``. Reasons to be left out:
    ``too_long``; ``special_token_in_text``: the words hold a token that steers the model; ``unknown_character``: the
    tokenizer writes such a token for a character that it does not know; ``template_alters_words`` and
    ``template_refuses``: the chat template changes the words beyond trimming, or does not know this order of roles;
    ``no_clear_edge``: one token holds the end of the prompt and the beginning of the answer, so that no mask is right;
    ``empty_answer``, ``empty_text``. Raises RecipeError for a tokenizer that can not render
    conversations, MissingInput for an item that its language's pack has no words for.
    """
    making = _Making(how, occurrence)
    examples = Examples.of(making.examples(rows, only))
    return Tokenised(examples, making.left_out, making.forms_left_out, making.cut)


class _Put(NamedTuple):
    """One conversation of a row, or its running text (None)."""

    number: int
    row: Row
    part: int
    chat: Sequence[Message] | None


class _Read(NamedTuple):
    """Tokens (int32) and the stretches of them that carry loss."""

    ids: Any
    learnt: list[slice]


class _Making:
    """One pass over a data set."""

    def __init__(self, how: Recording, occurrence: int) -> None:
        self._how = how
        self._occurrence = occurrence
        self._renderer = Renderer(how.tokenizer)
        self._begin = begin_of(how.tokenizer)
        self._steering_in = lru_cache(maxsize=256)(lambda frame: self._steering_of(self._encoded([frame])[0][1]).size)
        self.left_out: Counter[tuple[str, str]] = Counter()
        self.forms_left_out: Counter[tuple[str, str]] = Counter()
        self.cut: Counter[tuple[str, str]] = Counter()

    def examples(self, rows: Iterable[Row], only: Container[int] | None) -> Iterator[Example]:
        """The examples of all rows, counting those that are left out."""
        for some in self._batches(rows, only):
            chats = [put.chat for put in some if put.chat is not None]
            rendered = iter(self._read_chats(chats))
            texts = iter(self._read_texts([_words(put.row) for put in some if put.chat is None]))
            stay: set[int] = set()
            out: dict[int, list[tuple[str, str]]] = {}
            for put in some:
                read = next(texts if put.chat is None else rendered)
                try:
                    yield from self._made(put, read)
                    stay.add(put.number)
                except RowFault as fault:
                    out.setdefault(put.number, []).append((fault.reason, put.row.language))
            for number, found in out.items():
                if number in stay:
                    self.forms_left_out.update(found)
                else:
                    self.left_out[found[0]] += 1

    def _batches(self, rows: Iterable[Row], only: Container[int] | None) -> Iterator[list[_Put]]:
        """Rows as they are put, so many that their tokens are no burden; all of a row in one batch."""
        how = self._how
        some: list[_Put] = []
        letters = 0
        for number, row in enumerate(rows):
            if only is not None and number not in only:
                continue
            if isinstance(row.body, Text):
                some.append(_Put(number, row, 0, None))
                letters += len(row.body.text)
            else:
                pack = how.context.pack(row.language)
                for part, chat in conversations(row, pack, how.stage.choices, how.seed_for, self._occurrence):
                    some.append(_Put(number, row, part, chat))
                    letters += sum(len(message.content) for message in chat)
            if len(some) >= ROWS_AT_ONCE or letters >= LETTERS_AT_ONCE:
                yield some
                some, letters = [], 0
        if some:
            yield some

    def _read_chats(self, chats: Sequence[Sequence[Message]]) -> list[_Read | RowFault]:
        """Conversations as tokens with a mask, however long."""
        rendered = self._renderer.render(chats)
        read = iter(self._encoded([one.text for one in rendered if isinstance(one, Rendered)]))
        return [self._masked(one, *next(read)) if isinstance(one, Rendered) else one for one in rendered]

    def _masked(self, one: Rendered, encoding: Any, ids: Any) -> _Read | RowFault:
        steering = self._steering_of(ids)
        if steering.size != self._steering_in(one.frame):
            return steered(one.text, one.frame, steering_texts(self._how.tokenizer))
        try:
            return _Read(ids, masked(encoding, one.text, one.spans, steering.tolist()))
        except RowFault as fault:
            return fault

    def _read_texts(self, texts: Sequence[str]) -> list[_Read | RowFault]:
        """Running texts as tokens, the end token after them."""
        import numpy as np

        end = [self._how.tokenizer.eos_token_id]
        made: list[_Read | RowFault] = []
        for text, (_, ids) in zip(texts, self._encoded(texts), strict=True):
            if self._steering_of(ids).size:
                made.append(steered(text, "", steering_texts(self._how.tokenizer)))
            elif not len(ids):
                made.append(RowFault("empty_text", "there is nothing to read"))
            else:
                made.append(_Read(np.append(ids, np.asarray(end, np.int32)), [slice(0, len(ids) + 1)]))
        return made

    def _encoded(self, texts: Sequence[str]) -> list[tuple[Any, Any]]:
        """Each text's encoding and its ids, int32."""
        import numpy as np

        return [(one, np.asarray(one.ids, np.int32)) for one in encoded(self._how.tokenizer, texts)]

    @cached_property
    def _steering(self) -> Any:
        """For each token id whether it steers, bool."""
        import numpy as np

        ids = steering_ids(self._how.tokenizer)
        table: Any = np.zeros(max(len(self._how.tokenizer), *ids) + 1, bool)
        table[list(ids)] = True
        return table

    def _steering_of(self, ids: Any) -> Any:
        """Where steering tokens stand."""
        return self._steering[ids].nonzero()[0]

    def _made(self, put: _Put, read: _Read | RowFault) -> Iterator[Example]:
        """The examples of what was read. Raises RowFault where it is not fit to be learnt from."""
        if isinstance(read, RowFault):
            raise read
        if put.chat is None:
            yield from self._windows(put, read)
            return
        if len(read.ids) > self._how.max_tokens:
            read = self._cut(put)
        yield _example(put, put.part, read.ids, read.learnt)

    def _windows(self, put: _Put, read: _Read) -> Iterator[Example]:
        """A text in windows, the begin token before each. The very first token is learnt only where something stands before it."""
        import numpy as np

        begin = np.asarray(self._begin, np.int32)
        size = self._how.max_tokens - len(begin)
        again = max(int(size * self._how.stage.overlap), 0 if len(begin) else 1)
        for part, (start, end, learnt) in enumerate(chunks(len(read.ids), size, again)):
            first = max(learnt - start + len(begin), 1)
            ids = np.concatenate((begin, read.ids[start:end]))
            yield _example(put, part, ids, [slice(first, len(ids))])

    def _cut(self, put: _Put) -> _Read:
        """A conversation that fits, or RowFault."""
        how = self._how
        assert put.chat is not None
        if isinstance(put.row.body, Chat) and how.stage.too_long == "cut_prompt":
            found = cut(put.chat, self._size, how.max_tokens, self._starts)
            if found is not None:
                (read,) = self._read_chats([found[0]])
                if isinstance(read, _Read):
                    self.cut.update((what, put.row.language) for what in found[1])
                    return read
        raise RowFault("too_long", f"it has more than {how.max_tokens} tokens")

    def _size(self, messages: Sequence[Message]) -> int | None:
        (read,) = self._read_chats([messages])
        return len(read.ids) if isinstance(read, _Read) else None

    def _starts(self, text: str) -> list[int]:
        return [start for start, _ in encoded(self._how.tokenizer, [text])[0].offsets]


def _example(put: _Put, part: int, ids: Any, stretches: Iterable[slice]) -> Example:
    import numpy as np

    learnt: Any = np.zeros(len(ids), bool)
    for stretch in stretches:
        learnt[stretch] = True
    return Example(ids, learnt, put.number, part, put.row.language, put.row.origin.source)


def _words(row: Row) -> str:
    assert isinstance(row.body, Text)
    return row.body.text


def _table(counts: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    table: dict[str, dict[str, int]] = {}
    for (what, language), count in sorted(counts.items()):
        table.setdefault(what, {})[language] = count
    return table
