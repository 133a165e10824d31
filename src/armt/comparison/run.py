"""Runs the trials of a comparison that are not recorded yet, and keeps what fails in view."""

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from armt.benchmarking.clock import free_memory, synchronize
from armt.benchmarking.records import Measurement, RecordBook, current_commit, load_records
from armt.comparison.config import ComparisonConfig
from armt.comparison.trials import Figure, Trial, make_texts, plan_trials
from armt.core.errors import ArmtError, DeviceError, StoppedError

RECORDS_NAME = "records.jsonl"
"""The file of figures within the folder of a comparison."""

DONE, FAILED = "compare.seconds", "compare.failed"
"""Figures that stand at the end of a trial: how long it took, whether it went wrong or not."""


class Progress(NamedTuple):
    """Which trial begins."""

    number: int
    """From 1 on, among those that are run now."""

    num_trials: int
    trial: Trial


def run_comparison(
    config: ComparisonConfig, folder: Path, on_trial: Callable[[Progress], None] | None = None
) -> list[Measurement]:
    """Runs what is missing and returns the figures of this comparison that the folder holds.

    A trial whose figures are recorded is not run again; one that failed is, after all others.

    Raises:
        ArmtError: a memory or the texts cannot be used.
        DeviceError: a trial has left the GPU so that this process can no longer use it.
        StoppedError: the process was asked to stop; the same call goes on.
    """
    trials, path = plan_trials(config), folder / RECORDS_NAME
    earlier = load_records(path)
    done, failed = (
        {str(each.params["key"]) for each in earlier if each.name == name}
        for name in (DONE, FAILED)
    )
    missing = [trial for trial in trials if trial.key not in done]
    # what ends the process each time may not keep the others from their turn
    missing.sort(key=lambda trial: trial.key in failed)
    if any(trial.plan.run.text is not None for trial in missing):
        make_texts(folder, config.text)
    commit = config.commit or current_commit()
    for number, trial in enumerate(missing, start=1):
        if on_trial is not None:
            on_trial(Progress(number, len(missing), trial))
        _run(trial, folder, config.name, RecordBook(path, trial.seed, commit))
    return records_of(load_records(path), trials)


def records_of(records: Iterable[Measurement], trials: Sequence[Trial]) -> list[Measurement]:
    """Returns the figures of these trials."""
    keys = {trial.key for trial in trials}
    return [each for each in records if each.params.get("key") in keys]


def failures_in(records: Iterable[Measurement]) -> dict[str, list[str]]:
    """Returns by memory which parts failed and why, less those that worked at a later try."""
    open_failures: dict[str, Measurement] = {}
    for each in records:
        if each.name == FAILED:
            open_failures[str(each.params["key"])] = each
        elif each.name == DONE:
            _ = open_failures.pop(str(each.params["key"]), None)
    found: dict[str, list[str]] = {}
    for each in open_failures.values():
        told = f"{each.params['part']}, seed {each.seed}: {each.params['reason']}"
        found.setdefault(str(each.params["mechanism"]), []).append(told)
    return found


def _run(trial: Trial, folder: Path, setting: str, book: RecordBook) -> None:
    """Records all figures of a trial, or why there are none."""
    about = {
        "setting": setting, "mechanism": trial.mechanism, "part": trial.part, "key": trial.key
    }  # fmt: skip
    start = time.monotonic()
    try:
        figures = trial.measure(folder)
    except StoppedError:
        raise
    except (ArmtError, RuntimeError) as error:  # what memories and torch raise
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        figures, last = [], Figure(FAILED, 1, "trials", {"reason": reason})
    else:
        last = Figure(DONE, time.monotonic() - start, "s", {})
    for name, value, unit, params in (*figures, last):
        _ = book.add(name, value, unit, **about, **params)
    _tidy(trial, torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def _tidy(trial: Trial, device: torch.device) -> None:
    """Makes room for the next trial, if the device still works.

    Some errors of a GPU (an address that is none) stay: every later call of the process fails too,
    and each trial would be recorded as one that failed.

    Raises:
        DeviceError: it does not.
    """
    try:
        free_memory(device)
        synchronize(device)
    except RuntimeError as error:
        told = str(error).split("\n", maxsplit=1)[0]
        raise DeviceError(
            f"After '{trial.title}' this process cannot use the GPU any more ({told}). What was "
            "measured is recorded: run the same command again, which takes failed trials last."
        ) from error
