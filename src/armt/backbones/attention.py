"""How a memory gets inside the attention of a layer without a copy of the model's code.

The model's kind of attention is replaced by one of ours, registered with transformers both as an
attention function and as a maker of masks: without the second, transformers leaves masks out. It
runs the kind that was there before, which knows grouped heads, scaling, soft caps and sinks, over
the keys and values of the memory and those of the segment together. Outside a recurrence it is
the kind that was there before.

What the attention asks, and whom, comes with the call as an argument of the layer: a layer that is
run again in the backward pass finds the same memory again, and writes nothing.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, cast, final

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from armt.backbones.attach import Port, Visit
from armt.backbones.rotation import Rotation
from armt.core.contract import KeyValueMemory, KeyValues, Lookup, Memory, Written
from armt.core.errors import BackboneError
from armt.core.shapes import Bool, Float, Tensor
from armt.core.state import State

GUEST = "armt_guest"
"""The argument by which a layer's attention learns whom to ask."""

PLAIN_KINDS = ("sdpa", "eager")
"""Kinds of attention that a memory can enter: they look at nothing but the mask."""

_PREFIX = "armt_"


class Guest(Protocol):
    """Whoever is asked by an attention for keys and values besides the segment's own."""

    def extend(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
    ) -> KeyValues | None:
        """Returns them, rotated as the layer rotates its own, or none."""
        ...


def plain_kind(kind: str) -> str:
    """Returns the kind of attention that runs underneath ours."""
    return kind.removeprefix(_PREFIX)


def open_attention(model: PreTrainedModel) -> str:
    """Lets a memory into the model's attention; returns the kind of attention it had.

    Raises:
        BackboneError: its kind of attention takes no mask that could be extended.
    """
    config: Any = model.config.get_text_config()
    before = str(config._attn_implementation)
    kind = plain_kind(before)
    if kind not in PLAIN_KINDS:
        raise BackboneError(
            f"A memory of keys and values cannot enter the attention '{kind}', which takes no full "
            "mask. Load the model with attn_implementation='sdpa' or 'eager'."
        )
    AttentionInterface.register(_PREFIX + kind, cast("Any", partial(_attend, kind)))
    AttentionMaskInterface.register(_PREFIX + kind, AttentionMaskInterface()[kind])
    model.set_attn_implementation(_PREFIX + kind)
    return before


@final
class KeyValuePort(Port):
    """A port inside the layer's attention."""

    def __init__(self, memory: Memory[Any], rotation: Rotation | None = None) -> None:
        """Holds the memory, and how the layer rotates once that is known."""
        super().__init__(memory)
        self.rotation = rotation
        self._read_from: State | None = None

    @property
    def parts(self) -> tuple[nn.Module, ...]:
        """The memory and the rotation."""
        assert self.rotation is not None, "the port is not open yet"
        return (self.memory, self.rotation)

    def bind(self, states: Sequence[State], index: int, visit: Visit) -> None:
        """Binds the state that is written, and that which is read: as it was before the pass."""
        super().bind(states, index, visit)
        source = cast("KeyValueMemory[Any]", self.memory).source
        self._read_from = states[index if source is None else source]

    def release(self) -> None:
        """Lets go of the states."""
        super().release()
        self._read_from = None

    def pass_through(
        self,
        layer: Callable[..., Any],
        hidden: Float[Tensor, "B T D"],
        args: tuple[Any, ...],
        options: dict[str, Any],
    ) -> Any:
        """Reads inside the layer's attention and writes what the attention was given."""
        memory = cast("KeyValueMemory[Any]", self.memory)
        assert self.rotation is not None, "the port is not open yet"
        guest = _MemoryGuest(memory, self._read_from, self.rotation, self.visit)
        output = layer(hidden, *args, **options, **{GUEST: guest})
        if not guest.was_asked:
            raise BackboneError(
                "A layer's attention did not ask its memory: the model was given another kind of "
                "attention after the memory was attached. Set it before, and attach again."
            )
        if self.visit.is_writing:
            self.state = memory.write(guest.take_written(), self.state)
        return output


@final
class _MemoryGuest:
    """A memory as one layer's attention meets it in one pass."""

    def __init__(
        self, memory: KeyValueMemory[Any], state: State | None, rotation: Rotation, visit: Visit
    ) -> None:
        self._memory, self._state = memory, state
        self._rotation, self._visit = rotation, visit
        self._written: Written | None = None
        self.was_asked = False

    def extend(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
    ) -> KeyValues | None:
        visit, num_new = self._visit, query.shape[2]
        queries = self._rotation.unrotate(query, visit.start)
        keys = self._rotation.unrotate(key, visit.start + num_new - key.shape[2])
        if visit.is_writing:
            self._note(queries, keys[:, :, -num_new:], value[:, :, -num_new:])
        self.was_asked = True
        is_visible = _is_visible(mask, query, key)
        lookup = Lookup(queries, keys, is_visible, visit.suffix_len, visit.ids)
        found = self._memory.extend(lookup, self._state)
        if found is None or found.positions is None:
            return found
        return found._replace(keys=self._rotation.rotate(found.keys, found.positions))

    def take_written(self) -> Written:
        """Returns what the memory is written from, and keeps it no longer."""
        written, self._written = self._written, None
        assert written is not None, "nothing is written in this pass, or it was taken"
        return written

    def _note(self, queries: Tensor, keys: Tensor, values: Tensor) -> None:
        parts = [self._visit.source(part, dim=2) for part in (queries, keys, values)]
        self._written = Written(parts[0], parts[1], parts[2], self._visit.ids)


def _attend(
    kind: str,
    module: nn.Module,
    query: Float[Tensor, "B H T C"],
    key: Float[Tensor, "B G S C"],
    value: Float[Tensor, "B G S C"],
    attention_mask: Tensor | None,
    **options: Any,
) -> Any:
    """Runs the attention of a kind, over the keys and values of a guest too if there is one."""
    guest = cast("Guest | None", options.pop(GUEST, None))
    found = None if guest is None else guest.extend(query, key, value, attention_mask)
    if found is not None and found.keys.shape[2]:
        attention_mask = _joined_mask(found, attention_mask, query, key)
        key = torch.cat([found.keys.to(key), key], dim=2)
        value = torch.cat([found.values.to(value), value], dim=2)
    return attention_function(kind, module)(module, query, key, value, attention_mask, **options)


def attention_function(kind: str, module: nn.Module) -> Callable[..., Any]:
    """Returns what computes attention of this kind in `module`.

    The eager kind of a family stands beside its attention, where transformers looks for it too.
    """
    if kind != "eager":
        return AttentionInterface()[kind]
    return inspect.unwrap(type(module).forward).__globals__["eager_attention_forward"]


def _is_visible(mask: Tensor | None, query: Tensor, key: Tensor) -> Bool[Tensor, "B T S"]:
    """Returns which keys a query sees; without a mask those that are not behind it."""
    num_queries, num_keys = query.shape[2], key.shape[2]
    if mask is None:
        causal = torch.ones(num_queries, num_keys, dtype=torch.bool, device=query.device)
        return causal.tril(num_keys - num_queries).expand(len(query), -1, -1)
    own = mask[:, 0, :, :num_keys]
    return (own if own.dtype == torch.bool else own == 0).expand(len(query), -1, -1)


def _joined_mask(found: KeyValues, mask: Tensor | None, query: Tensor, key: Tensor) -> Tensor:
    """Returns the mask over the memory's keys and the segment's, as the kind of attention wants."""
    of_memory = found.is_visible
    if of_memory.shape[1] > 1:
        of_memory = of_memory.repeat_interleave(query.shape[1] // of_memory.shape[1], dim=1)
    is_additive = mask is not None and mask.dtype != torch.bool
    if found.bias is None and not is_additive:
        own = _is_visible(mask, query, key).unsqueeze(1)
        return torch.cat([of_memory, own.expand(-1, of_memory.shape[1], -1, -1)], dim=-1)
    hidden = torch.finfo(query.dtype).min
    bias = query.new_zeros(()) if found.bias is None else found.bias[:, None, None].to(query)
    added = torch.where(of_memory, bias, hidden)
    own = mask[..., : key.shape[2]] if mask is not None and is_additive else None
    if own is None:
        is_visible = _is_visible(mask, query, key).unsqueeze(1)
        own = torch.where(is_visible, query.new_zeros(()), hidden)
    return torch.cat([added, own.to(query).expand(*added.shape[:2], -1, -1)], dim=-1)
