"""How much two lists of words have in common: BLEU and ROUGE of one text against one reference, each 0..1."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from langmill.api import missing_package

Similarity = Callable[[Sequence[str], Sequence[str]], float]
"""Of a text's words and the reference's."""
PACKAGES = {"bleu1": "sacrebleu", "bleu4": "sacrebleu", "rouge1": "rouge-score", "rougeL": "rouge-score"}


def similarities(names: Iterable[str], place: str) -> dict[str, Similarity]:
    """The measures by name: bleu1, bleu4, rouge1, rougeL, rouge1_set. ``place`` is what errors begin with. Raises MissingInput
    without their packages."""
    makers: Mapping[str, Callable[[], Similarity]] = {
        "bleu1": lambda: _bleu(1, place),
        "bleu4": lambda: _bleu(4, place),
        "rouge1": lambda: _rouge("rouge1", place),
        "rougeL": lambda: _rouge("rougeL", place),
        "rouge1_set": lambda: _set_overlap,
    }
    return {name: makers[name]() for name in dict.fromkeys(names) if name in makers}


def packages(names: Iterable[str]) -> dict[str, str]:
    """What the measures were computed with: {package: version}."""
    return {
        package: version(package) for package in dict.fromkeys(PACKAGES[name] for name in names if name in PACKAGES)
    }


def _bleu(order: int, place: str) -> Similarity:
    """BLEU of one sentence, n-grams up to ``order``, 0.1 for a count that is none: NLTK's sentence_bleu with smoothing method1, but
    that a text with fewer words than ``order`` gets 0 here."""
    try:
        from sacrebleu.metrics import BLEU
    except ImportError:
        raise missing_package(f"{place}: BLEU", "sacrebleu", "eval") from None
    bleu = BLEU(tokenize="none", smooth_method="floor", smooth_value=0.1, max_ngram_order=order)

    def score(words: Sequence[str], reference: Sequence[str]) -> float:
        # corpus_score of one: sentence_score is the same and warns at every call
        return float(bleu.corpus_score([" ".join(words)], [[" ".join(reference)]]).score) / 100

    return score


class _Blanks:
    """What rouge-score is told to cut with: the words are cut already. Its own tokenizer knows the letters a to z alone."""

    def tokenize(self, text: str) -> list[str]:
        return text.split(" ")


def _rouge(name: str, place: str) -> Similarity:
    """ROUGE's F1 as Lin has it: each word counts as often as it is in both."""
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError:
        raise missing_package(f"{place}: ROUGE", "rouge-score", "eval") from None
    scorer: Any = RougeScorer([name], tokenizer=_Blanks())

    def score(words: Sequence[str], reference: Sequence[str]) -> float:
        return float(scorer.score(" ".join(reference), " ".join(words))[name].fmeasure)

    return score


def _set_overlap(words: Sequence[str], reference: Sequence[str]) -> float:
    """F1 of the different words, however often each is there: what the Python package ``rouge`` calls ROUGE-1."""
    mine, theirs = set(words), set(reference)
    return 2 * len(mine & theirs) / (len(mine) + len(theirs)) if mine or theirs else 0.0
