"""Options of the training stream of tasks 1 to 5."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from armt.core.config import Config
from armt.core.errors import ConfigError
from armt.tasks.babi.world import IntArray
from armt.tasks.babilong.store import BackgroundStore
from armt.tasks.babilong.task_worlds import WORLDS, task_world
from armt.tasks.babilong.world_table import WorldTable
from armt.tasks.contract import TextEncoder

if TYPE_CHECKING:
    from armt.tasks.babilong.stream import DenseFactStream, FactStream

_NUM_TAIL_LENS = 8


@dataclass(frozen=True, kw_only=True)
class FactStreamConfig(Config):
    """Options of `FactStream`."""

    tasks: tuple[str, ...] = ("qa1",)
    """Of which each text, or dense row, tells and asks one, each as likely; some of `WORLDS`."""

    easier_weight: float = 0.0
    """How often an easier question is asked for one of the task's own, such as where a
    person is in task 2; 0 for never. Tasks 2 and 3 have such. Where fewer of the task's own have an
    answer than `num_questions`, easier ones fill the row all the same."""

    batch_size: int = 32
    """Rows of a batch."""

    segment_len: int = 128
    """Tokens of a segment; the carried length must be a multiple of it."""

    carry_len: int = 0
    """Tokens of going-on text in each batch; 0 makes every batch begin anew."""

    tail_len: tuple[int, int] = (64, 256)
    """Least and greatest length of the preview before the questions; a batch draws one of
    `tail_lens`."""

    num_questions: int = 2
    """Questions in a row, different ones as far as so many have an answer; none in a row whose
    story has told nothing yet that can be asked."""

    asks_a_fact_once: bool = False
    """Whether no two questions of a row follow from the same fact, even if they are fewer then.
    Else one may be answered from those before it, which teaches no memory anything."""

    gap_len: tuple[int, int] = (16, 2048)
    """Least and greatest scale of the distance between facts, in tokens: a row draws its scale s
    log-uniformly anew in each epoch, its distances then log-uniformly from s/4 to 4s."""

    confuser_gap: int = 0
    """Mean distance in tokens of background sentences that name a person or a place of the world,
    put in besides those that stand there anyway; 0 for none (not in dense rows)."""

    border_share: float = 0.0
    """Share of the facts that are moved onto a border between two segments of the carried text,
    which cuts few by chance: one half is then read in one segment and one in the next."""

    confuser_border_share: float = 0.0
    """Share of the borders over which a confusing sentence is written, so that what a border cuts
    need not be a fact; see `confuser_gap`."""

    half_fact_share: float = 0.0
    """Share of these borders at which half a fact stands instead, its first half before the border
    or its second half after it: what is cut is no fact until both were read."""

    epoch_steps: int = 1
    """Most batches over which a row's text goes on; drawn log-uniformly from 1 up."""

    text_weight: float = 0.0
    """Weight of every other token in the loss beside the answers' one; 0 for no loss on them."""

    is_dense: bool = False
    """Whether the rows are short texts with questions all along, for a first stage of training."""

    sequence_len: int = 256
    """Length of a dense row."""

    def __post_init__(self) -> None:
        """Checks the options."""
        for name in ("batch_size", "segment_len", "num_questions", "epoch_steps", "sequence_len"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1. Got {getattr(self, name)}.")
        if self.confuser_gap < 0:
            raise ConfigError(f"`confuser_gap` must not be negative. Got {self.confuser_gap}.")
        self._check_tasks()
        shares = ("text_weight", "border_share", "confuser_border_share", "half_fact_share")
        for name in shares:
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"`{name}` must lie in [0, 1]. Got {getattr(self, name)}.")
        for name, least in (("tail_len", 0), ("gap_len", 1)):
            low, high = getattr(self, name)
            if not least <= low <= high:
                raise ConfigError(
                    f"`{name}` must be (least, greatest), from {least} up. Got {(low, high)}."
                )
        if self.carry_len < 0 or self.carry_len % self.segment_len:
            raise ConfigError(
                f"`carry_len` must be a multiple of `segment_len` ({self.segment_len}), or 0. "
                f"Got {self.carry_len}."
            )
        self._check_carry()

    def _check_tasks(self) -> None:
        if not self.tasks or not set(self.tasks) <= set(WORLDS):
            raise ConfigError(
                f"`tasks` must name some of {', '.join(WORLDS)}. "
                f"Got {', '.join(self.tasks) or 'none'}."
            )
        if not 0 <= self.easier_weight < 1:
            raise ConfigError(f"`easier_weight` must lie in [0, 1). Got {self.easier_weight}.")

    def _check_carry(self) -> None:
        if self.carry_len == 0 and self.epoch_steps > 1:
            raise ConfigError(
                "A text goes on only if some of it is carried: set `carry_len`, or `epoch_steps` "
                f"to 1. Got {self.epoch_steps}."
            )
        for name in ("border_share", "confuser_border_share"):
            if self.carry_len == 0 and getattr(self, name):
                raise ConfigError(
                    f"There is no border where nothing is carried: set `carry_len`, or `{name}` to "
                    f"0. Got {getattr(self, name)}."
                )
        if self.half_fact_share and not self.confuser_border_share:
            raise ConfigError(
                "Halves of facts stand at borders that are confused: set `confuser_border_share`, "
                f"or `half_fact_share` to 0. Got {self.half_fact_share}."
            )
        if self.is_dense and self.carry_len:
            raise ConfigError(f"A dense row is not carried on. Got `carry_len` {self.carry_len}.")

    @property
    def tail_lens(self) -> IntArray:
        """The lengths that a preview may have: a few, evenly spaced, so that few shapes occur."""
        spaced = np.linspace(*self.tail_len, num=_NUM_TAIL_LENS)
        return np.unique(spaced.round().astype(np.int64))

    def tables(self, encoder: TextEncoder) -> list[WorldTable]:
        """Returns the encoded worlds of the tasks."""
        return [WorldTable(encoder, task_world(task, self.easier_weight)) for task in self.tasks]

    def build(
        self, store: BackgroundStore, encoder: TextEncoder, seed: int = 0
    ) -> "FactStream | DenseFactStream":
        """Returns the stream over the books of `store`."""
        from armt.tasks.babilong.stream import DenseFactStream, FactStream

        if self.is_dense:
            return DenseFactStream(self, store, encoder, seed)
        return FactStream(self, store, encoder, seed)
