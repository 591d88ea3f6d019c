"""Figures of what is no longer there, and of models that say the same whatever they are asked: told, never shown as they were."""

from __future__ import annotations

import shutil
from typing import Any

from tests.core.test_report_scores import asks, page_of, scores_part, told
from tests.evaluations import Exam

from langmill.report.scores import evaluations
from langmill.report.summary import summary


def test_scores_of_another_base_or_of_other_rows_are_left_out_and_named(finished: Any) -> None:
    Exam("exams.asked", "base", {"en": 4}, base="another").write(finished.store)
    facts = Exam("exams.asked", "first", {"en": 5}, stage="k").write(finished.store)
    (name, *_) = facts["files"]
    Exam("exams.asked", "first", {"en": 5}, stage="k").write(finished.store, files={**facts["files"], name: "ab" * 32})
    lines = told(finished)
    assert "exams.asked: base became another model after it was scored: factory run FOLDER --only eval" in lines
    assert "exams.asked: first got other rows after it was scored: factory run FOLDER --only eval" in lines
    assert "base became another model after it was scored here" in scores_part(page_of(finished))
    assert {score["model"] for score in summary(finished.assembly, finished.store)["scores"]} == {"second"}


def test_scores_of_a_provider_that_the_recipe_no_longer_names_are_left_out(finished: Any) -> None:
    run = asks(finished, "open", models=("llm",))
    now = dict(run.assembly.models["llm"].identity())
    for decides, stale in (
        ({**now, "max_tokens": 7}, {}),
        ({**now, "model": "small/other"}, {"llm": "became another model"}),
    ):
        Exam("open", "llm", {"en": 5}).write(run.store, decides={"model": decides})
        assert evaluations(run.assembly, run.store)[0].stale == stale
    Exam("open", "llm", {"en": 5}).write(run.store, decides={"model": now}, files={"test-00000.parquet": "ab" * 32})
    assert evaluations(run.assembly, run.store)[0].stale == {"llm": "got other rows"}
    shutil.rmtree(run.store.dataset("exams") / "data")
    assert evaluations(run.assembly, run.store)[0].stale == {}, "what does not lie here can not be told"


def test_only_places_show_a_model_that_says_the_same(finished: Any) -> None:
    facts = Exam("exams.asked", "base", {"en": 4}, chooses="A").write(finished.store)
    (table,) = facts["tables"]
    ways = (
        ({}, "A in en"),
        ({"places": False}, None),  # of languages, say, nearly all should be in one column
        ({"columns": ["A", "B", "C", "none"], "rows": ["A", "B", "C"], "cells": [[1, 1, 1, 40]] * 3}, None),
        ({"columns": ["B", "none"], "rows": ["B"], "cells": [[9, 1]]}, None),
        ({"columns": ["A", "B", "none"], "rows": ["A", "B"], "cells": [[20, 1, 30], [20, 0, 30]]}, "A in en"),
    )  # fmt: skip
    for changed, said in ways:
        Exam("exams.asked", "base", {"en": 4}).write(finished.store, tables=[{**table, **changed}])
        found = {model: words for _, model, words in evaluations(finished.assembly, finished.store)[0].always_same(str)}
        assert found.get("base") == said, changed
