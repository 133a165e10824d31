"""Accuracy on facts kept over long texts, at any number of segments."""

from collections import Counter
from typing import Literal

import torch

from armt.evaluation.metrics import Score
from armt.recurrence.encoder import RecurrentClassifier
from armt.tasks.fact_memory import FactMemory


@torch.no_grad()
def fact_memory_scores(
    model: RecurrentClassifier,
    task: FactMemory,
    num_segments: int,
    *,
    num_samples: int,
    batch_size: int = 32,
    split: Literal["validation", "test"] = "test",
) -> dict[str, Score]:
    """Returns how many questions the model answers after texts of so many segments, arm by arm.

    With the memory `on` it reads all of a text, with the memory `off` the last segment alone; of a
    text of one segment only the first is told. The texts stay on the CPU.

    Args:
        model: the classifier, in evaluation mode.
        task: over books that were kept for testing, or held out of the training for validation.
        num_segments: whole segments of each text.
        num_samples: questions.
        batch_size: texts side by side.
        split: which texts are drawn. Neither are those of training, whatever the books.
    """
    seen = {"on": num_segments * task.config.segment_len}
    if num_segments > 1:
        seen["off"] = task.config.segment_len
    num_right = Counter[str]()
    for first in range(0, num_samples, batch_size):
        num_rows = min(batch_size, num_samples - first)
        batch = task.batch([num_segments] * num_rows, split, num_segments, first)
        for arm, num_seen in seen.items():
            logits = model(batch.input_ids[:, -num_seen:]).logits
            num_right[arm] += int((logits.argmax(-1).cpu() == batch.labels).sum())
    return {arm: Score(num_right[arm], num_samples) for arm in seen}
