"""Segments of tokens on the device, which the host fills while the device reads."""

from typing import final

import torch

from armt.core.shapes import Int, Tensor


@final
class SegmentRing:
    """A ring of two halves: while waves read from one, the host fills the other.

    Tokens in the host's memory go by pages that are pinned, so that the host need not wait until
    the device has come so far. It waits when it is a whole ring ahead. Copies and waves stand in
    one queue of the device, so no place is overwritten early.
    """

    def __init__(self, like: Int[Tensor, "B L"], half_len: int = 64) -> None:
        """Lays the ring out on the device of `like`, a segment such as will be put in."""
        self._half_len, self._num_put = half_len, 0
        self.places: Int[Tensor, "R B L"] = like.new_zeros((2 * half_len, *like.shape))
        self._pinned: Tensor | None = None
        if like.is_cuda:
            self._pinned = torch.zeros(self.places.shape, dtype=like.dtype, pin_memory=True)
            self._copied = (torch.cuda.Event(), torch.cuda.Event())

    @staticmethod
    def pick(places: Int[Tensor, "R B L"], cursor: Int[Tensor, "1"]) -> Int[Tensor, "B L"]:
        """Returns segment number `cursor` of what was put in, found on the device."""
        return places.index_select(0, cursor % len(places)).squeeze(0)

    def restart(self) -> None:
        """Begins with the first place again; every segment before must have been read."""
        self._num_put = 0

    def put(self, segments: Int[Tensor, "S B L"]) -> int:
        """Puts as many segments in as the half has room for; returns how many."""
        place = self._num_put % len(self.places)
        half, place_in_half = divmod(place, self._half_len)
        part = segments[: self._half_len - place_in_half]
        rows = slice(place, place + len(part))
        if self._pinned is None or part.is_cuda:
            _ = self.places[rows].copy_(part)
        else:
            if place_in_half == 0:  # these pages may be on their way to the device still
                self._copied[half].synchronize()
            _ = self._pinned[rows].copy_(part)
            _ = self.places[rows].copy_(self._pinned[rows], non_blocking=True)
            self._copied[half].record()
        self._num_put += len(part)
        return len(part)
