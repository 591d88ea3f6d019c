"""Packs: facts, prompts, and what is said of one that is not whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import jinja2
import pytest
from jinja2.sandbox import SecurityError

from langmill.errors import MissingInput, RecipeError
from langmill.parts.languages import Pack, faults_of, read_pack
from langmill.rows import Chat, Choice, Message, Text

ENGLISH = Path(__file__).resolve().parents[2] / "languages/langmill_languages/en"
ITEM = Choice("Which vessel?", ("Aorta", "Vena cava", "Portal vein"), (0, 2), "Both carry blood.")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The English pack, to be spoilt."""
    return Path(shutil.copytree(ENGLISH, tmp_path / "en"))


def edit(folder: Path, old: str, new: str) -> None:
    path = folder / "pack.yaml"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def without(folder: Path, section: str) -> Pack:
    lines, kept, skipping = (folder / "pack.yaml").read_text("utf-8").splitlines(), [], False
    for line in lines:
        skipping = line.startswith(f"{section}:") or (skipping and line.startswith(" "))
        kept += [] if skipping else [line]
    (folder / "pack.yaml").write_text("\n".join(kept) + "\n", "utf-8")
    return read_pack(folder)


def test_a_prompt_is_messages_and_a_hash_of_its_templates(folder: Path) -> None:
    pack = read_pack(folder)
    prompt = pack.render("expand", question="What is a fever?", answer="A raised temperature.")
    assert [message.role for message in prompt.messages] == ["system", "user"]
    assert "What is a fever?" in prompt.messages[1].content
    assert prompt.hash.startswith("en/expand@")
    assert pack.render("expand", question="Other", answer="Other").hash == prompt.hash, "of the templates, not the row"
    (folder / "prompts/expand.jinja").write_text("{{ question }} {{ answer }}", "utf-8")
    changed = read_pack(folder)
    assert changed.render("expand", question="Q", answer="A").hash != prompt.hash
    assert changed.fingerprint != pack.fingerprint
    (folder / "prompts/system.jinja").unlink()
    assert [message.role for message in read_pack(folder).render("ask", passage="P", count=1).messages] == ["user"]


def test_row_text_is_a_value_and_never_a_template(folder: Path) -> None:
    nasty = "{{ 7 * 7 }} {% for x in y %} {{ ''.__class__ }} </question> <script>"
    prompt = read_pack(folder).render("expand", question=nasty, answer="A")
    assert nasty in prompt.messages[1].content


def test_a_template_runs_in_a_sandbox(folder: Path) -> None:
    path = folder / "prompts/expand.jinja"
    path.write_text("{{ question.__class__.__mro__ }}", "utf-8")
    with pytest.raises((SecurityError, jinja2.UndefinedError)):
        read_pack(folder).render("expand", question="Q", answer="A")
    path.write_text("{% include '/etc/passwd' %}", "utf-8")
    with pytest.raises(jinja2.TemplateNotFound):
        read_pack(folder).render("expand", question="Q", answer="A")
    path.write_text("{{ qestion }}", "utf-8")
    with pytest.raises(jinja2.UndefinedError):
        read_pack(folder).render("expand", question="Q", answer="A")


def test_an_item_becomes_a_conversation(folder: Path) -> None:
    pack = read_pack(folder)
    user, assistant = pack.conversation(ITEM)
    assert user.role == "user"
    assert all(f"{letter}. {option}" in user.content for letter, option in zip("ABC", ITEM.options, strict=True))
    assert assistant == Message("assistant", "Both carry blood.\nAnswer: A, C")
    short = pack.conversation(Choice(ITEM.question, ITEM.options, (1,)))
    assert short[-1].content == "B"
    chat = Chat.of("Q?", "A.")
    assert pack.conversation(chat) == chat.messages
    with pytest.raises(ValueError, match="not a conversation"):
        pack.conversation(Text("running"))
    with pytest.raises(MissingInput, match=r"10 letters, an item has 11 options: add letters to choice\.letters"):
        pack.lettered([str(n) for n in range(11)])


def test_a_missing_section_switches_off_what_needs_it(folder: Path) -> None:
    pack = without(folder, "choice")
    assert pack.choice is None
    with pytest.raises(MissingInput, match=r"no section 'choice'.*factory languages check en"):
        pack.conversation(ITEM)
    assert pack.render("expand", question="Q", answer="A").messages
    assert faults_of(pack) == ["section 'choice' is missing"]


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("numbers", "numbers are compared by digits alone"),
        ("units", "units are known by their symbols alone, frequencies and routes not at all"),
        ("cues", "negations, sides and bounds in words are not compared"),
    ],
)
def test_a_missing_section_of_facts_is_told_with_what_the_guards_do_without_it(
    folder: Path, section: str, words: str
) -> None:
    assert faults_of(without(folder, section)) == [f"section '{section}' is missing: {words}"]


def test_a_missing_prompt_names_those_there_are(folder: Path) -> None:
    (folder / "prompts/expand.jinja").unlink()
    pack = read_pack(folder)
    with pytest.raises(MissingInput, match=r"no prompt 'expand': possible: ask, .*prompts/expand\.jinja"):
        pack.render("expand", question="Q", answer="A")


def test_every_fault_of_a_pack_is_found(folder: Path) -> None:
    assert faults_of(read_pack(folder)) == []
    prompts = folder / "prompts"
    (prompts / "expand.jinja").write_text("{{ question }}", "utf-8")
    (prompts / "ask.jinja").write_text("{{ pasage }}", "utf-8")
    (prompts / "explain.jinja").write_text("{% if %}", "utf-8")
    (prompts / "translate.jinja").unlink()
    (prompts / "exapnd.jinja").write_text("x", "utf-8")
    edit(folder, "[A, B,", "[A, A,")
    faults = faults_of(read_pack(folder))
    for words in (
        "prompt 'expand' never shows its answer",
        "prompt 'ask' does not render: 'pasage' is undefined",
        "prompt 'explain' does not render",
        "prompt 'translate' is missing: add prompts/translate.jinja",
        "prompt 'exapnd' is asked for by no built-in step",
        "choice.letters holds a letter twice",
    ):
        assert any(fault.startswith(words) for fault in faults), (words, faults)
    assert len(faults) == 6


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("code: en", "code: fr", "identity.code"),
        ("code: en", "code: English", "identity.code"),
        ("native_name:", "nativ_name:", "identity.nativ_name"),
        ("scripts: [Latn]", "scripts: []", "identity.scripts"),
        ("text:", "txt:", "txt"),
        ('answer: "Answer: {letters}"', 'answer: "Answer"', "choice.answer"),
    ],
)
def test_a_fault_of_the_file_has_its_line(folder: Path, old: str, new: str, place: str) -> None:
    edit(folder, old, new)
    line = next(n for n, text in enumerate((folder / "pack.yaml").read_text("utf-8").splitlines(), 1) if new in text)
    with pytest.raises(RecipeError) as caught:
        read_pack(folder)
    assert f"pack.yaml:{line}: {place}: " in str(caught.value)


def test_a_pack_without_its_file(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such file"):
        read_pack(tmp_path / "xx")
