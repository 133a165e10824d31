"""What a backbone must be, and how a model that is not is refused."""

import inspect

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    DynamicCache,
    MambaConfig,
)

from armt import ARMTConfig, NoMemoryConfig, attach
from armt.backbones import huggingface
from armt.backbones.huggingface import (
    TESTED_FAMILIES,
    cache_name,
    embedding_std,
    examine,
)
from armt.core.errors import ArmtError, BackboneError, ConfigError
from tiny import ROPE, VOCAB, backbone, random_ids, recurrent, roughen

MEMORY = ARMTConfig(num_memory_tokens=2, d_mem=4)


def test_the_parts_of_a_decoder_are_found():
    model = backbone("gpt2")
    anatomy = examine(model)
    assert anatomy.decoder is model.transformer
    assert list(anatomy.layers) == list(model.transformer.h)
    assert anatomy.embedding is model.transformer.wte
    assert (anatomy.d_model, anatomy.max_positions) == (16, 64)


def test_an_encoder_decoder_is_refused():
    config = AutoConfig.for_model(
        "t5", d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, vocab_size=VOCAB
    )
    with pytest.raises(BackboneError, match="AutoModelForCausalLM"):
        _ = attach(AutoModelForSeq2SeqLM.from_config(config), MEMORY, 4)


def test_a_model_without_a_head_is_refused():
    config = AutoConfig.for_model("llama", vocab_size=VOCAB, **ROPE)
    with pytest.raises(BackboneError, match="AutoModelForCausalLM"):
        _ = attach(AutoModel.from_config(config), MEMORY, 4)


@pytest.mark.parametrize("family", ["starcoder2", "cohere", "bloom"])
def test_an_unknown_family_is_checked_and_carries_a_memory(family):
    assert family not in TESTED_FAMILIES
    model = recurrent(MEMORY, family)
    ids = random_ids(2, 11)
    loss = model(ids, labels=ids).loss
    loss.backward()
    assert model.memory.layers[0].to_key.weight.grad.abs().sum() > 0
    prompt = random_ids(1, 3)
    text = model.generate(prompt, max_new_tokens=6, do_sample=False, eos_token_id=None)
    expected = prompt
    for _ in range(6):
        following = model(expected).logits[:, -1:].argmax(-1)
        expected = torch.cat([expected, following], dim=1)
    assert text.tolist() == expected.tolist()


def seeing_the_future(model):
    """Lets every layer add the mean over all positions, later ones included."""
    for layer in model.model.layers:
        _ = layer.register_forward_hook(lambda _layer, _args, out: out + out.mean(1, keepdim=True))
    return model


def test_a_model_that_sees_the_future_is_refused():
    with pytest.raises(BackboneError, match="not causal"):
        _ = attach(seeing_the_future(backbone("starcoder2")), MEMORY, 4)


def test_a_model_that_forgets_its_cache_is_refused(monkeypatch):
    model = backbone("starcoder2")
    forward = model.forward

    def forgetful(input_ids, **options):
        return forward(input_ids=input_ids, **(options | {cache_name(model): None}))

    monkeypatch.setattr(model, "forward", forgetful)
    with pytest.raises(BackboneError, match="in pieces"):
        _ = attach(model, MEMORY, 4)


def test_a_model_that_takes_no_cache_is_refused(monkeypatch):
    model = backbone("starcoder2")
    forward = model.forward

    def cacheless(input_ids, use_cache=True):
        return forward(input_ids=input_ids, use_cache=use_cache)

    monkeypatch.setattr(model, "forward", cacheless)
    with pytest.raises(BackboneError, match="cannot go on from its own cache"):
        _ = attach(model, MEMORY, 4)


def naming_its_cache_as_mamba_did(forward, known):
    """Returns a forward that calls its cache `cache_params`, as Mamba did before 5.24."""

    def call(self, *args, cache_params=None, **options):
        given = {} if cache_params is None else {known: cache_params}
        output = forward(self, *args, **options, **given)
        output.cache_params = output.get(known)
        return output

    signature = inspect.signature(forward)
    parameters = [
        parameter.replace(name="cache_params") if name == known else parameter
        for name, parameter in signature.parameters.items()
    ]
    call.__signature__ = signature.replace(parameters=parameters)
    return call


def test_a_cache_is_given_under_the_name_that_the_forward_has(monkeypatch):
    model = backbone("starcoder2")
    known = cache_name(model)
    for part in (model, model.model):
        forward = naming_its_cache_as_mamba_did(type(part).forward, known)
        monkeypatch.setattr(type(part), "forward", forward)
    model = attach(model, MEMORY, 4)
    assert model.anatomy.cache_name == "cache_params"
    ids, states = random_ids(1, 4), model.memory.init_states(1)
    schedule, cache = model.schedule(), DynamicCache(config=model.config)
    at = torch.tensor([1])
    whole = schedule.run(ids, states, is_whole=True, logits_at=at + 2)
    _ = schedule.run(ids[:, :2], states, is_whole=False, logits_at=at, cache=cache)
    parts = {"is_whole": False, "logits_at": at, "cache": cache, "num_before": 2}
    found = schedule.run(ids[:, 2:], states, **parts)
    torch.testing.assert_close(found.logits, whole.logits, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("family", ["openai-gpt", "rwkv"])
def test_a_forward_without_a_cache_of_a_known_name_is_refused(family):
    config = AutoConfig.for_model(family, vocab_size=VOCAB, hidden_size=16, num_hidden_layers=2)
    config.n_head = 2
    with pytest.raises(BackboneError, match="none of cache, past_key_values, cache_params"):
        _ = attach(AutoModelForCausalLM.from_config(config), MEMORY, 4)


def test_a_forward_that_gives_all_logits_is_refused(monkeypatch):
    model = backbone("llama")

    def forward(self, input_ids=None, past_key_values=None, use_cache=None, inputs_embeds=None):
        raise AssertionError("a model that is refused is not run")

    monkeypatch.setattr(type(model), "forward", forward)
    with pytest.raises(BackboneError, match="LlamaForCausalLM takes no `logits_to_keep`"):
        _ = attach(model, MEMORY, 4)


def test_a_recurrent_backbone_works_or_is_refused_with_a_reason():
    config = MambaConfig(
        vocab_size=VOCAB, hidden_size=16, state_size=4, num_hidden_layers=2, time_step_rank=2
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    roughen(model)
    with pytest.raises(BackboneError, match="cache"):
        _ = attach(model, MEMORY, 4)


def test_a_refused_model_stays_as_it_was():
    model = seeing_the_future(backbone("starcoder2")).train()
    before = type(model), type(model.model.layers[0])
    with pytest.raises(BackboneError):
        _ = attach(model, MEMORY, 4)
    assert (type(model), type(model.model.layers[0])) == before
    assert model.training
    assert not hasattr(model, "memory")


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_segment_longer_than_the_positions_is_refused(family):
    with pytest.raises(ConfigError, match="at most 62"):
        _ = attach(backbone(family), MEMORY, 63)
    model = attach(backbone(family), MEMORY, 62)
    assert model(random_ids(1, 62)).state.num_pending.tolist() == [0]
    assert attach(backbone(family), NoMemoryConfig(), 64).recurrence.segment_len == 64


def test_layers_that_cannot_be_told_are_named(monkeypatch):
    model = backbone()
    model.model.others = torch.nn.ModuleList([torch.nn.Identity(), torch.nn.Identity()])
    with pytest.raises(BackboneError, match="layers, others"):
        _ = examine(model)
    monkeypatch.setitem(huggingface.LAYER_PATHS, "llama", "layers")
    assert list(examine(model).layers) == list(model.model.layers)


def test_a_list_that_is_not_there_is_told():
    model = backbone()
    model.config.num_hidden_layers = 7
    with pytest.raises(BackboneError, match="7 modules, found none"):
        _ = examine(model)


def test_a_list_deeper_inside_does_not_matter():
    model = backbone()
    model.model.layers[0].mlp.experts = torch.nn.ModuleList([torch.nn.Identity()] * 2)
    assert list(examine(model).layers) == list(model.model.layers)


def test_memory_tokens_are_as_long_as_token_embeddings():
    config = ARMTConfig(num_memory_tokens=400, d_mem=4)
    model = attach(backbone("gemma", max_position_embeddings=512), config, 4)
    scaled = model.get_input_embeddings()(torch.arange(VOCAB)).detach()
    assert embedding_std(model.anatomy) == pytest.approx(float(scaled.std()))
    assert float(model.memory.tokens.detach().std()) == pytest.approx(float(scaled.std()), rel=0.1)


def test_a_wrong_recurrence_is_told():
    for options in ({"segment_len": 0}, {"segment_len": 4, "bptt_depth": -1}):
        with pytest.raises(ArmtError, match="must"):
            _ = attach(backbone(), MEMORY, **options)


@pytest.mark.parametrize(
    ("family", "num_kv_heads"), [("gpt2", 2), ("gpt_neox", 2), ("llama", 1), ("qwen3", 1)]
)
def test_the_shape_of_a_layer_is_what_its_config_declares(family, num_kv_heads):
    shapes = examine(backbone(family)).shapes
    assert [shape.index for shape in shapes] == [0, 1]
    assert shapes[1].num_layers == 2
    sizes = (shapes[1].d_model, shapes[1].num_heads, shapes[1].num_kv_heads, shapes[1].head_dim)
    assert sizes == (16, 2, num_kv_heads, 8)
