"""What fails for a group of samples is asked sample by sample."""

from collections.abc import Callable, Mapping, Sequence

import torch

from armt.core.errors import StateError
from armt.evaluation.subject import Answer, Arm
from armt.tasks.contract import Sample

Ask = Callable[[Sequence[Sample]], Mapping[Arm, Sequence[Answer]]]
"""Answers samples in the arms that were chosen before."""


def ask_apart_if_needed(
    ask: Ask, samples: Sequence[Sample], arms: Sequence[Arm]
) -> dict[Arm, list[Answer]]:
    """Asks all samples together; one by one if memory runs out or a state breaks.

    A sample that fails by itself has an answer with a failure.
    """
    try:
        return {arm: list(answers) for arm, answers in ask(samples).items()}
    except (StateError, torch.OutOfMemoryError) as error:
        if len(samples) == 1:
            failed = Answer(text="", failure=f"{type(error).__name__}: {error}")
            return {arm: [failed] for arm in arms}
    apart = [ask_apart_if_needed(ask, [sample], arms) for sample in samples]
    return {arm: [answer for found in apart for answer in found[arm]] for arm in arms}
