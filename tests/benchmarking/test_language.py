"""Language modelling at equal compute: steps, the script from end to end, and going on."""

import language
import pytest

from armt.benchmarking.language import BITS, memory_changes
from armt.benchmarking.records import load_records
from armt.core.errors import UnknownNameError
from armt.recipes.books import books as recipe
from armt.recurrence.flops import count_flops
from armt.tasks.encoder import TokenizerEncoder
from armt.training.run import build_model
from comparison.small import books
from tiny_boxed import tiny_tokenizer

SMALL = [
    "backbone.d_model=16", "backbone.num_layers=1", "backbone.num_heads=2", "backbone.d_ffn=16",
    "text.vocab_size=300", "precision=float32",
    *(f"stages.{number}.{change}" for number in range(2)
      for change in ("num_steps=2", "batch_size=2", "stream.segment_len=16",
                     "stream.num_segments=2")),
    "recurrence.segment_len=16",
]  # fmt: skip


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Calls the script over a little prose; returns what it has recorded so far."""
    background = books(tmp_path / "texts")

    def call(*options, changes=()):
        places = ["--folder", str(tmp_path / "runs"), "--results", str(tmp_path / "found.jsonl")]
        asked = ["--segments", "4", "--num-rows", "2", "--batch-size", "1", *options]
        told = [*SMALL, f"text.background=[{background}]", *changes]
        monkeypatch.setattr("sys.argv", ["language.py", *places, *asked, "--set", *told])
        language.main()
        return load_records(tmp_path / "found.jsonl")

    return call


@pytest.mark.parametrize("memory", ["none", "rmt", "lm2"])
def test_steps_are_as_many_as_the_operations_allow(memory):
    encoder, run = TokenizerEncoder(tiny_tokenizer()), recipe()
    other = run.changed(memory_changes(run, memory, encoder))
    head = 2 * encoder.vocab_size * run.backbone.d_model * run.recurrence.segment_len
    work = [
        [stage.num_steps * (count_flops(build_model(each, encoder)).total + head)
         for stage in each.stages]
        for each in (run, other)
    ]  # fmt: skip
    assert work[1] == pytest.approx(work[0], rel=5e-4)
    assert other.memory != run.memory
    if memory == "none":
        assert other.num_steps > 1.1 * run.num_steps


def test_the_memory_of_the_recipe_stays_as_it_is():
    run = recipe().replaced("memory.d_mem", 8)
    encoder = TokenizerEncoder(tiny_tokenizer())
    assert memory_changes(run, "armt", encoder) == []
    with pytest.raises(UnknownNameError):
        _ = memory_changes(run, "amrt", encoder)


def test_the_script_measures_every_segment_in_both_arms_and_goes_on(measured):
    found = [each for each in measured("--seeds", "1") if each.name == BITS]
    told = [
        (each.params["mechanism"], each.params["memory"], each.params["segment"]) for each in found
    ]
    arms = [("none", "on"), ("rmt", "on"), ("rmt", "off"), ("armt", "on"), ("armt", "off")]
    assert told == [(*arm, number) for arm in arms for number in range(1, 5)]
    assert {each.seed for each in found} == {1}
    assert all(2 < each.value < 8 for each in found), "worse than a model, better than noise"
    first = measured("--seeds", "1", "--memories", "none")
    assert first == measured("--seeds", "1")
    more = measured("--seeds", "1", "2", "--memories", "none")
    assert more[: len(first)] == first
    assert {each.params.get("segment", 0) for each in more[len(first) :]} == {0, 1, 2, 3, 4}
