"""What a task hands over: batches to train on, samples to evaluate, and the encoder of texts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch

from armt.core.config import PlainTree
from armt.core.shapes import Bool, Float, Int, Tensor

NO_LABEL = -100
"""The label of a position without loss."""

Ids = npt.NDArray[np.integer]
"""A row of token ids, of any integer width."""


class PlacedFact(NamedTuple):
    """A fact and where it stands in a context."""

    text: str
    """The fact as it was told."""

    start: int
    """Tokens of the context before it."""

    length: int
    """Its tokens."""

    is_supporting: bool
    """Whether the answer follows from it."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows of tokens and their labels."""

    input_ids: Int[Tensor, "B T"]
    """Tokens."""

    labels: Int[Tensor, "B T"]
    """`labels[b, t]` is the token at t itself (not shifted), or `NO_LABEL` where no loss is."""

    label_weights: Float[Tensor, "B T"] | None = None
    """Weight of each label in the loss; none for one everywhere. A label of less than full weight
    is an auxiliary one and does not count towards accuracy."""

    carry_len: int = 0
    """The first `carry_len` tokens belong to a text that goes on in the next batch: the state after
    them is carried. What follows is a question tail, whose state is thrown away."""

    resets: Bool[Tensor, "B"] | None = None
    """Rows whose text begins anew with this batch; none means every row."""

    question_ids: Int[Tensor, "B Q U"] | None = None
    """Questions with their answers, at most a segment each. Every one is asked for itself after
    the row's text, from the same state, and what it leaves in the state is thrown away. If there
    are any, only they bear labels."""

    question_labels: Int[Tensor, "B Q U"] | None = None
    """Their labels, as those of the text."""

    label_start: int = 0
    """No label stands before this position, of the text or of a question."""

    facts: tuple[tuple[PlacedFact, ...], ...] = ()
    """The facts of each row and where they stand, if the stream tells; for probing a memory."""

    is_quiet: Bool[Tensor, "B"] | None = None
    """Rows whose carried text tells nothing that is ever asked for; none if the stream does not
    know."""

    @property
    def num_tokens(self) -> int:
        """Tokens of the texts and of the questions, all rows together."""
        num_asked = 0 if self.question_ids is None else self.question_ids.numel()
        return self.input_ids.numel() + num_asked

    def map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """Returns the batch with `change` applied to every tensor."""
        return replace(self, **{name: change(tensor) for name, tensor in self.tensors().items()})

    @classmethod
    def joined(cls, parts: Sequence["Batch"]) -> "Batch":
        """Returns the batch of the rows of all `parts`, which are alike but for their rows."""
        names = parts[0].tensors()
        rows = {name: torch.cat([part.tensors()[name] for part in parts]) for name in names}
        facts = tuple(each for part in parts for each in part.facts)
        return replace(parts[0], **rows, facts=facts)

    def tensors(self) -> dict[str, Tensor]:
        """Returns the tensors that are there, by name."""
        fields = vars(self)
        return {name: value for name, value in fields.items() if isinstance(value, Tensor)}

    def pin_memory(self) -> "Batch":
        """Returns the batch in memory that a GPU can copy from; asked for by data loaders."""
        return self.map(lambda tensor: tensor.pin_memory())


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One question about one long text."""

    task: str
    """Name of the task, such as `qa1`."""

    length: int
    """The budget asked for, in tokens of context."""

    index: int
    """Number of the sample within its cell."""

    context: Callable[[], Iterator[Ids]]
    """Returns a fresh iterator over the pieces of the context; their sizes have no meaning."""

    context_len: int
    """Tokens of the context; more than `length` when the facts alone exceed it."""

    text: Callable[[], Iterator[str]]
    """Returns a fresh iterator over the context as text, in pieces that never cut a character."""

    question: str
    """The question as it was told, a blank at its end included."""

    question_ids: Ids
    """What follows the context: the question and the token that asks for the answer."""

    answer: str
    """The right answer."""

    answer_ids: Ids
    """The right answer and the end token."""

    facts: tuple[PlacedFact, ...] = ()
    """The facts in their order."""

    metadata: Mapping[str, PlainTree] = field(default_factory=dict[str, PlainTree])
    """How the sample was made: seed, placement, repetition of the background, and so on."""


class TrainingStream(Protocol):
    """An endless, deterministic row of batches."""

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Yields the batches from number `start` on, exactly as a run from 0 would reach them."""
        ...


@runtime_checkable
class ShardedStream(TrainingStream, Protocol):
    """A stream whose batches do not depend on each other, so that several readers can share it."""

    def sharded(self, rank: int, num_shards: int) -> TrainingStream:
        """Returns the stream whose batch k is this one's batch `k * num_shards + rank`."""
        ...


@runtime_checkable
class PartedStream(TrainingStream, Protocol):
    """A stream whose rows do not depend on each other, though its batches do."""

    @property
    def num_rows(self) -> int:
        """Rows of a batch."""
        ...

    def rows_of(self, part: int, num_parts: int) -> TrainingStream:
        """Returns the stream whose batches are one of `num_parts` parts of this one's rows.

        Joined in their order, the parts are the whole batches. There are at most `num_rows`.
        """
        ...


@runtime_checkable
class TextEncoder(Protocol):
    """Texts to tokens and back; no special token is ever added."""

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        ...

    @property
    def digest(self) -> str:
        """A hash of everything that decides the encoding."""
        ...

    @property
    def end_id(self) -> int:
        """The token that ends an answer."""
        ...

    @property
    def gen_id(self) -> int:
        """The token that asks for an answer: the first of the string `GEN`."""
        ...

    def encode(self, text: str) -> list[int]:
        """Returns the tokens of `text`."""
        ...

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the tokens of each text."""
        ...

    def decode(self, ids: Sequence[int] | Ids) -> str:
        """Returns the text of `ids`, special tokens included."""
        ...
