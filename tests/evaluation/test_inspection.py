import math
from collections import defaultdict

import pytest
import torch

from armt import ARMTConfig, attach
from armt.backbones.tiny import TinyBackboneConfig
from armt.core.errors import DataError
from armt.core.registry import MEMORIES
from armt.evaluation.inspection import COSINE, NORM, SHARE, WHOLE_MODEL, inspect_text
from armt.evaluation.reports.inspection import draw_inspection, layer_rows

CONFIGS = {card.name: card.tiny for card in MEMORIES if card.tiny is not None}
TOLD = {
    "armt": {"write_gate"}, "linear_associative": {"write_gate"},
    "mlp_associative": {"write_gate"}, "infini": {"read_gate"},
    "lm2": {"write_gate", "forget_gate"}, "mplus": {"retrieved", "reach"},
    "memlong": {"retrieved"}, "camelot": {"retrieved"}, "hmt": {"reach"}, "rmt_r": {"reach"},
}  # fmt: skip
"""What memories tell besides the figures that all have."""
VOCAB, LENGTH, NUM_SEGMENTS, NUM_LAYERS = 31, 6, 4, 2


def model_with(memory):
    """A tiny model with a memory that is not neutral."""
    shape = TinyBackboneConfig(
        d_model=16, num_layers=NUM_LAYERS, num_heads=2, d_ffn=16, max_positions=64, init_std=0.2
    )
    torch.manual_seed(0)
    model = attach(shape.build(VOCAB, seed=0), memory, LENGTH)
    with torch.no_grad():
        for value in model.memory.parameters():
            value.add_(0.3 * torch.randn_like(value))
    return model.train()


def text(num_rows=1):
    size = (num_rows, NUM_SEGMENTS * LENGTH)
    return torch.randint(VOCAB, size, generator=torch.Generator().manual_seed(1))


def by_figure(findings):
    """The values of each figure by segment and layer."""
    found = defaultdict(dict)
    for each in findings:
        found[each.figure][each.segment, each.layer] = each.value
    return found


@pytest.mark.parametrize("name", CONFIGS)
def test_every_memory_can_be_inspected_and_is_read_as_ever(name):
    model, ids = model_with(CONFIGS[name]), text()
    found = inspect_text(model, ids)
    assert model.training
    state = model.eval().read(ids)
    for seen, layer in zip(found.states, state.layers, strict=True):
        for field, value in layer.tensors().items():
            torch.testing.assert_close(seen.tensors()[field], value, msg=field)
    figures = by_figure(found.findings)
    assert all(math.isfinite(each.value) for each in found.findings)
    assert set(figures) - {SHARE, NORM, COSINE} == TOLD.get(name, set())
    places = {(s, n) for s in range(1, NUM_SEGMENTS + 1) for n in range(NUM_LAYERS)}
    assert set(figures[SHARE]) == places
    assert all(figures[SHARE][1, layer] == 0 for layer in range(NUM_LAYERS))
    is_idle = name == "none"
    assert is_idle == all(value == 0 for value in figures[SHARE].values())
    for gate in ("write_gate", "read_gate", "forget_gate"):
        assert all(0 < value < 1 for value in figures[gate].values())


def test_a_share_is_the_change_beside_the_output():
    model, ids = model_with(ARMTConfig(num_memory_tokens=2, d_mem=4)), text()
    outputs = []
    handle = model.anatomy.layers[-1].register_forward_hook(
        lambda module, args, output: outputs.append(output[:, :LENGTH])
    )
    state = model.eval().read(ids[:, :LENGTH])
    outputs.clear()
    with torch.no_grad():
        for start in (state, None):
            _ = model(ids[:, LENGTH : 2 * LENGTH], state=start)
    handle.remove()
    expected = float((outputs[0] - outputs[1]).norm() / outputs[0].norm())
    figures = by_figure(inspect_text(model, ids).findings)
    assert figures[SHARE][2, NUM_LAYERS - 1] == pytest.approx(expected, rel=1e-5)


def test_a_norm_is_that_of_the_state_before_the_segment():
    model, ids = model_with(ARMTConfig(num_memory_tokens=2, d_mem=4)), text()
    figures = by_figure(inspect_text(model, ids).findings)
    state = model.eval().read(ids[:, : 2 * LENGTH])
    assert figures[NORM][1, 0] == 0
    expected = float(state.layers[1].association.norm())
    assert figures[NORM][3, 1] == pytest.approx(expected, rel=1e-5)


def test_gates_are_those_of_the_write():
    model = model_with(ARMTConfig(num_memory_tokens=2, d_mem=4, gate="hard", gate_bias=-90.0))
    figures = by_figure(inspect_text(model, text()).findings)
    assert set(figures["write_gate"].values()) == {0.0}
    assert set(figures[SHARE].values()) == {0.0}


def test_figures_are_means_over_rows():
    model, ids = model_with(CONFIGS["rmt"]), text(2)
    both = inspect_text(model, ids).findings
    rows = [inspect_text(model, row.unsqueeze(0)).findings for row in ids]
    for mean, first, second in zip(both, *rows, strict=True):
        assert mean[:3] == first[:3] == second[:3]
        assert mean.value == pytest.approx((first.value + second.value) / 2, rel=1e-4, abs=1e-6)


def test_a_memory_of_the_whole_model_has_one_state():
    figures = by_figure(inspect_text(model_with(CONFIGS["hmt"]), text()).findings)
    assert {layer for _, layer in figures[NORM]} == {WHOLE_MODEL}
    reach = figures["reach"]
    assert reach[1, WHOLE_MODEL] == pytest.approx(1)
    assert 1 < reach[3, WHOLE_MODEL] < 3


def test_a_long_term_memory_hands_out_what_it_has():
    figures = by_figure(inspect_text(model_with(CONFIGS["mplus"]), text()).findings)
    # a pool of three forgets from the second segment on; two tokens a segment are written
    counts = [figures["retrieved"][number, 0] for number in range(1, NUM_SEGMENTS + 1)]
    assert counts == [0, 0, 1, 3]


def test_nothing_is_left_on_the_model():
    model = model_with(CONFIGS["armt"])
    _ = inspect_text(model, text())
    assert not any("write" in vars(memory) for memory in model.memory.mechanisms)
    assert not any(layer._forward_hooks for layer in model.anatomy.layers)


def test_a_text_shorter_than_a_segment_is_refused():
    with pytest.raises(DataError, match=r"6 tokens each. Got a text of 5 tokens"):
        _ = inspect_text(model_with(CONFIGS["armt"]), text()[:, :5])


def test_findings_are_drawn_and_told_by_layer(tmp_path):
    findings = inspect_text(model_with(CONFIGS["hmt"]), text()).findings
    assert [row[0] for row in layer_rows(findings)] == ["model", "0", "1"]
    draw_inspection(findings, tmp_path / "found.png")
    assert (tmp_path / "found.png").read_bytes().startswith(b"\x89PNG")
