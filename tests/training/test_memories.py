"""Every memory is trained with carried states, and goes on from a checkpoint bit for bit."""

from dataclasses import replace

import pytest
import torch

from armt.core.registry import MEMORIES
from training.runs import carried_run, carried_trainer

CONFIGS = {card.name: card.tiny for card in MEMORIES if card.tiny is not None}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_resumed_run_is_bit_equal(name, tmp_path):
    run = carried_run(memory=CONFIGS[name])
    stage = run.stages[0]
    whole = carried_trainer(run, tmp_path / "whole")
    _ = whole.train()
    half = replace(run, stages=(replace(stage, num_steps=3),))
    _ = carried_trainer(half, tmp_path / "parts").train()
    resumed = carried_trainer(run, tmp_path / "parts")
    assert resumed.progress.step == 3
    _ = resumed.train()
    expected = dict(whole.recurrent.named_parameters())
    for parameter_name, parameter in resumed.recurrent.named_parameters():
        assert torch.equal(parameter, expected[parameter_name]), parameter_name
    assert len(whole.carried) == len(resumed.carried)
    for found, state in zip(resumed.carried, whole.carried, strict=True):
        for field, value in state.tensors().items():
            assert torch.equal(found.tensors()[field], value), field
