"""Bits per byte of a model on long texts, by the number of the segment."""

import torch
from torch.nn.functional import cross_entropy

from armt.backbones.modes import evaluation_mode
from armt.core.shapes import Float, Int, Tensor
from armt.recurrence.model import Recurrent
from armt.tasks.language_modeling import LanguageModeling, bits_per_byte


def segment_bits_per_byte(
    model: Recurrent,
    task: LanguageModeling,
    num_rows: int,
    *,
    batch_size: int = 8,
    seed: int = 0,
    use_memory: bool = True,
) -> list[float]:
    """Returns the bits per byte of each segment of the rows that the task is judged by.

    Without memory each segment starts from an empty state; its first token is predicted from the
    segment before, as it is with memory, so that the same tokens count.
    """
    rows = task.evaluation_rows(num_rows, seed)
    length = task.config.segment_len
    with evaluation_mode(model):
        losses = [_losses(model, part, length, use_memory) for part in rows.split(batch_size)]
    return bits_per_byte(torch.cat(losses), task.num_bytes(rows)).tolist()


@torch.no_grad()
def _losses(
    model: Recurrent, rows: Int[Tensor, "B T"], segment_len: int, use_memory: bool
) -> Float[Tensor, "B T"]:
    """Returns the loss of each token in nats, segment by segment; zero at the first."""
    losses: list[Tensor] = []
    state, before = None, None
    for ids in rows.to(model.device).split(segment_len, dim=1):
        output = model(input_ids=ids, state=state if use_memory else None, logits_to_keep=0)
        state, logits = output.state, output.logits.float()
        ahead = torch.zeros_like(logits[:, :1]) if before is None else before
        scores = torch.cat([ahead, logits[:, :-1]], dim=1)
        losses.append(cross_entropy(scores.mT, ids, reduction="none").cpu())
        before = logits[:, -1:]
    losses[0][:, 0] = 0
    return torch.cat(losses, dim=1)
