"""Labels of texts in which answers stand."""

import numpy as np
import numpy.typing as npt
import torch

from armt.tasks.babi.world import IntArray
from armt.tasks.contract import NO_LABEL


def answer_labels(
    input_ids: IntArray, is_answer: npt.NDArray[np.bool_], text_weight: float
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Returns the labels of a batch, and their weights if the text bears loss too."""
    if not text_weight:
        return torch.from_numpy(np.where(is_answer, input_ids, NO_LABEL)), None
    weights = np.where(is_answer, 1.0, text_weight).astype(np.float32)
    return torch.from_numpy(input_ids.copy()), torch.from_numpy(weights)
