"""How a layer turns its queries and keys with their positions, and how to turn them back.

Hugging Face layers rotate keys before their attention sees them. A memory is shown keys as they
were before, so that those of different positions can be compared, averaged and kept.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, cast, final

import torch
from torch import nn

from armt.backbones.huggingface import Anatomy
from armt.backbones.layer_calls import LayerCall, detoured
from armt.core.shapes import Float, Int, Tensor

ROTATION = "position_embeddings"
"""What decoders call cosine and sine of each position, which they hand to their layers."""


Angles = Literal["none", "once", "twice"]
"""How a family writes down the angle of two channels: not at all, for both, or for each."""


class Turn(NamedTuple):
    """Cosines and sines of each channel; the first half of the channels turns with the second.

    Channels beyond theirs are not turned.
    """

    cos: Float[Tensor, "*positions R"]
    sin: Float[Tensor, "*positions R"]

    @classmethod
    def read(cls, cos: Tensor, sin: Tensor, angles: Angles) -> "Turn":
        """Makes turns of what a decoder hands to its layers."""
        if angles == "none":
            return cls(cos[..., :0], sin[..., :0])
        if angles == "twice":
            return cls(cos, sin)
        return cls(torch.cat([cos, cos], dim=-1), torch.cat([sin, sin], dim=-1))

    def forth(self, x: Float[Tensor, "*heads T C"]) -> Float[Tensor, "*heads T C"]:
        """Returns `x` turned, as transformers turns it."""
        return self._on_channels(x, lambda y, cos, sin: y * cos + _half_turned(y) * sin)

    def back(self, x: Float[Tensor, "*heads T C"]) -> Float[Tensor, "*heads T C"]:
        """Returns what gives `x` when turned; a length that the turn changes is set right too."""

        def undo(y: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
            return (y * cos - _half_turned(y) * sin) / (cos.square() + sin.square())

        return self._on_channels(x, undo)

    def _on_channels(self, x: Tensor, change: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        num_channels = self.cos.shape[-1]
        if not num_channels:
            return x
        dtype = torch.promote_types(x.dtype, torch.float32)
        turned = change(x[..., :num_channels].to(dtype), self.cos.to(dtype), self.sin.to(dtype))
        return torch.cat([turned.to(x.dtype), x[..., num_channels:]], dim=-1)


@final
class Rotation(nn.Module):
    """The turns of one layer at each position; without channels if the layer does not rotate.

    The tables stay as exact as they were made when the model is cast. They are rounded when they
    are used, as the layer's own are, so that a model cast up again turns back what it turns.
    """

    def __init__(self, turns: Turn, first: int) -> None:
        """Keeps the turns of the positions from `first` on, outside of what is saved."""
        super().__init__()
        self._first = first
        self.register_buffer("cos", turns.cos, persistent=False)
        self.register_buffer("sin", turns.sin, persistent=False)

    def unrotate(self, x: Float[Tensor, "B H T C"], start: int) -> Float[Tensor, "B H T C"]:
        """Returns rotated queries or keys of the positions from `start` on as they were before."""
        first, last = start - self._first, start - self._first + x.shape[-2]
        cos, sin = cast("Tensor", self.cos), cast("Tensor", self.sin)
        assert 0 <= first <= last <= len(cos), "the table of turns has no such position"
        return Turn(cos[first:last].to(x.dtype), sin[first:last].to(x.dtype)).back(x)

    def rotate(
        self, x: Float[Tensor, "B H P C"], positions: Int[Tensor, " P"]
    ) -> Float[Tensor, "B H P C"]:
        """Returns un-rotated keys as the layer rotates those at the given positions."""
        rows = positions - self._first
        cos, sin = cast("Tensor", self.cos), cast("Tensor", self.sin)
        return Turn(cos[rows].to(x.dtype), sin[rows].to(x.dtype)).forth(x)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Rotation":
        """Follows a model to its device, but not to its precision."""
        del recurse
        for name, table in list(self.named_buffers()):
            setattr(self, name, table.to(fn(table).device))
        return self


@torch.no_grad()
def make_rotations(anatomy: Anatomy, angles: Sequence[Angles], positions: range) -> list[Rotation]:
    """Returns the rotation of each layer for a run of positions, as the decoder itself makes it.

    The layers must have ports: the decoder runs, but its layers do not.
    """
    like = next(anatomy.embedding.parameters())
    if all(each == "none" for each in angles):
        nothing = torch.zeros(len(positions), 0, dtype=like.dtype, device=like.device)
        return [Rotation(Turn(nothing, nothing), positions.start) for _ in angles]
    calls: list[LayerCall] = []

    def note(hidden: Tensor, args: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
        calls.append(LayerCall(args, options))
        return hidden.to(like.dtype)  # what comes behind the layers has weights of that precision

    # one position to a row: the masks that the decoder makes on the way stay small
    shape = (len(positions), 1, anatomy.d_model)
    # the decoder rounds cosine and sine to the precision of what it is given
    exact = torch.promote_types(like.dtype, torch.float32)
    embedded = torch.zeros(shape, dtype=exact, device=like.device)
    places = torch.tensor(positions, device=like.device).unsqueeze(1)
    with detoured(anatomy.layers, note):
        _ = anatomy.decoder(inputs_embeds=embedded, use_cache=False, position_ids=places)
    return [
        Rotation(_turns(call, each), positions.start)
        for call, each in zip(calls, angles, strict=True)
    ]


def _turns(call: LayerCall, angles: Angles) -> Turn:
    cos, sin = call.options[ROTATION]
    return Turn.read(cos.squeeze(1), sin.squeeze(1), angles)


def _half_turned(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat([-second, first], dim=-1)
