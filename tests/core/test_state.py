"""States of rows that grew unequally are put together with zeros behind the shorter ones."""

from dataclasses import dataclass

import torch

from armt.core.shapes import Bool, Float, Tensor
from armt.core.state import State


@dataclass(frozen=True)
class Growing(State):
    past: Float[Tensor, "B S D"]
    is_stored: Bool[Tensor, "B S"]


def grown(num_rows, num_stored, value):
    return Growing(
        past=torch.full((num_rows, num_stored, 2), float(value)),
        is_stored=torch.ones(num_rows, num_stored, dtype=torch.bool),
    )


def test_some_rows_that_grew_go_back_among_the_others():
    base = grown(3, 1, 5)
    found = grown(1, 3, 7).scatter_rows(torch.tensor([1]), base)
    assert found.is_stored.tolist() == [[True, False, False], [True] * 3, [True, False, False]]
    assert found.past[:, :, 0].tolist() == [[5, 0, 0], [7, 7, 7], [5, 0, 0]]
    assert base.past.shape == (3, 1, 2)


def test_rows_are_chosen_whatever_has_grown():
    fresh, old = grown(2, 0, 0), grown(2, 2, 4)
    for new, kept in ((fresh, old), (old, fresh)):
        found = new.where(torch.tensor([True, False]), kept)
        is_old = [new is old, kept is old]
        assert found.is_stored.tolist() == [[each] * 2 for each in is_old]
        assert found.past[:, :, 1].tolist() == [[4.0 * each] * 2 for each in is_old]


def test_gradients_reach_both():
    new, old = torch.ones(1, 2, 2, requires_grad=True), torch.ones(2, 1, 2, requires_grad=True)
    states = [Growing(past, torch.ones(past.shape[:2], dtype=torch.bool)) for past in (new, old)]
    states[0].scatter_rows(torch.tensor([0]), states[1]).past.sum().backward()
    assert new.grad.sum() == 4
    assert old.grad.tolist() == [[[0, 0]], [[1, 1]]]
