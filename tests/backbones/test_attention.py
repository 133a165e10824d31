"""The door of keys and values: a memory of the whole past is full attention, in every family."""

import copy
import math
from dataclasses import replace

import pytest
import torch

from armt import attach
from armt.backbones.attention import attention_function
from armt.core.errors import ArmtError, BackboneError
from armt.recurrence.choose_schedule import wave_obstacle
from tiny import (
    FAMILIES,
    SEGMENT_LEN,
    assert_same_state,
    backbone,
    isolated_logits,
    random_ids,
    recurrent,
)
from whole_past import WholePastConfig

ALL = WholePastConfig()
TOKENS = WholePastConfig(num_memory_tokens=2)
NOTHING = WholePastConfig(num_slots=0)
NUM_TOKENS = 4 * SEGMENT_LEN + 2
CLOSE = {"rtol": 1e-9, "atol": 1e-10}
SINGLE = 2e-6  # transformers computes the angles of rotations in single precision
REFUSED = {
    "stablelm": "hands no arguments on",
    "bloom": "AttentionInterface",
    "cohere": "cannot be undone",
}
SINKS = {
    "num_local_experts": 2,
    "num_experts_per_tok": 1,
    "sliding_window": 64,
    "layer_types": ["sliding_attention", "full_attention"],
}


@pytest.fixture(params=sorted(set(FAMILIES) - set(REFUSED)))
def family(request):
    return request.param


def wide(family):
    return {"sliding_window": 64} if "sliding_window" in FAMILIES[family] else {}


def with_schedule(model, schedule):
    model.recurrence = replace(model.recurrence, schedule=schedule)
    return model


def restarted_logits(base, ids):
    """Full attention, where positions that are in the keys themselves begin anew in a segment."""
    if base.config.model_type not in ("gpt2", "opt"):
        return base(input_ids=ids).logits
    places = (torch.arange(ids.shape[1]) % SEGMENT_LEN).expand_as(ids)
    return base(input_ids=ids, position_ids=places).logits


def assert_same_gradients(found, expected):
    wanted = dict(expected.named_parameters())
    for name, parameter in found.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name].grad, **CLOSE)
        assert parameter.grad.any(), name


@torch.no_grad()
def test_a_memory_of_the_whole_past_is_full_attention(family):
    ids, base = random_ids(2, NUM_TOKENS), backbone(family, **wide(family))
    model = attach(backbone(family, **wide(family)), ALL, SEGMENT_LEN)
    expected = restarted_logits(base, ids)
    torch.testing.assert_close(model(ids).logits, expected, rtol=0, atol=SINGLE)
    apart = isolated_logits(base, ids)
    assert (apart - expected)[:, SEGMENT_LEN:].abs().max() > 1e-2


@torch.no_grad()
@pytest.mark.parametrize("kind", ["eager", "sdpa"])
def test_it_runs_the_kind_of_attention_that_the_model_had(kind):
    base = backbone("qwen3")
    base.set_attn_implementation(kind)
    ids = random_ids(2, NUM_TOKENS)
    expected = base(input_ids=ids).logits
    model = attach(base, ALL, SEGMENT_LEN)
    assert model.config._attn_implementation == f"armt_{kind}"
    torch.testing.assert_close(model(ids).logits, expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_sinks_take_their_share():
    ids, base = random_ids(2, NUM_TOKENS), backbone("gpt_oss", **SINKS)
    expected = base(input_ids=ids).logits
    model = attach(base, ALL, SEGMENT_LEN)
    torch.testing.assert_close(model(ids).logits, expected, rtol=0, atol=1e-5)
    with torch.no_grad():
        for layer in base.model.layers:
            layer.self_attn.sinks.add_(3.0)
    assert (model(ids).logits - expected).abs().max() > 1e-2


@torch.no_grad()
def test_layers_keep_the_masks_that_are_their_own():
    options = {"sliding_window": 2, "layer_types": ["sliding_attention", "full_attention"]}
    ids = random_ids(2, SEGMENT_LEN)
    base, full = backbone("gemma3_text", **options), backbone("gemma3_text", sliding_window=64)
    model = attach(backbone("gemma3_text", **options), ALL, SEGMENT_LEN)
    expected = base(input_ids=ids).logits
    torch.testing.assert_close(model(ids).logits, expected, rtol=1e-12, atol=1e-12)
    assert (full(input_ids=ids).logits - expected).abs().max() > 1e-2


@torch.no_grad()
def test_without_anything_to_see_the_backbone_is_exact(family):
    ids = random_ids(2, NUM_TOKENS)
    model = attach(backbone(family), NOTHING, SEGMENT_LEN)
    expected = isolated_logits(backbone(family), ids)
    torch.testing.assert_close(model(ids).logits, expected, rtol=0, atol=0)
    first = attach(backbone(family), ALL, SEGMENT_LEN)(ids[:, :SEGMENT_LEN]).logits
    torch.testing.assert_close(first, expected[:, :SEGMENT_LEN], rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_outside_a_recurrence_the_model_is_what_it_was(family):
    model, base, ids = recurrent(ALL, family), backbone(family), random_ids(2, 9)
    mask = torch.ones_like(ids)
    mask[0, -3:] = 0
    for options in ({}, {"attention_mask": mask}):
        found = model.get_decoder()(input_ids=ids, **options).last_hidden_state
        expected = base.get_decoder()(input_ids=ids, **options).last_hidden_state
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


@torch.no_grad()
@pytest.mark.parametrize("memory", [ALL, TOKENS], ids=["text", "tokens"])
def test_generation_equals_step_by_step(family, memory):
    model, prompt = recurrent(memory, family), random_ids(1, SEGMENT_LEN - 1)
    num_new = 2 * SEGMENT_LEN
    output = model.generate(
        prompt,
        max_new_tokens=num_new,
        do_sample=False,
        eos_token_id=None,
        return_dict_in_generate=True,
        output_logits=True,
    )
    whole = model(output.sequences[:, :-1]).logits[:, -num_new:].float()
    torch.testing.assert_close(torch.stack(output.logits, 1), whole, rtol=1e-6, atol=1e-6)


@torch.no_grad()
def test_no_position_sees_the_future(family):
    model, ids = recurrent(TOKENS, family), random_ids(1, NUM_TOKENS)
    logits = model(ids).logits
    for place in range(NUM_TOKENS):
        changed = ids.clone()
        changed[:, place] = (changed[:, place] + 1) % 20 + 3
        moved = (model(changed).logits - logits).abs().amax((0, 2))
        assert moved[:place].sum() == 0
        assert moved[place] > 0


@pytest.mark.parametrize("memory", [ALL, TOKENS], ids=["text", "tokens"])
def test_waves_are_the_loop_in_another_order(family, memory):
    loop = with_schedule(recurrent(memory, family), "sequential")
    if wave_obstacle(loop) is not None:
        assert family in ("mixtral", "smollm3")
        return
    waves = with_schedule(copy.deepcopy(loop), "waves")
    ids = random_ids(2, NUM_TOKENS)
    outputs = [model(ids, labels=ids, logits_to_keep=0) for model in (loop, waves)]
    torch.testing.assert_close(outputs[1].logits, outputs[0].logits, **CLOSE)
    assert_same_state(outputs[1].state, outputs[0].state, **CLOSE)
    for output in outputs:
        output.loss.backward()
    assert_same_gradients(waves, loop)


@torch.no_grad()
def test_reading_in_a_loop_of_waves_is_reading():
    loop = with_schedule(recurrent(TOKENS), "sequential")
    waves = with_schedule(copy.deepcopy(loop), "waves")
    ids = random_ids(2, 70)
    assert_same_state(waves.read(ids), loop.read(ids), **CLOSE)


@pytest.mark.parametrize("schedule", ["sequential", "waves"])
@pytest.mark.parametrize("family", ["gpt2", "gemma2", "llama"])
def test_checkpointing_writes_once_and_changes_no_gradient(family, schedule):
    models, ids = [], random_ids(2, NUM_TOKENS)
    for is_checkpointing in (False, True):
        model = with_schedule(recurrent(TOKENS, family), schedule).train()
        if is_checkpointing:
            model.gradient_checkpointing_enable()
        output = model(ids, labels=ids)
        assert output.state.layers[0].num_kept.tolist() == [8, 8]
        output.loss.backward()
        models.append(model)
    assert_same_gradients(models[1], models[0])


@torch.no_grad()
@pytest.mark.parametrize("family", ["gemma2", "gpt2", "llama", "qwen3"])
def test_a_bias_counts_like_copies(family):
    ids = random_ids(2, NUM_TOKENS)
    biases = {"bias": math.log(2)}, {"num_copies": 2}, {"bias": 0.0}, {}
    logits = [recurrent(replace(ALL, **options), family)(ids).logits for options in biases]
    torch.testing.assert_close(logits[0], logits[1], rtol=0, atol=SINGLE)
    torch.testing.assert_close(logits[2], logits[3], **CLOSE)
    assert (logits[0] - logits[2]).abs().max() > 1e-2


@torch.no_grad()
def test_a_layer_may_read_what_another_had_before_the_segment():
    model = recurrent(replace(ALL, source=0))
    ids, states = random_ids(1, 7), [model.read(random_ids(1, 8, seed=seed)) for seed in (5, 6)]
    expected, other = (model(ids, state=state) for state in states)
    layers = (states[0].layers[0], states[1].layers[1])
    found = model(ids, state=states[0].with_layers(layers))
    assert torch.equal(found.logits, expected.logits)
    assert (other.logits - expected.logits).abs().max() > 1e-3
    assert torch.equal(found.state.layers[1].keys[:, :, -12:-4], layers[1].keys[:, :, -8:])
    assert "another layer" in wave_obstacle(model)


def test_a_copy_has_its_own_memory_and_rotation():
    model, ids = recurrent(TOKENS), random_ids(1, NUM_TOKENS)
    twin = copy.deepcopy(model)
    before = model(ids).logits
    torch.testing.assert_close(twin(ids).logits, before, rtol=0, atol=0)
    for layer, memory, rotation in zip(
        twin.anatomy.layers, twin.memory.layers, twin.memory.rotations, strict=True
    ):
        assert layer.__dict__["_port"].parts == (memory, rotation)
    twin.memory.rotations[0].cos.zero_()
    torch.testing.assert_close(model(ids).logits, before, rtol=0, atol=0)
    assert not torch.allclose(twin(ids).logits, before)
    assert not any("rotations" in name for name in model.state_dict())


@torch.no_grad()
def test_a_model_may_change_its_precision_afterwards():
    model, ids = recurrent(TOKENS).float(), random_ids(2, NUM_TOKENS)
    expected = recurrent(TOKENS)(ids).logits
    torch.testing.assert_close(model(ids).logits.double(), expected, rtol=1e-3, atol=1e-3)
    assert model.bfloat16()(ids).logits.dtype == torch.bfloat16
    assert model(ids).logits.isfinite().all()


@pytest.mark.parametrize("family", sorted(REFUSED))
def test_attention_that_cannot_be_entered_is_refused_with_the_reason(family):
    model = backbone(family).train()
    before = type(model), model.config._attn_implementation
    with pytest.raises(BackboneError, match=REFUSED[family]):
        _ = attach(model, ALL, SEGMENT_LEN)
    assert (type(model), model.config._attn_implementation) == before
    assert model.training
    assert not any("_port" in layer.__dict__ for layer in model.modules())


def test_layers_without_attention_are_refused():
    model = backbone("lfm2", layer_types=["conv", "full_attention"])
    with pytest.raises(BackboneError, match=r"Layer 0 .* recurrent"):
        _ = attach(model, ALL, SEGMENT_LEN)


def test_attention_without_a_full_mask_is_refused():
    model = backbone()
    model.set_attn_implementation("flex_attention")
    with pytest.raises(BackboneError, match=r"'flex_attention'.*sdpa"):
        _ = attach(model, ALL, SEGMENT_LEN)


def test_another_kind_of_attention_set_afterwards_is_told():
    model = recurrent(ALL)
    model.set_attn_implementation("eager")
    with pytest.raises(ArmtError, match="did not ask its memory"):
        _ = model(random_ids(1, 5))


def test_a_model_that_was_open_can_be_opened_again():
    model = recurrent(ALL)
    base = type(backbone())(model.config)
    assert attach(base, ALL, SEGMENT_LEN).config._attn_implementation == "armt_sdpa"


def test_the_eager_kind_is_found_beside_the_attention_of_the_family():
    attention = backbone("qwen3").model.layers[0].self_attn
    function = attention_function("eager", attention)
    assert function.__module__ == "transformers.models.qwen3.modeling_qwen3"
