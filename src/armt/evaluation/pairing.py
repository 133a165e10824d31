"""Compares two subjects on the questions that both were asked."""

from collections.abc import Sequence

from armt.core.errors import DataError
from armt.evaluation.metrics import Comparison, compare
from armt.evaluation.record import Metric, Record


def compare_records(
    first: Sequence[Record], second: Sequence[Record], metric: Metric = "exact"
) -> Comparison:
    """Pairs records of the same sample and counts who was right where.

    Give the records of one arm of each subject. What only one of them was asked does not count, so
    that a subset of one evaluation can be compared with the whole of another. A failure is wrong.

    Args:
        first: records of one subject.
        second: records of another, or of another arm of the same.
        metric: by which answers count as right.

    Raises:
        DataError: one of them has two records of a sample, no sample is common, or a record lacks
            the metric.
    """
    left, right = _by_sample(first, metric), _by_sample(second, metric)
    common = [sample for sample in left if sample in right]
    if not common:
        raise DataError(
            "The two have no sample in common. Evaluate both on one task: same texts, seed, "
            "tokenizer, lengths."
        )
    return compare([left[sample] for sample in common], [right[sample] for sample in common])


def _by_sample(records: Sequence[Record], metric: Metric) -> dict[tuple[str, str, int, int], bool]:
    found: dict[tuple[str, str, int, int], bool] = {}
    for record in records:
        sample = (record.task_fingerprint, record.task, record.length, record.index)
        if sample in found:
            raise DataError(
                f"There are two records of sample {record.index} of {record.task} at "
                f"{record.length} tokens. Give one subject and one arm at a time."
            )
        found[sample] = record.is_right(metric)
    return found
