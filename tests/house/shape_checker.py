"""The checker that jaxtyping's import hook puts around the functions of armt in tests."""

from collections.abc import Callable
from typing import TypeVar

from beartype import beartype
from beartype.roar import BeartypeDecorHintPep673Exception

FunctionT = TypeVar("FunctionT", bound=Callable[..., object])


def check_shapes(function: FunctionT) -> FunctionT:
    """Checks what goes in and out of `function`, unless it is annotated with `Self`.

    The hook hands over one method at a time, and beartype knows `Self` only inside a whole class.
    """
    try:
        return beartype(function)
    except BeartypeDecorHintPep673Exception:
        return function
