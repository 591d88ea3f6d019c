"""CasiMedicos: cases of the Spanish residency examination with doctors' explanations, in parallel languages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from langmill.api import Choice, Field, Gives, Row, RowFault, SourceContext

from .reading import lines
from .records import Entry, FileLoader, choice

KEY = re.compile(r"(?:CORRECT ANSWER|BONNE RÉPONSE|RÉPONSE CORRECTE|RESPUESTA CORRECTA)\s*:\s*(\S+)")
# What stands before a colon in capitals: the headings of a case. An abbreviation may do so, too.
HEADING = re.compile(r"([A-ZÀ-Þ]+(?: [A-ZÀ-Þ]+)*)\s*:|(QUESTION TYPE)\b")
OPENING = re.compile(r"(?:CLINICAL CASE|CAS CLINIQUE|CASO CLÍNICO)\s*:\s*")


class CasiMedicos(FileLoader):
    """Reads CasiMedicos with argument labels (English, Spanish, French) from its files of one token a line.

    The tokens are joined to readable text again, the labels are left out. All languages of a case are one family.
    """

    gives: ClassVar[Gives] = Gives(Choice, explained=True)
    suffixes: ClassVar[tuple[str, ...]] = (".tsv",)
    layout: ClassVar[tuple[str, ...]] = (
        "QUESTION TYPE",
        "CORRECT ANSWER|BONNE RÉPONSE|RÉPONSE CORRECTE|RESPUESTA CORRECTA",
    )
    languages: tuple[str, ...] = Field(("es", "en", "fr"), min_length=1, description="editions to read: es, en, fr")

    def mine(self, path: Path) -> bool:
        """The files of the languages asked for: the folder's name is the language."""
        return super().mine(path) and path.parent.name.lower() in self.languages

    def entries(self, path: Path, context: SourceContext) -> Iterator[Entry]:
        """One a case: language, split and number in the file are its name. A line that is not text spoils its case alone."""
        language, split = path.parent.name.lower(), self.file_split(path, context)
        number, start = 0, 1
        case: list[str] = []
        fault: RowFault | None = None

        def entry() -> Entry:
            return Entry(
                f"{language}.{path.stem}-{number}", f"{path.name}:{start}", fault or _headed(case), split, language
            )

        for line, sentence in _sentences(path):
            if isinstance(sentence, str) and re.match(r"QUESTION TYPE\b", sentence):
                if case or fault:
                    yield entry()
                number, start, case, fault = number + 1, line, [], None
            if isinstance(sentence, RowFault):
                fault = sentence
            else:
                case.append(sentence)
        if case or fault:
            yield entry()

    def row(self, entry: Entry, context: SourceContext) -> Row:
        """The item with the doctor's explanation."""
        body = item_of(entry.value[""], entry.language)
        family = f"casimedicos/{entry.record.removeprefix(f'{entry.language}.')}"
        return context.row(entry.record, entry.language, body, split=entry.split, family=family)


def _headed(case: list[str]) -> dict[str, Any]:
    """A case's sentences without a name, and its headings by theirs: a set that calls them otherwise is told as such."""
    found = (HEADING.match(sentence) for sentence in case)
    return {"": case, **{heading[1] or heading[2]: "" for heading in found if heading}}


def _sentences(path: Path) -> Iterator[tuple[int, str | RowFault]]:
    """Sentences, each the first column of its lines joined by blanks, with the number of the first line."""
    tokens: list[str] = []
    start = 1
    for number, line in lines(path):
        if isinstance(line, RowFault):
            yield number, line
            continue
        cells = line.split()
        if cells:
            start = start if tokens else number
            tokens.append(cells[0])
        elif tokens:
            yield start, " ".join(tokens)
            tokens = []
    if tokens:
        yield start, " ".join(tokens)


def item_of(case: Sequence[str], language: str) -> Choice:
    """A case's sentences as an item. Raises RowFault broken_case, no_answer, bad_key, no_options, no_question."""
    if not case[0].startswith("QUESTION TYPE"):
        raise RowFault("broken_case", "text before the first QUESTION TYPE:")
    keys = [index for index, sentence in enumerate(case) if KEY.match(sentence)]
    if not keys:
        raise RowFault("no_answer", "no line states the correct answer")
    before, after = list(case[1 : keys[0]]), case[keys[0] + 1 :]
    starts = [index for index, sentence in enumerate(before) if re.match(r"1 ?-", sentence)]
    if not starts:
        raise RowFault("no_options", "no option 1-")
    found: list[list[str]] = []
    for sentence in before[starts[-1] :]:  # a numbered list in the case itself comes before the options
        if number := re.match(rf"{len(found) + 1} ?-\s*", sentence):
            found.append([sentence[number.end() :]])
        else:
            found[-1].append(sentence)
    options = [prose(sentences, language) for sentences in found]
    if options[-1].strip(" .") == "nan":  # examinations with four options leave the fifth as 'nan'
        options.pop()
    letter = KEY.match(case[keys[0]])
    key = letter[1].rstrip(".") if letter else ""
    if not re.fullmatch(r"[1-9]", key) or int(key) > len(options):
        raise RowFault("bad_key", f"the answer is '{key}', possible: 1 to {len(options)}")
    before = [
        OPENING.sub("", sentence) if not index else sentence for index, sentence in enumerate(before[: starts[-1]])
    ]
    return choice(
        prose(before, language),
        options,
        (int(key) - 1,),
        explanation=prose(after, language),
    )


def prose(sentences: Sequence[str], language: str) -> str:
    """Sentences as running text: a line for each list item, no blanks where the language writes none.

    French keeps the blank before ``: ; ? !`` and Spanish and French the one before ``%``, as both are written.
    """
    text = "".join(("\n" if re.match(r"[-–•*] ?\S", sentence) else " ") + sentence for sentence in sentences)
    text = text.replace("\u00ad", "")  # soft hyphens of the line ends
    tight = ".,)\\]" if language == "fr" else ".,;:?!)\\]"
    text = re.sub(rf" +([{tight}])(?=[\s.,;:)]|$)", r"\1", text)
    text = re.sub(r"([(\[¿¡]) +(?=\S)", r"\1", text)
    if language == "fr":
        text = re.sub(r"\b((?:[cdjlmnst]|qu)['’]) +(?=\w)", r"\1", text, flags=re.IGNORECASE)
    return re.sub(r" {2,}", " ", text).strip()
