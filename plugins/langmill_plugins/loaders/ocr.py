"""Pictures of text read by Tesseract, inside this process (tesserocr): nothing is installed beside it but language data."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from langmill.api import MissingInput, RowFault, missing_package

# Tesseract's names of its language data.
NAMES = {
    "ar": "ara", "de": "deu", "en": "eng", "es": "spa", "fr": "fra", "it": "ita", "ja": "jpn", "ko": "kor", "nl": "nld",
    "pl": "pol", "pt": "por", "ru": "rus", "tr": "tur", "uk": "ukr", "vi": "vie", "zh": "chi_sim", "zh-Hans": "chi_sim",
    "zh-Hant": "chi_tra", "zh-TW": "chi_tra",
}  # fmt: skip
DPI = 300
MOST_PIXELS = 40_000_000  # an A3 page at 300 dots an inch has 17 million


class Reader:
    """Reads rendered pages in one language; close it, for it holds Tesseract's memory.

    ``language`` is BCP-47, or Tesseract's own names (``chi_tra+eng``). Raises MissingInput when the package, or the data of the
    language, is not on this machine.
    """

    def __init__(self, language: str, place: str):
        try:
            import tesserocr
        except ImportError:
            raise missing_package("reading pictures of text", "tesserocr", "ocr") from None
        name = NAMES.get(language) or NAMES.get(language.partition("-")[0], language)
        folder = _folder(name, place)
        self._api = tesserocr.PyTessBaseAPI(path=str(folder), lang=name)

    def close(self) -> None:
        """Give Tesseract's memory back."""
        self._api.End()

    def read(self, page: Any) -> str:
        """The text of a page (of pypdfium2). Raises RowFault broken_pdf for one that can not be drawn."""
        import pypdfium2

        inches = page.get_width() * page.get_height() / 72**2
        scale = min(DPI, (MOST_PIXELS / max(inches, 0.01)) ** 0.5) / 72
        try:
            bitmap = page.render(scale=scale, grayscale=True)
        except pypdfium2.PdfiumError as error:
            raise RowFault("broken_pdf", f"the page can not be drawn: {error}") from None
        try:
            data = bytes(bitmap.buffer)
            self._api.SetImageBytes(data, bitmap.width, bitmap.height, 1, bitmap.stride)
            self._api.SetSourceResolution(max(70, round(scale * 72)))
            return str(self._api.GetUTF8Text())
        finally:
            self._api.Clear()
            bitmap.close()


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
