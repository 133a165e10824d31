"""Which files of records are shown where, and how they are read; a new run is named here alone."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from armt.evaluation.metrics import Score
from armt.tasks.babilong.lengths import parse_length

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"

BOXED_RUN = "h100-2026-11-27-qa1-halves-seed-1"
BOXED = "the recipe now, seed 1 (the boxed model)"
QA1_SEEDS = {
    "h100-2026-11-28-qa1-overlap-seed-0": "the recipe now, seed 0",
    "h100-2026-11-28-qa1-overlap-50m-seed-0": "the recipe now, seed 0",
    "h100-2026-11-28-qa1-overlap-seed-1": BOXED,
    "h100-2026-11-28-qa1-overlap-50m-seed-1": BOXED,
    "h100-2026-11-28-qa1-overlap-1b-seed-1": BOXED,
    "h100-2026-11-28-qa1-overlap-seed-2": "the recipe now, seed 2",
    "h100-2026-11-28-qa1-overlap-50m-seed-2": "the recipe now, seed 2",
}
"""File of each reading with the QA1 recipe as it is now; files of one label are of one model."""

QA1_TRAINED = {
    "h100-2026-11-27-qa1-halves-seed-0": "segments do not overlap, seed 0",
    "h100-2026-11-27-qa1-halves-50m-seed-0": "segments do not overlap, seed 0",
    BOXED_RUN: "segments do not overlap, seed 1",
    "h100-2026-11-27-qa1-halves-50m-seed-1": "segments do not overlap, seed 1",
    "h100-2026-11-27-qa1-halves-seed-2": "segments do not overlap, seed 2",
    "h100-2026-11-27-qa1-halves-50m-seed-2": "segments do not overlap, seed 2",
}
"""File of each training of these models, and of readings as in training, without an overlap."""

_WHOLE = "without halves of facts, seed 0"

QA1_BEFORE = {
    "h100-2026-11-27-qa1-seed-0": _WHOLE,
    "h100-2026-11-27-qa1-50m-seed-0": _WHOLE,
    "h100-2026-11-27-qa1-seed-1": "without halves of facts, seed 1",
    "h100-2026-11-27-qa1-seed-2": "without halves of facts, seed 2",
    "h100-2026-11-26-qa1-confusers-cut-seed-0": "the same with a shorter start, seed 0",
    "h100-2026-11-26-qa1-quarter-cut-seed-0": "facts alone cut, a quarter, seed 0",
    "h100-2026-11-26-qa1-quarter-cut-seed-1": "facts alone cut, a quarter, seed 1",
    "h100-2026-11-26-qa1-seed-1": "facts alone cut, a tenth, seed 1",
    "h100-2026-11-26-qa1-seed-2": "facts alone cut, a tenth, seed 2",
    "h100-2026-11-26-qa1-penalty-0.3-seed-1": "a tenth, write penalty 0.3, seed 1",
    "h200-2026-11-25-qa1-seed-0": "cut by chance only, seed 0",
    "h200-2026-11-25-qa1-seed-1": "cut by chance only, seed 1",
    "h200-2026-11-25-qa1-seed-2": "cut by chance only, seed 2",
    "h200-2026-11-23-qa1": "hard gate, first run",
    "h200-2026-11-23-qa1-sigmoid": "sigmoid gate, shorter third stage",
    "h200-2026-11-23-qa1-penalty-0.03": "hard gate, write penalty 0.03, other stages",
}
"""File of each earlier run of the QA1 recipe, and what was special in it."""

QA1_RUNS = {**QA1_SEEDS, **QA1_TRAINED, **QA1_BEFORE}

TASK_RUNS = (
    "h200-2026-11-28-qa2-border-seed-0",
    "h200-2026-11-28-qa2-border-10m-seed-0",
    "h200-2026-11-28-qa2-border-seed-1",
    "h200-2026-11-28-qa3-border-seed-0",
    "h200-2026-11-29-qa3-border-seed-1",
    "h200-2026-11-29-qa4-latest-map-seed-0",
    "h200-2026-11-29-qa4-latest-map-seed-1",
    "h200-2026-11-28-qa5-hold-12k-seed-0",
    "h200-2026-11-28-qa5-hold-12k-seed-1",
)
"""Files of the newest whole runs of the recipes of QA2 to QA5 and of all five, one a seed; seed 0
of QA2 read its 10M tokens another time."""

RETRIEVAL_RUNS = {
    "h200-2026-11-25-retrieval": "the recipes now",
    "h200-2026-11-23-retrieval": "fewer steps, sigmoid gates",
}
"""File of each run of the retrieval recipes, and what was special in it; those of now first."""

RETRIEVAL_ARM_RUNS = (
    "h200-2026-11-29-remember-armt-seed-0",
    "h200-2026-11-29-remember-armt-seed-1",
    "h200-2026-11-28-remember-mamba2-seed-0",
    "h200-2026-11-29-remember-mamba2-seed-1",
)
"""Files of the runs of the arms of associative retrieval (`recipes/retrieval_arms.py`)."""

ABLATION_RUNS: tuple[str, ...] = ()
"""Files of the ablations of the quick recipe of *rewrite*."""

COMPARISON_RUN = "cpu-2026-11-28-compare"

FULL_COMPARISON_RUN = "h100-2026-11-28-compare"
"""The smoke setting and the full one."""

LANGUAGE_RUNS = {FULL_COMPARISON_RUN: "`armt compare full`"}
"""File of each run that language modelling was measured in, and what it was; the newest first.

A file holds all seeds and the model without a memory, since models of one file are compared.
"""

READING_RUN = "h200-2026-11-25-qa1-seed-0"
"""The run whose readings were timed; what a model has learned does not change its work."""

STATISTICS_RUN = "cpu-2026-11-23-babi-statistics"
GENERATE_RUN = "cpu-2026-11-25-babilong-generate"
RECALL_RUN = "cpu-2026-11-25-factual-recall"
KERNELS_RUN = "h100-2026-11-27-wave-kernels"
ALL_KERNELS_RUN = "h100-2026-11-27-kernels"
FROZEN_RUN = "h100-2026-11-26-frozen-recall"
EXPERIMENT_RUNS = (
    "h100-2026-11-26-segment-facts",
    "h100-2026-11-27-memory-experiments",
    "h100-2026-11-27-memory-experiments-mixed",
    "h100-2026-11-28-memory-experiments",
    "cpu-2026-11-28-memory-experiments",
    "h100-2026-11-28-rmt-delayed-copy",
    "cpu-2026-11-28-titled-mplus",
    "cpu-2026-11-28-titled-mplus-retriever",
    "h200-2026-11-28-memory-experiments",
    "h200-2026-11-28-rmt-delayed-copy-noise",
)
"""Files of the small experiments on memories (`benchmarks/memory_experiments.py`)."""

ACCURACY, EXACT_MATCH = "babilong.accuracy", "retrieval.exact_match"
BITS, TRAINED, READ = "lm.bits_per_byte", "train.seconds", "read.seconds"
WRITTEN, STATE = "memory.written_share", "memory.state_bytes"
"""Names of figures."""


class Measured(NamedTuple):
    """A record of `benchmarks/results` and the file it stands in."""

    run: str
    name: str
    value: float
    params: Mapping[str, Any]
    seed: int

    @property
    def score(self) -> Score:
        """Right answers, of a record that is a share of `num_samples`."""
        num_samples = int(self.params["num_samples"])
        return Score(round(self.value * num_samples), num_samples)


def load_measured(run: str) -> list[Measured]:
    """Returns the records of one file."""
    return [
        Measured(run, row["name"], row["value"], row["params"], row["seed"])
        for row in _lines(RESULTS / f"{run}.jsonl")
    ]


def has_log(run: str) -> bool:
    """Returns whether a run was a training; others measure one that was trained before."""
    return (RESULTS / f"{run}-log.jsonl").exists()


def load_log(run: str) -> list[dict[str, Any]]:
    """Returns the reports of the training of a run, in order."""
    return _lines(RESULTS / f"{run}-log.jsonl")


def figures(runs: Iterable[str], name: str) -> list[Measured]:
    """Returns the figures of one name in several files."""
    return [each for run in runs for each in load_measured(run) if each.name == name]


class Cell(NamedTuple):
    """What an accuracy on BABILong was measured at."""

    model: str
    """Name of the recipe."""

    task: str
    arm: str
    num_tokens: int


class Answers(NamedTuple):
    """What one file says of one cell."""

    run: str
    seed: int
    cell: Cell
    score: Score


def answers(runs: Iterable[str]) -> list[Answers]:
    """Returns the accuracies on BABILong, one for each file and cell.

    Several readings of a cell are counted together. Where everyone in a text was asked for, that
    counts and not the text's own question besides, which is one of these. What was asked in the
    middle of a text is left out.
    """
    found: dict[tuple[str, int, Cell], list[Score]] = {}
    for each in figures(runs, ACCURACY):
        told = each.params
        if told.get("asked", "everyone") == "everyone":
            length = parse_length(told["tokens"])
            cell = Cell(told["model"], told["task"], told["memory"], length)
            found.setdefault((each.run, each.seed, cell), []).append(each.score)
    return [Answers(*key, pooled(scores)) for key, scores in found.items()]


def files_of(label: str) -> list[str]:
    """Returns the files of a model of the QA1 recipe."""
    return [run for run, told in QA1_RUNS.items() if told == label]


def accuracies(runs: Iterable[str]) -> dict[Cell, dict[int, Score]]:
    """Returns the accuracies by cell and seed; a seed may stand in several files."""
    found: dict[Cell, dict[int, list[Score]]] = {}
    for each in answers(runs):
        found.setdefault(each.cell, {}).setdefault(each.seed, []).append(each.score)
    return {
        cell: {seed: pooled(scores) for seed, scores in seeds.items()}
        for cell, seeds in found.items()
    }


def pooled(scores: Iterable[Score]) -> Score:
    """Returns all answers together."""
    rights, totals = zip(*scores, strict=True)
    return Score(sum(rights), sum(totals))


def link(run: str) -> str:
    """Returns a link from a page in `docs` to the records of a run."""
    return f"[{run}](../benchmarks/results/{run}.jsonl)"


def spell_score(score: Score | None) -> str:
    """Returns a share in per cent with its interval."""
    if score is None:
        return "not measured"
    low, high = score.interval
    return f"{100 * score.accuracy:.1f} [{100 * low:.1f}, {100 * high:.1f}] of {score.num_samples}"


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
