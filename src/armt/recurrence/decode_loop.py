"""Token after token over fixed places in memory, so that a GPU runs each step as one graph.

A step runs the model's own forward on one token of every row: the token, its position, the states
and the keys and values of the segment stand at places that stay, so that a graph of it holds for
every token of every segment. Prompts, and the end of a segment, go over the same places in the
ordinary way.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple, final

import torch

from armt.backbones.fixed_cache import FixedCache
from armt.core.shapes import Float, Int, Tensor
from armt.core.state import State
from armt.recurrence.cudagraph import Captured, capture

if TYPE_CHECKING:
    from armt.recurrence.model import Recurrent

_NUM_DIRECT = 8
"""Steps before a loop is captured, which takes as long as some of them: short answers of a shape
that does not come again are not worth it."""

_NUM_KEPT = 4


class _Key(NamedTuple):
    """What a loop is bound to."""

    places: tuple[int, ...]
    """Where the weights stand."""

    form: tuple[Any, ...]
    """Shapes, precisions and options."""


@final
class DecodeLoop:
    """Decodes rows that stand at the same place of their segments, text after text."""

    def __init__(
        self, model: "Recurrent", states: Sequence[State], like: Int[Tensor, "N T"], key: _Key
    ) -> None:
        """Lays out the fixed places.

        Args:
            model: whose forward the steps run.
            states: states of the shape that all texts have.
            like: tokens with as many rows, on the model's device.
            key: what the loop is bound to.
        """
        self.key = key
        self._parts = model.schedule(may_compile=False)
        num_positions = self._parts.segment_len + self._parts.memory.num_tokens
        self.cache = FixedCache(len(self._parts.layers), num_positions, like.device)
        self._ids = like.new_zeros((len(like), 1))
        self._last = torch.zeros(1, dtype=torch.long, device=like.device)
        self._states = tuple(state.map(torch.clone) for state in states)
        self._captured: Captured[Tensor] | None = None
        self._num_steps = 0

    def begin(self, states: Sequence[State]) -> None:
        """Starts a segment from the layers' states."""
        self.cache.reset()
        self.put(states)

    def put(self, states: Sequence[State]) -> None:
        """Puts other states of the layers in place, in the middle of a segment."""
        for place, state in zip(self._states, states, strict=True):
            values = state.tensors()
            for name, tensor in place.tensors().items():
                _ = tensor.copy_(values[name])

    def step(self, ids: Int[Tensor, "N 1"], position: int) -> Float[Tensor, "N 1 V"]:
        """Feeds the next token of every row, at a position of the segment; returns the logits.

        Memory tokens before the text count among the positions; they must have been fed.
        """
        self.cache.seek(position)
        _ = self._ids.copy_(ids)
        if ids.is_cuda and self._captured is None and self._num_steps >= _NUM_DIRECT:
            self._captured = capture(self._run)
        self._num_steps += 1
        if self._captured is None:
            return self._run()
        self._captured.graph.replay()
        return self._captured.result.clone()  # the next step writes to the same place

    def _run(self) -> Float[Tensor, "N 1 V"]:
        with _uncached_casts(self._ids.device.type):
            result = self._parts.run(
                self._ids,
                self._states,
                is_whole=False,
                logits_at=self._last,
                cache=self.cache,
                num_before=1,  # any number: the cache knows the position, on the device
            )
        assert result.logits is not None, "logits were asked for"
        return result.logits


@final
class DecodeLoops:
    """The loops of one model that no text uses just now; not copied with the model."""

    def __init__(self) -> None:
        """Keeps none yet."""
        self._kept: list[DecodeLoop] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> "DecodeLoops":
        """A copied model has loops of its own."""
        del memo
        return DecodeLoops()

    def take(
        self, model: "Recurrent", states: Sequence[State], like: Int[Tensor, "N T"]
    ) -> DecodeLoop:
        """Returns a loop for rows like these, at the start of a segment with their states.

        Loops whose weights moved are dropped. A loop serves one text at a time: it is not kept here
        until it is given back.
        """
        key = _key(model, states, like)
        self._kept = [loop for loop in self._kept if loop.key.places == key.places]
        found = next((loop for loop in reversed(self._kept) if loop.key == key), None)
        if found is None:
            found = DecodeLoop(model, states, like, key)
        else:
            self._kept.remove(found)
        found.begin(states)
        return found

    def give_back(self, loop: DecodeLoop) -> None:
        """Keeps a loop for the next text of its shape; those used last are kept."""
        self._kept = [*self._kept, loop][-_NUM_KEPT:]


def _key(model: "Recurrent", states: Sequence[State], like: Int[Tensor, "N T"]) -> _Key:
    places = tuple(tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers()))
    kind = like.device.type
    precision = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
    shapes = [
        (name, tuple(value.shape), value.dtype)
        for state in states
        for name, value in state.tensors().items()
    ]
    options = [getattr(memory, "config", None) for memory in model.memory.mechanisms]
    attention = str(getattr(model.config.get_text_config(), "_attn_implementation", ""))
    segment_len, is_inference = model.recurrence.segment_len, torch.is_inference_mode_enabled()
    rows = (len(like), like.dtype, like.device)
    return _Key(places, (rows, segment_len, precision, is_inference, attention, options, shapes))


def _uncached_casts(device_type: str) -> AbstractContextManager[Any]:
    """Lets autocast cast weights anew: a graph must not hold casts that are dropped after it."""
    if not torch.is_autocast_enabled(device_type):
        return nullcontext()
    dtype = torch.get_autocast_dtype(device_type)
    return torch.autocast(device_type, dtype=dtype, cache_enabled=False)
