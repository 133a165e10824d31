"""The feature map by hand, and the scaling of features."""

import math

import pytest
import torch

from armt.ops.feature_maps import dpfp, elu_plus_one, unit_norm


def test_dpfp_by_hand():
    x = torch.tensor([1.0, -2.0], dtype=torch.float64)
    assert dpfp(x, 1).tolist() == [2, 0, 0, 0]
    assert dpfp(x, 3).tolist() == [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]


def test_dpfp_pairs_each_entry_with_those_before_it():
    x = torch.randn(3, 5, dtype=torch.float64)
    features = dpfp(x, 2)
    for row in range(3):
        halves = [max(v, 0.0) for v in x[row].tolist()] + [max(-v, 0.0) for v in x[row].tolist()]
        expected = [halves[i] * halves[(i - j) % 10] for j in (1, 2) for i in range(10)]
        torch.testing.assert_close(features[row], torch.tensor(expected, dtype=torch.float64))


def test_dpfp_is_non_negative_and_of_degree_two():
    x = torch.randn(7, 6, dtype=torch.float64)
    features = dpfp(x, 3)
    assert features.shape == (7, 36)
    assert features.min() >= 0
    torch.testing.assert_close(dpfp(3 * x, 3), 9 * features)


@pytest.mark.parametrize(("width", "mean"), [(16, 0.118), (32, 0.109), (64, 0.106)])
def test_random_features_are_a_quarter_full_and_nearly_orthogonal(width, mean):
    features = unit_norm(dpfp(torch.randn(400, width, dtype=torch.float64), 3))
    assert (features > 0).double().mean() == pytest.approx(0.25, abs=0.01)
    cosines = (features @ features.T)[~torch.eye(400, dtype=torch.bool)]
    assert cosines.mean() == pytest.approx(mean, abs=0.006)


def test_elu_plus_one_by_hand():
    x = torch.tensor([2.0, 0.0, -1.0], dtype=torch.float64)
    expected = torch.tensor([3.0, 1.0, math.exp(-1.0)], dtype=torch.float64)
    torch.testing.assert_close(elu_plus_one(x), expected)


def test_unit_norm_scales_and_survives_zeros():
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    scaled = unit_norm(x)
    torch.testing.assert_close(scaled, torch.tensor([[0.6, 0.8], [0, 0]], dtype=torch.float64))
    (gradient,) = torch.autograd.grad(scaled.sum(), x)
    assert gradient.isfinite().all()


def test_features_of_zeros_have_finite_gradients():
    x = torch.zeros(2, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(unit_norm(dpfp(x, 3)).sum(), x)
    assert gradient.abs().sum() == 0
