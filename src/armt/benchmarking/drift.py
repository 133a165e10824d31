"""How far a reading in bfloat16 strays from one in float32 with the same weights."""

import copy
from typing import cast

import torch

from armt.benchmarking.bench import Bench, Case
from armt.benchmarking.reading import AUTO, set_schedule
from armt.core.shapes import Float, Tensor
from armt.recurrence.model import Recurrent
from armt.recurrence.state import RecurrentState
from armt.training.optim import cast_weights


def measure_drift(bench: Bench, case: Case) -> None:
    """Reads one text in both precisions and compares the states and the next segment's logits."""
    exact = bench.model(case)
    cast_weights(exact, torch.bfloat16)
    rough = copy.deepcopy(exact)
    cast_weights(exact, torch.float32)
    models = {"exact": exact, "rough": rough}
    states: dict[str, RecurrentState] = {}
    num_read, counts = 0, sorted(bench.config.drift_segments)
    text = bench.ids(case, counts[-1] * case.segment_len)
    probe = bench.ids(case, case.segment_len).to(bench.device)
    for num_segments in counts:
        if bench.seconds_left <= 0:
            return
        ids = text[:, num_read * case.segment_len : num_segments * case.segment_len]
        for name, model in models.items():
            set_schedule(model, AUTO, is_compiled=bench.config.is_compiled)
            states[name] = model.read(ids, states.get(name))
        num_read = num_segments
        params = case.params | {"segments": num_segments, "tokens": num_segments * case.segment_len}
        logits = {name: _logits(model, probe, states[name]) for name, model in models.items()}
        worst = max(
            _distance(value, other.tensors()[name])
            for one, other in zip(states["rough"].layers, states["exact"].layers, strict=True)
            for name, value in one.tensors().items()
            if value.numel()
        )
        _ = bench.book.add("drift.state", worst, "ratio", **params)
        error = _distance(logits["rough"], logits["exact"])
        _ = bench.book.add("drift.logits", error, "ratio", **params)


@torch.no_grad()
def _logits(model: Recurrent, ids: Tensor, state: RecurrentState) -> Float[Tensor, "B T V"]:
    return cast("Tensor", model(input_ids=ids, state=state).logits)


def _distance(found: Tensor, expected: Tensor) -> float:
    """Returns the length of the difference, as a share of what was expected."""
    length = expected.float().norm().clamp_min(1e-12)
    return float((found.float() - expected.float()).norm() / length)
