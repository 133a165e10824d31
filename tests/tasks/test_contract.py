import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from armt.core.errors import DataError
from armt.tasks.contract import TextEncoder
from armt.tasks.encoder import TokenizerEncoder
from armt.tasks.tokenizer import train_tokenizer


def test_it_is_a_text_encoder(encoder):
    assert isinstance(encoder, TextEncoder)


def test_decode_undoes_encode(encoder):
    text = " Mary went to the kitchen. Où ça? GEN"
    assert encoder.decode(encoder.encode(text)) == text


def test_a_batch_is_encoded_like_its_texts(encoder):
    texts = [" one sentence.", "", " another, longer sentence."]
    assert encoder.encode_batch(texts) == [encoder.encode(text) for text in texts]


def test_settings_of_the_original_change_nothing():
    tokenizer = train_tokenizer(["some words to learn from"], 300)
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=50)
    encoder = TokenizerEncoder(tokenizer)
    tokenizer.enable_truncation(1)
    assert encoder.decode(encoder.encode("some words to learn")) == "some words to learn"
    plain = TokenizerEncoder(train_tokenizer(["some words to learn from"], 300))
    assert encoder.digest == plain.digest


def test_the_digest_tells_tokenizers_apart():
    one, two = (TokenizerEncoder(train_tokenizer([text], 270)) for text in ("aa bb", "cc dd"))
    assert one.digest != two.digest


def test_a_wrapper_with_a_fast_tokenizer_inside_is_taken(encoder):
    class Wrapper:
        backend_tokenizer = encoder.tokenizer
        eos_token_id = 7

    assert TokenizerEncoder(Wrapper()).end_id == 7
    assert TokenizerEncoder(Wrapper(), end_id=9).end_id == 9


def test_what_is_no_tokenizer_is_refused():
    with pytest.raises(DataError, match=r"Got str\."):
        _ = TokenizerEncoder("gpt2")


def test_a_missing_end_token_is_told():
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    with pytest.raises(DataError, match="Pass `end_id`"):
        _ = TokenizerEncoder(bare)
