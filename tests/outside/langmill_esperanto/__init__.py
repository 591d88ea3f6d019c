"""Esperanto: a language that another package brings. All of it is in ``eo/``; this file only says that it is there."""

from collections.abc import Iterator

from langmill.api import Pack, hookimpl, packs_in


@hookimpl
def register_languages() -> Iterator[Pack]:
    """Every pack folder of this package."""
    return packs_in(__name__)
