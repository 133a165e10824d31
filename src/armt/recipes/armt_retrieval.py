"""Associative retrieval with the model of the ARMT paper, from one pair up to fifty.

Each recipe has a small sister, NAME_tiny, that learns up to six pairs on a laptop.
"""

from dataclasses import replace
from typing import Literal

from armt.backbones.tiny import TinyBackboneConfig
from armt.memories.armt import ARMTConfig
from armt.recipes.registry import RECIPES
from armt.recipes.smoke import smoke
from armt.recurrence.config import RecurrenceConfig
from armt.tasks.associative_retrieval import AssociativeRetrievalConfig
from armt.training.config import OptimConfig, RunConfig, StageConfig

_REMEMBER_STEPS = {1: 200, 2: 300, 3: 300, 5: 400, 10: 500, 20: 800, 50: 4000}
_REWRITE_STEPS = {1: 200, 2: 300, 3: 300, 5: 400, 10: 400, 20: 600, 50: 2500}
_PUBLISHED_STEPS = _REMEMBER_STEPS | {50: 2000, 100: 1000, 200: 1500}
_QUICK_STEPS = {1: 100, 2: 200, 4: 300, 8: 400, 16: 200}
_TINY_STEPS = {1: 80, 3: 150, 6: 100}
"""Optimiser steps at each number of pairs."""

_NUM_QUESTIONS = 8
"""Questions after each row of pairs: reading fifty segments is dear, another question cheap."""


@RECIPES.register("armt_retrieval", paper="arXiv:2407.04841")
def armt_retrieval() -> RunConfig:
    """Remember: fifty different keys of two digits, one pair a segment, then one is asked for."""
    return _run("armt_retrieval", "remember", 2, _REMEMBER_STEPS)


@RECIPES.register("armt_retrieval_rewrite", paper="arXiv:2407.04841")
def armt_retrieval_rewrite() -> RunConfig:
    """Rewrite: sixteen keys, written again and again; the last value of one is asked for."""
    return _run("armt_retrieval_rewrite", "rewrite", 1, _REWRITE_STEPS)


@RECIPES.register("armt_retrieval_published", paper="arXiv:2407.04841")
def armt_retrieval_published() -> RunConfig:
    """Remember in the setting of the paper's figure 2a: 200 keys of three digits, values of one.

    Memory and backbone have the sizes of the published curriculum: four memory tokens, `d_mem` 64,
    four layers of width 128. That curriculum goes through 1, 2, 3, 5, 10, 20, 40, 50 and 200 pairs
    with keys of one digit first, then two, then three; here all keys have three, so that a segment
    is always as long, and 100 pairs stand in the place of 40. The paper's steps are many more.
    """
    return _run("armt_retrieval_published", "remember", 3, _PUBLISHED_STEPS)


@RECIPES.register("armt_retrieval_rewrite_quick", paper="arXiv:2407.04841")
def armt_retrieval_rewrite_quick() -> RunConfig:
    """Rewrite, up to sixteen updates, in about a minute of a GPU: what ablations change.

    The weights start wider than in the full recipe, with which so few steps are enough.
    """
    run = _run("armt_retrieval_rewrite_quick", "rewrite", 1, _QUICK_STEPS)
    return replace(run, backbone=replace(run.backbone, init_std=0.09))


@RECIPES.register("armt_retrieval_tiny", paper="arXiv:2407.04841")
def armt_retrieval_tiny() -> RunConfig:
    """Remember, up to six keys, for a laptop."""
    return _tiny(_run("armt_retrieval_tiny", "remember", 2, _TINY_STEPS))


@RECIPES.register("armt_retrieval_rewrite_tiny", paper="arXiv:2407.04841")
def armt_retrieval_rewrite_tiny() -> RunConfig:
    """Rewrite, up to six updates, for a laptop."""
    return _tiny(_run("armt_retrieval_rewrite_tiny", "rewrite", 1, _TINY_STEPS))


def _tiny(run: RunConfig) -> RunConfig:
    """Returns the run with the small model of `smoke`, operation by operation."""
    laptop = smoke()
    return replace(
        run,
        backbone=laptop.backbone,
        memory=laptop.memory,
        recurrence=RecurrenceConfig(segment_len=run.recurrence.segment_len),
        log_every=laptop.log_every,
    )


def _run(
    name: str, kind: Literal["remember", "rewrite"], key_len: int, steps: dict[int, int]
) -> RunConfig:
    tasks = {
        num_pairs: AssociativeRetrievalConfig(
            kind=kind, num_pairs=num_pairs, key_len=key_len, num_questions=_NUM_QUESTIONS
        )
        for num_pairs in steps
    }
    last = max(steps)
    stages = tuple(
        StageConfig(
            num_steps=num_steps,
            learning_rate=1e-3 if num_pairs < 20 else 5e-4,
            final_learning_rate=1e-5 if num_pairs == last else None,
            warmup_steps=50 if num_pairs == 1 else 0,
            batch_size=64,
            stream=tasks[num_pairs],
        )
        for num_pairs, num_steps in steps.items()
    )
    return RunConfig(
        name=name,
        backbone=TinyBackboneConfig(
            family="gpt_neox", d_model=128, num_layers=4, d_ffn=128, use_tied_embeddings=False
        ),
        memory=ARMTConfig(num_memory_tokens=4, d_mem=64, gate="hard"),
        recurrence=RecurrenceConfig(
            segment_len=tasks[last].segment_len, schedule="waves", is_compiled=True
        ),
        stages=stages,
        optim=OptimConfig(weight_decay=1e-3),
    )
