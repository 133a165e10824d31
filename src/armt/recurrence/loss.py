"""The loss of a text that is read segment by segment."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.nn import functional

from armt.core.shapes import Bool, Float, Int, Tensor
from armt.recurrence.segmenter import PackedText, on_device

IGNORED = -100
"""Label of positions that are not trained on."""


class Labels(NamedTuple):
    """What a text is trained on, as the caller lays it out."""

    ids: Int[Tensor, "B T"]
    """The tokens themselves, `IGNORED` where no loss is wanted."""

    weights: Float[Tensor, "B T"] | None = None
    """How much each counts in the loss; none for all alike."""

    start: int | None = None
    """A position before which no label stands; none if that is not known."""

    num_items: Tensor | int | None = None
    """Divisor of the loss; none for the weights that were counted."""


@dataclass(frozen=True)
class Targets:
    """For each position the token that should follow it."""

    ids: Int[Tensor, "B T"]
    """Labels shifted by one over the whole text, so that none is lost where segments meet."""

    weights: Float[Tensor, "B T"] | None
    """Their weights in the loss; none for one everywhere."""

    is_used: Bool[Tensor, " T"]
    """Columns in which some row has a target; on the CPU."""

    def at(self, rows: Int[Tensor, " R"] | None, columns: Int[Tensor, " N"]) -> "Targets":
        """Returns the targets of some rows (none for all) at some columns."""
        columns = on_device(columns, self.ids.device)
        rows = None if rows is None else rows.to(self.ids.device)

        def pick(values: Tensor) -> Tensor:
            values = values if rows is None else values[rows]
            return values[:, columns]

        weights = None if self.weights is None else pick(self.weights)
        return Targets(pick(self.ids), weights, self.is_used)


def make_targets(labels: Labels, packed: PackedText) -> Targets:
    """Lays the caller's labels out as the packed text and shifts them by one.

    If it is known where they start, all columns from there on count as used, and the labels are not
    looked at, which on a GPU would wait for it.
    """
    ids, weights = labels.ids, labels.weights
    if packed.source is not None:
        source = packed.source.to(ids.device)
        ids = ids.gather(1, source.clamp_min(0)).masked_fill(source < 0, IGNORED)
        weights = None if weights is None else weights.gather(1, source.clamp_min(0))
    ids = functional.pad(ids[:, 1:], (0, 1), value=IGNORED)
    if labels.start is None or packed.source is not None:
        is_used = (ids != IGNORED).any(0).cpu()
    else:
        positions = torch.arange(ids.shape[1])
        is_used = (positions >= labels.start - 1) & (positions < ids.shape[1] - 1)
    if weights is not None:
        weights = functional.pad(weights[:, 1:], (0, 1)).to(packed.ids.device)
    return Targets(ids.to(packed.ids.device), weights, is_used)


@dataclass
class LossSum:
    """Sums over the segments seen so far."""

    loss: Float[Tensor, ""] | None = None
    weight: Float[Tensor, ""] | int = 0
    num_labels: Int[Tensor, ""] | int = 0
    num_correct: Int[Tensor, ""] | int = 0

    def add(self, logits: Float[Tensor, "B N V"], targets: Targets) -> None:
        """Adds the cross-entropy of one segment's logits, computed in at least single precision.

        Labels of less than full weight count in the loss, but not as right or wrong.
        """
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        losses = functional.cross_entropy(
            logits.flatten(0, 1), targets.ids.flatten(), ignore_index=IGNORED, reduction="none"
        ).view_as(targets.ids)
        is_label = targets.ids != IGNORED
        weights = is_label.to(losses.dtype)
        if targets.weights is not None:
            weights = weights * targets.weights
            is_label = is_label & (targets.weights >= 1)
        loss = (losses * weights).sum()
        self.loss = loss if self.loss is None else self.loss + loss
        self.weight = self.weight + weights.sum()
        self.num_labels = self.num_labels + is_label.sum()
        self.num_correct = self.num_correct + ((logits.argmax(-1) == targets.ids) & is_label).sum()

    def mean(self, num_labels: Tensor | int | None, like: Tensor) -> Float[Tensor, ""]:
        """Returns the mean loss over `num_labels`, by default the weights that were counted.

        A text without labels has the loss zero.
        """
        if self.loss is None:
            return torch.zeros((), device=like.device)
        count = self.weight if num_labels is None else num_labels
        return self.loss / torch.as_tensor(count, device=self.loss.device).clamp_min(1e-9)
