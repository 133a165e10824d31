"""Cells as compiled code on a CPU, where the library runs them operation by operation."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from armt import Recurrent
from armt.backbones.compiled import Compiler


def use_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives a compiler to every model whose recurrence asks for one, whatever its device."""

    def choose(model: Recurrent) -> Compiler | None:
        wish = model.recurrence.is_compiled
        return model.__dict__.setdefault("_compiler", Compiler()) if wish else None

    monkeypatch.setattr("armt.recurrence.model.choose_compiler", choose)


def only_trace(monkeypatch: pytest.MonkeyPatch) -> list[torch.fx.GraphModule]:
    """Runs what was traced as it is instead of compiling it; returns the list of what was."""
    made: list[torch.fx.GraphModule] = []

    def compile_nothing(traced: torch.fx.GraphModule, *, dynamic: bool) -> Callable[..., Any]:
        assert not dynamic, "each shape is compiled for itself"
        made.append(traced)
        return traced

    monkeypatch.setattr(torch, "compile", compile_nothing)
    return made
