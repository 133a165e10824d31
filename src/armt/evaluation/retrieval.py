"""Exact match on associative retrieval, at any number of pairs."""

from collections.abc import Sequence
from dataclasses import replace

from armt.evaluation.metrics import Score
from armt.evaluation.prompts import prompt_score
from armt.recurrence.model import Recurrent
from armt.tasks.associative_retrieval import AssociativeRetrievalConfig


def retrieval_scores(
    model: Recurrent,
    task: AssociativeRetrievalConfig,
    nums_pairs: Sequence[int],
    *,
    num_samples: int = 256,
    batch_size: int = 256,
    seed: int = 0,
    use_memory: bool = True,
) -> dict[int, Score]:
    """Returns the exact match of `model` at each number of pairs; see `prompt_score`.

    Raises:
        ConfigError: there are not so many different keys.
    """
    tasks = {number: replace(task, num_pairs=number).build() for number in nums_pairs}
    return {
        number: prompt_score(
            model,
            one.evaluation_batch(num_samples, seed),
            batch_size=batch_size,
            use_memory=use_memory,
        )
        for number, one in tasks.items()
    }
