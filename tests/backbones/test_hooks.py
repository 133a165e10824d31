"""Hooks and forwards that hang on single modules of a layer."""

import pytest
import torch
from torch import nn

from armt.backbones.cells import find_difference
from armt.backbones.hooks import find_hook
from armt.memories.armt import ARMTConfig
from armt.recurrence.choose_schedule import decode_obstacle, wave_obstacle
from armt.recurrence.config import RecurrenceConfig
from tiny import SEGMENT_LEN, backbone, random_ids, recurrent


def doubled(module: nn.Module, *seen: torch.Tensor) -> torch.Tensor:
    return 2 * seen[-1]


HANGS = {
    "forward hook": lambda module: module.register_forward_hook(doubled),
    "pre-hook": lambda module: module.register_forward_pre_hook(lambda *seen: None),
    "backward hook": lambda module: module.register_full_backward_hook(lambda *seen: None),
    "forward": lambda module: setattr(module, "forward", lambda hidden: 2 * hidden),
}


@pytest.mark.parametrize("kind", HANGS)
@pytest.mark.parametrize("layer", [0, 1])
def test_what_hangs_on_one_layer_is_run_there_and_nowhere_else(kind, layer):
    model, ids = recurrent(ARMTConfig(num_memory_tokens=2, d_mem=4)), random_ids(1, 9)
    plain = model(ids).logits
    assert wave_obstacle(model) is None
    assert decode_obstacle(model) is None
    HANGS[kind](model.model.layers[layer].mlp)
    assert "a LlamaMLP has a hook or a forward of its own" in wave_obstacle(model)
    assert "hooks" in decode_obstacle(model)
    model.recurrence = RecurrenceConfig(segment_len=SEGMENT_LEN, schedule="auto")
    changes = kind in ("forward hook", "forward")
    assert torch.allclose(model(ids).logits, plain) is not changes


def test_the_hooks_of_transformers_do_not_count():
    base = backbone()
    _ = base(random_ids(1, 4), output_hidden_states=True)
    assert any(module._forward_hooks for module in base.model.layers.modules())
    assert find_hook(base.modules()) is None
    model = recurrent(ARMTConfig(num_memory_tokens=2, d_mem=4))
    assert find_difference(model.model.layers, "sdpa") is None
