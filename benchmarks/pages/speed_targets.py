"""The goals that were set for speed and memory on a GPU, and how far each is reached.

They were set for an H200. Long readings count where they are recorded: 10M tokens and more.
"""

from collections.abc import Sequence
from typing import Any

from armt.benchmarking.records import Measurement
from pages.goals import Found, Target
from pages.speed import bench_records

_SPEED, _SECONDS, _TRAINING = "read.tokens_per_s", "read.seconds", "train.tokens_per_s"
_PEAK, _SHARE = "read.peak_bytes", "read.ceiling_share"
_FULL, _EAGER = "full attention", "sequential eager"


def _find(name: str, **params: Any) -> list[Measurement]:
    """Returns the figures of a name with these parameters, the newest last."""
    return [
        each
        for each in bench_records()
        if each.name == name and params.items() <= each.params.items()
    ]


def _long_seconds(shape: str, num_tokens: int) -> float | None:
    """Returns the time of one text that was read by the schedule that `auto` chose."""
    found = _find(_SECONDS, shape=shape, tokens=num_tokens, batch=1)
    own = [each for each in found if "chosen" in each.params]
    return own[-1].value if own else None


def _long_speed(shape: str, num_tokens: int) -> Found | None:
    seconds = _long_seconds(shape, num_tokens)
    if seconds is None:
        return None
    return Found(num_tokens / seconds / 1e6, f"over {num_tokens:,} tokens")


def _seconds(shape: str, num_tokens: int) -> Found | None:
    seconds = _long_seconds(shape, num_tokens)
    return None if seconds is None else Found(seconds)


def _best_speed(name: str, **params: Any) -> Found | None:
    """Returns the speed of the fastest schedule and batch."""
    found = _find(name, **params)
    if not found:
        return None
    best = max(found, key=lambda each: each.value)
    told = f"{best.params['schedule']}, {best.number('batch'):.0f} rows"
    return Found(best.value / 1e6, told)


def _ceiling_share(shape: str) -> Found | None:
    found = _find(_SHARE, shape=shape, batch=1, schedule="waves")
    return Found(100 * found[-1].value) if found else None


def _fastest_context(shape: str, num_tokens: int) -> Measurement | None:
    found = [
        each
        for each in _find(_SECONDS, shape=shape, tokens=num_tokens)
        if each.params["schedule"] not in (_FULL, _EAGER)
    ]
    return min(found, key=lambda each: each.value) if found else None


def _context(shape: str, num_tokens: int) -> Found | None:
    best = _fastest_context(shape, num_tokens)
    return None if best is None else Found(best.value, str(best.params["schedule"]))


def _times_full_attention(shape: str, num_tokens: int) -> Found | None:
    best = _fastest_context(shape, num_tokens)
    full = _find(_SECONDS, shape=shape, tokens=num_tokens, schedule=_FULL)
    return Found(full[-1].value / best.value) if best is not None and full else None


def _ratio(name: str, fast: str, slow: str, shape: str) -> Found | None:
    pair = [_find(name, shape=shape, batch=1, schedule=each) for each in (fast, slow)]
    return Found(pair[0][-1].value / pair[1][-1].value) if all(pair) else None


def _peak_spread(shape: str) -> Found | None:
    """Returns by how much the peaks of memory differ over lengths of text, in per cent."""
    found = {
        each.params["tokens"]: each.value
        for each in _find(_PEAK, shape=shape, batch=1)
        if "chosen" in each.params
    }
    if len(found) < 2:
        return None
    least, most = min(found.values()), max(found.values())
    return Found(100 * (most - least) / least, f"{min(found):,} to {max(found):,} tokens")


_IN_WAVES = "waves, graphs of eight waves, the write in two kernels of its own"
_STREAM = "compiled cells, in waves and segment by segment, at 16 and 64 rows"

SPEED_TARGETS: Sequence[Target] = (
    Target(
        "`gpt2-small`, one text", 2.5, lambda: _long_speed("gpt2-small", 50_000_000), "Mtok/s",
        digits=2,
        why="a wave would have 205 us: its products of matrices take 179 and attention 33, before "
        "144 of elementwise work and 26 of the write (second table above)",
        tried=_IN_WAVES,
    ),
    Target(
        "`gpt2-small`, 50M tokens", 20.0, lambda: _seconds("gpt2-small", 50_000_000), "s", True,
        why="the same", tried=_IN_WAVES,
    ),
    Target(
        "`small`, one text", 8.0, lambda: _long_speed("small", 1_000_000_000), "Mtok/s", digits=2,
        why="a wave would have 64 us: products take 59, of which q, k, v and gate, up are made "
        "apart, attention 13, elementwise work 38, the write 18; thirty kernels of 4 us each wait "
        "for one another",
        tried=_IN_WAVES,
    ),
    Target(
        "`small`, best number of rows", 20.0, lambda: _best_speed(_SPEED, shape="small"), "Mtok/s",
        digits=2,
        why="memory: with many rows the hidden states of a layer no longer fit the cache, and "
        "norms, rotations and activations take them through memory: with 16 rows elementwise work "
        "takes longer than products",
        tried=_STREAM,
    ),
    Target(
        "`llama-1b`, one text",
        0.27, lambda: _long_speed("llama-1b", 10_000_000), "Mtok/s", digits=3,
        why="elementwise work, 786 of 4,100 us, most of it the gated activation, which a product "
        "could do as it ends",
        tried="waves, graphs of eight waves; no product with an activation of its own was written",
    ),
    Target(
        "`llama-1b`, share of the ceiling", 80.0, lambda: _ceiling_share("llama-1b"),
        why="the same", tried="the same",
    ),
    Target(
        "`llama-1b`, 131,072 tokens", 0.5, lambda: _context("llama-1b", 131_072), "s", True,
        digits=3, why="the same, and 15 of 143 waves at the ends", tried="the same",
    ),
    Target(
        "`llama-1b`, 131,072 tokens, full attention slower by", 4.0,
        lambda: _times_full_attention("llama-1b", 131_072), "times",
    ),
    Target(
        "`gpt2-small`, waves beside the plain loop", 10.0,
        lambda: _ratio(_SPEED, "waves", _EAGER, "gpt2-small"), "times",
    ),
    Target(
        "`small`, peaks of memory apart", 1.0, lambda: _peak_spread("small"), "%", True, digits=3,
    ),
    Target(
        "`small`, 1B tokens", 130.0, lambda: _seconds("small", 1_000_000_000), "s", True,
        digits=0, why="as for one text above", tried=_IN_WAVES,
    ),
    Target(
        "training, `small`, 64 rows", 3.5, lambda: _best_speed(_TRAINING, shape="small", batch=64),
        "Mtok/s", digits=2,
        why="products of matrices alone take 101 ms of 245, elementwise work 85, and attention 52, "
        "where the goal leaves 150 ms for all (table of kernels)",
        tried="compiled cells in one graph with the optimiser's copies of all weights at once",
    ),
    Target(
        "training, `gpt2-small`, 8 rows", 0.7,
        lambda: _best_speed(_TRAINING, shape="gpt2-small", batch=8), "Mtok/s", digits=2,
        why="products alone take 91 ms of 191, which is all that the goal leaves (94 ms)",
        tried="the same",
    ),
    Target(
        "training, `small`, one row: waves beside segment by segment", 4.0,
        lambda: _ratio(_TRAINING, "waves", "sequential", "small"), "times",
        why="14 ms of 16 are kernels, 3,500 of them of 4 us: 21 waves forward and back, whose "
        "gradients of weights are summed wave by wave, and whose write goes by plain operations, "
        "since its kernels have no backward pass",
        tried="one size of wave, whose weights are not sliced (2.2 times before), and the "
        "optimiser's work for all weights at once",
    ),
)  # fmt: skip
"""Every goal that is a number, in the order in which they were set."""
