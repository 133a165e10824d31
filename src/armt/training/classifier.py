"""Trains an encoder with memory tokens to answer about facts far back in a text.

A run goes on from its newest checkpoint, as those of decoders do, and keeps its weights at the end.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy, one_hot

from armt.backbones.tiny_encoder import TinyEncoderConfig
from armt.core.config import Config
from armt.core.errors import ConfigError, StateError
from armt.core.files import atomic_path
from armt.core.shapes import Float, Int, Tensor
from armt.memories.rmt import RMTConfig
from armt.recurrence.config import RecurrenceConfig
from armt.recurrence.encoder import RecurrentClassifier, attach_encoder
from armt.tasks.babi.dice import Dice
from armt.tasks.babilong.store import BackgroundStore
from armt.tasks.encoder import TokenizerEncoder
from armt.tasks.fact_memory import (
    NO_ANSWER,
    NUM_CLASSES,
    FactBatch,
    FactMemory,
    FactMemoryConfig,
)
from armt.tasks.numbered import NumberedStream
from armt.training.checkpoint import Progress, fill, load_newest, save_checkpoint
from armt.training.config import OptimConfig, TextConfig
from armt.training.descent import descend
from armt.training.loader import load_batches
from armt.training.optim import MasterAdamW, cast_weights
from armt.training.run import claim
from armt.training.stopping import StopRequest, stop_requests

WEIGHTS_NAME = "model.safetensors"


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

    precision: Literal["float32", "bfloat16"] = "float32"
    """What the model computes in; the optimiser's weights are float32 anyway."""

    seed: int = 0
    """Decides weights and data."""

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


@dataclass(frozen=True, kw_only=True)
class ClassifierReport:
    """What is known after some steps of training."""

    step: int
    """Place in the curriculum: steps done, and those that stages left out at their goal."""

    num_segments: int
    """Segments of a text at present, at most."""

    loss: float
    """Mean loss since the last report, or since the run went on."""

    accuracy: float
    """Share of right answers since the last report."""

    seconds: float
    """Time spent training so far, resumed runs included."""


def build_task(
    config: ClassifierRunConfig, store: BackgroundStore, encoder: TokenizerEncoder
) -> FactMemory:
    """Returns the run's task over the texts of `store`."""
    segment_len = config.recurrence.segment_len
    return FactMemoryConfig(kind=config.kind, segment_len=segment_len).build(store, encoder)


def build_classifier(config: ClassifierRunConfig, encoder: TokenizerEncoder) -> RecurrentClassifier:
    """Returns the run's model in its precision, with random weights drawn from its seed."""
    backbone, special = config.backbone.build(encoder.vocab_size, NUM_CLASSES, seed=config.seed)
    with torch.random.fork_rng(devices=[]):
        _ = torch.manual_seed(config.seed + 1)
        recurrence = config.recurrence
        model = attach_encoder(
            backbone,
            config.memory,
            special,
            recurrence.segment_len,
            recurrence.bptt_depth,
        )
    cast_weights(model, getattr(torch, config.precision))
    return model


@final
class ClassifierStream(NumberedStream[FactBatch]):
    """The batches of a stage; number k is drawn from the run's seed and k alone."""

    def __init__(
        self, task: FactMemory, config: ClassifierRunConfig, stage: ClassifierStageConfig
    ) -> None:
        """Takes the task, and the stage that says how long its texts are."""
        self._task = task.changed(lateness=stage.lateness, blank_share=stage.blank_share)
        self._config, self._stage = config, stage

    def batch(self, number: int) -> FactBatch:
        """Returns batch `number` of the stage."""
        seed, most, text_len = self._config.seed, self._stage.num_segments, self._stage.text_len
        rows = range(self._config.batch_size)
        if text_len is not None:
            return self._task.short_batch([text_len for _ in rows], "train", seed, number)
        dice = Dice("lengths", seed, number)
        lengths = [1 + dice.below(most) if row % 2 else most for row in rows]
        return self._task.batch(lengths, "train", seed, number)


@final
class ClassifierTrainer:
    """Trains one classifier through the stages of a run."""

    def __init__(
        self,
        model: RecurrentClassifier,
        task: FactMemory,
        config: ClassifierRunConfig,
        folder: Path,
    ) -> None:
        """Prepares the optimiser; resumes from the newest checkpoint in `folder`, if any.

        Raises:
            ConfigError: the folder holds a run with other options.
            StateError: it holds the checkpoint of another model.
        """
        claim(config, folder)
        self.model, self.task, self.config, self.folder = model, task, config, folder
        self.optimizer = MasterAdamW(model, config.optim)
        found = load_newest(folder, model, self.optimizer)
        self.progress = Progress() if found is None else found[0]
        self._losses = list[torch.Tensor]()

    def train(self, on_report: Callable[[ClassifierReport], None]) -> RecurrentClassifier:
        """Runs the stages that are not done yet and returns the model, in evaluation mode.

        SIGTERM and SIGINT end it after the present step, with a checkpoint.

        Raises:
            ArmtError: too many steps in a row were not finite.
            StoppedError: the process was asked to stop.
        """
        _ = self.model.train()
        before = 0
        with stop_requests(is_alone=True) as stop:
            for stage in self.config.stages:
                memory = self.config.memory.in_stage(stage.memory_changes)
                with self.model.memory.changed(memory):
                    self._train_stage(stage, before, on_report, stop)
                before += stage.num_steps
        return self.model.eval()

    def _train_stage(
        self,
        stage: ClassifierStageConfig,
        before: int,
        on_report: Callable[[ClassifierReport], None],
        stop: StopRequest,
    ) -> None:
        """Does what is left of a stage, nothing if it is done."""
        progress, end = self.progress, before + stage.num_steps
        if progress.step >= end:
            return
        stream = ClassifierStream(self.task, self.config, stage)
        is_pinned = self.model.device.type == "cuda"
        batches = load_batches(stream, progress.step, is_pinned=is_pinned)
        while progress.step < end:
            started = time.monotonic()
            number = progress.step - before
            self.optimizer.set_learning_rate(stage.learning_rate_at(number))
            self._learn(next(batches))
            progress.seconds += time.monotonic() - started
            if (number + 1) % self.config.log_every == 0 or progress.step == end:
                report = self._report(stage)
                on_report(report)
                if stage.goal is not None and report.accuracy >= stage.goal:
                    progress.step = end
            if (number + 1) % self.config.save_every == 0 or progress.step == end or stop.is_made:
                _ = save_checkpoint(self.folder, self.model, self.optimizer, progress, None)
            if stop.is_made:
                raise stop.error(f"after step {progress.step:,}")

    def _learn(self, batch: FactBatch) -> None:
        """Takes one step on a batch, whose text goes to the model's device."""
        labels = batch.labels.to(self.model.device, non_blocking=True)
        logits = self.model(batch.input_ids, batch.attention_mask).logits
        assert logits is not None, "a classifier returns logits"
        loss = cross_entropy(logits.float(), _wanted(labels, logits.shape[-1]))
        _ = loss.backward()
        _ = descend(self.optimizer, self.progress, self.config.max_skipped, self.folder)
        self._losses.append(loss.detach())
        self.progress.step += 1
        self.progress.num_tokens += int(batch.attention_mask.sum())
        self.progress.num_told += int((batch.labels != NO_ANSWER).sum())
        self.progress.num_right += int((logits.argmax(-1) == labels).sum())

    def _report(self, stage: ClassifierStageConfig) -> ClassifierReport:
        """Tells what was counted since the last report, and counts anew."""
        progress, losses = self.progress, self._losses
        report = ClassifierReport(
            step=progress.step,
            num_segments=stage.num_segments,
            loss=float(torch.stack(losses).mean()),
            accuracy=progress.num_right / max(progress.num_told, 1),
            seconds=progress.seconds,
        )
        progress.num_told = progress.num_right = 0
        self._losses = []
        return report


def _wanted(labels: Int[Tensor, " B"], num_classes: int) -> Float[Tensor, "B C"]:
    """Returns what is to be said of each class: all of the right one, or the same of every one."""
    is_blank = (labels == NO_ANSWER).unsqueeze(1)
    right = one_hot(labels.clamp_min(0), num_classes).float()
    return right.masked_fill(is_blank, 1 / num_classes)


def save_classifier(folder: Path, model: RecurrentClassifier) -> None:
    """Writes the weights of a run's model, memory included, into its folder, whole or not at all.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    with atomic_path(folder / WEIGHTS_NAME) as path:
        save_file(tensors, path)


def load_classifier(
    folder: Path, config: ClassifierRunConfig, encoder: TokenizerEncoder
) -> RecurrentClassifier:
    """Returns the model of a run whose weights stand in `folder`, in evaluation mode.

    Raises:
        ConfigError: the folder holds a run with other options.
        StateError: the weights are damaged, or those of another model.
    """
    claim(config, folder)
    model = build_classifier(config, encoder)
    path = folder / WEIGHTS_NAME
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise StateError(
            f"'{path}' is damaged: {error}. Remove it; the training goes on from its checkpoint."
        ) from error
    fill(model, tensors, path)
    return model.eval()
