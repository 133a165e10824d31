"""A tiny random model in a folder, as `armt train` would leave it."""

from pathlib import Path

import torch
from tokenizers import Tokenizer

from armt import ARMTConfig, attach
from armt.backbones.tiny import TinyBackboneConfig
from armt.serving.boxed_model import FACTS_FORM, BoxedModel, save_boxed
from armt.tasks.encoder import TokenizerEncoder
from armt.tasks.tokenizer import train_tokenizer

PROSE = (
    "The old house stood at the end of the lane. Nobody had lived there for years, and the garden "
    "had grown wild. In the evening the children came home by the river and told each other "
    "stories about it. Mary went to the garden. John moved to the kitchen. Where is Mary? "
)
SEGMENT_LEN = 16


def tiny_tokenizer() -> Tokenizer:
    """Returns a small tokenizer trained on a little prose."""
    return train_tokenizer([PROSE], vocab_size=300)


def tiny_boxed(seed: int = 0) -> BoxedModel:
    """Returns a random model whose memory is not neutral."""
    encoder = TokenizerEncoder(tiny_tokenizer())
    shape = TinyBackboneConfig(d_model=16, num_layers=2, num_heads=2, d_ffn=24, max_positions=32)
    backbone = shape.build(encoder.vocab_size, seed=seed, end_id=encoder.end_id)
    memory = ARMTConfig(num_memory_tokens=2, d_mem=4)
    model = attach(backbone, memory, segment_len=SEGMENT_LEN)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.memory.parameters():
            _ = value.add_(0.2 * torch.randn(value.shape, generator=generator))
    return BoxedModel(model.eval(), encoder, FACTS_FORM)


def save_tiny(folder: Path, seed: int = 0) -> Path:
    """Writes such a model to `folder` and returns the folder."""
    save_boxed(folder, tiny_boxed(seed))
    return folder
