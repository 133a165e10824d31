import pytest
from torch import nn

from armt.backbones.modes import evaluation_mode


@pytest.mark.parametrize("was_training", [True, False])
def test_a_model_is_evaluated_within_and_as_before_after(was_training):
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)).train(was_training)
    with evaluation_mode(model):
        assert not any(module.training for module in model.modules())
    assert all(module.training == was_training for module in model.modules())


def test_the_mode_comes_back_by_an_error():
    model = nn.Dropout(0.5).train()
    with pytest.raises(KeyError), evaluation_mode(model):
        raise KeyError
    assert model.training
