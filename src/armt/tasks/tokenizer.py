"""A small tokenizer trained on one's own texts."""

from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from armt.core.errors import ConfigError

END_TOKEN = "<|endoftext|>"
"""Ends an answer or a text."""

GEN_TOKEN = "GEN"
"""Asks for an answer."""

_NUM_BYTES = 256


def train_tokenizer(texts: Iterable[str], vocab_size: int = 8192) -> Tokenizer:
    """Returns a byte-level BPE tokenizer trained on `texts`; the same texts give the same one.

    No leading space is added: pieces are encoded with one of their own where they need it. `GEN` is
    one token where it stands alone, and ordinary letters within a word such as `GENERAL`.

    Raises:
        ConfigError: `vocab_size` leaves no room for the bytes and the two special tokens.
    """
    smallest = _NUM_BYTES + 2
    if vocab_size < smallest:
        raise ConfigError(
            f"`vocab_size` must be at least {smallest} (all bytes and two special tokens). "
            f"Got {vocab_size}."
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(END_TOKEN), AddedToken(GEN_TOKEN, single_word=True)]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
