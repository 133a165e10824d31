"""The shapes of models that are measured, built with random weights and a memory that matters."""

from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from armt.core.config import Config
from armt.core.errors import UnknownNameError, suggestion
from armt.memories.armt import ARMTConfig
from armt.recurrence.attach import attach
from armt.recurrence.model import Recurrent
from armt.training.optim import cast_weights

_VALUE_GAIN = 0.25
"""Of the random value maps: well below one, so that no state grows over millions of segments."""


@dataclass(frozen=True, kw_only=True)
class ModelShape(Config):
    """What decides how much work a segment is."""

    name: str
    family: Literal["gpt2", "llama"]
    num_layers: int
    d_model: int
    num_heads: int

    num_kv_heads: int
    """Heads of keys and values, at most `num_heads`."""

    d_ffn: int
    """Width of the feed-forward layers."""

    vocab_size: int

    segment_len: int
    """Text tokens in a segment, if nothing else is asked for."""


MODEL_SHAPES = {
    shape.name: shape
    for shape in (
        ModelShape(
            name="gpt2-small", family="gpt2", num_layers=12, d_model=768, num_heads=12,
            num_kv_heads=12, d_ffn=3072, vocab_size=50257, segment_len=512,
        ),
        ModelShape(
            name="small", family="llama", num_layers=6, d_model=384, num_heads=6,
            num_kv_heads=6, d_ffn=1024, vocab_size=8192, segment_len=512,
        ),
        ModelShape(
            name="llama-1b", family="llama", num_layers=16, d_model=2048, num_heads=32,
            num_kv_heads=8, d_ffn=8192, vocab_size=128256, segment_len=1024,
        ),
        ModelShape(
            name="boxed", family="llama", num_layers=6, d_model=256, num_heads=4,
            num_kv_heads=4, d_ffn=768, vocab_size=8192, segment_len=512,
        ),
        ModelShape(
            name="tiny", family="llama", num_layers=3, d_model=64, num_heads=4,
            num_kv_heads=2, d_ffn=128, vocab_size=256, segment_len=64,
        ),
    )
}  # fmt: skip
"""Every shape by name; `boxed` is that of the model that comes with the library."""


def model_shape(name: str) -> ModelShape:
    """Returns the shape called `name`.

    Raises:
        UnknownNameError: there is none; a near one is suggested.
    """
    if name not in MODEL_SHAPES:
        hint, known = suggestion(name, MODEL_SHAPES), ", ".join(MODEL_SHAPES)
        raise UnknownNameError(f"Unknown model shape '{name}'.{hint} Known: {known}.")
    return MODEL_SHAPES[name]


def build_model(
    shape: ModelShape,
    memory: ARMTConfig,
    segment_len: int,
    *,
    max_positions: int = 0,
    dtype: torch.dtype,
    device: torch.device,
    seed: int,
) -> Recurrent:
    """Returns a model with random weights drawn from `seed`; the global generators stay.

    Args:
        shape: of the backbone.
        memory: what is attached to it; its value maps are random too, so that it writes.
        segment_len: text tokens in a segment.
        max_positions: positions of the longest text that the bare backbone is to read, if that is
            more than a segment.
        dtype: of the weights; rotary frequencies keep their digits.
        device: where it is built.
        seed: decides the weights.
    """
    max_positions = max(max_positions, segment_len + memory.num_memory_tokens)
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        _ = torch.manual_seed(seed)
        with device:
            model = attach(_backbone(shape, max_positions), memory, segment_len)
        for name, parameter in model.memory.named_parameters():
            if name.endswith("to_value.weight"):
                _ = nn.init.normal_(parameter, std=_VALUE_GAIN * shape.d_model**-0.5)
    cast_weights(model, dtype)
    return cast("Recurrent", cast("nn.Module", model).eval())


def _backbone(shape: ModelShape, max_positions: int) -> PreTrainedModel:
    ends: dict[str, Any] = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    if shape.family == "gpt2":
        return GPT2LMHeadModel(
            GPT2Config(
                vocab_size=shape.vocab_size,
                n_positions=max_positions,
                n_embd=shape.d_model,
                n_layer=shape.num_layers,
                n_head=shape.num_heads,
                n_inner=shape.d_ffn,
                **ends,
            )
        )
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=shape.vocab_size,
            hidden_size=shape.d_model,
            intermediate_size=shape.d_ffn,
            num_hidden_layers=shape.num_layers,
            num_attention_heads=shape.num_heads,
            num_key_value_heads=shape.num_kv_heads,
            max_position_embeddings=max_positions,
            tie_word_embeddings=True,
            **ends,
        )
    )
