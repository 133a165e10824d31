"""Measures what associative memories hold, and how a one-layer transformer learns facts.

    python benchmarks/factual_recall.py --results benchmarks/results/NAME.jsonl

Takes a few minutes on two cores. Sizes and numbers of steps are far smaller than the paper's.
"""

import argparse
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

from records import open_book

from armt.benchmarking.records import RecordBook
from armt.tasks.factual_recall import FactualRecallConfig
from armt.training.factual_recall.capacity import (
    GOAL,
    Associations,
    closed_form_accuracy,
    draw_associations,
    find_capacity,
    growth,
    trained_matrix_accuracy,
    trained_mlp_accuracy,
)
from armt.training.factual_recall.one_layer import OneLayerConfig, train_one_layer
from armt.training.factual_recall.sequential import find_stages, learn_in_order

_CLOSED_WIDTHS = (16, 32, 64, 128, 256)
_STORES: dict[str, tuple[int, ...]] = {
    "hebbian": _CLOSED_WIDTHS,
    "delta": _CLOSED_WIDTHS,
    "ridge": _CLOSED_WIDTHS,
    "trained matrix": (8, 12, 16, 24, 32, 48),
    "trained perceptron": (8, 11, 16, 22),
}
"""Widths of the vectors that each kind of store is measured at."""

_SEQUENTIAL = FactualRecallConfig(num_subjects=16, num_relations=4, num_answers=8)
_RECALL = FactualRecallConfig(num_subjects=16, num_relations=16, num_answers=8)
_TRANSFORMERS = {
    "small": OneLayerConfig(d_model=16, num_heads=8, head_dim=2, d_mlp=16),
    "balanced": OneLayerConfig(d_model=24, num_heads=8, head_dim=3, d_mlp=24),
    "attention only": OneLayerConfig(d_model=48, num_heads=8, head_dim=6),
    "mostly perceptron": OneLayerConfig(d_model=32, num_heads=8, head_dim=2, d_mlp=64),
}


def main() -> None:
    """Measures everything that is asked for, with each seed."""
    options = _options()
    for seed in options.seeds:
        book = open_book(options.results, seed, options.commit)
        for store, widths in _STORES.items():
            if store in options.only:
                _measure_store(book, store, widths)
        if "order" in options.only:
            _measure_order(book)
        for kind, config in _TRANSFORMERS.items():
            if "transformer" in options.only:
                _measure_transformer(book, kind, config)


def _measure_store(book: RecordBook, store: str, widths: tuple[int, ...]) -> None:
    """Records the capacity at each width, and how it grows with the size of the theory.

    That is `d^2` for a matrix and `m d` for a perceptron; its hidden units are as many as it is
    wide, so it is the square of the width for both.
    """
    found = {width: _capacity(store, width, book.seed) for width in widths}
    sizes = {width: width**2 for width in widths}
    for width, number in found.items():
        book.add(
            "factual_recall.capacity", number, "associations", store=store, width=width,
            size=sizes[width], goal=GOAL,
        )  # fmt: skip
    for of, change in (("N", float), ("N log N", lambda number: number * math.log(number))):
        exponent = growth(list(sizes.values()), [change(number) for number in found.values()])
        book.add(
            "factual_recall.growth", exponent, "exponent", store=store, of=of, widths=list(widths)
        )


def _capacity(store: str, width: int, seed: int) -> int:
    measure: dict[str, Callable[[Associations], float]] = {
        "trained matrix": trained_matrix_accuracy,
        "trained perceptron": partial(trained_mlp_accuracy, num_hidden=width, seed=seed),
    }
    accuracy = measure.get(store) or partial(closed_form_accuracy, store)
    return find_capacity(
        lambda number: accuracy(draw_associations(number, width, 10_007 * seed + number)) >= GOAL,
        start=width // 2 if store in ("hebbian", "delta", "ridge") else width**2 // 8,
    )


def _measure_order(book: RecordBook) -> None:
    """Records when relation and subject are learned, and the loss between."""
    losses = list(learn_in_order(_SEQUENTIAL.build(book.seed), book.seed))
    stages = find_stages(losses, _SEQUENTIAL.relation_chance_loss)
    assert stages is not None, "the training is long enough to learn everything"
    task = {
        "subjects": _SEQUENTIAL.num_subjects,
        "relations": _SEQUENTIAL.num_relations,
        "answers": _SEQUENTIAL.num_answers,
    }
    moments = {"start": losses[0].total, "plateau": stages.plateau, "end": losses[-1].total}
    for moment, loss in moments.items():
        book.add("factual_recall.loss", loss, "nats", moment=moment, **task)
    for what, step in (("relation", stages.relation_step), ("subject", stages.subject_step)):
        book.add("factual_recall.learned_at", step, "steps", what=what, **task)


def _measure_transformer(book: RecordBook, kind: str, config: OneLayerConfig) -> None:
    """Records how many facts a trained one-layer transformer knows."""
    trained = train_one_layer(_RECALL.build(book.seed), config, book.seed)
    book.add(
        "factual_recall.accuracy", trained.accuracy, "share", kind=kind, facts=_RECALL.num_facts,
        attention_parameters=config.num_attention_parameters,
        mlp_parameters=config.num_mlp_parameters, num_samples=trained.num_asked,
        **config.to_dict(),
    )  # fmt: skip


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    _ = parser.add_argument("--results", type=Path, required=True)
    _ = parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    _ = parser.add_argument("--commit", default="")
    parts = [*_STORES, "order", "transformer"]
    _ = parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    return parser.parse_args()


if __name__ == "__main__":
    main()
