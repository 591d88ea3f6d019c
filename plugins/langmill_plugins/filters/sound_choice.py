"""Multiple-choice items that can be answered from what they say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from langmill.api import Choice, Drop, Field, Filter, Flag, Row, StepContext
from langmill_plugins.filters.wording import folded

# A phrase that points to a picture which text does not carry. Naming a picture is no reason: "the X-ray shows a fracture" says
# what is seen, and 心电图 (electrocardiogram) holds the sign for picture. Matched against folded text.
_PICTURE = r"(?:figure|image|photo(?:graph|micrograph)?|picture|diagram|graph|exhibit|illustration|radiograph|tracing)"
NEEDS_IMAGE: dict[str, re.Pattern[str]] = {
    language: re.compile(pattern)
    for language, pattern in {
        "en": rf"\b(?:shown|seen|depicted|illustrated|indicated|marked|labell?ed) (?:\w+ )?in (?:the|this) "
        rf"(?:\w+ )?{_PICTURE}s?\b"
        rf"|\b(?:see|refer to|linked to) (?:the )?(?:\w+ )?(?:{_PICTURE}|fig\.)"
        rf"|\b(?:accompanying|attached) (?:\w+ )?{_PICTURE}s?\b|\bthe following {_PICTURE}\b"
        rf"|\b{_PICTURE}s? (?:(?:below|above)(?! \d)|attached|provided)\b"
        rf"|\b{_PICTURE}s? (?:of [\w ]{{1,60}} )?(?:is|are) (?:shown|provided|given|depicted)(?= below| here|[.:;,?]|$)"
        rf"|\b(?:{_PICTURE}|smear|slide|biopsy|histology|scan|x-ray|ecg|ekg|electrocardiogram|ct|mri|rash|lesion)s?\b[^.?]{{0,40}}"
        r" (?:is|are) shown (?:below|here)\b"
        r"|\bshown in (?:fig\.|figure)|\b(?:image|figure|fig\.) (?:no\.? ?|number |n[º°o]\.? ?)?\d",
        "zh": r"(?:如|见|看|据|根据|依据)(?:下|上|右|左|附)?图(?!像|形|谱|片显示)|(?<!心电)(?<!脑电)图所示"
        r"|(?:下|右|左|附)图(?:中|所|为|是|显|示|,|、|。|:)",
        "ja": r"別冊|別に示す|(?:下|上|次|右|左)の?図[にをのでは]|図[0-9]*[にを]示[すし]"
        r"|(?:写真|画像|像|心電図|エックス線写真|超音波像|ct|mri)[^。はが]{0,20}を示す",
        "ko": r"(?<![가-힣])(?:다음|아래|위)(?:의)? ?(?:그림|사진|도표|영상)|(?:그림|사진)(?:을|를)? ?(?:보고|보면|참고|참조)"
        r"|(?:그림|사진|영상)(?:은|는|이|가) 다음과? 같|(?:그림|사진)과 같",
        "fr": r"\b(?:sur|dans|voir|cf\.?|selon|d[’']apr[eè]s|par) (?:la |le |les |l[’']|ce |cette |une |un )?"
        r"(?:figures?|schémas?|photos?|photographies?)\b"
        r"|\b(?:figure|image|schéma|photo|photographie|graphique|courbe|cliché|tracé|structure|formule|molécule)s? "
        r"(?:\w+ )?ci-(?:dessous|dessus|contre|joint|après)"
        r"|\b(?:figure|image|schéma|photo|photographie|graphique|cliché|tracé)s? (?:suivant|n ?°|\d)",
        "es": r"\b(?:imagen|imágenes|figura|fotografía|gráfico|gráfica|radiografía|ecg|electrocardiograma) "
        r"(?:n\.?[ºo°]?\.? ?|número )?\d"
        r"|\b(?:ver|véase|ve|observa|muestra|observe|mostrad[oa]s?|representad[oa]s?|ilustrad[oa]s?) (?:en )?"
        r"(?:la |el |las |los )?(?:imagen|figura|fotografía|gráfic[oa])\b"
        r"|\b(?:imagen|figura|fotografía|gráfic[oa]) (?:adjunt[oa]|siguiente|que se (?:muestra|adjunta))"
        r"|\bvinculada a la imagen\b|\bse (?:adjunta|muestra) (?:una |la )?(?:imagen|figura|fotografía)\b",
        "ru": r"\bна (?:данном |этом |приведённом |приведенном |следующем )?(?:рисунке|рис\.|фотографии|изображении|схеме)"
        r"|\bсм\. ?(?:рис|фото|схем)|\b(?:рисун[ко]\w*|рис\.) ?№? ?\d",
    }.items()
}


class SoundChoice(Filter):
    """Drops multiple-choice items that can not be answered from their text.

    Reasons: `empty_question`; `too_few_options` (under two); `empty_option`; `repeated_option` (two options that say the
    same, whatever their case, spacing and width of letters); `needs_image` (the question or an option points to a picture).
    That the answers are among the options every row guarantees. Image phrases are known for en, zh, ja, ko, fr, es and
    ru; they are few on purpose, since a picture that is merely named is no fault.
    """

    bodies: ClassVar[tuple[type, ...]] = (Choice,)
    images: bool = Field(True, description="drop items that point to a picture")

    def judge(self, rows: Sequence[Row], context: StepContext) -> list[Drop | Flag | None]:
        """One verdict a row: the first fault found."""
        return [self._one(row.body, row.language) if isinstance(row.body, Choice) else None for row in rows]

    def _one(self, body: Choice, language: str) -> Drop | None:
        question, options = folded(body.question), [folded(option) for option in body.options]
        if not any(character.isalnum() for character in question):
            return Drop("empty_question")
        if len(options) < 2:
            return Drop("too_few_options", f"{len(options)} option")
        for index, option in enumerate(options):
            if not option:
                return Drop("empty_option", f"option {index + 1} of {len(options)}")
            if option in options[:index]:
                return Drop(
                    "repeated_option", f"options {options.index(option) + 1} and {index + 1}: {body.options[index]}"
                )
        pattern = NEEDS_IMAGE.get(language)
        if self.images and pattern:
            for text in (question, *options):
                found = pattern.search(text)
                if found:
                    return Drop("needs_image", f"'{found.group()}'")
        return None
