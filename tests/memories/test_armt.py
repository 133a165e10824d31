"""ARMT against the published code's formulas, written anew here as loops over tokens and heads."""

import math

import jaxtyping
import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config

from armt import ARMTConfig, attach
from armt.core.errors import ConfigError
from armt.core.layer_shape import LayerShape
from armt.memories.armt import ARMTState
from tiny import backbone, isolated_logits, random_ids, recurrent, rough_memory

D_MODEL = 6
SHAPE = LayerShape(d_model=D_MODEL, num_heads=2, num_kv_heads=1, head_dim=3)
DOUBLE = torch.float64
CONFIGS = {
    "default": ARMTConfig(num_memory_tokens=3, d_mem=4),
    "first_published": ARMTConfig.published(num_memory_tokens=3, d_mem=4),
    "later_published": ARMTConfig.published(num_memory_tokens=3, d_mem=4, use_unit_features=True),
    "two_heads": ARMTConfig.published(
        num_memory_tokens=3, d_mem=4, use_unit_features=True, num_heads=2
    ),
    "channel_gates": ARMTConfig(num_memory_tokens=3, d_mem=4, num_heads=2, gating="channel"),
    "hard_gates": ARMTConfig(num_memory_tokens=3, d_mem=4, gate="hard"),
    "sum": ARMTConfig(num_memory_tokens=3, d_mem=4, normalizer="sum", nu=1),
    "gamma_in_order": ARMTConfig(num_memory_tokens=3, d_mem=4, normalizer="gamma", num_heads=2),
}


@pytest.fixture(params=sorted(CONFIGS))
def memory(request):
    return rough_memory(CONFIGS[request.param], SHAPE)


class Literal:
    """One row of a batch, head by head and token by token, as the published code executes it."""

    def __init__(self, memory):
        self.memory, self.config = memory, memory.config
        heads, width = self.config.num_heads, 2 * self.config.nu * self.config.d_mem
        self.matrices = [torch.zeros(width // heads, D_MODEL // heads, dtype=DOUBLE)] * heads
        self.sums = [torch.zeros(width // heads, dtype=DOUBLE)] * heads
        self.is_written = False

    def features(self, vector):
        halves = [max(v, 0.0) for v in vector.tolist()] + [max(-v, 0.0) for v in vector.tolist()]
        n = len(halves)
        steps = range(1, self.config.nu + 1)
        found = [halves[i] * halves[(i - j) % n] for j in steps for i in range(n)]
        length = math.sqrt(sum(f * f for f in found)) if self.config.use_unit_features else 1.0
        return torch.tensor(found, dtype=DOUBLE) / max(length, 1e-12)

    def head(self, vector, index):
        size = len(vector) // self.config.num_heads
        return vector[index * size : (index + 1) * size]

    def look_up(self, index, key, matrices, sums):
        found = key @ matrices[index]
        if self.config.normalizer == "none":
            return found
        return found / (key @ sums[index] + 1e-5)

    def read(self, x):
        found = [
            self.look_up(h, self.features(self.head(self.memory.to_query(x), h)), *self.stored)
            for h in range(self.config.num_heads)
        ]
        return x + torch.cat(found)

    @property
    def stored(self):
        return self.matrices, self.sums

    def gate(self, x, index):
        gates = torch.sigmoid(self.memory.to_gate(x))
        if self.config.gate == "hard":
            clipped = [min(max(1.2 * gate - 0.1, 0.0), 1.0) for gate in gates.tolist()]
            gates = torch.tensor(clipped, dtype=DOUBLE)
        return gates[index] if self.config.gating == "scalar" else self.head(gates, index)

    def share(self, index, key, sums, is_written):
        if self.config.normalizer == "sum" or not is_written:
            return 1.0
        epsilon = 0.0 if self.config.use_unit_features else 1e-5
        held = (key @ sums[index] + 1e-5) / (key @ key + epsilon)
        return min(max(1 - float(held), 0.0), 1.0)

    def write(self, segment):
        old, is_written = (list(self.matrices), list(self.sums)), self.is_written
        for x in segment:
            if self.config.write_order == "sequential":
                old, is_written = (list(self.matrices), list(self.sums)), self.is_written
            for h in range(self.config.num_heads):
                key = self.features(self.head(self.memory.to_key(x), h))
                missing = self.head(self.memory.to_value(x), h) - self.look_up(h, key, *old)
                update = torch.outer(key, self.gate(x, h) * missing)
                self.matrices[h] = self.matrices[h] + update
                self.sums[h] = self.sums[h] + self.share(h, key, old[1], is_written) * key
            self.is_written = True


@torch.no_grad()
def test_it_equals_the_literal_loops(memory):
    segments = torch.randn(3, 2, 3, D_MODEL, dtype=DOUBLE)
    queries = torch.randn(2, 5, D_MODEL, dtype=DOUBLE)
    state, rows = memory.init_state(2), [Literal(memory) for _ in range(2)]
    for segment in segments:
        state = memory.write(segment, state)
        found = memory.read(queries, state)
        for row, literal in enumerate(rows):
            literal.write(segment[row])
            matrix = torch.stack(literal.matrices)
            torch.testing.assert_close(state.association[row], matrix, rtol=1e-8, atol=1e-9)
            if memory.config.normalizer != "none":
                total = torch.stack(literal.sums)
                torch.testing.assert_close(state.key_sum[row], total, rtol=1e-8, atol=1e-9)
            expected = torch.stack([literal.read(query) for query in queries[row]])
            torch.testing.assert_close(found[row], expected, rtol=1e-8, atol=1e-9)


def test_an_empty_memory_reads_nothing(memory):
    hidden = torch.randn(2, 5, D_MODEL, dtype=DOUBLE)
    torch.testing.assert_close(memory.read(hidden, memory.init_state(2)), hidden, rtol=0, atol=0)


def test_values_start_at_zero_so_nothing_is_stored():
    memory = CONFIGS["default"].build(SHAPE)
    state = memory.write(torch.randn(2, 3, D_MODEL), memory.init_state(2))
    assert state.association.abs().sum() == 0


def test_at_the_start_only_the_values_learn():
    model = attach(backbone(), ARMTConfig(num_memory_tokens=2, d_mem=4), 4)
    ids = random_ids(1, 12)
    model(ids, labels=ids).loss.backward()
    for memory in model.memory.mechanisms:
        assert memory.to_value.weight.grad.abs().sum() > 0
        for name in ("to_query", "to_key", "to_gate"):
            for parameter in getattr(memory, name).parameters():
                assert parameter.grad is None or parameter.grad.abs().sum() == 0
    torch.testing.assert_close(
        model(ids).logits, isolated_logits(backbone(), ids), rtol=1e-12, atol=1e-13
    )


def test_gpt2_gets_the_known_number_of_parameters():
    config = GPT2Config()
    added = {name: p.numel() for name, p in small_gpt2(config).named_parameters()}
    layer = sum(count for name, count in added.items() if name.startswith("memory.layers.0."))
    assert layer == 2 * 768 * 64 + 768**2 + 768 + 1 == 688_897
    tokens = added["memory.tokens"]
    assert config.n_layer == 2
    assert 12 * layer + tokens == 8_274_444


def small_gpt2(config):
    """GPT-2 small with two of its twelve layers and few words: neither changes what is counted."""
    config.n_layer, config.vocab_size = 2, 31
    config.bos_token_id = config.eos_token_id = 0
    model = AutoModelForCausalLM.from_config(config)
    return attach(model, ARMTConfig(num_memory_tokens=10, d_mem=64), 512)


@pytest.mark.parametrize("num_heads", [1, 2])
@pytest.mark.parametrize("normalizer", ["none", "gamma"])
def test_the_state_has_the_size_that_is_told(num_heads, normalizer):
    config = ARMTConfig(d_mem=4, nu=2, num_heads=num_heads, normalizer=normalizer)
    state = config.build(SHAPE).init_state(3)
    features, channels = 16 // num_heads, D_MODEL // num_heads
    assert state.association.shape == (3, num_heads, features, channels)
    assert state.key_sum.shape == (3, num_heads, features if normalizer == "gamma" else 0)
    assert state.nbytes == 4 * (state.association.numel() + state.key_sum.numel())


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
@pytest.mark.parametrize("name", CONFIGS)
def test_the_state_has_at_least_single_precision(name, dtype, expected):
    memory = rough_memory(CONFIGS[name], SHAPE, dtype)
    hidden = torch.randn(2, 3, D_MODEL).to(dtype)
    state = memory.write(hidden, memory.write(hidden, memory.init_state(2)))
    assert {value.dtype for value in state.tensors().values()} == {expected}
    assert memory.read(hidden, state).dtype == dtype


def test_autocast_keeps_the_state_in_single_precision():
    memory = rough_memory(CONFIGS["default"], SHAPE, torch.float32)
    hidden = torch.randn(2, 3, D_MODEL)
    with torch.autocast("cpu", torch.bfloat16):
        state = memory.write(hidden, memory.init_state(2))
        found = memory.read(hidden, state)
    assert state.association.dtype == found.dtype == torch.float32
    exact = memory.read(hidden, memory.write(hidden, memory.init_state(2)))
    torch.testing.assert_close(found, exact, rtol=0.1, atol=0.1)


def test_a_whole_model_in_half_precision_keeps_its_state_in_single():
    model = recurrent(CONFIGS["default"]).to(torch.bfloat16)
    ids = random_ids(2, 10)
    output = model(ids, labels=ids)
    assert output.state.layers[0].association.dtype == torch.float32
    assert output.logits.dtype == torch.bfloat16
    assert output.loss.dtype == torch.float32
    output.loss.backward()
    gradients = [p.grad for p in model.memory.parameters()]
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_zero_hidden_states_stay_finite_with_their_gradients(memory):
    torch.nn.init.zeros_(memory.to_gate.bias)
    hidden = torch.zeros(2, 3, D_MODEL, dtype=DOUBLE, requires_grad=True)
    state = memory.write(hidden, memory.init_state(2))
    state = memory.write(torch.randn(2, 3, D_MODEL, dtype=DOUBLE), state)
    state = memory.write(hidden, state)
    found = memory.read(hidden, state)
    loss = found.square().sum() + sum(value.sum() for value in state.tensors().values())
    for gradient in torch.autograd.grad(loss, [hidden, *memory.parameters()], allow_unused=True):
        assert gradient is None or gradient.isfinite().all()
    assert found.isfinite().all()


def test_rewriting_a_key_replaces_its_value():
    config = ARMTConfig(num_memory_tokens=1, d_mem=4, gate_bias=40.0)
    memory = rough_memory(config, SHAPE)
    torch.nn.init.zeros_(memory.to_gate.weight)
    memory.to_query.weight = memory.to_key.weight
    token = torch.randn(1, 1, D_MODEL, dtype=DOUBLE)
    state = memory.init_state(1)
    for _ in range(3):
        state = memory.write(token, state)
        found = memory.read(token, state) - token
        torch.testing.assert_close(found, memory.to_value(token), rtol=1e-9, atol=1e-9)


def test_the_gates_start_where_the_config_says():
    gates = ARMTConfig(gate_bias=3.0, gating="channel").build(SHAPE).to_gate
    assert gates.bias.tolist() == [3.0] * D_MODEL
    assert gates.out_features == D_MODEL
    assert ARMTConfig(num_heads=2).build(SHAPE).to_gate.out_features == 2


def test_the_published_model_is_told_by_its_options():
    config = ARMTConfig.published(d_mem=8)
    assert (config.normalizer, config.use_unit_features) == ("gamma", False)
    assert (config.write_order, config.d_mem, config.nu) == ("parallel", 8, 3)
    assert ARMTConfig.published(use_unit_features=True).use_unit_features


HARD = {"num_memory_tokens": 1, "d_mem": 4, "gate": "hard"}


def gates_at(logits, config, dtype=DOUBLE, is_training=False):
    """The gates of tokens with these logits."""
    memory = rough_memory(config, SHAPE, dtype).train(is_training)
    with torch.no_grad():
        torch.nn.init.zeros_(memory.to_gate.bias)
        torch.nn.init.zeros_(memory.to_gate.weight)[0, 0] = 1.0
    rest = torch.zeros(len(logits), D_MODEL - 1, dtype=dtype)
    return memory._gates(torch.cat([logits[:, None], rest], dim=1)[None]).flatten()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_clipped_gate_is_exactly_zero_or_one(dtype):
    logits = torch.tensor([-60.0, -5.0, -2.5, 2.5, 5.0, 60.0]).to(dtype).requires_grad_()
    gates = gates_at(logits, ARMTConfig(**HARD), dtype)
    assert gates.requires_grad
    assert gates.tolist() == [0, 0, 0, 1, 1, 1]


def test_the_gradient_of_a_hard_gate_is_that_of_the_stretched_sigmoid():
    logits = torch.tensor([-5.0, -2.5, -1.0, 0.0, 0.3, 2.0, 2.5, 5.0], dtype=DOUBLE)
    step = 1e-6

    def stretched(x):
        return 1.2 / (1 + (-x).exp()) - 0.1

    places = logits.clone().requires_grad_()
    gates = gates_at(places, ARMTConfig(**HARD))
    torch.testing.assert_close(gates.detach(), stretched(logits).clamp(0, 1))
    gates.sum().backward()
    slopes = (stretched(logits + step) - stretched(logits - step)) / (2 * step)
    torch.testing.assert_close(places.grad, slopes, rtol=1e-8, atol=0)
    assert (places.grad > 0.005).all()


@pytest.mark.parametrize(("bias", "gate"), [(-9.0, 0), (9.0, 1)])
def test_a_gate_that_stands_still_can_be_moved(bias, gate):
    memory = rough_memory(ARMTConfig(**HARD, gate_bias=bias), SHAPE)
    _ = torch.nn.init.zeros_(memory.to_gate.weight)
    hidden = torch.randn(2, 1, D_MODEL, dtype=DOUBLE)
    state = memory.write(hidden, memory.init_state(2))
    assert bool(state.association.any()) == bool(gate)
    state.association.sum().backward()
    assert memory.to_gate.bias.grad.abs().item() > 0


def test_noise_moves_the_logits_in_training_alone():
    options = {"num_memory_tokens": 1, "d_mem": 4}
    logits = torch.full((20_000,), 0.7, dtype=DOUBLE)
    noisy = ARMTConfig(**options, gate_noise=0.5)
    calm = gates_at(logits, ARMTConfig(**options), is_training=True)
    assert torch.equal(gates_at(logits, noisy), calm)
    _ = torch.manual_seed(3)
    found = [gates_at(logits, noisy, is_training=True).logit().detach() for _ in range(2)]
    assert not torch.equal(*found)
    for each in found:
        assert float(each.mean()) == pytest.approx(0.7, abs=0.02)
        assert float(each.std()) == pytest.approx(0.5, abs=0.02)
    assert float(torch.corrcoef(torch.stack(found))[0, 1]) == pytest.approx(0, abs=0.03)


def test_without_noise_nothing_is_drawn():
    memory = rough_memory(ARMTConfig(**HARD), SHAPE).train()
    before = torch.get_rng_state()
    _ = memory.write(torch.zeros(1, 1, D_MODEL, dtype=DOUBLE), memory.init_state(1))
    assert torch.equal(torch.get_rng_state(), before)


def test_noise_opens_a_hard_gate_that_stands_near_the_edge():
    memory = rough_memory(ARMTConfig(**HARD, gate_noise=0.5), SHAPE)
    _ = torch.nn.init.zeros_(memory.to_gate.weight)
    _ = torch.nn.init.constant_(memory.to_gate.bias, -math.log(11) - 0.2)  # 1.2 / 12 - 0.1 = 0
    hidden = torch.randn(200, 1, D_MODEL, dtype=DOUBLE)
    shares = []
    for is_training in (False, True):
        _ = memory.train(is_training)
        state = memory.write(hidden, memory.init_state(200))
        shares.append(float(state.association.flatten(1).any(1).double().mean()))
    assert shares[0] == 0
    assert 0.2 < shares[1] < 0.6  # the edge is 0.4 deviations away


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"d_mem": 0}, "d_mem"),
        ({"gate_noise": -0.1}, r"`gate_noise` must not be negative. Got -0.1"),
        ({"nu": 0}, "nu"),
        ({"num_memory_tokens": 0}, "num_memory_tokens"),
        ({"num_heads": 3, "d_mem": 8}, "divide"),
    ],
)
def test_wrong_numbers_are_told(options, said):
    with pytest.raises(ConfigError, match=said):
        _ = ARMTConfig(**options)


@pytest.mark.parametrize("name", ["normalizer", "write_order", "gating", "gate"])
def test_wrong_choices_are_told(name, monkeypatch):
    with pytest.raises(ConfigError, match=name):
        _ = ARMTConfig.from_dict({name: "odd"})
    # The checker of shapes would object to the type first; outside tests there is none.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ConfigError, match=name):
        _ = ARMTConfig(**{name: "odd"})


def test_heads_must_divide_the_width():
    with pytest.raises(ConfigError, match="width"):
        _ = ARMTConfig(num_heads=4, d_mem=4).build(SHAPE)


def test_a_state_is_made_of_its_tensors():
    state = CONFIGS["default"].build(SHAPE).init_state(2)
    assert list(state.tensors()) == ["association", "key_sum"]
    assert isinstance(ARMTState.from_tensors(state.tensors()), ARMTState)
