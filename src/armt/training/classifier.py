"""Trains an encoder with memory tokens to answer about facts far back in a text.

A run goes on from its newest checkpoint, as those of decoders do. It ends with its last weights, or
with those that were right most often over long texts.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy, one_hot

from armt.core.errors import StateError
from armt.core.files import atomic_path
from armt.core.shapes import Float, Int, Tensor
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
from armt.training.checkpoint import fill, resume_or_begin, save_checkpoint, sole_training
from armt.training.classifier_config import ClassifierRunConfig, ClassifierStageConfig
from armt.training.descent import Descent
from armt.training.loader import load_batches
from armt.training.optim import MasterAdamW, cast_weights
from armt.training.run import claim
from armt.training.stopping import StopRequest, stop_requests
from armt.training.validation import BestWeights, ValidationReport

WEIGHTS_NAME = "model.safetensors"


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
    """Time spent training so far, validation and resumed runs included."""


OnReport = Callable[[ClassifierReport | ValidationReport], None]


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
            ConfigError: the folder holds a run with other options, or no book can be held out.
            StateError: it holds the checkpoint of another model, or damaged best weights.
        """
        claim(config, folder)
        self.model, self.config, self.folder = model, config, folder
        self.optimizer = MasterAdamW(model, config.optim)
        self.progress, _ = resume_or_begin(folder, model, self.optimizer, config.seed)
        self._descent = Descent(self.optimizer, self.progress, config.max_skipped, folder)
        self._losses = list[torch.Tensor]()
        self.task, self._best = task, None
        if config.validation is not None:
            self.task, held_out = task.parted()
            self._best = BestWeights(model, held_out, config.validation, folder)

    def train(self, on_report: OnReport) -> RecurrentClassifier:
        """Runs the stages that are not done yet and returns the model, in evaluation mode.

        With validation it has the best of the weights that were looked at, else the last ones.
        SIGTERM and SIGINT end it after the present step, with a checkpoint.

        Raises:
            ArmtError: too many steps in a row were not finite.
            StateError: the best weights are missing or damaged.
            StoppedError: the process was asked to stop.
            StorageError: another process is training in the folder.
        """
        _ = self.model.train()
        with sole_training(self.folder), stop_requests(is_alone=True) as stop:
            for number, stage in enumerate(self.config.stages):
                memory = self.config.memory.in_stage(stage.memory_changes)
                with self.model.memory.changed(memory):
                    self._train_stage(number, on_report, stop)
        if self._best is not None:
            self._best.fill()
        return self.model.eval()

    def _train_stage(self, index: int, on_report: OnReport, stop: StopRequest) -> None:
        """Does what is left of a stage, nothing if it is done."""
        config, progress, stage = self.config, self.progress, self.config.stages[index]
        before = sum(each.num_steps for each in config.stages[:index])
        end = before + stage.num_steps
        if progress.step >= end:
            return
        stream = ClassifierStream(self.task, config, stage)
        is_pinned = self.model.device.type == "cuda"
        batches = load_batches(stream, progress.step, is_pinned=is_pinned)
        best = self._best if config.is_validated(index) else None
        while progress.step < end:
            started = time.monotonic()
            number = progress.step - before
            self.optimizer.set_learning_rate(stage.learning_rate_at(number))
            self._learn(next(batches))
            progress.seconds += time.monotonic() - started
            if (number + 1) % config.log_every == 0 or progress.step == end:
                report = self._report(stage)
                on_report(report)
                if stage.goal is not None and report.accuracy >= stage.goal:
                    progress.step = end
            # before the checkpoint: a run that goes on from there does not come back to this step
            if best is not None and (best.is_due(number + 1) or progress.step == end):
                self._validate(best, on_report)
            if (number + 1) % config.save_every == 0 or progress.step == end or stop.is_made:
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
        _ = self._descent.step()
        self._losses.append(loss.detach())
        self.progress.step += 1
        self._descent.settle()
        self.progress.num_tokens += int(batch.attention_mask.sum())
        self.progress.num_told += int((batch.labels != NO_ANSWER).sum())
        self.progress.num_right += int((logits.argmax(-1) == labels).sum())

    def _validate(self, best: BestWeights, on_report: OnReport) -> None:
        """Reads the long texts, which takes its time like any other part of the training."""
        started = time.monotonic()
        report = best.validate(self.progress.step)
        self.progress.seconds += time.monotonic() - started
        on_report(report)

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
        StateError: the weights are missing or damaged, or those of another model.
    """
    claim(config, folder)
    model = build_classifier(config, encoder)
    path = folder / WEIGHTS_NAME
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise StateError(
            f"'{path}' is damaged or missing: {error}. Remove it; the training goes on from its "
            "checkpoint."
        ) from error
    fill(model, tensors, path)
    return model.eval()
