"""A stage's forecast: its rows counted, and its memory and time on this machine's device and on a GPU."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from langmill.api import Context, Reach, Room, RowAhead, Stage, StageForecast
from langmill_plugins.trainers.forecast.choosing import batches, chosen, of_batch
from langmill_plugins.trainers.forecast.counting import Counted, counted, lines_a_step, steps_of
from langmill_plugins.trainers.forecast.devices import CARD_SIZES, GB, SHOWN, USABLE, here, rate, seconds
from langmill_plugins.trainers.forecast.memory import Setting, memory, trained_parameters
from langmill_plugins.trainers.forecast.shape import Found, Shape, look
from langmill_plugins.trainers.options import AdapterStage, AdapterTrainer, Lora

IN_FOUR_BITS = 0.71  # bytes a parameter of Llama 3 8B: embeddings and head, an eighth of it, stay in 16 bits
NAMED = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)\s?([bm])(?![a-z0-9])", re.IGNORECASE)


def forecast(trainer: AdapterTrainer, stage: Stage, rows: Sequence[RowAhead], context: Context) -> StageForecast:
    """What a stage would take. Nothing is loaded, fetched or converted."""
    assert isinstance(stage, AdapterStage)
    base = look(trainer.base, context)
    what = counted(trainer, stage, rows, context, base.folder)
    mine = here()
    rooms = [_room(trainer, stage, base.shape, what, mine.gpu, mine.name, mine.memory)]
    if not mine.gpu:
        rooms.append(_room(trainer, stage, base.shape, what, True, "a GPU", None))
    lora = trainer.lora_of(stage)
    return StageForecast(
        stage=stage.name, data=stage.data, base=trainer.base, rows=what.rows, left_out=what.left_out,
        examples=what.examples, tokens=what.tokens, parameters=base.shape.parameters if base.shape else None,
        trained=trained_parameters(base.shape, lora) if base.shape else None, rooms=tuple(rooms),
        notes=tuple(_notes(trainer, stage, base, what)),
    )  # fmt: skip


def setting(
    trainer: AdapterTrainer, stage: AdapterStage, gpu: bool, packed: bool, longest: int, mean: float, answers: float
) -> Setting:
    """What decides a stage's memory on a kind of device, from the tokens of its ``longest`` and of its ``mean`` example."""
    lora = trainer.lora_of(stage)
    said = stage.quantize or trainer.quantize
    lines = 1.0 if stage.batch == "auto" else float(stage.batch)
    if packed:  # where a step happens to get more of the long examples, it has more lines
        usual = lines_a_step(stage, mean, trainer.max_tokens)
        lines = min(lines, usual + 2 * math.sqrt(usual))
    return Setting(
        gpu=gpu, four_bit=lora is not None and (said == "4bit" or (said == "auto" and gpu)), lora=lora,
        batch=math.ceil(lines), line=trainer.max_tokens if packed else longest, packed=packed, answers=answers,
        eight_bit_optimiser=stage.optimizer == "adamw_8bit", processes=trainer.processes,
    )  # fmt: skip


def packs(stage: AdapterStage, gpu: bool) -> bool:
    """Whether its lines are packed there."""
    return gpu if stage.packing == "auto" else stage.packing


def advice(shape: Shape, how: Setting, width: int, room: float) -> Iterator[tuple[str, int]]:
    """What to change, one thing after another, until it fits into ``room`` bytes; with what all changes so far come to.
    ``width``: examples of a step, which stay as many."""
    for words, tried in _changes(how, width):
        need = sum(memory(shape, tried).values())
        yield words, need
        if need <= room:
            return


def _changes(how: Setting, width: int) -> Iterator[tuple[str, Setting]]:
    """Each change on top of those before."""
    if how.lora is None:
        how = replace(how, lora=Lora())
        yield "lora: {rank: 16}", how
    if not how.four_bit and how.gpu:
        how = replace(how, four_bit=True)
        yield "quantize: 4bit", how
    if how.processes > 1 and not how.gpu:
        how = replace(how, processes=1)
        yield "processes: 1", how
    if how.batch > 1:
        how = replace(how, batch=1)
        yield f"batch: 1, accumulate: {width}", how
    while how.line >= 512:
        how = replace(how, line=how.line // 2)
        yield f"max_tokens: {how.line}", how
    if how.lora is not None and how.lora.rank > 8:
        yield "lora: {rank: 8}", replace(how, lora=how.lora.model_copy(update={"rank": 8}))


def _room(
    trainer: AdapterTrainer,
    stage: AdapterStage,
    shape: Shape | None,
    what: Counted,
    gpu: bool,
    name: str,
    total: int | None,
) -> Room:
    sizes = batches(trainer, stage)
    ways = [
        (size, setting(trainer, of_batch(stage, size), gpu, packs(stage, gpu), what.longest, what.mean, what.answers))
        for size in sizes
    ]
    how = ways[-1][1]  # what it takes at least, where the device is not known
    if shape is not None and total:
        found = chosen(shape, ways, total)
        stage, how = of_batch(stage, found.batch), replace(dict(ways)[found.batch], keeps=found.keeps)
    steps = steps_of(trainer, stage, what, how.packed)
    if shape is None:
        size = named_size(trainer.base)
        rough = (
            {"weights": round(size * (IN_FOUR_BITS if how.four_bit else 2 if gpu and how.lora else 4))} if size else {}
        )
        return Room(name, total, how.held, steps, rough)
    parts = memory(shape, how)
    need = sum(parts.values())
    cards = tuple(size for size in CARD_SIZES if need <= size * GB * USABLE) if gpu else ()
    change: tuple[str, ...] = ()
    most = total * USABLE if total else CARD_SIZES[-1] * GB * USABLE if gpu else math.inf
    if need > most:
        change = tuple(f"{words}: {size / GB:.1f} GB" for words, size in advice(shape, how, stage.width, most))
    card = name if total else SHOWN[cards[0]] if cards else ""
    speed = rate(card, gpu) if total or card else None
    took = _seconds(shape, how, trainer, stage, what, steps, speed) if speed else None
    return Room(name, total, how.held, steps, parts, cards, took, card, change)


def _seconds(
    shape: Shape, how: Setting, trainer: AdapterTrainer, stage: AdapterStage, what: Counted, steps: Reach, speed: float
) -> Reach:
    """Operations of all tokens, over what the device does. Of each parameter of a linear layer and token: 2 forward, 2 back
    through the activations, 2 for the weights' own gradients where all are trained, and 2 to compute a layer again where it
    was not kept, on a GPU. The last layer is asked for answers alone."""
    again = 2 if how.gpu and not how.keeps else 0
    each = 4 + again + (0 if how.lora else 2)
    drawn = [end * (min(1.0, most / all_) if all_ else 1.0) for end, most, all_ in zip(
        what.tokens, steps, steps_of(trainer, stage.model_copy(update={"max_steps": None}), what, how.packed), strict=True
    )]  # fmt: skip
    a_token = each * shape.linear + 4 * shape.vocabulary * shape.hidden * min(1.0, what.answers)
    a_token += (2 * each) * shape.layers * shape.queries * how.line / 2  # scores and sums of attention, both ways
    micros = stage.accumulate
    if how.packed:
        micros = math.ceil(lines_a_step(stage, what.mean, trainer.max_tokens) / how.batch)
    ends = [
        seconds(work * a_token, number * micros * shape.layers, speed * trainer.processes, how.gpu)
        for work, number in zip(drawn, steps, strict=True)
    ]
    return ends[0][0], ends[1][1]


def _notes(trainer: AdapterTrainer, stage: AdapterStage, base: Found, what: Counted) -> Iterator[str]:
    if base.why:
        yield base.why
    if base.shape is None and (size := named_size(trainer.base)):
        yield (
            f"by its name it has about {_short(size)} parameters: weights alone are told, in 4 bits as of Llama 3 8B "
            "(its vocabulary stays in 16 bits: of other models they are up to a fifth less or a quarter more)"
        )
    if base.shape:
        yield "memory and time on a GPU are reckoned from sizes and data sheets, and not yet held against a GPU"
    if not what.by_tokenizer:
        yield "tokens by characters a token: the base's tokenizer is not at hand"
    if (
        stage.max_steps
        and steps_of(trainer, stage.model_copy(update={"max_steps": None}), what, False)[1] > stage.max_steps
    ):
        yield f"max_steps: {stage.max_steps} ends the stage before all of these have come"


def named_size(name: str) -> float | None:
    """The parameters that a model's name speaks of, as in Llama-3.1-8B."""
    found = NAMED.findall(name.rsplit("/", 1)[-1].replace("-", " ").replace("_", " "))
    return float(found[-1][0]) * {"b": 1e9, "m": 1e6}[found[-1][1].lower()] if found else None


def _short(size: float) -> str:
    return f"{size / 1e9:g} billion" if size >= 1e9 else f"{size / 1e6:g} million"
