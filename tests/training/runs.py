"""Runs small enough for tests: a retrieval run, and one that carries states from batch to batch."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from armt.backbones.tiny import TinyBackboneConfig
from armt.memories.armt import ARMTConfig
from armt.recurrence.config import RecurrenceConfig
from armt.tasks.associative_retrieval import AssociativeRetrievalConfig
from armt.tasks.babilong import Book, FactStreamConfig, build_store
from armt.tasks.contract import TrainingStream
from armt.tasks.encoder import TokenizerEncoder
from armt.training.config import RunConfig, StageConfig, TextConfig
from armt.training.run import build_model, prepare
from armt.training.trainer import StepReport, Trainer
from tiny_boxed import PROSE, tiny_tokenizer

SEGMENT_LEN = 16
TASK = AssociativeRetrievalConfig(kind="rewrite", num_pairs=2, key_len=1)


class Reports:
    """A callback that keeps what it is told."""

    def __init__(self) -> None:
        self.reports: list[StepReport] = []
        self.num_ends = 0

    def on_report(self, report: StepReport) -> None:
        self.reports.append(report)

    def on_end(self, model: object) -> None:
        self.num_ends += 1


def retrieval_run(num_steps: int = 6, **changes: Any) -> RunConfig:
    """A run on associative retrieval, in two stages if it is longer than four steps."""
    first = min(num_steps, 4)
    stage = StageConfig(num_steps=first, learning_rate=1e-2, stream=TASK, batch_size=8)
    rest = replace(stage, num_steps=num_steps - first, learning_rate=5e-3)
    fields: dict[str, Any] = {
        "name": "retrieval",
        "backbone": TinyBackboneConfig(
            d_model=16, num_layers=2, num_heads=2, d_ffn=16, max_positions=16, init_std=0.15
        ),
        "memory": ARMTConfig(num_memory_tokens=1, d_mem=8),
        "recurrence": RecurrenceConfig(segment_len=TASK.segment_len),
        "stages": (stage, rest) if rest.num_steps else (stage,),
        "log_every": 1,
        "save_every": 3,
    }
    return RunConfig(**(fields | changes))


def retrieval_trainer(config: RunConfig, folder: Path, *callbacks: Any) -> Trainer:
    """What `armt train` would run."""
    return prepare(config, folder, callbacks).trainer


def carried_run(**changes: Any) -> RunConfig:
    """A run of one stage whose texts go on over several batches."""
    facts = FactStreamConfig(
        batch_size=4,
        segment_len=SEGMENT_LEN,
        carry_len=SEGMENT_LEN,
        tail_len=(40, 40),
        num_questions=1,
        gap_len=(16, 16),
        epoch_steps=8,
    )
    stage = StageConfig(num_steps=6, learning_rate=1e-2, stream=facts, write_penalty=0.01)
    shape = TinyBackboneConfig(
        d_model=16, num_layers=2, num_heads=2, d_ffn=16, max_positions=32, init_std=0.15
    )
    fields: dict[str, Any] = {
        "backbone": shape,
        "recurrence": RecurrenceConfig(segment_len=SEGMENT_LEN),
        "text": TextConfig(),
        "stages": (stage,),
    }
    return retrieval_run(**(fields | changes))


def fact_stream(config: RunConfig, encoder: TokenizerEncoder) -> TrainingStream:
    """The stream of the first stage over a little prose."""
    stream = config.stages[0].stream
    assert isinstance(stream, FactStreamConfig)
    store = build_store([Book("prose", PROSE * 4)], encoder)
    return stream.build(store, encoder, config.seed)


def carried_trainer(config: RunConfig, folder: Path, *callbacks: Any) -> Trainer:
    """A trainer over that stream, without the books that `prepare` would read."""
    encoder = TokenizerEncoder(tiny_tokenizer())
    model = build_model(config, encoder)
    return Trainer(model, [fact_stream(config, encoder)], config, folder, callbacks)
