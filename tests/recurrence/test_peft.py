"""Adapters of the library peft around the backbone, trained together with the memory."""

import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from transformers import Trainer, TrainerCallback

from armt import ARMTConfig, Recurrent, attach
from armt.backbones.adapters import adapter_parameters
from armt.core.errors import BackboneError, ConfigError, StateFileError
from armt.memories.mplus import MPlusConfig
from armt.memories.rmt import RMTConfig
from armt.recurrence.choose_schedule import wave_obstacle
from armt.recurrence.fingerprint import backbone_fingerprint, model_fingerprint
from armt.recurrence.peft import unfreeze_memory, use_adapters
from armt.recurrence.pretrained import load_memory
from armt.recurrence.state_file import load_state, save_state
from recurrence.hf_trainer import make_trainer
from tiny import SEGMENT_LEN, assert_same_state, backbone, random_ids, recurrent

MEMORY = ARMTConfig(num_memory_tokens=2, d_mem=4)


def lora(**options) -> LoraConfig:
    settings = {"target_modules": ["q_proj", "down_proj"], "init_lora_weights": False}
    return LoraConfig(r=2, task_type="CAUSAL_LM", **(settings | options))


def adapted() -> tuple[Recurrent, PeftModel]:
    model = recurrent(MEMORY)
    wrapped = get_peft_model(model, lora())
    unfreeze_memory(wrapped)
    return model, wrapped.double()


def test_a_memory_comes_before_the_adapter_and_the_remedy_works():
    wrapped = get_peft_model(backbone(), lora())
    for model in (wrapped, wrapped.base_model):
        with pytest.raises(BackboneError, match=r"Call armt\.attach before peft\.get_peft_model"):
            _ = attach(model, MEMORY, SEGMENT_LEN)
    merged = attach(wrapped.merge_and_unload(), MEMORY, SEGMENT_LEN)
    wrapped = get_peft_model(merged, lora())
    assert wrapped(input_ids=random_ids(1, 9)).logits.isfinite().all()


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


MPLUS = MPlusConfig(num_memory_tokens=2, num_slots=3, num_retrieved=4, d_retriever=4)


def with_two_adapters(memory=MPLUS) -> tuple[Recurrent, PeftModel]:
    model = recurrent(memory)
    wrapped = get_peft_model(model, lora(), adapter_name="reader")
    wrapped.add_adapter("writer", lora())
    use_adapters(wrapped, read="reader", write="writer")
    unfreeze_memory(wrapped)
    return model, wrapped.double()


def reached(model, name):
    parameters = adapter_parameters(model, name)
    return {each.grad is not None and bool(each.grad.any()) for each in parameters}


def with_one(wrapped, name):
    """The model as it is when it reads and writes with one of its adapters."""
    wrapped.base_model.model.adapters = None
    wrapped.set_adapter(name)
    return wrapped


@pytest.mark.parametrize("memory", [MPLUS, MEMORY, RMTConfig(num_memory_tokens=2)])
def test_a_text_is_read_with_one_adapter_and_written_with_the_other(memory):
    ids = random_ids(2, 5 * SEGMENT_LEN + 2)
    model, wrapped = with_two_adapters(memory)
    with torch.no_grad():
        found = model(ids)
        states = [model.read(part) for part in (ids, ids[:, :SEGMENT_LEN])]
        _ = with_one(wrapped, "writer")
        assert_same_state(model.read(ids), states[0])
        assert_same_state(states[0], found.state)
        _ = with_one(wrapped, "reader")
        later = model(ids[:, SEGMENT_LEN : 2 * SEGMENT_LEN], state=states[1]).logits
    assert torch.equal(found.logits[:, SEGMENT_LEN : 2 * SEGMENT_LEN], later)
    with pytest.raises(AssertionError):
        assert_same_state(model.read(ids), states[0])


@pytest.mark.parametrize("name", ["reader", "writer"])
def test_a_pass_teaches_the_adapter_that_is_at_work(name):
    model, wrapped = with_two_adapters()
    model = model.train()
    output = model(random_ids(2, 4 * SEGMENT_LEN))
    if name == "writer":
        sum(layer.values.sum() for layer in output.state.layers).backward()
        assert reached(model, "reader") == {False}, "writing does not reach the one for reading"
        assert True in reached(model, "writer")
    else:
        output.logits[:, :SEGMENT_LEN].sum().backward()
        assert reached(model, "reader") == {True}
        assert reached(model, "writer") == {False}, "no memory was read yet"
    assert wrapped.active_adapters == ["reader"], "what was there before came back"


def test_a_loss_on_a_later_segment_teaches_both():
    model, _ = with_two_adapters()
    ids = random_ids(2, 4 * SEGMENT_LEN)
    model.train()(ids, labels=ids).loss.backward()
    assert reached(model, "reader") == {True}
    # values that leave the topmost layer's feed-forward go nowhere in the pass that writes
    assert True in reached(model, "writer")
    assert all(value.grad is not None for value in model.memory.parameters())


@torch.no_grad()
def test_what_is_generated_is_written_with_the_adapter_for_writing():
    model, _ = with_two_adapters()
    prompt = random_ids(1, SEGMENT_LEN + 1)
    options = {"max_new_tokens": 2 * SEGMENT_LEN, "do_sample": False, "eos_token_id": None}
    output = model.generate(prompt, return_dict_in_generate=True, **options)
    expected = model.read(output.sequences[:, :-1])
    assert_same_state(output.past_key_values.state, expected, rtol=1e-9, atol=1e-11)


def test_adapters_that_are_not_there_are_told():
    model = recurrent(MPLUS)
    with pytest.raises(ConfigError, match="no adapter 'reader'; it has none"):
        use_adapters(model, read="reader", write="writer")
    wrapped = get_peft_model(model, lora(), adapter_name="reader")
    with pytest.raises(ConfigError, match="no adapter 'writer'; it has reader"):
        use_adapters(wrapped, read="reader", write="writer")
    assert model.adapters is None


@pytest.mark.parametrize("memory", [MPLUS, MEMORY, RMTConfig(num_memory_tokens=2)])
def test_checkpointing_runs_a_layer_again_under_the_adapter_that_it_had(memory):
    ids, gradients, runs = random_ids(2, 4 * SEGMENT_LEN + 2), [], []
    for is_checkpointed in (False, True):
        _ = torch.manual_seed(0)
        model, wrapped = with_two_adapters(memory)
        if is_checkpointed:
            wrapped.gradient_checkpointing_enable()
            use_adapters(wrapped, read="reader", write="writer")  # again, as after a loaded one
        model.anatomy.layers[0].mlp.register_forward_pre_hook(lambda *_: runs.append(1))
        output = model.train()(ids, labels=ids)
        num_forward = len(runs)
        output.loss.backward()
        assert (len(runs) > num_forward) == is_checkpointed
        assert wrapped.active_adapters == ["reader"]
        runs.clear()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
    assert any("writer" in name and value.any() for name, value in gradients[0].items())
    for name, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], value, rtol=1e-10, atol=1e-12)


def test_checkpointing_that_knows_no_adapters_is_refused():
    model, wrapped = with_two_adapters(MEMORY)
    with pytest.raises(ConfigError, match="Leave it out"):
        wrapped.gradient_checkpointing_enable({"context_fn": lambda: None})
    assert "different adapters" in wave_obstacle(model)
    _ = with_one(wrapped, "reader").gradient_checkpointing_enable()
    with pytest.raises(ConfigError, match="gradient_checkpointing_enable after it"):
        use_adapters(wrapped, read="reader", write="writer")


def test_a_state_tells_which_adapter_wrote_it():
    model, wrapped = with_two_adapters()
    before = model_fingerprint(model)["adapter"]
    use_adapters(wrapped, read="writer", write="reader")
    assert model_fingerprint(model)["adapter"] != before


def test_a_model_without_memory_is_told_apart():
    with pytest.raises(BackboneError, match="LlamaForCausalLM carries no memory"):
        unfreeze_memory(backbone())


class SavesMemory(TrainerCallback):
    """What the guide gives a trainer whose checkpoints hold the adapter alone."""

    def __init__(self, model: Recurrent) -> None:
        self.model = model

    def on_save(self, args, state, control, **options) -> None:
        self.model.save_memory(f"{args.output_dir}/checkpoint-{state.global_step}")


def trainer(folder: Path, model: Recurrent) -> Trainer:
    wrapped = get_peft_model(model, lora(init_lora_weights=True))
    unfreeze_memory(wrapped)
    made = make_trainer(wrapped, folder, 4)
    made.add_callback(SavesMemory(model))
    return made


def test_a_trainer_resumes_adapter_and_memory_as_the_guide_says(tmp_path):
    whole = recurrent(MEMORY).float()
    before = {name: value.clone() for name, value in whole.memory.state_dict().items()}
    _ = trainer(tmp_path, whole).train()
    shutil.rmtree(tmp_path / "checkpoint-4")
    resumed = load_memory(backbone().float(), tmp_path / "checkpoint-2")
    _ = trainer(tmp_path, resumed).train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    expected = whole.state_dict()
    assert resumed.state_dict().keys() == expected.keys()
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, expected[name]), name
    assert any(not torch.equal(expected[f"memory.{name}"], old) for name, old in before.items())
