"""How fast a model is trained: forward, backward and optimiser."""

from functools import partial

import torch
from torch import nn

from armt.benchmarking.bench import Bench, Case, flops_of
from armt.benchmarking.clock import MemoryMeter
from armt.benchmarking.config import Schedule
from armt.benchmarking.reading import EAGER, set_schedule
from armt.recurrence.model import Recurrent
from armt.tasks.contract import NO_LABEL, Batch
from armt.training.config import OptimConfig
from armt.training.graphed import GraphedStepper
from armt.training.optim import MasterAdamW
from armt.training.step import EagerStepper, Stepper

_LEARNING_RATE = 1e-5
_PASSES = 3
"""A backward pass is counted as two forward ones; the head is left out."""


def measure_train(bench: Bench, case: Case) -> None:
    """Measures a training step, all schedules in turns on one model."""
    config, model = bench.config, bench.model(case).train()
    optimizer = _optimizer(model)
    meter = MemoryMeter(bench.device)
    batch = make_batch(bench, case)
    works = {
        name: partial(_step, bench, model, stepper(model, name), optimizer, name, batch)
        for name in config.schedules
    }
    about = case.params | {"segments": config.num_train_segments, "labels": config.num_labels}
    found = bench.compare(works, meter, lambda name: about | {"schedule": name})
    num_tokens = batch.input_ids.numel()
    for name, samples in found.items():
        params = about | {"schedule": name}
        bench.add_speed("train", samples, num_tokens, _PASSES * flops_of(model, num_tokens), params)
        bench.add_peak("train", meter, name, params)


def make_batch(bench: Bench, case: Case) -> Batch:
    """Returns random tokens of which the last ones are labelled."""
    ids = bench.ids(case, bench.config.num_train_segments * case.segment_len)
    start = ids.shape[1] - min(bench.config.num_labels, ids.shape[1] - 1)
    labels = torch.full_like(ids, NO_LABEL)
    labels[:, start:] = ids[:, start:]
    return Batch(input_ids=ids, labels=labels, label_start=start)


def stepper(model: Recurrent, schedule: Schedule) -> Stepper:
    """Returns what computes gradients as the trainer does; for the plain loop without graphs."""
    eager = EagerStepper(model, model, write_penalty=0.0)
    is_graphed = model.device.type == "cuda" and schedule != EAGER
    return GraphedStepper(eager) if is_graphed else eager


def _step(
    bench: Bench,
    model: Recurrent,
    gradients: Stepper,
    optimizer: MasterAdamW,
    schedule: str,
    batch: Batch,
) -> None:
    set_schedule(model, schedule, is_compiled=bench.config.is_compiled)
    _ = gradients(batch, None)
    _ = optimizer.step()
    optimizer.zero_grad()


def _optimizer(model: nn.Module) -> MasterAdamW:
    """Returns an optimiser that holds all it will ever hold, and so belongs to every schedule."""
    optimizer = MasterAdamW(model, OptimConfig())
    for parameter in optimizer.parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.set_learning_rate(_LEARNING_RATE)
    _ = optimizer.step()
    optimizer.zero_grad()
    return optimizer
