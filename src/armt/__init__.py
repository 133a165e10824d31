"""Language models with a memory that never grows."""

from armt.memories.armt import ARMTConfig
from armt.memories.none import NoMemoryConfig
from armt.recurrence.attach import attach
from armt.recurrence.auto import register_auto_classes
from armt.recurrence.model import Recurrent, RecurrentOutput
from armt.recurrence.peft import unfreeze_memory, use_adapters
from armt.recurrence.pretrained import load_memory
from armt.recurrence.state import RecurrentState
from armt.recurrence.state_file import Source, load_state, save_state

__version__ = "0.1.0"

__all__ = [
    "ARMTConfig",
    "NoMemoryConfig",
    "Recurrent",
    "RecurrentOutput",
    "RecurrentState",
    "Source",
    "attach",
    "load_memory",
    "load_state",
    "save_state",
    "unfreeze_memory",
    "use_adapters",
]

# The one effect of importing this package: names in a table of transformers, so that
# `AutoModelForCausalLM.from_pretrained` knows what `save_pretrained` wrote.
register_auto_classes()
