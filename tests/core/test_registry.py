"""The registry: real pluggy plugins, names that clash, plugins that do not load, and files beside a recipe."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from langmill.api import Drop, Field, Filter, Flag, Pack, Part, Row, StepContext, hookimpl
from langmill.errors import Fault, RecipeError
from langmill.parts.facts import Identity
from langmill.recipe.code import _read, code_hash
from langmill.recipe.registry import KINDS, Registry, plugin_file
from langmill.yaml12 import place_of

FILE_PLUGIN = '''\
from langmill.api import Drop, Filter, hookimpl


class Mine(Filter):
    """Drop short rows."""

    least: int = 1

    def judge(self, rows, context):
        return [None if len(row.id) >= self.least else Drop("short") for row in rows]


@hookimpl
def register_filters():
    return {"mine": Mine}
'''


class Short(Filter):
    """Drop rows with few words."""

    least: int = Field(1, ge=0, description="fewest words")
    against: str | None = Field(None, description="an earlier data set")

    def judge(self, rows: Sequence[Row], context: StepContext) -> list[Drop | Flag | None]:
        return [None for _ in rows]


def pack(code: str) -> Pack:
    identity = Identity(
        code=code,
        name=code,
        native_name=code,
        scripts=("Latn",),
        lid_labels=(code,),
        sample="a sentence of some length",
    )
    return Pack(identity, None, None, {})


class Toy:
    """A plugin with one filter and one language."""

    @hookimpl
    def register_filters(self) -> Mapping[str, type[Filter]]:
        return {"short": Short}

    @hookimpl
    def register_languages(self) -> Iterator[Pack]:
        yield pack("xx")


class Second(Toy):
    """Another plugin that brings the same names."""


class Misspelt:
    """A plugin with a hook that does not exist."""

    @hookimpl
    def register_filter(self) -> Mapping[str, type[Filter]]:
        return {"other": Short}


class Asking:
    """A plugin whose hook wants to be handed something."""

    @hookimpl
    def register_filters(self, registry: object) -> Mapping[str, type[Filter]]:
        return {"other": Short}


class Failing:
    """A plugin whose language pack is broken, after one that is whole."""

    @hookimpl
    def register_languages(self) -> Iterator[Pack]:
        yield pack("yy")
        raise RecipeError("zz/pack.yaml:3: identity.code: is missing")


class Odd:
    """A plugin that registers what is no filter."""

    @hookimpl
    def register_filters(self) -> Mapping[str, type]:
        return {"number": int}

    @hookimpl
    def register_loaders(self) -> Mapping[str, type]:
        return {"unfinished": KINDS["loaders"]}


class Lazy(Mapping[str, type[Filter]]):
    """A catalogue that imports a class when it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getitem__(self, name: str) -> type[Filter]:
        self.asked.append(name)
        if name == "absent":
            raise ModuleNotFoundError("No module named 'toy_engine'")
        return Short

    def __iter__(self) -> Iterator[str]:
        return iter(("short", "absent"))

    def __len__(self) -> int:
        return 2


def at(loc: tuple[str | int, ...], message: str) -> Fault:
    return Fault("r.yaml", 1, place_of(loc), message)


def build(registry: Registry, options: Mapping[str, object], use: str = "short") -> Part | list[Fault]:
    faults: list[Fault] = []
    part = registry.build("filters", use, options, at, ("steps", 0), faults)
    assert (part is None) == bool(faults)
    return part or faults


def test_names_classes_and_packs() -> None:
    registry = Registry([Toy()])
    assert registry.names("filters") == ("short",)
    assert registry.names("loaders") == ()
    assert registry.get("filters", "short") is Short
    assert registry.owner("filters", "short") == "Toy"
    assert list(registry.packs()) == ["xx"]


def test_a_part_is_built_strictly() -> None:
    registry = Registry([Toy()])
    built = build(registry, {"least": 3, "splits": ["train"]})
    assert isinstance(built, Short)
    assert (built.least, built.splits) == (3, ("train",))
    again = registry.part("filters", "short", built.model_dump(mode="json"), "steps[0]")
    assert again == built


@pytest.mark.parametrize(
    ("options", "place", "words"),
    [
        ({"least": "three"}, "steps[0].least", "found the text 'three': must be a valid integer"),
        ({"least": "3"}, "steps[0].least", "found the text '3'"),
        ({"least": True}, "steps[0].least", "found true"),
        ({"least": None}, "steps[0].least", "found nothing"),
        ({"least": -1}, "steps[0].least", "found the number -1: must be greater than or equal to 0"),
        ({"splits": ["train", "tset"]}, "steps[0].splits[1]", "Did you mean 'test'?"),
        (
            {"leest": 1},
            "steps[0].leest",
            "there is no 'leest' here; possible: against, least, splits. Did you mean 'least'?",
        ),
    ],
)
def test_a_wrong_option_says_where_what_and_what_else(options: dict[str, object], place: str, words: str) -> None:
    found = build(Registry([Toy()]), options)
    assert isinstance(found, list)
    (fault,) = found
    assert fault.place == place
    assert words in fault.message


def test_two_plugins_with_one_name_are_an_error_that_names_both() -> None:
    registry = Registry([Toy(), Second()])
    with pytest.raises(RecipeError, match=r"filter 'short' comes from two plugins, Toy and Second"):
        registry.names("loaders")
    with pytest.raises(RecipeError, match=r"language 'xx' comes from two plugins, Toy and Second"):
        registry.packs()


def test_a_plugin_that_does_not_load_spoils_only_unknown_names() -> None:
    registry = Registry([Toy(), Misspelt(), Asking()])
    assert isinstance(build(registry, {}), Short)
    found = build(registry, {}, "other")
    assert isinstance(found, list)
    assert "there is no filter 'other'; possible: short" in found[0].message
    assert "The plugin Misspelt may bring it, but it did not load" in found[0].message
    assert "register_filter" in found[0].message
    assert set(registry.broken) == {"Misspelt", "Asking"}


def test_a_broken_pack_leaves_the_others() -> None:
    registry = Registry([Toy(), Failing()])
    assert list(registry.packs()) == ["xx", "yy"]
    assert "zz/pack.yaml:3" in registry.missing("language pack", "zz", registry.packs())


def test_what_is_no_part_is_refused_when_it_is_used() -> None:
    registry = Registry([Odd()])
    assert registry.names("filters") == ("number",)
    with pytest.raises(RecipeError, match="'number' of the plugin Odd is no Filter"):
        registry.get("filters", "number")
    with pytest.raises(RecipeError, match=r"unfinished: Loader lacks load\(\)"):
        registry.get("loaders", "unfinished")


def test_classes_are_asked_for_one_by_one() -> None:
    catalogue = Lazy()

    class Catalogue:
        @hookimpl
        def register_filters(self) -> Mapping[str, type[Filter]]:
            return catalogue

    registry = Registry([Catalogue()])
    assert registry.names("filters") == ("absent", "short")
    assert catalogue.asked == []
    assert isinstance(build(registry, {}), Short)
    assert catalogue.asked == ["short"]
    with pytest.raises(RecipeError, match="does not load: ModuleNotFoundError: No module named 'toy_engine'"):
        registry.get("filters", "absent")


def test_a_part_is_known_by_its_plugin_and_its_source() -> None:
    registry = Registry([Toy()])
    code = registry.code_id(registry.get("filters", "short"))
    assert code == f"Toy sha256:{code_hash(__name__)}"


def test_a_part_is_known_by_the_modules_it_needs_too_and_none_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "shop_of_parts"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "one.py").write_text("import json\ndef use():\n    from shop_of_parts import two\n    return two\n")
    (folder / "two.py").write_text("from .three import word\n")
    (folder / "three.py").write_text("word = 1\nraise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    (folder / "four.py").write_text("")
    (folder / "__init__.py").write_text("from . import four\n")
    found = []
    for changed in ("", "three", "one", "json"):
        if changed in ("three", "one"):
            (folder / f"{changed}.py").write_text(f"{(folder / changed).with_suffix('.py').read_text()}# changed\n")
        _read.cache_clear()
        found.append(code_hash("shop_of_parts.one"))
    assert len(set(found)) == 3 and found[2] == found[3]
    assert not {"shop_of_parts.one", "shop_of_parts.two", "shop_of_parts.three"} & set(sys.modules)
    assert code_hash("no_such_module") == code_hash("sys") == ""


# --- plugin files ---


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "outside.py").write_text(FILE_PLUGIN, "utf-8")
    inside = tmp_path / "recipes"
    inside.mkdir()
    (inside / "mine.py").write_text(FILE_PLUGIN, "utf-8")
    return inside


def test_a_file_beside_the_recipe_is_a_plugin(folder: Path) -> None:
    path = plugin_file(folder, "mine.py")
    registry = Registry([Toy()]).with_files([path])
    assert registry.names("filters") == ("mine", "short")
    mine = registry.get("filters", "mine")
    assert registry.code_id(mine) == f"sha256:{hashlib.sha256(FILE_PLUGIN.encode()).hexdigest()}"
    assert mine.__module__.startswith("_langmill_plugin_file_")
    assert sorted(item.name for item in folder.iterdir()) == ["mine.py"]  # nothing appears beside it
    assert Registry(plugin_files=[path]).get("filters", "mine") is mine  # imported once a process
    path.write_text(FILE_PLUGIN.replace("least: int = 1", "least: int = 2"), "utf-8")
    changed = Registry(plugin_files=[path])
    assert changed.get("filters", "mine")().model_dump()["least"] == 2
    assert changed.code_id(changed.get("filters", "mine")) != registry.code_id(mine)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("../outside.py", "leads out of the recipe's folder"),
        ("sub/../../outside.py", "leads out of the recipe's folder"),
        ("link.py", "is a link out of the recipe's folder"),
        ("linked/outside.py", "is a link out of the recipe's folder"),
        ("mime.py", "Did you mean 'mine.py'?"),
        ("notes.txt", "is no Python file"),
        (".", "is no Python file"),
        ("broken.py", "does not load: SyntaxError"),
        ("leaving.py", "does not load: SystemExit"),
        ("misspelt.py", "does not load: PluginValidationError"),
    ],
)
def test_files_that_lie_elsewhere_or_do_not_load_are_refused(folder: Path, text: str, words: str) -> None:
    (folder / "link.py").symlink_to(folder.parent / "outside.py")
    (folder / "linked").symlink_to(folder.parent)
    (folder / "notes.txt").write_text("notes", "utf-8")
    (folder / "broken.py").write_text("def (", "utf-8")
    (folder / "leaving.py").write_text("raise SystemExit(3)", "utf-8")
    (folder / "misspelt.py").write_text(FILE_PLUGIN.replace("register_filters", "register_filterz"), "utf-8")
    with pytest.raises(RecipeError) as caught:
        plugin_file(folder, text)
    assert words in str(caught.value)


def test_absolute_paths_are_refused_even_inside(folder: Path) -> None:
    with pytest.raises(RecipeError, match="leads out"):
        plugin_file(folder, str(folder / "mine.py"))


def test_a_link_that_stays_inside_is_fine(folder: Path) -> None:
    (folder / "alias.py").symlink_to("mine.py")
    assert plugin_file(folder, "alias.py").name == "mine.py"


# --- installed plugins ---


def install(site: Path, name: str, module: str) -> None:
    """A distribution as an installer leaves it."""
    info = site / f"{name}-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n", "utf-8")
    (info / "entry_points.txt").write_text(f"[langmill]\n{name} = {name}_part\n", "utf-8")
    (site / f"{name}_part.py").write_text(module, "utf-8")


ASK = """\
import pickle, sys
from pathlib import Path
from langmill.recipe.registry import Registry
registry = Registry.of_installed([Path(sys.argv[1])])
listed = [name for name in sys.modules if name.endswith("_part")]
assert not listed, f"imported while listing: {listed}"
there = pickle.loads(pickle.dumps(registry))
assert pickle.loads(pickle.dumps(registry)) is there, "made twice in one process"
assert {"mine", "toy"} <= set(there.names("filters")), there.names("filters")
print(there.code_id(there.get("filters", "toy")).rsplit(" ", 1)[0])
print(next(f"{name}: {error}" for name, error in there.broken.items() if "torn" in name))
"""


def test_installed_plugins_are_listed_first_and_imported_when_asked(folder: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    install(site, "toy", FILE_PLUGIN.replace('"mine"', '"toy"'))
    install(site, "torn", "import no_such_engine\n")
    path = f"{site}:{':'.join(item for item in sys.path if item)}"
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(folder / "mine.py")],
        env={"PYTHONPATH": path, "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "toy 1.2",
        "torn (torn 1.2): ModuleNotFoundError: No module named 'no_such_engine'",
    ]


def test_a_registry_of_plugins_at_hand_does_not_cross() -> None:
    with pytest.raises(TypeError, match="stays in its process"):
        pickle.dumps(Registry([Toy()]))
