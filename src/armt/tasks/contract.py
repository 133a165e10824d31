"""What a task hands over: batches to train on, samples to evaluate, and the encoder of texts."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, cast, final, runtime_checkable

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from armt.core.config import PlainTree
from armt.core.errors import DataError
from armt.core.shapes import Bool, Float, Int, Tensor

NO_LABEL = -100
"""The label of a position without loss."""

Ids = npt.NDArray[np.integer]
"""A row of token ids, of any integer width."""

_END_TOKENS = ("<|endoftext|>", "</s>", "<eos>", "<|end_of_text|>", "<|im_end|>")


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

    label_start: int = 0
    """No label stands before this position."""

    def map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """Returns the batch with `change` applied to every tensor."""
        weights, resets = self.label_weights, self.resets
        return replace(
            self,
            input_ids=change(self.input_ids),
            labels=change(self.labels),
            label_weights=None if weights is None else change(weights),
            resets=None if resets is None else change(resets),
        )

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

    question_ids: Ids
    """What follows the context: the question and the token that asks for the answer."""

    answer: str
    """The right answer."""

    answer_ids: Ids
    """The right answer and the end token."""

    metadata: Mapping[str, PlainTree] = field(default_factory=dict[str, PlainTree])
    """Whatever helps to understand the sample: question, facts and where they stand, repetition."""


class TrainingStream(Protocol):
    """An endless, deterministic row of batches."""

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Yields the batches from number `start` on, exactly as a run from 0 would reach them."""
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


@final
class TokenizerEncoder:
    """A `TextEncoder` over a tokenizer of `tokenizers`, or of `transformers` if it holds one.

    The tokenizer is copied, so that padding or truncation set on it elsewhere change nothing here.
    """

    def __init__(self, tokenizer: object, *, end_id: int | None = None) -> None:
        """Wraps `tokenizer`; `end_id` overrides its own end-of-text token.

        Raises:
            DataError: it is no fast tokenizer, or it has no end token and none is given.
        """
        inner = getattr(tokenizer, "backend_tokenizer", tokenizer)
        if not isinstance(inner, Tokenizer):
            raise DataError(
                "A fast tokenizer is needed (of the library `tokenizers`). Got "
                f"{type(tokenizer).__name__}. Load it with `AutoTokenizer.from_pretrained(...)`."
            )
        text = inner.to_str()
        self._tokenizer = Tokenizer.from_str(text)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        canonical = json.dumps(json.loads(self._tokenizer.to_str()), sort_keys=True)
        self._digest = hashlib.sha256(canonical.encode()).hexdigest()
        own_end = cast("int | None", getattr(tokenizer, "eos_token_id", None))
        self._end_id = _find_end(self._tokenizer, own_end if end_id is None else end_id)

    @property
    def tokenizer(self) -> Tokenizer:
        """The wrapped copy."""
        return self._tokenizer

    @property
    def vocab_size(self) -> int:
        """Number of tokens, added ones included."""
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    @property
    def digest(self) -> str:
        """SHA-256 of the tokenizer's canonical JSON."""
        return self._digest

    @property
    def end_id(self) -> int:
        """The token that ends an answer."""
        return self._end_id

    @property
    def gen_id(self) -> int:
        """The token that asks for an answer: the first of the string `GEN`."""
        return self.encode("GEN")[0]

    def encode(self, text: str) -> list[int]:
        """Returns the tokens of `text`, without special ones."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the tokens of each text, on all cores that the tokenizer may use."""
        found = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in found]

    def decode(self, ids: Sequence[int] | Ids) -> str:
        """Returns the text of `ids`, special tokens included."""
        return self._tokenizer.decode([int(token) for token in ids], skip_special_tokens=False)


def _find_end(tokenizer: Tokenizer, given: int | None) -> int:
    if given is not None:
        return given
    for token in _END_TOKENS:
        found = tokenizer.token_to_id(token)
        if found is not None:
            return found
    raise DataError(
        f"The tokenizer has no end token (looked for {', '.join(_END_TOKENS)}). Pass `end_id`."
    )
