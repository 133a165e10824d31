"""Linear and MLP associative memories of a layer."""

import jaxtyping
import pytest
import torch

from armt import attach
from armt.core.errors import ConfigError
from armt.core.layer_shape import LayerShape
from armt.memories.associative import LinearAssociativeConfig, MLPAssociativeConfig
from tiny import SEGMENT_LEN, assert_same_state, backbone, random_ids, recurrent, rough_memory

D_MODEL = 6
SHAPE = LayerShape(d_model=D_MODEL, num_heads=2, num_kv_heads=1, head_dim=3)
DOUBLE = torch.float64
RULES = ["hebbian", "delta", "ridge"]
CONFIGS = {
    rule: LinearAssociativeConfig(num_memory_tokens=2, d_mem=4, rule=rule) for rule in RULES
} | {"mlp": MLPAssociativeConfig(num_memory_tokens=2, d_mem=4, d_hidden=16)}


@pytest.fixture(params=CONFIGS)
def config(request):
    return CONFIGS[request.param]


def plain_pairs(maps, segment):
    """Keys of length one, values and weights, by the equations."""
    keys = segment @ maps.to_key.weight.T
    logits = segment @ maps.to_gate.weight.T + maps.to_gate.bias
    return keys / keys.norm(dim=-1, keepdim=True), maps.to_value(segment), 1 / (1 + (-logits).exp())


def plain_write(rule, matrix, gram, pairs, penalty):
    """One token after the other, by the equations."""
    for key, value, weight in zip(*pairs, strict=True):
        missing = value if rule == "hebbian" else value - key @ matrix
        direction = key
        if rule == "ridge":
            gram = gram + weight * torch.outer(key, key)
            direction = torch.linalg.inv(gram + penalty * torch.eye(4, dtype=DOUBLE)) @ key
        matrix = matrix + weight * torch.outer(direction, missing)
    return matrix, gram


@torch.no_grad()
@pytest.mark.parametrize("rule", RULES)
def test_each_rule_equals_its_loop(rule):
    memory = rough_memory(CONFIGS[rule], SHAPE)
    segments = torch.randn(3, 2, 5, D_MODEL, dtype=DOUBLE)
    state = memory.init_state(2)
    expected = [(torch.zeros(4, D_MODEL, dtype=DOUBLE), torch.zeros(4, 4, dtype=DOUBLE))] * 2
    for segment in segments:
        state = memory.write(segment, state)
        pairs = plain_pairs(memory.maps, segment)
        for row in range(2):
            own = [part[row] for part in pairs]
            expected[row] = plain_write(rule, *expected[row], own, memory.config.ridge_penalty)
            torch.testing.assert_close(state.matrix[row], expected[row][0])
            if rule == "ridge":
                torch.testing.assert_close(state.gram[row], expected[row][1])
    query = torch.nn.functional.normalize(memory.maps.to_query(segments[0]), dim=-1)
    found = memory.read(segments[0], state)
    torch.testing.assert_close(found, segments[0] + query @ state.matrix)


@torch.no_grad()
def test_the_perceptron_recalls_the_last_token_written():
    memory = rough_memory(CONFIGS["mlp"], SHAPE)
    memory.maps.to_query.weight = memory.maps.to_key.weight
    _ = memory.maps.to_gate.weight.zero_(), memory.maps.to_gate.bias.fill_(40.0)
    token = torch.randn(1, 1, D_MODEL, dtype=DOUBLE)
    found = memory.read(token, memory.write(token, memory.init_state(1))) - token
    torch.testing.assert_close(found, memory.maps.to_value(token))


def test_a_fresh_memory_stores_nothing(config):
    memory, hidden = config.build(SHAPE), torch.randn(2, 3, D_MODEL)
    start = memory.init_state(2)
    state = memory.write(hidden, memory.write(hidden, start))
    torch.testing.assert_close(memory.read(hidden, state), hidden, rtol=0, atol=0)
    for name in set(start.tensors()) - {"gram"}:
        assert torch.equal(state.tensors()[name], start.tensors()[name])


def test_values_learn_from_the_start(config):
    model, ids = attach(backbone(), config, SEGMENT_LEN), random_ids(1, 3 * SEGMENT_LEN)
    model(ids, labels=ids).loss.backward()
    for memory in model.memory.mechanisms:
        assert memory.maps.to_value.weight.grad.abs().sum() > 0


def test_hidden_units_of_a_key_start_as_a_vector_of_about_length_one():
    first = MLPAssociativeConfig(d_mem=32, d_hidden=1000).build(SHAPE).first.detach()
    keys = torch.nn.functional.normalize(torch.randn(50, 32), dim=-1)
    lengths = (keys @ first).relu().norm(dim=-1)
    torch.testing.assert_close(lengths, torch.ones(50), rtol=0.2, atol=0.0)


def test_every_text_starts_from_the_same_perceptron():
    memory = rough_memory(CONFIGS["mlp"], SHAPE)
    state = memory.init_state(3)
    assert torch.equal(state.first, memory.first.expand(3, -1, -1))
    assert state.second.abs().sum() == 0


@pytest.mark.parametrize("rule", ["hebbian", "delta"])
def test_waves_equal_the_loop_for_the_rules_without_a_card(rule):
    ids, config = random_ids(2, 4 * SEGMENT_LEN + 1), CONFIGS[rule]
    loop, waves = (
        recurrent(config, schedule=schedule, num_hidden_layers=3)(ids)
        for schedule in ("sequential", "waves")
    )
    torch.testing.assert_close(waves.logits, loop.logits, rtol=1e-9, atol=1e-11)
    assert_same_state(waves.state, loop.state, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_state_has_at_least_single_precision(config, dtype):
    memory, hidden = rough_memory(config, SHAPE, dtype), torch.randn(2, 4, D_MODEL).to(dtype)
    state = memory.write(hidden, memory.write(hidden, memory.init_state(2)))
    expected = torch.promote_types(dtype, torch.float32)
    assert {value.dtype for value in state.tensors().values()} == {expected}
    assert memory.read(hidden, state).dtype == dtype


def test_autocast_keeps_the_state_in_single_precision(config):
    memory, hidden = rough_memory(config, SHAPE, torch.float32), torch.randn(2, 4, D_MODEL)
    with torch.autocast("cpu", torch.bfloat16):
        state = memory.write(hidden, memory.init_state(2))
        found = memory.read(hidden, state)
    assert {value.dtype for value in state.tensors().values()} == {torch.float32}
    exact = memory.read(hidden, memory.write(hidden, memory.init_state(2)))
    torch.testing.assert_close(found, exact, rtol=0.1, atol=0.1)


def test_the_states_have_the_sizes_that_are_told():
    for rule in RULES:
        state = CONFIGS[rule].build(SHAPE).init_state(3)
        assert state.matrix.shape == (3, 4, D_MODEL)
        assert state.gram.shape == (3, 4, 4 if rule == "ridge" else 0)
    state = CONFIGS["mlp"].build(SHAPE).init_state(3)
    assert (state.first.shape, state.second.shape) == ((3, 4, 16), (3, 16, D_MODEL))


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        (LinearAssociativeConfig, {"d_mem": 0}, "d_mem"),
        (LinearAssociativeConfig, {"num_memory_tokens": 0}, "num_memory_tokens"),
        (LinearAssociativeConfig, {"ridge_penalty": 0.0}, "ridge_penalty"),
        (MLPAssociativeConfig, {"d_hidden": 0}, "d_hidden"),
        (MLPAssociativeConfig, {"d_mem": 0}, "d_mem"),
    ],
)
def test_wrong_numbers_are_told(kind, options, said):
    with pytest.raises(ConfigError, match=said):
        _ = kind(**options)


def test_wrong_rules_are_told(monkeypatch):
    with pytest.raises(ConfigError, match="rule"):
        _ = LinearAssociativeConfig.from_dict({"rule": "odd"})
    # The checker of shapes would object to the type first; outside tests there is none.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ConfigError, match="Got 'odd'"):
        _ = LinearAssociativeConfig(rule="odd")
