"""No memory: the backbone sees one segment at a time. The arm every other is compared with."""

from dataclasses import dataclass

from armt.core.config import MemoryConfig
from armt.core.contract import LayerMemory
from armt.core.layer_shape import LayerShape
from armt.core.registry import MEMORIES
from armt.core.shapes import Float, Tensor
from armt.core.state import State


@dataclass(frozen=True, kw_only=True)
class NoMemoryConfig(MemoryConfig):
    """Options of `NoMemory`: none."""

    def build(self, shape: LayerShape) -> "NoMemory":
        """Returns the memory for any layer."""
        del shape
        return NoMemory(self)


@dataclass(frozen=True)
class NoState(State):
    """Nothing."""


@MEMORIES.register("none", tiny=NoMemoryConfig())
class NoMemory(LayerMemory[NoState]):
    """Reads nothing and writes nothing."""

    def __init__(self, config: NoMemoryConfig) -> None:
        """Keeps the config."""
        super().__init__()
        self.config = config

    def init_state(self, batch_size: int) -> NoState:
        """Returns nothing, for any number of rows."""
        del batch_size
        return NoState()

    def read(self, hidden: Float[Tensor, "B T D"], state: NoState) -> Float[Tensor, "B T D"]:
        """Returns `hidden` as it is."""
        del state
        return hidden

    def write(self, hidden: Float[Tensor, "B T D"], state: NoState) -> NoState:
        """Returns `state` as it is."""
        del hidden
        return state
