"""Small Hugging Face encoders made from a config, for training from scratch."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel

from armt.backbones.encoder import SpecialTokens
from armt.core.config import Config
from armt.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TinyEncoderConfig(Config):
    """Shape of a small BERT with random weights."""

    d_model: int = 256
    """Width of the residual stream."""

    num_layers: int = 4
    """Transformer layers."""

    num_heads: int = 4
    """Attention heads."""

    d_ffn: int = 1024
    """Width of the feed-forward layers."""

    max_positions: int = 512
    """Positions of a segment with memory and special tokens."""

    dropout: float = 0.0
    """Share of hidden states and attention that is left out in training (BERT: 0.1)."""

    init_std: float = 0.02
    """Spread of the random weights."""

    def __post_init__(self) -> None:
        """Checks the options."""
        if self.d_model % self.num_heads:
            raise ConfigError(
                f"`num_heads` must divide `d_model`. Got {self.num_heads} and {self.d_model}."
            )

    def build(
        self, vocab_size: int, num_classes: int, *, seed: int
    ) -> tuple[PreTrainedModel, SpecialTokens]:
        """Returns a model with random weights drawn from `seed`, and its special tokens.

        These stand behind the `vocab_size` tokens of the text. The global generator stays.
        """
        special_tokens = SpecialTokens(vocab_size, vocab_size + 1, vocab_size + 2)
        shape: dict[str, Any] = {
            "vocab_size": vocab_size + len(special_tokens),
            "hidden_size": self.d_model,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.num_heads,
            "intermediate_size": self.d_ffn,
            "max_position_embeddings": self.max_positions,
            "hidden_dropout_prob": self.dropout,
            "attention_probs_dropout_prob": self.dropout,
            "initializer_range": self.init_std,
            "pad_token_id": special_tokens.pad_id,
            "num_labels": num_classes,
        }
        with torch.random.fork_rng(devices=[]):
            _ = torch.manual_seed(seed)
            return BertForSequenceClassification(BertConfig(**shape)), special_tokens
