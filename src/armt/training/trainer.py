"""The training loop: stages, carried states, mixed precision, checkpoints, skipped steps."""

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from accelerate import Accelerator
from torch import nn

from armt.core.shapes import Tensor
from armt.recurrence.model import Recurrent
from armt.tasks.contract import TrainingStream
from armt.training.checkpoint import resume_or_begin, save_checkpoint, sole_training
from armt.training.config import RunConfig, StageConfig
from armt.training.descent import Descent
from armt.training.graphed import GraphedStepper
from armt.training.loader import load_batches
from armt.training.optim import MasterAdamW, cast_weights, learning_rate_at
from armt.training.step import EagerStepper, Stepper, StepResult
from armt.training.stopping import StopRequest, stop_requests


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What is known after some steps of training."""

    step: int
    """Steps done, over all stages."""

    num_steps: int
    """Steps to do, over all stages."""

    stage: int
    """Number of the stage, from 0 on."""

    loss: float
    """Mean loss since the last report; NaN if a step was not finite."""

    accuracy: float
    """Share of answer tokens that were the most likely ones, since the last report."""

    learning_rate: float
    gradient_norm: float
    tokens_per_s: float
    """Tokens of input in a second, all processes together."""

    num_tokens: int
    """Tokens of input so far."""

    num_skipped: int
    """Steps so far that were left out because the gradient was not finite."""

    seconds: float
    """Time spent training so far, resumed runs included."""


class Callback(Protocol):
    """Is told how the training goes."""

    def on_report(self, report: StepReport) -> None:
        """Called every `log_every` steps and at the end."""
        ...

    def on_end(self, model: Recurrent) -> None:
        """Called once, when all stages are done."""
        ...


@dataclass
class _Tally:
    """Sums since the last report; tensors, so that nothing waits for the device."""

    losses: list[Tensor] = field(default_factory=list)
    num_labels: Tensor | int = 0
    num_correct: Tensor | int = 0
    num_tokens: int = 0
    started: float = field(default_factory=time.monotonic)


class Trainer:
    """Trains one recurrent model through the stages of a run."""

    def __init__(
        self,
        model: Recurrent,
        streams: Sequence[TrainingStream],
        config: RunConfig,
        folder: Path,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        """Prepares model and optimiser; resumes from the newest checkpoint in `folder`, if any."""
        self.config, self.folder, self.callbacks = config, folder, callbacks
        self.streams = streams
        self.accelerator = Accelerator()
        self.recurrent = model
        _ = cast("nn.Module", model).to(self.accelerator.device)
        cast_weights(model, getattr(torch, config.precision))
        self.optimizer = MasterAdamW(model, config.optim)
        self.model: nn.Module = cast("Any", self.accelerator).prepare(model)
        self.progress, self.carried = resume_or_begin(folder, model, self.optimizer, config.seed)
        self._descent = Descent(self.optimizer, self.progress, config.max_skipped, folder)
        self._tally = _Tally()

    def train(self) -> Recurrent:
        """Runs the stages that are not done yet and returns the model.

        SIGTERM and SIGINT end it after the present step, with a checkpoint.

        Raises:
            ArmtError: too many steps in a row were not finite.
            StoppedError: the process was asked to stop.
            StorageError: another process is training in the folder.
        """
        # the processes of one training write through the main one
        is_main = self.accelerator.is_main_process
        with sole_training(self.folder) if is_main else nullcontext():
            self._train_stages()
            _ = self.trained()
            self._save()
            for callback in self.callbacks:
                callback.on_end(self.recurrent)
        return self.recurrent

    def _train_stages(self) -> None:
        """Runs the stages that are not done yet."""
        _ = self.model.train()
        self.recurrent.recurrence = self.config.recurrence
        first = self._first_open_stage()
        with stop_requests(is_alone=not self.accelerator.use_distributed) as stop:
            for number, stage in list(enumerate(self.config.stages))[first:]:
                memory = self.config.memory.in_stage(stage.memory_changes)
                with self.recurrent.memory.changed(memory):
                    self._train_stage(number, stage, stop)

    def trained(self) -> Recurrent:
        """Returns the model ready to read, with the weights that it has by now."""
        _ = self.model.eval()
        self.recurrent.recurrence = self.config.reading
        return self.recurrent

    def _first_open_stage(self) -> int:
        done = 0
        for number, stage in enumerate(self.config.stages):
            done += stage.num_steps
            if self.progress.step < done:
                return number
        return len(self.config.stages)

    def _train_stage(self, number: int, stage: StageConfig, stop: StopRequest) -> None:
        before = sum(earlier.num_steps for earlier in self.config.stages[:number])
        start = self.progress.step - before
        if start == 0:
            self.carried = None
        stepper = self._stepper(stage)
        is_pinned = self.accelerator.device.type == "cuda"
        batches = load_batches(self.streams[number], start, is_pinned=is_pinned)
        self._tally = _Tally()
        for step, batch in zip(range(start, stage.num_steps), batches, strict=False):
            self.optimizer.set_learning_rate(learning_rate_at(stage, step))
            result = stepper(batch, self.carried)
            self.carried = stepper.carried_on(result, self._descent.step())
            self._count(result, batch.num_tokens)
            self._after_step(number)
            if stop.is_made:
                self._save()
                raise stop.error(f"after step {self.progress.step:,}")

    def _stepper(self, stage: StageConfig) -> Stepper:
        """Returns what computes gradients: graphs on a single GPU, else operation by operation.

        A graph has fixed shapes, which a state that grows has not.
        """
        weights = stage.write_penalty, stage.memory_loss
        eager = EagerStepper(self.model, self.recurrent, *weights)
        is_on_gpu = self.accelerator.device.type == "cuda"
        is_alone = not self.accelerator.use_distributed
        has_fixed_shapes = self.recurrent.memory.is_bounded
        return GraphedStepper(eager) if is_on_gpu and is_alone and has_fixed_shapes else eager

    def _count(self, result: StepResult, num_tokens: int) -> None:
        tally, processes = self._tally, self.accelerator.num_processes
        tally.losses.append(result.loss.detach())
        tally.num_labels = tally.num_labels + result.num_labels
        tally.num_correct = tally.num_correct + result.num_correct
        tally.num_tokens += num_tokens * processes
        self.progress.num_tokens += num_tokens * processes
        self.progress.step += 1

    def _after_step(self, number: int) -> None:
        step, config = self.progress.step, self.config
        if step % config.log_every == 0 or step == config.num_steps:
            self._report(number)
        if step % config.save_every == 0 and step < config.num_steps:
            before = time.monotonic()
            self._save()
            self._tally.started += time.monotonic() - before

    def _report(self, number: int) -> None:
        self._descent.settle()
        tally = self._tally
        losses = torch.stack(tally.losses).tolist()
        seconds = max(time.monotonic() - tally.started, 1e-9)
        self.progress.seconds += seconds
        report = StepReport(
            step=self.progress.step,
            num_steps=self.config.num_steps,
            stage=number,
            loss=math.fsum(losses) / len(losses),
            accuracy=float(tally.num_correct) / max(float(tally.num_labels), 1.0),
            learning_rate=self.optimizer.inner.param_groups[0]["lr"],
            gradient_norm=float(self._descent.norm),
            tokens_per_s=tally.num_tokens / seconds,
            num_tokens=self.progress.num_tokens,
            num_skipped=self.progress.num_skipped,
            seconds=self.progress.seconds,
        )
        self._tally = _Tally()
        if self.accelerator.is_main_process:
            for callback in self.callbacks:
                callback.on_report(report)

    def _save(self) -> None:
        self._descent.settle()
        if self.accelerator.is_main_process:
            _ = save_checkpoint(
                self.folder, self.recurrent, self.optimizer, self.progress, self.carried
            )
        self.accelerator.wait_for_everyone()
