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
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

from torch import nn

from armt.core.shapes import Bool, Float, Int, Tensor
from armt.core.state import State

StateT = TypeVar("StateT", bound=State)
Door = Literal["tokens", "residual", "key_value"]


class Memory(nn.Module, ABC, Generic[StateT]):
    """Reads from a state and writes a new one."""

    door: ClassVar[Door]
    """By which door the memory enters."""

    is_bounded: ClassVar[bool] = True
    """Whether the size of the state is the same after any number of segments.

    The cells of a wave stand at different segments: they run together only if it is.
    """

    is_layer_local: ClassVar[bool] = True
    """Whether each layer has a memory of its own, whose state depends on that layer alone.

    If so, the cells of a wave may run together. If not, one memory serves the whole model.
    """

    is_neutral_when_fresh: bool = True
    """Whether a memory that was never trained leaves the backbone exactly as it is."""

    is_differentiable: bool = True
    """Whether a loss reaches, through the state, the segments that were written into it."""

    is_causal: bool = True
    """Whether no position learns of a later one.

    Some published forms look at a segment before it is read. They can be trained and compared; no
    text can be generated through them.
    """

    has_own_loss: bool = False
    """Whether the memory has a loss of its own (`own_loss`)."""

    num_prefix_tokens: int = 0
    """Memory tokens before the text of a segment, which the text can see."""

    num_memory_tokens: int = 0
    """Memory tokens after the text of a segment: they see all of it, and it cannot see them."""

    min_segment_len: int = 1
    """Text tokens that a segment needs for the memory to be written from it."""

    @abstractmethod
    def init_state(self, batch_size: int) -> StateT:
        """Returns the state before anything was read, on the memory's device."""

    def own_loss(self, state: StateT) -> Float[Tensor, ""]:
        """Returns a loss of the memory's own on what a batch of texts left in its state.

        A stage of training adds it to the loss of the texts if asked to. It is the one place where
        rows of a batch may be compared.

        Raises:
            ConfigError: the batch cannot teach it.
        """
        del state
        raise AssertionError(f"{type(self).__name__} has no loss of its own")

    def diagnose(self, source: Any, state: StateT) -> dict[str, Float[Tensor, " B"]]:
        """Returns figures on what the memory does with a segment, by name; none by default.

        It takes what `write` takes and changes nothing. The same name means the same thing in all
        memories: `write_gate`, `forget_gate` and `read_gate` are means of gates in [0, 1];
        `retrieved` is how many stored things are found, and `reach` how many segments back they
        were stored, as a mean.
        """
        del source, state
        return {}


class LayerMemory(Memory[StateT], ABC):
    """A memory of one layer: reads into its input, writes from its output.

    The memory tokens that it may ask for at the end of a segment are learned and shared by all
    layers.
    """

    door = "residual"

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


Encode = Callable[[Float[Tensor, "B T D"]], Float[Tensor, "B T D"]]
"""Runs the backbone, without memory, over embeddings: the last hidden states, after its norm."""


class TokenMemory(Memory[StateT], ABC):
    """A memory made of vectors around the text of a segment.

    One memory serves the whole model: its tokens go in as embeddings, and it is written from the
    last hidden states, after the backbone's final norm. If it is layer-local, every layer has one:
    its tokens take the place of what the layer below left there, and it is written from the
    layer's output.
    """

    door = "tokens"
    is_layer_local = False
    is_neutral_when_fresh = False

    @abstractmethod
    def tokens(self, state: StateT) -> TokenEdges:
        """Returns what to put before and after the text, as many tokens as it declares."""

    @abstractmethod
    def write(self, hidden: Float[Tensor, "B T D"], state: StateT) -> StateT:
        """Returns the state after a whole segment.

        `hidden` holds the memory tokens after the text if the memory asks for any, and the text
        otherwise; never padding.
        """

    def query(self, text: Float[Tensor, "B T D"], state: StateT, encode: Encode) -> StateT:
        """Returns the state after an extra pass over a segment's text; the same state by default.

        It comes before `write`, when the segment was read, so that what it finds is for the next
        one. If the memory is not causal it comes before `tokens`, and finds for the segment itself.
        Only a memory that serves the whole model is asked.

        Args:
            text: the embeddings of the segment's text; of its beginning where the text ends in it.
            state: what is known before the segment.
            encode: the extra pass.
        """
        del text, encode
        return state


class Lookup(NamedTuple):
    """What the attention of a layer is about to do in one pass; keys and queries un-rotated."""

    queries: Float[Tensor, "B H T C"]
    """The queries of this pass."""

    keys: Float[Tensor, "B G S C"]
    """The keys of the segment so far; more than there are queries when a cache holds the rest."""

    is_visible: Bool[Tensor, "B T S"]
    """Which of the segment's keys each query sees."""

    num_memory_tokens: int
    """How many of the queries, at the end, are memory tokens."""

    ids: Int[Tensor, "B T"] | None
    """The text of this pass; none in a wave, and where only memory tokens pass."""


class KeyValues(NamedTuple):
    """Keys and values that a layer's attention sees besides those of the segment."""

    keys: Float[Tensor, "B G P C"]
    """Per key-value head `G`; un-rotated."""

    values: Float[Tensor, "B G P C"]

    is_visible: Bool[Tensor, "B #G T P"]
    """Which of them a query position may see; one answer for all heads, or one for each."""

    positions: Int[Tensor, " P"] | None = None
    """Where they stand, counted from the segment's first token (the memory before it at -1, -2 and
    so on), if the layer rotates its keys; none for no rotation, as if all stood at position 0."""

    bias: Float[Tensor, "B P"] | None = None
    """Added to the score of each, whatever the query; none for nothing."""


class Written(NamedTuple):
    """What a layer's attention made of the positions that are written; keys and queries un-rotated.

    These are the memory tokens if the memory asks for any and the text otherwise; never padding.
    """

    queries: Float[Tensor, "B H T C"]
    keys: Float[Tensor, "B G T C"]
    values: Float[Tensor, "B G T C"]

    ids: Int[Tensor, "B L"] | None
    """The text of the segment; none in a wave, and where only memory tokens pass."""


class KeyValueMemory(Memory[StateT], ABC):
    """A memory inside a layer's attention.

    The attention runs over its keys and values and those of the segment, under one softmax. What it
    is shown and what it gives back is never rotated: keys from different positions can be compared,
    averaged and kept, whatever the family's rotary embedding. Families without one (GPT-2, OPT)
    have the position inside the key already.
    """

    door = "key_value"

    num_positions_before: int = 0
    """How far before the segment its keys may stand (`KeyValues.positions`)."""

    source: int | None = None
    """Number of the layer whose state it reads, as it was before the segment; none for its own.

    If it reads another layer's, the cells of a wave do not run together.
    """

    @abstractmethod
    def extend(self, lookup: Lookup, state: StateT) -> KeyValues | None:
        """Returns the keys and values that the queries may see, or none if there are none.

        What a query sees may depend on that query, on the keys that it sees itself, and on the
        state; never on later positions. The same text fed in parts must find the same.
        """

    @abstractmethod
    def write(self, written: Written, state: StateT) -> StateT:
        """Returns the state after a whole segment."""
