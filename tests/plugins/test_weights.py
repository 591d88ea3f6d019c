"""Bases as they may lie on a machine, and what is said of those that can not be used: nothing is loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.tiny_models import PACKAGED, tiny_base

from langmill.api import Context, FactoryError, MissingInput
from langmill_plugins.trainers.weights.base_model import find_base, is_whole, lacking, load_tokenizer


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return Context("train.one", 17, {}, tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def tiny(context: Context, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("base") / "tiny")


def _change(path: Path, **facts: Any) -> None:
    """Put facts into a JSON file; None takes one out."""
    known = {**json.loads(path.read_text()), **facts}
    path.write_text(json.dumps({key: value for key, value in known.items() if value is not None}))


def _cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _shards(folder: Path) -> None:
    """Weights in two files of which one never arrived."""
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda base: _cut(base / "model.safetensors"),
            "model.safetensors: missing or cut short. Download or copy it again",
        ),
        (_shards, "model-00002-of-00002.safetensors: missing or cut short"),
        (
            lambda base: (_shards(base), (base / "model.safetensors.index.json").write_text("[")),
            "index.json can not be read",
        ),
        (lambda base: (base / "config.json").unlink(), "lacks config.json"),
        (
            lambda base: _change(base / "config.json", quantization_config={"quant_method": "bitsandbytes"}),
            "was quantised before.*name the model that it was made from",
        ),
    ],
)
def test_a_base_that_is_not_whole(
    damage: Callable[[Path], Any], words: str, tiny: Path, context: Context, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny, base)
    assert find_base(str(base), context).folder == base
    damage(base)
    with pytest.raises(FactoryError, match=words) as told:
        find_base(str(base), context)
    assert told.value.exit_code == 2


def test_length_tells_whether_weights_are_whole(tiny: Path, tmp_path: Path) -> None:
    weights = tiny / "model.safetensors"
    assert is_whole(weights)
    assert lacking(tiny) is None
    content = weights.read_bytes()
    for number, part in enumerate((content[:-1], content + b"0", content[:4], b"", b"\xff" * 64)):
        (tmp_path / str(number)).write_bytes(part)
        assert not is_whole(tmp_path / str(number)), number
    assert not is_whole(tmp_path / "nothing")


def test_identity_goes_by_what_is_in_the_folder(tiny: Path, context: Context, tmp_path: Path) -> None:
    shutil.copytree(tiny, tmp_path / "moved")
    first = find_base(str(tiny), context).identity
    assert find_base(str(tmp_path / "moved"), context).identity == first
    with (tmp_path / "moved" / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    assert find_base(str(tmp_path / "moved"), context).identity != first


@pytest.mark.parametrize(
    ("added", "unknown", "pad"),
    [
        (("<|end|>", "<|finetune_right_pad_id|>", "<|reserved_0|>"), None, "<|finetune_right_pad_id|>"),
        (("<|end|>", "<unk>"), "<unk>", "<unk>"),
        (("<|end|>", "<|reserved_0|>"), None, "<|reserved_0|>"),
        (("<|end|>",), None, "<|end|>"),
        (("<|end|>",), "<|end|>", "<|end|>"),
    ],
)
def test_a_tokenizer_without_padding_gets_some(
    added: tuple[str, ...], unknown: str | None, pad: str, tmp_path: Path
) -> None:
    """Not the end token where anything else will do: who leaves padding out of the loss would leave the end out with it."""
    small_tokenizer(tmp_path, added, eos="<|end|>", unk=unknown)
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.pad_token == pad
    assert tokenizer.eos_token == "<|end|>"
    assert len(tokenizer) == 256 + len(added)  # no token is added: the model has no row for it


def test_a_tokenizer_that_can_not_end(tmp_path: Path) -> None:
    small_tokenizer(tmp_path, ("<|end|>",), eos=None, unk=None)
    with pytest.raises(MissingInput, match=r"names no end token: add eos_token to its tokenizer_config\.json"):
        load_tokenizer(tmp_path)


def test_the_packaged_models_padding_is_its_own(context: Context) -> None:
    tokenizer = load_tokenizer(find_base(PACKAGED, context).folder)
    assert (tokenizer.pad_token, tokenizer.eos_token) == ("<|endoftext|>", "<|im_end|>")


def small_tokenizer(folder: Path, added: tuple[str, ...], eos: str | None, unk: str | None) -> None:
    """A tokenizer of bytes with special tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: at for at, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in added])
    named = {name: text for name, text in (("eos_token", eos), ("unk_token", unk)) if text}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named).save_pretrained(folder)
