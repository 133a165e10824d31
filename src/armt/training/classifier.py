"""Trains an encoder with memory tokens to answer about facts far back in a text.

A run is far shorter than those of decoders and is not resumed; the weights are kept at its end.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, final

import torch
from safetensors.torch import load_file, save_file

from armt.backbones.tiny_encoder import TinyEncoderConfig
from armt.core.config import Config
from armt.core.errors import ConfigError
from armt.memories.rmt import RMTConfig
from armt.recurrence.config import RecurrenceConfig
from armt.recurrence.encoder import RecurrentClassifier, attach_encoder
from armt.tasks.babi.dice import Dice
from armt.tasks.babilong.store import BackgroundStore
from armt.tasks.encoder import TokenizerEncoder
from armt.tasks.fact_memory import NUM_CLASSES, FactMemory, FactMemoryConfig
from armt.training.config import OptimConfig, TextConfig
from armt.training.optim import MasterAdamW

WEIGHTS_NAME = "model.safetensors"


@dataclass(frozen=True, kw_only=True)
class ClassifierStageConfig(Config):
    """One stage of a curriculum."""

    num_segments: int
    """Segments of a text, at most."""

    num_steps: int
    """Optimiser steps."""

    learning_rate: float
    """Learning rate at its highest; it falls along a line that would end at zero."""

    warmup_steps: int = 0
    """Steps over which the learning rate rises from zero."""

    def __post_init__(self) -> None:
        """Checks the options."""
        if min(self.num_segments, self.num_steps) < 1 or self.warmup_steps < 0:
            raise ConfigError(
                "A stage needs segments and steps. Got "
                f"{self.num_segments}, {self.num_steps} and {self.warmup_steps}."
            )

    def learning_rate_at(self, step: int) -> float:
        """Returns the learning rate of step number `step`, from 0 on."""
        rising = (step + 1) / max(self.warmup_steps, 1)
        falling = (self.num_steps - step) / max(self.num_steps - self.warmup_steps, 1)
        return self.learning_rate * min(rising, falling, 1.0)


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

    batch_size: int = 32
    """Rows of a batch: one half as long as the stage allows, the other of any length up to that."""

    optim: OptimConfig = field(default_factory=OptimConfig)
    """The optimiser."""

    seed: int = 0
    """Decides weights and data."""

    log_every: int = 50
    """Steps between reports."""


@dataclass(frozen=True, kw_only=True)
class ClassifierReport:
    """What is known after some steps of training."""

    step: int
    """Steps done, over all stages."""

    num_segments: int
    """Segments of a text at present, at most."""

    loss: float
    """Mean loss since the last report."""

    accuracy: float
    """Share of right answers since the last report."""

    seconds: float
    """Time since the training began."""


def build_task(
    config: ClassifierRunConfig, store: BackgroundStore, encoder: TokenizerEncoder
) -> FactMemory:
    """Returns the run's task over the texts of `store`."""
    segment_len = config.recurrence.segment_len
    return FactMemoryConfig(kind=config.kind, segment_len=segment_len).build(store, encoder)


def build_classifier(config: ClassifierRunConfig, encoder: TokenizerEncoder) -> RecurrentClassifier:
    """Returns the run's model with random weights drawn from its seed."""
    backbone, special = config.backbone.build(encoder.vocab_size, NUM_CLASSES, seed=config.seed)
    with torch.random.fork_rng(devices=[]):
        _ = torch.manual_seed(config.seed + 1)
        recurrence = config.recurrence
        return attach_encoder(
            backbone, config.memory, special, recurrence.segment_len, recurrence.bptt_depth
        )


@final
class ClassifierTrainer:
    """Trains one classifier through the stages of a run."""

    def __init__(
        self, model: RecurrentClassifier, task: FactMemory, config: ClassifierRunConfig
    ) -> None:
        """Takes what is trained, and on what."""
        self.model, self.task, self.config = model, task, config
        self.optimizer = MasterAdamW(model, config.optim)
        self.step = 0

    def train(self, on_report: Callable[[ClassifierReport], None]) -> RecurrentClassifier:
        """Runs all stages and returns the model, in evaluation mode."""
        started, losses, num_right = time.monotonic(), list[torch.Tensor](), 0
        _ = self.model.train()
        for stage in self.config.stages:
            for number in range(stage.num_steps):
                self.optimizer.set_learning_rate(stage.learning_rate_at(number))
                loss, right = self._descend(stage.num_segments)
                losses.append(loss)
                num_right += right
                if len(losses) == self.config.log_every or number == stage.num_steps - 1:
                    on_report(
                        ClassifierReport(
                            step=self.step,
                            num_segments=stage.num_segments,
                            loss=float(torch.stack(losses).mean()),
                            accuracy=num_right / (len(losses) * self.config.batch_size),
                            seconds=time.monotonic() - started,
                        )
                    )
                    losses, num_right = [], 0
        return self.model.eval()

    def _descend(self, most: int) -> tuple[torch.Tensor, int]:
        """Takes one step; returns loss and right answers."""
        size, dice = self.config.batch_size, Dice("lengths", self.config.seed, self.step)
        num_segments = [1 + dice.below(most) if row % 2 else most for row in range(size)]
        batch = self.task.batch(num_segments, "train", self.config.seed, self.step)
        ids, mask, labels = (value.to(self.model.device) for value in batch)
        output = self.model(ids, mask, labels)
        assert output.loss is not None, "a batch with labels has a loss"
        assert output.logits is not None, "a classifier returns logits"
        self.optimizer.zero_grad()
        output.loss.backward()
        _ = self.optimizer.step()
        self.step += 1
        return output.loss.detach(), int((output.logits.argmax(-1) == labels).sum())


def save_classifier(folder: Path, model: RecurrentClassifier) -> None:
    """Writes the weights of a run's model, memory included, into its folder."""
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, folder / WEIGHTS_NAME)


def load_classifier(
    folder: Path, config: ClassifierRunConfig, encoder: TokenizerEncoder
) -> RecurrentClassifier:
    """Returns the model of a run whose weights stand in `folder`, in evaluation mode."""
    model = build_classifier(config, encoder)
    _ = model.load_state_dict(load_file(folder / WEIGHTS_NAME))
    return model.eval()
