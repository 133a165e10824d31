"""A whole training run as one value."""

from dataclasses import dataclass, field, replace
from typing import Literal, Self

from armt.backbones.tiny import TinyBackboneConfig
from armt.core.config import Config, MemoryConfig
from armt.core.errors import ConfigError
from armt.core.registry import MEMORIES
from armt.recurrence.config import RecurrenceConfig
from armt.tasks.babilong.stream_config import FactStreamConfig
from armt.tasks.language_modeling import LanguageModelingConfig
from armt.tasks.symbols import SymbolTaskConfig


@dataclass(frozen=True, kw_only=True)
class TextConfig(Config):
    """Which texts a model is trained on, and how they become tokens."""

    background: tuple[str, ...] = ("prose",)
    """Folders of `.txt` files, names of Hugging Face data sets, or `prose`: the one in Python."""

    vocab_size: int = 8192
    """Entries of the tokenizer, which is trained on the background."""


@dataclass(frozen=True, kw_only=True)
class StageConfig(Config):
    """One stage of a curriculum."""

    num_steps: int
    """Optimiser steps."""

    learning_rate: float
    """Learning rate at its highest."""

    final_learning_rate: float | None = None
    """Learning rate at the end, reached along a cosine; none to stay at the highest."""

    warmup_steps: int = 0
    """Steps over which the learning rate rises from zero."""

    stream: FactStreamConfig | LanguageModelingConfig | SymbolTaskConfig
    """What is learned from."""

    batch_size: int = 64
    """Rows of a batch, on each process (where the stream does not say it itself)."""

    write_penalty: float = 0.0
    """Weight in the loss of how far the text of a step moves the memory.

    This is the mean over rows and layers of log(1 + length of the state's change). It teaches a
    memory to leave alone what has no use. Where the stream tells which rows are quiet (nothing in
    them is ever asked for) only these count, so that it never stands against what must be written.
    """

    memory_loss: float = 0.0
    """Weight in the loss of what the memory has as a loss of its own, averaged over layers: M+
    teaches its retriever so, and HMT its search."""

    memory_changes: tuple[str, ...] = ()
    """Options of the memory that are others in this stage, such as `use_recall=false` (HMT)."""

    def __post_init__(self) -> None:
        """Checks the options."""
        if self.num_steps < 0 or self.warmup_steps < 0:
            raise ConfigError(
                f"Steps must not be negative. Got {self.num_steps} and {self.warmup_steps}."
            )
        if self.learning_rate <= 0:
            raise ConfigError(f"`learning_rate` must be positive. Got {self.learning_rate}.")


@dataclass(frozen=True, kw_only=True)
class OptimConfig(Config):
    """Options of AdamW."""

    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of the running means of gradient and squared gradient."""

    weight_decay: float = 0.01
    """On matrices only."""

    clip_norm: float = 1.0
    """Greatest length of the gradient."""


@dataclass(frozen=True, kw_only=True)
class RunConfig(Config):
    """Everything that decides a training run."""

    name: str
    """Name of the recipe."""

    backbone: TinyBackboneConfig = field(default_factory=TinyBackboneConfig)
    """The decoder."""

    memory: MemoryConfig
    """What is attached to it."""

    recurrence: RecurrenceConfig
    """Segments and depth of the gradient."""

    reading_overlap_len: int | None = None
    """Tokens by which segments overlap once the model is trained; none for as in training.

    Texts that are carried from step to step cannot overlap in training."""

    text: TextConfig | None = None
    """The texts; none for a task that makes its own tokens."""

    stages: tuple[StageConfig, ...]
    """The curriculum."""

    optim: OptimConfig = field(default_factory=OptimConfig)
    """The optimiser."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """What the model computes in; the optimiser's weights and the states are float32 anyway."""

    seed: int = 0
    """Decides weights, data and noise."""

    save_every: int = 500
    """Steps between checkpoints; there is always one at the end."""

    log_every: int = 20
    """Steps between lines of the log."""

    max_skipped: int = 20
    """Steps in a row that may be skipped because the gradient is not finite."""

    def __post_init__(self) -> None:
        """Checks that the stages suit the memory, and the overlap the segments."""
        for stage in self.stages:
            _ = self.memory.in_stage(stage.memory_changes)
        _ = self.reading

    def replaced(self, path: str, value: object) -> Self:
        """As `Config.replaced`; the name of a memory at `memory` takes it with its own defaults.

        What stages change of the memory that was there before goes with it.

        Raises:
            ConfigError: no option has this path, or the value does not fit.
            UnknownNameError: no memory has this name.
        """
        if path == "memory" and isinstance(value, str):
            stages = tuple(replace(stage, memory_changes=()) for stage in self.stages)
            return replace(self, memory=MEMORIES[value].config_class(), stages=stages)
        return super().replaced(path, value)

    @property
    def reading(self) -> RecurrenceConfig:
        """How the trained model reads."""
        if self.reading_overlap_len is None:
            return self.recurrence
        return replace(self.recurrence, overlap_len=self.reading_overlap_len)

    @property
    def num_steps(self) -> int:
        """Optimiser steps of all stages."""
        return sum(stage.num_steps for stage in self.stages)
