"""Tracking people over segments, as in bAbI task 1: LM2 beside RMT and no memory."""

from armt.backbones.tiny import TinyBackboneConfig
from armt.core.config import MemoryConfig
from armt.memories.lm2 import LM2Config
from armt.memories.none import NoMemoryConfig
from armt.memories.rmt import RMTConfig
from armt.recipes.registry import RECIPES
from armt.recurrence.config import RecurrenceConfig
from armt.tasks.tracking import SENTENCE_LEN, TrackingConfig
from armt.training.config import RunConfig, StageConfig

_SEGMENT_SENTENCES = 10

_LOOK_UP_STEPS = {
    TrackingConfig(num_sentences=2, move_share=0.9, question_share=0.1): 600,
    TrackingConfig(num_sentences=4, move_share=0.6, question_share=0.3): 800,
    TrackingConfig(num_sentences=9, move_share=0.5, question_share=0.4): 1600,
}
"""Optimiser steps for stories that fit a segment with their questions."""

_NUM_SEGMENTS_STEPS = {1: 600, 2: 600, 4: 800, 8: 1000}
"""Optimiser steps at each number of segments before the one with the question."""


@RECIPES.register("tracking_lm2", paper="arXiv:2502.06049")
def tracking_lm2() -> RunConfig:
    """Where is Mary, whose last move lies up to eight segments back: sixteen slots a layer."""
    return _run("tracking_lm2", LM2Config(num_slots=16))


@RECIPES.register("tracking_rmt", paper="arXiv:2502.06049")
def tracking_rmt() -> RunConfig:
    """The same with sixteen recurrent memory tokens."""
    return _run("tracking_rmt", RMTConfig(num_memory_tokens=16))


@RECIPES.register("tracking_none", paper="arXiv:2502.06049")
def tracking_none() -> RunConfig:
    """The same without a memory: what guessing gives."""
    return _run("tracking_none", NoMemoryConfig())


def _run(name: str, memory: MemoryConfig) -> RunConfig:
    last = max(_NUM_SEGMENTS_STEPS)
    look_up = [
        StageConfig(
            num_steps=num_steps,
            learning_rate=1e-3,
            warmup_steps=100 if number == 0 else 0,
            batch_size=256,
            stream=task,
        )
        for number, (task, num_steps) in enumerate(_LOOK_UP_STEPS.items())
    ]
    rest = [
        StageConfig(
            num_steps=num_steps,
            learning_rate=1e-3 if number < last else 5e-4,
            final_learning_rate=1e-5 if number == last else None,
            batch_size=128,
            stream=TrackingConfig(num_sentences=_SEGMENT_SENTENCES * number),
        )
        for number, num_steps in _NUM_SEGMENTS_STEPS.items()
    ]
    return RunConfig(
        name=name,
        backbone=TinyBackboneConfig(d_model=128, num_layers=4, d_ffn=256, init_std=0.1),
        memory=memory,
        recurrence=RecurrenceConfig(segment_len=_SEGMENT_SENTENCES * SENTENCE_LEN),
        stages=(*look_up, *rest),
    )
