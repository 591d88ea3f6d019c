"""Whether figures are of what lies in a run's folder today, or of what lay there once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from langmill.api import Evaluator
from langmill.disk.store import RunFolder, file_hash
from langmill.errors import FactoryError
from langmill.recipe.assembly import Assembly


class Today:
    """The rows and models of a recipe as they are now. What can not be looked at, since it does not lie here, counts as unchanged; of
    providers, files and folders that ``models:`` names what the recipe says of them counts, as reading them takes too long."""

    def __init__(self, assembly: Assembly, store: RunFolder):
        self.assembly, self.store = assembly, store
        self._files: dict[tuple[str, str], Mapping[str, str] | None] = {}

    def since(self, evaluator: Evaluator, model: str, facts: Mapping[str, Any]) -> str:
        """What became of a model or of the rows since ``facts`` were written about them, in words; empty where nothing did."""
        decides = facts.get("decides", {})
        if model in self.assembly.models:
            if self._other(model, decides.get("model", {})):
                return "became another model"
        else:
            trained = (self.store.read_json(f"train/{model}/stage.json") or {}).get("key")
            if model != "base" and decides.get("stage", trained) != trained:
                return "was trained again"
            if self._base is not None and decides.get("base", self._base) != self._base:
                return "became another model"
        files = self._split(evaluator)
        return "got other rows" if files is not None and facts.get("files", files) != files else ""

    def _other(self, model: str, known: Mapping[str, Any]) -> bool:
        """Whether a model under models: is another than the one that answered. Its bound may be the evaluation's own."""
        now = self.assembly.models[model].identity()
        return any(known[name] != now[name] for name in known.keys() & now.keys() - {"max_tokens"})

    @cached_property
    def _base(self) -> Mapping[str, Any] | None:
        trainer = self.assembly.trainer
        try:
            return trainer.deciding(None, self.assembly.context("eval", offline=True)) if trainer else None
        except FactoryError:
            return None

    def _split(self, evaluator: Evaluator) -> Mapping[str, str] | None:
        """The files that hold the rows, as an evaluation's facts have them."""
        place = evaluator.data, evaluator.split
        if place not in self._files:
            try:
                paths = self.store.data_files(*place)
            except FactoryError:
                self._files[place] = None
            else:
                root = self.store.root
                self._files[place] = {path.relative_to(root).as_posix(): file_hash(path) for path in paths}
        return self._files[place]
