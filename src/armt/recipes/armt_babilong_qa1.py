"""Single-fact questions over millions of tokens, learned from scratch on one GPU in minutes."""

from armt.backbones.tiny import TinyBackboneConfig
from armt.memories.armt import ARMTConfig
from armt.recipes.registry import RECIPES
from armt.recurrence.config import RecurrenceConfig
from armt.tasks.babilong.stream_config import FactStreamConfig
from armt.training.config import RunConfig, StageConfig, TextConfig

SEGMENT_LEN = 512

OVERLAP_LEN = 16
"""Tokens that are read twice, once the model is trained: more than a fact has, so that no border
cuts one. That a person went to a place may be told twice."""

BORDER_SHARE = 0.25
"""Share of the facts that a border of segments cuts; by chance too few to learn from. Of the
sentences that look like facts as many are cut: else a segment that begins with a place is one. At
as many borders half a fact stands alone."""


@RECIPES.register("armt_babilong_qa1", paper="arXiv:2407.04841")
def armt_babilong_qa1() -> RunConfig:
    """ARMT on BABILong QA1: texts carried over steps, questions in tails that are thrown away.

    Three things are learned one after the other: to look a fact up within a segment, from short
    rows with questions all along; to hold it in memory over a few segments; to hold it over
    thousands, with states carried from step to step and a penalty on writing what has no use. Two
    stages lead to the last: both the penalty and the long texts come little by little.
    """
    return RunConfig(
        name="armt_babilong_qa1",
        backbone=TinyBackboneConfig(),
        memory=ARMTConfig(num_memory_tokens=16, d_mem=64, gate="hard", gate_noise=1.0),
        recurrence=RecurrenceConfig(segment_len=SEGMENT_LEN, is_compiled=True),
        reading_overlap_len=OVERLAP_LEN,
        text=TextConfig(),
        stages=(_look_up(), _hold(), _hold_on(), _hold_long()),
        precision="bfloat16",
    )


def _look_up() -> StageConfig:
    stream = FactStreamConfig(
        batch_size=256,
        segment_len=SEGMENT_LEN,
        is_dense=True,
        sequence_len=128,
        gap_len=(6, 24),
        text_weight=0.02,
    )
    return StageConfig(num_steps=1600, learning_rate=1e-3, warmup_steps=100, stream=stream)


def _hold() -> StageConfig:
    stream = FactStreamConfig(
        batch_size=64,
        segment_len=SEGMENT_LEN,
        carry_len=SEGMENT_LEN,
        tail_len=(32, 320),
        num_questions=4,
        gap_len=(16, 512),
        border_share=BORDER_SHARE,
        epoch_steps=4,
        text_weight=0.005,
    )
    return StageConfig(num_steps=1200, learning_rate=1e-3, stream=stream)


def _hold_on() -> StageConfig:
    stream = _carried_stream(gap_len=(32, 1 << 12), epoch_steps=32)
    return StageConfig(num_steps=400, learning_rate=1e-3, stream=stream, write_penalty=0.1)


def _hold_long() -> StageConfig:
    return StageConfig(
        num_steps=4000,
        learning_rate=7e-4,
        final_learning_rate=1e-5,
        stream=_carried_stream(gap_len=(64, 1 << 16), epoch_steps=256),
        write_penalty=0.3,
    )


def _carried_stream(gap_len: tuple[int, int], epoch_steps: int) -> FactStreamConfig:
    return FactStreamConfig(
        batch_size=32,
        segment_len=SEGMENT_LEN,
        carry_len=4 * SEGMENT_LEN,
        tail_len=(16, 448),
        num_questions=4,
        gap_len=gap_len,
        border_share=BORDER_SHARE,
        epoch_steps=epoch_steps,
        confuser_gap=400,
        confuser_border_share=2 * BORDER_SHARE,
        half_fact_share=0.5,
    )
