"""Measures models trained on associative retrieval: exact match by the number of pairs."""

from collections.abc import Sequence

from armt.benchmarking.records import RecordBook
from armt.evaluation.retrieval import retrieval_scores
from armt.recurrence.model import Recurrent
from armt.tasks.associative_retrieval import AssociativeRetrievalConfig
from armt.training.config import RunConfig

EXACT_MATCH = "retrieval.exact_match"
"""Name of the figure."""


def measure_retrieval(
    model: Recurrent,
    config: RunConfig,
    nums_pairs: Sequence[int],
    book: RecordBook,
    *,
    num_samples: int,
    changes: Sequence[str] = (),
) -> None:
    """Records the exact match of a recipe's model at each number of pairs that is not recorded.

    Args:
        model: what was trained.
        config: the recipe; its last stage tells the task.
        nums_pairs: how many pairs are written before one is asked for.
        book: takes the figures.
        num_samples: questions at each number, read side by side.
        changes: options that are not those of the recipe, as typed.

    Raises:
        ConfigError: there are not so many different keys.
    """
    task = config.stages[-1].stream
    assert isinstance(task, AssociativeRetrievalConfig), "a recipe of associative retrieval"
    about = {"task": task.kind, "memory": "on", "trained": task.num_pairs}
    told = {"recipe": config.name, "changes": list(changes), "num_samples": num_samples}
    missing = [
        number
        for number in nums_pairs
        if not book.holds(EXACT_MATCH, **about, **told, tested=number)
    ]
    scores = retrieval_scores(model, task, missing, num_samples=num_samples, batch_size=num_samples)
    for number, score in scores.items():
        _ = book.add(EXACT_MATCH, score.accuracy, "share", **about, tested=number, **told)
