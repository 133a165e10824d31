"""How fast answers are written, token by token."""

from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from armt.benchmarking.bench import Bench, Case
from armt.benchmarking.clock import MemoryMeter, Samples
from armt.benchmarking.reading import AUTO, EAGER, set_schedule
from armt.recurrence.model import Recurrent
from armt.recurrence.state import RecurrentState


def measure_decode(bench: Bench, case: Case) -> None:
    """Measures `generate` from a state; what comes before the second token is taken off.

    The schedule that the library chooses and the plain one run in turns. A segment fills halfway,
    so that its writing is part of the figure.
    """
    config, model = bench.config, bench.model(case)
    text_len = max(case.segment_len - config.num_decoded // 2, 1)
    state = model.read(bench.ids(case, case.segment_len + text_len))

    def decode(schedule: str, num_tokens: int) -> object:
        set_schedule(model, schedule, is_compiled=config.is_compiled)
        return generate(model, state, bench, case, num_tokens)

    lengths = {"short": 1, "whole": 1 + config.num_decoded}
    works = {
        f"{schedule}, {name}": partial(decode, schedule, num_tokens)
        for schedule in (AUTO, EAGER)
        for name, num_tokens in lengths.items()
    }
    meter = MemoryMeter(bench.device)
    found = bench.compare(works, meter, lambda _: case.params | {"tokens": config.num_decoded})
    for schedule in (AUTO, EAGER):
        if all(f"{schedule}, {name}" in found for name in lengths):
            _add_speed(bench, case, schedule, found)
            params = case.params | bench.settings | {"schedule": schedule}
            bench.add_peak("decode", meter, f"{schedule}, whole", params)


def _add_speed(bench: Bench, case: Case, schedule: str, found: Mapping[str, Samples]) -> None:
    """Writes the tokens a second of a schedule, what comes before the second token taken off."""
    offset, num_tokens = found[f"{schedule}, short"].median, bench.config.num_decoded
    num_tokens *= case.batch_size
    seconds = found[f"{schedule}, whole"].seconds
    samples = Samples(tuple(max(each - offset, 1e-9) for each in seconds))
    params = (
        case.params
        | bench.settings
        | {"schedule": schedule, "tokens": num_tokens, "num_samples": len(seconds)}
    )
    spread = {"low": num_tokens / samples.high, "high": num_tokens / samples.low}
    speed = num_tokens / samples.median
    _ = bench.book.add("decode.tokens_per_s", speed, "tokens/s", **params, **spread)


def generate(
    model: Recurrent, state: RecurrentState, bench: Bench, case: Case, num_tokens: int
) -> object:
    """Writes `num_tokens` tokens after a prompt of one."""
    prompt = bench.ids(case, 1).to(bench.device)
    options: dict[str, Any] = {
        "max_new_tokens": num_tokens,
        "min_new_tokens": num_tokens,
        "do_sample": False,
        "pad_token_id": 0,
    }
    return cast("Any", model).generate(prompt, state=state, **options)
