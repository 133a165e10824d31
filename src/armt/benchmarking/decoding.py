"""How fast answers are written, token by token."""

from functools import partial
from typing import Any, cast

from armt.benchmarking.bench import Bench, Case
from armt.benchmarking.clock import MemoryMeter, Samples
from armt.benchmarking.reading import AUTO, set_schedule
from armt.recurrence.model import Recurrent
from armt.recurrence.state import RecurrentState


def measure_decode(bench: Bench, case: Case) -> None:
    """Measures `generate` from a state; what comes before the second token is taken off.

    A segment fills halfway, so that its writing is part of the figure.
    """
    config, model = bench.config, bench.model(case)
    set_schedule(model, AUTO, is_compiled=config.is_compiled)
    text_len = max(case.segment_len - config.num_decoded // 2, 1)
    state = model.read(bench.ids(case, case.segment_len + text_len))
    short = partial(generate, model, state, bench, case, 1)
    whole = partial(generate, model, state, bench, case, 1 + config.num_decoded)
    works = {"short": short, "whole": whole}
    meter = MemoryMeter(bench.device)
    found = bench.compare(works, meter, lambda _: case.params | {"tokens": config.num_decoded})
    if found.keys() != works.keys():
        return
    offset, num_tokens = found["short"].median, config.num_decoded * case.batch_size
    seconds = tuple(max(each - offset, 1e-9) for each in found["whole"].seconds)
    samples = Samples(seconds)
    params = (
        case.params
        | bench.settings
        | {"schedule": AUTO, "tokens": num_tokens, "num_samples": len(seconds)}
    )
    spread = {"low": num_tokens / samples.high, "high": num_tokens / samples.low}
    speed = num_tokens / samples.median
    _ = bench.book.add("decode.tokens_per_s", speed, "tokens/s", **params, **spread)
    bench.add_peak("decode", meter, "whole", params)


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
