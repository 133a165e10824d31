"""Adapters of the library peft around the backbone, trained together with the memory."""

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict

from armt import ARMTConfig, Recurrent
from armt.core.errors import BackboneError, ConfigError, StateFileError
from armt.recurrence.fingerprint import backbone_fingerprint, model_fingerprint
from armt.recurrence.peft import unfreeze_memory
from armt.recurrence.pretrained import load_memory
from armt.recurrence.state_file import load_state, save_state
from tiny import assert_same_state, backbone, random_ids, recurrent

MEMORY = ARMTConfig(num_memory_tokens=2, d_mem=4)


def lora(**options) -> LoraConfig:
    settings = {"target_modules": ["q_proj", "down_proj"], "init_lora_weights": False}
    return LoraConfig(r=2, task_type="CAUSAL_LM", **(settings | options))


def adapted() -> tuple[Recurrent, PeftModel]:
    model = recurrent(MEMORY)
    wrapped = get_peft_model(model, lora())
    unfreeze_memory(wrapped)
    return model, wrapped.double()


def test_the_keys_of_the_adapter_are_those_on_the_plain_backbone():
    _, wrapped = adapted()
    plain = get_peft_model(backbone(), lora())
    assert get_peft_model_state_dict(wrapped).keys() == get_peft_model_state_dict(plain).keys()


def test_peft_freezes_the_memory_and_we_take_it_back():
    model = recurrent(MEMORY)
    wrapped = get_peft_model(model, lora())
    assert not any(value.requires_grad for value in model.memory.parameters())
    unfreeze_memory(wrapped)
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    memory = {f"memory.{name}" for name, _ in model.memory.named_parameters()}
    assert {name for name in trained if ".lora_" not in name} == memory
    assert len(trained) > len(memory)


def test_gradients_reach_adapter_and_memory():
    _, wrapped = adapted()
    ids = random_ids(2, 14)
    wrapped.train()(input_ids=ids, labels=ids).loss.backward()
    for name, value in wrapped.named_parameters():
        if value.requires_grad:
            assert value.grad is not None, name
            assert value.grad.abs().sum() > 0, name
        else:
            assert value.grad is None, name


def test_a_step_lowers_the_loss():
    _, wrapped = adapted()
    ids = random_ids(2, 14)
    trained = [value for value in wrapped.parameters() if value.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=0.01)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = wrapped(input_ids=ids, labels=ids).loss
        loss.backward()
        _ = optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_wrapping_reads_and_generates():
    model, wrapped = adapted()
    ids = random_ids(1, 10)
    state = model.read(ids)
    assert torch.equal(wrapped(input_ids=ids, state=state).logits, model(ids, state=state).logits)
    with torch.no_grad():
        found = wrapped.generate(input_ids=ids, max_new_tokens=4, do_sample=False)
        assert torch.equal(found, model.generate(ids, max_new_tokens=4, do_sample=False))


def test_merging_leaves_a_recurrent_model(tmp_path):
    _, wrapped = adapted()
    ids = random_ids(2, 10)
    with torch.no_grad():
        expected = wrapped.eval()(input_ids=ids).logits
    merged = wrapped.merge_and_unload()
    assert isinstance(merged, Recurrent)
    torch.testing.assert_close(merged(ids).logits, expected)
    merged.save_pretrained(tmp_path)
    loaded = Recurrent.from_pretrained(tmp_path)
    assert torch.equal(loaded(ids).logits, merged(ids).logits)


def test_adapter_and_memory_are_saved_apart_and_meet_again(tmp_path):
    model, wrapped = adapted()
    wrapped.save_pretrained(tmp_path / "adapter")
    model.save_memory(tmp_path / "memory")
    again = load_memory(backbone(), tmp_path / "memory")
    again = PeftModel.from_pretrained(again, tmp_path / "adapter").double()
    ids = random_ids(2, 10)
    assert torch.equal(again(input_ids=ids).logits, wrapped.eval()(input_ids=ids).logits)


def test_a_fingerprint_sees_the_adapter_beside_the_backbone():
    model, _ = adapted()
    plain = backbone_fingerprint(backbone())
    found = backbone_fingerprint(model)
    assert found["adapter"] != plain["adapter"] == "none"
    assert found | {"adapter": "none"} == plain


def test_a_state_belongs_to_its_adapter(tmp_path):
    model, wrapped = adapted()
    state = model.read(random_ids(1, 10))
    path = tmp_path / "state.safetensors"
    save_state(path, state, model)
    assert_same_state(load_state(path, model), state)
    with pytest.raises(StateFileError, match=r"adapter: expected none, found \w+"):
        _ = load_state(path, recurrent(MEMORY))
    before = model_fingerprint(model)
    with torch.no_grad():
        next(v for n, v in wrapped.named_parameters() if "lora_B" in n).add_(1)
    after = model_fingerprint(model)
    assert {name for name in before if before[name] != after[name]} == {"adapter"}


@pytest.mark.parametrize(
    "options", [{"modules_to_save": ["memory"]}, {"target_modules": "all-linear"}]
)
def test_an_adapter_around_the_memory_is_refused(tmp_path, options):
    model = recurrent(MEMORY)
    wrapped = get_peft_model(model, lora(**options))
    for call in (lambda: unfreeze_memory(wrapped), lambda: model.save_memory(tmp_path)):
        with pytest.raises(ConfigError, match="adapter stands around the memory itself"):
            call()


def test_all_linear_without_the_memory():
    model = recurrent(MEMORY)
    options = lora(target_modules="all-linear", exclude_modules=r"memory\..*")
    unfreeze_memory(get_peft_model(model, options))
    assert not [name for name, _ in model.named_parameters() if "memory" in name and "lora" in name]


def test_a_model_without_memory_is_told_apart():
    with pytest.raises(BackboneError, match="LlamaForCausalLM carries no memory"):
        unfreeze_memory(backbone())
