import pytest

from armt.core.errors import ConfigError
from armt.tasks.encoder import TokenizerEncoder
from armt.tasks.tokenizer import END_TOKEN, train_tokenizer


def test_the_same_texts_give_the_same_tokenizer(books):
    texts = [book.text for book in books[:10]]
    one, two = (train_tokenizer(iter(texts), 600).to_str() for _ in range(2))
    assert one == two


def test_special_tokens_are_single(encoder):
    assert encoder.decode([encoder.end_id]) == END_TOKEN
    assert encoder.encode("GEN") == [encoder.gen_id]
    assert encoder.encode(END_TOKEN) == [encoder.end_id]


def test_gen_within_a_word_is_ordinary(encoder):
    assert encoder.gen_id not in encoder.encode(" GENERAL rules of GENTLEMEN")


def test_no_blank_is_put_before_a_text(encoder):
    assert encoder.encode("kitchen") != encoder.encode(" kitchen")


def test_any_bytes_can_be_encoded():
    encoder = TokenizerEncoder(train_tokenizer(["abc"], 258))
    assert encoder.vocab_size == 258
    assert encoder.decode(encoder.encode("日本 🙂\x00\n")) == "日本 🙂\x00\n"


def test_a_vocabulary_below_the_bytes_is_refused():
    with pytest.raises(ConfigError, match=r"at least 258.*Got 100"):
        _ = train_tokenizer(["abc"], 100)
