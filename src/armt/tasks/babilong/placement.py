"""Where the facts stand within the background text."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np

from armt.core.config import Config
from armt.core.errors import ConfigError, DataError, suggestion
from armt.tasks.babi.dice import Dice
from armt.tasks.babilong.layout import RunningText
from armt.tasks.babilong.splitters import IntArray

PlacementKind = Literal[
    "reference", "token_uniform", "window", "depth", "clustered", "first", "last"
]

_NUM_NUMBERS = {"window": 2, "depth": 1, "clustered": 1}


@dataclass(frozen=True, kw_only=True)
class Placement(Config):
    """How the gap of each fact is chosen; the order of the facts is always kept.

    There is one gap before each sentence and one after the last; several facts may share one.
    """

    kind: PlacementKind = "reference"
    """`reference`: uniform over the gaps with replacement, so even in sentences, not in tokens.
    `token_uniform`: the gap nearest to a place that is uniform over the tokens. `window`: as the
    reference, between `start` and `end` only. `depth`: all facts at `depth`. `clustered`: all facts
    within a stretch of `spread`, which stands anywhere. `first`, `last`: before and after all
    background."""

    start: float = 0.0
    """Share of the budget before which no fact stands (`window`)."""

    end: float = 1.0
    """Share of the budget before which all facts have ended (`window`)."""

    depth: float = 0.5
    """Share of the background before the facts (`depth`)."""

    spread: float = 0.05
    """Length of the stretch as a share of the background (`clustered`)."""

    def __post_init__(self) -> None:
        """Checks the options."""
        if self.kind not in get_args(PlacementKind):
            raise _unknown_kind(str(self.kind))
        if not 0 <= self.start < self.end <= 1:
            raise ConfigError(
                f"`start` and `end` must be shares with 0 <= start < end <= 1. "
                f"Got {self.start} and {self.end}."
            )
        if not 0 <= self.depth <= 1:
            raise ConfigError(f"`depth` must lie in [0, 1]. Got {self.depth}.")
        if not 0 < self.spread <= 1:
            raise ConfigError(f"`spread` must lie in (0, 1]. Got {self.spread}.")

    @property
    def name(self) -> str:
        """The placement as text, such as `depth:0.5`; `parse_placement` reads it back."""
        numbers = {
            "window": f":{_decimal(self.start)}-{_decimal(self.end)}",
            "depth": f":{_decimal(self.depth)}",
            "clustered": f":{_decimal(self.spread)}",
        }
        return self.kind + numbers.get(self.kind, "")

    def max_sentence_len(self, budget: int) -> int | None:
        """Returns the longest background sentence allowed, for a budget of tokens; none for any.

        A window leaves out sentences longer than half of itself, as the reference does: within one
        of them there would be no gap.
        """
        if self.kind != "window":
            return None
        return max(1, math.floor(0.5 * (self.end - self.start) * budget))

    def draw(self, text: RunningText, fact_lens: list[int], dice: Dice) -> IntArray:
        """Returns the gap of each fact, rising; a text without tokens has one gap, 0.

        Raises:
            DataError: no gap lies in the window.
        """
        if text.num_tokens == 0:
            return np.zeros(len(fact_lens), dtype=np.int64)
        gaps = _RULES[self.kind](self, text, fact_lens, dice)
        return np.sort(np.asarray(gaps, dtype=np.int64))


def parse_placement(text: str) -> Placement:
    """Returns the placement written as `reference`, `depth:0.5`, `window:0.2-0.4` and the like.

    Raises:
        ConfigError: the kind is unknown or its numbers are missing, too many or out of range.
    """
    kind, colon, rest = text.strip().replace("token-uniform", "token_uniform").partition(":")
    if kind not in get_args(PlacementKind):
        raise _unknown_kind(kind)
    wanted = _NUM_NUMBERS.get(kind, 0)
    numbers = [float(each) for each in re.findall(r"\d*\.?\d+", rest)]
    is_written_so = re.fullmatch(r"\s*(\d*\.?\d+)\s*(-\s*\d*\.?\d+\s*)?", rest) is not None
    if kind == "clustered" and not colon:
        return Placement(kind="clustered")
    if len(numbers) != wanted or bool(colon) != bool(wanted) or (wanted and not is_written_so):
        raise ConfigError(
            "Write a placement as 'reference', 'token_uniform', 'first', 'last', 'window:0.2-0.4', "
            f"'depth:0.5' or 'clustered:0.05'. Got {text!r}."
        )
    if kind == "window":
        return Placement(kind="window", start=numbers[0], end=numbers[1])
    if kind == "depth":
        return Placement(kind="depth", depth=numbers[0])
    if kind == "clustered":
        return Placement(kind="clustered", spread=numbers[0])
    return Placement(kind=cast("PlacementKind", kind))


def _decimal(share: float) -> str:
    """Returns a number as it is read back: all of its digits and no exponent."""
    return np.format_float_positional(share + 0.0, trim="-")  # -0.0 becomes 0.0


def _unknown_kind(kind: str) -> ConfigError:
    kinds = get_args(PlacementKind)
    hint, known = suggestion(kind, kinds), ", ".join(kinds)
    return ConfigError(f"Unknown placement '{kind}'.{hint} Known: {known}.")


Rule = Callable[[Placement, RunningText, list[int], Dice], list[int]]


def _in_any_gap(_: Placement, text: RunningText, fact_lens: list[int], dice: Dice) -> list[int]:
    num_gaps = text.num_sentences + 1
    return [dice.below(num_gaps) for _ in fact_lens]


def _at_any_token(_: Placement, text: RunningText, fact_lens: list[int], dice: Dice) -> list[int]:
    return [text.nearest_gap(dice.below(text.num_tokens + 1)) for _ in fact_lens]


def _between(
    placement: Placement, text: RunningText, fact_lens: list[int], dice: Dice
) -> list[int]:
    budget = text.num_tokens + sum(fact_lens)
    low = text.gap_from(math.ceil(placement.start * budget))
    high = text.gap_from(math.ceil(placement.end * budget - sum(fact_lens)))
    high = min(high, text.num_sentences)  # the reference never uses the gap at the very end
    if low >= high:
        raise DataError(
            f"No gap between sentences lies in the {placement.name} of {budget} tokens, "
            f"less the {sum(fact_lens)} tokens of the facts. Widen the window, "
            "or ask for a longer context."
        )
    return [low + dice.below(high - low) for _ in fact_lens]


def _at_depth(placement: Placement, text: RunningText, fact_lens: list[int], _: Dice) -> list[int]:
    return [text.nearest_gap(round(placement.depth * text.num_tokens))] * len(fact_lens)


def _in_cluster(
    placement: Placement, text: RunningText, fact_lens: list[int], dice: Dice
) -> list[int]:
    stretch = int(placement.spread * text.num_tokens)
    start = dice.below(text.num_tokens - stretch + 1)
    low, high = text.gap_from(start), text.gap_from(start + stretch + 1)
    if low >= high:
        return [text.nearest_gap(start)] * len(fact_lens)
    return [low + dice.below(high - low) for _ in fact_lens]


def _at_start(_: Placement, __: RunningText, fact_lens: list[int], ___: Dice) -> list[int]:
    return [0] * len(fact_lens)


def _at_end(_: Placement, text: RunningText, fact_lens: list[int], __: Dice) -> list[int]:
    return [text.num_sentences] * len(fact_lens)


_RULES: dict[str, Rule] = {
    "reference": _in_any_gap,
    "token_uniform": _at_any_token,
    "window": _between,
    "depth": _at_depth,
    "clustered": _in_cluster,
    "first": _at_start,
    "last": _at_end,
}
