import pytest

from armt.evaluation.reports.published import (
    MEASURED_HERE,
    PICTURE,
    Standing,
    later_rows,
    leaderboard_rows,
    majority_floors,
    rmt_rows,
)

# The last column of the published picture.
AVERAGES = (
    95, 98, 74, 72, 70, 68, 65, 62, 61, 59, 59, 59, 58, 55, 55, 55, 54, 54, 51, 49, 47, 45, 44, 41,
    41, 41,
)  # fmt: skip


def test_the_picture_agrees_with_its_own_averages():
    rows = leaderboard_rows()
    assert len(rows) == len(AVERAGES)
    for row, average in zip(rows, AVERAGES, strict=True):
        assert row.average == pytest.approx(average, abs=1.0), row.name
        assert row.source == PICTURE


def test_the_rmt_by_task_gives_its_row_in_the_picture():
    [row] = [row for row in leaderboard_rows() if row.name.startswith("RMT")]
    ends = [each.accuracies for each in rmt_rows() if each.question_at == "end"]
    assert len(ends) == 5
    for segments, length in ((19532, 10_000_000), (2048, 1_000_000), (256, 128_000), (64, 32_000)):
        mean = sum(each[segments] for each in ends) / 5
        assert mean == pytest.approx(row.accuracies[length], abs=0.6)


def test_claims_and_lengths_are_tokens():
    by_name = {row.name: row for row in [*leaderboard_rows(), *later_rows()]}
    assert by_name["gemma-2-9b-it"].claimed_len == 8000
    assert by_name["gemma-2-9b-it"].accuracies[8000] == 0
    assert by_name["ARMT (137M) fine-tuned"].claimed_len is None
    assert by_name["ARMT (137M) fine-tuned"].accuracies[10_000_000] == 77
    assert by_name["Gemini-3-flash-preview"].accuracies[1_000_000] == 50.6
    assert len(by_name) == len(leaderboard_rows()) + len(later_rows())


def test_floors_are_there_for_all_twenty_tasks():
    floors = majority_floors()
    assert list(floors) == [f"qa{number}" for number in range(1, 21)]
    assert floors["qa19"] == 9.3


def test_what_was_measured_here_is_told_apart():
    own = Standing("mine", None, {0: 50.0, 1000: 40.0}, MEASURED_HERE)
    assert (own.average, own.is_published) == (45.0, False)
    assert all(row.is_published for row in [*leaderboard_rows(), *later_rows()])
