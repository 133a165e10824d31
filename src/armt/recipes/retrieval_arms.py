"""Associative retrieval with several memories whose states are as large as each other.

| recipes | state |
|---|---|
| `remember_armt`, `rewrite_armt` | the association of every layer, `d_mem` 4 |
| `remember_rmt`, `rewrite_rmt` | memory tokens around the backbone |
| `remember_prmt`, `rewrite_prmt` | memory tokens of every layer |
| `remember_mamba2`, `rewrite_mamba2` | the backbone's own, without a memory |
| `remember_mamba2_large`, `rewrite_mamba2_large` | the same, as large as that of `armt_retrieval` |

Pairs, questions, steps, batches and seeds are those of `armt_retrieval` and
`armt_retrieval_rewrite`. Their ARMT has a state that no memory of tokens can have in this task: RMT
would need 1,536 tokens on both sides of a segment of five, and the activations of fifty such
segments fit no card. So the ARMT beside them is a smaller one; all else is as in the large.

Where mamba2 differs: it has no feed-forward layers, and a recurrence that lies in the backbone
cannot be asked twice from one state, so in training the questions follow each other at the end of
the row; later ones may be read off earlier ones. In the test there is one, as for all.
"""

from dataclasses import replace

from armt.core.config import MemoryConfig
from armt.memories.armt import ARMTConfig
from armt.memories.none import NoMemoryConfig
from armt.memories.prmt import PRMTConfig
from armt.memories.rmt import RMTConfig
from armt.recipes.armt_retrieval import armt_retrieval, armt_retrieval_rewrite
from armt.recipes.registry import RECIPES
from armt.recurrence.config import RecurrenceConfig
from armt.tasks.associative_retrieval import AssociativeRetrievalConfig
from armt.training.config import RunConfig, StageConfig

WHOLE_ROW_LEN = 32768
"""Tokens of a segment that holds a whole row, also one of 5,000 updates in the test."""

_D_MEM, _LARGE_D_MEM = 4, 64
"""Widths of keys of the ARMT that gives the size of a state: here, and in `armt_retrieval`."""


@RECIPES.register("remember_armt", paper="arXiv:2407.04841")
def remember_armt() -> RunConfig:
    """Remember with an association of every layer: 49,152 bytes."""
    return _armt("remember_armt", armt_retrieval())


@RECIPES.register("remember_rmt", paper="arXiv:2207.06881")
def remember_rmt() -> RunConfig:
    """Remember with memory tokens around the backbone: 49,153 bytes."""
    return _rmt("remember_rmt", armt_retrieval())


@RECIPES.register("remember_prmt", paper="arXiv:2407.04841")
def remember_prmt() -> RunConfig:
    """Remember with memory tokens of every layer: 49,156 bytes."""
    return _prmt("remember_prmt", armt_retrieval())


@RECIPES.register("remember_mamba2", paper="arXiv:2405.21060")
def remember_mamba2() -> RunConfig:
    """Remember with a linear recurrence in the backbone: 50,176 bytes."""
    return _mamba2("remember_mamba2", armt_retrieval(), _D_MEM)


@RECIPES.register("remember_mamba2_large", paper="arXiv:2405.21060")
def remember_mamba2_large() -> RunConfig:
    """Remember with a linear recurrence in the backbone: 785,152 bytes."""
    return _mamba2("remember_mamba2_large", armt_retrieval(), _LARGE_D_MEM)


@RECIPES.register("rewrite_armt", paper="arXiv:2407.04841")
def rewrite_armt() -> RunConfig:
    """Rewrite with an association of every layer: 49,152 bytes."""
    return _armt("rewrite_armt", armt_retrieval_rewrite())


@RECIPES.register("rewrite_rmt", paper="arXiv:2207.06881")
def rewrite_rmt() -> RunConfig:
    """Rewrite with memory tokens around the backbone: 49,153 bytes."""
    return _rmt("rewrite_rmt", armt_retrieval_rewrite())


@RECIPES.register("rewrite_prmt", paper="arXiv:2407.04841")
def rewrite_prmt() -> RunConfig:
    """Rewrite with memory tokens of every layer: 49,156 bytes."""
    return _prmt("rewrite_prmt", armt_retrieval_rewrite())


@RECIPES.register("rewrite_mamba2", paper="arXiv:2405.21060")
def rewrite_mamba2() -> RunConfig:
    """Rewrite with a linear recurrence in the backbone: 50,176 bytes."""
    return _mamba2("rewrite_mamba2", armt_retrieval_rewrite(), _D_MEM)


@RECIPES.register("rewrite_mamba2_large", paper="arXiv:2405.21060")
def rewrite_mamba2_large() -> RunConfig:
    """Rewrite with a linear recurrence in the backbone: 785,152 bytes."""
    return _mamba2("rewrite_mamba2_large", armt_retrieval_rewrite(), _LARGE_D_MEM)


def _armt(name: str, run: RunConfig) -> RunConfig:
    assert isinstance(run.memory, ARMTConfig), "the recipe is one of ARMT"
    return replace(run, name=name, memory=replace(run.memory, d_mem=_D_MEM))


def _rmt(name: str, run: RunConfig) -> RunConfig:
    num_tokens = run.backbone.num_layers * _layer_floats(run, _D_MEM) // run.backbone.d_model
    return _segment_by_segment(name, run, RMTConfig(num_memory_tokens=num_tokens))


def _prmt(name: str, run: RunConfig) -> RunConfig:
    num_tokens = _layer_floats(run, _D_MEM) // run.backbone.d_model
    return _segment_by_segment(name, run, PRMTConfig(num_memory_tokens=num_tokens))


def _segment_by_segment(name: str, run: RunConfig, memory: MemoryConfig) -> RunConfig:
    """Returns the run with another memory, whose segments fill a GPU without compiled waves."""
    recurrence = RecurrenceConfig(segment_len=run.recurrence.segment_len)
    return replace(run, name=name, memory=memory, recurrence=recurrence)


def _mamba2(name: str, run: RunConfig, d_mem: int) -> RunConfig:
    """Returns the run with the recurrence whose state is nearest to that of an ARMT."""
    nbytes = 4 * run.backbone.num_layers * _layer_floats(run, d_mem)
    sizes = [replace(run.backbone, family="mamba2", d_state=each) for each in range(1, 512)]
    return replace(
        run,
        name=name,
        backbone=min(sizes, key=lambda each: abs(each.state_nbytes - nbytes)),
        memory=NoMemoryConfig(),
        recurrence=RecurrenceConfig(segment_len=WHOLE_ROW_LEN),
        stages=tuple(map(_asked_in_row, run.stages)),
    )


def _layer_floats(run: RunConfig, d_mem: int) -> int:
    """Returns the numbers in the association of a layer, had the run's ARMT this width of keys."""
    assert isinstance(run.memory, ARMTConfig), "the recipe is one of ARMT"
    return 2 * run.memory.nu * d_mem * run.backbone.d_model


def _asked_in_row(stage: StageConfig) -> StageConfig:
    assert isinstance(stage.stream, AssociativeRetrievalConfig), "the recipe is one of retrieval"
    return replace(stage, stream=replace(stage.stream, is_asked_in_row=True))
