"""Every tested family of backbones carries a memory, and stays what it was."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict

from armt import ARMTConfig, NoMemoryConfig, attach
from armt.backbones.huggingface import TESTED_FAMILIES
from tiny import FAMILIES, SEGMENT_LEN, backbone, isolated_logits, random_ids, recurrent

MEMORY = ARMTConfig(num_memory_tokens=2, d_mem=4)
ATTENTION_MAPS = ["v_proj", "qkv_proj", "query_key_value", "c_attn"]
TOLERANCE = {"rtol": 1e-9, "atol": 1e-10}


@pytest.fixture(params=sorted(FAMILIES))
def family(request):
    return request.param


def test_the_list_of_tested_families_is_the_one_tested():
    assert set(FAMILIES) == TESTED_FAMILIES


@torch.no_grad()
def test_no_memory_equals_the_backbone_on_each_segment_bit_for_bit(family):
    ids = random_ids(2, 3 * SEGMENT_LEN)
    expected = isolated_logits(backbone(family), ids)
    found = attach(backbone(family), NoMemoryConfig(), SEGMENT_LEN)(ids).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@torch.no_grad()
def test_a_fresh_memory_equals_the_backbone_on_each_segment(family):
    ids = random_ids(2, 3 * SEGMENT_LEN)
    base = backbone(family)
    model = attach(backbone(family), MEMORY, SEGMENT_LEN)
    embed = base.get_input_embeddings()
    tokens = model.memory.tokens.detach().expand(2, -1, -1)
    expected = torch.cat(
        [
            base(inputs_embeds=torch.cat([embed(part), tokens], 1)).logits[:, :SEGMENT_LEN]
            for part in ids.split(SEGMENT_LEN, dim=1)
        ],
        dim=1,
    )
    found = model(ids).logits
    # Bit for bit against the same trailing tokens; without them only the matrices' shapes differ.
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    torch.testing.assert_close(found, isolated_logits(base, ids), rtol=1e-12, atol=1e-13)


@torch.no_grad()
def test_a_memory_that_was_trained_matters_and_sees_no_future(family):
    model, ids = recurrent(MEMORY, family), random_ids(1, 3 * SEGMENT_LEN + 2)
    logits = model(ids).logits
    first = ids.clone()
    first[:, 0] = (first[:, 0] + 1) % 20 + 3
    moved = (model(first).logits - logits).abs().amax((0, 2))
    assert moved[SEGMENT_LEN:].min() > 1e-9, "the memory does not reach later segments"
    for place in (2, SEGMENT_LEN, 2 * SEGMENT_LEN - 1, 3 * SEGMENT_LEN + 1):
        changed = ids.clone()
        changed[:, place] = (changed[:, place] + 1) % 20 + 3
        moved = (model(changed).logits - logits).abs().amax((0, 2))
        assert moved[:place].sum() == 0
        assert moved[place] > 0


@torch.no_grad()
def test_names_stay_and_weights_are_saved_and_loaded(family):
    base_keys = list(backbone(family).state_dict())
    model = recurrent(MEMORY, family)
    weights = model.state_dict()
    assert [key for key in weights if not key.startswith("memory.")] == base_keys
    other = recurrent(MEMORY, family, seed=7)
    ids = random_ids(1, 2 * SEGMENT_LEN)
    assert not torch.equal(other(ids).logits, model(ids).logits)
    _ = other.load_state_dict(copy.deepcopy(weights))
    torch.testing.assert_close(other(ids).logits, model(ids).logits, rtol=0, atol=0)


def test_adapters_have_the_keys_of_the_plain_backbone(family):
    options = {"r": 2, "target_modules": ATTENTION_MAPS, "fan_in_fan_out": family == "gpt2"}
    plain = get_peft_model_state_dict(get_peft_model(backbone(family), LoraConfig(**options)))
    model = get_peft_model(recurrent(MEMORY, family), LoraConfig(**options))
    assert plain
    assert list(get_peft_model_state_dict(model)) == list(plain)
    loss = model(random_ids(1, 9), labels=random_ids(1, 9)).loss
    loss.backward()
    gradients = [p.grad for name, p in model.named_parameters() if "lora_B" in name]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)


def test_checkpointing_changes_no_gradient(family):
    gradients = []
    for is_checkpointing in (False, True):
        model = recurrent(MEMORY, family).train()
        if is_checkpointing:
            model.gradient_checkpointing_enable()
        ids = random_ids(2, 3 * SEGMENT_LEN)
        model(ids, labels=ids).loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    plain, checkpointed = gradients
    assert plain["memory.layers.0.to_key.weight"].abs().sum() > 0
    for name, gradient in plain.items():
        torch.testing.assert_close(checkpointed[name], gradient, **TOLERANCE)


@torch.no_grad()
def test_generation_equals_step_by_step(family):
    model, prompt = recurrent(MEMORY, family), random_ids(1, SEGMENT_LEN - 1)
    found = model.generate(
        prompt, max_new_tokens=SEGMENT_LEN + 2, do_sample=False, eos_token_id=None, pad_token_id=0
    )
    ids = prompt
    for _ in range(SEGMENT_LEN + 2):
        ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(-1)], dim=1)
    assert found.tolist() == ids.tolist()
