"""Copy, reverse and quadratic equations with a recurrent memory, after the RMT paper."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from armt.backbones.tiny import TinyBackboneConfig
from armt.core.config import MemoryConfig
from armt.memories.none import NoMemoryConfig
from armt.memories.rmt import RMTConfig
from armt.recipes.registry import RECIPES
from armt.recurrence.config import RecurrenceConfig
from armt.tasks.copy_reverse import CopyReverseConfig
from armt.tasks.quadratic import QuadraticConfig
from armt.tasks.symbols import SymbolTaskConfig
from armt.training.config import RunConfig, StageConfig

Lesson = tuple[SymbolTaskConfig, int]
"""A task and how many optimiser steps it is trained for."""

_SOURCE_STEPS = {3: 300, 6: 1000, 12: 2000, 24: 6000}
"""Optimiser steps at each length of the source; the paper has 24 only, for some hundred thousand
steps at a tenth of the rate."""

_HELD_LEN = 12
"""Digits of the source that is held: one segment of them."""

_HELD_STEPS, _BLANKS_STEPS = {3: 150, 6: 200, 12: 300}, {12: 200, 24: 200, 48: 5000}
"""Optimiser steps at each length of the source, without blanks, and then at each number of them."""

_NOISE = ("memory_noise=0.8",)
"""While blanks are read. A memory that is put right at each segment in spite of it is put right at
any number of them; without, it is lost soon after the longest text of the training."""


@RECIPES.register("rmt_copy", paper="arXiv:2207.06881")
def rmt_copy() -> RunConfig:
    """Copy: 24 digits, told again twice, through segments of 12 tokens."""
    return _run("rmt_copy", 12, RMTConfig(num_memory_tokens=24), _growing(CopyReverseConfig()))


@RECIPES.register("rmt_reverse", paper="arXiv:2207.06881")
def rmt_reverse() -> RunConfig:
    """Reverse: 24 digits, told again backwards, through segments of 12 tokens."""
    reverse = CopyReverseConfig(kind="reverse", num_repeats=1)
    return _run("rmt_reverse", 12, RMTConfig(num_memory_tokens=24), _growing(reverse))


@RECIPES.register("rmt_delayed_copy", paper="arXiv:2207.06881")
def rmt_delayed_copy() -> RunConfig:
    """Copy after blanks: 12 digits in a segment of 12, asked for up to four segments later."""
    return _delayed("rmt_delayed_copy", RMTConfig(num_memory_tokens=_HELD_LEN), _NOISE)


@RECIPES.register("none_delayed_copy", paper="arXiv:2207.06881")
def none_delayed_copy() -> RunConfig:
    """The same without a memory: what guessing gives."""
    return _delayed("none_delayed_copy", NoMemoryConfig())


@RECIPES.register("rmt_quadratic", paper="arXiv:2207.06881")
def rmt_quadratic() -> RunConfig:
    """Quadratic equations: a solution step by step, through six segments of 30 characters."""
    return _run(
        "rmt_quadratic",
        30,
        RMTConfig(num_memory_tokens=30),
        [
            (QuadraticConfig(max_root=10, max_leading=3), 4000),
            (QuadraticConfig(), 20000),
        ],
        num_layers=6,
    )


def _growing(task: CopyReverseConfig, num_steps: Mapping[int, int] = _SOURCE_STEPS) -> list[Lesson]:
    """Returns the task and its steps at each length of the source, up to its own."""
    return [
        (replace(task, source_len=length), steps)
        for length, steps in num_steps.items()
        if length <= task.source_len
    ]


def _delayed(name: str, memory: MemoryConfig, noise: tuple[str, ...] = ()) -> RunConfig:
    """Returns a run that learns to copy ever more digits, then to hold them over blanks."""
    task = CopyReverseConfig(source_len=_HELD_LEN)
    held = [
        (replace(task, num_blanks=number), num_steps) for number, num_steps in _BLANKS_STEPS.items()
    ]
    run = _run(name, _HELD_LEN, memory, [*_growing(task, _HELD_STEPS), *held], batch_size=32)
    first, last = run.stages[: -len(held)], run.stages[-len(held) :]
    return replace(run, stages=(*first, *(replace(stage, memory_changes=noise) for stage in last)))


def _run(
    name: str,
    segment_len: int,
    memory: MemoryConfig,
    lessons: Sequence[Lesson],
    num_layers: int = 4,
    batch_size: int = 128,
) -> RunConfig:
    last = len(lessons) - 1
    return RunConfig(
        name=name,
        backbone=TinyBackboneConfig(
            family="gpt_neox", d_model=128, num_layers=num_layers, d_ffn=256
        ),
        memory=memory,
        recurrence=RecurrenceConfig(segment_len=segment_len),
        stages=tuple(
            StageConfig(
                num_steps=num_steps,
                learning_rate=1e-3 if number < last else 5e-4,
                final_learning_rate=1e-5 if number == last else None,
                warmup_steps=100 if number == 0 else 0,
                batch_size=batch_size,
                stream=task,
            )
            for number, (task, num_steps) in enumerate(lessons)
        ),
    )
