import copy

import pytest
import torch
from torch import nn

from armt.tasks.associative_retrieval import AssociativeRetrievalConfig
from armt.training.config import OptimConfig, StageConfig
from armt.training.optim import MasterAdamW, learning_rate_at

CONFIG = OptimConfig(betas=(0.8, 0.9), weight_decay=0.1, clip_norm=0.5)


def layers(dtype=torch.float32):
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)).to(dtype)


def give_gradients(model, seed, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        values = scale * torch.randn(parameter.shape, generator=generator)
        parameter.grad = values.to(parameter.dtype)


def plain_adamw(model, config=CONFIG):
    """AdamW of torch; matrices decay, vectors do not."""
    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1]},
        {"params": [p for p in model.parameters() if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=config.betas, weight_decay=config.weight_decay)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_adamw_on_single_precision_weights(dtype):
    model = layers(dtype)
    reference = copy.deepcopy(model).float()
    ours, plain = MasterAdamW(model, CONFIG), plain_adamw(reference)
    for step in range(5):
        give_gradients(model, step, scale=10.0 ** (step - 2))
        for parameter, expected in zip(model.parameters(), reference.parameters(), strict=True):
            expected.grad = parameter.grad.float().clone()
        ours.set_learning_rate(0.01 * (step + 1))
        for group in plain.param_groups:
            group["lr"] = 0.01 * (step + 1)
        norm = ours.step()
        expected_norm = nn.utils.clip_grad_norm_(reference.parameters(), CONFIG.clip_norm)
        _ = plain.step()
        assert norm == expected_norm
        for parameter, expected in zip(model.parameters(), reference.parameters(), strict=True):
            assert torch.equal(parameter, expected.to(dtype))


def test_half_precision_weights_collect_what_is_smaller_than_their_spacing():
    model = nn.Linear(4, 4, bias=False).to(torch.bfloat16)
    nn.init.ones_(model.weight)
    optimizer = MasterAdamW(model, OptimConfig(weight_decay=0.0))
    optimizer.set_learning_rate(1e-3)  # neighbours of 1 in bfloat16 are 0.004 away from it
    seen = []
    for _ in range(8):
        model.weight.grad = torch.ones_like(model.weight)
        _ = optimizer.step()
        seen.append(model.weight[0, 0].item())
    assert seen[0] == 1.0
    torch.testing.assert_close(
        optimizer.masters[0], torch.full((4, 4), 1 - 8e-3), rtol=0, atol=1e-5
    )
    assert seen[-1] == float(torch.tensor(1 - 8e-3).to(torch.bfloat16)) < 1.0


def as_on_a_gpu(optimizer: MasterAdamW) -> None:
    """Lets the fused kernels decide whether a step is taken; CPUs have them too."""
    optimizer._is_fused = True
    for group in optimizer.inner.param_groups:
        group.update(fused=True, foreach=False)


def test_fused_it_takes_the_same_steps():
    models = [model := layers(), copy.deepcopy(model)]
    optimizers = [MasterAdamW(model, CONFIG) for model in models]
    as_on_a_gpu(optimizers[1])
    for step in range(3):
        for model, optimizer in zip(models, optimizers, strict=True):
            optimizer.set_learning_rate(0.1)
            give_gradients(model, step)
            _ = optimizer.step()
    for found, expected in zip(models[1].parameters(), models[0].parameters(), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("is_fused", [False, True])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_changes_nothing(value, is_fused):
    model = layers()
    optimizer = MasterAdamW(model, CONFIG)
    if is_fused:
        as_on_a_gpu(optimizer)
    optimizer.set_learning_rate(0.1)
    give_gradients(model, 0)
    _ = optimizer.step()
    weights = copy.deepcopy(model.state_dict())
    means = {name: tensor.clone() for name, tensor in optimizer.tensors().items()}
    give_gradients(model, 1)
    model[0].weight.grad[0, 0] = value
    assert not torch.isfinite(optimizer.step())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[name])
    for name, tensor in optimizer.tensors().items():
        assert torch.equal(tensor, means[name])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_saved_and_loaded_it_goes_on_alike(dtype):
    model = layers(dtype)
    optimizer = MasterAdamW(model, CONFIG)
    optimizer.set_learning_rate(0.01)
    for step in range(3):
        give_gradients(model, step)
        _ = optimizer.step()
    saved = {name: tensor.clone() for name, tensor in optimizer.tensors().items()}
    other_model = layers(dtype)
    other = MasterAdamW(other_model, CONFIG)
    other.load_tensors(saved)
    for each, each_model in ((optimizer, model), (other, other_model)):
        each.set_learning_rate(0.02)
        give_gradients(each_model, 7)
        _ = each.step()
    for found, expected in zip(other_model.parameters(), model.parameters(), strict=True):
        assert torch.equal(found, expected)
    for found, expected in zip(other.masters, optimizer.masters, strict=True):
        assert torch.equal(found, expected)


def test_frozen_weights_are_left_alone():
    model = layers()
    _ = model[0].requires_grad_(False)
    optimizer = MasterAdamW(model, CONFIG)
    optimizer.set_learning_rate(0.1)
    before = model[0].weight.clone(), model[2].weight.clone()
    give_gradients(model, 0)
    _ = optimizer.step()
    assert torch.equal(model[0].weight, before[0])
    assert not torch.equal(model[2].weight, before[1])


def test_gradients_are_zeroed_where_they_stand():
    model = layers()
    optimizer = MasterAdamW(model, CONFIG)
    give_gradients(model, 0)
    places = [parameter.grad.data_ptr() for parameter in model.parameters()]
    optimizer.zero_grad()
    assert [parameter.grad.data_ptr() for parameter in model.parameters()] == places
    assert all(parameter.grad.abs().sum() == 0 for parameter in model.parameters())


def stage(**options):
    fields = {"num_steps": 10, "learning_rate": 0.4, "stream": AssociativeRetrievalConfig()}
    return StageConfig(**(fields | options))


def test_the_learning_rate_rises_then_falls_along_a_cosine():
    rising = stage(warmup_steps=4, final_learning_rate=0.2, num_steps=12)
    rates = [learning_rate_at(rising, step) for step in (0, 1, 3, 4, 6, 8, 10, 12)]
    assert rates == pytest.approx([0.1, 0.2, 0.4, 0.4, 0.370711, 0.3, 0.229289, 0.2], abs=1e-6)


def test_without_a_final_rate_it_stays():
    assert [learning_rate_at(stage(warmup_steps=2), step) for step in (0, 1, 2, 9)] == [
        0.2,
        0.4,
        0.4,
        0.4,
    ]
    assert learning_rate_at(stage(), 0) == 0.4
