"""Exact match on questions that a task makes of its own tokens."""

import torch

from armt.backbones.modes import evaluation_mode
from armt.core.shapes import Bool, Int, Tensor
from armt.evaluation.metrics import Score
from armt.recurrence.model import Recurrent
from armt.tasks.contract import NO_LABEL
from armt.tasks.symbols import Prompts


def prompt_score(
    model: Recurrent, prompts: Prompts, *, batch_size: int = 256, use_memory: bool = True
) -> Score:
    """Returns how many questions `model` answers rightly, token for token.

    Each row starts from an empty memory. The tokens of the answer are found one by one, each from
    the model's own tokens before it, and all must be right but those where any will do. Without
    memory only the last segment of a prompt is read, where it stands within it.
    """
    asked = prompts.prompt_ids
    if not use_memory:
        segment_len = model.recurrence.segment_len
        asked = asked[:, (asked.shape[1] - 1) // segment_len * segment_len :]
    parts = zip(asked.split(batch_size), prompts.answer_ids.split(batch_size), strict=True)
    with evaluation_mode(model):
        is_right = torch.cat([_is_right(model, prompt, answer) for prompt, answer in parts])
    return Score(int(is_right.sum()), len(is_right))


@torch.no_grad()
def forced_score(model: Recurrent, prompts: Prompts) -> Score:
    """Returns how many tokens of the answers are the most likely ones after the right ones.

    Whole segments are read with the answer in them: a memory that looks ahead can tell what is to
    be predicted. For a causal one and answers of one token this is `prompt_score`.
    """
    rows = torch.cat([prompts.prompt_ids, prompts.answer_ids], dim=1).to(model.device)
    start = prompts.prompt_ids.shape[1]
    labels = rows.clone()
    labels[:, :start] = NO_LABEL
    with evaluation_mode(model):
        output = model(input_ids=rows, labels=labels, label_start=start, logits_to_keep=1)
    return Score(int(output.num_correct), int(output.num_labels))


@torch.no_grad()
def _is_right(
    model: Recurrent, prompt: Int[Tensor, "B T"], answer: Int[Tensor, "B A"]
) -> Bool[Tensor, " B"]:
    """Says which rows are answered rightly by the most likely tokens."""
    state = model.read(prompt[:, :-1]) if prompt.shape[1] > 1 else None
    token = prompt[:, -1:].to(model.device)
    tokens: list[Tensor] = []
    for _ in range(answer.shape[1]):
        output = model(input_ids=token, state=state, logits_to_keep=1)
        state = output.state
        token = output.logits[:, -1:].argmax(-1)
        tokens.append(token)
    is_same = (torch.cat(tokens, dim=1).cpu() == answer) | (answer == NO_LABEL)
    return is_same.all(dim=1)
