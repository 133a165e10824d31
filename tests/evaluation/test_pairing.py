import pytest

from armt.core.errors import DataError
from armt.evaluation.metrics import Comparison
from armt.evaluation.pairing import compare_records
from evaluation.records import cell, judged, record


def test_the_same_samples_are_paired_whatever_their_order():
    first = cell(3, 5)
    second = [record(index, scores=judged(index in (0, 4)), arm="off") for index in (4, 3, 2, 1, 0)]
    assert compare_records(first, second) == Comparison(1, 2, 1, 1)


def test_what_only_one_was_asked_does_not_count():
    assert compare_records(cell(3, 5), cell(2, 2)) == Comparison(2, 0, 0, 0)
    assert compare_records(cell(3, 5), [*cell(2, 2), *cell(9, 9, length=0)]).num_both == 2


def test_the_metric_counts():
    mixed = [record(scores={"reference": True, "exact": False})]
    assert compare_records(mixed, cell(1, 1), "exact") == Comparison(0, 0, 1, 0)
    assert compare_records(mixed, cell(1, 1), "reference") == Comparison(1, 0, 0, 0)


def test_two_arms_together_and_foreign_samples_are_refused():
    with pytest.raises(DataError, match="two records of sample 0 of qa1 at 1000 tokens"):
        _ = compare_records([*cell(1, 1), *cell(1, 1, arm="off")], cell(1, 1))
    with pytest.raises(DataError, match="no sample in common"):
        _ = compare_records(cell(1, 1), cell(1, 1, task_fingerprint="other"))
