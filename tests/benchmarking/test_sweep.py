import time
from dataclasses import replace

import pytest

from armt.benchmarking import sweep
from armt.benchmarking.config import BenchConfig
from armt.benchmarking.sweep import MEASURES, plan, run_sweep
from armt.core.errors import ConfigError
from benchmarking.benches import CONFIG, SHAPE, make_bench

OTHER = replace(SHAPE, name="other", segment_len=4)


def test_the_most_important_cells_come_first():
    config = replace(CONFIG, batch_sizes=(1, 8), segment_lens=(8, 16), train_batch_sizes=(2,))
    cells = plan(["ceiling", "read", "train"], [SHAPE, OTHER], config)
    found = [(each.what, *each.case[1:]) for each in cells if each.case.shape is SHAPE]
    assert found == [
        ("ceiling", 8, 1),
        ("read", 8, 1),
        ("train", 8, 2),
        ("read", 8, 8),
        ("read", 16, 1),
        ("train", 16, 2),
        ("read", 16, 8),
    ]
    shapes = [each.case.shape.name for each in cells[:5]]
    assert shapes == ["tiny", "tiny", "other", "tiny", "other"]


def test_without_a_wish_segments_have_the_shapes_own_length():
    cells = plan(["read"], [SHAPE, OTHER], CONFIG)
    assert [each.case.segment_len for each in cells] == [8, 4]


def test_an_unknown_measurement_is_told():
    with pytest.raises(ConfigError, match=r"ceiling, read, train.*Got 'reed'"):
        _ = plan(["reed"], [SHAPE], CONFIG)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"num_repeats": 0}, "num_repeats"), ({"schedules": ()}, "at least one")],
)
def test_options_are_checked(options, message):
    with pytest.raises(ConfigError, match=message):
        _ = BenchConfig(**options)


def test_nothing_new_begins_when_the_time_is_up(tmp_path, monkeypatch):
    bench, _ = make_bench(tmp_path)
    done = []

    def slow(bench, case):
        done.append(case)
        if len(done) == 2:
            bench.deadline = time.monotonic()

    monkeypatch.setattr(sweep, "MEASURES", {"slow": slow})
    cells = plan(["slow"], [SHAPE] * 5, CONFIG)
    result = run_sweep(bench, cells)
    assert result.num_done == len(done) == 2
    assert result.left == tuple(cells[2:])
    assert result.failures == ()


def test_what_fails_does_not_stop_the_rest(tmp_path, monkeypatch):
    bench, measured = make_bench(tmp_path)

    def broken(bench, case):
        raise RuntimeError("CUDA error:\n  an illegal memory access")

    monkeypatch.setattr(sweep, "MEASURES", {"broken": broken, "ceiling": MEASURES["ceiling"]})
    told = []
    cells = plan(["broken", "ceiling"], [SHAPE], CONFIG)
    result = run_sweep(bench, cells, told.append)
    assert told == cells
    (failure,) = result.failures
    assert failure == (cells[0], "CUDA error: an illegal memory access")
    assert cells[0].title == "broken, tiny, segment 8, batch 1"
    assert [each.name for each in measured] == ["ceiling.tflops", "ceiling.bytes_per_s"]
    assert all(each.value > 0 for each in measured)
