"""Options that the ways to train share."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from langmill.api import Field, Part, Stage, Trainer, nearest

Quantize = Literal["auto", "none", "4bit"]


class Lora(Part):
    """The adapter that is trained: low-rank matrices beside the linear layers of a frozen model."""

    rank: int = Field(16, ge=1, description="rank of the adapter's matrices")
    alpha: float = Field(32, gt=0, description="scale: the adapter's part is multiplied by alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of the adapter's inputs that are dropped in training")
    layers: Literal["all-linear"] | Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        "all-linear", description="'all-linear', or the names of the linear layers, e.g. [q_proj, v_proj]"
    )


class Balance(Part):
    """How often each language comes: first the temperature, then the cap, then the epochs."""

    temperature: float = Field(
        1.0,
        ge=1,
        description="1: as often as it is there; above: a language's share of an epoch to the power of 1/temperature, so that "
        "small ones come again and large ones in part, other parts in other epochs",
    )
    most: Annotated[int, Field(ge=1)] | Mapping[str, Annotated[int, Field(ge=1)]] | None = Field(
        None, description="most examples an epoch: of every language, or by language, e.g. {en: 5000}"
    )
    epochs: Mapping[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict, description="times the stage's epochs, by language, e.g. {ja: 3}; not bound by most"
    )


class ChoiceFormat(Part):
    """How a multiple-choice item is put and answered."""

    answer: Literal["rationale", "letters", "both"] = Field(
        "rationale",
        description="rationale and answer line where there is a rationale, else the letters; letters alone; or both, each as an "
        "example of its own",
    )
    shuffle: bool = Field(
        False, description="options in another order each time an item comes, where nothing in it speaks of their order"
    )


class AdapterStage(Stage):
    """One training stage: what it learns from, what is trained, in which order."""

    lora: Lora | Literal["none"] | None = Field(
        None, description="this stage's adapter; 'none' trains all weights; the trainer's own when left out"
    )
    quantize: Quantize | None = Field(None, description="for this stage; the trainer's own when left out")
    packing: bool | Literal["auto"] = Field(
        "auto",
        description="several examples in a line of max_tokens, none seeing another; a step learns from as many examples "
        "either way; auto: on a GPU",
    )
    choices: ChoiceFormat = Field(default_factory=ChoiceFormat, description="how multiple-choice items are put")
    too_long: Literal["leave_out", "cut_prompt"] = Field(
        "leave_out",
        description="what becomes of a conversation longer than max_tokens: it is left out, or loses its beginning; an answer is "
        "never cut, and an exam item never either: it is left out",
    )
    overlap: float = Field(
        0.25, ge=0, le=0.9, description="share of a chunk of running text that repeats the one before, without loss"
    )
    sampler: Literal["shuffle", "priority"] = Field(
        "shuffle",
        description="shuffle: epoch after epoch; priority: all epochs at once, each example drawn with its source's weight "
        "among what is left, so that heavy sources come early and light ones last",
    )
    weights: Mapping[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict, description="for sampler: priority, by source, e.g. {web: 32}; 1 when left out"
    )
    source_epochs: Mapping[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict,
        description="times the stage's epochs, by source, e.g. {sft: 3}; of 0.5, half of the examples come",
    )
    languages: Balance = Field(default_factory=Balance, description="how often each language comes")
    tokens: int | None = Field(
        None,
        ge=1,
        description="in place of epochs: as many passes over the data, or such a part of one, as come to so many tokens read, "
        "padding not counted, to within one example; for stages that are to cost the same",
    )
    weight_decay: float = Field(0.0, ge=0, description="of AdamW")
    optimizer: Literal["adamw", "adamw_8bit"] = Field("adamw", description="adamw_8bit (bitsandbytes): on a GPU")
    eval_steps: int | None = Field(
        None, ge=1, description="steps between validation losses; at both ends when left out"
    )


class AdapterTrainer(Trainer):
    """What the ways to train have in common."""

    stage: ClassVar[type[Stage]] = AdapterStage
    quantize: Quantize = Field(
        "auto", description="how a frozen base is held: 4bit (NF4), none, or auto: 4bit on a GPU, none on a CPU"
    )
    lora: Lora | Literal["none"] = Field(
        default_factory=Lora, description="the adapter; 'none' trains all weights of the model"
    )
    chat_template: Literal["auto", "own", "plain"] = Field(
        "auto",
        description="own: the base's; plain: turns as 'User:' and 'Assistant:'; auto: plain where the base has none",
    )
    processes: int = Field(1, ge=1, description="processes that share each step, one a GPU (or on a CPU)")
    report_to: tuple[str, ...] = Field(
        (), description="trackers that transformers knows, e.g. [tensorboard]; none is told unless named"
    )

    def lora_of(self, stage: AdapterStage) -> Lora | None:
        """The adapter that a stage trains; None: all weights."""
        lora = self.lora if stage.lora is None else stage.lora
        return None if lora == "none" else lora

    def decides(self, stage: AdapterStage) -> dict[str, dict[str, Any]]:
        """The options that a stage's weights depend on. Of the base its identity counts and not its name; processes share steps
        whose sums stay the same, as those of micro-batches are; and it changes no weight how often one is kept or looked at."""
        return {
            "trainer": self.model_dump(mode="json", exclude={"base", "processes", "report_to"}),
            "stage": {
                **stage.model_dump(
                    mode="json", exclude={"batch", "accumulate", "save_steps", "eval_rows", "eval_steps"}
                ),
                "width": stage.width,
            },
        }

    def beyond(self, longest: object) -> str:
        """Why rows may be longer than the base reads, in tokens as its config.json says; empty where they are not, or it does not
        say."""
        if not isinstance(longest, int) or not 0 < longest < self.max_tokens:
            return ""
        return (
            f"train.max_tokens is {self.max_tokens}, but {self.base} reads at most {longest} tokens "
            f"(max_position_embeddings in its config.json): max_tokens: {longest}, or less"
        )

    def four_bit(self, stage: AdapterStage | None = None) -> bool:
        """Whether the base is held in four bits on this machine."""
        if stage is not None and self.lora_of(stage) is None:
            return False
        said = (stage and stage.quantize) or self.quantize
        if said != "auto":
            return said == "4bit"
        import torch

        return bool(torch.cuda.is_available())

    def faults(
        self, stages: Sequence[Stage], sources: Collection[str], languages: Collection[str]
    ) -> Iterator[tuple[int, str, str]]:
        """What no stage can tell by itself: names of sources, codes of languages, hand-overs between stages, steps dealt out to
        processes. As of :meth:`Trainer.faults`; a key inside of an option is put behind a dot."""
        earlier: dict[str, AdapterStage] = {}
        for number, stage in enumerate(stages):
            assert isinstance(stage, AdapterStage)
            for option, message in self._faults(stage, earlier.get(stage.start)):
                yield number, option, message
            for option, message in _unknown(stage, sources, languages):
                yield number, option, message
            earlier[stage.name] = stage

    def _faults(self, stage: AdapterStage, start: AdapterStage | None) -> Iterator[tuple[str, str]]:
        """``start``: the stage it starts from; None where it is the base, or no earlier stage."""
        for other in ("epochs", "max_steps"):
            if stage.tokens is not None and getattr(stage, other) is not None and other in stage.model_fields_set:
                yield (
                    other,
                    f"tokens: {stage.tokens} says how long this stage goes on, and so does {other}: leave one out",
                )
        if stage.batch == "auto" and "accumulate" not in stage.model_fields_set:
            yield (
                "batch",
                "auto says how many examples go through at once, and accumulate how many a step learns from: with it left out, "
                "one. Add accumulate: 4 for steps as batch: 4 has them, or another number",
            )
        if stage.weights and stage.sampler != "priority":
            yield "weights", "weights are for sampler: priority, and this stage shuffles: add that, or leave them out"
        if stage.accumulate % self.processes:
            yield (
                "accumulate",
                f"{stage.accumulate} batches a step can not be dealt out to {self.processes} processes: take a multiple of "
                f"{self.processes}, such as {-(-stage.accumulate // self.processes) * self.processes}",
            )
        mine = self.lora_of(stage)
        if mine is None and (stage.quantize or self.quantize) == "4bit":
            yield "quantize", "4bit is for a frozen base, and lora: none trains all weights: say quantize: none here"
        if stage.start == "base" and stage.handover != "continue":
            yield (
                "handover",
                f"'{stage.handover}' is about the adapter of an earlier stage, and this one starts from the base: name a stage "
                "at start:, or leave handover out",
            )
        elif start is not None and stage.handover == "continue":
            theirs = self.lora_of(start)
            if (mine is None) != (theirs is None):
                yield (
                    "handover",
                    f"stage '{start.name}' trains {_told(theirs)} and this one {_told(mine)}, which is no adapter that goes on: "
                    "say handover: merge, or give both the same lora",
                )
            elif mine != theirs:
                yield (
                    "lora" if stage.lora is not None else "handover",
                    f"the adapter of stage '{start.name}' goes on, which is {_told(theirs)}, and not {_told(mine)}: give both "
                    "stages the same lora, or say handover: merge",
                )


def _unknown(stage: AdapterStage, sources: Collection[str], languages: Collection[str]) -> Iterator[tuple[str, str]]:
    """Names that the recipe does not have: an option for them would do nothing, and nobody would see it."""
    for option, named in (("weights", stage.weights), ("source_epochs", stage.source_epochs)):
        for name in named:
            if name not in sources:
                yield f"{option}.{name}", f"there is no source '{name}'; {nearest(name, sources)}"
    most = stage.languages.most
    for option, codes in (("epochs", stage.languages.epochs), ("most", most if isinstance(most, Mapping) else ())):
        for code in codes:
            if code not in languages:
                message = f"'{code}' is none of the recipe's languages; {nearest(code, languages)}"
                yield f"languages.{option}.{code}", message


def _told(lora: Lora | None) -> str:
    """An adapter in the recipe's words."""
    if lora is None:
        return "all weights"
    return (
        "an adapter of {" + ", ".join(f"{name}: {value}" for name, value in lora.model_dump(mode="json").items()) + "}"
    )
