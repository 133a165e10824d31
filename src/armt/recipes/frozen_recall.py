"""A backbone that looks facts up within its segment, to be frozen and given CAMELoT."""

from armt.backbones.tiny import TinyBackboneConfig
from armt.memories.camelot import CAMELoTConfig
from armt.memories.none import NoMemoryConfig
from armt.recipes.registry import RECIPES
from armt.recurrence.config import RecurrenceConfig
from armt.tasks.segment_facts import SegmentFactsConfig
from armt.training.config import RunConfig, StageConfig

FROZEN_SEGMENT_LEN = 16
"""Tokens of a segment after the training."""

_NUM_SLOTS = 128
_BOUND = CAMELoTConfig(num_slots=512, num_reads=512, threshold=1.01)


@RECIPES.register("frozen_recall", paper="arXiv:2402.13449")
def frozen_recall() -> RunConfig:
    """Facts looked up within 64 tokens, without a memory; `frozen_arms` are given to it later."""
    look_up = SegmentFactsConfig(segment_len=16, num_segments=1, is_filled=False)
    filled = SegmentFactsConfig(segment_len=16, num_segments=3)
    return RunConfig(
        name="frozen_recall",
        backbone=TinyBackboneConfig(d_model=64, num_layers=2, d_ffn=128, init_std=0.1),
        memory=NoMemoryConfig(),
        recurrence=RecurrenceConfig(segment_len=64),
        stages=(
            StageConfig(
                num_steps=600, learning_rate=2e-3, warmup_steps=50, batch_size=64, stream=look_up
            ),
            StageConfig(
                num_steps=600,
                learning_rate=2e-3,
                final_learning_rate=1e-5,
                batch_size=64,
                stream=filled,
            ),
        ),
    )


def frozen_arms() -> dict[str, CAMELoTConfig | NoMemoryConfig]:
    """Returns what the frozen backbone is read with, in segments of a quarter of the length.

    `all slots` is what a retrieval could reach at best, and `published` sees the future.
    """
    return {
        "segment only": NoMemoryConfig(),
        "by queries": CAMELoTConfig(num_slots=_NUM_SLOTS),
        "by queries, 4 slots": CAMELoTConfig(num_slots=_NUM_SLOTS, num_reads=4),
        "by queries, R=0.8": CAMELoTConfig(num_slots=_NUM_SLOTS, threshold=0.8),
        "by queries, R=0.99": CAMELoTConfig(num_slots=_NUM_SLOTS, threshold=0.99),
        "by keys": CAMELoTConfig(num_slots=_NUM_SLOTS, read_by="keys"),
        "published": CAMELoTConfig.published(num_slots=_NUM_SLOTS),
        "all slots": CAMELoTConfig(num_slots=_NUM_SLOTS, num_reads=_NUM_SLOTS),
        "all slots, nothing averaged": _BOUND,
    }
