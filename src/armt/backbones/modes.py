"""Evaluation mode for the length of a block."""

from collections.abc import Generator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluation_mode(model: nn.Module) -> Generator[None]:
    """Puts `model` into evaluation mode; the mode before comes back at the end, even by an error.

    It is that of the model as a whole: parts that stood in another one follow it.
    """
    was_training = model.training
    _ = model.eval()
    try:
        yield
    finally:
        _ = model.train(was_training)
