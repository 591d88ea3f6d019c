"""What Tesseract needs to read pictures of text (by tesserocr): nothing is installed beside it but language data."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from langmill.api import MissingInput, missing_package

# Tesseract's names of its language data.
NAMES = {
    "ar": "ara", "de": "deu", "en": "eng", "es": "spa", "fr": "fra", "it": "ita", "ja": "jpn", "ko": "kor", "nl": "nld",
    "pl": "pol", "pt": "por", "ru": "rus", "tr": "tur", "uk": "ukr", "vi": "vie", "zh": "chi_sim", "zh-Hans": "chi_sim",
    "zh-Hant": "chi_tra", "zh-TW": "chi_tra",
}  # fmt: skip


class Data(NamedTuple):
    """Language data: the folder it is in, and Tesseract's name of it."""

    folder: Path
    languages: str


def data_of(language: str, place: str) -> Data:
    """The data of a language: BCP-47, or Tesseract's own names (``chi_tra+eng``). Raises MissingInput when the package, or the
    data, is not on this machine."""
    if find_spec("tesserocr") is None:
        raise missing_package("reading pictures of text", "tesserocr", "ocr")
    name = NAMES.get(language) or NAMES.get(language.partition("-")[0], language)
    return Data(_folder(name, place), name)


def _folder(name: str, place: str) -> Path:
    """The folder with the data of all languages of ``name``; raises MissingInput with what to install."""
    needed = name.split("+")
    told = os.environ.get("TESSDATA_PREFIX", "")
    shared = (Path(sys.prefix, "share"), *map(Path, ("/usr/share", "/usr/local/share", "/opt/homebrew/share")))
    looked = [*([Path(told), Path(told, "tessdata")] if told else []), *(folder / "tessdata" for folder in shared)]
    looked += sorted(Path("/usr/share/tesseract-ocr").glob("*/tessdata"), reverse=True)
    for folder in looked:
        if all((folder / f"{one}.traineddata").is_file() for one in needed):
            return folder
    package = needed[0].replace("_", "-")
    raise MissingInput(
        f"{place}.ocr: Tesseract's data for '{name}' ({', '.join(f'{one}.traineddata' for one in needed)}) is in none of "
        f"{', '.join(map(str, looked))}. Install it (Debian, Ubuntu: apt install tesseract-ocr-{package}; macOS: brew install "
        "tesseract-lang), or put the file into a folder and set TESSDATA_PREFIX to it"
    )
