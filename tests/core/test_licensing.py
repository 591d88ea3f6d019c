"""Licences by their names: the declared table, spellings, words behind a name, unions, contradictions; and the terms of writers."""

from __future__ import annotations

import pytest

from langmill.licensing.licenses import conflicts, strictest, table, terms, union, unlisted
from langmill.licensing.writers import terms_of, writer_terms
from langmill.report.cards import _front_license
from langmill.rows import Chat, Origin, Row

YES, NO = True, False


@pytest.mark.parametrize(
    ("license", "family", "answers"),  # commercial, derivatives, share-alike, attribution
    [
        ("CC0-1.0", "cc0", (YES, YES, NO, NO)),
        ("CC0 1.0 Universal", "cc0", (YES, YES, NO, NO)),
        ("public domain", "public-domain", (YES, YES, NO, NO)),
        ("CC-BY-4.0", "cc-by", (YES, YES, NO, YES)),
        ("cc by 4.0", "cc-by", (YES, YES, NO, YES)),
        ("CC-BY-2.0-FR", "cc-by", (YES, YES, NO, YES)),
        ("Creative Commons Attribution 4.0 International License", "cc-by", (YES, YES, NO, YES)),
        ("CC-BY-SA-3.0-IGO", "cc-by-sa", (YES, YES, YES, YES)),
        ("CC-BY-ND-4.0", "cc-by-nd", (YES, NO, NO, YES)),
        ("CC-BY-NC-2.0", "cc-by-nc", (NO, YES, NO, YES)),
        ("CC BY-NC-ND 3.0 DE", "cc-by-nc-nd", (NO, NO, NO, YES)),
        ("CC-BY-SA-NC-4.0", "cc-by-nc-sa", (NO, YES, YES, YES)),
        ("Creative Commons Attribution-NonCommercial-ShareAlike 4.0", "cc-by-nc-sa", (NO, YES, YES, YES)),
        ("KOGL Type 1", "kogl-type-1", (YES, YES, NO, YES)),
        ("KOGL Type 4", "kogl-type-4", (NO, NO, NO, YES)),
        ("GPLv3", "gpl", (YES, YES, YES, YES)),
        ("GPL-2.0-or-later", "gpl", (YES, YES, YES, YES)),
        ("AGPL-3.0+", "agpl", (YES, YES, YES, YES)),
        ("ODC-By-1.0", "odc-by", (YES, YES, NO, YES)),
        ("ODbL-1.0", "odbl", (YES, YES, YES, YES)),
        ("PDDL-1.0", "public-domain", (YES, YES, NO, NO)),
        ("Apache License, Version 2.0", "apache", (YES, YES, NO, YES)),
        ("The MIT License", "mit", (YES, YES, NO, YES)),
        ("Etalab-2.0", "etalab", (YES, YES, NO, YES)),
        ("Licence Ouverte / Open Licence 2.0", "etalab", (YES, YES, NO, YES)),
        ("Llama 3.1 Community License Agreement", "llama", (YES, YES, YES, YES)),
        ("academic use only", "non-commercial", (NO, None, None, None)),
        ("all rights reserved", "reserved", (NO, NO, NO, None)),
        ("unknown", "", (None, None, None, None)),
        ("MIT-like, see site", "", (None, None, None, None)),
        ("CC-BY-4.0-NC", "", (NO, None, None, None)),  # NC is no country
        ("CC", "", (None, None, None, None)),  # any of the six
        ("CC‑BY‑NC‑4.0", "cc-by-nc", (NO, YES, NO, YES)),
        ("CC BY−NC–ND 4.0", "cc-by-nc-nd", (NO, NO, NO, YES)),
        ("ＣＣ－ＢＹ－ＮＣ", "cc-by-nc", (NO, YES, NO, YES)),
        ("cc_by_nc", "cc-by-nc", (NO, YES, NO, YES)),
        ("BY-NC-SA 4.0", "cc-by-nc-sa", (NO, YES, YES, YES)),
        ("Attribution-NonCommercial 4.0 International", "cc-by-nc", (NO, YES, NO, YES)),
        ("https://creativecommons.org/licenses/by-nc/4.0/", "cc-by-nc", (NO, YES, NO, YES)),
        ("http://creativecommons.org/licenses/by-nc-nd/3.0/de/deed.de", "cc-by-nc-nd", (NO, NO, NO, YES)),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "cc0", (YES, YES, NO, NO)),
        ("www.apache.org/licenses/LICENSE-2.0.txt", "apache", (YES, YES, NO, YES)),
        ("https://opensource.org/licenses/MIT", "mit", (YES, YES, NO, YES)),
        ("https://opendatacommons.org/licenses/by/1-0/", "odc-by", (YES, YES, NO, YES)),
        ("https://example.org/licenses/by/4.0/", "", (None, None, None, None)),
        ("LicenseRef-CC-BY-NC-4.0", "", (NO, None, None, None)),
        ("LicenseRef-MIT", "", (None, None, None, None)),  # somebody's own text under a name
        ("free for research", "", (NO, None, None, None)),
    ],
)
def test_a_licence_is_known_by_every_spelling(license: str, family: str, answers: tuple[bool | None, ...]) -> None:
    its = terms(license)
    assert (its.family, its.license) == (family, license)
    assert (its.commercial, its.derivatives, its.share_alike, its.attribution) == answers


@pytest.mark.parametrize(
    ("license", "commercial", "derivatives"),
    [
        ("Apache-2.0, academic use only by its readme", NO, YES),
        ("MIT (for research purposes)", NO, YES),
        ("CC-BY-4.0; not for commercial use", NO, YES),
        ("MIT; the exams may not be distorted", YES, NO),
        ("Apache-2.0 by its readme", YES, YES),
        ("MIT, research and commercial use allowed", YES, YES),
        ("MIT, any purpose except commercial", NO, YES),
        ("MIT, any purpose", YES, YES),
        ("MIT, any purpose in teaching", NO, YES),
        ("MIT, non-commercial use permitted", NO, YES),
        ("MIT (noncommercial use is allowed)", NO, YES),
        ("MIT, academic and commercial use permitted", YES, YES),
        ("MIT, commercial use allowed for research partners", NO, YES),
        ("MIT, commercial use permitted in the EU", None, YES),
        ("Apache-2.0, commercial use allowed only after registration", None, YES),
        ("MIT, commercial use not allowed", NO, YES),
        ("MIT, for non-profit use", NO, YES),
        ("CC-BY-4.0 (NC)", NO, YES),
        ("CC BY 4.0 — research only", NO, YES),
        ("MIT; images all rights reserved", YES, NO),
        ("MIT, commercial use allowed, no derivatives", YES, NO),
        ("MIT (code), CC-BY-NC-ND-4.0 (data)", NO, NO),
        ("CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/)", YES, YES),
        ("CC BY 4.0: https://creativecommons.org/licenses/by-nc/4.0/", NO, YES),
        ("Apache-2.0 WITH LLVM-exception", YES, YES),
        ("MIT, with a rider that nobody knows", None, YES),
        ("CC-BY-NC-4.0, with a rider that nobody knows", NO, YES),
    ],
)
def test_words_behind_a_name_make_it_stricter(license: str, commercial: bool | None, derivatives: bool | None) -> None:
    assert (terms(license).commercial, terms(license).derivatives) == (commercial, derivatives)


@pytest.mark.parametrize(
    ("license", "commercial", "derivatives"),
    [
        ("MIT OR CC-BY-NC-4.0", YES, YES),  # one may choose
        ("MIT or CC-BY-NC-4.0", YES, YES),
        ("MIT AND CC-BY-NC-4.0", NO, YES),  # both hold
        ("MIT and CC BY-NC 4.0", NO, YES),
        ("MIT AND unknown", None, None),
        ("CC-BY-4.0, CC-BY-NC-4.0", NO, YES),
        ("CC-BY-4.0; CC-BY-ND-4.0", YES, NO),
        ("CC-BY-4.0 / CC-BY-NC-4.0", NO, YES),
        ("CC-BY-4.0 & MIT", YES, YES),
        ("(MIT OR Apache-2.0) AND CC-BY-NC-4.0", NO, YES),
        ("MIT AND (CC-BY-NC-4.0 OR Apache-2.0)", YES, YES),
        ("CC-BY-NC-4.0 OR (MIT AND CC-BY-ND-4.0)", YES, NO),
        ("GPL-2.0 OR LATER", YES, YES),
        ("MIT or CC-BY-NC-4.0, by the record", NO, None),
    ],
)
def test_expressions_of_several_licences(license: str, commercial: bool | None, derivatives: bool | None) -> None:
    assert (terms(license).commercial, terms(license).derivatives) == (commercial, derivatives)


@pytest.mark.parametrize(
    ("license", "nearest"),
    [
        ("CC-BY-NCC-4.0", "CC-BY-NC-4.0"),
        ("CC BYNC 4.0", "CC-BY-NC-4.0"),
        ("MITT", "MIT"),
        ("apahce-2.0", "Apache-2.0"),
        ("odc-byy", "ODC-By"),
        ("ask the author", ""),
    ],
)
def test_a_licence_that_may_be_mistyped_is_told_with_the_nearest(license: str, nearest: str) -> None:
    assert unlisted(license) == "is not in the table and counts as unknown" + (
        f"; nearest: {nearest}" if nearest else ""
    )
    assert not terms(license).known, "a guess is told, and not used"


@pytest.mark.parametrize(
    "license",
    ["unknown", "Unknown", "MIT AND unknown", "MIT", "MIT, with a rider", "CC-BY-NC-4.0", "academic use only"],
)
def test_nothing_is_told_of_licences_that_are_known_or_said_to_be_unknown(license: str) -> None:
    assert unlisted(license) == ""


def test_every_family_is_whole_and_no_spelling_stands_for_two() -> None:
    for name, its in table().items():
        assert its.commercial is not None, "the table says at least whether commercial use is permitted"
        assert terms(name).family == its.family
    assert len({its.family for its in table().values()}) > 30


@pytest.mark.parametrize(
    ("license", "strictness"),
    [("CC0-1.0", 0), ("MIT", 1), ("CC-BY-SA-4.0", 2), ("CC-BY-ND-4.0", 3), ("CC-BY-NC-SA-4.0", 4), ("CC-BY-NC-ND-4.0", 5), ("?", 6)],
)  # fmt: skip
def test_licences_have_an_order(license: str, strictness: int) -> None:
    assert terms(license).strictness == strictness


def test_the_strictest_licence_rules() -> None:
    assert (strictest(["MIT", "CC-BY-NC-4.0", "CC-BY-SA-4.0"]) or terms("")).license == "CC-BY-NC-4.0"
    assert (strictest(["CC-BY-NC-4.0", "unknown"]) or terms("")).license == "unknown"
    assert strictest([]) is None


def test_a_row_may_what_all_its_licences_permit_and_must_what_one_of_them_asks() -> None:
    both = union(["CC-BY-NC-4.0", "CC-BY-SA-4.0"])
    assert (both.commercial, both.derivatives, both.share_alike, both.attribution) == (False, True, True, True)
    assert union(["MIT", "unknown"]).commercial is None
    assert union(["CC-BY-NC-4.0", "unknown"]).commercial is False
    assert union(["CC0-1.0", "MIT"]).commercial is True
    assert union([]).words == "free for any use"


def test_the_union_reaches_a_translation_and_what_is_made_of_it() -> None:
    origin = Origin("exams", "1", ("CC-BY-NC-4.0", "MIT"))
    row = Row("exams/1", "en", "train", "exams/1", Chat.of("Why?", "Because."), origin)
    child = row.child("translate.fr", Chat.of("Pourquoi ?", "Parce que."), language="fr").child(
        "expand", Chat.of("P", "Q")
    )
    assert child.origin.licenses == ("CC-BY-NC-4.0", "MIT") and child.origin.parents == (
        "exams/1",
        "exams/1/translate.fr",
    )
    assert union(child.origin.licenses).commercial is False


def test_licences_that_no_licence_fits() -> None:
    assert conflicts(["CC-BY-SA-4.0", "CC-BY-NC-SA-4.0", "MIT"]) == [
        "CC-BY-NC-SA-4.0 and CC-BY-SA-4.0 each want the same licence again: no licence fits both"
    ]
    assert conflicts(["CC-BY-NC-4.0", "CC-BY-SA-4.0"]) == [
        "CC-BY-SA-4.0 wants the same licence again, which permits commercial use, and CC-BY-NC-4.0 forbids that: no licence fits both"
    ]
    assert conflicts(["CC-BY-SA-3.0", "CC-BY-SA-4.0"]) == [], "versions of one licence go together"
    assert conflicts(["CC-BY-NC-SA-4.0", "CC-BY-NC-4.0", "CC-BY-4.0", "CC0-1.0"]) == []
    assert conflicts(["GPL-3.0", "ODbL-1.0"]) != [] and conflicts(["GPL-2.0-or-later", "CC-BY-SA-3.0"]) != []
    assert conflicts(["GPL-2.0-or-later", "CC-BY-SA-4.0"]) == [], (
        "its text names GPL 3 as one that its works may go on under"
    )


# --- writers ---


@pytest.mark.parametrize(
    ("model", "training"),
    [
        ("openai/gpt-4o-mini", "limited"),
        ("azure/gpt-4o", "limited"),
        ("anthropic/claude-sonnet-4", "limited"),
        ("bedrock/anthropic.claude-3-haiku", "limited"),
        ("gemini/gemini-2.5-flash", "limited"),
        ("mistral/mistral-large-latest", "unknown"),
        ("meta-llama/Llama-2-7b-chat-hf", "forbidden"),
        ("hf/meta-llama/Meta-Llama-3-8B-Instruct", "forbidden"),
        ("together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo", "conditions"),
        ("openai/meta-llama/Llama-3.1-8B-Instruct", "conditions"),  # served here, behind OpenAI's wire
        ("bedrock/meta.llama3-1-70b-instruct-v1:0", "conditions"),
        ("deepseek/deepseek-reasoner", "free"),
        ("hf/deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "conditions"),
        ("hf/Qwen/Qwen2.5-7B-Instruct", "free"),
        ("hf/Qwen/Qwen2.5-72B-Instruct", "conditions"),
        ("hf/google/gemma-2-9b-it", "conditions"),
        ("local/smollm2-135m-instruct", "free"),
        ("hf/my/own", "unknown"),
    ],
)
def test_what_a_writer_wrote_may_be_used_as_its_terms_say(model: str, training: str) -> None:
    its = writer_terms(model)
    assert its.training == training and its.model == model and its.words


def test_a_note_says_where_the_terms_are_and_how_sure_it_is() -> None:
    said = writer_terms("openai/gpt-4o-mini").words
    assert said.startswith(
        "what it writes is the user's, but its terms forbid to develop models with it that compete with OpenAI"
    )
    assert said.endswith("(https://openai.com/policies/services-agreement/, as others report it, 2026-11-22)")
    assert writer_terms("gemini/gemini-2.5-flash").words.endswith(
        "(https://ai.google.dev/gemini-api/terms, read 2026-11-22)"
    )
    assert writer_terms("dashscope/qwen-max").words.endswith("not looked up)")
    assert (
        writer_terms("hf/my/own").words
        == "its terms are not known here: read them, and say them with terms: beside model:"
    )
    assert writer_terms("hf/my/own", "ours, free for all").words == "ours, free for all (as the recipe says)"


def test_models_are_named_once_and_in_order() -> None:
    assert [one.model for one in terms_of(["b/2", "a/1", "b/2"])] == ["a/1", "b/2"]


@pytest.mark.parametrize(
    ("licenses", "front"),
    [
        (["CC-BY-NC-4.0"], {"license": "cc-by-nc-4.0"}),
        (["CC BY-NC 4.0"], {"license": "other", "license_name": "CC BY-NC 4.0"}),
        (["MIT, research only"], {"license": "other", "license_name": "MIT, research only"}),
        (["CC0-1.0", "MIT"], {"license": "other", "license_name": "CC0-1.0, MIT"}),
    ],
)
def test_a_card_names_ids_alone_as_a_licence(licenses: list[str], front: dict[str, str]) -> None:
    assert _front_license(licenses) == front
