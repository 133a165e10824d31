import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models

from armt.tasks.byte_table import byte_table
from armt.tasks.encoder import TokenizerEncoder
from armt.tasks.tokenizer import train_tokenizer

TEXT = "Zoë wrote “naïve” – and 日本語 too 🙂. Once more,  with feeling.\n"


def trained():
    """A byte-level tokenizer with special tokens, one of which no bytes spell."""
    tokenizer = train_tokenizer([TEXT, "the cat sat on the mat " * 9], 300)
    _ = tokenizer.add_special_tokens([AddedToken("<|空 mark|>")])
    return tokenizer


TOKENIZER = trained()
TABLE = byte_table(TOKENIZER)
SIZE = TOKENIZER.get_vocab_size(with_added_tokens=True)


@given(st.lists(st.integers(0, SIZE - 1), max_size=60))
def test_any_tokens_are_decoded_as_the_tokenizer_does(ids):
    assert TABLE is not None
    expected = TOKENIZER.decode(ids, skip_special_tokens=False)
    assert TABLE.text(np.asarray(ids, dtype=np.int64)) == expected


@given(st.binary(max_size=40))
def test_any_bytes_are_decoded_as_the_tokenizer_does(data):
    assert TABLE is not None
    single = byte_table(train_tokenizer(["nothing"], 258))
    assert single is not None
    spelled = {TABLE.text(np.asarray([number])): number for number in range(SIZE)}
    ids = [number for number in map(_number_of, data) if number is not None]
    assert len(ids) == len(data)
    assert spelled
    assert TABLE.text(np.asarray(ids, dtype=np.int64)) == TOKENIZER.decode(ids)


def _number_of(byte):
    """The token that is one byte alone, found by the tokenizer's own vocabulary."""
    signs = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [number for number in range(256) if number not in signs]
    sign = chr(byte) if byte in signs else chr(256 + others.index(byte))
    return TOKENIZER.token_to_id(sign)


def test_numbers_that_are_no_token_say_nothing():
    assert TABLE is not None
    ids = TOKENIZER.encode("cat").ids
    assert TABLE.text(np.asarray([*ids, SIZE, SIZE + 99, -1, *ids])) == "catcat"


def test_an_encoder_decodes_by_the_table_if_it_can():
    encoder = TokenizerEncoder(TOKENIZER)
    assert encoder.decode(encoder.encode(TEXT)) == TEXT
    assert encoder.decode([encoder.end_id]) == "<|endoftext|>"
    assert encoder.decode([]) == ""


@pytest.mark.parametrize("decoder", [None, decoders.Metaspace(), decoders.WordPiece()])
def test_other_decoders_have_no_table(decoder):
    tokenizer = Tokenizer(models.WordLevel({"<eos>": 0, "▁word": 1}, unk_token="<eos>"))
    if decoder is not None:
        tokenizer.decoder = decoder
    assert byte_table(tokenizer) is None
