"""The glossary that a step's guards hold texts against: found beside the recipe, read once for each pair of languages."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from langmill.api import Context, MissingInput

if TYPE_CHECKING:
    from langmill_plugins.guards.glossaries import Glossary


class Glossaries(dict[tuple[str, str], "Glossary"]):
    """Terms by pair of languages. ``path`` is what the option ``guards.glossary`` says; None: no glossary."""

    def of(self, path: str | None, context: Context, source: str, target: str) -> Glossary | None:
        """The terms of a pair of languages. Raises MissingInput, with the option's place, for a file that can not be read."""
        if path is None:
            return None
        if (source, target) not in self:
            from langmill_plugins.guards.glossaries import Glossary

            place, file = f"{context.place}.guards.glossary", context.path(path)
            if not file.is_file():
                raise MissingInput(f"{place}: nothing at '{path}' ({file})")
            try:
                self[source, target] = Glossary.read(file, source, target)
            except MissingInput as error:
                raise MissingInput(f"{place}: {error}") from None
        return self[source, target]

    def files(self, path: str | None, context: Context, pairs: Iterable[tuple[str, str]]) -> list[Path]:
        """The file, when there is one. Raises MissingInput when it is not there, can not be read, or has nothing for any of the
        pairs of languages."""
        if path is None:
            return []
        pairs = list(pairs)
        if not any(len(self.of(path, context, *pair) or ()) for pair in pairs):
            told = ", ".join(f"{source}-{target}" for source, target in pairs)
            raise MissingInput(f"{context.place}.guards.glossary: '{path}' has no term for {told}")
        return [context.path(path)]
