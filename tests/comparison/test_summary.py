import csv
import io

from armt.comparison.pictures import draw_comparison, heat_panels, pareto_front, pareto_points
from armt.comparison.run import FAILED
from armt.comparison.summary import Place, comparison_csv, comparison_table, summarise
from comparison.small import measured


def recall(mechanism: str, value: float, *, seed: int = 0, tested: int = 4, arm: str = "on"):
    return measured(
        "retrieval.exact_match", value, seed=seed,
        mechanism=mechanism, tested=tested, memory=arm, trained=4,
    )  # fmt: skip


def state(mechanism: str, nbytes: int):
    return measured("memory.state_bytes", nbytes, mechanism=mechanism, segments=4)


RECORDS = [
    recall("armt", 0.5), recall("armt", 1.0, seed=1), recall("armt", 0.25, arm="off"),
    state("armt", 100), recall("rmt", 0.5), state("rmt", 200), recall("none", 0.125),
    state("none", 0),
]  # fmt: skip


def test_seeds_are_put_together_and_the_last_figure_of_a_seed_counts():
    found = summarise([recall("armt", 0.0), *RECORDS])
    assert found[Place("armt", "retrieval.exact_match", 4, "on")] == (0.75, 0.5, 1.0, 2)
    assert found[Place("armt", "memory.state_bytes", 4)] == (100, 100, 100, 1)


def test_the_table_has_a_row_for_each_memory_and_both_arms():
    lines = comparison_table(RECORDS).splitlines()
    assert lines[0].startswith("| memory | state at 4 segments, bytes |")
    assert "| 75.0 [50.0, 100.0] / 25.0 |" in lines[2]
    assert [line.split("`")[1] for line in lines[2:]] == ["armt", "none", "rmt"]
    assert "failed" not in lines[0]


def test_a_failure_stands_in_its_row():
    failed = measured(FAILED, 1, mechanism="hmt", reason="ConfigError: too short")
    [head, _, _, row, *_] = comparison_table([*RECORDS, failed]).splitlines()
    assert head.endswith("| failed |")
    assert row.startswith("| `hmt` | none |")
    assert row.endswith("| retrieval, seed 0: ConfigError: too short |")


def test_of_a_long_reason_the_first_sentence_stands_there():
    failed = measured(
        FAILED, 1, mechanism="hmt", reason="MemoryError: full. The card has 79.18 GiB."
    )
    assert comparison_table([failed]).splitlines()[-1].endswith("seed 0: MemoryError: full |")


def test_seeds_that_are_alike_are_told_once():
    alike = comparison_table([recall("armt", 0.5), recall("armt", 0.5, seed=1)])
    assert "50.0" in alike
    assert "[" not in alike


def test_the_csv_holds_every_figure():
    rows = list(csv.DictReader(io.StringIO(comparison_csv(RECORDS))))
    assert rows[0] == {
        "mechanism": "armt", "figure": "memory.state_bytes", "at": "4", "arm": "",
        "mean": "100", "low": "100", "high": "100", "num_seeds": "1",
    }  # fmt: skip
    assert len(rows) == len(summarise(RECORDS))


def test_heat_maps_show_both_arms_and_leave_gaps_grey():
    on, off = heat_panels(RECORDS)
    assert (on.title, on.subtitle, on.rows) == (
        "associative recall", "memory on", ("armt", "none", "rmt"),
    )  # fmt: skip
    assert on.values == ((75.0,), (12.5,), (50.0,))
    assert off.values == ((25.0,), (-1.0,), (-1.0,))


def test_nothing_beats_a_memory_of_the_front():
    points = pareto_points(RECORDS)
    assert {name: nbytes for name, (nbytes, _) in points.items()} == {
        "armt": 100, "none": 0, "rmt": 200,
    }  # fmt: skip
    assert pareto_front(points) == ["none", "armt"]


def test_pictures_are_drawn(tmp_path):
    drawn = draw_comparison(RECORDS, tmp_path)
    assert [path.name for path in drawn] == ["heatmap.png", "pareto.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)
    assert draw_comparison([], tmp_path) == []
