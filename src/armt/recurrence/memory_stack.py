"""The memory of a whole model: in every layer or around all of them, with the tokens it needs."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import torch
from torch import nn

from armt.backbones.attach import Visit
from armt.backbones.huggingface import Anatomy, embedding_std
from armt.core.config import MemoryConfig
from armt.core.contract import Encode, Memory, TokenEdges, TokenMemory
from armt.core.errors import StateError
from armt.core.shapes import Float, Tensor
from armt.core.state import State

_HALF = (torch.bfloat16, torch.float16)
_OTHER_MODEL = "Go on with the model that read the text, or read it again with this one."


class MemoryStack(nn.Module):
    """Everything that is learned beside the backbone; stands at the model's root as `memory`."""

    def __init__(self, config: MemoryConfig, anatomy: Anatomy) -> None:
        """Builds the memories, each on the device and in the dtype of what it stands beside.

        A layer-local memory is built once for each layer, any other once for the whole model.
        Memory tokens that the layers share start as random vectors as long as the backbone's own
        token embeddings.
        """
        super().__init__()
        self.config = config
        self._fresh: tuple[list[torch.dtype], list[State]] | None = None
        scale = embedding_std(anatomy)
        shapes = [replace(shape, embedding_std=scale) for shape in anatomy.shapes]
        first = config.build(shapes[0])
        hosts, built = (anatomy.embedding,), [first]
        if first.is_layer_local:
            hosts, built = anatomy.layers, [first, *(config.build(each) for each in shapes[1:])]
        self.layers = nn.ModuleList(
            memory.to((like := next(host.parameters())).device, like.dtype)
            for memory, host in zip(built, hosts, strict=True)
        )
        self.rotations = nn.ModuleList()
        self.tokens: nn.Parameter | None = None
        if first.door != "tokens" and first.num_memory_tokens:
            like = next(anatomy.embedding.parameters())
            values = torch.randn(first.num_memory_tokens, anatomy.d_model, device=like.device)
            self.tokens = nn.Parameter((values * scale).to(like.dtype))

    @property
    def mechanisms(self) -> list[Memory[Any]]:
        """The memory of each layer, or the one memory of the whole model."""
        return [cast("Memory[Any]", layer) for layer in self.layers]

    @property
    def is_layer_local(self) -> bool:
        """Whether every layer has a memory of its own."""
        return self.mechanisms[0].is_layer_local

    @property
    def is_bounded(self) -> bool:
        """Whether the states keep their size."""
        return self.mechanisms[0].is_bounded

    @property
    def is_causal(self) -> bool:
        """Whether no position learns of a later one."""
        return self.mechanisms[0].is_causal

    @property
    def num_tokens(self) -> int:
        """Memory tokens of a segment, before and after its text."""
        return sum(self.visit()[:2])

    @property
    def min_segment_len(self) -> int:
        """Text tokens that a segment needs to be written."""
        return self.mechanisms[0].min_segment_len

    @contextmanager
    def changed(self, config: MemoryConfig) -> Generator[None]:
        """Runs with other options for a while; only such as the mechanism looks up when it runs."""
        mechanisms = cast("list[Any]", [] if config == self.config else self.mechanisms)
        before = [memory.config for memory in mechanisms]
        try:
            for memory in mechanisms:
                memory.config = config
            yield
        finally:
            for memory, old in zip(mechanisms, before, strict=True):
                memory.config = old

    def visit(self, *, is_start: bool = True, is_end: bool = True) -> Visit:
        """Returns where the memory tokens stand in a segment.

        Args:
            is_start: whether the pass begins with the segment's first token.
            is_end: whether it ends the segment.
        """
        first = self.mechanisms[0]
        return Visit(
            first.num_prefix_tokens if is_start else 0,
            first.num_memory_tokens if is_end else 0,
            is_end,
        )

    def init_states(self, batch_size: int) -> tuple[State, ...]:
        """Returns the state of each memory before anything was read."""
        return tuple(memory.init_state(batch_size) for memory in self.mechanisms)

    def check_states(self, states: Sequence[State]) -> None:
        """Checks that states have the shapes and precisions of this model's.

        Sizes that grow may be any, and a model in half precision may go on from single precision.

        Raises:
            StateError: they are of another memory, or of one with other options or precision.
        """
        expected = self._fresh_states()
        if len(states) != len(expected):
            raise StateError(
                f"The state is of {len(states)} memories; this model has {len(expected)}. "
                f"{_OTHER_MODEL}"
            )
        for index, (state, fresh) in enumerate(zip(states, expected, strict=True)):
            found, own = state.tensors(), fresh.tensors()
            if found.keys() != own.keys():
                raise StateError(
                    f"The state of memory {index} is a {type(state).__name__}, with "
                    f"{', '.join(found)}; this model's has {', '.join(own)}. {_OTHER_MODEL}"
                )
            for name, like in own.items():
                self._check_tensor(f"The state of memory {index} has `{name}`", found[name], like)

    def _check_tensor(self, what: str, found: Tensor, like: Tensor) -> None:
        """Checks the shape of a row, which may have grown in sizes that are 0 at first, and dtype.

        Raises:
            StateError: one of them is another; the message begins with `what`.
        """
        shape, fresh = tuple(found.shape[1:]), tuple(like.shape[1:])
        may_grow = not self.is_bounded
        pairs = zip(shape, fresh, strict=False)
        if len(shape) != len(fresh) or not all(a == b or (may_grow and not b) for a, b in pairs):
            raise StateError(
                f"{what} of shape {shape} in each row; this model's are of shape {fresh}. "
                f"{_OTHER_MODEL}"
            )
        is_finer = found.dtype == torch.float32 and like.dtype in _HALF
        if found.dtype != like.dtype and not is_finer:
            raise StateError(
                f"{what} in {found.dtype}; this model's are in {like.dtype}. {_OTHER_MODEL}"
            )

    def _fresh_states(self) -> list[State]:
        """Returns a state of each memory without its values, kept until the precision changes."""
        dtypes = [value.dtype for value in (*self.parameters(), *self.buffers())]
        if self._fresh is None or self._fresh[0] != dtypes:
            # a learned empty state has a path of gradient, which would keep that of a step alive
            made = [memory.init_state(1).detach().to("meta") for memory in self.mechanisms]
            self._fresh = (dtypes, made)
        return self._fresh[1]

    def surround(
        self, text: Float[Tensor, "B T D"], visit: Visit, states: Sequence[State] = ()
    ) -> Float[Tensor, "B U D"]:
        """Returns the embeddings of a text between the memory tokens of a visit.

        Args:
            text: the embeddings without them.
            visit: which memory tokens there are.
            states: what is remembered; only a memory that serves the whole model puts it into its
                tokens here. Those of a layer get zeros, and take their places in front of it.
        """
        if not visit.prefix_len + visit.suffix_len:
            return text
        first = self.mechanisms[0]
        if first.door == "tokens" and not first.is_layer_local:
            return visit.surround(text, cast("TokenMemory[Any]", first).tokens(states[0]))
        zeros = text.new_zeros(1, 1, text.shape[-1])
        prefix = zeros.expand(len(text), visit.prefix_len, -1)
        suffix = zeros.expand(len(text), visit.suffix_len, -1)
        if self.tokens is not None:
            suffix = self.tokens.expand(len(text), -1, -1)
        return visit.surround(text, TokenEdges(prefix, suffix))

    def query(
        self, text: Float[Tensor, "B T D"], states: tuple[State, ...], encode: Encode
    ) -> tuple[State, ...]:
        """Returns the state of a memory that serves the whole model after its extra pass."""
        (memory,), (state,) = self.mechanisms, states
        return (cast("TokenMemory[Any]", memory).query(text, state, encode),)

    def write(self, hidden: Float[Tensor, "B N D"], states: tuple[State, ...]) -> tuple[State, ...]:
        """Returns the state of a memory that serves the whole model after a segment."""
        (memory,), (state,) = self.mechanisms, states
        device = next(memory.parameters()).device
        return (cast("TokenMemory[Any]", memory).write(hidden.to(device), state),)
