"""Small Hugging Face decoders made from a config, for training from scratch."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import (
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from armt.core.config import Config
from armt.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TinyBackboneConfig(Config):
    """Shape of a small decoder with random weights."""

    family: Literal["llama", "gpt_neox"] = "llama"
    """Whose code it runs."""

    d_model: int = 256
    """Width of the residual stream."""

    num_layers: int = 6
    """Transformer layers."""

    num_heads: int = 4
    """Attention heads."""

    d_ffn: int = 768
    """Width of the feed-forward layers."""

    max_positions: int = 1024
    """Positions of a segment with its memory tokens, at most."""

    use_tied_embeddings: bool = True
    """Whether the head shares the token embeddings."""

    init_std: float | None = None
    """Spread of the random weights; none for that of transformers, which suits wide models."""

    def __post_init__(self) -> None:
        """Checks the options."""
        if self.family not in ("llama", "gpt_neox"):
            raise ConfigError(f"`family` must be 'llama' or 'gpt_neox'. Got {self.family!r}.")
        if self.d_model % self.num_heads:
            raise ConfigError(
                f"`num_heads` must divide `d_model`. Got {self.num_heads} and {self.d_model}."
            )
        if self.init_std is not None and self.init_std <= 0:
            raise ConfigError(f"`init_std` must be positive. Got {self.init_std}.")

    def build(self, vocab_size: int, *, seed: int, end_id: int | None = None) -> PreTrainedModel:
        """Returns a model with random weights drawn from `seed`; the global generator stays."""
        shape: dict[str, Any] = {
            "vocab_size": vocab_size,
            "hidden_size": self.d_model,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.num_heads,
            "intermediate_size": self.d_ffn,
            "max_position_embeddings": self.max_positions,
            "tie_word_embeddings": self.use_tied_embeddings,
            "bos_token_id": end_id,
            "eos_token_id": end_id,
            "pad_token_id": end_id,
        }
        if self.init_std is not None:
            shape["initializer_range"] = self.init_std
        with torch.random.fork_rng(devices=[]):
            _ = torch.manual_seed(seed)
            if self.family == "llama":
                return LlamaForCausalLM(LlamaConfig(**shape))
            shape["rotary_pct"] = 0.25
            return GPTNeoXForCausalLM(GPTNeoXConfig(**shape))
