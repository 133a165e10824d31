"""The three doors by which a memory may enter a Transformer.

| door | class | who enters |
|---|---|---|
| tokens | `TokenMemory` | memories made of input embeddings (RMT, HMT) |
| residual stream | `LayerMemory` | memories of one layer (ARMT, LM2, linear and MLP associations) |
| keys and values | `KeyValueMemory` | memories inside attention (MemoryLLM, M+, MemLong, CAMELoT) |

A memory holds its learned maps and never the backbone; what it remembers is a `State`, passed in
and handed back. What the recurrence must know of it is declared, never asked with `isinstance`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Generic, Literal, NamedTuple, TypeVar

from torch import nn

from armt.core.shapes import Bool, Float, Tensor
from armt.core.state import State

StateT = TypeVar("StateT", bound=State)
Door = Literal["tokens", "residual", "key_value"]


class Memory(nn.Module, ABC, Generic[StateT]):
    """Reads from a state and writes a new one."""

    door: ClassVar[Door]
    """By which door the memory enters."""

    is_bounded: ClassVar[bool] = True
    """Whether the size of the state is the same after any number of segments."""

    is_layer_local: ClassVar[bool] = True
    """Whether a layer's state depends on that layer alone.

    If so, the cells of a wave may run together.
    """

    is_neutral_when_fresh: ClassVar[bool] = True
    """Whether a memory that was never trained leaves the backbone exactly as it is."""

    @abstractmethod
    def init_state(self, batch_size: int) -> StateT:
        """Returns the state before anything was read, on the memory's device."""


class LayerMemory(Memory[StateT], ABC):
    """A memory of one layer: reads into its input, writes from its output."""

    door = "residual"

    num_memory_tokens: int = 0
    """Learned tokens, shared by all layers, that the memory asks for at the end of a segment.

    They see the whole segment; the text does not see them.
    """

    @abstractmethod
    def read(self, hidden: Float[Tensor, "B T D"], state: StateT) -> Float[Tensor, "B T D"]:
        """Returns the layer's input with what the state tells added to it.

        `hidden` holds all positions of the segment, memory tokens included. It must treat each
        position by itself: a position may not see another one here.
        """

    @abstractmethod
    def write(self, hidden: Float[Tensor, "B T D"], state: StateT) -> StateT:
        """Returns the state after a whole segment.

        `hidden` is the layer's output at the memory tokens if the memory asks for any, and at the
        text positions otherwise; never at padding.
        """


class TokenEdges(NamedTuple):
    """Embeddings put around the text of a segment."""

    prefix: Float[Tensor, "B P D"]
    suffix: Float[Tensor, "B Q D"]


class TokenMemory(Memory[StateT], ABC):
    """A memory made of embeddings around the segment, written from the last layer's output."""

    door = "tokens"
    is_layer_local = False

    @abstractmethod
    def tokens(self, state: StateT) -> TokenEdges:
        """Returns the embeddings to put before and after the text."""

    @abstractmethod
    def write(self, hidden: Float[Tensor, "B T D"], state: StateT) -> StateT:
        """Returns the state after a segment; `hidden` holds prefix, text and suffix positions."""

    def query(
        self,
        embeddings: Float[Tensor, "B T D"],
        state: StateT,
        encode: Callable[[Float[Tensor, "B T D"]], Float[Tensor, "B T D"]],
    ) -> StateT:
        """Returns the state prepared for a segment before it is read; the same state by default.

        `encode` runs the backbone, without memory, over any embeddings: the extra pass that HMT
        makes to summarise a segment before it searches its memory.
        """
        del embeddings, encode
        return state


class KeyValues(NamedTuple):
    """Keys and values that a layer's attention sees besides those of the segment."""

    keys: Float[Tensor, "B G P C"]
    """Per key-value head `G`; rotated as the layer rotates its own."""

    values: Float[Tensor, "B G P C"]

    is_visible: Bool[Tensor, "B T P"]
    """Which of them a query position may see."""


class KeyValueMemory(Memory[StateT], ABC):
    """A memory inside a layer's attention."""

    door = "key_value"

    @abstractmethod
    def extend(
        self,
        queries: Float[Tensor, "B H T C"],
        keys: Float[Tensor, "B G T C"],
        state: StateT,
    ) -> KeyValues:
        """Returns the keys and values to put before those of the segment."""

    @abstractmethod
    def write(
        self,
        keys: Float[Tensor, "B G T C"],
        values: Float[Tensor, "B G T C"],
        state: StateT,
    ) -> StateT:
        """Returns the state after a whole segment, from its keys and values; never from padding."""
