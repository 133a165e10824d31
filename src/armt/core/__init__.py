"""The nouns of the library: states, the three doors, configs, the registry, errors, shapes."""

from armt.core.config import Config, MemoryConfig
from armt.core.contract import KeyValueMemory, LayerMemory, Memory, TokenMemory
from armt.core.layer_shape import LayerShape
from armt.core.registry import Card, Registry
from armt.core.state import State

__all__ = [
    "Card",
    "Config",
    "KeyValueMemory",
    "LayerMemory",
    "LayerShape",
    "Memory",
    "MemoryConfig",
    "Registry",
    "State",
    "TokenMemory",
]
