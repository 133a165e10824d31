"""Says what the time of a wave goes into, by kind of kernel; needs a GPU.

python benchmarks/wave_profile.py --shapes gpt2-small small --results benchmarks/results/NAME.jsonl
"""

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any, cast

import torch
from records import open_book
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from armt.benchmarking.reading import set_schedule
from armt.benchmarking.shapes import build_model, model_shape
from armt.memories.armt import ARMTConfig
from armt.recurrence.model import Recurrent

KINDS = {
    "write": ("_solve_kernel", "_update_kernel", "trsm"),
    "attention": ("sdpa", "flash", "fmha"),
    "products of matrices": ("nvjet", "gemm", "cutlass", "cublas"),
    "elementwise": ("triton_", "elementwise"),
    "copies": ("memcpy", "memset"),
}
"""Kinds of kernels by parts of their names; the first that fits counts."""

_NUM_SEGMENTS = 128


def main() -> None:
    """Profiles the reading of one text by every shape."""
    options = _options()
    book = open_book(options.results, 0, options.commit)
    for name in options.shapes:
        model = _model(name)
        size = (1, _NUM_SEGMENTS * model.recurrence.segment_len)
        text = torch.randint(model_shape(name).vocab_size, size)
        _ = model.read(text)  # compiles and captures
        with profile(activities=[ProfilerActivity.CUDA]) as profiled:
            _ = model.read(text)
            torch.cuda.synchronize()
        num_waves = _NUM_SEGMENTS + len(model.anatomy.layers) - 1
        for kind, (seconds, num_kernels) in _by_kind(profiled).items():
            book.add(
                "wave.kernel_us", 1e6 * seconds / num_waves, "us", shape=name, kind=kind,
                kernels=round(num_kernels / num_waves, 1),
            )  # fmt: skip


def _model(name: str) -> Recurrent:
    shape = model_shape(name)
    length = shape.segment_len
    model = build_model(
        shape, ARMTConfig(), length, max_positions=length + ARMTConfig().num_memory_tokens,
        dtype=torch.bfloat16, device=torch.device("cuda"), seed=0,
    )  # fmt: skip
    set_schedule(model, "waves", is_compiled=True)
    return model


def _by_kind(profiled: profile) -> dict[str, tuple[float, int]]:
    """Returns seconds and numbers of kernels by kind."""
    found: dict[str, tuple[float, int]] = defaultdict(lambda: (0.0, 0))
    for event in cast("Any", profiled.events()):
        if event.device_type == DeviceType.CUDA:
            name = event.name.lower()
            parts = KINDS.items()
            kind = next((kind for kind, names in parts if any(n in name for n in names)), "other")
            seconds, number = found[kind]
            found[kind] = (seconds + event.time_range.elapsed_us() / 1e6, number + 1)
    return dict(found)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    _ = parser.add_argument("--results", type=Path, required=True)
    _ = parser.add_argument("--commit", default="")
    _ = parser.add_argument("--shapes", nargs="*", default=["gpt2-small", "small", "llama-1b"])
    return parser.parse_args()


if __name__ == "__main__":
    main()
