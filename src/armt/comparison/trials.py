"""A trial: one memory under one seed in one part of the comparison, trained and measured."""

import math
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, cast

import torch
from torch import nn

from armt.benchmarking.clock import alternate
from armt.comparison.config import ComparisonConfig, FactPart, LanguagePart, Part, RetrievalPart
from armt.core.config import PlainTree
from armt.core.errors import ArmtError, DataError
from armt.evaluation.answers import evaluating
from armt.evaluation.harness import EvaluationConfig, evaluate
from armt.evaluation.language_modeling import segment_bits_per_byte
from armt.evaluation.metrics import Score
from armt.evaluation.retrieval import retrieval_scores
from armt.evaluation.subjects.hashing import short_hash
from armt.evaluation.subjects.recurrent import RecurrentSubject
from armt.recurrence.model import Recurrent
from armt.tasks.associative_retrieval import AssociativeRetrievalConfig
from armt.tasks.babilong.building import build_store
from armt.tasks.babilong.store import BackgroundStore
from armt.tasks.babilong.task_config import BabilongTaskConfig
from armt.tasks.encoder import TokenizerEncoder
from armt.tasks.language_modeling import LanguageModelingConfig
from armt.training.callbacks.log import LOG_NAME, TrainingLog, read_log
from armt.training.config import RunConfig, TextConfig
from armt.training.run import prepare
from armt.training.text import background_books, load_encoder, load_store

ARMS = {"on": True, "off": False}
"""With what the memory read, and with an empty one."""

RECALL, FACTS, LANGUAGE = "retrieval.exact_match", "babilong.accuracy", "lm.bits_per_byte"
STATE, ADDED = "memory.state_bytes", "memory.parameters"
TRAINING, READING = "train.tokens_per_s", "read.tokens_per_s"
"""Names of the figures."""

_QUESTION_SEED = 12345
"""Stories of the evaluation; training draws from other seeds and other books."""

_NUM_TIMED = 5


class Figure(NamedTuple):
    """One measured figure."""

    name: str
    value: float
    unit: str
    params: dict[str, PlainTree]
    """What varies between figures of one name."""


class Trial(NamedTuple):
    """What is measured."""

    part: str
    """A name in `MEASURES`."""

    mechanism: str
    """Name of the memory."""

    seed: int

    plan: Part
    """The whole of its settings."""

    @property
    def key(self) -> str:
        """A hash of all that decides its figures."""
        return short_hash([self.part, self.mechanism, self.plan.to_dict()])

    @property
    def title(self) -> str:
        """As a person would call it."""
        return f"{self.mechanism}, {self.part}, seed {self.seed}"

    def measure(self, folder: Path) -> list[Figure]:
        """Trains and measures; what it needs for that stands in `folder`.

        Raises:
            ArmtError: the memory cannot do what it is asked for.
        """
        return list(MEASURES[self.part](self.plan, folder))


class _Trained(NamedTuple):
    model: Recurrent
    encoder: TokenizerEncoder | None
    tokens_per_s: float


def plan_trials(config: ComparisonConfig) -> list[Trial]:
    """Returns all trials: seed after seed, so that a table of the first one is whole early.

    Raises:
        ArmtError: a memory is unknown, or has no such option.
    """
    memories = config.memory_configs()
    return [
        Trial(part, mechanism, seed, config.part(part, memory, seed))
        for seed in config.seeds
        for part in MEASURES
        for mechanism, memory in memories.items()
    ]


def text_folder(folder: Path, text: TextConfig) -> Path:
    """Returns where the tokenizer and the books of a comparison stand."""
    return folder / f"text-{short_hash(text.to_dict())}"


def make_texts(folder: Path, text: TextConfig) -> None:
    """Makes tokenizer and tokenised books once, for all trials.

    Raises:
        DataError: the books cannot be read, or none is for training or none for testing.
    """
    place = text_folder(folder, text)
    encoder = load_encoder(place, text)
    if not (place / "background").exists():
        build_store(background_books(text.background), encoder).save(place / "background")
    for split in ("train", "test"):
        _ = load_store(place, text, encoder, split)


def measure_retrieval(part: RetrievalPart, folder: Path) -> Iterator[Figure]:
    """Yields exact match, and the size of one row's state, by the number of pairs."""
    model = _train(part.run, folder).model
    task = part.run.stages[-1].stream
    assert isinstance(task, AssociativeRetrievalConfig), "the part is associative retrieval"
    about = {"task": task.kind, "trained": task.num_pairs}
    for arm, use_memory in ARMS.items():
        scores = retrieval_scores(
            model, task, part.nums_pairs, num_samples=part.num_samples, use_memory=use_memory
        )
        for tested, score in scores.items():
            yield _share(RECALL, score, {**about, "tested": tested, "memory": arm})
    for tested in part.nums_pairs:
        ids = torch.zeros(1, tested * task.segment_len, dtype=torch.long)
        with evaluating(model):
            nbytes = sum(state.nbytes for state in model.read(ids).layers)
        yield Figure(STATE, nbytes, "bytes", {"segments": tested})


def measure_qa1(part: FactPart, folder: Path) -> Iterator[Figure]:
    """Yields the accuracy of BABILong QA1 by the number of segments.

    Raises:
        ArmtError: a question could not be answered.
    """
    trained = _train(part.run, folder)
    store, encoder = _held_out(part.run, trained, folder)
    task = BabilongTaskConfig(seed=_QUESTION_SEED, reserve_len=0).build(store, encoder)
    subject = RecurrentSubject(
        trained.model, encoder, name=part.run.name, batch_size=part.batch_size
    )
    segment_len = part.run.recurrence.segment_len
    lengths = tuple(number * segment_len for number in part.nums_segments)
    records = evaluate(
        subject, task, EvaluationConfig(lengths=lengths, num_samples=part.num_samples)
    )
    failures = [each.failure for each in records if each.failure]
    if failures:
        raise ArmtError(f"{len(failures)} of {len(records)} questions failed: {failures[0]}")
    for arm in ARMS:
        for length in lengths:
            own = [each for each in records if (each.arm, each.length) == (arm, length)]
            score = Score(sum(each.is_right("exact") for each in own), len(own))
            about = {"task": "qa1", "tokens": length, "segments": length // segment_len}
            yield _share(FACTS, score, {**about, "memory": arm})


def measure_language(part: LanguagePart, folder: Path) -> Iterator[Figure]:
    """Yields bits per byte by the number of the segment, speeds, and what was added to learn."""
    trained = _train(part.run, folder)
    model, stream = trained.model, part.run.stages[-1].stream
    assert isinstance(stream, LanguageModelingConfig), "the part is language modelling"
    task = stream.build(*_held_out(part.run, trained, folder))
    for arm, use_memory in ARMS.items():
        found = segment_bits_per_byte(
            model, task, part.num_rows, batch_size=part.batch_size, use_memory=use_memory
        )
        for number, bits in enumerate(found, start=1):
            about: dict[str, PlainTree] = {"segment": number, "memory": arm}
            yield Figure(LANGUAGE, bits, "bits/byte", about)
    num_added = sum(each.numel() for each in cast("nn.Module", model.memory).parameters())
    yield Figure(ADDED, num_added, "parameters", {})
    shape: dict[str, PlainTree] = {"segment_len": stream.segment_len}
    about = shape | {"batch": part.run.stages[-1].batch_size, "segments": stream.num_segments}
    yield Figure(TRAINING, trained.tokens_per_s, "tokens/s", about)
    about = shape | {"batch": part.batch_size, "segments": part.num_read_segments}
    yield Figure(READING, _reading_speed(model, part), "tokens/s", about)


MEASURES: dict[str, Callable[[Any, Path], Iterator[Figure]]] = {
    "retrieval": measure_retrieval,
    "qa1": measure_qa1,
    "language": measure_language,
}
"""What is measured in each part of a comparison, in this order."""


def _train(run: RunConfig, folder: Path) -> _Trained:
    """Trains a run, or what is left of it; its folder goes when it is done.

    Raises:
        DataError: the log of a run that went on is gone.
    """
    place = folder / "runs" / short_hash(run.to_dict())
    log = place / LOG_NAME
    texts = None if run.text is None else text_folder(folder, run.text)
    with torch.random.fork_rng():
        _ = torch.manual_seed(run.seed)
        prepared = prepare(run, place, [TrainingLog(log)], text_folder=texts)
        model = prepared.trainer.train()
    speeds = [report.tokens_per_s for report in read_log(log)]
    if not speeds:
        raise DataError(f"'{log}' is gone, so no speed is known. Remove '{place}' to train anew.")
    shutil.rmtree(place)
    return _Trained(model, prepared.encoder, median(speeds))


def _held_out(
    run: RunConfig, trained: _Trained, folder: Path
) -> tuple[BackgroundStore, TokenizerEncoder]:
    """Returns the books that were kept for testing, and their tokenizer."""
    assert run.text is not None, "the part reads texts"
    assert trained.encoder is not None, "a model for texts has a tokenizer"
    store = load_store(text_folder(folder, run.text), run.text, trained.encoder, "test")
    return store, trained.encoder


def _reading_speed(model: Recurrent, part: LanguagePart) -> float:
    """Returns the tokens that are read in a second, all rows together."""
    num_tokens = part.num_read_segments * part.run.recurrence.segment_len
    ids = torch.zeros(part.batch_size, num_tokens, dtype=torch.long, device=model.device)
    with evaluating(model):
        _ = model.read(ids)
        works = {"read": partial(model.read, ids)}
        samples = alternate(works, model.device, num_repeats=_NUM_TIMED, deadline=math.inf)
    return ids.numel() / samples["read"].median


def _share(name: str, score: Score, params: dict[str, PlainTree]) -> Figure:
    return Figure(name, score.accuracy, "share", {**params, "num_samples": score.num_samples})
