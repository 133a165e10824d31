"""Language models with a memory that never grows."""

from armt.memories.armt import ARMTConfig
from armt.memories.none import NoMemoryConfig
from armt.recurrence.attach import attach
from armt.recurrence.model import Recurrent, RecurrentOutput
from armt.recurrence.state import RecurrentState

__version__ = "0.1.0"

__all__ = [
    "ARMTConfig",
    "NoMemoryConfig",
    "Recurrent",
    "RecurrentOutput",
    "RecurrentState",
    "attach",
]
