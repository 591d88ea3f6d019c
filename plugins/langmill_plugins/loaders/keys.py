"""Answer keys that are numbers: whether they are counted from the end that the recipe says.

Read from 0, the keys 1 to 4 of four options point at the next option each, and only the last one is out of range: without a look
at all of them most of the rows would be kept with a wrong key.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from langmill.api import RecipeError


@dataclass
class Keys:
    """The number keys of one source, as its records have them: what they are counted from, whether one is past the last option, the
    least and the greatest key, and the least and the greatest number of options."""

    first: int = 0
    last: bool = False
    keys: set[int] = field(default_factory=set)
    options: set[int] = field(default_factory=set)

    def add(self, key: int, options: int, first: int) -> None:
        """A record's key, counted from ``first``, of so many options."""
        self.first, self.last = first, self.last or key >= options
        self.keys = _ends({*self.keys, key})
        self.options = _ends({*self.options, options})

    def done(self, place: str) -> None:
        """After the last record. Raises RecipeError when keys go past one end of the options and none is at the other."""
        if not self.keys:
            return
        least, most, few, many = min(self.keys), max(self.keys), min(self.options), max(self.options)
        beyond, reached = (self.last, least == 0) if self.first == 0 else (least == 0, self.last)
        # A key that no way of counting allows says that keys are wrong, and nothing of how they are counted.
        if beyond and not reached and least >= 0 and most <= many:
            of = f"{many}" if few == many else f"{few} to {many}"
            raise RecipeError(
                f"{place}.answers_from: keys run from {least} to {most} of {of} options: type answers_from: {1 - self.first}"
            )


def _ends(numbers: set[int]) -> set[int]:
    return {min(numbers), max(numbers)}
