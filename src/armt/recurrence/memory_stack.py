"""The memory of a whole model: one mechanism in every layer, and the tokens they share."""

from typing import Any, cast

import torch
from torch import nn

from armt.backbones.huggingface import Anatomy, embedding_std
from armt.core.config import MemoryConfig
from armt.core.contract import LayerMemory
from armt.core.errors import BackboneError
from armt.core.shapes import Float, Tensor
from armt.core.state import State


class MemoryStack(nn.Module):
    """Everything that is learned beside the backbone; stands at the model's root as `memory`."""

    def __init__(self, config: MemoryConfig, anatomy: Anatomy) -> None:
        """Builds one memory for each layer, on the layer's device and in its dtype.

        The memory tokens start as random vectors as long as the backbone's own token embeddings.

        Raises:
            BackboneError: the memory does not enter by the residual stream.
        """
        super().__init__()
        self.config = config
        built: list[LayerMemory[Any]] = []
        for layer, shape in zip(anatomy.layers, anatomy.shapes, strict=True):
            memory = config.build(shape)
            if memory.door != "residual":
                raise BackboneError(
                    f"{type(memory).__name__} enters by the door '{memory.door}', which this "
                    "version of the recurrence does not open. Choose a memory of the residual "
                    "stream."
                )
            like = next(layer.parameters())
            built.append(cast("LayerMemory[Any]", memory).to(like.device, like.dtype))
        self.layers = nn.ModuleList(built)
        self.tokens: nn.Parameter | None = None
        if built[0].num_memory_tokens:
            self.tokens = _memory_tokens(built[0].num_memory_tokens, anatomy)

    @property
    def num_tokens(self) -> int:
        """Memory tokens at the end of a segment."""
        return 0 if self.tokens is None else len(self.tokens)

    @property
    def mechanisms(self) -> list[LayerMemory[Any]]:
        """The memory of each layer."""
        return [cast("LayerMemory[Any]", layer) for layer in self.layers]

    def init_states(self, batch_size: int) -> tuple[State, ...]:
        """Returns the state of each layer before anything was read."""
        return tuple(memory.init_state(batch_size) for memory in self.mechanisms)

    def token_embeddings(
        self, batch_size: int, dtype: torch.dtype
    ) -> Float[Tensor, "B M D"] | None:
        """Returns the memory tokens for each row, or none if the memory asks for none."""
        if self.tokens is None:
            return None
        return self.tokens.to(dtype).expand(batch_size, -1, -1)


def _memory_tokens(num_tokens: int, anatomy: Anatomy) -> nn.Parameter:
    like = next(anatomy.embedding.parameters())
    scale = embedding_std(anatomy)
    values = torch.randn(num_tokens, anatomy.d_model, device=like.device) * scale
    return nn.Parameter(values.to(like.dtype))
