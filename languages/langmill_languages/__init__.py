"""The built-in language packs: every folder here that has a pack.yaml. The only Python of this room."""

from collections.abc import Iterator

from langmill.api import Pack, hookimpl, packs_in


@hookimpl
def register_languages() -> Iterator[Pack]:
    """Hand over every pack folder."""
    return packs_in(__name__)
