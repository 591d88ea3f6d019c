"""Is a row written in the language it claims?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import PrivateAttr

from langmill.api import (
    Body,
    Chat,
    Choice,
    Drop,
    Field,
    Filter,
    Flag,
    Pack,
    Row,
    StepContext,
    Text,
    missing_package,
    packaged_model,
)  # fmt: skip
from langmill_plugins.filters.scripts import KANA, han_reading, letters_by_script, scripts_of

if TYPE_CHECKING:
    from collections import Counter

LONGEST = 4000  # characters of a side that the model reads; the scripts are counted over all of it
FOREIGN = 0.3  # below this share of letters in its own scripts a text is not in its language, drug names or not
SURE = 0.9  # what it takes to drop a row for one side when another reads as it should: names of diseases mislead
TELLING = 0.2  # above this share of its letters, kana or hangul name the language
EAST_ASIAN = {"ja", "ko", "wuu", "yue", "zh"}  # of a text without one of their letters the model is mistaken


class Reading(NamedTuple):
    """What a text reads as: a label of lid.176, empty when it can not be told; its score, 0 to 1; and whether the letters
    themselves say so, which outweighs any score."""

    label: str
    score: float
    by_script: bool = False


class LanguageId(Filter):
    """Drops rows that are not written in the language they claim.

    Two witnesses: the scripts of the letters (kana is Japanese, hangul Korean, Han without kana Chinese or Japanese by
    their national character sets), and fastText's lid.176 for what scripts do not tell. The question and the answer of a
    chat are judged apart, and so are the question of a choice item and its explanation; options are often names in Latin
    letters and count only where the question alone is too short. A row none of whose sides has `least_characters`
    letters gets the flag `too_short_to_tell` and is kept; where the model is less sure than `min_score` that it reads
    another language, or less sure than 0.9 while another side reads as claimed, it gets the flag `language_unsure`.
    """

    min_score: float = Field(0.5, ge=0, le=1, description="least score of another language that drops a row")
    least_characters: int = Field(
        20, ge=1, description="letters below which a side is not judged; a Han, kana or hangul letter counts as three"
    )
    model: str | None = Field(None, description="path of another fastText model than the packaged lid.176.ftz")

    _model: Any = PrivateAttr(None)

    def judge(self, rows: Sequence[Row], context: StepContext) -> list[Drop | Flag | None]:
        """Verdicts; the model sees all sides of the batch at once."""
        least = self.least_characters
        sides = [(index, name, text) for index, row in enumerate(rows) for name, text in _sides(row.body, least)]
        letters = [letters_by_script(text) for _, _, text in sides]
        long = [_weight(counts) >= least for counts in letters]
        claims = [context.pack(rows[index].language) for index, _, _ in sides]
        readings: list[Reading | None] = [
            by_script(text, counts, pack) if enough else None
            for (_, _, text), counts, pack, enough in zip(sides, letters, claims, long, strict=True)
        ]
        ask = [index for index, reading in enumerate(readings) if long[index] and reading is None]
        answers = self._predict([sides[index][2] for index in ask], context)
        for index, scores in zip(ask, answers, strict=True):
            readings[index] = self._weigh(scores, letters[index], claims[index])
        told: list[list[tuple[str, Reading]]] = [[] for _ in rows]
        for (index, name, _), reading in zip(sides, readings, strict=True):
            if reading is not None:
                told[index].append((name, reading))
        return [_verdict(found, context.pack(row.language)) for row, found in zip(rows, told, strict=True)]

    def _weigh(self, scores: Mapping[str, float], letters: Counter[str], pack: Pack) -> Reading:
        """The claimed language if it is the likeliest; another one if the model, or the script, is sure of it."""
        own = set(pack.identity.lid_labels)
        mine = sum(score for label, score in scores.items() if label in own)
        if any(letters[name] for name in ("CJK", "HANGUL", *KANA)):
            others = [item for item in scores.items() if item[0] not in own]
        else:
            others = [item for item in scores.items() if item[0] not in own | EAST_ASIAN]
        label, best = max(others, key=lambda item: item[1], default=("", 0.0))
        share = own_share(letters, pack)
        if share < FOREIGN:
            return Reading(label or "another script", 1 - share, True)
        if mine >= best:
            return Reading(pack.identity.lid_labels[0], mine)
        return Reading(label, best) if best >= self.min_score else Reading("", best)

    def _predict(self, texts: Sequence[str], context: StepContext) -> Iterable[dict[str, float]]:
        """Scores by label, likeliest five. Asked with a list: one string at a time fails under NumPy 2."""
        if not texts:
            return []
        if self._model is None:
            self._model = _load(self.model and str(context.path(self.model)), context.offline)
        lines = [" ".join(text[:LONGEST].split()).encode("utf-8", "replace").decode("utf-8") for text in texts]
        labels, scores = self._model.predict(lines, k=5)
        return [
            {label.removeprefix("__label__"): float(score) for label, score in zip(names, values, strict=True)}
            for names, values in zip(labels, scores, strict=True)
        ]


def by_script(text: str, letters: Counter[str], pack: Pack) -> Reading | None:
    """What the scripts alone tell about a text that claims a pack's language; None when the model must be asked.

    Han without kana that the national character sets do not tell is believed to be what it claims, except that twenty
    such characters in a row of Japanese would be odd: then the model says.
    """
    total = letters.total()
    kana, hangul, han = (sum(letters[name] for name in names) / total for names in (KANA, ("HANGUL",), ("CJK",)))
    if kana > TELLING:
        return Reading("ja", kana + han, True)
    if hangul > FOREIGN:
        return Reading("ko", hangul, True)
    if kana + han > FOREIGN:
        told = han_reading(text) or ("ja" if kana else "")
        if not told and "ja" in pack.identity.lid_labels and letters["CJK"] >= 20:
            return None
        claimed = next((label for label in pack.identity.lid_labels if label in ("zh", "ja")), "zh")
        return Reading(told or claimed, kana + han, True)
    return None


def own_share(letters: Counter[str], pack: Pack) -> float:
    """The share of letters that are in the scripts of a pack's language; 1 when a script is not known here."""
    own = scripts_of(pack.identity.scripts)
    return sum(letters[name] for name in own) / letters.total() if own else 1.0


def _verdict(told: Sequence[tuple[str, Reading]], pack: Pack) -> Drop | Flag | None:
    """One verdict of the readings of a row's sides."""
    if not told:
        return Flag("too_short_to_tell")
    own = any(reading.label in pack.identity.lid_labels for _, reading in told)
    unsure = False
    for name, reading in told:
        if reading.label and reading.label not in pack.identity.lid_labels:
            if reading.by_script or reading.score >= SURE or not own:
                return Drop("wrong_language", f"{name} claims {pack.code}, reads {reading.label} {reading.score:.2f}")
            unsure = True
        unsure = unsure or not reading.label
    return Flag("language_unsure") if unsure else None


def _weight(letters: Counter[str]) -> int:
    return sum(times * (3 if name in ("CJK", "HANGUL", *KANA) else 1) for name, times in letters.items())


def _sides(body: Body, least: int) -> list[tuple[str, str]]:
    """The pieces of a body that are judged apart, each with the word a person calls it by."""
    match body:
        case Text(text=text):
            return [("text", text)]
        case Chat(messages=messages):
            return [
                (name, text)
                for name, role in (("question", "user"), ("answer", "assistant"))
                if (text := "\n".join(message.content for message in messages if message.role == role)).strip()
            ]
        case Choice(question=question, options=options, explanation=explanation, context=context):
            asked = f"{context or ''}\n{question}"
            if _weight(letters_by_script(asked)) < least:
                asked = "\n".join((asked, *options))
            return [("question", asked), *([("explanation", explanation)] if explanation else [])]


def _load(path: str | None, offline: bool) -> Any:
    try:
        import fasttext
    except ImportError:
        raise missing_package("language_id", "fasttext", "data") from None
    fasttext.FastText.eprint = lambda *words, **options: None  # it warns on stderr at every load
    return fasttext.load_model(path or str(packaged_model("lid.176.ftz", offline).path))
