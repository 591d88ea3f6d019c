"""A recipe with every part built and every name resolved, or else every fault in it at once.

Nothing is read but the recipe, the plugins and the language packs: sources may be absent (:meth:`Assembly.absent`), models
are not asked. Names refer upward only: a data set to sources and earlier data sets, a stage to earlier stages.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from langmill.api import (
    LLM,
    Augmenter,
    Context,
    Evaluator,
    Executor,
    Exporter,
    Filter,
    Loader,
    Pack,
    Part,
    Stage,
    Trainer,
)
from langmill.errors import Fault, RecipeError, nearest
from langmill.parts.contexts import EVAL, held_against
from langmill.recipe.absent import Absent, absent
from langmill.recipe.dataset_plan import DatasetPlan, StepKind, StepPlan, against_faults, benchmarks_of, gate
from langmill.recipe.file import Recipe, RecipeFile, draft_recipe
from langmill.recipe.registry import OTHERS, Registry, plugin_file
from langmill.recipe.stages import TAKEN, stages_of
from langmill.rows import Split
from langmill.yaml12 import Loc, place_of

DATA_DIR = "FACTORY_DATA"
FOLDERS = ("train", "eval", "sources")
"""What a run's folder holds beside its data sets."""
_SCORED = "which this evaluation needs and weights on this machine have: have it answer in words, or name a stage, base or hf/FOLDER"
SomePart = TypeVar("SomePart", bound=Part)


@dataclass(frozen=True)
class Assembly:
    """A recipe that holds. ``uses`` has each source's loader by name; ``models`` has the recipe's own model as ``llm``."""

    recipe: Recipe
    file: RecipeFile
    sources: Mapping[str, Loader]
    uses: Mapping[str, str]
    datasets: Mapping[str, DatasetPlan]
    models: Mapping[str, LLM]
    executor: Executor
    trainer: Trainer | None
    stages: tuple[Stage, ...]
    evaluators: tuple[tuple[str, Evaluator], ...]
    packs: Mapping[str, Pack]
    registry: Registry
    plugin_files: tuple[Path, ...]
    data_dir: Path | None

    @property
    def benchmarks(self) -> dict[str, tuple[Split, ...]]:
        """The data sets that evaluators ask, each with its splits that are asked."""
        return benchmarks_of(self.evaluators)

    def context(self, place: str, *, offline: bool = False) -> Context:
        """What the part at a place of the recipe is handed."""
        return Context(place, self.recipe.seed, self.packs, self.file.folder, self.data_dir, offline)

    def absent(self) -> tuple[Absent, ...]:
        """Each source that is not there, and each file that a step is told to read and that is not, in the recipe's order."""
        steps = [step for plan in self.datasets.values() for step in plan.steps]
        parts: list[tuple[str, Loader | Filter | Augmenter]] = [
            *((f"sources.{name}", loader) for name, loader in self.sources.items()),
            *((step.place, step.part) for step in steps),
        ]
        return tuple(absent((place, part, self.context(place)) for place, part in parts))

    def foreign(self) -> list[str]:
        """A line for each source whose records are all said to be in a language that the recipe does not have: they are skipped."""
        said = {name: getattr(loader, "language", None) for name, loader in self.sources.items()}
        return [
            f"sources.{name}.language: '{code}' is none of the recipe's languages ({', '.join(self.packs)}): its records are skipped"
            for name, code in said.items()
            if isinstance(code, str) and code not in self.packs
        ]

    def unready(self, *, offline: bool = False) -> list[str]:
        """A line for each thing that training lacks on this machine, as far as its trainer can tell before it begins."""
        if self.trainer is None:
            return []
        return list(self.trainer.missing(self.stages, self.context("train", offline=offline)))


def assemble(
    path: Path,
    *,
    profile: str | None = None,
    sets: Sequence[str] = (),
    plugin_files_allowed: bool = True,
    registry: Registry | None = None,
    origin: Path | None = None,
) -> Assembly:
    """The assembly of a recipe. Raises RecipeError with every fault, in the order of the file's lines.

    ``registry`` is what is installed when left out; the recipe's plugin files are added to it. ``origin`` is the folder that
    the recipe came from, when ``path`` is a copy of it.
    """
    file = replace(draft_recipe(path, profile, sets), origin=origin)
    work = _Assembler(file, registry or Registry.of_installed(), plugin_files_allowed, list(file.faults))
    return work.assembly()


@dataclass
class _Assembler:
    """Builds part after part and gathers faults; what is built is only handed out when there are none.

    It reads the merged recipe as plain data, since a recipe whose shape is wrong in one place is still checked in all others.
    """

    file: RecipeFile
    registry: Registry
    plugin_files_allowed: bool
    faults: list[Fault]
    data_dir: Path | None = None
    uses: dict[str, str] = field(default_factory=dict)

    def assembly(self) -> Assembly:
        plugin_files = self._plugin_files()
        try:
            self.registry.names("loaders")
            packs = self._packs()
        except RecipeError as error:  # two plugins with one name: no name of theirs can be trusted
            raise RecipeError([*self.faults, self.file.fault((), str(error))]) from None
        models = self._models()
        sources = self._sources()
        datasets = {name: self._dataset(name, spec) for name, spec in self._specs("datasets")}
        trainer, stages = self._train(tuple(datasets))
        evaluators = self._evaluators(tuple(datasets), models)
        executor = self._built(Executor, "executors", ("run",), {"use": "local", **self.file.mapping("run")})
        self._data_dir(sources)
        if not self.faults and self.file.mapping("train").get("allow_unchecked") is not True:
            for number, message in gate(stages, datasets, benchmarks_of(evaluators)):
                self._fault(("train", "stages", number, "data"), message)
        if self.faults or executor is None:
            main = str(self.file.path)
            raise RecipeError(sorted(self.faults, key=lambda fault: (fault.file != main, fault.file, fault.line or 0)))
        return Assembly(
            recipe=self.file.recipe,
            file=self.file,
            sources=sources,
            uses=self.uses,
            datasets=datasets,
            models=models,
            executor=executor,
            trainer=trainer,
            stages=stages,
            evaluators=evaluators,
            packs=packs,
            registry=self.registry,
            plugin_files=plugin_files,
            data_dir=self.data_dir,
        )

    # --- small things ---

    def _fault(self, loc: Loc, message: str) -> None:
        self.faults.append(self.file.fault(loc, message))

    def _specs(self, section: str) -> Iterable[tuple[str, dict[str, Any]]]:
        """The named mappings of a section; what is none is a fault of the shape and passed over."""
        return [(name, spec) for name, spec in self.file.mapping(section).items() if isinstance(spec, dict)]

    def _built(
        self, kind: type[SomePart], kinds: str, loc: Loc, spec: Any, leave: Sequence[str] = ()
    ) -> SomePart | None:
        """The part a mapping asks for, None after a fault. Keys in ``leave`` are not its options."""
        if not (isinstance(spec, dict) and isinstance(spec.get("use"), str) and spec["use"]):
            return None  # a fault of the shape
        options = {name: value for name, value in spec.items() if name != "use" and name not in leave}
        part = self.registry.build(kinds, spec["use"], options, self.file.fault, loc, self.faults)
        assert part is None or isinstance(part, kind)
        return part

    def _known(self, loc: Loc, what: str, name: object, known: Sequence[str], later: Sequence[str] = ()) -> bool:
        """Whether a name refers to something known; a fault if not."""
        if not isinstance(name, str) or name in known:
            return isinstance(name, str)
        if name in later:
            self._fault(
                loc, f"'{name}' is not made before this: names refer upward, move it up; {nearest(name, known)}"
            )
        else:
            self._fault(loc, f"there is no {what} '{name}'; {nearest(name, known)}")
        return False

    # --- the sections ---

    def _plugin_files(self) -> tuple[Path, ...]:
        files = []
        for loc, text in self.file.items("plugins"):
            if not self.plugin_files_allowed:
                self._fault(
                    loc, f"'{text}' is not run, as --no-plugin-files asks: leave that out if you trust the file"
                )
            elif isinstance(text, str):
                here, copy = self.file.folder, self.file.path.absolute().parent
                try:  # a run's folder has a copy, for when the recipe's own is not there
                    files.append(plugin_file(here if (here / text).exists() else copy, text))
                except RecipeError as error:
                    self._fault(loc, str(error))
        if files:
            self.registry = self.registry.with_files(files)
        return tuple(files)

    def _packs(self) -> dict[str, Pack]:
        known = self.registry.packs()
        chosen: dict[str, Pack] = {}
        for loc, code in self.file.items("languages"):
            if not isinstance(code, str):
                continue
            if code in chosen:
                self._fault(loc, f"'{code}' is here twice: keep one")
            elif code in known:
                chosen[code] = known[code]
            else:
                text = self.registry.missing("language pack", code, known)
                self._fault(loc, f"{text}. Make one with: factory new language {code}")
        return chosen

    def _models(self) -> dict[str, LLM]:
        models = {}
        specs = [(("models", name), name, spec) for name, spec in self._specs("models")]
        self._fallbacks({name: spec.get("fallback") for _, name, spec in specs})
        for loc, name, spec in [(("llm",), "llm", self.file.mapping("llm")), *specs]:
            if name in ("llm", "base") and loc[0] == "models":
                self._fault(loc, f"the name '{name}' is taken: it means {TAKEN[name]}; choose another")
            model = spec.get("model")
            if not (isinstance(model, str) and "/" in model):
                continue
            provider, known = model.split("/", 1)[0], self.registry.names("llms")
            use = provider if provider in known else OTHERS
            if use not in known:
                self._fault((*loc, "model"), self.registry.missing("provider", provider, known))
            elif part := self.registry.build("llms", use, spec, self.file.fault, loc, self.faults, "model"):
                assert isinstance(part, LLM)
                models[name] = part
        return models

    def _fallbacks(self, named: Mapping[str, object]) -> None:
        """Each model that takes over is there and is another one; following them comes to an end."""
        first = self.file.mapping("llm").get("fallback")
        if first is not None:
            self._known(("llm", "fallback"), "model under models:", first, list(named))
        told: set[str] = set()
        for name, next_ in named.items():
            loc: Loc = ("models", name, "fallback")
            if next_ == name:
                self._fault(loc, f"'{name}' can not take over from itself: name another model under models:")
            elif next_ is not None and self._known(loc, "model under models:", next_, list(named)):
                path = [name]
                while isinstance(next_, str) and next_ in named and next_ not in path:
                    path.append(next_)
                    next_ = named[next_]
                if next_ == name and len(path) > 1 and name not in told:
                    told.update(path)
                    self._fault(loc, f"the models take over from one another in a circle: {' -> '.join([*path, name])}")

    def _sources(self) -> dict[str, Loader]:
        sources = {}
        for name, spec in self._specs("sources"):
            if part := self._built(Loader, "loaders", ("sources", name), spec):
                sources[name] = part
                self.uses[name] = spec["use"]
        return sources

    def _dataset(self, name: str, spec: Mapping[str, Any]) -> DatasetPlan:
        loc: Loc = ("datasets", name)
        sources, datasets = list(self.file.mapping("sources")), list(self.file.mapping("datasets"))
        earlier = datasets[: datasets.index(name)]
        if name in FOLDERS:
            self._fault(loc, f"the name '{name}' is taken by a folder of the run; choose another")
        if name in sources:
            self._fault(loc, f"'{name}' is the name of a source too: rename one of them")
        inputs: list[str] = []
        for here, item in self.file.items(*loc, "from"):
            if item in inputs:
                self._fault(here, f"'{item}' is here twice: keep one")
            elif self._known(here, "source or data set", item, [*sources, *earlier], datasets):
                inputs.append(item)
        steps = [step for here, item in self.file.items(*loc, "steps") if (step := self._step(here, item, earlier))]
        write = [
            (item["use"], part)
            for here, item in self.file.items(*loc, "write")
            if (part := self._built(Exporter, "exporters", here, item))
        ]
        return DatasetPlan(name, tuple(inputs), tuple(steps), tuple(write))

    def _step(self, loc: Loc, spec: Any, earlier: Sequence[str]) -> StepPlan | None:
        if not (isinstance(spec, dict) and isinstance(use := spec.get("use"), str)):
            return None
        known: dict[StepKind, tuple[str, ...]] = {
            "filters": self.registry.names("filters"),
            "augmenters": self.registry.names("augmenters"),
        }
        kinds = [kind for kind, names in known.items() if use in names]
        if len(kinds) != 1:
            if kinds:
                owners = " and ".join(f"{kind[:-1]} of {self.registry.owner(kind, use)}" for kind in kinds)
                self._fault((*loc, "use"), f"'{use}' is both a {owners}: uninstall one, or rename its part")
            else:
                names = [name for names in known.values() for name in names]
                self._fault((*loc, "use"), self.registry.missing("filter or augmenter", use, names))
            return None
        part = self._built(Part, kinds[0], loc, spec)
        if not isinstance(part, Filter | Augmenter):
            return None
        self._step_model(loc, part)
        against = self._against(loc, part, [*earlier, str(loc[1])])
        return StepPlan(place_of(loc), use, kinds[0], part, self.registry.code_id(type(part)), against)

    def _against(self, loc: Loc, part: Filter | Augmenter, made: Sequence[str]) -> tuple[str, ...]:
        """The data sets that a step holds rows against: made before it, or its own."""
        said = getattr(part, "against", None)
        datasets = list(self.file.mapping("datasets"))
        evals = [item for _, item in self.file.items("eval") if isinstance(item, dict) and item.get("data") in datasets]
        asked = [(item["data"], item.get("split", "test")) for item in evals]
        for name in (said,) if isinstance(said, str) else said or ():
            if name != EVAL:
                self._known((*loc, "against"), "earlier data set", name, made, datasets)
        for message in against_faults(part, made, asked):
            self._fault(loc, message)
        return held_against(said, [data for data, _ in asked])

    def _step_model(self, loc: Loc, part: Filter | Augmenter) -> None:
        name = getattr(part, "llm", None)
        if name is not None:
            self._known((*loc, "llm"), "model", name, list(self.file.mapping("models")))
        elif isinstance(part, Augmenter) and "llm" not in self.file.merged:
            self._fault(loc, "this step asks a model, and the recipe has none: add llm: {model: PROVIDER/MODEL}")
        for other in part.models()[1:] if isinstance(part, Augmenter) else ():
            if other != "llm":
                self._known(loc, "model", other, list(self.file.mapping("models")))

    def _train(self, datasets: Sequence[str]) -> tuple[Trainer | None, tuple[Stage, ...]]:
        spec = dict(self.file.mapping("train"))
        seed = self.file.merged.get("seed")
        if spec and isinstance(seed, int) and seed >= 0:
            spec.setdefault("seed", seed)
        trainer = self._built(Trainer, "trainers", ("train",), spec, leave=("stages", "allow_unchecked"))
        return trainer, stages_of(self.file, self.registry, trainer, datasets, self._known, self.faults)

    def _evaluators(self, datasets: Sequence[str], models: Mapping[str, LLM]) -> tuple[tuple[str, Evaluator], ...]:
        trained = [
            item["name"]
            for _, item in self.file.items("train", "stages")
            if isinstance(item, dict) and isinstance(item.get("name"), str)
        ]
        own = ["llm"] if "llm" in self.file.merged else []
        known = [*(["base", *trained] if self.file.mapping("train") else []), *own, *self.file.mapping("models")]
        evaluators: list[tuple[str, Evaluator]] = []
        for loc, spec in self.file.items("eval"):
            if part := self._built(Evaluator, "evaluators", loc, spec):
                for option, name in (("data", part.data), *(("", name) for name in part.reads())):
                    self._known((*loc, option) if option else loc, "data set", name, datasets)
                for number, name in enumerate(part.models):
                    if name == "base" and name not in known:
                        self._fault((*loc, "models", number), "'base' is the model that train: starts from: add train:")
                    else:
                        self._known((*loc, "models", number), "stage or model", name, known)
                for judge in part.judges():
                    if judge != "llm" or "llm" not in self.file.merged:
                        self._known(loc, "model", judge, list(self.file.mapping("models")))
                for name in part.models if part.scored() else ():
                    if name != "base" and name in models and not models[name].here:
                        self._fault(
                            (*loc, "models"), f"'{name}' ({models[name].model}) gives no log-probabilities, {_SCORED}"
                        )
                if (called := part.called(spec["use"])) in [other.called(use) for use, other in evaluators]:
                    self._fault(loc, f"another evaluation is called '{called}': give one of them a name: of its own")
                evaluators.append((spec["use"], part))
        return tuple(evaluators)

    def _data_dir(self, sources: Mapping[str, Loader]) -> None:
        said = self.file.merged.get("data_dir")
        if isinstance(said, str) and said:
            self.data_dir = self.file.folder / Path(said).expanduser()
            if not self.data_dir.is_dir():
                self._fault(("data_dir",), f"there is no folder {self.data_dir}")
        elif text := os.environ.get(DATA_DIR):
            self.data_dir = Path(text).absolute()
            wanted = any(loader.path.startswith("$data_dir") for loader in sources.values())
            if wanted and not self.data_dir.is_dir():
                way = f"make it (mkdir -p {self.data_dir}) to see what is absent, or unset {DATA_DIR}"
                text = f"there is no folder {self.data_dir}: name the folder that holds the public sets, {way}"
                self.faults.append(Fault(DATA_DIR, None, "", text))
