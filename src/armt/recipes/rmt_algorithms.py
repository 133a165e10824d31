"""Copy, reverse and quadratic equations with a recurrent memory, after the RMT paper."""

from collections.abc import Sequence
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

_BLANKS_STEPS = {12: 600, 24: 600, 48: 1200}
"""Optimiser steps at each number of blanks, once it is copied without."""


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
    """Copy after blanks: 12 digits in a segment of 12, asked for up to four segments later.

    Over more than it is trained on it keeps little or nothing (docs/memories/rmt.md).
    """
    return _delayed("rmt_delayed_copy", RMTConfig(num_memory_tokens=_HELD_LEN))


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


def _growing(task: CopyReverseConfig) -> list[Lesson]:
    """Returns the task and its steps at each length of the source, up to its own."""
    return [
        (replace(task, source_len=length), num_steps)
        for length, num_steps in _SOURCE_STEPS.items()
        if length <= task.source_len
    ]


def _delayed(name: str, memory: MemoryConfig) -> RunConfig:
    """Returns a run that learns to copy ever more digits, then to hold them over blanks."""
    task = CopyReverseConfig(source_len=_HELD_LEN)
    holding = [
        (replace(task, num_blanks=number), num_steps) for number, num_steps in _BLANKS_STEPS.items()
    ]
    return _run(name, _HELD_LEN, memory, [*_growing(task), *holding])


def _run(
    name: str,
    segment_len: int,
    memory: MemoryConfig,
    lessons: Sequence[Lesson],
    num_layers: int = 4,
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
                batch_size=128,
                stream=task,
            )
            for number, (task, num_steps) in enumerate(lessons)
        ),
    )
