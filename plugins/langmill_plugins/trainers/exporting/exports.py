"""The shapes that a trained stage can leave a run's folder in."""

from __future__ import annotations

import shutil
from pathlib import Path

from langmill.api import Context, RecipeError
from langmill_plugins.trainers.exporting.gguf_file import converter, write_gguf
from langmill_plugins.trainers.exporting.merged import legal_files, write_merged
from langmill_plugins.trainers.exporting.ollama import modelfile
from langmill_plugins.trainers.options import AdapterTrainer
from langmill_plugins.trainers.weights.adapters import CONFIG, WEIGHTS
from langmill_plugins.trainers.weights.base_model import Base, find_base, load_tokenizer, mark, quiet
from langmill_plugins.trainers.weights.trained import Trained, read_trained

KINDS = {
    "adapter": "The adapter alone, for peft",
    "merged": "Base and stages in one model, as safetensors",
    "gguf": "Base and stages in one GGUF file, in as many bits as the base",
    "gguf-q8_0": "Base and stages in one GGUF file, in eight bits",
    "ollama": "Base and stages in one GGUF file of eight bits, and a Modelfile for Ollama",
}


def write_export(trainer: AdapterTrainer, kind: str, folder: Path, out: Path, context: Context) -> str:
    """Write what a stage has left in ``folder`` as one of KINDS into the empty folder ``out``; returns how to use it.

    Raises RecipeError for a stage that can not be had as that kind, MissingInput for what is not there.
    """
    quiet()
    base = find_base(trainer.base, context)
    stage = read_trained(folder, base)
    legal = legal_files(base)
    for path in legal:
        shutil.copyfile(path, out / path.name)
    mark(base, out)
    match kind:
        case "adapter":
            return _adapter(stage, base, out)
        case "merged":
            write_merged(stage, base, out)
            return _MERGED
    conversion = converter()  # before the merging, which takes its time
    merged = out / "merged"
    write_merged(stage, base, merged)
    eight = kind != "gguf"
    file = out / f"{folder.parent.name}{'-q8_0' if eight else ''}.gguf"
    write_gguf(merged, file, conversion, eight_bits=eight)
    if kind == "ollama":
        tokenizer = load_tokenizer(merged)
        words = [path.read_text("utf-8", "replace") for path in legal]
        (out / "Modelfile").write_text(modelfile(tokenizer, file.name, words), encoding="utf-8")
    shutil.rmtree(merged)
    return (_OLLAMA if kind == "ollama" else _GGUF).format(file=file.name)


def _adapter(stage: Trained, base: Base, out: Path) -> str:
    if stage.lora is None:
        raise RecipeError("the stage trained all weights and has no adapter: --as merged")
    if stage.on or stage.merged:
        raise RecipeError(
            "the stage's adapter stands on what earlier stages made of the base, not on the base: --as merged"
        )
    for name in (WEIGHTS, CONFIG):
        shutil.copyfile(stage.folder / name, out / name)
    load_tokenizer(stage.folder).save_pretrained(out)
    return _ADAPTER.format(base=base.name)


_ADAPTER = """```python
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("THIS FOLDER")
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("{base}"), "THIS FOLDER")
```"""
_MERGED = """```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("THIS FOLDER")
model = AutoModelForCausalLM.from_pretrained("THIS FOLDER", dtype="auto")
asked = tokenizer.apply_chat_template(
    [{"role": "user", "content": "…"}], add_generation_prompt=True, return_tensors="pt", return_dict=True
)
print(tokenizer.decode(model.generate(**asked, max_new_tokens=256)[0, asked["input_ids"].shape[1] :]))
```"""
_GGUF = "With llama.cpp: `llama-server -m {file} --jinja`; the chat template lies in the file."
_OLLAMA = "`ollama create NAME -f Modelfile`, then `ollama run NAME`. {file} runs in llama.cpp as well."
