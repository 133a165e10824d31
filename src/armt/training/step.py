"""One forward and backward pass over a batch, with what is carried from batch to batch."""

from typing import NamedTuple, Protocol

import torch
from torch import nn

from armt.core.shapes import Bool, Float, Tensor
from armt.core.state import State
from armt.recurrence.model import Recurrent, RecurrentOutput
from armt.recurrence.state import RecurrentState
from armt.tasks.contract import Batch


class StepResult(NamedTuple):
    """What one batch gave; the gradients stand on the parameters."""

    loss: Float[Tensor, ""]
    """The answers' loss and the penalty, cut off from the gradient."""

    num_labels: Tensor | int
    num_correct: Tensor | int

    carried: tuple[State, ...] | None
    """The layers' states after the batch's carried text, cut off from the gradient."""


class Stepper(Protocol):
    """Computes the gradients of a batch."""

    def __call__(self, batch: Batch, carried: tuple[State, ...] | None) -> StepResult:
        """Rows that begin anew start from an empty memory, the others from `carried`."""
        ...


class EagerStepper:
    """Computes the gradients operation by operation, on any device."""

    def __init__(self, model: nn.Module, recurrent: Recurrent, write_penalty: float) -> None:
        """Takes the model, which may be a wrapper of `recurrent`."""
        self.model, self.recurrent, self.write_penalty = model, recurrent, write_penalty

    def __call__(self, batch: Batch, carried: tuple[State, ...] | None) -> StepResult:
        """See `Stepper`."""
        device = self.recurrent.device
        batch = batch.map(lambda tensor: tensor.to(device, non_blocking=True))
        start = self.start_states(batch.resets, carried, len(batch.input_ids))
        return self.run(batch, start)

    def start_states(
        self,
        resets: Bool[Tensor, " B"] | None,
        carried: tuple[State, ...] | None,
        batch_size: int,
    ) -> tuple[State, ...]:
        """Returns the carried states, empty in the rows that begin anew."""
        fresh = self.recurrent.memory.init_states(batch_size)
        if carried is None or resets is None:
            return fresh
        pairs = zip(fresh, carried, strict=True)
        return tuple(new.where(resets, old) for new, old in pairs)

    def run(self, batch: Batch, start: tuple[State, ...]) -> StepResult:
        """Runs forward and backward from given states; nothing in it waits for the device."""
        empty = RecurrentState(
            layers=start,
            pending=torch.zeros(len(batch.input_ids), 0, dtype=torch.long),
            num_pending=(zeros := torch.zeros(len(batch.input_ids), dtype=torch.long)),
            num_tokens=zeros,
        )
        output: RecurrentOutput = self.model(
            input_ids=batch.input_ids,
            labels=batch.labels,
            label_weights=batch.label_weights,
            label_start=batch.label_start,
            state=empty,
            logits_to_keep=1,
            carry_len=batch.carry_len or None,
        )
        assert output.loss is not None, "a batch with labels has a loss"
        assert output.state is not None, "a recurrent model returns its state"
        assert output.num_labels is not None, "a batch with labels counts them"
        assert output.num_correct is not None, "a batch with labels counts the right ones"
        loss: Tensor = output.loss
        if self.write_penalty:
            loss = loss + self.write_penalty * mean_change(start, output.state.layers)
        _ = loss.backward()
        after = output.state.detach().layers if batch.carry_len else None
        return StepResult(loss.detach(), output.num_labels, output.num_correct, after)


def mean_change(old: tuple[State, ...], new: tuple[State, ...]) -> Float[Tensor, ""]:
    """Returns the length of each row's and layer's change of state, averaged over both."""
    lengths: list[Tensor] = []
    for before, after in zip(old, new, strict=True):
        kept = before.tensors()
        squares = [
            (value - kept[name]).float().flatten(1).square().sum(1)
            for name, value in after.tensors().items()
            if value.is_floating_point() and value.numel()
        ]
        if squares:
            lengths.append((torch.stack(squares).sum(0) + 1e-12).sqrt().mean())
    return torch.stack(lengths).mean() if lengths else torch.zeros(())
