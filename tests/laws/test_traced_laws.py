"""Every memory whose cells can be compiled is the same when they are traced, on any device.

What a GPU compiles is what the tracer notes of a cell; here the notes themselves are run.
"""

import pytest
import torch

from armt.backbones import compiled
from armt.backbones.compiled import Compiler
from armt.recurrence import model as assembled
from armt.recurrence.choose_schedule import wave_obstacle
from tiny import SEGMENT_LEN, assert_same_state, random_ids

CLOSE = {"rtol": 1e-9, "atol": 1e-10}


@pytest.mark.parametrize("schedule", ["sequential", "waves"])
def test_traced_cells_do_what_the_layers_do(subject, schedule, monkeypatch):
    plain, ids = subject.model(schedule="sequential"), random_ids(2, 4 * SEGMENT_LEN + 2)
    if wave_obstacle(plain) is not None:
        return  # such cells are not compiled
    expected, read = plain(ids, labels=ids, logits_to_keep=0), plain.read(ids)
    expected.loss.backward()
    traced, compiler = subject.model(schedule=schedule), Compiler()
    traces = []
    monkeypatch.setattr(compiled.torch, "compile", lambda graph, **_: traces.append(graph) or graph)
    monkeypatch.setattr(assembled, "choose_compiler", lambda _: compiler)
    found = traced(ids, labels=ids, logits_to_keep=0)
    assert traces
    torch.testing.assert_close(found.logits, expected.logits, **CLOSE)
    assert_same_state(found.state, expected.state, **CLOSE)
    assert_same_state(traced.read(ids), read, **CLOSE)
    found.loss.backward()
    for parameter, other in zip(traced.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad, **CLOSE)
