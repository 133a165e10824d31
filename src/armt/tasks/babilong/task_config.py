"""Everything that decides the samples of a BABILong task, besides the texts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from armt.core.config import Config
from armt.core.errors import ConfigError
from armt.tasks.babi.format import Question
from armt.tasks.babilong.lengths import RESERVE_LEN
from armt.tasks.babilong.placement import Placement
from armt.tasks.babilong.store import BackgroundStore
from armt.tasks.contract import TextEncoder

if TYPE_CHECKING:
    from armt.tasks.babilong.sample import BabilongTask

GENERATOR_VERSION = 1
"""Rises when the same config gives other samples."""

TOKENS_PER_LINE = 8
"""A context of n tokens takes at most n // 8 lines of a story, its question counted."""


@dataclass(frozen=True, kw_only=True)
class BabilongTaskConfig(Config):
    """Options of `BabilongTask`; the defaults are those of the published benchmark."""

    task: str = "qa1"
    """`qa1` to `qa20`, or any name for questions of one's own."""

    split: Literal["train", "test"] = "test"
    """Which stories the own generator tells: no story of one split is meant for the other."""

    seed: int = 0
    """Another seed, other stories in other places of other texts."""

    placement: Placement = field(default_factory=Placement)
    """Where the facts stand."""

    question_at: Literal["end", "both"] = "end"
    """`both` tells the question before the context too, outside of the budget. That makes the task
    far easier, so its results bear another name (`qa1@both`)."""

    reserve_len: int = RESERVE_LEN
    """Tokens taken off a length for the prompt: of `16k` remain 15,700 for facts and background.
    With 0 the context is exactly as long as the length says."""

    background: Literal["reference", "sentences"] = "reference"
    """`reference`: the published way to walk through the books. `sentences`: from a sentence drawn
    at random to the end of its book, as the training streams do."""

    facts: Literal["told", "shuffled", "distractors"] = "told"
    """Controls: `shuffled` destroys the order of the facts; `distractors` leaves out those that the
    answer follows from, so that nothing but guessing is left."""

    has_lookalikes: bool = True
    """Whether the background keeps sentences that name a person and a place or an object of the
    tasks, as published; see `armt.tasks.babilong.contamination`."""

    has_fact_limit: bool = True
    """Whether a sample does not exist where its story has more lines than an eighth of the context
    has tokens. Without the limit a context may be longer than asked for."""

    may_repeat: bool = True
    """Whether the background may be longer than all books together, so that text occurs twice; the
    factor is recorded in every sample."""

    reference_compat: bool = False
    """Whether the last sample of a given list is left out, which the published loader cannot reach
    (an off-by-one)."""

    def __post_init__(self) -> None:
        """Checks the options."""
        if self.reserve_len < 0:
            raise ConfigError(f"`reserve_len` must not be negative. Got {self.reserve_len}.")
        if not self.task or "@" in self.task:
            raise ConfigError(
                f"`task` must be a name without '@', such as 'qa1'. Got {self.task!r}."
            )

        if self.background == "sentences":
            self._check_sentences()

    @property
    def label(self) -> str:
        """The name that results bear: of the task, and what makes it another one.

        `@both` if the question comes first too, `@shuffled` or `@distractors` for a control.
        """
        marks = [
            f"@{value}"
            for value, default in ((self.question_at, "end"), (self.facts, "told"))
            if value != default
        ]
        return self.task + "".join(marks)

    def _check_sentences(self) -> None:
        if self.placement.kind == "window" or not self.has_lookalikes:
            raise ConfigError(
                "A window of gaps and a background without lookalikes leave out sentences, which "
                "only `background='reference'` can. Got `background='sentences'`."
            )

    def build(
        self,
        store: BackgroundStore,
        encoder: TextEncoder,
        *,
        questions: Sequence[Question] | None = None,
    ) -> "BabilongTask":
        """Returns the task over the books of `store`; see `BabilongTask`."""
        from armt.tasks.babilong.sample import BabilongTask

        return BabilongTask(store, encoder, self, questions=questions)
