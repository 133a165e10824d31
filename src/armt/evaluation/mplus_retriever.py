"""How often the retriever of M+ finds what a question is about.

A memory token that left the pool is found if the next segment is handed it. Handing tokens out at
random would find as large a share of those of one segment as of all.
"""

from typing import Any, NamedTuple, cast

import torch

from armt.backbones.modes import evaluation_mode
from armt.core.errors import ConfigError
from armt.core.shapes import Int, Tensor
from armt.evaluation.metrics import Score
from armt.memories.mplus import MPlus, MPlusState
from armt.recurrence.model import Recurrent


class Retrieved(NamedTuple):
    """What the retriever of one layer finds."""

    wanted: Score
    """Of the tokens of the segment in question that are in the long-term memory, those found."""

    every: Score
    """Of all that is there: what chance would find."""


@torch.no_grad()
def retrieved_by_layer(
    model: Recurrent, text_ids: Int[Tensor, "B T"], segment: int
) -> list[Retrieved]:
    """Returns for each layer what is found once a text of whole segments was read.

    Args:
        model: with M+, not in its published form.
        text_ids: what stands before the question.
        segment: number of the segment that the question will be about, from 0 on.

    Raises:
        ConfigError: another memory, or a text that ends within a segment.
    """
    mechanisms = [each for each in model.memory.mechanisms if isinstance(each, MPlus)]
    segment_len = model.recurrence.segment_len
    if not mechanisms or text_ids.shape[1] % segment_len:
        raise ConfigError(
            f"Only M+ has this retriever, and it chooses after whole segments of {segment_len} "
            f"tokens. Got {type(model.memory.mechanisms[0]).__name__} and {text_ids.shape[1]}."
        )
    with evaluation_mode(model):
        layers = model.read(text_ids).layers
    return [
        _retrieved(mechanism, layer, segment)
        for mechanism, layer in zip(mechanisms, layers, strict=True)
        if isinstance(layer, MPlusState)
    ]


def _retrieved(mechanism: MPlus, state: MPlusState, segment: int) -> Retrieved:
    # what registers a memory hides its own methods from the type checker
    found: Tensor = cast("Any", mechanism).next_retrieved(state)
    there = state.long_numbers
    first = 1 + segment * mechanism.num_memory_tokens
    wanted = torch.arange(first, first + mechanism.num_memory_tokens, device=there.device)
    return Retrieved(
        Score(int(torch.isin(found, wanted).sum()), int(torch.isin(there, wanted).sum())),
        Score(int((found > 0).sum()), int((there > 0).sum())),
    )
