"""Draws the tables and pictures of README and docs from the records and the cards.

    python benchmarks/tables.py

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; what stands there is replaced. A
picture is drawn where its records are new. Which records are shown is named in `pages/runs.py`.
"""

import re
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path

from pages.ablations import ablations_table
from pages.arms import arms_table
from pages.compared import compared_table
from pages.goals import goals_table
from pages.learned import (
    language_table,
    qa1_table,
    reading_table,
    recall_arms_table,
    retrieval_table,
    tasks_table,
    training_table,
    writes_table,
)
from pages.pictures import PICTURES, draw_all, picture_link
from pages.published import published_mean_table, published_qa1_table, published_tasks_table
from pages.runs import (
    ALL_KERNELS_RUN,
    COMPARISON_RUN,
    EXPERIMENT_RUNS,
    FROZEN_RUN,
    FULL_COMPARISON_RUN,
    KERNELS_RUN,
    QA1_RUNS,
    QA1_SEEDS,
    RECALL_RUN,
    RESULTS,
    ROOT,
)
from pages.sources import memories_table, modules_list, options_table
from pages.speed import bench_records, boxed_reading_table
from pages.speed_targets import SPEED_TARGETS
from pages.stories import batches_table, generating_table, stories_table
from pages.targets import TARGETS

from armt.benchmarking.experiments import frozen_table, recall_table, retriever_table
from armt.benchmarking.factual_recall import capacity_table, order_table, transformer_table
from armt.benchmarking.records import Measurement, load_records
from armt.benchmarking.shapes import MODEL_SHAPES
from armt.benchmarking.tables import (
    ceiling_table,
    drift_table,
    floor_table,
    kernel_table,
    latency_table,
    long_table,
    speed_table,
    training_kernel_table,
)
from armt.comparison.summary import comparison_table, cost_table
from armt.core.registry import MEMORIES
from armt.recipes.frozen_recall import frozen_arms

SHOWN_SHAPES = ("gpt2-small", "small", "llama-1b", "boxed")
"""Models whose work is shown."""

RETRIEVER_GOAL = 5
"""Times what is found at random that the retriever of M+ is to find."""

MARKED = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def records_of(run: str) -> list[Measurement]:
    """Returns the records of one file."""
    return load_records(RESULTS / f"{run}.jsonl")


def experiments(kind: str) -> list[Measurement]:
    """Returns the records of the small experiments with this in the names of their recipes.

    Of a run that was done anew the last file counts.
    """
    records = (each for run in EXPERIMENT_RUNS for each in records_of(run))
    latest = {
        (each.name, each.seed, str({**each.params, "num_samples": None})): each for each in records
    }
    return [each for each in latest.values() if kind in str(each.params["recipe"])]


TABLES: dict[str, Callable[[], str]] = (
    {
        "floor": lambda: floor_table(MODEL_SHAPES[name] for name in SHOWN_SHAPES),
        "ceiling": lambda: ceiling_table(bench_records()),
        "kernels": lambda: kernel_table([*records_of(KERNELS_RUN), *records_of(ALL_KERNELS_RUN)]),
        "read-speed": lambda: speed_table(bench_records(), "read"),
        "train-speed": lambda: speed_table(bench_records(), "train"),
        "decode-speed": lambda: speed_table(bench_records(), "decode"),
        "latency": lambda: latency_table(bench_records()),
        "long-texts": lambda: long_table(bench_records()),
        "drift": lambda: drift_table(bench_records()),
        "boxed-reading": boxed_reading_table,
        "comparison": lambda: comparison_table(records_of(COMPARISON_RUN)),
        "comparison-cost": lambda: cost_table(records_of(COMPARISON_RUN)),
        "comparison-full": lambda: comparison_table(records_of(FULL_COMPARISON_RUN)),
        "recall-capacity": lambda: capacity_table(records_of(RECALL_RUN)),
        "recall-order": lambda: order_table(records_of(RECALL_RUN)),
        "recall-transformer": lambda: transformer_table(records_of(RECALL_RUN)),
        "segment-facts": lambda: recall_table(experiments("facts_")),
        "titled-facts": lambda: recall_table(experiments("titled_")),
        "retriever-recall": lambda: retriever_table(experiments("mplus_retriever"), RETRIEVER_GOAL),
        "topics": lambda: recall_table(experiments("topics_")),
        "tracking": lambda: recall_table(experiments("tracking_"), "distance"),
        "delayed-copy": lambda: recall_table(experiments("delayed_copy"), "segments"),
        "frozen-recall": lambda: frozen_table(records_of(FROZEN_RUN), list(frozen_arms())),
        "targets": lambda: goals_table(TARGETS),
        "speed-targets": lambda: goals_table(SPEED_TARGETS),
        "training-kernels": lambda: training_kernel_table(records_of(ALL_KERNELS_RUN)),
        "qa1": lambda: qa1_table(QA1_SEEDS),
        "qa1-runs": lambda: qa1_table(QA1_RUNS),
        "qa1-writes": writes_table,
        "tasks": tasks_table,
        "language": language_table,
        "published-qa1": published_qa1_table,
        "published-tasks": published_tasks_table,
        "published-mean": published_mean_table,
        "retrieval": retrieval_table,
        "retrieval-arms": recall_arms_table,
        "remember-arms": lambda: arms_table("remember"),
        "ablations": ablations_table,
        "rewrite-arms": lambda: arms_table("rewrite"),
        "training": training_table,
        "reading": reading_table,
        "stories": stories_table,
        "generating": generating_table,
        "batches": batches_table,
        "memories": memories_table,
        "memories-compared": compared_table,
        "modules": modules_list,
    }
    | {f"picture-{name}": partial(picture_link, name) for name in PICTURES}
    | {
        f"options-{card.name}": partial(options_table, type(card.tiny))
        for card in MEMORIES
        if card.tiny is not None and fields(card.tiny)
    }
)
"""What fills each marked place; every memory that has options has a page that holds them."""


def documents() -> list[Path]:
    """README and the pages that may hold tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def filled(text: str) -> str:
    """Returns `text` with every marked table as the records and cards make it now."""
    return MARKED.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], text)


def main() -> None:
    """Writes all tables and pictures."""
    for path in documents():
        text = path.read_text(encoding="utf-8")
        if (new := filled(text)) != text:
            _ = path.write_text(new, encoding="utf-8")
            print(f"{path.relative_to(ROOT)} is new")
    for path in draw_all():
        print(f"{path.relative_to(ROOT)} is new")


if __name__ == "__main__":
    main()
