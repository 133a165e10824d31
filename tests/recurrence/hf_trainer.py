"""Hugging Face's Trainer over a few short rows, on a CPU and without a word."""

from pathlib import Path
from typing import Any

from transformers import Trainer, TrainingArguments

from tiny import random_ids


def make_trainer(model: Any, folder: Path, steps: int, **options: Any) -> Trainer:
    """Returns a trainer with a checkpoint every second step; `options` are of its arguments."""
    rows: Any = [{"input_ids": row, "labels": row} for row in random_ids(8, 10)]
    arguments = TrainingArguments(
        str(folder),
        max_steps=steps,
        save_steps=2,
        per_device_train_batch_size=2,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        learning_rate=0.01,
        lr_scheduler_type="constant",
        dataloader_pin_memory=False,
        **options,
    )
    return Trainer(model, arguments, train_dataset=rows, eval_dataset=rows[:4])
