"""One step down the gradient, or none if the gradient is not finite."""

from pathlib import Path

import torch

from armt.core.errors import ArmtError
from armt.core.shapes import Float, Tensor
from armt.training.checkpoint import Progress
from armt.training.optim import MasterAdamW


def descend(
    optimizer: MasterAdamW, progress: Progress, max_skipped: int, folder: Path
) -> Float[Tensor, ""]:
    """Takes a step, or counts it as skipped; zeroes the gradient and returns its length.

    Raises:
        ArmtError: more than `max_skipped` steps in a row were not finite.
    """
    norm = optimizer.step()
    if bool(torch.isfinite(norm)):
        progress.num_skipped_in_row = 0
    else:
        progress.num_skipped += 1
        progress.num_skipped_in_row += 1
    optimizer.zero_grad()
    if progress.num_skipped_in_row > max_skipped:
        raise ArmtError(
            f"{progress.num_skipped_in_row} steps in a row had a gradient that is not "
            f"finite (step {progress.step:,}). Lower the learning rate; the last good "
            f"checkpoint is in '{folder}'."
        )
    return norm
