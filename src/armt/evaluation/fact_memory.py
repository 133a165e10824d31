"""Accuracy on facts kept over long texts, at any number of segments."""

import torch

from armt.evaluation.metrics import Score
from armt.recurrence.encoder import RecurrentClassifier
from armt.tasks.fact_memory import FactMemory


@torch.no_grad()
def fact_memory_score(
    model: RecurrentClassifier,
    task: FactMemory,
    num_segments: int,
    *,
    num_samples: int,
    batch_size: int = 32,
    is_memory_on: bool = True,
) -> Score:
    """Returns how many questions the model answers after texts of so many segments.

    With the memory off it sees the last segment alone.

    Args:
        model: the classifier, in evaluation mode.
        task: over texts that were kept for testing.
        num_segments: whole segments of each text.
        num_samples: questions.
        batch_size: texts side by side.
        is_memory_on: whether the model reads what comes before the last segment.
    """
    num_seen = (num_segments if is_memory_on else 1) * task.config.segment_len
    num_right = 0
    for first in range(0, num_samples, batch_size):
        num_rows = min(batch_size, num_samples - first)
        batch = task.batch([num_segments] * num_rows, "test", num_segments, first)
        logits = model(batch.input_ids[:, -num_seen:].to(model.device)).logits
        num_right += int((logits.argmax(-1).cpu() == batch.labels).sum())
    return Score(num_right, num_samples)
