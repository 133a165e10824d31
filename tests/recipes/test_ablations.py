"""Ablations: each changes what it says, and the script trains, records and goes on."""

import ablations
import pytest
from pages import runs

from armt.benchmarking.records import load_records
from armt.recipes.registry import RECIPES

SMALL = [
    "backbone.d_model=16", "backbone.num_layers=1", "backbone.num_heads=2", "backbone.d_ffn=16",
    "recurrence.is_compiled=false", *(f"stages.{number}.batch_size=4" for number in range(5)),
    *(f"stages.{number}.num_steps={int(number in (0, 4))}" for number in range(5)),
]  # fmt: skip


def measured_by_script(monkeypatch, folder, names, seeds=("0",)):
    """What `benchmarks/ablations.py` has recorded after it was called so."""
    places = ["--folder", str(folder / "runs"), "--results", str(folder / "found.jsonl")]
    asked = ["--only", *names, "--seeds", *seeds, "--pairs", "5", "70", "--num-samples", "8"]
    monkeypatch.setattr("sys.argv", ["ablations.py", *places, *asked, "--set", *SMALL])
    ablations.main()
    return load_records(folder / "found.jsonl")


@pytest.mark.parametrize("name", ablations.ABLATIONS)
def test_an_ablation_changes_the_recipe_and_keeps_its_steps(name):
    run = RECIPES[ablations.RECIPE].entry()
    changed = run.changed(ablations.ABLATIONS[name])
    assert (changed == run) == (name == "as_it_is")
    assert changed.num_steps == run.num_steps
    last = [each.stages[-1].stream.num_pairs for each in (run, changed)]
    assert last == [16, 64 if name == "prefix" else 16]


@pytest.mark.parametrize("name", ["published", "no_curriculum", "prefix"])
def test_an_ablation_runs_in_small(name, tmp_path, monkeypatch):
    found = measured_by_script(monkeypatch, tmp_path, [name])
    shares = [each for each in found if each.name == runs.EXACT_MATCH]
    assert [each.params["tested"] for each in shares] == [5, 70]
    for each in shares:
        assert each.params["ablation"] == name
        assert each.params["changes"] == [*ablations.ABLATIONS[name], *SMALL]


def test_a_second_call_measures_only_what_is_missing(tmp_path, monkeypatch):
    first = measured_by_script(monkeypatch, tmp_path, ["gamma"])
    assert measured_by_script(monkeypatch, tmp_path, ["gamma"]) == first
    more = measured_by_script(monkeypatch, tmp_path, ["gamma"], ["0", "1"])
    assert more[: len(first)] == first
    assert {each.seed for each in more[len(first) :]} == {1}
