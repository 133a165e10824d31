"""The last hidden states of a pass, noted while the model's own forward runs.

They are what the decoder hands to the head, after its final norm. A forward with logits does not
return them, and asking it for hidden states would keep those of every layer.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from torch import nn

from armt.core.errors import BackboneError
from armt.core.shapes import Tensor

_NOTED = "_noted"


@contextmanager
def last_hidden(decoder: nn.Module) -> Generator[list[Tensor]]:
    """Yields a list to which every pass of `decoder` adds its last hidden states.

    Raises:
        BackboneError: another pass is noted already.
    """
    if _NOTED in decoder.__dict__:
        raise BackboneError(
            "This model is in the middle of another pass. Use it from one thread at a time."
        )
    noted: list[Tensor] = []

    def note(module: nn.Module, args: Any, output: Any) -> None:
        del module, args
        noted.append(output[0])

    decoder.__dict__[_NOTED] = noted
    handle = decoder.register_forward_hook(note)
    try:
        yield noted
    finally:
        handle.remove()
        del decoder.__dict__[_NOTED]
