import csv

import pytest

from armt.core.errors import ConfigError
from armt.evaluation.metrics import Score
from armt.evaluation.reports.depth import by_depth, by_distance, curves_by, depth_table, draw_depth
from evaluation.records import judged, record


def placed(start: int, *, is_right: bool = True, context_len: int = 1000, **changes):
    return record(
        supporting_starts=(0, start), context_len=context_len, scores=judged(is_right), **changes
    )


def filled(bins) -> dict[str, Score]:
    return {each.name: each.score for each in bins if each.score.num_samples}


def test_the_last_supporting_fact_decides_the_depth():
    records = [placed(0), placed(99), placed(100), placed(999), placed(950, is_right=False)]
    assert filled(by_depth(records, "reference")) == {
        "0–10": Score(2, 2),
        "10–20": Score(1, 1),
        "90–100": Score(1, 2),
    }


def test_a_fact_at_the_very_end_is_in_the_last_tenth():
    assert filled(by_depth([placed(1000)], "strict")) == {"90–100": Score(1, 1)}


def test_distance_is_counted_to_the_end_of_the_context():
    records = [placed(1000 - 127), placed(1000 - 128), placed(0, context_len=2048)]
    assert filled(by_distance(records, "exact")) == {
        "0–128": Score(1, 1),
        "128–512": Score(1, 1),
        "2k–8k": Score(1, 1),
    }


def test_facts_alone_and_unplaced_records_are_left_out():
    records = [placed(5, length=0), record(supporting_starts=()), record(context_len=0)]
    assert filled(by_depth(records, "reference")) == {}
    assert curves_by(records, "reference") == {}
    assert filled(by_depth([placed(5, task="x")], "reference"))
    only_exact = [record(scores={"exact": True})]
    assert filled(by_depth(only_exact, "reference")) == {}


def test_subjects_and_arms_have_curves_of_their_own():
    records = [placed(5), placed(5, arm="off"), placed(5, subject="other", arm="none")]
    assert list(curves_by(records, "strict")) == ["boxed, memory on", "boxed, memory off", "other"]


def test_the_table_tells_counts_and_intervals():
    rows = list(csv.DictReader(depth_table([placed(5), placed(6)], "reference").splitlines()))
    assert [row["by"] for row in rows].count("depth") == 10
    assert (rows[0]["num_correct"], rows[0]["accuracy"], rows[0]["high"]) == (
        "2",
        "1.0000",
        "1.0000",
    )
    assert (rows[1]["num_samples"], rows[1]["accuracy"]) == ("0", None)


def test_the_picture_is_written(tmp_path):
    draw_depth([placed(5), placed(800, is_right=False), placed(5, arm="off")], tmp_path / "d.png")
    assert (tmp_path / "d.png").stat().st_size > 5000
    with pytest.raises(ConfigError, match="where the supporting facts stand"):
        draw_depth([record(supporting_starts=())], tmp_path / "none.png")
