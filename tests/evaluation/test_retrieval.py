from types import SimpleNamespace

import pytest
import torch

from armt import ARMTConfig, attach
from armt.backbones.tiny import TinyBackboneConfig
from armt.core.errors import ConfigError
from armt.evaluation.retrieval import retrieval_scores
from armt.tasks.associative_retrieval import END_ID, VOCAB_SIZE, AssociativeRetrievalConfig

TASK = AssociativeRetrievalConfig(kind="rewrite", num_pairs=3, key_len=1, value_len=2)


class Oracle(torch.nn.Module):
    """Keeps the whole text and looks the answer up; wrong at odd keys if asked to be."""

    def __init__(self, is_half_wrong: bool = False) -> None:
        super().__init__()
        self.is_half_wrong = is_half_wrong
        self.device = torch.device("cpu")

    def read(self, ids: torch.Tensor) -> torch.Tensor:
        return ids

    def forward(self, input_ids, state, logits_to_keep) -> SimpleNamespace:
        assert logits_to_keep == 1
        state = torch.cat([state, input_ids], dim=1)
        logits = torch.zeros(len(state), 1, VOCAB_SIZE)
        for row, ids in enumerate(state):
            logits[row, 0, self.next_token(ids.tolist())] = 1.0
        return SimpleNamespace(state=state, logits=logits)

    def next_token(self, ids: list[int]) -> int:
        pairs, question = [], ids[-(len(ids) % 5) :]
        pairs = [ids[start : start + 5] for start in range(0, len(ids) - len(question), 5)]
        value = {pair[0]: pair[2:] for pair in pairs}[question[0]]
        if self.is_half_wrong and question[0] % 2 and len(question) == 2:
            return (value[0] + 1) % 16
        return value[len(question) - 2]


def test_a_reader_that_looks_up_is_always_right():
    found = retrieval_scores(Oracle(), TASK, [1, 3, 12], num_samples=32, batch_size=5)
    assert {pairs: tuple(score) for pairs, score in found.items()} == {
        1: (32, 32),
        3: (32, 32),
        12: (32, 32),
    }


def test_one_wrong_digit_makes_an_answer_wrong():
    found = retrieval_scores(Oracle(is_half_wrong=True), TASK, [3], num_samples=200)
    prompts = TASK.build().evaluation_batch(200)
    num_even = int((prompts.prompt_ids[:, -2] % 2 == 0).sum())
    assert found[3].num_correct == num_even
    assert 60 < num_even < 140
    assert bool((prompts.answer_ids[:, -1] == END_ID).all())


def test_a_recurrent_model_is_asked_and_left_in_its_mode():
    shape = TinyBackboneConfig(d_model=16, num_layers=1, num_heads=2, d_ffn=16, max_positions=16)
    memory = ARMTConfig(num_memory_tokens=1, d_mem=4)
    model = attach(shape.build(VOCAB_SIZE, seed=0), memory, TASK.segment_len).train()
    found = retrieval_scores(model, TASK, [2], num_samples=16)
    assert found[2].num_samples == 16
    assert found[2].accuracy < 0.5
    assert model.training


def test_without_memory_the_question_comes_to_an_empty_state(monkeypatch):
    shape = TinyBackboneConfig(d_model=16, num_layers=1, num_heads=2, d_ffn=16, max_positions=16)
    memory = ARMTConfig(num_memory_tokens=1, d_mem=4)
    model = attach(shape.build(VOCAB_SIZE, seed=0), memory, TASK.segment_len)
    torch.nn.init.normal_(model.memory.layers[0].to_value.weight)
    seen = []
    forward = type(model).forward

    def note(self, *args, **options):
        seen.append(options["state"])
        return forward(self, *args, **options)

    monkeypatch.setattr(type(model), "forward", note)
    for use_memory in (True, False):
        _ = retrieval_scores(model, TASK, [2], num_samples=4, use_memory=use_memory)
    kept, emptied = seen[0], seen[len(seen) // 2]
    assert bool(kept.layers[0].association.any())
    assert not bool(emptied.layers[0].association.any())
    assert torch.equal(kept.pending, emptied.pending)


def test_more_pairs_than_keys_are_refused():
    task = AssociativeRetrievalConfig(kind="remember", num_pairs=4, key_len=1)
    with pytest.raises(ConfigError, match="only 16 different keys"):
        _ = retrieval_scores(Oracle(), task, [17])
