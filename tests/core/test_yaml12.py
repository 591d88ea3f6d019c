"""The YAML reader: the core schema of YAML 1.2, the line of everything, and refusals that guard people."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langmill.errors import RecipeError
from langmill.yaml12 import draft_text, dump, load_file, load_text, load_value, place_of


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),  # Norwegian
        ("on", "on"),
        ("Yes", "Yes"),
        ("12:30", "12:30"),
        ("2024-02-29", "2024-02-29"),
        ("1_000", "1_000"),
        ("2e-4", 2e-4),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("0o14", 12),
        ("014", 14),
        ("0x1F", 31),
        ("+7", 7),
        ("True", True),
        ("~", None),
        ("null", None),
        ("", None),
        ("'2e-4'", "2e-4"),
        ('"true"', "true"),
        ("<<", "<<"),
        ("[1, {a: off}]", [1, {"a": "off"}]),
    ],
)
def test_words_go_by_the_core_schema(text: str, value: object) -> None:
    found = load_value(text)
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_read() -> None:
    assert load_value(".nan") != load_value(".nan")


def test_every_key_and_item_has_its_line() -> None:
    document = load_text("a: 1\nb:\n  # a remark\n  - x\n  - {use: y,\n     deep: [1,\n 2]}\n", "r.yaml")
    assert document.line(("a",)) == 1
    assert document.line(("b", 0)) == 4
    assert document.line(("b", 1, "use")) == 5
    assert document.line(("b", 1, "deep")) == 6
    assert document.line(("b", 1, "deep", 1)) == 7
    assert document.line(("b", 1, "absent", "deeper")) == 5  # the nearest ancestor
    assert document.line(("absent",)) == 1
    assert str(document.fault(("b", 1, "use"), "is odd")) == "r.yaml:5: b[1].use: is odd"
    assert place_of(()) == "(top)"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: 2\na: 3", 3, "twice, first on line 1"),
        ("a: !!python/object:os.system x", 1, "tag"),
        ("a: !!str 5", 1, "tag"),
        ("a:\n  b: &x 1", 2, "anchors"),
        ("a: 1\nb: *x", 2, "aliases"),
        ("a: 1\n3: x", 2, "a key is text"),
        ("a: 1\n[x]: x", 2, "a key is text"),
        ("a: 1\n---\nb: 2", 2, "second document"),
        ("a: 1\nb: [1", 2, "not YAML"),
        ("a: 1\n\tb: 2", 2, "not YAML"),
        ("a: 1\nb: \x07", 2, "U+0007"),
        ('a: "\\ud800"', 1, "surrogate"),
        ("a: " + "9" * 5000, 1, "5000 digits"),
        ("[" * 5000, 1, "nested more than"),
        ("- " * 5000, 1, "nested more than"),
    ],
)
def test_what_is_refused_says_where(text: str, line: int, words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_text(text, "r.yaml")
    (fault,) = caught.value.faults
    assert (fault.file, fault.line) == ("r.yaml", line)
    assert words in fault.message


def test_all_refusals_come_at_once_and_a_draft_reads_past_them() -> None:
    draft = draft_text("a: 1\na: 2\nb: &x 3\nc: !t 4\nd: 5", "r.yaml")
    assert [fault.line for fault in draft.faults] == [2, 3, 4]
    assert draft.data == {"a": 1, "b": 3, "c": 4, "d": 5}
    with pytest.raises(RecipeError) as caught:
        load_text("a: 1\na: 2\nb: &x 3", "r.yaml")
    assert len(caught.value.faults) == 2


def test_a_bomb_of_aliases_is_refused_and_not_unfolded() -> None:
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    with pytest.raises(RecipeError, match="aliases are not read"):
        load_text("a0: &a0 [x]\n" + "\n".join(levels), "bomb.yaml")


def test_files_are_utf8_with_or_without_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes("\ufeffname: 日本語 и 😀\n".encode())
    assert load_file(path).data == {"name": "日本語 и 😀"}
    path.write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(RecipeError, match=r"r\.yaml:2: .*0xe9 is not UTF-8"):
        load_file(path)
    with pytest.raises(RecipeError, match="there is no such file"):
        load_file(tmp_path / "absent.yaml")
    with pytest.raises(RecipeError, match="directory"):
        load_file(tmp_path)


def test_an_empty_file_is_nothing() -> None:
    assert load_text("# only a remark\n", "r.yaml").data is None


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
    | st.sampled_from(
        ["no", "2e-4", "0o14", ".5", "1.", "~", "", "null", "2024-01-01", "a: b", "- a", "x\n\n y \n", "<<"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5).filter(str.isprintable), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(plain)
def test_what_is_dumped_is_read_back(data: object) -> None:
    assert load_text(dump(data), "lock").data == data


def test_dump_keeps_the_order_of_keys_and_the_letters() -> None:
    assert dump({"z": (1, 2), "a": "日本"}) == "z:\n- 1\n- 2\na: 日本\n"
