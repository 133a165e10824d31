"""What a fingerprint sees, and what it does not."""

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from armt import ARMTConfig
from armt.core.errors import DataError
from armt.recurrence.fingerprint import backbone_fingerprint, model_fingerprint, tokenizer_hash
from tiny import backbone, recurrent

MEMORY = ARMTConfig(num_memory_tokens=2, d_mem=4)


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


def word_tokenizer(words: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, words[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def test_the_same_model_has_the_same_fingerprint():
    assert model_fingerprint(recurrent(MEMORY)) == model_fingerprint(recurrent(MEMORY))


@torch.no_grad()
def test_every_value_of_the_memory_counts():
    model = recurrent(MEMORY)
    before = model_fingerprint(model)
    for parameter in model.memory.parameters():
        old = parameter.flatten()[-1].item()
        parameter.view(-1)[-1] = old + 1
        assert changed(before, model_fingerprint(model)) == {"memory_weights"}
        parameter.view(-1)[-1] = old
    assert model_fingerprint(model) == before


@torch.no_grad()
def test_every_tensor_of_the_backbone_counts():
    model = backbone()
    before = backbone_fingerprint(model)
    for parameter in model.parameters():
        old = parameter.clone()
        _ = parameter.mul_(1.5)
        assert changed(before, backbone_fingerprint(model)) == {
            "backbone_weights",
            "backbone_values",
        }
        _ = parameter.copy_(old)
    assert backbone_fingerprint(model) == before


@torch.no_grad()
def test_a_large_tensor_is_sampled_at_both_ends():
    model = backbone(vocab_size=1000)
    weight = model.get_input_embeddings().weight
    assert weight.numel() > 4096
    before = backbone_fingerprint(model)
    for place in (0, -1):
        old = weight.view(-1)[place].item()
        weight.view(-1)[place] = old + 1
        assert "backbone_weights" in changed(before, backbone_fingerprint(model))
        weight.view(-1)[place] = old


def test_another_precision_changes_weights_but_not_values():
    model = backbone().float()
    before = backbone_fingerprint(model)
    after = backbone_fingerprint(model.bfloat16())
    assert changed(before, after) == {"backbone_weights"}


def test_a_setting_that_changes_the_computation_counts():
    plain = backbone_fingerprint(backbone())
    other = backbone_fingerprint(backbone(rms_norm_eps=0.5))
    assert changed(plain, other) == {"backbone_config"}


def test_settings_of_storing_and_calling_do_not_count(tmp_path):
    model = backbone()
    before = backbone_fingerprint(model)
    model.config.use_cache = False
    model.config.pad_token_id = 7
    assert backbone_fingerprint(model) == before
    model.save_pretrained(tmp_path)
    assert backbone_fingerprint(AutoModelForCausalLM.from_pretrained(tmp_path)) == before


def test_the_memory_does_not_belong_to_the_backbone():
    model = recurrent(MEMORY)
    assert backbone_fingerprint(model) == backbone_fingerprint(backbone())


def test_tokenizers_of_both_libraries_agree_and_padding_does_not_count():
    tokenizer = word_tokenizer(["<unk>", "a", "b"])
    before = tokenizer_hash(tokenizer)
    assert before is not None
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<unk>")
    tokenizer.enable_padding(length=9)
    tokenizer.enable_truncation(max_length=9)
    assert tokenizer_hash(tokenizer) == before
    unpadded = tokenizer_hash(wrapped)
    _ = wrapped(["a b", "a"], padding=True)
    assert tokenizer_hash(wrapped) == unpadded
    assert tokenizer_hash(word_tokenizer(["<unk>", "b", "a"])) != before


def test_no_tokenizer_has_no_hash_and_other_things_are_refused():
    assert tokenizer_hash(None) is None
    with pytest.raises(DataError, match="int tells neither"):
        _ = tokenizer_hash(3)


def test_a_vocabulary_alone_is_enough():
    class Slow:
        def __init__(self, words: str) -> None:
            self.words = words.split()

        def get_vocab(self) -> dict[str, int]:
            return {word: number for number, word in enumerate(self.words)}

    assert tokenizer_hash(Slow("a b")) == tokenizer_hash(Slow("a b"))
    assert tokenizer_hash(Slow("a b")) != tokenizer_hash(Slow("b a"))
