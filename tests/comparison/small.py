"""A comparison so small that a trial takes a second: two layers, a few steps, a little prose."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from armt.backbones.tiny import TinyBackboneConfig
from armt.benchmarking.records import Measurement
from armt.comparison.config import SETTINGS, ComparisonConfig
from armt.training.config import TextConfig
from tiny_boxed import PROSE

BACKBONE = TinyBackboneConfig(
    d_model=16, num_layers=2, num_heads=2, d_ffn=16, max_positions=256, init_std=0.15
)


def books(folder: Path) -> Path:
    """Returns a folder of texts, of which the one called 15 is held out."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(12, 18):
        _ = (folder / f"{number}.txt").write_text(PROSE * 12, encoding="utf-8")
    return folder


def small_comparison(folder: Path, **changes: Any) -> ComparisonConfig:
    """Returns the smoke setting cut down, over books in `folder`."""
    config = SETTINGS["smoke"].entry()
    parts = {
        name: replace(part, run=replace(part.run, backbone=BACKBONE, stages=_cut(part.run.stages)))
        for name in ("retrieval", "qa1", "language")
        for part in [getattr(config, name)]
    }
    parts["retrieval"] = replace(parts["retrieval"], nums_pairs=(1, 4), num_samples=8)
    parts["qa1"] = replace(parts["qa1"], nums_segments=(1, 2), num_samples=2)
    parts["language"] = replace(parts["language"], num_rows=1, batch_size=1, num_read_segments=2)
    text = TextConfig(background=(str(books(folder)),), vocab_size=300)
    options: dict[str, Any] = {"text": text, "memories": ("armt", "none"), "memory_options": ()}
    return replace(config, **(parts | options | changes))


def _cut(stages: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(replace(stage, num_steps=1, batch_size=2) for stage in stages)


def measured(name: str, value: float, *, seed: int = 0, **params: Any) -> Measurement:
    """Returns a figure as a comparison records it."""
    return Measurement(
        name=name,
        value=value,
        unit="",
        params={"mechanism": "armt", "part": "retrieval", "key": "k", **params},
        seed=seed,
        hardware="",
        versions={},
        commit="",
        command="",
        date="",
    )
