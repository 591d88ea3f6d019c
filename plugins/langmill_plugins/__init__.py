"""The catalogue: every part that ships, under the name a recipe uses. Registered exactly as an outside plugin's would be.

A part's module is imported when a recipe uses the part, so that a recipe pays for what it names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TypeVar

from langmill.api import LLM, Augmenter, Evaluator, Executor, Exporter, Filter, Loader, Part, Trainer, hookimpl

P = TypeVar("P", bound=Part)


class Shelf(Mapping[str, type[P]]):
    """Parts of one kind: name to class, imported from ``langmill_plugins.KIND.NAME`` when it is asked for; a class that lies
    elsewhere is named with its module, MODULE:CLASS."""

    def __init__(self, kind: str, classes: Mapping[str, str]):
        self.kind, self.classes = kind, classes

    def __getitem__(self, name: str) -> type[P]:
        module, _, named = self.classes[name].rpartition(":")
        part: type[P] = getattr(import_module(f"{__name__}.{module or f'{self.kind}.{name}'}"), named)
        return part

    def __iter__(self) -> Iterator[str]:
        return iter(self.classes)

    def __len__(self) -> int:
        return len(self.classes)


@hookimpl
def register_loaders() -> Mapping[str, type[Loader]]:
    """Ways to read rows: formats first, then sets in their own layouts."""
    return Shelf(
        "loaders",
        {
            "table": "Table",
            "huggingface": "HuggingFace",
            "text": "PlainText",
            "html": "Html",
            "epub": "Epub",
            "pdf": "Pdf",
            "aligned": "Aligned",
            "conllu": "ConllU",
            "squad": "Squad",
            "tmx": "Tmx",
            "apollo": "Apollo",
            "bentsao": "BenTsao",
            "casimedicos": "CasiMedicos",
            "cmexam": "CMExam",
            "frenchmedmcqa": "FrenchMedMCQA",
            "headqa": "HeadQA",
            "igakuqa": "IgakuQA",
            "kormedmcqa_cot": "KorMedMCQACoT",
            "medmcqa": "MedMCQA",
            "medqa": "MedQA",
            "medquad": "MedQuad",
            "mmlu": "MMLU",
            "openstax": "OpenStax",
            "pubmedqa": "PubMedQA",
            "rumeddanet": "RuMedDaNet",
        },
    )


@hookimpl
def register_filters() -> Mapping[str, type[Filter]]:
    """Steps that drop rows."""
    return Shelf(
        "filters",
        {
            "decontaminate": "Decontaminate",
            "exact": "Exact",
            "language_id": "LanguageId",
            "length": "Length",
            "medical_text": "MedicalText",
            "minhash": "MinHash",
            "repetition": "Repetition",
            "reviewed": "Reviewed",
            "sound_choice": "SoundChoice",
        },
    )


@hookimpl
def register_augmenters() -> Mapping[str, type[Augmenter]]:
    """Steps that make rows of rows."""
    return Shelf(
        "augmenters",
        {"ask": "Ask", "expand": "Expand", "explain": "Explain", "translate": "Translate", "unify": "Unify"},
    )


@hookimpl
def register_llms() -> Mapping[str, type[LLM]]:
    """Models that answer."""
    return Shelf(
        "llms",
        {
            "gguf": "Gguf",
            "hf": "trainers.weights.named:HuggingFace",  # weights are a trainer's business
            "litellm": "LiteLLM",
            "local": "Local",
            "replay": "Replay",
            "scripted": "Scripted",
        },
    )


@hookimpl
def register_exporters() -> Mapping[str, type[Exporter]]:
    """Ways to write rows."""
    return Shelf(
        "exporters",
        {
            "choice_jsonl": "ChoiceJsonl",
            "corpus": "Corpus",
            "messages_jsonl": "MessagesJsonl",
            "mmedbench_jsonl": "MMedBenchJsonl",
            "review_sheet": "ReviewSheet",
            "token_table": "trainers.exporting.token_table:TokenTable",  # tokenizers are a trainer's business
        },
    )


@hookimpl
def register_trainers() -> Mapping[str, type[Trainer]]:
    """Ways to train."""
    return Shelf("trainers", {"auto": "AutoTrainer", "peft": "PeftTrainer", "unsloth": "UnslothTrainer"})


@hookimpl
def register_evaluators() -> Mapping[str, type[Evaluator]]:
    """Scores."""
    return Shelf(
        "evaluators",
        {
            "choice_accuracy": "ChoiceAccuracy",
            "judge": "Judge",
            "language_consistency": "LanguageConsistency",
            "perplexity": "Perplexity",
            "rationale_similarity": "RationaleSimilarity",
        },
    )


@hookimpl
def register_executors() -> Mapping[str, type[Executor]]:
    """Places to run."""
    return Shelf("executors", {"local": "Local", "ray": "Ray"})
