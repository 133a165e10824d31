import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from armt.tasks.babilong.text_pieces import decode_pieces
from armt.tasks.encoder import TokenizerEncoder
from armt.tasks.tokenizer import train_tokenizer

TEXT = " Zoë wrote “naïve” – and 日本語 too 🙂. \ufffd \ufffd\ufffd Once more,  with feeling.\n"
BYTES = TokenizerEncoder(train_tokenizer(["no merge is learned"], 258))


def with_marked_blanks():
    """A tokenizer whose decoder drops the blank at the beginning of a text."""
    words = ["<eos>", "<unk>", "▁Zoë", "▁wrote", "▁and", "▁more", "▁too"]
    model = models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return TokenizerEncoder(tokenizer, end_id=0)


def pieces_of(ids, cuts):
    parts = np.split(np.asarray(ids, dtype=np.int64), sorted(cuts))
    return lambda: iter(parts)


@given(cuts=st.lists(st.integers(0, 150), max_size=60), start=st.integers(0, 40))
def test_pieces_join_to_the_whole_and_cut_no_character(cuts, start):
    ids = BYTES.encode(TEXT * 2)[start:]
    found = list(decode_pieces(BYTES, pieces_of(ids, cuts)))
    assert "".join(found) == BYTES.decode(ids)
    num_broken = BYTES.decode(ids).count("\ufffd")
    assert "".join(found).count("\ufffd") == num_broken


@pytest.mark.parametrize("end", range(1, 90))
def test_a_text_may_end_anywhere(end):
    ids = BYTES.encode(TEXT)[:end]
    found = "".join(decode_pieces(BYTES, pieces_of(ids, range(1, end))))
    assert found == BYTES.decode(ids)


def test_a_decoder_may_treat_the_beginning_in_its_own_way():
    encoder = with_marked_blanks()
    ids = encoder.encode("Zoë wrote and wrote more and more too")
    assert encoder.decode(ids[:2]) == "Zoë wrote"
    found = list(decode_pieces(encoder, pieces_of(ids, [1, 3, 4])))
    assert found == ["Zoë", " wrote and", " wrote", " more and more too"]


def test_no_pieces_are_no_text():
    assert list(decode_pieces(BYTES, pieces_of([], []))) == []
