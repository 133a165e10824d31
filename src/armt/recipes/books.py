"""Language modelling on books, the same for every memory."""

from armt.backbones.tiny import TinyBackboneConfig
from armt.memories.armt import ARMTConfig
from armt.recipes.registry import RECIPES
from armt.recurrence.config import RecurrenceConfig
from armt.tasks.language_modeling import LanguageModelingConfig
from armt.training.config import RunConfig, StageConfig, TextConfig

_SEGMENT_LEN = 128

_NUM_SEGMENTS_STEPS = {1: 2000, 8: 2000}
"""Optimiser steps at each number of segments; a text has 1,024 tokens at most."""


@RECIPES.register("books", paper="arXiv:2407.04841")
def books() -> RunConfig:
    """Every token of eight segments of a book; another memory by `--set memory=NAME`."""
    stages = [
        StageConfig(
            num_steps=num_steps,
            learning_rate=1e-3 if num_segments == 1 else 5e-4,
            final_learning_rate=None if num_segments == 1 else 1e-5,
            warmup_steps=200 if num_segments == 1 else 0,
            batch_size=256 // num_segments,
            stream=LanguageModelingConfig(segment_len=_SEGMENT_LEN, num_segments=num_segments),
        )
        for num_segments, num_steps in _NUM_SEGMENTS_STEPS.items()
    ]
    return RunConfig(
        name="books",
        backbone=TinyBackboneConfig(),
        memory=ARMTConfig(num_memory_tokens=16, d_mem=64),
        recurrence=RecurrenceConfig(segment_len=_SEGMENT_LEN),
        text=TextConfig(),
        stages=tuple(stages),
        precision="bfloat16",
    )
