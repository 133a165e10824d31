"""For a laptop: a small ARMT learns to overwrite and recall pairs."""

from typing import Any

from armt.backbones.tiny import TinyBackboneConfig
from armt.memories.armt import ARMTConfig
from armt.recipes.registry import RECIPES
from armt.recurrence.config import RecurrenceConfig
from armt.tasks.associative_retrieval import AssociativeRetrievalConfig
from armt.training.config import RunConfig, StageConfig


@RECIPES.register("smoke", paper="arXiv:2407.04841")
def smoke() -> RunConfig:
    """ARMT on associative retrieval, small enough to learn on a laptop in minutes.

    The rewrite form of the task: 16 keys, each pair a segment of its own, the last value of a key
    counts. One pair first, until its value comes back; three, until a key finds its own; eight.
    """
    return RunConfig(
        name="smoke",
        backbone=TinyBackboneConfig(
            family="gpt_neox",
            d_model=64,
            num_layers=2,
            num_heads=4,
            d_ffn=128,
            max_positions=64,
            init_std=0.15,
        ),
        memory=ARMTConfig(num_memory_tokens=1, d_mem=32),
        recurrence=RecurrenceConfig(segment_len=_task(8).segment_len),
        stages=(
            _stage(1, 50, warmup_steps=20),
            _stage(3, 200),
            _stage(8, 150, final_learning_rate=1e-4),
        ),
        log_every=25,
    )


def _stage(num_pairs: int, num_steps: int, **options: Any) -> StageConfig:
    return StageConfig(
        num_steps=num_steps,
        learning_rate=1e-3,
        batch_size=128,
        stream=_task(num_pairs),
        **options,
    )


def _task(num_pairs: int) -> AssociativeRetrievalConfig:
    return AssociativeRetrievalConfig(kind="rewrite", num_pairs=num_pairs, key_len=1)
