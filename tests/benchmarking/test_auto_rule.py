"""The schedule that `auto` takes was the faster one wherever both are recorded."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from armt.benchmarking.records import load_records
from armt.benchmarking.shapes import model_shape
from armt.recurrence.choose_schedule import _pays

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"


def faster_schedules():
    """Shape, segment, rows and length of every record of both compiled schedules; which won."""
    found = {}
    for path in sorted(RESULTS.glob("*-bench.jsonl")):
        for each in load_records(path):
            about = each.params
            is_context = each.name == "read.seconds" and "chosen" not in about
            if each.name != "read.tokens_per_s" and not is_context:
                continue
            speed = 1 / each.value if is_context else each.value
            length = about["tokens"] // about["segment_len"] if is_context else None
            key = (about["shape"], about["segment_len"], about["batch"], length)
            found.setdefault(key, {})[about["schedule"]] = speed
    both = {"waves", "sequential"}
    return {
        key: max(both, key=speeds.__getitem__)
        for key, speeds in found.items()
        if both <= speeds.keys()
    }


FASTER = faster_schedules()


def test_rows_of_either_kind_are_recorded():
    assert set(FASTER.values()) == {"waves", "sequential"}
    assert len(FASTER) >= 10


@pytest.mark.parametrize("case", FASTER, ids=str)
def test_auto_takes_the_faster_schedule(case):
    name, segment_len, num_rows, num_segments = case
    shape = model_shape(name)
    model = SimpleNamespace(
        recurrence=SimpleNamespace(segment_len=segment_len),
        anatomy=SimpleNamespace(d_model=shape.d_model, layers=[None] * shape.num_layers),
    )
    chosen = "waves" if _pays(model, num_rows, num_segments) else "sequential"
    assert chosen == FASTER[case]
