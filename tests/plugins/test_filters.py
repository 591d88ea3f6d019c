"""The filters on rows made for the purpose: what is dropped, what is kept, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from langmill.api import (
    Body,
    Chat,
    Choice,
    Drop,
    Filter,
    Flag,
    Message,
    Origin,
    Row,
    Split,
    StepContext,
    Text,
    packs_in,
)
from langmill_plugins.filters.buckets import buckets
from langmill_plugins.filters.decontaminate import Decontaminate
from langmill_plugins.filters.exact import Exact
from langmill_plugins.filters.language_id import LanguageId
from langmill_plugins.filters.length import Length
from langmill_plugins.filters.minhash import MinHash, layout, minima
from langmill_plugins.filters.sound_choice import SoundChoice
from langmill_plugins.filters.wording import folded, letters_only, shingles, word_list

PACKS = {pack.code: pack for pack in packs_in("langmill_languages")}
CONTEXT = StepContext("datasets.x.steps[0]", 17, PACKS, Path())
ANAEMIA = (
    "Iron deficiency develops slowly. The body first uses up its stores, then the marrow makes fewer and smaller red cells, "
    "and at last the haemoglobin falls. People feel tired, look pale and become short of breath when they climb stairs. "
    "Blood loss is the usual cause in adults, and it has to be looked for before the iron is simply replaced."
)
LUNG = (
    "Chronic obstructive disease narrows the airways for good. Smoking is its main cause, dust at work another. Breathing "
    "out takes longer, air is trapped, and the chest becomes wide. Stopping to smoke slows the loss of function at any age."
)


def row(
    id: str, body: Body, *, language: str = "en", split: Split = "train", family: str = "", source: str = "s",
    parents: tuple[str, ...] = (),
) -> Row:  # fmt: skip
    return Row(id, language, split, family or id, body, Origin(source, id, ("CC0-1.0",), parents))


def through(part: Filter, rows: Sequence[Row], piece: int = 3) -> dict[str, Drop]:
    """A filter of scope dataset as the core runs it: signed in pieces, sorted, streamed in pieces."""
    tables = []
    for start in range(0, len(rows), piece):
        some = rows[start : start + piece]
        batch = part.sign(some, CONTEXT)
        place = {item.id: start + index for index, item in enumerate(some)}
        position = pa.array([place[id] for id in batch.column("id").to_pylist()], pa.int64())
        tables.append(pa.Table.from_batches([batch]).append_column("position", position))
    table = pa.concat_tables(tables).sort_by([("key", "ascending"), ("position", "ascending")])
    known = {item.id: item for item in rows}
    batches: Iterator[pa.RecordBatch] = iter(table.to_batches(max_chunksize=piece))
    return dict(part.decide(batches, lambda ids: {id: known[id] for id in ids}, CONTEXT))


def judge(part: Filter, *rows: Row, context: StepContext = CONTEXT) -> list[Drop | Flag | None]:
    verdicts = part.judge(rows, context)
    assert len(verdicts) == len(rows)
    return verdicts


def reasons(verdicts: Sequence[Drop | Flag | None]) -> list[str]:
    return [verdict.reason if isinstance(verdict, Drop) else verdict.flag if verdict else "" for verdict in verdicts]


# --- wording ---


def test_the_same_wording_in_any_width_case_and_spacing() -> None:
    assert folded("ＨｂＡ１ｃ\u200b  6.5\u3000%\n") == folded("hba1c 6.5 %")
    assert folded("5 mg") != folded("-5 mg")
    assert word_list("What is (are) Glaucoma ?") == ["what", "is", "are", "glaucoma"]
    assert word_list("मधुमेह क्या है?") == ["मधुमेह", "क्या", "है"]  # not cut at the vowel signs
    assert letters_only("佐々木、ＣＴ検査。") == "佐々木ct検査"


def test_shingles_by_word_and_by_character() -> None:
    assert len(shingles("one two three four", "word", 3)) == 2
    assert list(shingles("One, two three", "word", 3)) == list(shingles("one two three!", "word", 3))
    assert list(shingles("a b c d", "word", 3)[1:]) == list(shingles("b c d", "word", 3))
    assert len(shingles("缺铁性贫血", "character", 3)) == 3 and len(shingles("癌", "character", 3)) == 1
    assert len(shingles(" ?!… ", "word", 3)) == 0
    assert shingles("a b", "word", 3)[0] != shingles("b a", "word", 3)[0]


def test_buckets_cross_batches_and_leave_single_keys_alone() -> None:
    keys = [1, 2, 2, 2, 2, 3, 5, 5, 6, 7, 7]
    table = pa.table({"key": pa.array(keys, pa.uint64()), "id": [f"r{index}" for index in range(len(keys))]})
    for size in range(1, 12):
        found = [[record["id"] for record in bucket] for bucket in buckets(iter(table.to_batches(size)))]
        assert found == [["r1", "r2", "r3", "r4"], ["r6", "r7"], ["r9", "r10"]], size
    assert list(buckets(iter([]))) == []


# --- exact ---


def test_exact_takes_question_and_answer_together() -> None:
    drops = through(
        Exact(),
        [
            row("a", Chat.of("What is anaemia?", "Too little haemoglobin.")),
            row("b", Chat.of("what  is ANAEMIA?", "Too little haemoglobin.")),
            row("c", Chat.of("What is anaemia?", "A lack of red cells.")),
            row("d", Chat.of("What is low blood?", "Too little haemoglobin.")),
            row("e", Text("What is anaemia?\nToo little haemoglobin.")),
            row(
                "f",
                Chat((Message("system", "Be brief."), *Chat.of("What is anaemia?", "A lack of red cells.").messages)),
            ),
        ],
    )
    assert drops == {
        "b": Drop("duplicate", "says the same as a", "a"),
        "f": Drop("duplicate", "says the same as c", "c"),
    }


def test_exact_knows_an_item_in_another_order_and_another_key() -> None:
    drops = through(
        Exact(),
        [
            row("a", Choice("Which vitamin prevents scurvy?", ("A", "B12", "C", "D"), (2,))),
            row("b", Choice("Which vitamin prevents scurvy?", ("C", "d", "A", "B12"), (0,))),
            row("c", Choice("Which vitamin prevents scurvy?", ("A", "B12", "C", "D"), (3,))),
            row("d", Choice("Which vitamin prevents scurvy?", ("A", "B12", "C", "K"), (2,))),
            row("e", Choice("Which vitamin prevents scurvy?", ("A", "B12", "C", "D"), (2,), context="A sailor.")),
        ],
    )
    assert {id: drop.reason for id, drop in drops.items()} == {"b": "duplicate", "c": "conflicting_answer"}


def test_exact_keeps_test_before_dev_before_train_then_the_rationale_then_the_first() -> None:
    item = Choice("Which vitamin prevents scurvy?", ("A", "C"), (1,))
    told = replace(item, explanation="Vitamin C is needed for collagen.")
    rows = [row("a", item), row("b", item, split="dev"), row("c", item, split="test"), row("d", item, split="test")]
    assert {id: drop.detail for id, drop in through(Exact(), rows).items()} == dict.fromkeys(
        "abd", "says the same as c"
    )
    assert set(through(Exact(), [row("a", item), row("b", told), row("c", told)])) == {"a", "c"}


# --- minhash ---


def test_bands_are_chosen_for_recall() -> None:
    assert layout(0.8, 128, 0.999) == (25, 5)
    for threshold in (0.45, 0.6, 0.7, 0.9, 0.95):
        bands, width = layout(threshold, 128, 0.999)
        assert bands * width <= 128 and 1 - (1 - threshold**width) ** bands >= 0.999, threshold
    assert layout(0.05, 16, 0.999) == (8, 2)  # out of reach: the most that 16 permutations can do
    bands, width = layout(0.8, 512, 0.999)
    assert bands <= 256 and width > 5


def test_signatures_are_datasketchs_own() -> None:
    import datasketch
    import numpy as np

    sets = [shingles(text, "word", 3) for text in (ANAEMIA, LUNG, "", "two words")]
    ours = minima(sets, 128, 0, 128)
    for mine, found in zip(ours, sets, strict=True):
        theirs = datasketch.MinHash(num_perm=128, seed=1, hashfunc=lambda value: value)
        theirs.update_batch((found & np.uint64(0xFFFFFFFF)).tolist())
        assert mine.tolist() == theirs.hashvalues.tolist()
    assert minima(sets, 128, 30, 50).tolist() == ours[:, 30:50].tolist()


def test_near_duplicates_are_near_on_both_sides() -> None:
    near = ANAEMIA.replace("stairs", "steps")
    drops = through(
        MinHash(),
        [
            row("a", Chat.of("What does iron deficiency do to people?", ANAEMIA)),
            row("b", Chat.of("What does iron deficiency do to people?", near)),
            row("c", Chat.of("Is Farber disease inherited?", ANAEMIA)),
            row("d", Chat.of("What does iron deficiency do to people?", LUNG)),
            row("e", Text(ANAEMIA)),
            row("f", Text(near)),
            row("g", Text("?!")),
            row("h", Text("")),
        ],
    )
    assert {id: drop.reason for id, drop in drops.items()} == {"b": "near_duplicate", "f": "near_duplicate"}
    jaccard, kept = drops["b"].detail.removeprefix("Jaccard ").split(" with ")
    assert kept == "a" and 0.8 <= float(jaccard) < 1


def test_near_items_share_question_options_and_key() -> None:
    stem = "A woman of 60 years is tired, pale and short of breath. Her ferritin is low. Which of these is"
    options = (
        "Colonoscopy to look for bleeding",
        "A week of rest at home",
        "A course of penicillin",
        "Oxygen at night",
    )
    drops = through(
        MinHash(),
        [
            row("a", Choice(f"{stem} the right next step?", options, (0,))),
            row("b", Choice(f"{stem} the right next step ?", options[::-1], (3,))),
            row("c", Choice(f"{stem} the wrong next step?", options, (2,))),
            row("d", Choice(f"{stem} the right next step?", ("Yes", "No", "Never", "Always"), (0,))),
        ],
    )
    assert set(drops) == {"b"}


@pytest.mark.parametrize("piece", [1, 2, 7])
def test_a_chain_of_small_changes_drops_only_what_is_near_a_row_that_stays(piece: int) -> None:
    words = ANAEMIA.split()
    chain = [" ".join(["x"] * index + words[index:]) for index in range(0, 60, 5)]
    rows = [row(f"r{index:02}", Text(text)) for index, text in enumerate(chain)]
    drops = through(MinHash(), rows, piece)
    assert drops and len(drops) < len(rows) - 1
    for id, drop in drops.items():
        kept = drop.detail.split(" with ")[1]
        assert kept not in drops, id
        assert float(drop.detail.split()[1]) >= 0.8


def test_near_keeps_test_then_the_earlier_source_then_the_longer_answer_then_the_smaller_id() -> None:
    more, less = f"{ANAEMIA} Tea with meals can hinder it.", ANAEMIA
    assert set(through(MinHash(), [row("a", Text(more)), row("b", Text(less), split="test")])) == {"a"}
    rows = [row("b", Text(less), source="first"), row("a", Text(more), source="second")]
    assert set(through(MinHash(), rows)) == {"a"}
    assert set(through(MinHash(), [row("a", Text(less)), row("b", Text(more))])) == {"a"}
    assert set(through(MinHash(), [row("b", Text(less)), row("a", Text(less))])) == {"b"}


def test_a_bucket_of_many_equal_rows_is_one_cluster() -> None:
    rows = [row(f"r{index:03}", Text(ANAEMIA)) for index in range(300)] + [row("s", Text(LUNG))]
    drops = through(MinHash(), rows, 50)
    assert len(drops) == 299 and "r000" not in drops and "s" not in drops


def test_a_lower_threshold_finds_more() -> None:
    words = ANAEMIA.split()
    rows = [
        row("a", Text(ANAEMIA)),
        row("b", Text(" ".join(word if index % 9 else "x" for index, word in enumerate(words)))),
    ]
    assert through(MinHash(), rows) == {} and set(through(MinHash(threshold=0.4), rows)) == {"b"}


# --- sound_choice and length ---


@pytest.mark.parametrize(
    ("language", "body", "reason"),
    [
        ("en", Choice(" ?", ("a", "b"), (0,)), "empty_question"),
        ("en", Choice("Why?", ("a",), (0,)), "too_few_options"),
        ("en", Choice("Why?", ("a", "\u3000"), (0,)), "empty_option"),
        ("ja", Choice("どれか。", ("ＣＴ", "ct"), (0,)), "repeated_option"),
        ("en", Choice("The rash is shown in the image. What is it?", ("a", "b"), (0,)), "needs_image"),
        ("en", Choice("A chest x-ray of the man is shown below. What is it?", ("a", "b"), (0,)), "needs_image"),
        ("en", Choice("A chest x-ray shows an opacity. The results are shown below: Na 140.", ("a", "b"), (0,)), ""),
        ("zh", Choice("结合模式如图所示，该结合形式是", ("甲", "乙"), (0,)), "needs_image"),
        ("zh", Choice("心电图示ST段抬高，超声见图像模糊，最可能的诊断是", ("甲", "乙"), (0,)), ""),
        ("ja", Choice("胸部エックス線写真（別冊No. 1）を別に示す。診断はどれか。", ("甲", "乙"), (0,)), "needs_image"),
        (
            "ja",
            Choice("心電図は正常である。胸部エックス線写真で異常を認めない。診断はどれか。", ("甲", "乙"), (0,)),
            "",
        ),
        ("ko", Choice("흉부 X선사진은 다음과 같다. 진단은?", ("갑", "을"), (0,)), "needs_image"),
        ("ko", Choice("흉부 X선사진에서 이상이 없었다. 진단은?", ("갑", "을"), (0,)), ""),
        ("fr", Choice("Sur la figure ci-dessous, quel est l'os 3 ?", ("a", "b"), (0,)), "needs_image"),
        ("fr", Choice("Parmi les molécules suivantes, laquelle est un antibiotique ?", ("a", "b"), (0,)), ""),
        (
            "es",
            Choice("Pregunta vinculada a la imagen nº 3. ¿Cuál es el diagnóstico?", ("a", "b"), (0,)),
            "needs_image",
        ),
        ("es", Choice("Las pruebas de imagen son normales. ¿Cuál es el diagnóstico?", ("a", "b"), (0,)), ""),
        ("ru", Choice("Какая кость показана на рисунке?", ("а", "б"), (0,)), "needs_image"),
        ("ru", Choice("Клиническая картина при циррозе включает:", ("а", "б"), (0,)), ""),
    ],
)
def test_sound_choice(language: str, body: Choice, reason: str) -> None:
    assert reasons(judge(SoundChoice(), row("a", body, language=language))) == [reason]


def test_sound_choice_can_leave_pictures_be() -> None:
    seen = Choice("The rash is shown in the image. What is it?", ("a", "b"), (0,))
    assert judge(SoundChoice(images=False), row("a", seen)) == [None]


def test_length_is_alike_in_every_language() -> None:
    rows = [row(code, Text(PACKS[code].identity.sample), language=code) for code in sorted(PACKS)]
    assert reasons(judge(Length(least=100, most=220), *rows)) == [""] * len(rows)
    assert reasons(judge(Length(least=1), row("a", Text("… !")), row("b", Text("癌")))) == ["too_short", ""]
    assert reasons(judge(Length(most=5), row("a", Text("abcdef")), row("b", Text("肺癌")))) == ["too_long", "too_long"]


# --- decontaminate ---

QUESTION = (
    "A man of 45 years comes with a cough that has lasted for three weeks, night sweats, fever in the evening and a loss of "
    "six kilograms. He lived for a year in a crowded hostel. Which examination is needed first?"
)
ITEM = Choice(QUESTION, ("Sputum for acid-fast bacilli", "An exercise test", "A skin biopsy"), (0,))
JA = "六十歳の男性。三か月前から労作時の息切れと下腿の浮腫が続き、昨夜から横になると苦しいため来院した。まず行う検査はどれか。"
TESTS = [
    row("t/1", ITEM, split="test", family="exam-7"),
    row("t/2", Choice(JA, ("心エコー検査", "皮膚生検", "脳波検査"), (0,)), split="test", language="ja"),
    row("t/3", Chat.of("What is (are) Glaucoma?", LUNG), split="dev"),
    row("t/4", Text(ANAEMIA), split="train"),
]


def contaminated(*rows: Row, threshold: float = 0.3) -> list[str]:
    context = replace(
        CONTEXT, rows=lambda name, split: iter([item for item in TESTS if name == "old" and item.split == split])
    )
    verdicts = judge(Decontaminate(against="old", threshold=threshold), *rows, context=context)
    assert all(
        verdict is None or (isinstance(verdict, Drop) and verdict.reason == "contaminated") for verdict in verdicts
    )
    return [verdict.detail if isinstance(verdict, Drop) else "" for verdict in verdicts]


def test_decontaminate_by_ancestry() -> None:
    assert contaminated(
        row("a", Text("Something else."), family="exam-7"),
        row("t/1/translate.fr", Text("Autre chose."), language="fr", parents=("t/1",)),
        row("b", Text("Something else.")),
    ) == ["family: same family as t/1", "ancestry: t/1 is, or became, t/1", ""]


def test_decontaminate_by_wording() -> None:
    other_order = Choice(QUESTION.upper(), (ITEM.options[2], ITEM.options[0], ITEM.options[1]), (0,))
    other_options = Choice(QUESTION, (ITEM.options[0], "None of these"), (0,))
    assert contaminated(
        row("a", ITEM),
        row("b", other_order),
        row("c", other_options),
        row("d", Chat.of("what is (are) glaucoma?", LUNG)),
        row("e", Chat.of("What is (are) Glaucoma?", "Damage to the optic nerve by pressure.")),
        row("f", Text(ANAEMIA)),
    ) == [
        "same text: as in t/1",
        "same question and options: as in t/1",
        "same question and answer: as in t/1",
        "same text: as in t/3",
        "",  # the same short question with another answer
        "",  # a train row of the earlier data set gives nothing away
    ]


def test_decontaminate_by_overlap_in_both_kinds_of_script() -> None:
    spoilt = QUESTION.replace("45 years", "52 years")
    found = contaminated(
        row("a", Text(f"A case to begin with. {spoilt} Tuberculosis has to be thought of.")),
        row("b", Text(f"症例を示す。{JA.replace('まず行う', '最初に行う')}"), language="ja"),
        row("c", Chat.of("What is glaucoma (are)?", LUNG)),
        row("d", Chat.of("What is (are) glaucoma", f"{LUNG} Ask for help.")),
        row("e", Choice(QUESTION[:80], ("a", "b"), (0,))),
    )
    assert found[0].startswith("overlap: 0.") and found[0].endswith(" of the question of t/1"), found
    assert found[1].startswith("overlap: 0.") and found[1].endswith(" of t/2")
    assert found[2] == ""  # a stock answer under another question
    assert found[3] == "overlap: 1.00 of the answer of t/3"
    assert found[4] == ""
    assert contaminated(row("e", Choice(QUESTION[:80], ("a", "b"), (0,))), threshold=0.1)[0].startswith("overlap: 0.")


def test_decontaminate_acts_on_train_rows_and_reads_the_tests_once() -> None:
    asked: list[str] = []

    def rows(name: str, split: Split | None) -> Iterator[Row]:
        asked.append(f"{name} {split}")
        return iter([item for item in TESTS if item.split == split])

    part = Decontaminate(against="old")
    assert part.splits == ("train",)
    context = replace(CONTEXT, rows=rows)
    for _ in range(3):
        assert reasons(judge(part, row("a", ITEM), context=context)) == ["contaminated"]
    assert asked == ["old test", "old dev"]


# --- language_id ---


def test_language_id_hears_both_witnesses() -> None:
    sample = {code: pack.identity.sample for code, pack in PACKS.items()}
    own = [row(code, Text(text), language=code) for code, text in sample.items()]
    assert judge(LanguageId(), *own) == [None] * len(own)
    wrong = [row(code, Text(sample[code]), language=claim) for code in sample for claim in sample if claim != code]
    verdicts = judge(LanguageId(), *wrong)
    assert reasons(verdicts) == ["wrong_language"] * len(wrong)
    for item, verdict in zip(wrong, verdicts, strict=True):
        assert isinstance(verdict, Drop)
        assert verdict.detail.startswith(f"text claims {item.language}, reads {item.id} "), verdict
    foreign = [
        row("uk", Text("Дефіцит заліза є найчастішою причиною анемії в дорослих людей."), language="ru"),
        row("pt", Text("A deficiência de ferro é a causa mais frequente de anemia nos adultos."), language="es"),
        row("vi", Text("Thiếu sắt là nguyên nhân thường gặp nhất gây thiếu máu."), language="fr"),
        row("ar", Text("نقص الحديد هو السبب الأكثر شيوعا لفقر الدم عند البالغين."), language="en"),
    ]
    assert reasons(judge(LanguageId(), *foreign)) == ["wrong_language"] * 4


def test_language_id_judges_the_sides_apart_and_does_not_guess() -> None:
    korean, english = PACKS["ko"].identity.sample, PACKS["en"].identity.sample
    item = Choice(korean, ("Aspergillus fumigatus", "Candida albicans"), (0,))
    verdicts = judge(
        LanguageId(),
        row("a", Chat.of(korean, english), language="ko"),
        row("b", Chat.of(english, korean), language="ko"),
        row("c", Chat.of("진단은?", korean), language="ko"),
        row("d", Chat.of("진단은?", "HbA1c"), language="ko"),
        row("e", item, language="ko"),
        row("f", replace(item, explanation=english), language="ko"),
        row("g", Text("肺癌"), language="ja"),
        row("h", Text(""), language="en"),
        row("i", Text("120/80, 98%, 37.2 — …"), language="en"),
    )
    assert reasons(verdicts) == [
        "wrong_language", "wrong_language", "", "too_short_to_tell", "", "wrong_language",
        "too_short_to_tell", "too_short_to_tell", "too_short_to_tell",
    ]  # fmt: skip
    assert isinstance(verdicts[0], Drop) and verdicts[0].detail.startswith("answer claims ko, reads en ")
    assert isinstance(verdicts[1], Drop) and verdicts[1].detail.startswith("question claims ko, reads en ")
    assert isinstance(verdicts[5], Drop) and verdicts[5].detail.startswith("explanation claims ko, reads en ")


def test_language_id_tells_kanji_from_hanzi() -> None:
    chinese = ["急性上呼吸道感染的病因与临床表现", "慢性阻塞性肺疾病的药物治疗原则"]
    japanese = ["急性呼吸窮迫症候群 薬剤性肺障害 気管支喘息", "抗菌薬投与 脳血管障害 帯状疱疹"]
    claims = [row(text, Text(text), language=code) for text in chinese + japanese for code in ("zh", "ja")]
    assert reasons(judge(LanguageId(), *claims)) == ["", "wrong_language"] * 2 + ["wrong_language", ""] * 2
    assert judge(LanguageId(), row("a", Text("慢性阻塞性肺病的藥物治療原則"), language="zh")) == [None]


# --- bad input ---

NASTY = [
    "", " ", "\ud800 lone surrogate of a text that is long enough to be judged", "\x00\x01\x02 control bytes in the text",
    "\u202e\u200f right-to-left marks \u202c in a text of English words", "🩺💉🧬" * 30, "\ufffd" * 20, "ａ" * 50, "1" * 100,
    "e\u0301" * 40, "𒀀𒀁𒀂" * 20, "word " * 40_000, "字" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("code", ["en", "ja"])
def test_nothing_that_can_be_read_stops_a_filter(code: str) -> None:
    rows = []
    for index, text in enumerate(NASTY):
        rows.append(row(f"text/{index}", Text(text), language=code))
        rows.append(row(f"chat/{index}", Chat.of(text, text), language=code))
        rows.append(row(f"choice/{index}", Choice(text, (text, "b"), (0,), explanation=text), language=code))
    assert through(Exact(), rows) == {"text/1": Drop("duplicate", "says the same as text/0", "text/0")} | {
        f"{kind}/1": Drop("duplicate", f"says the same as {kind}/0", f"{kind}/0") for kind in ("chat", "choice")
    }
    assert set(through(MinHash(), rows)) <= {item.id for item in rows}
    context = replace(CONTEXT, rows=lambda name, split: iter(rows if split == "test" else ()))
    assert reasons(judge(Decontaminate(against="old"), *rows, context=context)) == ["contaminated"] * len(rows)
    for part in (LanguageId(), SoundChoice(), Length()):
        judge(part, *rows)
