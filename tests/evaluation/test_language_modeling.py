import math
from types import SimpleNamespace

import pytest
import torch

from armt import ARMTConfig, attach
from armt.backbones.tiny import TinyBackboneConfig
from armt.evaluation.language_modeling import segment_bits_per_byte
from armt.tasks.babilong import build_store
from armt.tasks.babilong.corpus import Book
from armt.tasks.encoder import TokenizerEncoder
from armt.tasks.language_modeling import LanguageModelingConfig, bits_per_byte
from tiny import roughen
from tiny_boxed import PROSE, tiny_tokenizer

CONFIG = LanguageModelingConfig(segment_len=8, num_segments=3)


@pytest.fixture(scope="module")
def encoder() -> TokenizerEncoder:
    return TokenizerEncoder(tiny_tokenizer())


@pytest.fixture(scope="module")
def task(encoder):
    return CONFIG.build(build_store([Book("prose", PROSE * 4)], encoder), encoder)


@pytest.fixture(scope="module")
def model(encoder):
    backbone = TinyBackboneConfig(d_model=16, num_layers=2, num_heads=2, d_ffn=16)
    model = attach(
        backbone.build(encoder.vocab_size, seed=0), ARMTConfig(num_memory_tokens=1, d_mem=4), 8
    )
    roughen(model.memory)
    return model


@torch.no_grad()
def test_it_is_the_loss_of_the_whole_text(model, task):
    rows = task.evaluation_rows(4)
    logits = model(rows, logits_to_keep=0).logits[:, :-1]
    losses = torch.nn.functional.cross_entropy(logits.mT, rows[:, 1:], reduction="none")
    whole = torch.cat([torch.zeros(4, 1), losses], dim=1)
    expected = bits_per_byte(whole, task.num_bytes(rows)).tolist()
    assert segment_bits_per_byte(model, task, 4, batch_size=3) == pytest.approx(expected)


def test_without_memory_only_later_segments_differ(model, task):
    on = segment_bits_per_byte(model, task, 4)
    off = segment_bits_per_byte(model, task, 4, use_memory=False)
    assert on[0] == off[0]
    assert abs(on[1] - off[1]) > 1e-4
    assert abs(on[2] - off[2]) > 1e-4


class Uniform(torch.nn.Module):
    """Gives every token the same score; remembers how it was called."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.vocab_size, self.device, self.states = vocab_size, torch.device("cpu"), []

    def forward(self, input_ids, state, logits_to_keep) -> SimpleNamespace:
        assert logits_to_keep == 0
        self.states.append(state)
        number = 1 if state is None else state + 1
        return SimpleNamespace(logits=torch.zeros(*input_ids.shape, self.vocab_size), state=number)


def test_a_model_that_knows_nothing_pays_the_logarithm_for_each_token(task, encoder):
    blind = Uniform(encoder.vocab_size)
    found = segment_bits_per_byte(blind, task, 5, batch_size=5)
    sizes = task.num_bytes(task.evaluation_rows(5)).sum(0).tolist()
    bits = math.log2(encoder.vocab_size)
    tokens = [5 * 7, 5 * 8, 5 * 8]
    expected = [bits * number / size for number, size in zip(tokens, sizes, strict=True)]
    assert found == pytest.approx(expected)
    assert blind.states == [None, 1, 2]
    _ = segment_bits_per_byte(blind, task, 5, batch_size=5, use_memory=False)
    assert blind.states[3:] == [None] * 3
