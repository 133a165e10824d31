"""Texts to tokens and back by a tokenizer of `tokenizers`."""

import hashlib
import json
from collections.abc import Sequence
from typing import cast, final

import numpy as np
from tokenizers import Tokenizer

from armt.core.errors import DataError
from armt.tasks.byte_table import byte_table
from armt.tasks.contract import Ids

_END_TOKENS = ("<|endoftext|>", "</s>", "<eos>", "<|end_of_text|>", "<|im_end|>")


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
        self._bytes = byte_table(self._tokenizer)
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
        if self._bytes is not None:
            return self._bytes.text(np.asarray(ids, dtype=np.int64))
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
