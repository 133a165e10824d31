"""Finds out, layer by layer, whether a memory can enter a model's attention, and how it rotates.

Nothing is taken from tables of families: each layer runs twice over a few positions, once as the
decoder calls it and once with its rotation held still.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, final

import torch
from torch import nn
from transformers import PreTrainedModel

from armt.backbones.attention import GUEST
from armt.backbones.huggingface import Anatomy
from armt.backbones.modes import evaluation_mode
from armt.backbones.rotation import ROTATION, Angles, Turn
from armt.core.errors import BackboneError
from armt.core.layer_shape import LayerShape
from armt.core.shapes import Tensor

_NUM_POSITIONS = 3


@torch.no_grad()
def probe_attention(model: PreTrainedModel, anatomy: Anatomy) -> list[Angles]:
    """Returns for each layer whether it rotates its keys, and how the angles are written down.

    The attention must be open to guests, the layers still without ports.

    Raises:
        BackboneError: a layer has no attention that asks guests, its heads are not those of its
            config, or it rotates in a way that cannot be undone.
    """
    with evaluation_mode(model):
        calls = _watch(anatomy)
        return [
            _angles(layer, call, shape)
            for layer, call, shape in zip(anatomy.layers, calls, anatomy.shapes, strict=True)
        ]


@final
class _Watcher:
    """A guest that gives nothing and remembers what it was shown."""

    def __init__(self) -> None:
        self.query: Tensor | None = None
        self.key: Tensor | None = None

    def extend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> None:
        del value, mask
        self.query, self.key = query, key


def _watch(anatomy: Anatomy) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Returns how the decoder calls each layer, hidden states and all, for a few positions."""
    calls: dict[int, tuple[tuple[Any, ...], dict[str, Any]]] = {}

    def note(index: int, _: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        calls[index] = (args, options)

    handles = [
        layer.register_forward_pre_hook(partial(note, index), with_kwargs=True)
        for index, layer in enumerate(anatomy.layers)
    ]
    like = next(anatomy.embedding.parameters())
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(1, _NUM_POSITIONS, anatomy.d_model, generator=generator).to(like)
    try:
        _ = anatomy.decoder(inputs_embeds=hidden, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return [calls[index] for index in range(len(anatomy.layers))]


def _angles(
    layer: nn.Module, call: tuple[tuple[Any, ...], dict[str, Any]], shape: LayerShape
) -> Angles:
    args, options = call
    rotated = _keys(layer, args, options, shape)
    turn = options.get(ROTATION)
    if turn is None:
        moved = {name: value + 1 for name, value in options.items() if name == "position_ids"}
        if not _is_close(_keys(layer, args, options | moved, shape), rotated):
            raise _unknown_rotation(layer, shape)
        return "none"
    if not (isinstance(turn, Sequence) and len(turn) == 2 and turn[0].is_floating_point()):
        raise _unknown_rotation(layer, shape)
    still = {ROTATION: (torch.ones_like(turn[0]), torch.zeros_like(turn[1]))}
    plain = _keys(layer, args, options | still, shape)
    for angles in ("none", "twice", "once"):
        expected = Turn.read(turn[0], turn[1], angles)
        if expected.cos.shape[-1] <= shape.head_dim and _is_close(expected.forth(plain), rotated):
            return angles
    raise _unknown_rotation(layer, shape)


def _keys(
    layer: nn.Module, args: tuple[Any, ...], options: dict[str, Any], shape: LayerShape
) -> Tensor:
    """Runs a layer and returns the keys that its attention was given."""
    watcher = _Watcher()
    name = f"Layer {shape.index} ({type(layer).__name__})"
    try:
        _ = layer(*args, **(options | {GUEST: watcher}))
    except TypeError as error:
        raise BackboneError(
            f"{name} takes no arguments for its attention ({error}), so a memory of keys and "
            "values cannot enter. Choose another family, or a memory of the residual stream."
        ) from error
    if watcher.query is None or watcher.key is None:
        raise BackboneError(
            f"{name} has no attention that a memory of keys and values could enter: it is "
            "recurrent, its code knows no AttentionInterface, or it hands no arguments on to its "
            "attention. Choose another family, or a memory of the residual stream."
        )
    found = (watcher.query.shape[1], *watcher.key.shape[1::2])
    expected = (shape.num_heads, shape.num_kv_heads, shape.head_dim)
    if found != expected:
        raise BackboneError(
            f"{name} has {found[0]} heads of queries and {found[1]} of keys with {found[2]} "
            f"channels; its config tells of {expected[0]}, {expected[1]} and {expected[2]}. A "
            "memory of keys and values would not fit. Choose another family."
        )
    return watcher.key


def _is_close(found: Tensor, expected: Tensor) -> bool:
    tolerance = max(1e-5, 8 * torch.finfo(expected.dtype).eps)
    gap = (found.double() - expected.double()).abs().max()
    return bool(gap <= tolerance * expected.double().abs().max())


def _unknown_rotation(layer: nn.Module, shape: LayerShape) -> BackboneError:
    return BackboneError(
        f"Layer {shape.index} ({type(layer).__name__}) puts positions into its keys in a way that "
        "cannot be undone here: not the two halves of its channels turned against each other. "
        "Choose another family, or a memory of the residual stream."
    )
