"""What this machine has and what is missing, with the command that mends it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator

from langmill import __version__, models
from langmill.disk.home import home

EXTRAS = {
    "data": ("litellm", "datasets", "datasketch", "fasttext", "openpyxl"),
    "train": ("torch", "transformers", "peft", "accelerate", "bitsandbytes", "gguf"),
    "local": ("xllamacpp",),
    "unsloth": ("unsloth",),
}


def findings() -> Iterator[str]:
    """One line a fact."""
    yield f"langmill {__version__}, Python {sys.version.split()[0]}, home {home()}"
    gpu = shutil.which("nvidia-smi") is not None
    yield f"GPU: {'nvidia-smi answers' if gpu else 'none seen; training runs on the CPU'}"
    for extra, packages in EXTRAS.items():
        missing = [name for name in packages if importlib.util.find_spec(name) is None]
        if missing and (extra != "unsloth" or gpu):
            yield f"{extra}: missing {', '.join(missing)}: pip install 'langmill[{extra}]'"
        elif not missing:
            yield f"{extra}: " + ", ".join(f"{name} {_version(name)}" for name in packages)
    for model in models.MODELS.values():
        file = home() / "models" / model.name / model.file
        yield f"model {model.name}: {file if file.exists() else f'not fetched: {models.FETCH_ALL}'} ({model.license})"
    data_dir = os.environ.get("FACTORY_DATA")
    yield f"FACTORY_DATA: {data_dir or 'not set; recipes that read $data_dir need it'}"


def _version(package: str) -> str:
    """A package's version; the module fasttext may come from either of two distributions."""
    for name in (package, "fasttext-numpy2"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "?"
