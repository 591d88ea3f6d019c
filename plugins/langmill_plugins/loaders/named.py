"""What a file's name tells of its language: ``tatoeba.ara-eng.ara``, ``corpus.en.txt``, ``xquad.zh.json``, ``dev.eng_Latn``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from langmill_plugins.text.codes import two_letters


class Named(NamedTuple):
    """A file's name taken apart: what parallel editions share, and the language, empty when the name tells none."""

    edition_of: str
    language: str


def named(path: Path, *endings: str) -> Named:
    """The last part of a name as its language, after one of ``endings`` (``.txt``) is taken off. ISO 639-3 codes become those
    of two letters where there are any, since packs have these; a region stays outside."""
    name = next((path.name.removesuffix(ending) for ending in endings if path.name.endswith(ending)), path.name)
    rest, _, code = name.rpartition(".")
    if not rest or not re.fullmatch(r"[a-z]{2,3}(?:[-_][A-Za-z]{2,4})?", code):
        return Named(name, "")
    return Named(rest, code_of(code))


def code_of(tag: str) -> str:
    """A tag of a file or a document as packs name languages: ``es-LA`` is es, ``cmn`` and ``zho_Hans`` are zh."""
    return two_letters(re.split("[-_]", tag)[0].lower())
