"""In which order facts are learned: first the relation, then, after a plateau, the subject.

Source: Nichani, Lee, Bietti, arXiv:2412.06538, section 5. The model is linear attention over
one-hot embeddings, trained by plain gradient descent from a tiny start: `logits = V (a * counts)`,
with one weight `a` and one column of `V` for each token. On the plateau it answers with the right
relation and a random answer of it: it hallucinates, at a loss of the logarithm of the answers.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from armt.core.shapes import Float, Int, Tensor
from armt.tasks.factual_recall import FactualRecall
from armt.training.factual_recall.one_layer import token_counts

_START = 1e-5


class RecallLoss(NamedTuple):
    """Losses of one moment of the training, in nats."""

    step: int
    total: float
    """Of the right answer."""

    relation: float
    """Of any answer of the right relation."""


class Stages(NamedTuple):
    """When a training learned what."""

    relation_step: int
    """The first step at which the relation's loss is below a twentieth."""

    subject_step: int
    """The first step at which the total loss is below half of the plateau's theory, `log D`."""

    plateau: float
    """Mean total loss over the middle third between the two."""


def recall_losses(
    logits: Float[Tensor, "B A"],
    answers: Int[Tensor, " B"],
    relations: Int[Tensor, " B"],
    num_answers: int,
) -> tuple[float, float]:
    """Returns the mean losses of the right answers and of any answers of the right relations."""
    logs, every = logits.log_softmax(-1), torch.arange(len(logits))
    by_relation = logs.unflatten(-1, (-1, num_answers)).logsumexp(-1)
    total, relation = logs[every, answers], by_relation[every, relations]
    return -float(total.mean()), -float(relation.mean())


@torch.no_grad()
def learn_in_order(
    task: FactualRecall,
    seed: int,
    *,
    num_steps: int = 8192,
    batch_size: int = 1024,
    learning_rate: float = 0.1,
    report_every: int = 64,
) -> Iterator[RecallLoss]:
    """Trains and yields the losses of every few steps, each before its step."""
    config, rng = task.config, np.random.default_rng(seed)
    attention = torch.full((config.vocab_size,), _START)
    values = torch.full((config.num_outputs, config.vocab_size), _START)
    every = torch.arange(batch_size)
    for step in range(num_steps):
        ids, relations, answers = task.draw(rng, batch_size)
        counts = token_counts(ids, config.vocab_size)
        weighted = counts * attention
        logits = weighted @ values.T
        if step % report_every == 0:
            losses = recall_losses(logits, answers, relations, config.num_answers)
            yield RecallLoss(step, *losses)
        error = logits.softmax(-1)
        error[every, answers] -= 1
        error /= batch_size
        attention_gradient = ((error @ values) * counts).sum(0)
        values -= learning_rate * error.T @ weighted
        attention -= learning_rate * attention_gradient


def find_stages(losses: Sequence[RecallLoss], relation_chance_loss: float) -> Stages | None:
    """Returns when relation and subject were learned; none if the training ended before.

    `relation_chance_loss` is the loss in nats of knowing the relation alone.
    """
    relation = next((loss.step for loss in losses if loss.relation < 0.05), None)
    subject = next((loss.step for loss in losses if loss.total < relation_chance_loss / 2), None)
    if relation is None or subject is None:
        return None
    third = (subject - relation) / 3
    middle = [loss.total for loss in losses if relation + third <= loss.step <= subject - third]
    return Stages(relation, subject, sum(middle) / len(middle))
