"""What the measurements write down; how fast this machine is, no test can know."""

import json
import time
from collections import Counter
from types import GeneratorType

import pytest
import torch

from armt.benchmarking.bench import flops_of
from armt.benchmarking.clock import MemoryMeter
from armt.benchmarking.contexts import attend_to_all, pieces
from armt.benchmarking.reading import EAGER, auto_choice, read_eagerly, reader, set_schedule
from armt.benchmarking.sweep import MEASURES
from armt.benchmarking.training import make_batch
from armt.recurrence.model import Recurrent
from armt.tasks.contract import NO_LABEL
from benchmarking.benches import CASE, CONFIG, make_bench

SCHEDULES = set(CONFIG.schedules)


def names_in(measured):
    return dict(Counter(each.name for each in measured))


def test_reading_is_measured_by_every_schedule(tmp_path):
    bench, measured = make_bench(tmp_path)
    MEASURES["read"](bench, CASE)
    assert names_in(measured) == {
        "ceiling.tflops": 1,
        "read.tokens_per_s": 3,
        "read.tflops": 3,
        "read.ceiling_share": 3,
        "read.peak_bytes": 3,
        "memory.state_bytes": 1,
    }
    speeds = [each for each in measured if each.name == "read.tokens_per_s"]
    assert {each.params["schedule"] for each in speeds} == SCHEDULES
    assert {each.params["schedule"] for each in speeds if each.params["is_auto"]} == {"sequential"}
    for each in speeds:
        assert 0 < each.params["low"] <= each.value <= each.params["high"]
        assert (each.params["tokens"], each.params["num_samples"]) == (32, 2)
        assert (each.params["shape"], each.params["batch"]) == ("tiny", 1)
    assert measured[-1].value == 2 * 24 * 16 * 4


def test_operations_a_second_fit_tokens_a_second(tmp_path):
    bench, measured = make_bench(tmp_path)
    MEASURES["read"](bench, CASE)
    found = {(each.name, each.params.get("schedule")): each.value for each in measured}
    per_token = flops_of(bench.model(CASE), 1)
    for name in SCHEDULES:
        tflops = found["read.tflops", name]
        assert tflops == pytest.approx(found["read.tokens_per_s", name] * per_token / 1e12)
        share = tflops / found["ceiling.tflops", None]
        assert found["read.ceiling_share", name] == pytest.approx(share)


@pytest.mark.parametrize("schedule", CONFIG.schedules)
def test_all_schedules_read_the_same(tmp_path, schedule):
    bench, _ = make_bench(tmp_path)
    model, case = bench.model(CASE), CASE._replace(batch_size=2)
    ids = bench.ids(case, 40)
    expected = read_eagerly(model, ids)
    found = reader(model, schedule, is_compiled=False)(ids)
    layers = found if isinstance(found, tuple) else found.layers
    for one, other in zip(layers, expected, strict=True):
        torch.testing.assert_close(one.association, other.association, rtol=1e-4, atol=1e-5)
        assert other.association.abs().max() > 0


def test_full_attention_is_the_backbone_alone(tmp_path):
    bench, _ = make_bench(tmp_path)
    model, ids = bench.model(CASE, max_positions=20), bench.ids(CASE, 20)
    expected = type(model).__mro__[2].forward(model, input_ids=ids, logits_to_keep=1).logits
    found = attend_to_all(model, ids).logits
    assert torch.equal(found, expected)
    assert found.shape == (1, 1, 31)
    with torch.no_grad():
        assert not torch.allclose(found, model(input_ids=ids, logits_to_keep=1).logits)


def test_latency_is_measured_beside_full_attention_longest_first(tmp_path):
    bench, measured = make_bench(tmp_path)
    MEASURES["latency"](bench, CASE)
    seconds = [each for each in measured if each.name == "read.seconds"]
    assert [each.params["tokens"] for each in seconds] == [32] * 4 + [16] * 4
    assert {each.params["schedule"] for each in seconds} == {*SCHEDULES, "full attention"}
    assert names_in(measured)["read.peak_bytes"] == 8


def test_a_training_step_is_measured_by_every_schedule(tmp_path):
    bench, measured = make_bench(tmp_path)
    MEASURES["train"](bench, CASE._replace(batch_size=2))
    speeds = [each for each in measured if each.name == "train.tokens_per_s"]
    assert {each.params["schedule"] for each in speeds} == SCHEDULES
    for each in speeds:
        assert (each.params["tokens"], each.params["segments"], each.params["labels"]) == (32, 2, 3)
    assert names_in(measured)["train.peak_bytes"] == 3


def test_a_training_batch_labels_the_end(tmp_path):
    bench, _ = make_bench(tmp_path)
    batch = make_batch(bench, CASE)
    assert batch.input_ids.shape == (1, 16)
    assert (batch.labels != NO_LABEL).tolist() == [[False] * 13 + [True] * 3]
    assert batch.label_start == 13


def test_decoding_is_measured(tmp_path):
    bench, measured = make_bench(tmp_path)
    MEASURES["decode"](bench, CASE)
    speeds = [each for each in measured if each.name == "decode.tokens_per_s"]
    assert [each.params["schedule"] for each in speeds] == ["auto", "sequential eager"]
    for speed in speeds:
        assert speed.value > 0
        assert speed.params["tokens"] == 4
    assert names_in(measured)["decode.peak_bytes"] == 2


def test_long_texts_are_read_once_each(tmp_path):
    bench, measured = make_bench(tmp_path)
    MEASURES["long"](bench, CASE)
    names = ["read.seconds", "read.peak_bytes", "read.host_growth_bytes"]
    assert [each.name for each in measured] == names * 2
    assert [each.params["tokens"] for each in measured] == [24] * 3 + [40] * 3
    assert {each.params["chosen"] for each in measured} == {"sequential"}


def test_long_texts_are_warmed_up_by_the_loop_that_is_measured(tmp_path, monkeypatch):
    """A text handed whole is known to be short, and may be read by another loop."""
    handed, read = [], Recurrent.read

    def watched(self, source, *args, **options):
        handed.append(type(source))
        return read(self, source, *args, **options)

    monkeypatch.setattr(Recurrent, "read", watched)
    bench, _ = make_bench(tmp_path)
    MEASURES["long"](bench, CASE)
    assert len(handed) == 2 + 2
    assert set(handed) == {GeneratorType}


def test_pieces_repeat_the_held_tokens():
    held = torch.arange(6).view(2, 3)
    found = torch.cat(list(pieces(held, 7)), dim=1)
    assert found.tolist() == [[0, 1, 2, 0, 1, 2, 0], [3, 4, 5, 3, 4, 5, 3]]


def test_drift_is_small_but_there(tmp_path):
    bench, measured = make_bench(tmp_path)
    MEASURES["drift"](bench, CASE)
    assert [(each.name, each.params["segments"]) for each in measured] == [
        ("drift.state", 1), ("drift.logits", 1), ("drift.state", 3), ("drift.logits", 3),
    ]  # fmt: skip
    assert all(1e-5 < each.value < 0.1 for each in measured)


def test_the_choice_of_auto_leaves_the_model_as_it_was(tmp_path):
    bench, _ = make_bench(tmp_path)
    model = bench.model(CASE)
    set_schedule(model, "waves", is_compiled=True)
    before = model.recurrence
    assert (before.schedule, before.is_compiled) == ("waves", True)
    assert auto_choice(model, 1, is_compiled=True) == "sequential"
    assert model.recurrence == before
    set_schedule(model, EAGER, is_compiled=True)
    assert (model.recurrence.schedule, model.recurrence.is_compiled) == ("sequential", False)


def test_what_does_not_fit_is_written_down_and_left_out(tmp_path):
    bench, measured = make_bench(tmp_path)

    def fail():
        raise torch.OutOfMemoryError("CUDA out of memory.")

    works = {"large": fail, "small": lambda: None}
    meter = MemoryMeter(bench.device)
    found = bench.compare(works, meter, lambda name: {"schedule": name, "tokens": 9})
    assert list(found) == ["small"]
    (lost,) = measured
    assert lost.name == "device.out_of_memory"
    assert lost.params == {"schedule": "large", "tokens": 9}
    assert lost.value > 0
    assert json.loads((tmp_path / "records.jsonl").read_text())["name"] == lost.name


def test_no_new_context_begins_after_the_deadline(tmp_path):
    bench, measured = make_bench(tmp_path, deadline=time.monotonic() - 1)
    for what in ("latency", "long", "drift"):
        MEASURES[what](bench, CASE)
    assert measured == []
