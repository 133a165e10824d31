"""Waves and the sequential schedule: one meaning, to the last digit but rounding."""

import copy
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft import PEFT_TYPE_TO_CONFIG_MAPPING, PeftType, get_peft_model
from safetensors.torch import load_file, load_model

from armt import ARMTConfig, attach
from armt.backbones.cells import find_difference, join_rows
from armt.core.errors import ConfigError
from armt.recurrence.choose_schedule import NOT_IN_WAVES, choose_waves, wave_obstacle
from tiny import (
    FAMILIES,
    SEGMENT_LEN,
    assert_same_state,
    backbone,
    random_ids,
    recurrent,
)

MEMORY = ARMTConfig(num_memory_tokens=2, d_mem=4)
NUM_LAYERS = 3
WAVING = sorted(set(FAMILIES) - set(NOT_IN_WAVES))
CLOSE = {"rtol": 1e-10, "atol": 1e-10}
SHAPES = ((1, 4), (1, 8), (3, 12), (3, 30), (1, 21))


def layers(family):
    return {"n_layer": NUM_LAYERS} if family == "gpt2" else {"num_hidden_layers": NUM_LAYERS}


def pair(family="llama", memory=MEMORY, bptt_depth=None, **options):
    """A model that runs segment by segment, and its copy that runs in waves."""
    model = recurrent(memory, family, bptt_depth=bptt_depth, **layers(family), **options)
    return with_schedule(model, "sequential"), with_schedule(copy.deepcopy(model), "waves")


def with_schedule(model, schedule):
    model.recurrence = replace(model.recurrence, schedule=schedule)
    return model


def assert_same_gradients(found, expected):
    wanted = dict(expected.named_parameters())
    num_compared = 0
    for name, parameter in found.named_parameters():
        gradient = wanted[name].grad
        if gradient is None:
            assert parameter.grad is None or not parameter.grad.any(), name
            continue
        assert torch.allclose(parameter.grad, gradient, **CLOSE), name
        num_compared += 1
    assert num_compared > 10


@pytest.mark.parametrize("family", WAVING)
def test_waves_equal_the_loop(family):
    loop, waves = pair(family)
    for num_rows, num_tokens in SHAPES:
        ids = random_ids(num_rows, num_tokens)
        before = [model(ids[:, : SEGMENT_LEN + 1]).state.detach() for model in (loop, waves)]
        outputs = [
            model(ids, labels=ids, state=state, logits_to_keep=0)
            for model, state in zip((loop, waves), before, strict=True)
        ]
        torch.testing.assert_close(outputs[1].logits, outputs[0].logits, **CLOSE)
        assert_same_state(outputs[1].state, outputs[0].state, **CLOSE)
        for model, output in zip((loop, waves), outputs, strict=True):
            model.zero_grad()
            output.loss.backward()
        assert_same_gradients(waves, loop)


@pytest.mark.parametrize("family", WAVING)
def test_waves_stray_no_further_than_the_loop_under_autocast(family):
    """Both round to half precision, but not in the same places."""
    looped, waved = (model.float() for model in pair(family))
    ids = random_ids(2, 24)
    exact = looped(ids).logits
    with torch.autocast("cpu", torch.bfloat16):
        strayed = (looped(ids).logits - exact).norm()
        assert 0 < (waved(ids).logits - exact).norm() < 3 * strayed
        loss = waved(ids, labels=ids).loss
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in waved.parameters())


@pytest.mark.parametrize("bptt_depth", [0, 1, 2])
def test_a_cut_falls_where_the_loop_cuts(bptt_depth):
    loop, waves = pair(bptt_depth=bptt_depth)
    uncut = pair()[0]
    ids = random_ids(2, 26)
    for model in (loop, waves, uncut):
        model(ids, labels=ids).loss.backward()
    assert_same_gradients(waves, loop)
    name = "model.embed_tokens.weight"
    assert not torch.allclose(waves.get_parameter(name).grad, uncut.get_parameter(name).grad)


def test_masks_that_differ_from_layer_to_layer_ride_along():
    options = {
        "sliding_window": 2,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    }
    loop, waves = pair("gemma3_text", **options)
    full = pair("gemma3_text", sliding_window=64)[0]
    ids = random_ids(2, 21)
    expected = loop(ids).logits
    torch.testing.assert_close(waves(ids).logits, expected, **CLOSE)
    assert (full(ids).logits - expected).abs().max() > 1e-3


def test_carried_text_is_tapped_in_passing():
    loop, waves = pair()
    ids = random_ids(2, 22)
    outputs = [
        model(ids, labels=ids, carry_len=2 * SEGMENT_LEN, logits_to_keep=1)
        for model in (loop, waves)
    ]
    assert_same_state(outputs[1].state, outputs[0].state, **CLOSE)
    assert_same_state(outputs[1].state, loop(ids[:, : 2 * SEGMENT_LEN]).state, **CLOSE)
    for output in outputs:
        (output.loss + sum(each.association.sum() for each in output.state.layers)).backward()
    assert_same_gradients(waves, loop)


def test_checkpointed_waves_have_the_same_gradients():
    loop, waves = pair()
    ids = random_ids(2, 26)
    for model in (loop, waves):
        _ = model.train()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        waves.gradient_checkpointing_enable()
    for model in (loop, waves):
        model(ids, labels=ids).loss.backward()
    assert_same_gradients(waves, loop)
    assert waves.anatomy.layers[0].gradient_checkpointing, "the setting was put back"


@given(
    pieces=st.lists(st.integers(0, 3 * SEGMENT_LEN), min_size=1, max_size=5),
    num_rows=st.sampled_from((1, 3)),
)
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_reading_goes_on_over_pieces_and_calls(pieces, num_rows):
    loop, waves = pair()
    ids = random_ids(num_rows, sum(pieces))
    parts = list(ids.split(pieces, dim=1))
    expected = loop.read(ids, loop.init_state(num_rows))
    assert_same_state(waves.read(iter(parts), waves.init_state(num_rows)), expected, **CLOSE)
    state = waves.init_state(num_rows)
    for part in parts:
        state = waves.read(part, state)
    assert_same_state(state, expected, **CLOSE)


def test_a_model_reads_text_after_text_of_the_same_shape():
    loop, waves = pair()
    for seed in range(3):
        ids = random_ids(2, 90 * SEGMENT_LEN + seed, seed=seed)
        assert_same_state(waves.read(ids), loop.read(ids), **CLOSE)
    again = copy.deepcopy(waves)
    with torch.no_grad():
        again.get_input_embeddings().weight.mul_(1.5)
    assert_same_state(waves.read(ids), loop.read(ids), **CLOSE)
    with pytest.raises(AssertionError):
        assert_same_state(again.read(ids), loop.read(ids), **CLOSE)


def test_reading_in_inference_mode_leaves_the_model_free():
    loop, waves = pair()
    ids = random_ids(2, 21)
    expected = loop.read(ids)
    with torch.inference_mode():
        first = waves.read(ids)
    assert_same_state(first, expected, **CLOSE)
    assert_same_state(waves.read(ids), expected, **CLOSE)
    with torch.inference_mode():
        assert_same_state(waves.read(ids), expected, **CLOSE)
    for model in (loop, waves):
        model(ids, labels=ids).loss.backward()
    assert_same_gradients(waves, loop)


def test_ragged_rows_are_read_by_the_loop():
    loop, waves = pair()
    ids = random_ids(2, 11)
    mask = torch.ones_like(ids)
    mask[1, :3] = 0
    before = [model(ids, attention_mask=mask).state for model in (loop, waves)]
    more = random_ids(2, 17, seed=2)
    found = [model.read(more, state) for model, state in zip((loop, waves), before, strict=True)]
    assert_same_state(found[1], found[0], **CLOSE)


def test_generation_goes_on_from_a_state_read_in_waves():
    loop, waves = pair()
    ids = random_ids(2, 19)
    answers = [
        model.generate(ids[:, :3], state=model.read(ids), max_new_tokens=9, do_sample=False)
        for model in (loop, waves)
    ]
    assert torch.equal(*answers)


def test_the_layers_become_views_and_stay_themselves(tmp_path):
    loop, waves = pair()
    names = list(waves.state_dict())
    _ = waves.read(random_ids(1, 12))
    weights = [layer.mlp.down_proj.weight for layer in waves.anatomy.layers]
    assert len({weight.untyped_storage().data_ptr() for weight in weights}) == 1
    assert list(waves.state_dict()) == names
    for name, value in loop.state_dict().items():
        assert torch.equal(waves.state_dict()[name], value), name
    waves.save_pretrained(tmp_path)
    again = type(waves).from_pretrained(tmp_path)
    torch.testing.assert_close(again(random_ids(1, 12)).logits, loop(random_ids(1, 12)).logits)
    with torch.no_grad():
        weights[0].add_(1.0)
    assert not torch.allclose(waves(random_ids(1, 12)).logits, loop(random_ids(1, 12)).logits)


def test_others_save_and_load_layers_that_stand_side_by_side(tmp_path):
    _, waves = pair()
    _ = waves.read(random_ids(1, 12))
    accelerator = Accelerator(cpu=True)
    accelerator.save_model(waves, str(tmp_path))  # keeps one name of each storage
    saved = load_file(tmp_path / "model.safetensors")
    assert saved.keys() == waves.state_dict().keys()
    expected = waves(random_ids(1, 12)).logits
    with torch.no_grad():
        for weight in waves.parameters():
            _ = weight.add_(1.0)
    _ = load_model(waves, tmp_path / "model.safetensors")
    torch.testing.assert_close(waves(random_ids(1, 12)).logits, expected, rtol=0, atol=0)


def test_variables_are_handed_out_as_such():
    _, waves = pair()
    _ = waves.read(random_ids(1, 12))
    variables = waves.state_dict(keep_vars=True)
    for name, parameter in waves.named_parameters():
        assert variables[name] is parameter


def test_rows_are_joined_once():
    rows = [torch.nn.Parameter(torch.randn(3, 2)) for _ in range(4)]
    values = [row.detach().clone() for row in rows]
    with torch.no_grad():
        stack = join_rows(rows)
        assert join_rows(rows).data_ptr() == stack.data_ptr() == rows[0].data_ptr()
    for row, value in zip(rows, values, strict=True):
        assert torch.equal(row, value)
    factor = torch.randn(4, 3, 2)
    (join_rows(rows) * factor).sum().backward()
    for row, each in zip(rows, factor, strict=True):
        torch.testing.assert_close(row.grad, each)


def test_lora_rides_along():
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "down_proj"])
    answers = []
    for model in pair():
        _ = torch.manual_seed(0)
        wrapped = peft.get_peft_model(model, config)
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                _ = torch.nn.init.normal_(parameter)
        ids = random_ids(2, 18)
        output = wrapped(input_ids=ids, labels=ids)
        output.loss.backward()
        gradients = [each.grad for name, each in wrapped.named_parameters() if "lora_" in name]
        answers.append((output.loss, gradients))
    torch.testing.assert_close(answers[1][0], answers[0][0], **CLOSE)
    torch.testing.assert_close(answers[1][1], answers[0][1], **CLOSE)


def test_what_cannot_wave_is_told():
    with pytest.raises(ConfigError, match="which experts run"):
        attach(backbone("mixtral"), MEMORY, SEGMENT_LEN, schedule="waves")
    model = recurrent(MEMORY, **layers("llama"))
    assert wave_obstacle(model) is None
    model.anatomy.layers[1].mlp.act_fn = torch.nn.ReLU()
    assert wave_obstacle(model) == "its layers are built of different parts"
    with pytest.raises(ConfigError, match="different parts"):
        with_schedule(model, "waves")(random_ids(1, 9))
    other = recurrent(MEMORY, **layers("llama"))
    other.anatomy.layers[2].self_attn.scaling = 0.5
    assert "scaling" in find_difference(other.anatomy.layers, "sdpa")
    other = recurrent(MEMORY, **layers("llama"))
    _ = other.anatomy.layers[2].mlp.down_proj.weight.requires_grad_(False)
    assert "down_proj" in find_difference(other.anatomy.layers, "sdpa")


@pytest.mark.parametrize(
    ("kind", "options"), [("loha", {}), ("hra", {"r": 2}), ("c3a", {"block_size": 8})]
)
def test_adapters_that_do_not_run_side_by_side_are_told(kind, options):
    loop, waves = pair()
    config = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(kind.upper())]
    ids = random_ids(1, 12)
    for model in (loop, waves):
        _ = get_peft_model(model, config(target_modules=["q_proj"], **options)).double()
    assert f"of the kind '{kind}'" in wave_obstacle(waves)
    with pytest.raises(ConfigError, match="do not run side by side"):
        _ = waves(ids)
    with_schedule(waves, "auto").load_state_dict(loop.state_dict())
    torch.testing.assert_close(waves(ids).logits, loop(ids).logits, **CLOSE)


COMPILED_BY_ITS_OWNER = """
import torch
from armt import ARMTConfig, attach
from tiny import backbone, random_ids
model = attach(backbone(), ARMTConfig(num_memory_tokens=2, d_mem=4), 4, schedule="waves")
ids = random_ids(1, 12)
expected = model(ids, labels=ids).loss
model.compile(backend="eager")
torch.testing.assert_close(model(ids, labels=ids).loss, expected)
"""


def test_waves_run_inside_a_model_that_its_owner_compiled():
    # in a process of its own, where no shapes are checked: the checker does not bear to be traced
    folders = [str(Path(__file__).parents[1]), *sys.path]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
    command = [sys.executable, "-c", COMPILED_BY_ITS_OWNER]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_a_schedule_is_one_of_three():
    with pytest.raises(ConfigError, match="'parallel'"):
        attach(backbone(), MEMORY, SEGMENT_LEN, schedule="parallel")


def test_auto_runs_segment_by_segment_on_a_cpu():
    model = recurrent(MEMORY)
    assert model.recurrence.schedule == "auto"
    with torch.no_grad():
        assert choose_waves(model) is None
