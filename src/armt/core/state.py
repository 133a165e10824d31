"""State is a value: a frozen record of tensors, passed in and handed back."""

import dataclasses
from abc import ABC
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self, cast

import torch
from torch.nn import functional

from armt.core.errors import StateError
from armt.core.shapes import Bool, Int, Tensor


@dataclass(frozen=True)
class State(ABC):
    """What a memory carries from segment to segment.

    Subclasses are frozen dataclasses whose fields are tensors with the rows of the batch in the
    first dimension. The tensors may live on different devices, and further dimensions may grow:
    rows that grew unequally are put together with zeros behind the shorter ones, which must mean
    nothing to the memory.
    """

    def tensors(self) -> dict[str, Tensor]:
        """Returns the fields by name."""
        names = [field.name for field in dataclasses.fields(self)]
        return {name: cast("Tensor", getattr(self, name)) for name in names}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Makes a state from tensors by name."""
        return cls(**tensors)

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Returns the state with `change` applied to every tensor."""
        return self.from_tensors({name: change(value) for name, value in self.tensors().items()})

    def detach(self) -> Self:
        """Returns the state cut off from the graph of gradients."""
        return self.map(lambda value: value.detach())

    def to(self, device: torch.device | str) -> Self:
        """Returns the state on `device`."""
        return self.map(lambda value: value.to(device))

    def select_rows(self, rows: Int[Tensor, " N"]) -> Self:
        """Returns the state of the rows with the given numbers, in their order."""
        return self.map(lambda value: value.index_select(0, rows.to(value.device)))

    def where(self, is_new: Bool[Tensor, " B"], old: Self) -> Self:
        """Returns this state in the rows where `is_new` holds and `old` in the others."""

        def choose(new: Tensor, kept: Tensor) -> Tensor:
            new, kept = _as_long(new, kept), _as_long(kept, new)
            mask = is_new.to(new.device).view(-1, *[1] * (new.dim() - 1))
            return torch.where(mask, new, kept)

        kept = old.tensors()
        return self.from_tensors(
            {name: choose(value, kept[name]) for name, value in self.tensors().items()}
        )

    def scatter_rows(self, rows: Int[Tensor, " N"], base: Self) -> Self:
        """Returns `base` with the rows of the given numbers replaced by the rows of this state."""

        def put(new: Tensor, kept: Tensor) -> Tensor:
            new, kept = _as_long(new, kept), _as_long(kept, new)
            return kept.index_copy(0, rows.to(new.device), new)

        kept = base.tensors()
        return self.from_tensors(
            {name: put(value, kept[name]) for name, value in self.tensors().items()}
        )

    @property
    def nbytes(self) -> int:
        """Size of all tensors, in bytes."""
        return sum(value.nbytes for value in self.tensors().values())

    def check_finite(self, where: str) -> None:
        """Checks that no value is NaN or infinite.

        Raises:
            StateError: a value is not finite; the message names the field and `where`.
        """
        for name, value in self.tensors().items():
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise StateError(
                    f"The memory holds values that are not finite ({where}, field '{name}'). "
                    "Go back to the last good state, or read in float32."
                )


def _as_long(value: Tensor, other: Tensor) -> Tensor:
    """Returns `value` with zeros behind it in each dimension but the first where it is shorter."""
    gaps = [max(b - a, 0) for a, b in zip(value.shape[1:], other.shape[1:], strict=True)]
    if not any(gaps):
        return value
    return functional.pad(value, [end for gap in reversed(gaps) for end in (0, gap)])
