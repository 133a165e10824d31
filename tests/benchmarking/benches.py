"""A bench for tests: a model so small that every measurement takes no time."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from armt import ARMTConfig
from armt.benchmarking.bench import Bench, Case
from armt.benchmarking.config import BenchConfig
from armt.benchmarking.records import Measurement, RecordBook
from armt.benchmarking.shapes import MODEL_SHAPES

CONFIG = BenchConfig(
    context_lens=(16, 32),
    long_lens=(24, 40),
    num_tokens=32,
    sample_s=10.0,
    num_repeats=2,
    num_train_segments=2,
    num_labels=3,
    num_decoded=4,
    drift_segments=(1, 3),
    memory=ARMTConfig(d_mem=4, num_memory_tokens=2),
    precision="float32",
)
SHAPE = replace(
    MODEL_SHAPES["tiny"], num_layers=2, d_model=16, num_heads=2, num_kv_heads=1, d_ffn=16,
    vocab_size=31, segment_len=8,
)  # fmt: skip
CASE = Case(SHAPE, SHAPE.segment_len, 1)


def make_bench(
    folder: Path, *, deadline: float = math.inf, **options: Any
) -> tuple[Bench, list[Measurement]]:
    """Returns a bench on the CPU and the list that its figures go to."""
    measured: list[Measurement] = []
    book = RecordBook(folder / "records.jsonl", 0, "abc", measured.append)
    config = replace(CONFIG, **options)
    return Bench(config, torch.device("cpu"), book, deadline=deadline), measured
