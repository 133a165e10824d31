"""RMT against the published wrapper, written anew here as a loop over the plain backbone."""

import pytest
import torch

from armt import attach
from armt.core.errors import ConfigError
from armt.memories.rmt import RMTConfig
from tiny import SEGMENT_LEN, backbone, random_ids, recurrent

M = 2
FAMILIES = ["gpt2", "llama", "qwen3", "gemma3_text", "gpt_neox"]
CLOSE = {"rtol": 1e-9, "atol": 1e-11}


def plain_loop(base, first_memory, ids):
    """Logits of the text, and the last memory: [memory; segment; memory] through the backbone."""
    memory, logits = first_memory.expand(len(ids), -1, -1), []
    for part in ids.split(SEGMENT_LEN, dim=1):
        embedded = base.get_input_embeddings()(part)
        is_whole = part.shape[1] == SEGMENT_LEN
        parts = [memory, embedded, memory] if is_whole else [memory, embedded]
        output = base(inputs_embeds=torch.cat(parts, 1), output_hidden_states=True)
        logits.append(output.logits[:, M : M + part.shape[1]])
        memory = output.hidden_states[-1][:, -M:] if is_whole else memory
    return torch.cat(logits, 1), memory


@pytest.mark.parametrize("num_tokens", [3, 4 * SEGMENT_LEN, 3 * SEGMENT_LEN + 1])
@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_the_published_loop(family, num_tokens):
    model, base = recurrent(RMTConfig(num_memory_tokens=M), family), backbone(family)
    ids = random_ids(2, num_tokens)
    logits, memory = plain_loop(base, model.memory.layers[0].first_memory, ids)
    found = model(ids)
    torch.testing.assert_close(found.logits, logits, **CLOSE)
    if num_tokens >= SEGMENT_LEN:
        torch.testing.assert_close(found.state.layers[0].memory, memory, **CLOSE)


def test_gradients_are_those_of_the_published_loop():
    model, base = recurrent(RMTConfig(num_memory_tokens=M)), backbone()
    ids, first_memory = random_ids(2, 3 * SEGMENT_LEN), model.memory.layers[0].first_memory
    copy = first_memory.detach().clone().requires_grad_()
    plain_loop(base, copy, ids)[0].square().sum().backward()
    model(ids).logits.square().sum().backward()
    torch.testing.assert_close(first_memory.grad, copy.grad, **CLOSE)
    own = dict(model.named_parameters())
    for name, parameter in base.named_parameters():
        torch.testing.assert_close(own[name].grad, parameter.grad, **CLOSE)


@pytest.mark.parametrize("depth", [0, 1, None])
def test_the_first_memory_is_trained_wherever_the_gradient_is_cut(depth):
    model = recurrent(RMTConfig(num_memory_tokens=M), bptt_depth=depth)
    ids = random_ids(2, 2 * SEGMENT_LEN)
    model(ids, labels=ids).loss.backward()
    assert model.memory.layers[0].first_memory.grad.abs().sum() > 0


def test_memory_starts_as_long_as_embeddings():
    base = backbone("gemma3_text")  # scales its embeddings inside the module
    std = base.get_input_embeddings()(torch.arange(31)).std()
    separate = attach(base, RMTConfig(num_memory_tokens=30), 4).memory.layers[0].first_memory
    torch.testing.assert_close(separate.std(), std, rtol=0.2, atol=0)
    assert len(separate.detach().unique(dim=0)) == 30
    config = RMTConfig(num_memory_tokens=30, init="replicated")
    replicated = attach(backbone("gemma3_text"), config, 4).memory.layers[0].first_memory
    assert len(replicated.detach().unique(dim=0)) == 1
    assert replicated.detach().std() > 0.1 * std


def test_the_only_weights_are_the_first_memory():
    model = attach(backbone(), RMTConfig(num_memory_tokens=3), SEGMENT_LEN)
    assert {name: tuple(value.shape) for name, value in model.memory.named_parameters()} == {
        "layers.0.first_memory": (3, 16)
    }


def test_the_state_holds_one_memory_for_the_whole_model():
    model = attach(backbone(), RMTConfig(num_memory_tokens=3), SEGMENT_LEN)
    state = model.read(random_ids(2, 9))
    assert len(state.layers) == 1
    assert state.nbytes == 2 * (3 * 16 * 8 + 1)


@pytest.mark.parametrize("options", [{"num_memory_tokens": 0}, {"init": "zeros"}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        _ = RMTConfig.from_dict(options)


def test_noise_is_put_on_what_training_keeps_and_nowhere_else():
    config = RMTConfig(num_memory_tokens=M, memory_noise=0.5)
    model, ids = recurrent(config), random_ids(64, SEGMENT_LEN)
    plain = recurrent(RMTConfig(num_memory_tokens=M))(ids)
    assert torch.equal(model(ids).state.layers[0].memory, plain.state.layers[0].memory)
    noisy = model.train()(ids)
    torch.testing.assert_close(noisy.logits, plain.logits, **CLOSE)
    kept = plain.state.layers[0].memory
    noise = noisy.state.layers[0].memory - kept
    shares = noise.square().mean((0, 2)).sqrt() / kept.square().mean((0, 2)).sqrt()
    torch.testing.assert_close(shares, torch.full_like(shares, 0.5), rtol=0.1, atol=0.0)


def test_noise_is_a_matter_of_training_and_may_change_by_stage():
    assert "memory_noise" in RMTConfig.stage_options
    with pytest.raises(ConfigError, match="must not be negative"):
        _ = RMTConfig(memory_noise=-0.1)
