"""Steps down the gradient, of which none is taken where it is not finite."""

from pathlib import Path
from typing import final

import torch

from armt.core.errors import ArmtError
from armt.core.shapes import Bool, Float, Tensor
from armt.training.checkpoint import Progress
from armt.training.optim import MasterAdamW


@final
class Descent:
    """Takes steps and counts those that were skipped.

    Whether a step was taken stays on the device until `settle` asks, so that a GPU goes on with the
    next step meanwhile.
    """

    def __init__(
        self, optimizer: MasterAdamW, progress: Progress, max_skipped: int, folder: Path
    ) -> None:
        """Takes what is stepped with, where skipped steps are counted, and how many may follow.

        Args:
            optimizer: the optimiser.
            progress: takes the counts.
            max_skipped: steps in a row that may be skipped.
            folder: of the run, for the message.
        """
        self._optimizer, self._progress = optimizer, progress
        self._max_skipped, self._folder = max_skipped, folder
        self._taken: list[Bool[Tensor, ""]] = []
        self.norm: Float[Tensor, ""] = torch.zeros(())
        """Length of the last gradient before clipping."""

    def step(self) -> Bool[Tensor, ""]:
        """Takes a step, zeroes the gradient and returns whether it was taken."""
        self.norm = self._optimizer.step()
        self._optimizer.zero_grad()
        self._taken.append(torch.isfinite(self.norm))
        return self._taken[-1]

    def settle(self) -> None:
        """Counts what was skipped since it was last asked.

        Raises:
            ArmtError: more than `max_skipped` steps in a row were not finite.
        """
        progress, taken = self._progress, self._taken
        self._taken = []
        for is_taken in torch.stack(taken).tolist() if taken else []:
            progress.num_skipped += not is_taken
            progress.num_skipped_in_row = 0 if is_taken else progress.num_skipped_in_row + 1
            if progress.num_skipped_in_row > self._max_skipped:
                raise ArmtError(
                    f"{progress.num_skipped_in_row} steps in a row had a gradient that is not "
                    f"finite (up to step {progress.step:,}). Lower the learning rate; the last "
                    f"good checkpoint is in '{self._folder}'."
                )
