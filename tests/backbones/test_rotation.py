"""Turning with positions and back, against rotations of pairs written out as complex numbers."""

import pytest
import torch

from armt import attach
from armt.backbones.rotation import Rotation, Turn
from armt.memories.memoryllm import MemoryLLMConfig
from tiny import SEGMENT_LEN, backbone, random_ids

DOUBLE = torch.float64
FIRST = -3


def angles(num_pairs=3, num_positions=9):
    frequencies = 0.5 ** torch.arange(num_pairs, dtype=DOUBLE)
    return torch.arange(FIRST, FIRST + num_positions, dtype=DOUBLE).unsqueeze(1) * frequencies


def turns(scale=1.0):
    both = torch.cat([angles(), angles()], dim=-1)
    return Turn(scale * both.cos(), scale * both.sin())


def as_pairs(x):
    """Channel pairs of the first six channels, the first half with the second."""
    return torch.complex(x[..., :3], x[..., 3:6])


@pytest.mark.parametrize("scale", [1.0, 1.3])
def test_a_turn_is_a_product_with_a_unit_times_a_length(scale):
    x = torch.randn(2, 4, 9, 8, dtype=DOUBLE)
    found = turns(scale).forth(x)
    expected = as_pairs(x) * torch.polar(torch.full_like(angles(), scale), angles())
    torch.testing.assert_close(as_pairs(found), expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(found[..., 6:], x[..., 6:])
    torch.testing.assert_close(turns(scale).back(found), x, rtol=1e-12, atol=1e-12)


def test_a_layer_that_writes_each_angle_once_means_the_same():
    cos, sin = turns().cos, turns().sin
    x = torch.randn(2, 4, 9, 8, dtype=DOUBLE)
    once = Turn.read(cos[:, :3], sin[:, :3], "once")
    assert torch.equal(once.forth(x), Turn.read(cos, sin, "twice").forth(x))
    assert torch.equal(Turn.read(cos, sin, "none").forth(x), x)


def test_rows_are_found_by_position():
    rotation = Rotation(turns(), FIRST)
    x = torch.randn(2, 4, 3, 8, dtype=DOUBLE)
    places = torch.tensor([2, 3, 4])
    rotated = rotation.rotate(x, places)
    factors = torch.polar(torch.ones_like(angles()), angles())[places - FIRST]
    torch.testing.assert_close(as_pairs(rotated), as_pairs(x) * factors, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(rotation.unrotate(rotated, 2), x, rtol=1e-12, atol=1e-12)
    assert torch.equal(rotation.rotate(x, torch.zeros(3, dtype=torch.long)), x)
    with pytest.raises(AssertionError, match="no such position"):
        _ = rotation.unrotate(x, 4)


def test_low_precision_is_turned_in_single_precision():
    x = torch.randn(2, 4, 9, 8).bfloat16()
    turn = Turn(turns().cos.bfloat16(), turns().sin.bfloat16())
    found = turn.back(turn.forth(x))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, x, rtol=2e-2, atol=2e-2)


def test_tables_stay_exact_when_a_model_is_cast():
    rotation, x = Rotation(turns(), FIRST), torch.randn(2, 4, 9, 8, dtype=DOUBLE)
    expected = rotation.unrotate(x, FIRST)
    low = rotation.bfloat16().unrotate(x.bfloat16(), FIRST)
    rounded = Turn(turns().cos.bfloat16(), turns().sin.bfloat16()).back(x.bfloat16())
    assert torch.equal(low, rounded)
    assert torch.equal(rotation.double().unrotate(x, FIRST), expected)
    assert rotation.to("meta").cos.device.type == "meta"


@pytest.mark.parametrize("family", ["llama", "gpt_neox", "gpt2"])
def test_a_model_attached_in_low_precision_turns_back_what_it_turns(family):
    memory, ids = MemoryLLMConfig(num_memory_tokens=2, num_slots=5), random_ids(1, 20)
    low = attach(backbone(family).bfloat16(), memory, SEGMENT_LEN).double()
    high = attach(backbone(family).bfloat16().double(), memory, SEGMENT_LEN)
    high.load_state_dict(low.state_dict())
    torch.testing.assert_close(low(ids).logits, high(ids).logits, rtol=1e-6, atol=1e-6)


def test_nothing_of_it_is_saved():
    assert Rotation(turns(), FIRST).state_dict() == {}
