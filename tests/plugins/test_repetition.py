"""The filter for repetition: loops and repeated passages are found in every script, sound text stays."""

from __future__ import annotations

import json
import os
import random
import string
from pathlib import Path

import pytest

from langmill.api import Body, Chat, Choice, Drop, Flag, Origin, Row, StepContext, Text, packs_in
from langmill_plugins.filters.repetition import Repetition
from langmill_plugins.text.repeating import STRETCH, repeats

PACKS = {pack.code: pack for pack in packs_in("langmill_languages")}
CONTEXT = StepContext("datasets.x.steps[0]", 17, PACKS, Path())
WITH_DATA = pytest.mark.skipif("FACTORY_DATA" not in os.environ, reason="FACTORY_DATA is not set")
ASKED = "What helps against a cold?"
SOUND = (
    "A cold passes by itself within ten days. Drink enough, rest, and air the room; a spoon of honey at night eases the cough of "
    "children over one year. See a doctor when the fever lasts longer than three days or breathing becomes hard."
)


def row(body: Body, id: str = "s/1") -> Row:
    return Row(id, "en", "train", id, body, Origin("s", id, ("CC0-1.0",)))


def reasons(*bodies: Body, part: Repetition | None = None) -> list[str]:
    verdicts = (part or Repetition()).judge([row(body) for body in bodies], CONTEXT)
    return [verdict.reason if isinstance(verdict, Drop) else verdict.flag if verdict else "" for verdict in verdicts]


LOOPS = {
    "a word": f"{SOUND} It is{' very' * 12}",
    "from the start": "the " * 10,
    "a letter": f"{SOUND} {'A' * 60}",
    "no blanks": f"{SOUND} {'ha' * 30}",
    "a sentence": SOUND + " Rest is best." * 6,
    "in the middle": SOUND[:100] + " and so on and on" * 8 + SOUND[100:],
    "over lines": SOUND + "\n\n   - Drink enough.\n" * 5,
    "a paragraph": f"{SOUND}\n" * 5,
    "a unit that repeats within": SOUND + " of the eye of the ear of the eye of the nose" * 6,
    "a numbered list": "Vitamins:\n"
    + "\n".join(f"{number}. **Vitamin {'BC'[number % 2]}**" for number in range(1, 20)),
    "Chinese": "感冒一般十天内自行好转，多喝水，注意休息。" + "请咨询医生。" * 5,
    "Japanese": "風邪は十日ほどで自然に治ります。" + "はい" * 10,
    "Korean": "감기는 열흘 안에 저절로 낫습니다. " + "네, 맞습니다. " * 5,
    "Russian": "Простуда проходит сама за десять дней. " + "Пейте больше воды. " * 4,
    "Arabic": "تزول نزلة البرد من تلقاء نفسها. " + "اشرب الماء. " * 6,
    "full stops": "感冒一般十天内自行好转。" + "。" * 40,
}


@pytest.mark.parametrize("name", LOOPS)
def test_loops_are_found(name: str) -> None:
    assert reasons(Chat.of(ASKED, LOOPS[name]), Text(LOOPS[name])) == ["loop", "loop"]


def test_a_drop_shows_the_unit_and_how_often() -> None:
    [verdict] = Repetition().judge([row(Chat.of(ASKED, SOUND + " Rest is best." * 6))], CONTEXT)
    assert verdict == Drop("loop", "6 times '. Rest is best'")
    [verdict] = Repetition().judge([row(Text(f"{SOUND} {SOUND} {SOUND}"))], CONTEXT)
    assert verdict == Drop("repeated_passages", "67% of the text stood in it before")


def test_passages_that_come_again_between_others() -> None:
    parts = [SOUND, "First, wait.", SOUND, "Then wait longer.", SOUND, "At last see someone."]
    assert reasons(Text("\n\n".join(parts))) == ["repeated_passages"]
    assert reasons(Text("\n\n".join(parts)), part=Repetition(share=0.7)) == [""]
    chinese = "感冒一般十天内自行好转，多喝水，注意休息，发热超过三天应当去看医生。"
    assert reasons(Text(f"{chinese}第一。{chinese}第二。{chinese}")) == ["repeated_passages"]


@pytest.mark.parametrize(
    "body",
    [
        Text(SOUND),
        Text(""),
        Text(" \n\t "),
        Chat.of(SOUND, SOUND),  # an answer may repeat its question
        Choice("Which is it?", (SOUND, SOUND + " Or not.", SOUND + " Or so."), (0,), explanation=SOUND),
        Text("No, no, no. " + SOUND),
        Text(SOUND + " She said: ha ha ha!"),
        Text(f"{SOUND}\n+{'-' * 40}+\n| {SOUND} |\n+{'-' * 40}+"),  # a table has rules
        Text(f"{SOUND} The name of the bone is {'_' * 35}."),
        Text("1. Wash. 2. Rinse. 3. Dry. 4. Wash. 5. Rinse. 6. Dry."),
        Text("GATTACA " + "CAG" * 8),
    ],
)  # fmt: skip
def test_sound_text_stays(body: Body) -> None:
    assert reasons(body) == [""]


def test_rows_are_told_apart_however_they_are_batched() -> None:
    bodies: list[Body] = [
        Text(SOUND),
        Text(LOOPS["a word"]),
        Text(""),
        Text(LOOPS["Chinese"]),
        Chat.of(SOUND, LOOPS["Korean"]),
    ] * 40
    found = reasons(*bodies)
    assert found == ["", "loop", "", "loop", "loop"] * 40
    assert found == [reason for body in bodies for reason in reasons(body)]
    assert repeats([SOUND, SOUND, SOUND])[2].share == 0, "what another row says is no repetition"


def test_flags_by_option() -> None:
    [verdict] = Repetition(action="flag").judge([row(Text(LOOPS["a word"]))], CONTEXT)
    assert verdict == Flag("loop")


def test_a_loop_is_found_anywhere_in_a_long_text_and_bad_input_gets_a_verdict() -> None:
    letters = random.Random(1)
    noise = "".join(letters.choices(string.ascii_lowercase + "    ", k=3 * STRETCH))
    place = 2 * STRETCH + 5000
    assert reasons(Text(noise), Text(noise[:place] + LOOPS["a sentence"] + noise[place:])) == ["", "loop"]
    assert reasons(Text("a" * (10 << 20)), Text("\ud800" * 50), Text("\ud800 \udfff ok"), Text("\x00\x01 \u202eabc 😷")) == [
        "loop", "loop", "", "",
    ]  # fmt: skip


@pytest.mark.data
@WITH_DATA
def test_few_sound_rows_of_public_sets_are_taken_for_repetition() -> None:
    data = Path(os.environ["FACTORY_DATA"])
    chats = [
        json.loads(line) for line in (data / "bentsao-huatuo/data/llama_data.json").read_text("utf-8").splitlines()
    ]
    doctor = json.loads((data / "genmedgpt-5k/chatdoctor5k.json").read_text("utf-8"))
    korean = (data / "kormedmcqa-cot/data/sft/train_low_crand_n1000_r42.jsonl").read_text("utf-8").splitlines()
    sets: dict[str, list[Body]] = {
        "huatuo": [Chat.of(item["instruction"], item["output"]) for item in chats],
        "doctor": [Chat.of(item["input"], item["output"]) for item in doctor],
        "korean": [Text(json.loads(line)["messages"][-1]["content"]) for line in korean],
        "abstracts": [
            Text(item) for item in json.loads((data / "huatuogpt2-unification/pubmed_test.json").read_text("utf-8"))
        ],
    }
    for name, bodies in sets.items():
        found = [reason for reason in reasons(*bodies) if reason]
        assert len(found) < 0.005 * len(bodies), (name, found)
        looped = [
            Text((body.text if isinstance(body, Text) else body.messages[-1].content) + " And so it is." * 5)
            for body in bodies
        ]
        assert set(reasons(*looped)) == {"loop"}, name
