"""The model that training starts from: found on this machine, as a folder of safetensors, configuration and tokenizer.

Nothing is fetched here but packaged models: a model of the hub must have been downloaded before, on purpose.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from langmill.api import Context, MissingInput, RecipeError, missing_package, packaged_model, whole_folder, write_json

READ = 64 << 20  # bytes of weights that go into a folder's identity, about
DOWNLOAD = (  # a licence goes wherever the weights go, and consolidated* are the same weights once more
    "--include '*.safetensors' '*.json' '*.jinja' '*.model' 'LICENSE*' 'NOTICE*' 'USE_POLICY*' --exclude 'consolidated*'"
)
LEAST = 4096  # bytes of a piece, however many tensors there are
MARK = "langmill.json"  # beside an exported model: what it was made of
SPEECH = (  # what decides, beside the weights, how a model is asked and where its answer ends
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "*.model", "*.tiktoken", "chat_template*",
    "additional_chat_templates/*", "generation_config.json",
)  # fmt: skip


@dataclass(frozen=True)
class Base:
    """A base model on this machine. ``name`` as the recipe has it, but of an absolute path its last part: it goes into files that
    leave the machine. ``identity`` tells two models apart; ``languages`` None: it does not say."""

    name: str
    folder: Path
    identity: str
    languages: frozenset[str] | None = None
    demonstration: bool = False


def find_base(name: str, context: Context, asked: str = "train.base") -> Base:
    """``local/NAME`` (packaged), a folder (absolute or beside the recipe), or ``owner/name[@revision]`` of the hub.

    ``asked`` is who names it, for errors. Raises MissingInput, with what to type, when it is not on this machine or holds no
    safetensors.
    """
    if name.startswith("local/"):
        packaged = packaged_model(name.removeprefix("local/"), context.offline)
        folder = packaged.path.parent / "hf"
        if not folder.is_dir():
            convert_gguf(packaged.path, folder, packaged.eos_token, packaged.pad_token)
        return Base(name, folder, f"sha256:{packaged.sha256}", packaged.languages, packaged.demonstration)
    folder = context.path(name)
    if folder.is_dir():
        _check(folder, name, asked)
        said = PurePath(name).name if PurePath(name).is_absolute() else name
        return Base(said, folder, identity_of(folder), *_marked(folder, asked))
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise MissingInput(
            f"{asked}: there is no folder {folder}. Possible: local/NAME (packaged), a folder with config.json and "
            "*.safetensors, or OWNER/NAME of the model hub once it is downloaded"
        )
    folder = _downloaded(name, asked)
    _check(folder, name, asked)
    return Base(name, folder, f"{name.partition('@')[0]}@{folder.name}", *_marked(folder, asked))


def settle() -> None:
    """What the environment must say before torch or transformers is imported; what a person has set stays."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    # Threads that wait must sleep: where another process holds one of two cores, spinning ones made a step of 3 s last 51.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def quiet() -> None:
    """No network, no bars, no warnings meant for notebooks. Imports transformers."""
    settle()
    try:
        from transformers.utils import logging
    except ImportError:
        raise missing_package("training", "transformers", "train") from None
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in a folder; a fast one, since masks need the place of each token in the text."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if not tokenizer.is_fast:
        raise MissingInput(f"{folder} brings no tokenizer.json: save it once with a fast tokenizer")
    if tokenizer.eos_token_id is None:
        raise MissingInput(f"the tokenizer in {folder} names no end token: add eos_token to its tokenizer_config.json")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = _padding(tokenizer)
    return tokenizer


def _padding(tokenizer: Any) -> str:
    """A token to pad with, for a tokenizer that names none.

    Here padding is known by its place and never by its id, so that the end token would do; but what reads the saved tokenizer
    later may leave every padding token out of the loss, and the model would never learn to end. So a token that says it is
    for padding comes first, then the unknown one, then any reserved one, and the end token only where there is nothing else.
    """
    special = [str(token) for _, token in sorted(tokenizer.added_tokens_decoder.items()) if token.special]
    ends = (tokenizer.eos_token, tokenizer.bos_token)
    free = [text for text in special if text not in ends]
    named = [text for text in free if "pad" in text.lower()]
    unknown = [tokenizer.unk_token] if tokenizer.unk_token and tokenizer.unk_token not in ends else []
    reserved = [text for text in free if "reserved" in text or "unused" in text]
    return str([*named, *unknown, *reserved, tokenizer.eos_token][0])


def convert_gguf(gguf: Path, folder: Path, eos: str | None, pad: str | None) -> None:
    """Unpack a GGUF file into a folder that transformers reads: bfloat16 safetensors, configuration, tokenizer, template.

    ``eos`` and ``pad`` take the place of what the GGUF says, which can be wrong.
    """
    quiet()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        import gguf as _  # noqa: F401  transformers reads the file through it
    except ImportError:
        raise missing_package(f"the base model {gguf.name}", "gguf", "train") from None
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
    if eos:
        tokenizer.eos_token = eos
    if pad:
        tokenizer.pad_token = pad
    unpacked = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16, local_files_only=True
    )
    # A model that came from a GGUF refuses to be saved, so its weights move into a fresh one.
    config = copy.deepcopy(unpacked.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.eos_token_id, config.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.load_state_dict(unpacked.state_dict(), strict=True)
    model.tie_weights()
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    with whole_folder(folder) as work:
        model.save_pretrained(work)
        tokenizer.save_pretrained(work)


def _downloaded(name: str, asked: str) -> Path:
    """The folder of a hub model in the hub client's own cache."""
    repo, _, revision = name.partition("@")
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise missing_package("training", "transformers", "train") from None
    try:
        return Path(snapshot_download(repo, revision=revision or None, local_files_only=True))
    except Exception:  # the client raises a handful of classes that all mean: not here
        at = f" --revision {revision}" if revision else ""
        raise MissingInput(
            f"{asked}: '{name}' is neither a folder nor downloaded. With a network, once: "
            f"hf download {repo}{at} {DOWNLOAD}. "
            "Without one: base: local/smollm2-135m-instruct"
        ) from None


def mark(base: Base, folder: Path) -> None:
    """Leave word beside a model made of a base, for whoever begins with that one: what it is made of and is fit for."""
    languages = None if base.languages is None else sorted(base.languages)
    facts = {"base": base.name, "identity": base.identity, "demonstration": base.demonstration, "languages": languages}
    write_json(folder / MARK, facts)


def _marked(folder: Path, asked: str) -> tuple[frozenset[str] | None, bool]:
    """The languages of a model that this project wrote (None: not told, or another's), and whether it is a demonstration."""
    try:
        facts = json.loads((folder / MARK).read_text("utf-8"))
        languages = facts.get("languages")
        return None if languages is None else frozenset(map(str, languages)), facts["demonstration"] is not False
    except FileNotFoundError:
        return None, False
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise MissingInput(
            f"{asked}: {folder / MARK} can not be read, and so not whether this is a demonstration model: export it again"
        ) from None


def _check(folder: Path, name: str, asked: str) -> None:
    missing = [what for what in ("config.json", "*.safetensors", "tokenizer*") if not any(folder.glob(what))]
    if missing:
        raise MissingInput(
            f"{asked}: '{name}' ({folder}) lacks {', '.join(missing)}; weights are read from safetensors alone"
        )
    if "quantization_config" in json.loads((folder / "config.json").read_text("utf-8")):
        raise RecipeError(
            f"{asked}: '{name}' was quantised before, and what is merged into it would be rounded twice: name the model "
            "that it was made from; quantize: 4bit quantises that one as it is read"
        )
    if lost := lacking(folder):
        raise MissingInput(f"{asked}: '{name}' ({folder}) is not whole: {lost}. Download or copy it again")


def weight_files(folder: Path) -> list[Path]:
    """The files that a model's weights are read from, as transformers chooses them: ``model.safetensors``, or else the shards that
    the index names, which need not be there. Other safetensors (a publisher's own form of the same weights, an adapter) are no
    part of the model. Raises ValueError for an index that can not be read."""
    one, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if one.exists() or not index.exists():
        return [one] if one.exists() else sorted(folder.glob("model*.safetensors"))
    try:
        return [folder / name for name in sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{index.name} can not be read") from None


def lacking(folder: Path) -> str | None:
    """What a model's folder lacks, in words: a file that is named and not there, one that was cut short; None when it is whole."""
    if not (folder / "config.json").is_file():
        return "config.json is missing"
    try:
        files = weight_files(folder)
    except ValueError as fault:
        return str(fault)
    if not files:
        return "model.safetensors is missing"
    cut = [path.name for path in files if not is_whole(path)]
    return f"{', '.join(cut)}: missing or cut short" if cut else None


def is_whole(weights: Path) -> bool:
    """Whether a safetensors file is as long as its header says: 8 bytes with the header's length, the header, the numbers."""
    try:
        header, places = _header(weights)
        return 8 + len(header) + max((end for _, end in places), default=0) == weights.stat().st_size
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def identity_of(folder: Path) -> str:
    """A hash of the configuration and, of the weights, of every header and of the beginning, middle and end of every tensor:
    reading all of a large model takes minutes. Models of up to some ten million parameters are read whole, and others differ in
    every tensor once they were trained or merged. Raises ValueError or OSError where the weights are not whole.
    """
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    found = [(path, *_header(path)) for path in weight_files(folder)]
    size = max(LEAST, READ // (3 * max(1, sum(len(places) for _, _, places in found))))
    for path, header, places in found:
        digest.update(f"\0{path.name}\0".encode() + header)
        with path.open("rb") as file:
            for begin, end in places:
                # Pieces that overlap in a small tensor are read twice, which does no harm.
                for at in (begin, begin + (end - begin - size) // 2, end - size):
                    file.seek(8 + len(header) + max(begin, at))
                    digest.update(file.read(min(size, end - begin)))
    return f"samples:{digest.hexdigest()}"


def speech_of(*folders: Path) -> str:
    """A hash of the files in some folders that, beside the weights, decide what a model says: its tokenizer's, its chat templates and
    its generation_config.json. They are no part of :func:`identity_of`: an adapter fits its base whatever the chat template."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted({path for pattern in SPEECH for path in folder.glob(pattern) if path.is_file()}):
            digest.update(f"\0{path.relative_to(folder).as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        digest.update(b"\0")
    return digest.hexdigest()


def _header(weights: Path) -> tuple[bytes, list[tuple[int, int]]]:
    """A safetensors file's header as it is, and where each tensor begins and ends, in bytes after it."""
    with weights.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > weights.stat().st_size:
            raise ValueError(f"{weights.name} is no safetensors file, or was cut short")
        header = file.read(size)
    facts = json.loads(header)
    places = [one["data_offsets"] for name, one in facts.items() if name != "__metadata__"]
    return header, [(begin, end) for begin, end in places]
