"""PRMT against a plain loop that overwrites positions in front of each layer by hooks."""

import pytest
import torch

from armt import attach
from armt.core.errors import ConfigError
from armt.memories.prmt import PRMTConfig
from tiny import SEGMENT_LEN, assert_same_state, backbone, random_ids, recurrent

M = 2
FAMILIES = ["gpt2", "llama", "qwen3", "gemma3_text", "gpt_neox"]
CLOSE = {"rtol": 1e-9, "atol": 1e-11}


class Hooked:
    """A backbone whose layers see their own memory at both ends."""

    def __init__(self, base, layers, memories):
        self.base, self.memories = base, list(memories)
        for index, layer in enumerate(layers):
            _ = layer.register_forward_pre_hook(self.overwrite(index), with_kwargs=True)
            _ = layer.register_forward_hook(self.keep(index))

    def overwrite(self, index):
        def hook(_layer, args, options):
            memory, (hidden, *rest) = self.memories[index], args
            end = hidden.shape[1] - M if self.is_whole else hidden.shape[1]
            parts = [memory, hidden[:, M:end]] + [memory] * self.is_whole
            return (torch.cat(parts, 1), *rest), options

        return hook

    def keep(self, index):
        def hook(_layer, _args, output):
            hidden = output[0] if isinstance(output, tuple) else output
            if self.is_whole:
                self.memories[index] = hidden[:, -M:]

        return hook

    def read(self, ids):
        logits, embed = [], self.base.get_input_embeddings()
        for part in ids.split(SEGMENT_LEN, dim=1):
            self.is_whole = part.shape[1] == SEGMENT_LEN
            space = torch.zeros(len(ids), M, 16, dtype=torch.float64)
            parts = [space, embed(part)] + [space] * self.is_whole
            found = self.base(inputs_embeds=torch.cat(parts, 1)).logits
            logits.append(found[:, M : M + part.shape[1]])
        return torch.cat(logits, 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_the_plain_loop(family):
    model, base = recurrent(PRMTConfig(num_memory_tokens=M), family), backbone(family)
    twin = attach(backbone(family), PRMTConfig(num_memory_tokens=M), SEGMENT_LEN)
    places = [name for name, module in twin.named_modules() if module in twin.anatomy.layers]
    first = [memory.first_memory.expand(2, -1, -1) for memory in model.memory.layers]
    hooked = Hooked(base, [base.get_submodule(name) for name in places], first)
    ids = random_ids(2, 3 * SEGMENT_LEN + 2)
    found, expected = model(ids), hooked.read(ids)
    torch.testing.assert_close(found.logits, expected, **CLOSE)
    for state, memory in zip(found.state.layers, hooked.memories, strict=True):
        torch.testing.assert_close(state.memory, memory, **CLOSE)


@pytest.mark.parametrize("family", FAMILIES)
def test_waves_equal_the_loop(family):
    layers = {"n_layer": 3} if family == "gpt2" else {"num_hidden_layers": 3}
    loop, waves = (
        recurrent(PRMTConfig(num_memory_tokens=M), family, schedule=schedule, **layers)
        for schedule in ("sequential", "waves")
    )
    ids = random_ids(2, 6 * SEGMENT_LEN + 1)
    found, expected = waves(ids), loop(ids)
    torch.testing.assert_close(found.logits, expected.logits, **CLOSE)
    assert_same_state(found.state, expected.state, **CLOSE)
    assert_same_state(waves.read(ids), loop.read(ids), **CLOSE)


def test_every_layer_has_a_first_memory_that_is_not_scaled():
    model = attach(backbone("gemma3_text"), PRMTConfig(num_memory_tokens=30), 4)
    first = [memory.first_memory.detach() for memory in model.memory.layers]
    assert not torch.equal(*first)
    assert all(float(values.std()) == pytest.approx(1, rel=0.15) for values in first)


def test_the_state_holds_a_memory_for_each_layer():
    model = attach(backbone(), PRMTConfig(num_memory_tokens=3), SEGMENT_LEN)
    assert model.read(random_ids(2, 9)).nbytes == 2 * 2 * (3 * 16 * 8 + 1)


def test_wrong_options_are_refused():
    with pytest.raises(ConfigError, match="num_memory_tokens"):
        _ = PRMTConfig(num_memory_tokens=0)
