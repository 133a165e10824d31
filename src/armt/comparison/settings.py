"""The settings of a comparison: functions that return whole configs, asked for by their names.

A memory's card holds a config for tests. Where that is too small to remember a handful of pairs,
`_SCALED` names the sizes that are taken instead; a memory that is not named there is compared as
its card has it.
"""

from armt.backbones.tiny import TinyBackboneConfig
from armt.comparison.config import (
    SETTINGS,
    ComparisonConfig,
    FactPart,
    LanguagePart,
    RetrievalPart,
)
from armt.memories.none import NoMemoryConfig
from armt.recurrence.config import RecurrenceConfig
from armt.tasks.associative_retrieval import AssociativeRetrievalConfig
from armt.tasks.babilong.stream_config import FactStreamConfig
from armt.tasks.language_modeling import LanguageModelingConfig
from armt.training.config import RunConfig, StageConfig, TextConfig

_SEGMENT_LEN = 128
"""Tokens of a segment of text: the facts of a story of QA1 fit into one."""

_SCALED = {
    "armt": {"d_mem": 32},
    "camelot": {"num_slots": 32},
    "hmt": {"num_cached": 32, "d_query": 32},
    "infini": {"d_mem": 64},
    "linear_associative": {"d_mem": 32},
    "lm2": {"num_slots": 16},
    "memlong": {"passage_len": 4},
    "memoryllm": {"num_slots": 32},
    "mlp_associative": {"d_mem": 32, "d_hidden": 64},
    "mplus": {"num_slots": 16, "d_retriever": 16},
    "prmt": {"num_memory_tokens": 4},
    "rmt": {"num_memory_tokens": 4},
    "rmt_r": {"num_memory_tokens": 4},
}


@SETTINGS.register("smoke")
def smoke() -> ComparisonConfig:
    """For a laptop, in minutes: one seed, two layers; retrieval is learned, QA1 is not."""
    backbone = TinyBackboneConfig(
        family="gpt_neox",
        d_model=64,
        num_layers=2,
        num_heads=4,
        d_ffn=128,
        max_positions=256,
        init_std=0.15,
    )
    retrieval = _retrieval_stages({1: 25, 2: 60, 4: 75}, learning_rate=3e-3, batch_size=32)
    facts = StageConfig(
        num_steps=20,
        learning_rate=3e-3,
        warmup_steps=5,
        stream=FactStreamConfig(
            batch_size=16,
            segment_len=_SEGMENT_LEN,
            carry_len=_SEGMENT_LEN,
            tail_len=(48, 48),
            num_questions=4,
            gap_len=(16, 128),
            text_weight=0.02,
        ),
    )
    return ComparisonConfig(
        name="smoke",
        retrieval=RetrievalPart(
            run=_run(backbone, 4, retrieval), nums_pairs=(2, 4, 8), num_samples=256
        ),
        qa1=FactPart(run=_run(backbone, _SEGMENT_LEN, (facts,)), num_samples=8, batch_size=8),
        language=LanguagePart(
            run=_run(backbone, _SEGMENT_LEN, (_language_stage(4, 30, 4, 3e-3),)),
            num_rows=16,
        ),
        text=TextConfig(vocab_size=1024),
        memory_options=_memory_options(),
        seeds=(0,),
    )


@SETTINGS.register("full")
def full() -> ComparisonConfig:
    """For a GPU: three seeds, four layers, longer training."""
    backbone = TinyBackboneConfig(
        family="gpt_neox",
        d_model=128,
        num_layers=4,
        num_heads=4,
        d_ffn=256,
        max_positions=512,
        init_std=0.09,
    )
    retrieval = _retrieval_stages({1: 100, 2: 200, 4: 300, 8: 400}, 1e-3, batch_size=64)
    return ComparisonConfig(
        name="full",
        retrieval=RetrievalPart(
            run=_run(backbone, 4, retrieval), nums_pairs=(4, 8, 16, 32), num_samples=1024
        ),
        qa1=FactPart(run=_run(backbone, _SEGMENT_LEN, _fact_stages()), num_samples=64),
        language=LanguagePart(
            run=_run(backbone, _SEGMENT_LEN, (_language_stage(8, 200, 16, 1e-3),))
        ),
        text=TextConfig(vocab_size=2048),
        memory_options=_memory_options(),
    )


def _fact_stages() -> tuple[StageConfig, ...]:
    """Returns two stages: to look a fact up within a segment, and to hold it over some.

    They are the first two of the recipe `armt_babilong_qa1`, for shorter segments: no memory has
    anything to hold before the backbone looks facts up, and that comes after a long plateau, on
    which it answers with the place that was named last. Facts and questions stand closer in the
    dense rows than there, so that a row asks more, and this small model takes longer steps.
    """
    look_up = FactStreamConfig(
        batch_size=256,
        segment_len=_SEGMENT_LEN,
        is_dense=True,
        sequence_len=128,
        gap_len=(2, 8),
        text_weight=0.02,
    )
    hold = FactStreamConfig(
        batch_size=64,
        segment_len=_SEGMENT_LEN,
        carry_len=2 * _SEGMENT_LEN,
        tail_len=(32, 112),
        num_questions=4,
        gap_len=(4, 1024),
        border_share=0.25,
        epoch_steps=16,
        text_weight=0.005,
    )
    return (
        StageConfig(num_steps=1000, learning_rate=2e-3, warmup_steps=100, stream=look_up),
        StageConfig(num_steps=1000, learning_rate=1e-3, final_learning_rate=1e-4, stream=hold),
    )


def _memory_options() -> tuple[str, ...]:
    return tuple(
        f"{name}.{option}={value}"
        for name, options in _SCALED.items()
        for option, value in options.items()
    )


def _retrieval_stages(
    num_steps: dict[int, int], learning_rate: float, batch_size: int
) -> tuple[StageConfig, ...]:
    """Returns a stage for each number of pairs; keys are written again, the last value counts."""
    last = max(num_steps)
    return tuple(
        StageConfig(
            num_steps=steps,
            learning_rate=learning_rate,
            final_learning_rate=learning_rate / 20 if num_pairs == last else None,
            warmup_steps=20 if num_pairs == 1 else 0,
            batch_size=batch_size,
            stream=AssociativeRetrievalConfig(
                kind="rewrite", num_pairs=num_pairs, key_len=1, num_questions=4
            ),
        )
        for num_pairs, steps in num_steps.items()
    )


def _language_stage(
    num_segments: int, num_steps: int, batch_size: int, learning_rate: float
) -> StageConfig:
    return StageConfig(
        num_steps=num_steps,
        learning_rate=learning_rate,
        final_learning_rate=learning_rate / 20,
        warmup_steps=num_steps // 10,
        batch_size=batch_size,
        stream=LanguageModelingConfig(segment_len=_SEGMENT_LEN, num_segments=num_segments),
    )


def _run(
    backbone: TinyBackboneConfig, segment_len: int, stages: tuple[StageConfig, ...]
) -> RunConfig:
    """Returns a training whose memory is put in later; text where a stage reads some."""
    reads_text = not isinstance(stages[0].stream, AssociativeRetrievalConfig)
    return RunConfig(
        name="compare",
        backbone=backbone,
        memory=NoMemoryConfig(),
        recurrence=RecurrenceConfig(segment_len=segment_len),
        text=TextConfig() if reads_text else None,
        stages=stages,
        log_every=10,
        save_every=100_000,
    )
