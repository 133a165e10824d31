"""What every task of symbols does: streams that can be sought, prompts apart from training."""

from itertools import islice

import pytest
import torch

from armt.core.errors import ConfigError
from armt.tasks.associative_retrieval import AssociativeRetrievalConfig
from armt.tasks.contract import NO_LABEL
from armt.tasks.copy_reverse import CopyReverseConfig
from armt.tasks.quadratic import QuadraticConfig
from armt.tasks.segment_facts import SegmentFactsConfig
from armt.tasks.tracking import TrackingConfig

CONFIGS = {
    "retrieval": AssociativeRetrievalConfig(num_pairs=5),
    "copy": CopyReverseConfig(source_len=6),
    "reverse": CopyReverseConfig(kind="reverse", source_len=6, num_repeats=1),
    "quadratic": QuadraticConfig(),
    "facts": SegmentFactsConfig(num_segments=3, num_titles=3),
    "tracking": TrackingConfig(num_sentences=6),
}


@pytest.fixture(params=CONFIGS)
def config(request):
    return CONFIGS[request.param]


def test_seeking_yields_the_same_batches(config):
    stream = config.build().stream(4, seed=3)
    run = list(islice(stream.batches(), 6))
    for start in (0, 1, 4):
        for batch, again in zip(run[start:], stream.batches(start), strict=False):
            for name, tensor in batch.tensors().items():
                assert torch.equal(tensor, again.tensors()[name])
    assert not torch.equal(run[0].input_ids, run[1].input_ids)
    other = next(config.build().stream(4, seed=4).batches())
    assert not torch.equal(run[0].input_ids, other.input_ids)


def test_prompts_are_drawn_apart_and_come_back(config):
    task = config.build()
    prompts = task.evaluation_batch(20, seed=1)
    for found, again in zip(prompts, task.evaluation_batch(20, seed=1), strict=True):
        assert torch.equal(found, again)
    assert not torch.equal(prompts.prompt_ids, task.evaluation_batch(20, seed=2).prompt_ids)
    trained = next(task.stream(20, seed=1).batches()).input_ids
    width = min(trained.shape[1], prompts.prompt_ids.shape[1]) - 1
    assert not torch.equal(trained[:, :width], prompts.prompt_ids[:, :width])


def test_tokens_lie_in_the_vocabulary(config):
    batch = next(config.build().stream(50).batches())
    for ids in (batch.input_ids, batch.question_ids):
        assert ids is None or (int(ids.min()) >= 0 and int(ids.max()) < config.vocab_size)
    assert 0 <= config.end_id < config.vocab_size


def test_labels_are_the_tokens_themselves_and_start_where_it_is_told(config):
    batch = next(config.build().stream(50).batches())
    ids, labels = batch.input_ids, batch.labels
    if batch.question_ids is not None:
        ids, labels = batch.question_ids, batch.question_labels
    bears_loss = labels != NO_LABEL
    assert torch.equal(ids[bears_loss], labels[bears_loss])
    assert not bears_loss[..., : batch.label_start].any()
    assert bears_loss[..., batch.label_start].all()
    assert (labels == config.end_id).sum(-1).eq(1).all(), "one end in each answer"


def test_a_batch_needs_rows(config):
    with pytest.raises(ConfigError, match=r"`batch_size` must be at least 1\. Got 0"):
        _ = config.build().stream(0)
