"""One file per mechanism; each registers its card in `armt.core.registry.MEMORIES`."""
