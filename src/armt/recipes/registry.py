"""The recipes by name."""

from collections.abc import Callable

from armt.core.registry import Registry
from armt.training.config import RunConfig

RECIPES: Registry[Callable[[], RunConfig]] = Registry("recipe", "armt.recipes")
"""Every recipe; a file in `armt.recipes` adds its own."""
