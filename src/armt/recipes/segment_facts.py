"""Facts among segments: the small experiments of MemoryLLM and M+, MemLong, and HMT.

| recipes | facts | memories that are compared |
|---|---|---|
| `facts_*` | asked for after any number of other facts | MemoryLLM, M+, none; baselines |
| `titled_*` | under a title each, one of which is named again | MemLong, M+, none |
| `topics_*` | of two topics that alternate | HMT, RMT, none |

All of one kind have the same backbone, data and steps, but for `titled_mplus_retriever`, which asks
no more than whether a retriever can learn to find. First comes looking up within a segment, then
over more and more of them. The baselines read a row as one segment, without a memory: full
attention, a sliding window, and a linear recurrence.
"""

from dataclasses import replace

from armt.backbones.tiny import TinyBackboneConfig
from armt.core.config import MemoryConfig
from armt.memories.hmt import HMTConfig
from armt.memories.memlong import MemLongConfig
from armt.memories.memoryllm import MemoryLLMConfig
from armt.memories.mplus import MPlusConfig
from armt.memories.none import NoMemoryConfig
from armt.memories.rmt import RMTConfig
from armt.recipes.registry import RECIPES
from armt.recurrence.config import RecurrenceConfig
from armt.tasks.segment_facts import SegmentFactsConfig
from armt.training.config import RunConfig, StageConfig

SEGMENT_LEN, NUM_FACTS = 16, 2

WHOLE_ROW_LEN = 512
"""Tokens of a segment that holds a whole row, also of those that are longer than in training."""

_BACKBONE = TinyBackboneConfig(d_model=128, num_layers=4, d_ffn=256, init_std=0.1)

_MPLUS = MPlusConfig(
    num_memory_tokens=4, num_slots=16, num_retrieved=8, d_retriever=32, is_offloaded=False
)

_LOOK_UP = SegmentFactsConfig(segment_len=SEGMENT_LEN, num_segments=1, is_filled=False)

_FACTS_STEPS = {1: 500, 2: 600, 4: 600, 8: 800}
_TITLED_STEPS = {1: 500, 2: 500, 4: 500, 8: 600}
_TOPICS_STEPS = {1: 600, 2: 600, 4: 600, 8: 800, 12: 1000}
"""Optimiser steps at each number of segments."""

_TITLE_STEPS = {12: 100, 6: 60, 3: 60, 1: 120}
"""Optimiser steps of the retriever at each number of times that a title stands in its segment."""


@RECIPES.register("facts_memoryllm", paper="arXiv:2402.04624")
def facts_memoryllm() -> RunConfig:
    """Facts that others follow, kept in a pool that loses a quarter with every segment."""
    return _facts("facts_memoryllm", MemoryLLMConfig(num_memory_tokens=4, num_slots=16))


@RECIPES.register("facts_mplus", paper="arXiv:2502.00592")
def facts_mplus() -> RunConfig:
    """The same with a long-term memory behind the pool."""
    return _facts("facts_mplus", _MPLUS)


@RECIPES.register("facts_none", paper="arXiv:2402.04624")
def facts_none() -> RunConfig:
    """The same without a memory: what guessing gives."""
    return _facts("facts_none", NoMemoryConfig())


@RECIPES.register("facts_full_attention", paper="arXiv:2402.04624")
def facts_full_attention() -> RunConfig:
    """The same with attention to all that was told, in one segment."""
    return _whole("facts_full_attention", _BACKBONE)


@RECIPES.register("facts_sliding", paper="arXiv:2402.04624")
def facts_sliding() -> RunConfig:
    """The same with attention to the last sixteen tokens in each of four layers."""
    backbone = replace(_BACKBONE, family="mistral", sliding_window=SEGMENT_LEN)
    return _whole("facts_sliding", backbone)


@RECIPES.register("facts_mamba2", paper="arXiv:2405.21060")
def facts_mamba2() -> RunConfig:
    """The same with a linear recurrence in the place of attention.

    `attach` takes Mamba-2 as transformers 5.13 and later have it, and refuses that of 5.12 and
    earlier, which forgets its state where a text goes on from a cache by more than one token.
    """
    return _whole("facts_mamba2", replace(_BACKBONE, family="mamba2"))


@RECIPES.register("titled_memlong", paper="arXiv:2408.16967")
def titled_memlong() -> RunConfig:
    """Facts under titles, found again by the title: two passages for each segment.

    One of the two is the announcement itself. A fact is one token, so that the lowest layer holds
    all there is to know of it; the middle one, as in the paper, is learned far more slowly, since
    no gradient reaches what was kept.
    """
    memory = MemLongConfig(passage_len=SEGMENT_LEN, num_passages=2, memory_layer=0)
    return _titled("titled_memlong", memory)


@RECIPES.register("titled_mplus", paper="arXiv:2502.00592")
def titled_mplus() -> RunConfig:
    """The same with M+: the retriever hears the title before it is asked.

    By default it chooses before the question is read, so that facts without a title are found by
    chance.
    """
    return _titled("titled_mplus", _MPLUS)


@RECIPES.register("titled_mplus_retriever", paper="arXiv:2502.00592")
def titled_mplus_retriever() -> RunConfig:
    """The retriever of M+ alone, with stages of its own: it learns to find, and no answers.

    Its own loss teaches it, and the memory tokens, to hold a title, which at first fills its
    segment. This comes before anything is read from the pool: the announcement would then tell its
    row by the facts that the pool holds, and need no title.
    """
    run = _titled("titled_mplus_retriever", replace(_MPLUS, is_loss_cut_off=False))
    first = replace(run.stages[0], num_steps=400, batch_size=64)
    titled = [
        StageConfig(
            num_steps=num_steps,
            learning_rate=2e-3,
            batch_size=32,
            stream=replace(_task(2, 2), title_len=title_len),
            memory_loss=1.0,
        )
        for title_len, num_steps in _TITLE_STEPS.items()
    ]
    last = StageConfig(
        num_steps=200,
        learning_rate=1e-3,
        final_learning_rate=1e-5,
        batch_size=32,
        stream=_task(4, 4),
        memory_loss=1.0,
    )
    return replace(run, stages=(first, *titled, last))


@RECIPES.register("titled_none", paper="arXiv:2408.16967")
def titled_none() -> RunConfig:
    """The same without a memory: what guessing gives."""
    return _titled("titled_none", NoMemoryConfig())


@RECIPES.register("topics_hmt", paper="arXiv:2405.06067")
def topics_hmt() -> RunConfig:
    """Facts of two topics that alternate, recalled from a cache of sixteen memories.

    As published, training has two stages: without recall while a text has two segments before the
    questions, and with it from then on.
    """
    run = _topics("topics_hmt", HMTConfig(num_cached=16, num_sensory=0))
    first = [replace(stage, memory_changes=("use_recall=false",)) for stage in run.stages[:2]]
    return replace(run, stages=(*first, *run.stages[2:]))


@RECIPES.register("topics_rmt", paper="arXiv:2405.06067")
def topics_rmt() -> RunConfig:
    """The same with one recurrent memory token."""
    return _topics("topics_rmt", RMTConfig(num_memory_tokens=1))


@RECIPES.register("topics_none", paper="arXiv:2405.06067")
def topics_none() -> RunConfig:
    """The same without a memory: what guessing gives."""
    return _topics("topics_none", NoMemoryConfig())


def _facts(name: str, memory: MemoryConfig) -> RunConfig:
    return _run(name, memory, {_task(number, 1): steps for number, steps in _FACTS_STEPS.items()})


def _whole(name: str, backbone: TinyBackboneConfig) -> RunConfig:
    """Returns a run of another backbone without a memory, for which a row is one segment."""
    run = _facts(name, NoMemoryConfig())
    return replace(run, backbone=backbone, recurrence=RecurrenceConfig(segment_len=WHOLE_ROW_LEN))


def _titled(name: str, memory: MemoryConfig) -> RunConfig:
    steps = {_task(number, number): steps for number, steps in _TITLED_STEPS.items()}
    return _run(name, memory, steps)


def _topics(name: str, memory: MemoryConfig) -> RunConfig:
    steps = {_task(number, min(number, 2)): steps for number, steps in _TOPICS_STEPS.items()}
    return _run(name, memory, steps)


def _task(num_segments: int, num_titles: int) -> SegmentFactsConfig:
    return SegmentFactsConfig(
        segment_len=SEGMENT_LEN,
        num_segments=num_segments,
        num_facts=NUM_FACTS,
        num_titles=num_titles,
    )


def _run(name: str, memory: MemoryConfig, steps: dict[SegmentFactsConfig, int]) -> RunConfig:
    """Returns a run that learns to look up, and then the tasks in their order."""
    first = StageConfig(
        num_steps=600, learning_rate=2e-3, warmup_steps=50, batch_size=128, stream=_LOOK_UP
    )
    last = list(steps)[-1]
    rest = [
        StageConfig(
            num_steps=num_steps,
            learning_rate=1e-3,
            final_learning_rate=1e-5 if task is last else None,
            batch_size=128,
            stream=task,
        )
        for task, num_steps in steps.items()
    ]
    return RunConfig(
        name=name,
        backbone=_BACKBONE,
        memory=memory,
        recurrence=RecurrenceConfig(segment_len=SEGMENT_LEN),
        stages=(first, *rest),
    )
