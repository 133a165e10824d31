"""What is measured, how often and how large."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from armt.core.config import Config
from armt.core.errors import ConfigError
from armt.memories.armt import ARMTConfig

Schedule = Literal["waves", "sequential", "sequential eager"]

COUNTS = ("num_repeats", "num_tokens", "num_train_segments", "num_labels", "num_decoded")


@dataclass(frozen=True, kw_only=True)
class BenchConfig(Config):
    """Everything that decides a run of benchmarks; of a list the first comes first."""

    schedules: tuple[Schedule, ...] = ("waves", "sequential", "sequential eager")
    """Compared side by side, in one process and in turns. `sequential eager` is the plain loop: one
    segment after the other, operation by operation."""

    is_compiled: bool = True
    """Whether a GPU runs waves and the sequential schedule as compiled code; the first run of each
    shape then takes a minute longer."""

    segment_lens: tuple[int, ...] = ()
    """Text tokens in a segment; by default what belongs to the shape."""

    batch_sizes: tuple[int, ...] = (1,)
    """Texts read or answered side by side."""

    train_batch_sizes: tuple[int, ...] = (1,)
    """Rows of a training step."""

    context_lens: tuple[int, ...] = (4096, 8192, 16384, 32768, 65536, 131072)
    """Texts whose latency is compared with full attention."""

    long_lens: tuple[int, ...] = (1_000_000, 10_000_000, 100_000_000)
    """Texts over which the memory in use must not grow."""

    num_tokens: int = 10_000_000
    """Tokens of one sample of reading, all rows together, if they take no longer than
    `sample_s`."""

    sample_s: float = 8.0
    """Time of one sample of reading, about, at most."""

    num_repeats: int = 5
    """Samples of each figure; the median is recorded, and the least and greatest beside it."""

    num_train_segments: int = 16
    """Segments in a row of a training step."""

    num_labels: int = 64
    """Labelled tokens at the end of a row of a training step, such as answers."""

    num_decoded: int = 64
    """Tokens decoded in one sample; a segment ends halfway."""

    drift_segments: tuple[int, ...] = (100, 1000, 10_000)
    """Segments after which bfloat16 is compared with float32."""

    memory: ARMTConfig = field(default_factory=ARMTConfig)
    """What is attached to the backbones."""

    precision: Literal["float32", "bfloat16"] = "bfloat16"
    """What weights are kept and computed in; states are float32 anyway."""

    seed: int = 0
    """Decides weights and tokens."""

    commit: str = ""
    """Written into the records; by default that of the checkout."""

    def __post_init__(self) -> None:
        """Checks the options."""
        for name in COUNTS:
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1. Got {getattr(self, name)}.")
        if not self.schedules:
            raise ConfigError("`schedules` must name at least one. Got none.")


CPU_CONFIG = BenchConfig(
    context_lens=(256, 512, 1024),
    long_lens=(4096, 16384),
    num_tokens=100_000,
    sample_s=0.2,
    num_repeats=3,
    num_train_segments=4,
    num_labels=8,
    num_decoded=16,
    drift_segments=(10, 100),
    precision="float32",
)
"""Sizes for a machine without a GPU."""


def changed_config(device_type: str, changes: Sequence[str]) -> BenchConfig:
    """Returns the sizes that suit a device, with every `PATH=VALUE` done.

    Raises:
        ConfigError: a change cannot be read, has no such path, or a value does not fit.
    """
    config = BenchConfig() if device_type == "cuda" else CPU_CONFIG
    return config.changed(changes, "num_repeats=3")
