"""What a decoder does before and after its layers, without a copy of its code.

The decoder's own forward runs, but its layers are *detoured*: they hand back what they were given.
So the input of the first layer, the arguments of every layer (masks, rotations, positions) and the
final norm and head are the model's own, and only the layers themselves are run elsewhere.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import nn
from torch.utils import _pytree as pytree

from armt.backbones.attach import Detour, Port
from armt.core.errors import BackboneError
from armt.core.shapes import Float, Tensor

_MASK = "attention_mask"


class LayerCall(NamedTuple):
    """How a decoder calls one layer, besides the hidden states."""

    args: tuple[Any, ...]
    options: dict[str, Any]


@dataclass(frozen=True)
class LayerCalls:
    """How a decoder calls its layers, what differs between them stacked along a first dimension."""

    spec: pytree.TreeSpec
    """The structure of one call."""

    shared: tuple[Any, ...]
    """The leaves that all calls have in common; none where the calls differ."""

    stacked: dict[int, Tensor]
    """For the leaves that differ, by their place, the tensors of all layers."""

    @property
    def tensors(self) -> dict[int, Tensor]:
        """The tensors that all calls have in common, by their place."""
        places = enumerate(self.shared)
        return {place: leaf for place, leaf in places if isinstance(leaf, Tensor)}

    def rows(self, first: int, last: int) -> dict[int, Tensor]:
        """Returns what differs, for the layers from `first` up to `last`, without a copy."""
        return {place: leaf[first : last + 1] for place, leaf in self.stacked.items()}

    def call(self, own: dict[int, Tensor]) -> LayerCall:
        """Returns one layer's call; `own` holds its leaves that differ from other layers'."""
        leaves = [own.get(place, leaf) for place, leaf in enumerate(self.shared)]
        return cast("LayerCall", pytree.tree_unflatten(leaves, self.spec))


class Entry(NamedTuple):
    """A segment on the threshold of the first layer."""

    hidden: Float[Tensor, "B T D"]
    calls: tuple[LayerCall, ...]


def enter(
    layers: Sequence[nn.Module],
    decoder: Callable[..., Any],
    embedded: Float[Tensor, "B T D"],
    **options: Any,
) -> Entry:
    """Returns what the first layer would see of `embedded`, and how each layer would be called.

    `options` are further arguments for the decoder.
    """
    calls: list[LayerCall] = []
    seen: list[Tensor] = []

    def note(hidden: Tensor, args: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
        seen.append(hidden)
        calls.append(LayerCall(args, options))
        return hidden

    with detoured(layers, note):
        _ = decoder(inputs_embeds=embedded, use_cache=False, **options)
    return Entry(seen[0], tuple(calls))


def leave(
    layers: Sequence[nn.Module],
    forward: Callable[..., Any],
    hidden: Float[Tensor, "B T D"],
    logits_at: Tensor,
) -> Float[Tensor, "B N V"]:
    """Returns the logits of `hidden`, the last layer's output, at the given positions."""

    def replace(passed: Tensor, args: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
        del passed, args, options
        return hidden

    with detoured(layers, replace):
        return forward(inputs_embeds=hidden, use_cache=False, logits_to_keep=logits_at).logits


@contextmanager
def detoured(layers: Sequence[nn.Module], detour: Detour) -> Generator[None]:
    """Makes every layer hand back what `detour` says instead of running."""
    ports = [cast("Port", layer.__dict__["_port"]) for layer in layers]
    for port in ports:
        port.detour = detour
    try:
        yield
    finally:
        for port in ports:
            port.detour = None


def merge_calls(calls: Sequence[LayerCall]) -> LayerCalls:
    """Returns the calls of all layers as one.

    Raises:
        BackboneError: the calls differ in something that cannot be stacked.
    """
    flat = [pytree.tree_flatten(call) for call in _with_masks(calls)]
    spec = flat[0][1]
    if any(other != spec for _, other in flat):
        raise BackboneError("The model calls its layers with different arguments.")
    shared: list[Any] = []
    stacked: dict[int, Tensor] = {}
    for place, leaves in enumerate(zip(*(leaves for leaves, _ in flat), strict=True)):
        first = leaves[0]
        if all(leaf is first for leaf in leaves) or _are_equal(leaves):
            shared.append(first)
            continue
        shared.append(None)
        stacked[place] = _stack_leaves(leaves)
    return LayerCalls(spec, tuple(shared), stacked)


def _with_masks(calls: Sequence[LayerCall]) -> list[LayerCall]:
    """Writes out the causal mask of layers that get none, where other layers get a mask.

    Attention takes no mask to mean a causal one; a stack needs it spelt out.
    """
    masks = [call.options.get(_MASK) for call in calls]
    like = next((mask for mask in masks if isinstance(mask, Tensor)), None)
    if like is None or like.dtype != torch.bool or all(mask is not None for mask in masks):
        return list(calls)
    causal = torch.ones_like(like).tril()
    return [
        call if mask is not None else LayerCall(call.args, call.options | {_MASK: causal})
        for call, mask in zip(calls, masks, strict=True)
    ]


def _are_equal(leaves: Sequence[Any]) -> bool:
    if any(isinstance(leaf, Tensor) for leaf in leaves):
        return False
    return all(leaf == leaves[0] for leaf in leaves)


def _stack_leaves(leaves: Sequence[Any]) -> Tensor:
    shapes = {tuple(leaf.shape) if isinstance(leaf, Tensor) else None for leaf in leaves}
    if len(shapes) > 1 or None in shapes:
        raise BackboneError(
            "The model gives its layers arguments of different kinds: "
            + ", ".join(sorted({str(shape) for shape in shapes}))
        )
    return torch.stack([cast("Tensor", leaf) for leaf in leaves])
