"""The pages people read, as templates beside this file: the report (HTML) and the cards (Markdown).

What rows, sources and licences say goes in as a value and is escaped for the page it goes into; it is never a template.
"""

from __future__ import annotations

import re
from typing import Any

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def page(template: str, **values: object) -> str:
    """A template of this folder filled in. HTML is escaped by itself; Markdown asks for it with the filter ``cell``."""
    from importlib.resources import files

    import jinja2

    folder = files(__name__)

    def source(name: str) -> str | None:
        path = folder / name
        return path.read_text("utf-8") if path.is_file() else None

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(source),
        autoescape=template.endswith(".html.jinja"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(cell=cell, number=number, plain=plain, money=money, percent=percent)
    return environment.get_template(template).render(values)


def number(value: float | None) -> str:
    """A count with thin spaces between thousands, which every language reads the same; empty for None."""
    return "" if value is None else f"{value:,.0f}".replace(",", "\u202f")


def percent(share: float) -> str:
    """A share in 0..1 as a percentage with one decimal."""
    return f"{100 * share:.1f}"


def money(dollars: float) -> str:
    """US dollars; small sums keep two figures that say something."""
    return f"{dollars:.2f}" if dollars >= 1 or dollars == 0 else f"{dollars:.2g}"


def plain(text: Any, length: int = 1600) -> str:
    """Text to show: without control characters, cut when it is long."""
    shown = _CONTROLS.sub("\ufffd", str(text))
    return shown if len(shown) <= length else shown[:length].rstrip() + " …"


def cell(text: Any) -> str:
    """Text inside a Markdown line or table: nothing in it can end the cell, open a tag or make a link."""
    shown = " ".join(_CONTROLS.sub("\ufffd", str(text)).split())
    return re.sub(r"([\\|`*\[\]<>&]|(?<!\w)_|_(?!\w))", lambda found: _ESCAPES.get(found[1], "\\" + found[1]), shown)


_ESCAPES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
