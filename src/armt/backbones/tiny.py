"""Small Hugging Face decoders made from a config, for training from scratch."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from transformers import (
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Mamba2Config,
    Mamba2ForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
)

from armt.core.config import Config
from armt.core.errors import ConfigError

Family = Literal["llama", "gpt_neox", "mistral", "mamba2"]

_SCAN_LEN = 32
"""Tokens that a mamba2 computes at once. It changes no result; the 256 of transformers would fill
up short rows, and take eight times the memory over long ones."""

_CONVOLUTION_LEN = 4
"""Inputs that the convolution of a mamba2 keeps, the newest among them."""


@dataclass(frozen=True, kw_only=True)
class TinyBackboneConfig(Config):
    """Shape of a small decoder with random weights."""

    family: Family = "llama"
    """Whose code it runs: llama, gpt_neox and mistral are Transformers, mamba2 has a linear
    recurrence in the place of attention."""

    d_model: int = 256
    """Width of the residual stream."""

    num_layers: int = 6
    """Layers."""

    num_heads: int = 4
    """Heads of attention or recurrence."""

    d_ffn: int = 768
    """Width of the feed-forward layers; mamba2 has none."""

    max_positions: int = 1024
    """Positions of a segment with its memory tokens, at most; mamba2 has no limit."""

    sliding_window: int | None = None
    """Tokens that a position of a mistral sees, itself included; none for all before it."""

    d_state: int = 32
    """Numbers that each channel of a mamba2 keeps of the past."""

    use_tied_embeddings: bool = True
    """Whether the head shares the token embeddings."""

    init_std: float | None = None
    """Spread of the random weights; none for that of transformers, which suits wide models."""

    def __post_init__(self) -> None:
        """Checks the options."""
        if self.family not in (known := get_args(Family)):
            raise ConfigError(f"`family` must be one of {', '.join(known)}. Got {self.family!r}.")
        if self.sliding_window is not None and (
            self.family != "mistral" or self.sliding_window < 1
        ):
            raise ConfigError(
                "`sliding_window` must be at least 1, and only a mistral has one. Got "
                f"{self.sliding_window} for '{self.family}'."
            )
        if self.d_state < 1:
            raise ConfigError(f"`d_state` must be at least 1. Got {self.d_state}.")
        if self.d_model % self.num_heads:
            raise ConfigError(
                f"`num_heads` must divide `d_model`. Got {self.num_heads} and {self.d_model}."
            )
        if self.init_std is not None and self.init_std <= 0:
            raise ConfigError(f"`init_std` must be positive. Got {self.init_std}.")

    @property
    def is_recurrent(self) -> bool:
        """Whether it keeps a state of its own, in the place of attention."""
        return self.family == "mamba2"

    @property
    def state_nbytes(self) -> int:
        """Bytes of its own state of one row in single precision; 0 for a Transformer."""
        if not self.is_recurrent:
            return 0
        num_channels = 2 * self.d_model
        num_kept = _CONVOLUTION_LEN * (num_channels + 2 * self.d_state)
        return 4 * self.num_layers * (num_channels * self.d_state + num_kept)

    def build(self, vocab_size: int, *, seed: int, end_id: int | None = None) -> PreTrainedModel:
        """Returns a model with random weights drawn from `seed`; the global generator stays."""
        with torch.random.fork_rng(devices=[]):
            _ = torch.manual_seed(seed)
            return self._build(vocab_size, end_id)

    def _build(self, vocab_size: int, end_id: int | None) -> PreTrainedModel:
        shape: dict[str, Any] = {
            "vocab_size": vocab_size,
            "hidden_size": self.d_model,
            "num_hidden_layers": self.num_layers,
            "tie_word_embeddings": self.use_tied_embeddings,
            "bos_token_id": end_id,
            "eos_token_id": end_id,
            "pad_token_id": end_id,
        }
        if self.init_std is not None:
            shape["initializer_range"] = self.init_std
        if self.is_recurrent:
            shape |= {
                "num_heads": self.num_heads,
                "head_dim": 2 * self.d_model // self.num_heads,
                "n_groups": 1,
                "state_size": self.d_state,
                "chunk_size": _SCAN_LEN,
                "conv_kernel": _CONVOLUTION_LEN,
            }
            return Mamba2ForCausalLM(Mamba2Config(**shape))
        shape |= {
            "num_attention_heads": self.num_heads,
            "intermediate_size": self.d_ffn,
            "max_position_embeddings": self.max_positions,
        }
        if self.family == "gpt_neox":
            shape["rotary_pct"] = 0.25
            return GPTNeoXForCausalLM(GPTNeoXConfig(**shape))
        if self.family == "llama":
            return LlamaForCausalLM(LlamaConfig(**shape))
        shape |= {
            "num_key_value_heads": self.num_heads,
            "sliding_window": self.sliding_window,
        }
        return MistralForCausalLM(MistralConfig(**shape))
