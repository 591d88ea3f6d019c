"""What a step that stopped would still cost, told from what it cost so far."""

from __future__ import annotations

from typing import Any

from langmill.calls.engine import Engine


class Money:
    """Made when a step begins; :meth:`of` says about what its remaining rows cost."""

    def __init__(self, engine: Engine):
        self.account = engine.account
        self.answered, self.cached = self.account.answered, self.account.cached
        self.spent = self._spent()

    def of(self, done: int, left: int) -> dict[str, Any]:
        """``spent`` by the run over all its resumes and ``dollars`` for rows that are left, None while no price is known.

        The average price of an answer of this step (of the run, before the step had any) times the calls that a row takes.
        """
        usages = self.account.ledger.summary(self.account.run)  # waits until what came in is written
        answered, cached = self.account.answered - self.answered, self.account.cached - self.cached
        spent, price = self._spent(), None
        if answered:
            price = (spent - self.spent) / answered
        elif calls := sum(usage.calls for usage in usages):
            price = sum(usage.cost for usage in usages) / calls
        if not all(usage.priced for usage in usages):
            price = None
        calls_a_row = (answered + cached) / done if done else 1.0
        dollars = None if price is None else round(left * calls_a_row * price, 6)
        return {"spent": round(spent, 6), "dollars": dollars}

    def _spent(self) -> float:
        return self.account.ledger.spent(self.account.run)
