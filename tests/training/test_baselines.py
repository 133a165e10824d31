"""The baselines learn in the same loop: full attention, sliding window, linear recurrence."""

from dataclasses import replace

import pytest

from armt.backbones.tiny import TinyBackboneConfig
from armt.core.errors import ConfigError
from armt.memories.none import NoMemoryConfig
from armt.recurrence.config import RecurrenceConfig
from armt.tasks.segment_facts import SegmentFactsConfig
from armt.training.config import RunConfig, StageConfig
from training.runs import Reports, retrieval_run, retrieval_trainer

TASK = SegmentFactsConfig(segment_len=6, num_segments=3, num_facts=1)
SHAPE = TinyBackboneConfig(
    d_model=16, num_layers=2, num_heads=2, d_ffn=32, max_positions=64, init_std=0.15
)
BACKBONES = {
    "full attention": SHAPE,
    "sliding window": replace(SHAPE, family="mistral", sliding_window=6),
    "linear recurrence": replace(SHAPE, family="mamba2", d_state=8),
}


def run_of(backbone: TinyBackboneConfig, segment_len: int) -> RunConfig:
    """A run on facts, whose rows are 22 tokens long."""
    return retrieval_run(
        backbone=backbone,
        memory=NoMemoryConfig(),
        recurrence=RecurrenceConfig(segment_len=segment_len),
        stages=(StageConfig(num_steps=40, learning_rate=1e-2, stream=TASK, batch_size=16),),
        log_every=10,
        save_every=40,
    )


@pytest.mark.parametrize("name", BACKBONES)
def test_the_loss_falls(name, tmp_path):
    reports = Reports()
    model = retrieval_trainer(run_of(BACKBONES[name], 32), tmp_path, reports).train()
    losses = [report.loss for report in reports.reports]
    assert losses[-1] < 0.8 * losses[0], losses
    assert model.config.vocab_size == TASK.vocab_size


def test_a_recurrence_that_would_forget_its_state_is_refused(tmp_path):
    run = run_of(BACKBONES["linear recurrence"], 6)
    with pytest.raises(ConfigError, match="segment_len` to at least 22"):
        _ = retrieval_trainer(run, tmp_path)
