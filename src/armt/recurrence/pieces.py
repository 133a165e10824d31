"""What `read` takes as a text, as batches of token ids."""

from collections.abc import Iterable, Iterator, Sequence
from numbers import Integral
from typing import Any, Protocol

import torch
from transformers import PreTrainedModel

from armt.core.errors import DataError
from armt.core.shapes import Int, Tensor


class Encoder(Protocol):
    """What `read` needs of a tokenizer."""

    def encode(self, text: str, /, *, add_special_tokens: bool = ...) -> Any:
        """Returns the token ids of `text`."""
        ...


def id_pieces(source: object, tokenizer: Encoder | None) -> Iterator[Tensor]:
    """Yields batches of token ids of shape `B T`, none of them empty.

    Args:
        source: a text, token ids (a list, or a tensor of shape `T` or `B T`), or an iterator over
            pieces of either.
        tokenizer: encodes text; not needed for token ids.

    Raises:
        DataError: text without a tokenizer, or something that is neither text nor token ids.
    """
    if isinstance(source, str):
        if tokenizer is None:
            raise DataError("Reading text needs a tokenizer. Give `tokenizer=` or token ids.")
        encoded = tokenizer.encode(source, add_special_tokens=False)
        source = torch.as_tensor(list(getattr(encoded, "ids", encoded)), dtype=torch.long)
    if is_whole(source):
        whole = torch.as_tensor(source)
        ids = whole.unsqueeze(0) if whole.dim() == 1 else whole
        if ids.dim() != 2 or ids.is_floating_point():
            raise DataError(
                "Token ids must be integers of shape `T` or `B T`. Got "
                f"{ids.dtype} of shape {tuple(whole.shape)}."
            )
        if ids.numel():
            yield ids.long()
        return
    if not isinstance(source, Iterable):
        raise DataError(f"Pieces must be texts or lists of token ids. Got {source!r}.")
    for piece in source:
        yield from id_pieces(piece, tokenizer)


def check_vocabulary(model: PreTrainedModel, ids: Int[Tensor, "B T"]) -> None:
    """Checks that a model has embeddings for ids, before some of them wait in a state.

    Those on a GPU are not looked at, which would wait for it.

    Raises:
        DataError: it has not.
    """
    if ids.device.type != "cpu" or not ids.numel():
        return
    num_ids = int(model.config.get_text_config().vocab_size)
    low, high = (int(each) for each in ids.aminmax())
    if low < 0 or high >= num_ids:
        raise DataError(
            f"Token ids of this model lie between 0 and {num_ids - 1}. Got some from {low} to "
            f"{high}. Encode the text with the model's own tokenizer."
        )


def is_whole(source: object) -> bool:
    """Whether what is read is there as a whole, and not an iterator over pieces."""
    is_list = isinstance(source, Sequence) and bool(source) and isinstance(source[0], Integral)
    return is_list or isinstance(source, str | Tensor) or hasattr(source, "__array__")
