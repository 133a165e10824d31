"""One forward and backward pass over a batch, with what is carried from batch to batch."""

from typing import NamedTuple, Protocol

import torch
from torch import nn

from armt.core.errors import DataError
from armt.core.shapes import Bool, Float, Tensor
from armt.core.state import State
from armt.recurrence.model import Recurrent, RecurrentOutput
from armt.recurrence.state import RecurrentState
from armt.tasks.contract import Batch


class StepResult(NamedTuple):
    """What one batch gave; the gradients stand on the parameters."""

    loss: Float[Tensor, ""]
    """The answers' loss, the penalty and the memory's own loss, cut off from the gradient."""

    num_labels: Tensor | int
    num_correct: Tensor | int

    carried: tuple[State, ...] | None
    """The layers' states after the batch's carried text, cut off from the gradient."""

    started: tuple[State, ...] | None
    """Those that it started from, empty in rows that begin anew; none where none are carried."""


class Stepper(Protocol):
    """Computes the gradients of a batch."""

    def __call__(self, batch: Batch, carried: tuple[State, ...] | None) -> StepResult:
        """Rows that begin anew start from an empty memory, the others from `carried`.

        What it returns may be overwritten by the next call.
        """
        ...

    def carried_on(
        self, result: StepResult, is_taken: Bool[Tensor, ""]
    ) -> tuple[State, ...] | None:
        """Returns what the next batch starts from; it stays as it is.

        These are the states after a batch whose step was taken, and past one that was left out the
        states that it started from: what is not finite would spoil all steps after it.
        """
        ...


class EagerStepper:
    """Computes the gradients operation by operation, on any device."""

    def __init__(
        self,
        model: nn.Module,
        recurrent: Recurrent,
        write_penalty: float,
        memory_loss: float = 0.0,
    ) -> None:
        """Takes the model, which may be a wrapper of `recurrent`, and weights in the loss."""
        self.model, self.recurrent = model, recurrent
        self.write_penalty, self.memory_loss = write_penalty, memory_loss

    def __call__(self, batch: Batch, carried: tuple[State, ...] | None) -> StepResult:
        """See `Stepper`."""
        device = self.recurrent.device
        batch = batch.map(lambda tensor: tensor.to(device, non_blocking=True))
        start = self.start_states(batch.resets, carried, len(batch.input_ids))
        return self.run(batch, start)

    def carried_on(
        self, result: StepResult, is_taken: Bool[Tensor, ""]
    ) -> tuple[State, ...] | None:
        """See `Stepper`."""
        return result.carried if bool(is_taken) else result.started

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
        text_labels = None if batch.question_ids is not None else batch.labels
        output: RecurrentOutput = self.model(
            input_ids=batch.input_ids,
            labels=text_labels,
            loss_weights=batch.label_weights,
            label_start=None if text_labels is None else batch.label_start,
            state=_at_a_start(start, len(batch.input_ids)),
            logits_to_keep=1,
            carry_len=batch.carry_len or None,
        )
        after = output.state
        assert after is not None, "a recurrent model returns its state"
        if batch.question_ids is not None:
            output = self._ask(batch, after)
        assert output.loss is not None, "a batch with labels has a loss"
        assert output.num_labels is not None, "a batch with labels counts them"
        assert output.num_correct is not None, "a batch with labels counts the right ones"
        loss: Tensor = output.loss
        if self.write_penalty:
            change = mean_log_change(start, after.layers, batch.is_quiet)
            loss = loss + self.write_penalty * change
        if self.memory_loss:
            pairs = zip(self.recurrent.memory.mechanisms, after.layers, strict=True)
            own = [memory.own_loss(state) for memory, state in pairs]
            loss = loss + self.memory_loss * torch.stack(own).mean()
        _ = loss.backward()
        carried, started = (
            tuple(state.detach() for state in states) if batch.carry_len else None
            for states in (after.layers, start)
        )
        counts = output.num_labels, output.num_correct
        return StepResult(loss.detach(), *counts, carried, started)

    def _ask(self, batch: Batch, state: RecurrentState) -> RecurrentOutput:
        """Asks every question for itself from the state of its row.

        Raises:
            DataError: the text does not end with a segment, so that its end is not in the state.
        """
        assert batch.question_ids is not None, "there are questions"
        assert batch.question_labels is not None, "questions have labels"
        if state.pending.shape[1]:
            raise DataError(
                "Questions are asked from the memory, so a text before them must be whole segments "
                f"of {self.recurrent.recurrence.segment_len} tokens that do not overlap. Got "
                f"{batch.input_ids.shape[1]} tokens: set `recurrence.segment_len` to fit."
            )
        num_questions = batch.question_ids.shape[1]
        forks = tuple(
            layer.map(lambda value: value.repeat_interleave(num_questions, dim=0))
            for layer in state.layers
        )
        return self.model(
            input_ids=batch.question_ids.flatten(0, 1),
            labels=batch.question_labels.flatten(0, 1),
            label_start=batch.label_start,
            state=_at_a_start(forks, len(batch.input_ids) * num_questions),
            logits_to_keep=1,
        )


def _at_a_start(layers: tuple[State, ...], num_rows: int) -> RecurrentState:
    """Returns states of layers as those at the beginning of a segment."""
    return RecurrentState(
        layers=layers,
        pending=torch.zeros(num_rows, 0, dtype=torch.long),
        num_pending=(zeros := torch.zeros(num_rows, dtype=torch.long)),
        num_tokens=zeros,
    )


def mean_log_change(
    old: tuple[State, ...], new: tuple[State, ...], is_counted: Bool[Tensor, " B"] | None = None
) -> Float[Tensor, ""]:
    """Returns log(1 + length of the change of state), averaged over rows and layers.

    The logarithm, because nothing holds the values of a memory small: a penalty on the length
    itself may outgrow the loss of every answer, and close a memory for good. Only rows that are
    counted enter; zero if there is none, or no state.
    """
    lengths: list[Tensor] = []
    for before, after in zip(old, new, strict=True):
        kept = before.tensors()
        squares = [
            _change(value, kept[name]).float().flatten(1).square().sum(1)
            for name, value in after.tensors().items()
            if value.is_floating_point() and value.numel()
        ]
        if squares:
            lengths.append((torch.stack(squares).sum(0) + 1e-12).sqrt())
    if not lengths:
        return torch.zeros(())
    changes = torch.stack(lengths).log1p().mean(0)
    if is_counted is None:
        return changes.mean()
    return (changes * is_counted).sum() / is_counted.sum().clamp_min(1)


def _change(value: Tensor, before: Tensor) -> Tensor:
    """Returns how far a tensor moved; what grew behind the old values has not moved."""
    return value[tuple(slice(size) for size in before.shape)] - before
