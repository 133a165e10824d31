"""What is carried over a text: the layers' states, and tokens that do not fill a segment yet."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch

from armt.core.shapes import Int, Tensor
from armt.core.state import State


@dataclass(frozen=True)
class RecurrentState:
    """Everything that is known of the texts read so far, one row of the batch for each text."""

    layers: tuple[State, ...]
    """The state of each layer's memory after the last whole segment."""

    pending: Int[Tensor, "B P"]
    """Tokens read after the last whole segment, left-aligned, zeros behind them."""

    num_pending: Int[Tensor, " B"]
    """How many of `pending` each row has; on the CPU."""

    num_tokens: Int[Tensor, " B"]
    """Tokens each row has read in all, pending ones included; on the CPU."""

    @property
    def batch_size(self) -> int:
        """Rows."""
        return len(self.num_tokens)

    @property
    def nbytes(self) -> int:
        """Size of the layers' states, in bytes."""
        return sum(layer.nbytes for layer in self.layers)

    def detach(self) -> "RecurrentState":
        """Returns the state cut off from the graph of gradients."""
        return self._map_layers(lambda layer: layer.detach())

    def to(self, device: torch.device | str) -> "RecurrentState":
        """Returns the state with its layers on `device`."""
        return self._map_layers(lambda layer: layer.to(device))

    def select_rows(self, rows: Int[Tensor, " N"]) -> "RecurrentState":
        """Returns the rows with the given numbers, in their order; rows may repeat."""
        rows = rows.cpu()
        return RecurrentState(
            layers=tuple(layer.select_rows(rows) for layer in self.layers),
            pending=self.pending[rows.to(self.pending.device)],
            num_pending=self.num_pending[rows],
            num_tokens=self.num_tokens[rows],
        )

    def without_pending(self) -> "RecurrentState":
        """Returns the state as it was after the last whole segment."""
        return dataclasses.replace(
            self,
            pending=self.pending[:, :0],
            num_pending=torch.zeros_like(self.num_pending),
            num_tokens=self.num_tokens - self.num_pending,
        )

    def with_layers(self, layers: tuple[State, ...]) -> "RecurrentState":
        """Returns the same position in the text with other memories."""
        return dataclasses.replace(self, layers=layers)

    def check_finite(self) -> None:
        """Checks that no value of any layer is NaN or infinite.

        Raises:
            StateError: one is; the message names the layer and the tokens read.
        """
        for index, layer in enumerate(self.layers):
            layer.check_finite(f"layer {index}, after {int(self.num_tokens.max()):,} tokens")

    def _map_layers(self, change: Callable[[State], State]) -> "RecurrentState":
        return self.with_layers(tuple(change(layer) for layer in self.layers))
