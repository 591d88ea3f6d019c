"""GGUF through the converter of llama.cpp, which auto-round (a maintained package) brings along for some hundred architectures.

Its ``conversion`` folder is imported as it is and asked for nothing but to read a folder and write a file. An architecture or a
way to split words that it does not know is refused by name. What came out was run in llama.cpp, and said what transformers says,
for Llama, Mistral, Qwen 3, Gemma 3, SmolLM 3 and Granite.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from langmill.api import FactoryError, MissingInput, missing_package


def converter() -> Any:
    """The converter's module. Raises MissingInput where it is not installed."""
    try:
        import auto_round
        import gguf  # noqa: F401
        import sentencepiece  # noqa: F401  the converter reads some vocabularies through it
    except ImportError as fault:
        raise missing_package("export --as gguf", str(fault.name), "gguf") from None
    root = Path(auto_round.__file__).parent / "export" / "export_to_gguf"
    if not (root / "conversion").is_dir():
        raise MissingInput("export --as gguf: this auto-round has no converter in it: pip install 'langmill[gguf]'")
    sys.path.insert(0, str(root))
    try:
        return importlib.import_module("conversion")
    finally:
        sys.path.remove(str(root))


def write_gguf(merged: Path, file: Path, conversion: Any, *, eight_bits: bool) -> None:
    """Write a folder of safetensors as one GGUF file, chat template included: in the precision they have, or as Q8_0.

    ``conversion``: :func:`converter`. Raises FactoryError where it does not serve the model.
    """
    import torch
    from gguf import LlamaFileType
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(merged, local_files_only=True, trust_remote_code=False)
    sixteen = {torch.bfloat16: LlamaFileType.MOSTLY_BF16, torch.float16: LlamaFileType.MOSTLY_F16}
    kind = LlamaFileType.MOSTLY_Q8_0 if eight_bits else sixteen.get(config.dtype, LlamaFileType.ALL_F32)
    _tell_byte_vocabulary(merged / "tokenizer.json")
    try:
        shape = conversion.ModelBase.load_hparams(merged, False)
        name = conversion.get_model_architecture(shape, conversion.ModelType.TEXT)
        model = conversion.get_model_class(name)
        with torch.inference_mode():
            model(merged, kind, file, model_name=file.stem).write()
    except NotImplementedError as fault:  # what the converter raises for what it does not know
        said = (str(fault).strip().splitlines() or ["it does not know this model"])[0]
        raise FactoryError(
            f"export: the GGUF converter does not serve {', '.join(config.architectures or ['this model'])} with its tokenizer "
            f"({said}): --as merged is possible"
        ) from fault


def _tell_byte_vocabulary(tokenizer: Path) -> None:
    """The converter takes ``byte_fallback`` as the sign of a SentencePiece vocabulary. Where the vocabulary has no tokens for single
    bytes to fall back on it means nothing, but stands in tokenizers that were themselves read from a GGUF file: switch it off."""
    facts = json.loads(tokenizer.read_text("utf-8"))
    model = facts["model"]
    if model.get("byte_fallback") and "<0x0A>" not in model["vocab"]:
        model["byte_fallback"] = False
        tokenizer.write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")
