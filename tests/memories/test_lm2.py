"""LM2: the invariants of its gates, and the released code's step written anew as plain loops."""

import math
from dataclasses import replace

import pytest
import torch

from armt.core.errors import ConfigError
from armt.core.layer_shape import LayerShape
from armt.memories.lm2 import LM2Config, LM2State
from tiny import SEGMENT_LEN, random_ids, recurrent, rough_memory

D_MODEL = 8
SHAPE = LayerShape(d_model=D_MODEL, num_heads=2, num_kv_heads=1, head_dim=4)
DOUBLE = torch.float64
CONFIG = LM2Config(num_slots=3, num_heads=2)
LITERAL = LM2Config(num_slots=D_MODEL, num_heads=2, literal=True)


def set_gates(memory, *, take, keep):
    """Makes every gate of a memory the same, whatever it looks at."""
    gates = memory.rule.to_gates
    _ = torch.nn.init.zeros_(gates.weight)
    with torch.no_grad():
        _ = gates.bias.copy_(torch.tensor([take, keep]).repeat_interleave(D_MODEL))


def random_segments(num_segments, num_rows=2, num_tokens=5):
    return torch.randn(num_segments, num_rows, num_tokens, D_MODEL, dtype=DOUBLE)


def written(memory, segments):
    state = memory.init_state(segments.shape[1])
    for segment in segments:
        state = memory.write(segment, state)
    return state


def attend(attention, queries, source, *, is_causal=False):
    """Multi-head attention of one row, head by head and query by query."""
    size = D_MODEL // attention.num_heads
    maps = attention.to_query(queries), attention.to_key(source), attention.to_value(source)
    found = torch.zeros(len(queries), D_MODEL, dtype=DOUBLE)
    for head in range(attention.num_heads):
        part = slice(head * size, (head + 1) * size)
        query, key, value = (each[:, part] for each in maps)
        for index in range(len(queries)):
            seen = index + 1 if is_causal else len(source)
            weights = [math.exp(query[index] @ key[j] / math.sqrt(size)) for j in range(seen)]
            for weight, each in zip(weights, value, strict=False):
                found[index, part] += weight / sum(weights) * each
    return found


@torch.no_grad()
def test_reading_and_writing_equal_plain_loops():
    memory = rough_memory(CONFIG, SHAPE)
    rule, (hidden, text) = memory.rule, random_segments(2, num_rows=1)
    state = LM2State(slots=torch.randn(1, 3, D_MODEL, dtype=DOUBLE))
    found = attend(rule.read_attention, hidden[0], state.slots[0])
    gates = 1 / (1 + torch.exp(-(found @ rule.to_output_gate.weight.T + rule.to_output_gate.bias)))
    expected = hidden[0] + gates * (found @ rule.to_output.weight.T)
    torch.testing.assert_close(memory.read(hidden, state)[0], expected)
    found = attend(rule.write_attention, state.slots[0], text[0])
    for slot in range(3):
        both = torch.cat([state.slots[0, slot], found[slot]])
        gates = 1 / (1 + torch.exp(-(rule.to_gates.weight @ both + rule.to_gates.bias)))
        expected = gates[:D_MODEL] * found[slot].tanh() + gates[D_MODEL:] * state.slots[0, slot]
        torch.testing.assert_close(memory.write(text, state).slots[0, slot], expected)


def test_the_slots_start_as_rows_of_an_identity():
    state = CONFIG.build(SHAPE).init_state(2)
    assert torch.equal(state.slots, torch.eye(3, D_MODEL).expand(2, -1, -1))
    assert state.nbytes == 4 * 2 * 3 * D_MODEL


def test_a_fresh_memory_reads_nothing_but_already_writes():
    memory, (text,) = CONFIG.build(SHAPE).to(DOUBLE), random_segments(1)
    state = memory.write(text, memory.init_state(2))
    assert not torch.equal(state.slots, memory.init_state(2).slots)
    torch.testing.assert_close(memory.read(text, state), text, rtol=0, atol=0)


def test_forget_gates_start_near_sigmoid_of_one():
    bias = CONFIG.build(SHAPE).rule.to_gates.bias
    assert bias.tolist() == [0.0] * D_MODEL + [1.0] * D_MODEL


def test_open_forget_and_closed_input_gates_leave_the_slots():
    memory = rough_memory(CONFIG, SHAPE)
    set_gates(memory, take=-math.inf, keep=math.inf)
    segments = random_segments(4)
    expected = memory.init_state(2).slots
    torch.testing.assert_close(written(memory, segments).slots, expected, rtol=0, atol=0)


def test_closed_forget_and_open_input_gates_replace_the_slots():
    memory = rough_memory(CONFIG, SHAPE)
    set_gates(memory, take=math.inf, keep=-math.inf)
    segments = random_segments(4)
    before = written(memory, segments[:-1]).slots
    expected = memory.rule.write_attention(before, segments[-1]).tanh()
    torch.testing.assert_close(written(memory, segments).slots, expected)


@torch.no_grad()
def test_the_slots_stay_bounded():
    """Both gates lie in (0, 1), so |M| grows to 1 / (1 - f) at most, f the greatest forget gate."""
    memory = rough_memory(CONFIG, SHAPE)
    set_gates(memory, take=4.0, keep=1.5)
    greatest = [
        float(written(memory, 50 * random_segments(num_segments)).slots.abs().max())
        for num_segments in (1, 10, 60)
    ]
    keep = 1 / (1 + math.exp(-1.5))
    assert max(greatest) <= 1 / (1 - keep)
    assert greatest[-1] > 1.5, "the bound was never near"


def test_rows_of_the_state_move_with_the_rows_of_the_batch():
    memory, segments = rough_memory(CONFIG, SHAPE), random_segments(3, num_rows=4)
    order = torch.tensor([2, 0, 3, 1])
    found = written(memory, segments[:, order]).slots
    torch.testing.assert_close(found, written(memory, segments).slots[order])


def test_a_new_document_knows_nothing_of_the_last():
    model, ids = recurrent(CONFIG), random_ids(2, 3 * SEGMENT_LEN)
    alone = model(ids).logits
    _ = model(random_ids(2, 5 * SEGMENT_LEN, seed=9))
    torch.testing.assert_close(model(ids).logits, alone, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_state_has_at_least_single_precision(dtype):
    memory, hidden = rough_memory(CONFIG, SHAPE, dtype), torch.randn(2, 4, D_MODEL).to(dtype)
    state = memory.write(hidden, memory.write(hidden, memory.init_state(2)))
    assert state.slots.dtype == torch.promote_types(dtype, torch.float32)
    assert memory.read(hidden, state).dtype == dtype


def test_autocast_keeps_the_state_in_single_precision():
    memory, hidden = rough_memory(CONFIG, SHAPE, torch.float32), torch.randn(2, 4, D_MODEL)
    with torch.autocast("cpu", torch.bfloat16):
        state = memory.write(hidden, memory.init_state(2))
        found = memory.read(hidden, state)
    assert state.slots.dtype == found.dtype == torch.float32
    exact = memory.read(hidden, memory.write(hidden, memory.init_state(2)))
    torch.testing.assert_close(found, exact, rtol=0.1, atol=0.1)


class TestLiteral:
    """The released code's step; token, slot and channel numbers run to the same T = N = D."""

    @staticmethod
    def step(rule, hidden, slots):
        """One row, number by number."""
        same, scale = rule.to_same, rule.input_scale
        found = rule.norm_read(slots + attend(rule.attention, hidden, slots, is_causal=True))
        twice = (same.weight @ (same.weight @ found.T + same.bias[:, None]).relu()).T + same.bias
        found = rule.norm_same(found + twice.relu())
        pooled = torch.stack([(scale * token).relu() for token in hidden]).mean(0)
        after = torch.zeros_like(slots)
        for slot in range(D_MODEL):
            gates = rule.slots_to_gates(slots[slot].tanh()) + rule.input_to_gates(pooled)
            for channel in range(D_MODEL):
                take = torch.sigmoid(gates[channel] + rule.gate_biases[0])
                keep = torch.sigmoid(gates[D_MODEL + channel] + rule.gate_biases[1])
                after[slot, channel] = (
                    take * found[slot, channel].tanh() + keep * slots[slot, channel]
                )
        return after

    @torch.no_grad()
    def test_it_equals_the_published_step(self):
        memory = rough_memory(LITERAL, SHAPE)
        hidden, text = random_segments(2, num_rows=1, num_tokens=D_MODEL)
        state = memory.write(text, memory.init_state(1))
        expected = self.step(memory.rule, text[0], torch.eye(D_MODEL, dtype=DOUBLE))
        torch.testing.assert_close(state.slots[0], expected)
        expected = hidden[0] + self.step(memory.rule, hidden[0], state.slots[0])
        torch.testing.assert_close(memory.read(hidden, state)[0], expected)

    def test_it_starts_as_the_released_code_does(self):
        rule = LM2Config(num_slots=64, literal=True).build(replace(SHAPE, d_model=64)).rule
        assert rule.gate_biases.tolist() == [0.0, 1.0], "input and forget gates"
        bound = 1 / math.sqrt(2 * 64)
        assert 0.99 * bound < float(rule.slots_to_gates.weight.detach().abs().max()) <= bound
        assert float(rule.input_scale.detach().std()) == pytest.approx(1, rel=0.3)

    def test_it_leaks_where_the_default_does_not(self):
        width = 16
        ids = random_ids(1, 2 * width)
        changed = ids.clone()
        changed[:, -1] = (changed[:, -1] + 1) % 20 + 3
        moved = {}
        for literal in (False, True):
            config = LM2Config(num_slots=width, num_heads=4, literal=literal)
            model = recurrent(config, segment_len=width)
            moved[literal] = (model(changed).logits - model(ids).logits).abs().amax((0, 2))
        assert moved[False][:-1].sum() == 0
        assert moved[True][:width].sum() == 0, "the first segment comes before the change"
        assert moved[True][width:].min() > 1e-6

    def test_it_declares_what_it_does(self):
        default, literal = CONFIG.build(SHAPE), LITERAL.build(SHAPE)
        assert (default.is_neutral_when_fresh, default.is_causal) == (True, True)
        assert (literal.is_neutral_when_fresh, literal.is_causal) == (False, False)

    @pytest.mark.parametrize("num_tokens", [4, 2 * D_MODEL])
    def test_segments_of_another_length_are_refused(self, num_tokens):
        memory = LITERAL.build(SHAPE)
        with pytest.raises(ConfigError, match=f"exactly 8 tokens. Got {num_tokens}"):
            _ = memory.read(torch.randn(1, num_tokens, D_MODEL), memory.init_state(1))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_slots": 0}, "num_slots"),
        ({"num_heads": 0}, "num_heads"),
        ({"num_heads": 3}, "divide"),
        ({"num_slots": D_MODEL + 1}, "at most as many"),
        ({"num_slots": 4, "literal": True}, f"set it to {D_MODEL}"),
    ],
)
def test_what_cannot_be_is_told(options, said):
    with pytest.raises(ConfigError, match=said):
        _ = LM2Config(**options).build(SHAPE)
