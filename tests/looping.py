"""Decoding in loops over fixed places on a CPU, where the library runs operation by operation."""

import pytest

from armt import Recurrent
from armt.recurrence.choose_schedule import decode_obstacle
from armt.recurrence.decode_loop import DecodeLoop, DecodeLoops


def use_decode_loops(monkeypatch: pytest.MonkeyPatch) -> list[DecodeLoop]:
    """Lets every model decode in loops that can, whatever its device.

    Returns a list to which each step adds its loop; on a CPU none of them is captured.
    """
    stepped: list[DecodeLoop] = []
    step = DecodeLoop.step

    def noting_step(self: DecodeLoop, *args: object) -> object:
        stepped.append(self)
        return step(self, *args)

    monkeypatch.setattr(DecodeLoop, "step", noting_step)
    monkeypatch.setattr("armt.recurrence.decoding.choose_decode_loops", choose)
    return stepped


def choose(model: Recurrent) -> DecodeLoops | None:
    """Returns a model's loops if it can decode in them and is not asked for the plain schedule."""
    if model.recurrence.schedule == "sequential" or decode_obstacle(model) is not None:
        return None
    return model.__dict__.setdefault("_decode_loops", DecodeLoops())
