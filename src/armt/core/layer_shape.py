"""What a memory may know of the layer it is built for: numbers, never the layer itself."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LayerShape:
    """The sizes of one layer of a backbone, and its place among the others."""

    d_model: int
    """Width of the residual stream."""

    num_heads: int
    """Heads of the attention's queries."""

    num_kv_heads: int
    """Heads of its keys and values; each serves `num_heads / num_kv_heads` heads of queries."""

    head_dim: int
    """Channels of one head."""

    index: int = 0
    """Number of the layer, from 0 at the bottom."""

    num_layers: int = 1
    """Layers of the backbone."""

    embedding_std: float = 1.0
    """Standard deviation of the backbone's token embeddings, as its first layer sees them."""
