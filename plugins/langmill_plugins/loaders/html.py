"""Web pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from langmill.api import RowFault, SourceContext

from .documents import DocumentLoader
from .main_text import main_text, page_text
from .reading import LINE, readable
from .records import Entry


class Html(DocumentLoader):
    """Reads saved web pages: their main text (by trafilatura) as passages of running text.

    A file is a document. Menus, comments, tables and footers are left out. Without `language:` each page's own word counts (`lang`
    of its first tag, or `data-iso6393`). Pages are UTF-8 or in the encoding that they declare. Needs the extra `corpus`.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".html", ".htm", ".xhtml")

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """The passages of a page; its fault when it can not be read, has no text or says no language."""
        name = self.name(path, context)
        language = self.language or ""
        try:
            with readable(path):
                if path.stat().st_size > LINE:
                    raise RowFault("too_long", f"more than {LINE:,} bytes")
                data = path.read_bytes()
            paragraphs, said = main_text(page_text(data))
            language = self.told(said, context)
        except RowFault as fault:
            yield Entry(name, path.name, fault, None, language)
            return
        yield from self.cut(name, path.name, paragraphs, language, context, between="\n")
