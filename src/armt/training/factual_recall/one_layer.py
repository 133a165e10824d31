"""The one-layer transformer of factual recall: attention of the end token, then a perceptron.

Source: Nichani, Lee, Bietti, arXiv:2412.06538, section 4. Embeddings of tokens and outputs are
random and fixed; attention has no positions and no residual path around it. Either the attention's
value maps or the perceptron can store the facts.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from armt.core.config import Config
from armt.core.errors import ConfigError
from armt.core.shapes import Float, Int, Tensor
from armt.tasks.factual_recall import FactualRecall, FactualRecallConfig, Questions

_NUM_EVALUATED = 16


@dataclass(frozen=True, kw_only=True)
class OneLayerConfig(Config):
    """Options of `OneLayerTransformer`."""

    d_model: int = 32
    """Width of the embeddings."""

    num_heads: int = 8
    """Heads of the attention."""

    head_dim: int = 4
    """Width of one head."""

    d_mlp: int = 0
    """Hidden units of the perceptron; 0 for none."""

    def __post_init__(self) -> None:
        """Checks the options."""
        for name in ("d_model", "num_heads", "head_dim"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1. Got {getattr(self, name)}.")
        if self.d_mlp < 0:
            raise ConfigError(f"`d_mlp` must not be negative. Got {self.d_mlp}.")

    @property
    def num_attention_parameters(self) -> int:
        """Entries of the maps to queries, keys and values and of the output map."""
        return 4 * self.num_heads * self.head_dim * self.d_model

    @property
    def num_mlp_parameters(self) -> int:
        """Entries of the perceptron's two maps."""
        return 2 * self.d_mlp * self.d_model


def token_counts(ids: Int[Tensor, "B T"], vocab_size: int) -> Float[Tensor, "B V"]:
    """Returns how often each token stands in a row."""
    counts = torch.zeros(len(ids), vocab_size)
    return counts.scatter_add_(1, ids, torch.ones_like(ids, dtype=counts.dtype))


@final
class OneLayerTransformer(nn.Module):
    """Answers a question from what tokens it holds.

    Without positions equal tokens get equal weights, so the attention runs over the vocabulary,
    each token as often as the row holds it.
    """

    def __init__(self, task: FactualRecallConfig, config: OneLayerConfig, seed: int) -> None:
        """Draws the embeddings, which stay, and the maps, which are trained."""
        super().__init__()
        chance, width = torch.Generator().manual_seed(seed), config.d_model
        inner = config.num_heads * config.head_dim
        self.config, self.end_id = config, task.end_id

        def draw(rows: int, columns: int, fan_in: int) -> Float[Tensor, "R C"]:
            return torch.randn(rows, columns, generator=chance) / math.sqrt(fan_in)

        self.embedding: Tensor
        self.register_buffer("embedding", draw(task.vocab_size, width, width))
        self.outputs: Tensor
        self.register_buffer("outputs", draw(task.num_outputs, width, width))
        self.to_query, self.to_key, self.to_value = (
            nn.Parameter(draw(width, inner, width)) for _ in range(3)
        )
        self.to_output = nn.Parameter(draw(inner, width, inner))
        self.first = nn.Parameter(draw(width, config.d_mlp, width))
        self.second = nn.Parameter(draw(config.d_mlp, width, max(config.d_mlp, 1)))

    def forward(self, counts: Float[Tensor, "B V"]) -> Float[Tensor, "B A"]:
        """Returns a score for each output."""
        weights = (self._scores() + counts.log().unsqueeze(1)).softmax(-1)
        values = self._heads(self.embedding @ self.to_value)
        heads = torch.einsum("bhv,vhc->bhc", weights, values)
        hidden = heads.flatten(1) @ self.to_output
        hidden = hidden + (hidden @ self.first).relu() @ self.second
        return hidden @ self.outputs.T

    def _scores(self) -> Float[Tensor, "H V"]:
        """Returns how much the end token's query likes each token's key."""
        query = self._heads(self.embedding[self.end_id] @ self.to_query)
        keys = self._heads(self.embedding @ self.to_key)
        return torch.einsum("hc,vhc->hv", query, keys) / math.sqrt(self.config.head_dim)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.config.num_heads, self.config.head_dim))


class TrainedOneLayer(NamedTuple):
    """A trained transformer and how well it knows the facts."""

    model: OneLayerTransformer
    accuracy: float
    """Share of right answers over every fact, each in several noises."""

    num_asked: int
    """Questions that it was measured on."""


def train_one_layer(
    task: FactualRecall,
    config: OneLayerConfig,
    seed: int,
    *,
    num_steps: int = 2048,
    batch_size: int = 1024,
    learning_rate: float = 1e-2,
) -> TrainedOneLayer:
    """Trains a transformer on questions about random facts by Adam, the rate falling to zero.

    The paper holds the rate and trains 2 ** 14 steps.
    """
    model, rng = OneLayerTransformer(task.config, config, seed), np.random.default_rng(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    for _ in range(num_steps):
        questions = task.draw(rng, batch_size)
        optimizer.zero_grad()
        _ = cross_entropy(_answer(model, questions), questions.answers).backward()
        _ = optimizer.step()
        decay.step()
    questions = task.ask_all(rng, _NUM_EVALUATED)
    with torch.no_grad():
        is_right = _answer(model, questions).argmax(-1) == questions.answers
    return TrainedOneLayer(model, int(is_right.sum()) / len(is_right), len(is_right))


def _answer(model: OneLayerTransformer, questions: Questions) -> Float[Tensor, "B A"]:
    return model(token_counts(questions.ids, len(model.embedding)))
