"""Exact match on associative retrieval, at any number of pairs."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from armt.core.shapes import Bool, Int, Tensor
from armt.evaluation.metrics import Score
from armt.recurrence.model import Recurrent
from armt.tasks.associative_retrieval import AssociativeRetrievalConfig


def retrieval_scores(
    model: Recurrent,
    task: AssociativeRetrievalConfig,
    nums_pairs: Sequence[int],
    *,
    num_samples: int = 256,
    batch_size: int = 256,
    seed: int = 0,
) -> dict[int, Score]:
    """Returns the exact match of `model` at each number of pairs.

    Each row starts from an empty memory; the value and the end token after it are found one by one,
    each from the model's own tokens before it, and all must be right.

    Raises:
        ConfigError: there are not so many different keys.
    """
    was_training = model.training
    _ = model.eval()
    found: dict[int, Score] = {}
    for num_pairs in nums_pairs:
        prompts = replace(task, num_pairs=num_pairs).build().evaluation_batch(num_samples, seed)
        parts = zip(
            prompts.prompt_ids.split(batch_size), prompts.answer_ids.split(batch_size), strict=True
        )
        is_right = torch.cat([_is_right(model, prompt, answer) for prompt, answer in parts])
        found[num_pairs] = Score(int(is_right.sum()), len(is_right))
    _ = model.train(was_training)
    return found


@torch.no_grad()
def _is_right(
    model: Recurrent, prompt: Int[Tensor, "B T"], answer: Int[Tensor, "B A"]
) -> Bool[Tensor, " B"]:
    """Says which rows are answered rightly, token for token, by the most likely tokens."""
    state = model.read(prompt[:, :-1])
    token = prompt[:, -1:].to(model.device)
    tokens: list[Tensor] = []
    for _ in range(answer.shape[1]):
        output = model(input_ids=token, state=state, logits_to_keep=1)
        state = output.state
        token = output.logits[:, -1:].argmax(-1)
        tokens.append(token)
    return (torch.cat(tokens, dim=1).cpu() == answer).all(dim=1)
