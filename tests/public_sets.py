"""The public sets in FACTORY_DATA as rows, for tests that look at real ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pytest

from langmill.api import Loader, Row, SourceContext, StepContext, packs_in
from langmill_plugins.loaders.casimedicos import CasiMedicos
from langmill_plugins.loaders.cmexam import CMExam
from langmill_plugins.loaders.frenchmedmcqa import FrenchMedMCQA
from langmill_plugins.loaders.headqa import HeadQA
from langmill_plugins.loaders.igakuqa import IgakuQA
from langmill_plugins.loaders.kormedmcqa_cot import KorMedMCQACoT
from langmill_plugins.loaders.medqa import MedQA
from langmill_plugins.loaders.medquad import MedQuad
from langmill_plugins.loaders.rumeddanet import RuMedDaNet

DATA = Path(os.environ.get("FACTORY_DATA", ""))
NEEDS_DATA = [
    pytest.mark.data,
    pytest.mark.skipif("FACTORY_DATA" not in os.environ, reason="FACTORY_DATA is not set"),
]
PACKS = {pack.code: pack for pack in packs_in("langmill_languages")}
CONTEXT = StepContext("datasets.x.steps[0]", 17, PACKS, Path())
SETS: dict[str, Callable[[], Loader]] = {
    "five": lambda: MedQA(path="$data_dir/medqa-usmle", license="x"),
    "four": lambda: MedQA(path="$data_dir/medqa-usmle-4opt", license="x"),
    "medquad": lambda: MedQuad(path="$data_dir/medquad", license="x"),
    "cmexam": lambda: CMExam(path="$data_dir/cmexam", license="x"),
    "igakuqa": lambda: IgakuQA(path="$data_dir/igakuqa", license="x"),
    "french": lambda: FrenchMedMCQA(path="$data_dir/frenchmedmcqa", license="x"),
    "headqa": lambda: HeadQA(path="$data_dir/headqa", license="x"),
    "casimedicos": lambda: CasiMedicos(path="$data_dir/casimedicos", license="x"),
    "korean": lambda: KorMedMCQACoT(path="$data_dir/kormedmcqa-cot", license="x"),
    "russian": lambda: RuMedDaNet(path="$data_dir/rumedbench/data/RuMedDaNet", license="x"),
}


@lru_cache
def load(name: str) -> tuple[Row, ...]:
    """The rows of a set, read once."""
    loader = SETS[name]()
    context = SourceContext("sources.s", 17, PACKS, Path(), DATA, source=name, license="x", splits=loader.splits)
    return tuple(item for item in loader.load(context) if isinstance(item, Row))
