"""Options of a training of an encoder: stages, and long texts by which weights are chosen."""

from dataclasses import dataclass, field
from typing import Literal, cast

from armt.backbones.tiny_encoder import TinyEncoderConfig
from armt.core.config import Config
from armt.core.errors import ConfigError
from armt.memories.rmt import RMTConfig
from armt.recurrence.config import RecurrenceConfig
from armt.tasks.fact_memory import FactMemoryConfig
from armt.training.config import OptimConfig, TextConfig


@dataclass(frozen=True, kw_only=True)
class ClassifierStageConfig(Config):
    """One stage of a curriculum."""

    num_segments: int
    """Segments of a text, at most."""

    text_len: int | None = None
    """Tokens of all texts, fewer than a segment has, to learn to read with; none for segments."""

    num_steps: int
    """Optimiser steps, at most."""

    learning_rate: float
    """Learning rate at its highest; it falls along a line that would end at zero."""

    warmup_steps: int = 0
    """Steps over which the learning rate rises from zero."""

    memory_changes: tuple[str, ...] = ()
    """Options of the memory that are others in this stage, such as `memory_noise=0.8`: what is kept
    in spite of noise is kept over more segments than are trained on."""

    lateness: int = 1
    """Places drawn for a fact, the last of which it takes; see `FactMemoryConfig`."""

    blank_share: float = 0.0
    """Share of the texts that tell no fact, after which every place is to be as likely."""

    goal: float | None = None
    """Share of right answers between two reports that ends the stage early; none for never.

    All texts are drawn anew, so that what is counted was never trained on."""

    def __post_init__(self) -> None:
        """Checks the options."""
        if min(self.num_segments, self.num_steps) < 1 or self.warmup_steps < 0:
            raise ConfigError(
                "A stage needs segments and steps. Got "
                f"{self.num_segments}, {self.num_steps} and {self.warmup_steps}."
            )
        if self.text_len is not None and (self.num_segments > 1 or self.text_len < 1):
            raise ConfigError(
                "Only a stage of one segment has a `text_len`, of at least 1. Got "
                f"{self.num_segments} segments and {self.text_len}."
            )
        if self.goal is not None and not 0 < self.goal <= 1:
            raise ConfigError(f"`goal` must lie in (0, 1]. Got {self.goal}.")

    def learning_rate_at(self, step: int) -> float:
        """Returns the learning rate of step number `step`, from 0 on."""
        rising = (step + 1) / max(self.warmup_steps, 1)
        falling = (self.num_steps - step) / max(self.num_steps - self.warmup_steps, 1)
        return self.learning_rate * min(rising, falling, 1.0)


@dataclass(frozen=True, kw_only=True)
class ValidationConfig(Config):
    """Long texts by which a run chooses its weights.

    Weights that are all right over the few segments of a training differ by chance over thousands.
    Every tenth of the run's books is held out for the texts: what is taken for a fact in a book
    that was never trained on does not show in the others. Books kept for the test stay unread.
    """

    num_segments: int
    """Segments of each text."""

    num_samples: int
    """Texts, the same ones each time; all are read side by side."""

    every: int
    """Steps of a stage between validations; there is always one at its end."""

    num_stages: int = 1
    """Stages with validation, the last ones of the run."""

    def __post_init__(self) -> None:
        """Checks the options."""
        options = self.to_dict()
        if min(cast("dict[str, int]", options).values()) < 1:
            raise ConfigError(f"Every option of a validation must be at least 1. Got {options}.")


@dataclass(frozen=True, kw_only=True)
class ClassifierRunConfig(Config):
    """Everything that decides a training run of an encoder."""

    name: str
    """Name of the recipe."""

    kind: Literal["memorise", "detect_and_memorise", "reasoning"] = "memorise"
    """Which task; see `armt.tasks.fact_memory`."""

    backbone: TinyEncoderConfig = field(default_factory=TinyEncoderConfig)
    """The encoder."""

    memory: RMTConfig = field(default_factory=RMTConfig)
    """Its memory tokens."""

    recurrence: RecurrenceConfig
    """Segments and depth of the gradient."""

    text: TextConfig = field(default_factory=TextConfig)
    """The texts around the facts."""

    stages: tuple[ClassifierStageConfig, ...]
    """The curriculum."""

    validation: ValidationConfig | None = None
    """How the run's weights are chosen from those of its last stages; none for those at its end."""

    batch_size: int = 32
    """Rows of a batch: one half as long as the stage allows, the other of any length up to that."""

    optim: OptimConfig = field(default_factory=OptimConfig)
    """The optimiser."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """What the model computes in; the optimiser's weights are float32 anyway."""

    seed: int = 0
    """Decides weights, data and noise."""

    log_every: int = 50
    """Steps between reports."""

    save_every: int = 500
    """Steps of a stage between checkpoints; there is always one at its end."""

    max_skipped: int = 20
    """Steps in a row that may be skipped because the gradient is not finite."""

    def __post_init__(self) -> None:
        """Checks that the stages suit the memory and the task, before any of them is trained."""
        for stage in self.stages:
            _ = self.memory.in_stage(stage.memory_changes)
            _ = FactMemoryConfig(
                kind=self.kind,
                segment_len=self.recurrence.segment_len,
                lateness=stage.lateness,
                blank_share=stage.blank_share,
            )
        if self.validation is not None and self.validation.num_stages > len(self.stages):
            raise ConfigError(
                "A run cannot be validated in more stages than it has. Got "
                f"{self.validation.num_stages} of {len(self.stages)}."
            )

    def is_validated(self, number: int) -> bool:
        """Says whether there is validation in stage number `number`, from 0 on."""
        num_stages = 0 if self.validation is None else self.validation.num_stages
        return number >= len(self.stages) - num_stages
