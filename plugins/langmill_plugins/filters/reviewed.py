"""What people said of rationales, read back from their sheets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import PrivateAttr

from langmill.api import Choice, Context, Drop, Field, Filter, Flag, MissingInput, RecipeError, Row, StepContext
from langmill_plugins.review.sheets import Said, read_sheets
from langmill_plugins.review.verdicts import CHANGED, CHECKED, DISPUTED, FAILED, UNCHECKED, shown_hash, told

SHOWN = 20  # faults that are written out


class Reviewed(Filter):
    """Flags multiple-choice rows with what reviewers said of their rationale, and drops none.

    Reads the sheets of the exporter `review_sheet` as its page saves them or as a spreadsheet does, separated by commas, semicolons
    or tabs: a file, or all CSV files of a folder, one of each reviewer. No sheet yet means that nobody has checked anything yet.

    Flags: `explanation_checked` (passed), `explanation_failed`, `explanation_disputed` (one says pass, another says fail),
    `explanation_changed` (there are verdicts, but of words that have changed since: they do not count), and `explanation_unchecked`
    where nobody said anything, nor did the row's source. Only rows that passed are compared by `rationale_similarity` then.

    An unknown verdict, a line that is no CSV and, with `of`, a verdict on a row that there is not are faults, all of them told
    with file and line. Rows are looked up in whole runs, since a plan and a run with --limit do not have all of them.
    """

    bodies: ClassVar[tuple[type, ...]] = (Choice,)
    path: str = Field(
        description="a sheet, or a folder of sheets, beside the recipe; $data_dir/… lies below the data folder"
    )
    of: str | None = Field(
        None, description="the earlier data set that the sheets were written of: ids are looked up in it"
    )

    _said: dict[str, list[Said]] | None = PrivateAttr(None)

    def files(self, context: Context) -> list[Path]:
        """The sheets. Raises RecipeError with everything that is wrong in them."""
        paths = self._sheets(context)
        self._read(paths, context)
        return paths

    def judge(self, rows: Sequence[Row], context: StepContext) -> list[Drop | Flag | None]:
        """One flag a row that has a rationale. The first call reads the sheets, and looks their ids up."""
        if self._said is None:
            self._said = self._read(self._sheets(context), context)
            self._look_up(self._said, context)
        return [self._one(row, self._said) for row in rows]

    def _one(self, row: Row, said: dict[str, list[Said]]) -> Flag | None:
        body = row.body
        if not isinstance(body, Choice) or not body.explanation:
            return None
        verdicts = said.get(row.id, [])
        words = {one.verdict for one in verdicts if one.shown == shown_hash(body)}
        if len(words) > 1:
            return Flag(DISPUTED)
        if words:
            return Flag(CHECKED if "pass" in words else FAILED)
        if verdicts:
            return Flag(CHANGED)
        return Flag(UNCHECKED) if told(row.flags) is None else None

    def _sheets(self, context: Context) -> list[Path]:
        """The files, sorted; none where there is nothing yet."""
        path = context.path(self.path)
        if path.is_dir():
            return sorted(one for one in path.rglob("*") if one.suffix.lower() == ".csv" and one.is_file())
        return [path] if path.is_file() else []

    def _read(self, paths: Sequence[Path], context: Context) -> dict[str, list[Said]]:
        try:
            said, faults = read_sheets(paths)
        except OSError as error:
            raise MissingInput(f"{context.place}.path: {error}") from None
        _refuse(faults, context)
        by_id: dict[str, list[Said]] = {}
        for one in said:
            if one.verdict:
                by_id.setdefault(one.id, []).append(one)
        return by_id

    def _look_up(self, said: dict[str, list[Said]], context: StepContext) -> None:
        """Raises RecipeError for verdicts on rows that the data set does not have. A plan and a bounded
        run can not tell."""
        if not (self.of and said and context.whole):
            return
        unknown = said.keys() - {row.id for row in context.rows(self.of, None)}
        faults = [
            f"{one.place}: '{one.id}' is no row of '{self.of}': take the line out"
            for name in sorted(unknown)
            for one in said[name]
        ]
        _refuse(faults, context)


def _refuse(faults: Sequence[str], context: Context) -> None:
    """Raises RecipeError where there are any."""
    if faults:
        more = [f"… and {len(faults) - SHOWN:,} more"] if len(faults) > SHOWN else []
        raise RecipeError(
            "\n".join([f"{context.place}.path: faults in its sheets: {len(faults):,}", *faults[:SHOWN], *more])
        )
