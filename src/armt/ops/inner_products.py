"""Which vectors have the highest inner products with a query: by torch, or by the library faiss.

Both look at every vector, so both find the same; where two products agree in all but their last
digits, either may be taken.
"""

import importlib
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

import torch

from armt.core.errors import MissingExtraError
from armt.core.shapes import Bool, Float, Int, Tensor

Index = Callable[
    [Float[Tensor, "B E"], Float[Tensor, "B S E"], Bool[Tensor, "B S"], int], Int[Tensor, "B R"]
]
"""Takes a query for each row, the row's vectors, which of them are there, and how many to find.

Returns their places in rising order, as many for each row as there are vectors at most; where a row
has fewer, places where nothing is fill it up.
"""


def best_by_torch(
    query: Float[Tensor, "B E"],
    vectors: Float[Tensor, "B S E"],
    is_there: Bool[Tensor, "B S"],
    number: int,
) -> Int[Tensor, "B R"]:
    """Finds them where the vectors are; see `Index`."""
    scores = torch.einsum("be,bse->bs", query.to(vectors), vectors)
    scores = scores.masked_fill(~is_there, -torch.inf)
    return scores.topk(min(number, scores.shape[1]), dim=-1).indices.sort(-1).values


@torch.no_grad()
def best_by_faiss(
    query: Float[Tensor, "B E"],
    vectors: Float[Tensor, "B S E"],
    is_there: Bool[Tensor, "B S"],
    number: int,
) -> Int[Tensor, "B R"]:
    """Finds them on the host, row by row and in single precision; see `Index`.

    Nothing is kept between two calls: the vectors stand in a state, which alone says what is there.

    Raises:
        MissingExtraError: faiss is not installed.
    """
    require_faiss()
    faiss: Any = importlib.import_module("faiss")
    queries, stored = query.to("cpu", torch.float32), vectors.to("cpu", torch.float32)
    width, found = min(number, vectors.shape[1]), list[Tensor]()
    for one, own, is_own in zip(queries, stored, is_there.cpu(), strict=True):
        places, others = is_own.nonzero()[:, 0], (~is_own).nonzero()[:, 0]
        best = torch.zeros(0, dtype=torch.long)
        if (num_found := min(width, len(places))) > 0:
            texts, asked = own[places].numpy(), one.unsqueeze(0).numpy()
            ranked = faiss.knn(asked, texts, num_found, metric=faiss.METRIC_INNER_PRODUCT)[1]
            best = places[torch.from_numpy(ranked[0])]
        found.append(torch.cat([best, others[: width - len(best)]]).sort().values)
    return torch.stack(found).to(vectors.device)


def require_faiss() -> None:
    """Checks that faiss is there.

    Raises:
        MissingExtraError: it is not installed.
    """
    if find_spec("faiss") is None:
        raise MissingExtraError("Finding passages with faiss", "faiss")


INDICES: Mapping[str, Index] = MappingProxyType({"torch": best_by_torch, "faiss": best_by_faiss})
"""What can find them, by name."""
