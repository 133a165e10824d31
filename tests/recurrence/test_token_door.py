"""What a memory of tokens gets from its door, on several families of backbones."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model

from armt import Recurrent, attach, load_memory, unfreeze_memory
from armt.backbones.last_hidden import last_hidden
from armt.core.errors import ArmtError, BackboneError, ConfigError
from armt.core.registry import MEMORIES
from tiny import SEGMENT_LEN, assert_same_state, backbone, random_ids, recurrent, state_tensors

FAMILIES = ["gpt2", "llama", "qwen3", "gemma3_text", "gpt_neox"]
CONFIGS = {
    card.name: card.tiny
    for card in MEMORIES
    if card.tiny is not None and card.entry.door == "tokens"
}
CLOSE = {"rtol": 1e-9, "atol": 1e-10}
GREEDY = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}
NUM_TOKENS = 3 * SEGMENT_LEN + 2


@pytest.fixture(params=CONFIGS)
def config(request):
    return CONFIGS[request.param]


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture
def model(config, family):
    return recurrent(config, family)


@torch.no_grad()
@pytest.mark.parametrize("num_read", [0, 3, 2 * SEGMENT_LEN])
def test_generation_over_edges_equals_step_by_step(model, num_read):
    state = model.read(random_ids(2, num_read, seed=5), model.init_state(2))
    prompt, num_new = random_ids(2, 3), 2 * SEGMENT_LEN
    options = GREEDY | {"return_dict_in_generate": True, "max_new_tokens": num_new}
    found = model.generate(prompt, state=state, **options)
    ids = prompt
    for _ in range(num_new):
        ids = torch.cat([ids, model(ids, state=state).logits[:, -1:].argmax(-1)], dim=1)
    assert found.sequences.tolist() == ids.tolist()
    expected = model(ids[:, :-1], state=state).state
    assert_same_state(found.past_key_values.state, expected, **CLOSE)


def test_checkpointing_changes_no_gradient(config, family):
    gradients = []
    for is_checkpointing in (False, True):
        model = recurrent(config, family).train()
        if is_checkpointing:
            model.gradient_checkpointing_enable()
        ids = random_ids(2, NUM_TOKENS)
        model(ids, labels=ids).loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    plain, checkpointed = gradients
    for name, gradient in plain.items():
        torch.testing.assert_close(checkpointed[name], gradient, **CLOSE)


def test_whole_and_memory_alone_are_saved_and_loaded(model, family, tmp_path):
    ids = random_ids(2, NUM_TOKENS)
    expected = model(ids).logits
    model.save_pretrained(tmp_path / "whole")
    model.save_memory(tmp_path / "memory")
    whole = Recurrent.from_pretrained(tmp_path / "whole")
    torch.testing.assert_close(whole(ids).logits, expected, rtol=0, atol=0)
    beside = load_memory(backbone(family), tmp_path / "memory")
    torch.testing.assert_close(beside(ids).logits, expected, rtol=0, atol=0)
    assert whole.memory.config == beside.memory.config == model.memory.config


def test_it_is_trained_with_an_adapter(model, family):
    maps = ["v_proj", "query_key_value", "c_attn"]
    lora = LoraConfig(r=2, target_modules=maps, fan_in_fan_out=family == "gpt2")
    wrapped = get_peft_model(model, lora)
    unfreeze_memory(wrapped)
    ids = random_ids(2, NUM_TOKENS)
    wrapped(input_ids=ids, labels=ids).loss.backward()
    for name, parameter in wrapped.named_parameters():
        is_trained = ".memory." in f".{name}" or "lora_B" in name
        assert (parameter.grad is not None and bool(parameter.grad.any())) == is_trained or (
            "lora_A" in name
        ), name


@pytest.mark.parametrize("num_carried", [0, 1, 2])
def test_the_state_is_taken_before_the_end(config, num_carried):
    model, ids = recurrent(config), random_ids(2, NUM_TOKENS)
    carry_len = num_carried * SEGMENT_LEN
    found = model(ids, labels=ids, carry_len=carry_len)
    assert_same_state(found.state, model(ids[:, :carry_len]).state)
    torch.testing.assert_close(found.loss, model(ids, labels=ids).loss)


def test_a_copy_has_its_own_memory(config):
    model, ids = recurrent(config), random_ids(1, NUM_TOKENS)
    twin, expected = copy.deepcopy(model), model(ids).logits
    with torch.no_grad():
        for parameter in twin.memory.parameters():
            _ = parameter.add_(1)
    torch.testing.assert_close(model(ids).logits, expected, rtol=0, atol=0)
    assert not torch.allclose(twin(ids).logits, expected)


def test_tokens_at_both_ends_need_positions(config):
    base = backbone("gpt2", n_positions=12)
    num_tokens = recurrent(config).memory.num_tokens
    with pytest.raises(ConfigError, match=f"at most {12 - num_tokens}"):
        _ = attach(base, config, 13 - num_tokens)
    model = attach(base, config, 12 - num_tokens)
    assert model(random_ids(1, 24)).logits.isfinite().all()


def test_a_pass_inside_a_pass_is_refused(config):
    model = recurrent(config)
    if model.memory.is_layer_local:
        return
    with last_hidden(model.anatomy.decoder), pytest.raises(BackboneError, match="one thread"):
        _ = model(random_ids(1, 3))
    assert model(random_ids(1, 3)).logits.isfinite().all()


def test_an_error_leaves_nothing_noted(config, monkeypatch):
    model, ids = recurrent(config), random_ids(1, NUM_TOKENS)
    expected = model(ids).logits
    with monkeypatch.context() as patched:
        patched.setattr(model.anatomy.layers[1], "forward", lambda *_args, **_options: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            _ = model(ids)
    torch.testing.assert_close(model(ids).logits, expected, rtol=0, atol=0)


def test_a_memory_that_looks_ahead_generates_nothing(config):
    model = recurrent(config)
    model.memory.layers[0].is_causal = False
    with pytest.raises(ArmtError, match="causal form"):
        _ = model.generate(random_ids(1, 3), max_new_tokens=2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_states_keep_the_precision_of_the_weights(config, dtype):
    model = recurrent(config).to(dtype)
    before = state_tensors(model.init_state(2))
    with torch.autocast("cpu", torch.bfloat16):
        after = state_tensors(model.read(random_ids(2, NUM_TOKENS)))
    assert {name: value.dtype for name, value in after.items()} == {
        name: value.dtype for name, value in before.items()
    }
