"""Is a row written in the language it claims?"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import PrivateAttr, model_validator

from langmill.api import (
    Body,
    Chat,
    Choice,
    Context,
    Drop,
    Field,
    Filter,
    Flag,
    MissingInput,
    Pack,
    Row,
    StepContext,
    Text,
)

if TYPE_CHECKING:
    from langmill_plugins.text.identifiers import Identifier
    from langmill_plugins.text.sides import Side

SURE = 0.9  # what it takes to drop a row where less is known than usual: names of diseases mislead
FEW = 60  # weight of letters below which a side may be a name or a title
BRIEF = 100  # characters below which the options are read together with the question


class LanguageId(Filter):
    """Drops rows that are not written in the language they claim.

    Two witnesses: the scripts of the letters (kana is Japanese, hangul Korean, Han without kana Chinese or Japanese by their
    national character sets), and a model for what scripts do not tell. The question and the answer of a chat are judged
    apart, and so are the question of a choice item and its explanation; options are often names in Latin letters and
    are read with a question that is short. Each side is read passage by passage: where less than `least_share` of it is in
    the claimed language the row is dropped as `mixed_language` (a sentence left untranslated, English reasoning in a Korean
    answer), and a smaller foreign passage leaves the flag `foreign_passage`. Names, abbreviations, references and
    titles are no passages.

    A row none of whose sides has `least_characters` letters gets the flag `too_short_to_tell`, or is dropped for it. A
    language of the recipe's must score `min_score` for a row to be dropped as `wrong_language`, any other language 0.9,
    and so must both where the side is under 60 letters or another side reads as claimed; a row that is spared so gets the flag
    `language_unsure`.
    """

    identifier: Literal["fasttext", "eldc"] = Field(
        "fasttext", description="the model: fastText's lid.176, or the package eldc, which is several times as fast"
    )
    model: str | None = Field(
        None, description="path of another fastText model than the packaged lid.176.ftz, GlotLID's for one"
    )
    min_score: float = Field(0.5, ge=0, le=1, description="least score of another language that drops a row")
    least_share: float = Field(
        0.8,
        ge=0,
        le=1,
        description="least share of a side's text that must be in the claimed language; 0 tells no mixtures",
    )
    least_characters: int = Field(
        20, ge=1, description="letters below which a side is not judged; a Han, kana or hangul letter counts as three"
    )
    too_short: Literal["keep", "drop"] = Field("keep", description="what becomes of rows that are too short to tell")

    _identifier: Identifier | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _one_model(self) -> LanguageId:
        if self.model and self.identifier != "fasttext":
            raise ValueError(f"model: is a fastText model, identifier: is {self.identifier}; leave one of them out")
        return self

    def files(self, context: Context) -> list[Path]:
        """The model, when it is not the packaged one. Raises MissingInput when it is not there."""
        if not self.model:
            return []
        path = context.path(self.model)
        if not path.is_file():
            raise MissingInput(f"{context.place}.model: nothing at '{self.model}' ({path})")
        return [path]

    def judge(self, rows: Sequence[Row], context: StepContext) -> list[Drop | Flag | None]:
        """Verdicts; scripts and model see all passages of the batch at once."""
        from langmill_plugins.text.passages import passages
        from langmill_plugins.text.sides import labels_of, read_sides

        packs = {row.language: context.pack(row.language) for row in rows}
        own = {code: labels_of(pack) for code, pack in packs.items()}
        # English, because models and translators fall back on it, whatever the recipe's languages are.
        known = {"en", *(label for pack in context.languages.values() for label in labels_of(pack))}
        sides = [
            (index, name, text)
            for index, row in enumerate(rows)
            for name, text in _sides(row.body, packs[row.language])
        ]
        claims = [packs[rows[index].language] for index, _, _ in sides]
        cut = [
            passages(text, _in_latin(pack)) if self.least_share else [text]
            for (_, _, text), pack in zip(sides, claims, strict=True)
        ]
        identifier = self._open(context)
        for code, labels in own.items():
            if identifier.labels.isdisjoint(labels):
                raise MissingInput(
                    f"{context.place}: the model does not know {packs[code].identity.name} "
                    f"(lid_labels: {', '.join(packs[code].identity.lid_labels)}): take another identifier: or model:"
                )
        read = read_sides(cut, claims, identifier, known, self.least_characters)
        told: list[list[tuple[str, Side]]] = [[] for _ in rows]
        for (index, name, _), side in zip(sides, read, strict=True):
            if side is not None:
                told[index].append((name, side))
        return [
            self._verdict(found, row.language, own[row.language], known) for row, found in zip(rows, told, strict=True)
        ]

    def _open(self, context: StepContext) -> Identifier:
        from langmill_plugins.text.identifiers import Eldc, FastText

        if self._identifier is None:
            path = next(map(str, self.files(context)), None)
            eldc, place = self.identifier == "eldc", context.place
            self._identifier = Eldc(place) if eldc else FastText(path, context.offline, place)
        return self._identifier

    def _verdict(
        self, told: Sequence[tuple[str, Side]], code: str, own: Collection[str], known: Collection[str]
    ) -> Drop | Flag | None:
        """One verdict of the sides of a row."""
        if not told:
            return Drop("too_short_to_tell") if self.too_short == "drop" else Flag("too_short_to_tell")
        as_claimed = any(side.reading.label in own for _, side in told)
        flag = None
        for name, side in told:
            label, score, by_script = side.reading
            if label and label not in own:
                careful = side.weight < FEW or as_claimed or label not in known
                if by_script or score >= (max(SURE, self.min_score) if careful else self.min_score):
                    return Drop("wrong_language", f"{name} claims {code}, reads {label} {score:.2f}")
            if side.foreign > 1 - self.least_share:
                return Drop(
                    "mixed_language", f"{name} claims {code}, {side.foreign:.2f} of it reads {side.foreign_label}"
                )
            if label not in own:
                flag = Flag("language_unsure")
            elif side.foreign and not flag:
                flag = Flag("foreign_passage")
        return flag


def _in_latin(pack: Pack) -> bool:
    return pack.identity.scripts == ("Latn",)


def _sides(body: Body, pack: Pack) -> list[tuple[str, str]]:
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
            asked = f"{context}\n{question}" if context else question
            # In a script of its own the question alone tells, and options in Latin letters would only blur it.
            if len(asked) < BRIEF and _in_latin(pack):
                asked = "\n".join((asked, *options))
            return [("question", asked), *([("explanation", explanation)] if explanation else [])]
