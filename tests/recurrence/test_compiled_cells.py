"""Cells that run as what was traced of them: one meaning with the plain ones, in both schedules."""

import copy
from dataclasses import replace

import pytest
import torch

from armt import ARMTConfig, attach
from armt.backbones.compiled import Compiler
from armt.recurrence.choose_schedule import choose_compiler, choose_loop
from armt.recurrence.segment_loop import SegmentLoop
from armt.recurrence.wave_loop import WaveLoop
from compiling import only_trace, use_compiler
from tiny import SEGMENT_LEN, assert_same_state, backbone, random_ids, recurrent

MEMORY = ARMTConfig(num_memory_tokens=2, d_mem=4)
CLOSE = {"rtol": 1e-10, "atol": 1e-10}
SCHEDULES = ["sequential", "waves"]
GRADIENT_CUTS = {
    "hard": ARMTConfig(num_memory_tokens=3, d_mem=4, gate="hard", gate_bias=-2.4),
    "published": ARMTConfig.published(num_memory_tokens=3, d_mem=4),
}
"""Memories within which some gradients end; the laws trace one form of each memory."""


@pytest.fixture
def traced(monkeypatch):
    """What was traced so far; it runs as it is, and is not compiled."""
    use_compiler(monkeypatch)
    return only_trace(monkeypatch)


def pair(family="llama", memory=MEMORY, **options):
    """A model whose cells run operation by operation, and its copy whose cells are compiled."""
    plain = recurrent(memory, family, **options)
    return plain, as_compiled(copy.deepcopy(plain))


def as_compiled(model):
    model.recurrence = replace(model.recurrence, is_compiled=True)
    return model


def gradients(model, output):
    model.zero_grad()
    output.loss.backward()
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for name, parameter in model.named_parameters()
    }


def assert_same_outputs(models, ids, states=(None, None), close=CLOSE, **options):
    """Checks logits, states, loss and every gradient of two models on one text."""
    outputs = [
        model(ids, labels=ids, state=state, logits_to_keep=0, **options)
        for model, state in zip(models, states, strict=True)
    ]
    torch.testing.assert_close(outputs[1].logits, outputs[0].logits, **close)
    assert_same_state(outputs[1].state, outputs[0].state, **close)
    if ids.shape[1] > 1:
        expected, found = (gradients(*each) for each in zip(models, outputs, strict=True))
        assert sum(bool(gradient.any()) for gradient in expected.values()) > 10
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, **close, msg=name)
    return outputs


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_compiled_cells_equal_the_plain_ones(traced, family, schedule):
    models = pair(family, schedule=schedule)
    for num_tokens in (1, SEGMENT_LEN, 21):
        before = [model.read(random_ids(2, 9, seed=2)) for model in models]
        _ = assert_same_outputs(models, random_ids(2, num_tokens), before)
    assert traced


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", sorted(GRADIENT_CUTS))
def test_gradients_end_where_the_memory_ends_them(traced, name, schedule):
    _ = assert_same_outputs(pair(memory=GRADIENT_CUTS[name], schedule=schedule), random_ids(2, 15))
    assert traced


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_masks_that_differ_from_layer_to_layer(traced, schedule):
    options = {
        "num_hidden_layers": 3,
        "sliding_window": 2,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    }
    # the norms of this family run in single precision
    close = {"rtol": 1e-6, "atol": 1e-6}
    models = pair("gemma3_text", schedule=schedule, **options)
    _ = assert_same_outputs(models, random_ids(2, 15), close=close)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_cuts_and_carried_text(traced, schedule):
    models = pair(schedule=schedule, bptt_depth=1)
    ids = random_ids(2, 5 * SEGMENT_LEN + 2)
    _ = assert_same_outputs(models, ids)
    _ = assert_same_outputs(models, ids, carry_len=2 * SEGMENT_LEN)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_ragged_rows(traced, schedule):
    models = pair(schedule=schedule)
    ids = random_ids(3, 14)
    mask = torch.ones_like(ids)
    mask[0, :3], mask[2, -6:] = 0, 0
    outputs = [model(ids, attention_mask=mask, logits_to_keep=0) for model in models]
    torch.testing.assert_close(outputs[1].logits, outputs[0].logits, **CLOSE)
    assert_same_state(outputs[1].state, outputs[0].state, **CLOSE)


def input_lens(traced):
    """The lengths of the hidden states that each traced cell takes, in order."""
    lens = []
    for module in traced:
        values = [node.meta["val"] for node in module.graph.nodes if node.op == "placeholder"]
        lens += [value.shape[1] for value in values if value.dim() == 3 and value.shape[2] == 16]
    return lens


def test_parts_of_segments_are_filled_up_to_few_lengths(traced, monkeypatch):
    monkeypatch.setattr("armt.recurrence.schedule._COMPILED_LEN", 4)
    models = pair("gpt2", segment_len=10)
    for num_tokens in range(1, 10):
        _ = assert_same_outputs(models, random_ids(2, num_tokens))
    assert input_lens(traced) == [4, 8, 10]
    _ = assert_same_outputs(models, random_ids(2, 10))
    assert input_lens(traced) == [4, 8, 10, 10 + 2]


def test_a_part_is_never_filled_beyond_a_segment(traced):
    models = pair("gpt2", segment_len=10)
    _ = assert_same_outputs(models, random_ids(2, 7))
    assert input_lens(traced) == [10]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_form_is_traced_once_for_all_layers_and_segments(traced, schedule):
    models = pair(schedule=schedule, num_hidden_layers=3)
    for seed in range(3):
        _ = assert_same_outputs(models, random_ids(2, 6 * SEGMENT_LEN + 1, seed=seed))
    # the part at the end, and whole segments, or waves, from a state with a gradient and without
    assert len(traced) == 3


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_weights_that_were_trained_are_the_ones_that_run(traced, schedule):
    models = pair(schedule=schedule)
    ids = random_ids(2, 14)
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1) for model in models]
    losses = []
    for _ in range(3):
        losses.append(float(assert_same_outputs(models, ids)[0].loss.detach()))
        for optimizer in optimizers:
            optimizer.step()
    assert losses[2] < losses[1] < losses[0]


@pytest.mark.parametrize(("schedule", "num_forms"), [("sequential", 2), ("waves", 1)])
def test_reading_is_compiled_too(traced, schedule, num_forms):
    plain, compiled = pair(schedule=schedule, num_hidden_layers=3)
    for seed in range(2):
        ids = random_ids(2, 70 * SEGMENT_LEN + seed, seed=seed)
        assert_same_state(compiled.read(ids), plain.read(ids), **CLOSE)
        assert len(traced) == num_forms
    for model in (plain, compiled):
        with torch.no_grad():
            for parameter in model.parameters():
                _ = parameter.mul_(1.1)
    ids = random_ids(2, 5 * SEGMENT_LEN)
    assert_same_state(compiled.read(ids), plain.read(ids), **CLOSE)
    assert len(traced) == num_forms


def test_generation_goes_on_from_a_state_that_compiled_cells_left(traced):
    answers = [
        model.generate(
            random_ids(1, 3), state=model.read(random_ids(1, 19)), max_new_tokens=9, do_sample=False
        )
        for model in pair()
    ]
    assert torch.equal(*answers)
    assert traced


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_noise_is_drawn_anew_and_in_training_alone(traced, schedule):
    memory = replace(MEMORY, gate_noise=0.5)
    plain, compiled = pair(memory=memory, schedule=schedule)
    ids = random_ids(2, 14)
    _ = assert_same_outputs((plain, compiled), ids)
    _ = compiled.train()
    noisy = [compiled(ids).logits for _ in range(2)]
    assert not torch.allclose(*noisy)
    _ = compiled.eval()
    _ = assert_same_outputs((plain, compiled), ids)


def test_autocast_is_a_form_of_its_own(traced):
    models = [model.float() for model in pair()]
    ids = random_ids(2, 14)
    close = {"rtol": 1e-5, "atol": 1e-5}
    exact = assert_same_outputs(models, ids, close=close)[1].logits
    num_forms = len(traced)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = [model(ids).logits.float() for model in models]
    assert len(traced) == 2 * num_forms
    torch.testing.assert_close(outputs[1], outputs[0], rtol=0.05, atol=0.05)
    assert (outputs[1] - exact).abs().max() > 1e-4
    _ = assert_same_outputs(models, ids, close=close)


def test_a_copy_compiles_for_itself(traced):
    plain, compiled = pair()
    ids = random_ids(2, 9)
    _ = compiled(ids)
    num_forms, other = len(traced), copy.deepcopy(compiled)
    with torch.no_grad():
        other.get_input_embeddings().weight.mul_(1.5)
        for parameter in other.memory.parameters():
            _ = parameter.mul_(1.5)
    plain.load_state_dict(other.state_dict())
    torch.testing.assert_close(other(ids).logits, plain(ids).logits, **CLOSE)
    assert len(traced) == 2 * num_forms
    assert not torch.allclose(compiled(ids).logits, plain(ids).logits)


@pytest.fixture
def on_gpu(monkeypatch):
    """Makes models say that they stand on a GPU."""

    def pretend(model):
        device = property(lambda _: torch.device("cuda"))
        monkeypatch.setattr(type(model), "device", device, raising=False)
        return model

    return pretend


def test_a_gpu_compiles_where_it_is_asked_to(on_gpu):
    plain, compiled = pair()
    assert choose_compiler(compiled) is None, "a CPU runs operation by operation"
    _ = on_gpu(compiled)
    assert choose_compiler(plain) is None
    compiler = choose_compiler(compiled)
    assert isinstance(compiler, Compiler)
    assert choose_compiler(compiled) is compiler
    assert compiled.schedule().compiler is compiler
    assert compiled.schedule(may_compile=False).compiler is None


def test_a_gpu_reads_in_waves_what_is_narrow_or_long(on_gpu, monkeypatch):
    size = SEGMENT_LEN * 16**2
    monkeypatch.setattr("armt.recurrence.choose_schedule._NARROW_SIZE", 4 * size)
    monkeypatch.setattr("armt.recurrence.choose_schedule._WIDE_SIZE", 8 * size)
    plain, compiled = (on_gpu(model) for model in pair(schedule="auto", num_hidden_layers=3))
    with torch.no_grad():
        for num_rows, least in ((1, 1), (3, 1), (4, 12), (7, 12)):
            assert choose_loop(compiled, num_rows) is WaveLoop
            assert choose_loop(compiled, num_rows, least) is WaveLoop
            assert choose_loop(compiled, num_rows, least - 1) is SegmentLoop
        assert choose_loop(compiled, 8) is SegmentLoop
        assert choose_loop(plain, 8, 1) is WaveLoop
        for schedule, loop in (("waves", WaveLoop), ("sequential", SegmentLoop)):
            compiled.recurrence = replace(compiled.recurrence, schedule=schedule)
            assert [choose_loop(compiled, num_rows, 1) for num_rows in (1, 8)] == [loop, loop]


def test_what_cannot_be_compiled_runs_operation_by_operation(on_gpu):
    experts = as_compiled(on_gpu(recurrent(MEMORY, "mixtral")))
    assert choose_compiler(experts) is None
    checkpointed = as_compiled(on_gpu(recurrent(MEMORY)))
    checkpointed.gradient_checkpointing_enable()
    assert choose_compiler(checkpointed.train()) is None
    assert choose_compiler(checkpointed.eval()) is not None


def test_the_wish_is_kept_with_the_model(tmp_path):
    model = attach(backbone(), MEMORY, SEGMENT_LEN, is_compiled=True)
    assert model.recurrence.is_compiled
    model.save_pretrained(tmp_path)
    assert type(model).from_pretrained(tmp_path).recurrence.is_compiled


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")  # torch's compiler warns of itself
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_compiled_code_equals_the_plain_cells(monkeypatch, schedule):
    use_compiler(monkeypatch)
    # norms run in single precision, and fused they round in another order
    close = {"rtol": 1e-5, "atol": 1e-6}
    models = pair(schedule=schedule)
    _ = assert_same_outputs(models, random_ids(2, 2 * SEGMENT_LEN + 1), close=close)
    ids = random_ids(1, 2 * SEGMENT_LEN)
    assert_same_state(models[1].read(ids), models[0].read(ids), **close)
