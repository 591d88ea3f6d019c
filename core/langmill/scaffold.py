"""``factory new``: a plugin package or a language pack that already works."""

from __future__ import annotations

import keyword
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from langmill.disk.whole import write_text
from langmill.errors import MissingInput, RecipeError

PLUGIN = '''"""A langmill plugin."""

from collections.abc import Sequence

from langmill.api import Drop, Field, Filter, Flag, Row, StepContext, hookimpl, words


class {name_class}(Filter):
    """Drop a row with too few characters."""

    least: int = Field(1, ge=0, description="fewest characters kept")

    def judge(self, rows: Sequence[Row], context: StepContext) -> list[Drop | Flag | None]:
        """One verdict a row."""
        return [None if len(words(row.body)) >= self.least else Drop("too_few_characters") for row in rows]


@hookimpl
def register_filters() -> dict[str, type[Filter]]:
    """Bring the filter, by the name a recipe uses."""
    return {{"{name}": {name_class}}}
'''

PYPROJECT = """[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "langmill-{dashed}"
version = "0.1.0"
dependencies = ["langmill"]

[project.entry-points.langmill]
{name} = "langmill_{name}"
"""

LANGUAGE_FACE = '''"""The language pack {code} for langmill."""

from collections.abc import Iterator

from langmill.api import Pack, hookimpl, packs_in


@hookimpl
def register_languages() -> Iterator[Pack]:
    """Hand over every pack folder."""
    return packs_in(__name__)
'''


def new_plugin(name: str, into: Path) -> Iterator[str]:
    """A package with one filter. Raises RecipeError for a name that no module can have."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise RecipeError(f"'{name}' can not be a plugin's name: lower-case letters, digits and _")
    root = _fresh(into / f"langmill-{name.replace('_', '-')}")
    name_class = "".join(part.capitalize() for part in name.split("_"))
    write_text(root / f"langmill_{name}.py", PLUGIN.format(name=name, name_class=name_class))
    write_text(root / "pyproject.toml", PYPROJECT.format(name=name, dashed=name.replace("_", "-")))
    yield f"{root}: a filter '{name}', ready to use"
    yield f"next: pip install -e {root}, then in a recipe's steps: {{use: {name}, least: 10}}"
    yield f"or without a package: put langmill_{name}.py beside a recipe that says plugins: [langmill_{name}.py]"


def new_language(code: str, into: Path) -> Iterator[str]:
    """A language package: the English pack under another code, to be rewritten. Raises RecipeError for a bad code."""
    from langmill.recipe.registry import Registry

    if not re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]+)*", code):
        raise RecipeError(f"'{code}' is not a language code: BCP-47, e.g. pt, uk, zh-Hant")
    packs = Registry.of_installed().packs()
    if code in packs:
        raise RecipeError(f"'{code}' is there already ({packs[code].identity.name}): factory languages check {code}")
    if "en" not in packs or packs["en"].folder is None:
        raise MissingInput("a new language starts from the pack 'en', which is not installed")
    name = code.lower().replace("-", "_")
    root = _fresh(into / f"langmill-{code.lower()}")
    module = root / f"langmill_{name}"
    shutil.copytree(packs["en"].folder, module / code)
    facts = (module / code / "pack.yaml").read_text("utf-8")
    write_text(module / code / "pack.yaml", re.sub(r"(?m)^(\s*code:\s*)en\b", rf"\g<1>{code}", facts, count=1))
    write_text(module / "__init__.py", LANGUAGE_FACE.format(code=code))
    write_text(root / "pyproject.toml", PYPROJECT.format(name=name, dashed=code.lower()))
    yield f"{module / code}: the English pack under the code {code}; rewrite pack.yaml and prompts/ in your language"
    yield f"next: pip install -e {root}, then: factory languages check {code}"


def _fresh(root: Path) -> Path:
    if root.exists():
        raise RecipeError(f"{root} is there already: choose another name, or --into another folder")
    return root
