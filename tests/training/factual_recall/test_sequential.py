import math
from itertools import islice

import numpy as np
import pytest
import torch

from armt.tasks.factual_recall import FactualRecallConfig
from armt.training.factual_recall.one_layer import token_counts
from armt.training.factual_recall.sequential import (
    RecallLoss,
    Stages,
    find_stages,
    learn_in_order,
    recall_losses,
)

TASK = FactualRecallConfig(num_subjects=8, num_relations=2, num_answers=4, sequence_len=6)


def test_losses_of_models_that_know_nothing_the_relation_and_everything():
    answers, relations = torch.tensor([2, 5]), torch.tensor([0, 1])
    nothing = torch.zeros(2, 8)
    assert recall_losses(nothing, answers, relations, 4) == pytest.approx(
        (TASK.chance_loss, math.log(2))
    )
    relation = torch.zeros(2, 2, 4)
    relation[0, 1] = relation[1, 0] = -math.inf
    assert recall_losses(relation.flatten(1), answers, relations, 4) == pytest.approx(
        (TASK.relation_chance_loss, 0)
    )
    everything = torch.full((2, 8), -60.0)
    everything[[0, 1], answers] = 0.0
    assert recall_losses(everything, answers, relations, 4) == pytest.approx((0, 0), abs=1e-6)


def test_the_relation_is_never_harder_than_the_answer():
    logits = 3 * torch.randn(50, 8)
    for answer in range(8):
        answers = torch.full((50,), answer)
        total, relation = recall_losses(logits, answers, answers // 4, 4)
        assert 0 < relation < total


def test_the_spelled_out_gradients_are_those_of_autograd():
    task, rng, expected = TASK.build(), np.random.default_rng(3), []
    attention = torch.full((TASK.vocab_size,), 1e-5, requires_grad=True)
    values = torch.full((TASK.num_outputs, TASK.vocab_size), 1e-5, requires_grad=True)
    descent = torch.optim.SGD([attention, values], lr=1.0)
    for _ in range(150):
        ids, relations, answers = task.draw(rng, 32)
        logits = (token_counts(ids, TASK.vocab_size) * attention) @ values.T
        expected.append(recall_losses(logits.detach(), answers, relations, 4))
        descent.zero_grad()
        torch.nn.functional.cross_entropy(logits, answers).backward()
        descent.step()
    found = learn_in_order(task, 3, num_steps=150, batch_size=32, learning_rate=1.0, report_every=1)
    for loss, (total, relation) in zip(found, expected, strict=True):
        assert (loss.total, loss.relation) == pytest.approx((total, relation), rel=1e-3)
    assert expected[-1][0] < expected[0][0] - 0.5


def test_first_the_relation_then_the_subject():
    losses = list(
        learn_in_order(TASK.build(), 0, num_steps=1500, batch_size=128, learning_rate=0.4)
    )
    assert losses[0].total == pytest.approx(TASK.chance_loss, rel=1e-3)
    assert losses[-1].total < 0.2
    stages = find_stages(losses, TASK.relation_chance_loss)
    assert stages.subject_step > 1.3 * stages.relation_step
    assert stages.plateau == pytest.approx(TASK.relation_chance_loss, rel=0.1)


def test_stages_by_hand():
    totals = [3.0, 2.0, 2.0, 1.9, 1.7, 0.9, 0.1]
    relations = [1.0, 0.04, 0.01, 0.0, 0.0, 0.0, 0.0]
    losses = [
        RecallLoss(10 * index, *pair)
        for index, pair in enumerate(zip(totals, relations, strict=True))
    ]
    assert find_stages(losses, 2.0) == Stages(10, 50, pytest.approx(1.9))
    assert find_stages(losses[:5], 2.0) is None


def test_losses_come_every_few_steps():
    losses = islice(learn_in_order(TASK.build(), 0, batch_size=4, report_every=3), 4)
    assert [loss.step for loss in losses] == [0, 3, 6, 9]
