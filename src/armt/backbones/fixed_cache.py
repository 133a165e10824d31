"""Keys and values of one segment at places that stay, for steps that a GPU repeats as a graph.

transformers has a static cache too. It counts by itself, which takes operations in every layer, and
keeps of a sliding layer only what the layer still sees, by a count on the host. Here whoever runs
the passes says where each of them stands, and every layer keeps the whole segment: what it sees of
it comes with the mask, which the model makes for the whole width.
"""

from typing import Any, final

import torch
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

from armt.core.shapes import Float, Int, Tensor


@final
class FixedCache(Cache):
    """A cache whose tensors stay where they are; places behind a pass are masked."""

    def __init__(self, num_layers: int, num_positions: int, device: torch.device) -> None:
        """Has room for `num_positions` in each layer, laid out at the first pass."""
        self._position = torch.zeros(1, dtype=torch.long, device=device)
        super().__init__(
            layers=[_FixedLayer(self._position, num_positions) for _ in range(num_layers)]
        )

    def seek(self, position: int) -> None:
        """Says at which position the next pass begins; what lies behind it counts no more."""
        _ = self._position.fill_(position)


@final
class _FixedLayer(CacheLayerMixin):
    """The places of one layer."""

    is_compileable = True  # transformers then writes out the mask of a single token
    is_sliding = False

    def __init__(self, position: Int[Tensor, "1"], num_positions: int) -> None:
        super().__init__()
        self._position, self._num_positions = position, num_positions

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        # zeros, since what is masked is multiplied by zero and has to be finite
        self.keys, self.values = (
            like.new_zeros((*like.shape[:2], self._num_positions, like.shape[-1]))
            for like in (key_states, value_states)
        )
        self.is_initialized = True

    def update(
        self,
        key_states: Float[Tensor, "B G T C"],
        value_states: Float[Tensor, "B G T C"],
        *args: Any,
        **options: Any,
    ) -> tuple[Tensor, Tensor]:
        del args, options
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        positions, num_new = self._position, key_states.shape[2]
        if num_new > 1:
            positions = positions + torch.arange(num_new, device=positions.device)
        keys, values = self._places()
        return (
            keys.index_copy_(2, positions, key_states),
            values.index_copy_(2, positions, value_states),
        )

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        del query_length
        return self._num_positions, 0

    def get_seq_length(self) -> Any:
        """Returns a tensor: it is looked at on the device only."""
        return self._position

    def get_max_length(self) -> int:
        return self._num_positions

    def get_max_cache_shape(self) -> int:
        """The same by its name in older versions of transformers."""
        return self._num_positions

    def reset(self) -> None:
        for places in self._places():
            _ = places.zero_()

    def reorder_cache(self, beam_idx: Int[Tensor, " B"]) -> None:
        for places in self._places():
            _ = places.copy_(places.index_select(0, beam_idx.to(places.device)))

    def _places(self) -> tuple[Tensor, ...]:
        """Returns keys and values; nothing before the first pass."""
        return () if self.keys is None or self.values is None else (self.keys, self.values)
