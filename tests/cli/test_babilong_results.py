from armt.cli.babilong_results import tell_failures
from evaluation.records import record


def test_a_reason_that_all_share_is_told_without_a_count_and_cut_if_it_is_long():
    assert tell_failures([record()]) == ""
    told = tell_failures([record(), *[record(failure="no\nanswer.")] * 2])
    assert told.startswith(" 2 questions failed")
    assert told.endswith(" The reason: no answer.")
    assert tell_failures([record(failure="x" * 5000)]).endswith("xxx ...")
    assert len(tell_failures([record(failure="x" * 5000)])) < 400
