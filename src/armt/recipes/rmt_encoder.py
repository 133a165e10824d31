"""An encoder that keeps facts over thousands of segments, as in the paper of BERT with RMT.

The runs are trained by `benchmarks/fact_memory.py`, not by `armt train`, which trains decoders.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, NamedTuple

from armt.backbones.tiny_encoder import TinyEncoderConfig
from armt.memories.rmt import RMTConfig
from armt.recurrence.config import RecurrenceConfig
from armt.training.classifier_config import (
    ClassifierRunConfig,
    ClassifierStageConfig,
    ValidationConfig,
)
from armt.training.config import OptimConfig, TextConfig

Kind = Literal["memorise", "detect_and_memorise", "reasoning"]


class _Held(NamedTuple):
    """A stage of the longest texts."""

    num_steps: int
    learning_rate: float
    lateness: int = 1


_GOAL = 0.98
"""Share of right answers at which a stage gives way to the next, longer one."""

_FINDING_GOAL = 0.995
"""The same over one segment where a fact may stand anywhere: each segment more loses as much again
as is lost there."""

_OPTIM = OptimConfig(betas=(0.9, 0.999), weight_decay=1e-3, clip_norm=0.02)
"""All gradients are made equally long, and their squares remembered for long. Through the memory of
seven segments some batches have a gradient many times as long as others have at the same loss, and
where steps were as long as that every answer was forgotten."""

_KEEPING_STEPS = (1200, 800, 600, 600, 600, 600)
"""Optimiser steps at most over two segments, three, and so on."""

_DROPOUT = 0.1
"""As in BERT; it is noise on the memory too, without which a fact drifts away after some ten
segments. That is enough where the fact stands before all else."""

_NOISE = ("memory_noise=0.8",)
"""On the memory in the last stages, where facts stand anywhere.

There an empty memory drifts too, and dropout does not hold either of them: it takes some thousand
steps of learning to put the memory right at each segment."""

_LATENESS = 3
"""In every second of the last stages: in a text of thousands of segments most memories are empty
for long. In the others a fact may stand anywhere, so that it is kept over all segments there are.
They take turns, slower in the end: each of them loses some of what the other has taught."""

_BLANK_SHARE = 0.3
"""In all of them: a memory that takes natural text for a fact has no room for the fact."""

_ANYWHERE = (
    _Held(1500, 3e-4, _LATENESS),
    _Held(4000, 3e-4),
    _Held(1000, 1.5e-4, _LATENESS),
    _Held(1000, 1.5e-4),
)
"""The longest stages where a fact may stand anywhere."""

_LONG = ValidationConfig(num_segments=512, num_samples=64, every=500, num_stages=3)
"""How the weights are chosen where a fact may stand anywhere: many that are all right over seven
segments lose every second fact over thousands, and which ones a training ends at is chance."""


def rmt_encoder(kind: Kind) -> ClassifierRunConfig:
    """The layout of the paper (segments of 499 tokens, 10 memory tokens, up to 7 segments).

    The encoder is smaller than BERT and starts from random weights, so that it first learns to read
    in texts shorter than a segment, where there is less to find the fact among; and learning rates
    are higher. The last stages are the longest: what is kept over 7 segments almost surely is not
    yet kept over 4,096.
    """
    reading = [
        ClassifierStageConfig(
            num_segments=1, text_len=length, num_steps=num_steps, learning_rate=5e-4,
            warmup_steps=warmup_steps, goal=_GOAL,
        )
        for length, num_steps, warmup_steps in ((48, 1500, 200), (112, 800, 50), (240, 600, 50))
    ]  # fmt: skip
    finding = (2400, _GOAL) if kind == "memorise" else (10_000, _FINDING_GOAL)
    keeping = [
        ClassifierStageConfig(
            num_segments=number, num_steps=steps, learning_rate=3e-4, warmup_steps=50, goal=goal
        )
        for number, (steps, goal) in enumerate(
            (finding, *((steps, _GOAL) for steps in _KEEPING_STEPS)), start=1
        )
    ]
    return ClassifierRunConfig(
        name="rmt_encoder",
        kind=kind,
        backbone=TinyEncoderConfig(dropout=_DROPOUT),
        memory=RMTConfig(num_memory_tokens=10),
        recurrence=RecurrenceConfig(segment_len=499),
        stages=(
            *reading,
            *keeping,
            *_holding(kind, (_Held(600, 2e-4), _Held(2400, 2e-4)), _ANYWHERE),
        ),
        validation=None if kind == "memorise" else _LONG,
        optim=_OPTIM,
        precision="bfloat16",
    )


def rmt_encoder_tiny(kind: Kind) -> ClassifierRunConfig:
    """The same for a laptop: segments of 40 tokens, minutes on one core."""
    keeping = [
        ClassifierStageConfig(
            num_segments=number, num_steps=400, learning_rate=1e-3, warmup_steps=20, goal=_GOAL
        )
        for number in (1, 2, 4, 7)
    ]
    return ClassifierRunConfig(
        name="rmt_encoder_tiny",
        kind=kind,
        backbone=TinyEncoderConfig(
            d_model=64, num_layers=2, num_heads=2, d_ffn=128, max_positions=48, dropout=_DROPOUT
        ),
        memory=RMTConfig(num_memory_tokens=5),
        recurrence=RecurrenceConfig(segment_len=40),
        text=TextConfig(vocab_size=512),
        stages=(
            *keeping,
            *_holding(
                kind,
                first=(_Held(300, 1e-3), _Held(1000, 1e-3)),
                anywhere=(
                    _Held(1300, 1e-3, _LATENESS),
                    _Held(2600, 1e-3),
                    _Held(800, 5e-4, _LATENESS),
                    _Held(800, 5e-4),
                ),
            ),
        ),
        validation=None if kind == "memorise" else replace(_LONG, every=200),
    )


def _holding(
    kind: Kind, first: Iterable[_Held], anywhere: Iterable[_Held]
) -> list[ClassifierStageConfig]:
    """Returns the stages of the longest texts, of facts before all else or anywhere.

    The latter have noise on the memory, which is empty for longer, or stays so.
    """
    is_first = kind == "memorise"
    stages = [
        ClassifierStageConfig(
            num_segments=7,
            num_steps=held.num_steps,
            learning_rate=held.learning_rate,
            warmup_steps=50,
            lateness=held.lateness,
        )
        for held in (first if is_first else anywhere)
    ]
    if is_first:
        return stages
    return [replace(stage, memory_changes=_NOISE, blank_share=_BLANK_SHARE) for stage in stages]
