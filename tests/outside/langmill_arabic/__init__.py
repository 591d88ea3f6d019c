"""Arabic, as a package of its own: the facts that the guards need, in ``ar/``, for a language that no built-in pack covers."""

from collections.abc import Iterator

from langmill.api import Pack, hookimpl, packs_in


@hookimpl
def register_languages() -> Iterator[Pack]:
    """Every pack folder of this package."""
    return packs_in(__name__)
