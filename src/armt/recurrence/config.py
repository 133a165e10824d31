"""Options of a recurrence."""

from dataclasses import dataclass
from typing import Literal

from armt.core.config import Config
from armt.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class RecurrenceConfig(Config):
    """How a text is cut and how far its gradient goes back."""

    segment_len: int
    """Text tokens in a segment."""

    overlap_len: int = 0
    """Tokens at the end of a segment that the next one begins with again, so that what a border
    cuts is seen whole by one of them. A segment then brings so many fewer new tokens."""

    bptt_depth: int | None = None
    """Segments that a loss's gradient goes back through the memory; none for all of them.

    The text is cut, from its end, into stretches of `bptt_depth + 1` segments, and the state is
    detached between them: the last segment's loss reaches exactly `bptt_depth` segments back. Each
    row of a batch is cut from its own end, whatever the others' lengths.
    """

    schedule: Literal["auto", "sequential", "waves"] = "auto"
    """Whether segments run one after the other or in waves; `auto` takes what is faster.

    With `sequential`, unless it is compiled, a GPU runs operation by operation, without graphs; so
    it does when it generates.
    """

    is_compiled: bool = False
    """Whether a GPU runs layers and memories as compiled code, with the same results. Each shape of
    segment is compiled anew, which takes long, so it is worth it for long texts and for training. A
    CPU is not concerned, nor models that cannot wave, nor training with checkpointed layers."""

    def __post_init__(self) -> None:
        """Checks the options."""
        if self.schedule not in ("auto", "sequential", "waves"):
            raise ConfigError(
                f"`schedule` must be 'auto', 'sequential' or 'waves'. Got {self.schedule!r}."
            )
        for name in ("segment_len", "overlap_len", "bptt_depth"):
            _check_whole(name, getattr(self, name), may_be_none=name == "bptt_depth")
        if self.segment_len < 1:
            raise ConfigError(f"`segment_len` must be at least 1. Got {self.segment_len}.")
        if not 0 <= self.overlap_len < self.segment_len:
            raise ConfigError(
                f"`overlap_len` must be at least 0 and less than `segment_len` "
                f"({self.segment_len}). Got {self.overlap_len}."
            )
        if self.bptt_depth is not None and self.bptt_depth < 0:
            raise ConfigError(f"`bptt_depth` must not be negative. Got {self.bptt_depth}.")

    @property
    def stride(self) -> int:
        """New tokens that a segment brings, but for the first, which brings `segment_len`."""
        return self.segment_len - self.overlap_len

    def is_cut_before(self, segment: int, num_segments: int) -> bool:
        """Whether the gradient stops between segment number `segment` and the one before it.

        It does not behind the end of a text of `num_segments`.
        """
        if self.bptt_depth is None or segment >= num_segments:
            return False
        return (num_segments - segment) % (self.bptt_depth + 1) == 0


def _check_whole(name: str, value: object, *, may_be_none: bool) -> None:
    if may_be_none and value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigError(f"`{name}` must be a whole number. Got {value!r}.")
