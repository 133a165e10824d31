"""The places of the highest inner products: torch and faiss find the same as a sort does."""

import importlib.util

import pytest
import torch

from armt.core.errors import MissingExtraError
from armt.ops import inner_products
from armt.ops.inner_products import INDICES

HAS_FAISS = importlib.util.find_spec("faiss") is not None
NEEDS_FAISS = pytest.mark.skipif(not HAS_FAISS, reason="faiss is an extra")
BOTH = ["torch", pytest.param("faiss", marks=NEEDS_FAISS)]


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("number", [1, 3, 7, 20])
def test_the_best_are_those_of_a_sort_in_rising_order(name, number):
    query, vectors = torch.randn(4, 5), torch.randn(4, 7, 5)
    is_there = torch.rand(4, 7) < torch.tensor([1.0, 0.6, 0.3, 0.0]).unsqueeze(1)
    found = INDICES[name](query, vectors, is_there, number)
    assert found.shape == (4, min(number, 7))
    for row in range(4):
        stored = is_there[row].nonzero()[:, 0].tolist()
        scores = {place: float(vectors[row, place] @ query[row]) for place in stored}
        best = sorted(stored, key=lambda place, s=scores: -s[place])[:number]
        places = found[row].tolist()
        assert [place for place in places if place in stored] == sorted(best)
        assert len(set(places)) == len(places)


@pytest.mark.parametrize("name", BOTH)
def test_nothing_is_found_where_nothing_is(name):
    empty = torch.zeros(2, 0, 5), torch.zeros(2, 0, dtype=torch.bool)
    assert INDICES[name](torch.randn(2, 5), *empty, 3).shape == (2, 0)


def test_without_faiss_the_line_that_installs_it_is_told(monkeypatch):
    monkeypatch.setattr(inner_products, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'armt\[faiss\]'"):
        _ = INDICES["faiss"](torch.randn(1, 2), torch.randn(1, 3, 2), torch.ones(1, 3).bool(), 1)
