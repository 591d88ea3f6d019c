"""How far a licence lets one go, as far as its name says it. A name is all that is known here: the terms themselves rule."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

# The first pattern that matches decides. SPDX ids, and the usual ways to write them.
_RULES = (
    (r"cc-by-nc(-(sa|nd))?(-[\d.]+)?(-igo)?", 4, "not for commercial use"),
    (r"cc-by-nd(-[\d.]+)?", 3, "may be passed on unchanged only"),
    (r"cc-by-sa(-[\d.]+)?(-igo)?|(a|l)?gpl-[\d.]+(-only|-or-later|\+)?|odbl-1\.0|gfdl-[\d.]+(-only|-or-later)?|cdla-sharing-1\.0",
     2, "what is made from it carries the same licence"),
    (r"cc-by(-[\d.]+)?(-igo)?|mit|apache-2\.0|bsd-[23]-clause|isc|odc-by-1\.0|cdla-permissive-[\d.]+|mpl-2\.0", 1, "names its authors"),
    (r"cc0-1\.0|cc0|pddl-1\.0|unlicense|0bsd|public-domain", 0, "free for any use"),
)  # fmt: skip


class Terms(NamedTuple):
    """One licence: ``strictness`` 0 (free for any use) to 5 (nothing known), and what that means in words."""

    license: str
    strictness: int
    words: str
    known: bool

    @property
    def commercial(self) -> bool:
        """Whether commercial use is permitted, as far as the name says; unknown counts as not permitted."""
        return self.strictness < 4


def terms(license: str) -> Terms:
    """The terms behind a licence's name."""
    name = re.sub(r"[\s_]+", "-", license.strip().lower())
    for pattern, strictness, meaning in _RULES:
        if re.fullmatch(pattern, name):
            return Terms(license, strictness, meaning, True)
    return Terms(license, 5, "terms not known: counts as not permitted for commercial use", False)


def strictest(licenses: Iterable[str]) -> Terms | None:
    """The strictest of several licences; None for none."""
    found = [terms(license) for license in sorted(licenses)]
    return max(found, key=lambda item: item.strictness) if found else None
