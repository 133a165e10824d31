"""What a training stream over all tasks mixes: tasks, lengths, and the form of its rows."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from armt.core.config import Config
from armt.core.errors import ConfigError
from armt.tasks.babi.catalogue import babi_task
from armt.tasks.babilong.placement import Placement
from armt.tasks.babilong.store import BackgroundStore
from armt.tasks.babilong.task_config import TOKENS_PER_LINE
from armt.tasks.contract import TextEncoder

if TYPE_CHECKING:
    from armt.tasks.babilong.mixture_stream import MixtureStream

ChatTemplate = Callable[[list[dict[str, str]]], str]
"""Returns the text of a conversation, given as messages with `role` and `content`."""

MARGIN = 20
"""Tokens of a row that the reference keeps for the question and its answer."""


@dataclass(frozen=True, kw_only=True)
class TaskShare(Config):
    """One task of a mixture."""

    task: str = "qa1"
    """`qa1` to `qa20`."""

    weight: float = 1.0
    """How often it is drawn, in proportion to the other weights."""

    def __post_init__(self) -> None:
        """Checks the options."""
        _ = babi_task(self.task)
        if not self.weight > 0:
            raise ConfigError(f"`weight` must be above 0. Got {self.weight}.")


@dataclass(frozen=True, kw_only=True)
class LengthStage(Config):
    """One stage of a curriculum of lengths."""

    lengths: tuple[int, ...]
    """Tokens of facts and background that a row may have (a dense row: of everything)."""

    num_batches: int = 0
    """Batches of the stage, those of all shards together; the last stage never ends."""

    def __post_init__(self) -> None:
        """Checks the options."""
        if not self.lengths or min(self.lengths) < 1:
            raise ConfigError(f"`lengths` must be one or more, each from 1 up. Got {self.lengths}.")
        if self.num_batches < 0:
            raise ConfigError(f"`num_batches` must not be negative. Got {self.num_batches}.")


@dataclass(frozen=True, kw_only=True)
class MixtureStreamConfig(Config):
    """Options of `MixtureStream`."""

    batch_size: int = 32
    """Rows of a batch."""

    tasks: tuple[TaskShare, ...] = (TaskShare(),)
    """The tasks and how often each is drawn."""

    stages: tuple[LengthStage, ...] = (LengthStage(lengths=(1000,)),)
    """The lengths, stage after stage."""

    mixed_length_ratio: float = 0.0
    """Share of rows that take the greatest length of the stage; the others draw any of them."""

    is_length_shared: bool = False
    """Whether all rows of a batch have the same length, so that nothing is padded."""

    form: Literal["plain", "chat"] = "plain"
    """`plain`: context, question, the token that asks, answer, end token. `chat`: context, question
    and `instruction` as the user's message, the answer as the assistant's."""

    instruction: str = "Answer with as few words as possible."
    """What the user says after the question (`chat`)."""

    is_dense: bool = False
    """Whether all questions of a story stand in its row with their answers, each after the facts
    told before it; else one of them, drawn at random, stands at the end."""

    question_at: Literal["end", "both"] = "end"
    """Whether the question is told before the context too."""

    placement: Placement = field(default_factory=Placement)
    """Where facts, and in a dense row questions, stand."""

    tokens_per_line: int = TOKENS_PER_LINE
    """A row of n tokens takes stories of at most n over this lines, one question counted."""

    def __post_init__(self) -> None:
        """Checks the options."""
        for name in ("batch_size", "tokens_per_line"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1. Got {getattr(self, name)}.")
        if not self.tasks or not self.stages:
            raise ConfigError("`tasks` and `stages` must name at least one each. Got none.")
        if not 0 <= self.mixed_length_ratio <= 1:
            raise ConfigError(
                f"`mixed_length_ratio` must lie in [0, 1]. Got {self.mixed_length_ratio}."
            )
        if any(stage.num_batches == 0 for stage in self.stages[:-1]):
            raise ConfigError("Every stage but the last needs `num_batches` of at least 1. Got 0.")
        if self.is_dense and (self.form == "chat" or self.question_at == "both"):
            raise ConfigError(
                "A dense row has many questions: it is plain and none of them stands first. Got "
                f"form '{self.form}' and question_at '{self.question_at}'."
            )

    def build(
        self,
        store: BackgroundStore,
        encoder: TextEncoder,
        seed: int = 0,
        *,
        template: ChatTemplate | None = None,
    ) -> "MixtureStream":
        """Returns the stream over the books of `store`; see `MixtureStream`."""
        from armt.tasks.babilong.mixture_stream import MixtureStream

        return MixtureStream(self, store, encoder, seed, template=template)


def segment_lengths(
    num_segments: int, segment_len: int, *, margin: int = MARGIN, is_varied: bool = False
) -> tuple[int, ...]:
    """Returns the lengths of rows that fill `num_segments` segments, question and answer included.

    Args:
        num_segments: the greatest number of segments.
        segment_len: tokens of a segment.
        margin: tokens kept for question and answer; the reference takes 20, for chats 70.
        is_varied: whether all smaller numbers of segments occur too.

    Raises:
        ConfigError: the margin leaves nothing of a segment.
    """
    if num_segments < 1 or segment_len <= margin:
        raise ConfigError(
            f"A segment must be longer than the margin of {margin} tokens, and there must be one "
            f"at least. Got {num_segments} of {segment_len} tokens."
        )
    numbers = range(1, num_segments + 1) if is_varied else (num_segments,)
    return tuple(number * segment_len - margin for number in numbers)
