"""What the plugins bring, by kind and name: installed ones, and files beside the recipe.

Entry points are listed when the registry is made and imported when it is first asked; a class is taken from its
plugin's mapping when a recipe uses it. A plugin that does not load is remembered, and spoils only recipes that miss a
name.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.abc import SourceLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy
from pydantic import ValidationError

from langmill.api import LLM, Augmenter, Evaluator, Executor, Exporter, Filter, Loader, Pack, Part, Trainer
from langmill.errors import Fault, RecipeError, nearest
from langmill.hooks import Hooks
from langmill.recipe.code import code_hash
from langmill.recipe.shape import explained, validated
from langmill.yaml12 import Loc, place_of

PROJECT = "langmill"
KINDS: Mapping[str, type[Part]] = {
    "loaders": Loader,
    "augmenters": Augmenter,
    "filters": Filter,
    "llms": LLM,
    "exporters": Exporter,
    "trainers": Trainer,
    "evaluators": Evaluator,
    "executors": Executor,
}
"""Every kind of part by the end of its hook's name; languages are packs and no parts."""
OTHERS = "litellm"
"""The class under ``llms`` for every provider that no plugin brings by name."""


@dataclass(frozen=True)
class Plugin:
    """One plugin: its name for people, what it is known by in code identities, and how to get at it."""

    name: str
    identity: str
    load: Callable[[], object]


class Registry:
    """All parts and packs. Two plugins that bring one name are an error which names both."""

    def __init__(self, plugins: Sequence[object] = (), *, plugin_files: Sequence[Path] = ()):
        """The registry of plugins at hand (modules or objects with hooks) and of plugin files."""
        self.plugin_files = tuple(plugin_files)
        self._broken: dict[str, str] = {}
        self._installed = False
        self._plugins = [_at_hand(plugin) for plugin in plugins]
        self._files = [_plugin_of_file(path) for path in plugin_files]
        self._owners: dict[type[Part], Plugin] = {}

    @classmethod
    def of_installed(cls, plugin_files: Sequence[Path] = ()) -> Registry:
        """The registry of every installed plugin and of these files. Raises RecipeError for a file that is gone."""
        registry = cls(plugin_files=plugin_files)
        registry._installed = True
        registry._plugins = _entry_points()
        return registry

    def with_files(self, plugin_files: Sequence[Path]) -> Registry:
        """The same plugins and these files beside the recipe. Raises RecipeError for a file that is gone."""
        registry = Registry(plugin_files=(*self.plugin_files, *plugin_files))
        registry._installed, registry._plugins = self._installed, self._plugins
        return registry

    def __reduce__(self) -> tuple[Callable[[tuple[Path, ...]], Registry], tuple[tuple[Path, ...]]]:
        if not self._installed:
            raise TypeError("a registry of plugins at hand stays in its process; Registry.of_installed() crosses")
        return _elsewhere, (self.plugin_files,)

    # --- names ---

    @property
    def plugins(self) -> dict[str, str]:
        """The plugins that load, by name, with their identity."""
        return {plugin.name: plugin.identity for plugin, _ in self._live}

    @property
    def broken(self) -> dict[str, str]:
        """The plugins that do not load or whose hooks fail, by name, with their error."""
        self._catalogue, self._packs  # noqa: B018  (asking is what finds them out)
        return dict(self._broken)

    def names(self, kind: str) -> tuple[str, ...]:
        """The names a kind has, sorted."""
        return tuple(sorted(self._catalogue[kind]))

    def owner(self, kind: str, use: str) -> str:
        """The name of the plugin that brings a part."""
        return self._catalogue[kind][use][0].name

    def missing(self, word: str, use: str, known: Iterable[str]) -> str:
        """What to say of a name that no plugin brings: what there is, and which plugins could not be asked."""
        text = f"there is no {word} '{use}'; {nearest(use, known)}"
        for name, error in self._broken.items():
            text += f". The plugin {name} may bring it, but it did not load: {error}"
        return text

    def get(self, kind: str, use: str) -> type[Part]:
        """The class of a part. Raises RecipeError when it is unknown, is no part of that kind, or does not import."""
        if use not in self._catalogue[kind]:
            raise RecipeError(self.missing(kind.removesuffix("s"), use, self.names(kind)))
        plugin, mapping = self._catalogue[kind][use]
        try:
            part = mapping[use]
        except Exception as error:
            raise RecipeError(f"'{use}' of the plugin {plugin.name} does not load: {_told(error)}") from error
        wanted = KINDS[kind]
        if not (isinstance(part, type) and issubclass(part, wanted)):
            raise RecipeError(f"'{use}' of the plugin {plugin.name} is no {wanted.__name__}, but {part!r}")
        if inspect.isabstract(part):
            lacking = ", ".join(sorted(part.__abstractmethods__))
            raise RecipeError(f"'{use}' of the plugin {plugin.name} is unfinished: {part.__name__} lacks {lacking}()")
        self._owners.setdefault(part, plugin)
        return part

    def packs(self) -> Mapping[str, Pack]:
        """The language packs, by code; the plugins are asked once."""
        return self._packs

    # --- parts ---

    def build(
        self,
        kind: str,
        use: str,
        options: Mapping[str, Any],
        at: Callable[[Loc, str], Fault],
        loc: Loc,
        faults: list[Fault],
        key: str = "use",
    ) -> Part | None:
        """A part with its options; on faults they are added, each at its option, and there is no part.

        ``at`` makes a fault of a location and a message, ``loc`` is where the part stands in the recipe, ``key`` is the
        option that names the part.
        """
        try:
            cls = self.get(kind, use)
        except RecipeError as error:
            faults.append(at((*loc, key), str(error)))
            return None
        try:
            return validated(cls, options)
        except ValidationError as error:
            faults += [at((*loc, *inner), message) for inner, message in explained(error, cls, options)]
        except RecipeError as error:
            faults.append(at(loc, str(error)))
        return None

    def part(self, kind: str, use: str, options: Mapping[str, Any], place: str) -> Part:
        """A part that the recipe was checked for already, built again, as other processes do. Raises RecipeError."""
        faults: list[Fault] = []
        part = self.build(
            kind, use, options, lambda loc, text: Fault("recipe", 1, place + place_of(loc), text), (), faults
        )
        if part is None:
            raise RecipeError(faults)
        return part

    def code_id(self, part: type[Part]) -> str:
        """What tells two states of a part's code apart: its plugin's distribution and version (a plugin file's sha256), and
        a hash of its source files."""
        plugin = self._owners[part]
        found = "" if part.__module__.startswith(_PRIVATE) else code_hash(part.__module__)
        return f"{plugin.identity} sha256:{found}" if found else plugin.identity

    # --- asking the plugins ---

    @cached_property
    def _live(self) -> list[tuple[Plugin, pluggy.HookRelay]]:
        """The plugins that load, each with its own hooks. A file beside the recipe was asked for, so it must load."""
        live = []
        for plugin in (*self._plugins, *self._files):
            try:
                live.append((plugin, _hooks(plugin)))
            except (Exception, SystemExit) as error:
                if plugin in self._files:
                    raise RecipeError(f"the plugin file {plugin.name} does not load: {_told(error)}") from error
                self._broken[plugin.name] = _told(error)
        return live

    @cached_property
    def _catalogue(self) -> dict[str, dict[str, tuple[Plugin, Mapping[str, type[Part]]]]]:
        catalogue: dict[str, dict[str, tuple[Plugin, Mapping[str, type[Part]]]]] = {kind: {} for kind in KINDS}
        clashes = []
        for plugin, hooks in self._live:
            for kind, known in catalogue.items():
                for mapping in self._asked(plugin, getattr(hooks, f"register_{kind}")):
                    if not isinstance(mapping, Mapping):
                        self._broken[plugin.name] = f"register_{kind}() gives no mapping of names to classes"
                        continue
                    for name in mapping:
                        if name in known:
                            clashes.append(_clash(f"{kind.removesuffix('s')} '{name}'", known[name][0], plugin))
                        known.setdefault(name, (plugin, mapping))
        if clashes:
            raise RecipeError("\n".join(clashes))
        return catalogue

    @cached_property
    def _packs(self) -> dict[str, Pack]:
        packs: dict[str, tuple[Plugin, Pack]] = {}
        clashes = []
        for plugin, hooks in self._live:
            for found in self._asked(plugin, hooks.register_languages):
                try:
                    for pack in found:
                        if pack.code in packs:
                            clashes.append(_clash(f"language '{pack.code}'", packs[pack.code][0], plugin))
                        packs.setdefault(pack.code, (plugin, pack))
                except Exception as error:
                    self._broken[plugin.name] = _told(error)
        if clashes:
            raise RecipeError("\n".join(clashes))
        return {code: pack for code, (_, pack) in sorted(packs.items())}

    def _asked(self, plugin: Plugin, hook: Callable[[], list[Any]]) -> list[Any]:
        """A hook's results; a plugin whose hook fails is remembered as broken."""
        try:
            return hook()
        except Exception as error:
            self._broken[plugin.name] = _told(error)
            return []


# --- plugins ---


def _hooks(plugin: Plugin) -> pluggy.HookRelay:
    """A plugin's hooks, in a manager of its own: results then belong to a plugin, and a misspelt hook to its author."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    manager.register(plugin.load(), plugin.name)
    manager.check_pending()
    return manager.hook


def _at_hand(plugin: object) -> Plugin:
    name = str(getattr(plugin, "__name__", type(plugin).__name__))
    return Plugin(name, name, lambda: plugin)


def _entry_points() -> list[Plugin]:
    """Installed plugins, not yet imported."""
    found: dict[str, Plugin] = {}
    for point in importlib.metadata.entry_points(group=PROJECT):
        identity = f"{point.dist.name} {point.dist.version}" if point.dist else "no distribution"
        name = f"{point.name} ({identity})"
        found.setdefault(name, Plugin(name, identity, point.load))
    return [plugin for _, plugin in sorted(found.items())]


def _clash(what: str, first: Plugin, second: Plugin) -> str:
    return f"the {what} comes from two plugins, {first.name} and {second.name}: uninstall one, or rename its part"


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


@lru_cache(maxsize=8)
def _elsewhere(plugin_files: tuple[Path, ...]) -> Registry:
    """The registry in another process, made once for all work sent there."""
    return Registry.of_installed(plugin_files)


# --- plugin files ---

_PRIVATE = "_langmill_plugin_file_"


def plugin_file(folder: Path, text: str) -> Path:
    """The plugin file a recipe in ``folder`` names. Raises RecipeError when it lies outside the folder or does not load."""
    path = Path(text)
    if path.is_absolute() or ".." in path.parts or "\\" in text:
        raise RecipeError(
            f"'{text}' leads out of the recipe's folder: a plugin file lies beside the recipe or below it"
        )
    root, whole = folder.resolve(), (folder / path).resolve()
    if not whole.is_relative_to(root):
        raise RecipeError(f"'{text}' is a link out of the recipe's folder: put the file itself there")
    if whole.suffix != ".py" or not whole.is_file():
        here = sorted(str(item.relative_to(root)) for item in root.glob("*.py"))
        raise RecipeError(f"'{text}' is no Python file beside the recipe; {nearest(text, here)}")
    plugin = _plugin_of_file(whole)
    try:
        _hooks(plugin)
    except (Exception, SystemExit) as error:
        raise RecipeError(f"the plugin file '{text}' does not load: {_told(error)}") from error
    return whole


class _Bytes(SourceLoader):
    """Loads a module from bytes already read: what was hashed is what runs, and nothing appears beside a recipe."""

    def __init__(self, path: Path, content: bytes):
        self.path, self.content = str(path), content

    def get_filename(self, fullname: str) -> str:
        return self.path

    def get_data(self, path: str | bytes) -> bytes:
        if path != self.path:
            raise OSError(f"no {path!r} beside a plugin file")
        return self.content


def _plugin_of_file(path: Path) -> Plugin:
    """A plugin file. Raises RecipeError when it can not be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecipeError(f"the plugin file {path} can not be read: {error.strerror}") from None
    digest = hashlib.sha256(content).hexdigest()
    return Plugin(path.name, f"sha256:{digest}", lambda: _module_of(path, content, digest))


def _module_of(path: Path, content: bytes, digest: str) -> ModuleType:
    """The module of a plugin file, under a private name made of its place and content; imported once a process."""
    place = hashlib.sha256(str(path).encode()).hexdigest()
    name = f"{_PRIVATE}{place[:12]}_{digest[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    loader = _Bytes(path, content)
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: pydantic looks annotations up there
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
