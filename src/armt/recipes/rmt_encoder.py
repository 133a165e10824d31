"""An encoder that keeps facts over thousands of segments, as in the paper of BERT with RMT.

The runs are trained by `benchmarks/fact_memory.py`, not by `armt train`, which trains decoders.
"""

from typing import Literal

from armt.backbones.tiny_encoder import TinyEncoderConfig
from armt.memories.rmt import RMTConfig
from armt.recurrence.config import RecurrenceConfig
from armt.training.classifier import ClassifierRunConfig, ClassifierStageConfig
from armt.training.config import OptimConfig, TextConfig

Kind = Literal["memorise", "detect_and_memorise", "reasoning"]


def rmt_encoder(kind: Kind) -> ClassifierRunConfig:
    """The layout of the paper (segments of 499 tokens, 10 memory tokens, up to 7 segments).

    The encoder is smaller than BERT and starts from random weights, so that the first stage, in
    which it learns to read, is longer, and learning rates are higher.
    """
    first = ClassifierStageConfig(
        num_segments=1, num_steps=3000, learning_rate=5e-4, warmup_steps=300
    )
    rest = [
        ClassifierStageConfig(
            num_segments=number, num_steps=1000, learning_rate=2e-4, warmup_steps=100
        )
        for number in range(2, 8)
    ]
    return ClassifierRunConfig(
        name="rmt_encoder",
        kind=kind,
        memory=RMTConfig(num_memory_tokens=10),
        recurrence=RecurrenceConfig(segment_len=499),
        stages=(first, *rest),
        optim=OptimConfig(weight_decay=1e-3),
    )


def rmt_encoder_tiny(kind: Kind) -> ClassifierRunConfig:
    """The same for a laptop: segments of 40 tokens, minutes on one core."""
    stages = [
        ClassifierStageConfig(
            num_segments=number, num_steps=num_steps, learning_rate=1e-3, warmup_steps=20
        )
        for number, num_steps in ((1, 250), (2, 200), (4, 150), (7, 250))
    ]
    return ClassifierRunConfig(
        name="rmt_encoder_tiny",
        kind=kind,
        backbone=TinyEncoderConfig(
            d_model=64, num_layers=2, num_heads=2, d_ffn=128, max_positions=48
        ),
        memory=RMTConfig(num_memory_tokens=5),
        recurrence=RecurrenceConfig(segment_len=40),
        text=TextConfig(vocab_size=512),
        stages=tuple(stages),
    )
