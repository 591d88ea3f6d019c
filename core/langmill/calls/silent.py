"""A model that asks nobody: it answers from the ledger, and notes what it would have asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from langmill.api import Answer, Message, RowFault
from langmill.calls.account import Account
from langmill.calls.answers import Shape
from langmill.calls.engine import BoundModel
from langmill.calls.sending import Sender
from langmill.ledger.ledger import Call

UNPAID = "unpaid"  # the reason of a row's work that ends for want of an answer
Asked = tuple[Call, Sequence[Message], Shape]


@dataclass
class Notes:
    """What a row asked: answers that the ledger had, by key, and calls that it had not. Stand-ins are not looked up."""

    paid: dict[str, tuple[Call, Answer]] = field(default_factory=dict)
    unpaid: list[Asked] = field(default_factory=list)
    look_up: bool = True


class Silent(Sender):
    """Answers from the ledger; any other call is noted, and ends this piece of the row's work."""

    def __init__(self, account: Account, sender: Sender, notes: Notes):
        super().__init__(account, sender.llm)
        self.notes = notes

    def known(self, call: Call) -> Answer | None:
        """The answer that the ledger has; no use of it is noted there."""
        found = self.account.ledger.find(call.key) if self.notes.look_up else None
        if found is None:
            return None
        answer = Answer(**found.answer)
        self.notes.paid[call.key] = (call, answer)
        return answer

    async def ask(self, call: Call, messages: Sequence[Message], shape: Shape) -> Answer:
        """The answer from the ledger. Raises RowFault when it is not there."""
        if (answer := self.known(call)) is not None:
            return answer
        self.notes.unpaid.append((call, messages, shape))
        raise RowFault(UNPAID)


def silenced(model: BoundModel, notes: Notes) -> BoundModel:
    """The model, and those that take over from it, asking nobody."""
    fallback = model.fallback and silenced(model.fallback, notes)
    return BoundModel(Silent(model.sender.account, model.sender, notes), model.dataset, fallback)
