"""Which files a part's code is: its own module and those of the same package that it imports, however deep."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from functools import cache
from pathlib import Path


def code_hash(module: str) -> str:
    """sha256, 16 digits, over the source files of a module and of what it imports from its own package, also inside functions:
    an editable install changes without a version. Empty for a module without a source file."""
    todo, seen = [module], dict[str, bytes]()
    while todo:
        name = todo.pop()
        if name not in seen:
            source, imported = _read(name)
            seen[name] = source
            todo += [each for each in imported if each.partition(".")[0] == module.partition(".")[0]]
    if not seen[module]:
        return ""
    digest = hashlib.sha256()
    for name, source in sorted(seen.items()):
        digest.update(f"{name}\0{len(source)}\0".encode() + source)
    return digest.hexdigest()[:16]


@cache
def _read(name: str) -> tuple[bytes, tuple[str, ...]]:
    """A module's source and the modules that it names; empty for what is no module with a source. Nothing is imported."""
    path = _place(name)
    if path is None:
        return b"", ()
    source = path.read_bytes()
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            base = ".".join(package.split(".")[: len(package.split(".")) + 1 - node.level]) if node.level else ""
            base = ".".join(part for part in (base, node.module) if part)
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return source, tuple(dict.fromkeys(found))


def _place(name: str) -> Path | None:
    """A module's source file; found without importing the packages that it lies in, as find_spec would."""
    if file := getattr(sys.modules.get(name), "__file__", None):
        return Path(file) if file.endswith(".py") else None
    top, *steps = name.split(".")
    spec = importlib.util.find_spec(top)
    for folder in spec.submodule_search_locations or () if spec else ():
        module = Path(folder, *steps)
        for path in (module.with_suffix(".py"), module / "__init__.py"):
            if path.is_file():
                return path
    return None
