"""Arms of associative retrieval: one task and one size of state, and each can be trained."""

import re
from dataclasses import replace
from inspect import getdoc

import pytest
import retrieval
from pages import runs

from armt.benchmarking.records import load_records
from armt.benchmarking.retrieval import state_nbytes
from armt.recipes.registry import RECIPES
from armt.training.config import RunConfig
from armt.training.run import build_model

ARMS = ("armt", "rmt", "prmt", "mamba2")
TASKS = {"remember": "armt_retrieval", "rewrite": "armt_retrieval_rewrite"}
NAMES = [f"{task}_{arm}" for task in TASKS for arm in (*ARMS, "mamba2_large")]


def nbytes_of(run: RunConfig) -> int:
    return state_nbytes(build_model(run, None), run, 1)


@pytest.mark.parametrize("name", NAMES)
def test_the_bytes_that_are_told_are_those_of_the_state(name):
    (told,) = re.findall(r"([\d,]+) bytes", getdoc(RECIPES[name].entry) or "")
    assert nbytes_of(RECIPES[name].entry()) == int(told.replace(",", ""))


def test_states_are_as_large_as_each_other():
    sizes = {name: nbytes_of(RECIPES[name].entry()) for name in (*NAMES, *TASKS.values())}
    for name, nbytes in sizes.items():
        task, _, arm = name.partition("_")
        like = TASKS.get(task, name) if arm == "mamba2_large" else f"{task}_armt"
        if name in NAMES:
            assert abs(nbytes - sizes[like]) < 0.03 * sizes[like], sizes
    assert sizes["armt_retrieval"] == 16 * sizes["remember_armt"]


@pytest.mark.parametrize("name", NAMES)
def test_an_arm_has_the_data_and_steps_of_the_recipe(name):
    task, _, _ = name.partition("_")
    run, like = RECIPES[name].entry(), RECIPES[TASKS[task]].entry()
    assert run.optim == like.optim
    for stage, other in zip(run.stages, like.stages, strict=True):
        stream = replace(stage.stream, is_asked_in_row=False)
        assert replace(stage, stream=stream) == other


SMALL = [
    "backbone.d_model=16", "backbone.num_layers=1", "backbone.num_heads=2", "backbone.d_ffn=16",
    "backbone.d_state=4", "recurrence.is_compiled=false", "recurrence.schedule=sequential",
    *(f"stages.{number}.num_steps={2 if number < 2 else 0}" for number in range(7)),
]  # fmt: skip


def measured_by_script(monkeypatch, folder, names, pairs):
    """What `benchmarks/retrieval.py` has recorded after it was called so."""
    options = ["--recipes", *names, "--seeds", "1", "--pairs", *pairs, "--num-samples", "16"]
    places = ["--folder", str(folder / "runs"), "--results", str(folder / "found.jsonl")]
    command = ["retrieval.py", *options, *places, "--batch-size", "8", "--set", *SMALL]
    monkeypatch.setattr("sys.argv", command)
    retrieval.main()
    return load_records(folder / "found.jsonl")


@pytest.mark.parametrize("name", [f"rewrite_{arm}" for arm in ARMS])
def test_the_script_measures_each_arm_and_goes_on(name, tmp_path, monkeypatch):
    first = measured_by_script(monkeypatch, tmp_path, [name], ["2", "3"])
    assert {each.params["recipe"] for each in first} == {name}
    assert [each.params["tested"] for each in first if each.name == runs.EXACT_MATCH] == [2, 3]
    (size,) = [each.value for each in first if each.name == runs.STATE]
    assert size == nbytes_of(RECIPES[name].entry().changed(SMALL))
    again = measured_by_script(monkeypatch, tmp_path, [name], ["2", "3"])
    assert again == first
    more = measured_by_script(monkeypatch, tmp_path, [name], ["3", "4"])
    assert more[:-1] == first
    assert more[-1].params["tested"] == 4
