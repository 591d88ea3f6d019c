"""The nine hooks. Learn one, know nine: each takes nothing and returns what the plugin brings, by the name a recipe uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pluggy

from langmill.api import LLM, Augmenter, Evaluator, Executor, Exporter, Filter, Loader, Pack, Trainer

hookspec = pluggy.HookspecMarker("langmill")


class Hooks:
    """What a plugin may bring."""

    @hookspec
    def register_loaders(self) -> Mapping[str, type[Loader]]:  # type: ignore[empty-body]
        """Ways to read rows: ``sources:`` in a recipe."""

    @hookspec
    def register_augmenters(self) -> Mapping[str, type[Augmenter]]:  # type: ignore[empty-body]
        """Steps that make rows of rows: ``steps:``."""

    @hookspec
    def register_filters(self) -> Mapping[str, type[Filter]]:  # type: ignore[empty-body]
        """Steps that drop rows: ``steps:``."""

    @hookspec
    def register_languages(self) -> Iterable[Pack]:  # type: ignore[empty-body]
        """Facts and prompts of languages: ``languages:``."""

    @hookspec
    def register_llms(self) -> Mapping[str, type[LLM]]:  # type: ignore[empty-body]
        """Models that answer: ``llm:``; the name is the provider in PROVIDER/MODEL."""

    @hookspec
    def register_exporters(self) -> Mapping[str, type[Exporter]]:  # type: ignore[empty-body]
        """Ways to write rows: ``write:``."""

    @hookspec
    def register_trainers(self) -> Mapping[str, type[Trainer]]:  # type: ignore[empty-body]
        """Ways to train: ``train:``."""

    @hookspec
    def register_evaluators(self) -> Mapping[str, type[Evaluator]]:  # type: ignore[empty-body]
        """Scores: ``eval:``."""

    @hookspec
    def register_executors(self) -> Mapping[str, type[Executor]]:  # type: ignore[empty-body]
        """Places to run: ``run:``."""
