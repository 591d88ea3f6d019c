"""The tokens and masks of hand-written rows under six chat templates, as they were recorded, and what they must add up to.

Run as a module (``python -m tests.plugins.test_token_golden``) it records them anew: look at the difference before you keep it.
"""

from __future__ import annotations

import hashlib
import json
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from tests.recording import CONTEXT, LANGUAGES, TEMPLATES, hand_written, learnt, made, row_of, small_tokenizer

from langmill.api import Chat, Choice, Message, Row

GOLDEN = Path(__file__).parents[1] / "golden/tokens"
SAID = some.text(some.characters(exclude_categories=["Cs", "Co"]), min_size=1, max_size=40).filter(
    lambda text: text.strip() == text and "<|" not in text
)


def shown(language: str) -> list[Row]:
    """Of a language: a conversation of two turns, one with a system turn, an item with several right answers and a rationale."""
    rows = hand_written(language)
    several = (
        row for row in rows if isinstance(row.body, Choice) and len(row.body.answers) > 1 and row.body.explanation
    )
    system = (row for row in rows if isinstance(row.body, Chat) and row.body.messages[0].role == "system")
    turns = (row for row in rows if isinstance(row.body, Chat) and len(row.body.messages) == 4)
    return [next(turns), next(system), next(several)]


def record(template: str) -> dict[str, list[dict[str, Any]]]:
    """By language: each example's text by its hash, its ids, and its mask as lengths of stretches without and with loss in turn."""
    tokenizer = small_tokenizer(template)
    found: dict[str, list[dict[str, Any]]] = {}
    for language in LANGUAGES:
        examples = made(shown(language), tokenizer).examples
        found[language] = [
            {
                "text": hashlib.sha256(tokenizer.decode(examples.ids_of(one)).encode()).hexdigest()[:16],
                "ids": " ".join(map(str, examples.ids_of(one).tolist())),
                "mask": [
                    len(list(same)) for _, same in groupby(examples.labels_of(one).tolist(), lambda label: label >= 0)
                ],
                "learnt": tokenizer.decode(learnt(examples, one)),
            }
            for one in range(len(examples))
        ]
    return found


@pytest.mark.parametrize("template", sorted(TEMPLATES))
def test_tokens_and_masks_are_those_on_record(template: str) -> None:
    assert record(template) == json.loads((GOLDEN / f"{template}.json").read_text("utf-8"))


@pytest.mark.parametrize("template", sorted(TEMPLATES))
@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_on_record_is_the_words_and_the_ends(language: str, template: str) -> None:
    recorded = json.loads((GOLDEN / f"{template}.json").read_text("utf-8"))[language]
    for row, one in zip(shown(language), recorded, strict=True):
        said = [m.content for m in CONTEXT.pack(language).conversation(row.body) if m.role == "assistant"]
        assert one["learnt"] == "".join(words + TEMPLATES[template][0] for words in said)
        assert len(one["ids"].split()) == sum(one["mask"])
        assert len(one["mask"]) - (one["mask"][-1] == 1) in (2 * len(said), 2 * len(said) + 1, 2 * len(said) - 1)


@pytest.fixture(scope="module", params=["smollm2", "llama3", "plain"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return small_tokenizer(request.param)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(some.lists(some.lists(some.tuples(SAID, SAID), min_size=1, max_size=3), min_size=1, max_size=6), some.booleans())
def test_trained_tokens_are_answers_and_ends_packed_or_not(
    tokenizer: Any, talks: list[list[tuple[str, str]]], packed: bool
) -> None:
    import numpy as np

    from langmill_plugins.trainers.loop.batches import collate
    from langmill_plugins.trainers.order.steps import arranged

    turns = [
        [m for asked, said in talk for m in (Message("user", asked), Message("assistant", said))] for talk in talks
    ]
    done = made([row_of(Chat(tuple(turn)), number=number) for number, turn in enumerate(turns)], tokenizer, 512)
    answers = [said for row in done.examples.row.tolist() for _, said in talks[row]]
    count = sum(len(tokenizer(said, add_special_tokens=False)["input_ids"]) + 1 for said in answers)
    assert len(done.examples) + sum(done.left_out.values()) == len(talks)
    assert set(done.left_out_by_reason()) <= {"no_clear_edge", "unknown_character"}
    assert done.examples.trained == count
    if not len(done.examples):
        return
    steps = arranged(
        np.arange(len(done.examples)), np.asarray([len(done.examples)]), done.examples.lengths, batch=2, accumulate=2,
        most_steps=None, size=512 if packed else None, seed=3,
    )  # fmt: skip
    labels = [
        collate(steps.micro(n), done.examples, 0, "packed" if packed else "padded")["labels"]
        for n in range(len(steps.micros))
    ]
    assert sum(int((part >= 0).sum()) for part in labels) == count


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for name in TEMPLATES:
        (GOLDEN / f"{name}.json").write_text(json.dumps(record(name), ensure_ascii=False, indent=1) + "\n", "utf-8")
