"""Encoders with memory tokens against a plain loop that lays out every segment by hand."""

import copy

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
)

from armt.backbones.encoder import TESTED_ENCODERS, SpecialTokens, examine_encoder
from armt.core.errors import BackboneError, ConfigError, DataError
from armt.memories.rmt import RMTConfig
from armt.recurrence.encoder import RecurrentClassifier, attach_encoder
from tiny import ROPE, random_ids, roughen

M, SEGMENT_LEN, VOCAB, NUM_CLASSES = 2, 5, 31, 3
SPECIAL = SpecialTokens(start_id=1, separator_id=2, pad_id=0)
CLOSE = {"rtol": 1e-9, "atol": 1e-11}
BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 16,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
ENCODERS = {
    "bert": BERT,
    "electra": BERT | {"embedding_size": 16},
    "distilbert": {
        "dim": 16,
        "n_layers": 2,
        "n_heads": 2,
        "hidden_dim": 24,
        "max_position_embeddings": 16,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "seq_classif_dropout": 0.0,
    },
}


def encoder(family="bert", **options):
    config = AutoConfig.for_model(
        family, vocab_size=VOCAB, num_labels=NUM_CLASSES, pad_token_id=0, **ENCODERS[family]
    )
    for name, value in options.items():
        setattr(config, name, value)
    _ = torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config)
    roughen(model)
    return model.double().eval()


def recurrent(family="bert", bptt_depth=None, noise=0.0, **options):
    memory = RMTConfig(num_memory_tokens=M, memory_noise=noise)
    model = attach_encoder(encoder(family, **options), memory, SPECIAL, SEGMENT_LEN, bptt_depth)
    roughen(model.memory)
    return model


def plain_loop(base, first_memory, ids):
    """Logits and last memory of one row: the segments are cut from its end."""
    embed, memory = base.get_input_embeddings(), first_memory
    start = len(ids) % SEGMENT_LEN or SEGMENT_LEN
    for part in (ids[:start], *ids[start:].split(SEGMENT_LEN)):
        if len(part):
            edges = embed(torch.tensor([1, 2]))
            text = embed(torch.cat([part, torch.tensor([2])]))
            embedded = torch.cat([edges[:1], memory, edges[1:], text]).unsqueeze(0)
            output = base(inputs_embeds=embedded, output_hidden_states=True)
            memory = output.hidden_states[-1][0, 1 : 1 + M]
    return output.logits, memory


@pytest.fixture(params=sorted(ENCODERS))
def family(request):
    return request.param


def test_the_list_of_tested_encoders_is_the_one_tested():
    assert set(ENCODERS) == TESTED_ENCODERS


@pytest.mark.parametrize("num_tokens", [1, SEGMENT_LEN, 3 * SEGMENT_LEN, 3 * SEGMENT_LEN + 2])
def test_it_is_the_published_loop(family, num_tokens):
    model, ids = recurrent(family), random_ids(2, num_tokens)
    found = model(ids)
    for row in range(2):
        expected = plain_loop(encoder(family), model.memory.layers[0].first_memory, ids[row])
        torch.testing.assert_close(found.logits[row : row + 1], expected[0], **CLOSE)
        torch.testing.assert_close(found.state.memory[row], expected[1], **CLOSE)


@pytest.mark.parametrize("side", ["left", "right"])
def test_rows_of_fewer_segments_take_no_part_in_the_first_steps(family, side):
    model, lengths, width = recurrent(family), [17, 3, 5, 10, 11], 19
    ids, mask = torch.full((5, width), 7), torch.zeros(5, width, dtype=torch.long)
    rows = [random_ids(1, length, seed=length)[0] for length in lengths]
    for index, row in enumerate(rows):
        place = slice(width - len(row), width) if side == "left" else slice(len(row))
        ids[index, place], mask[index, place] = row, 1
    together = model(ids, attention_mask=mask)
    for index, row in enumerate(rows):
        alone = model(row.unsqueeze(0))
        torch.testing.assert_close(together.logits[index : index + 1], alone.logits, **CLOSE)
        torch.testing.assert_close(together.state.memory[index], alone.state.memory[0], **CLOSE)


def test_the_first_segment_reaches_the_class_through_the_memory(family):
    model, ids = recurrent(family), random_ids(1, 4 * SEGMENT_LEN)
    changed = ids.clone()
    changed[0, 0] = ids[0, 0] % 20 + 4
    assert (model(changed).logits - model(ids).logits).abs().max() > 1e-9


def test_reading_goes_on_from_a_state_at_whole_segments():
    model, ids = recurrent(), random_ids(2, 4 * SEGMENT_LEN)
    parts = model(ids[:, 2 * SEGMENT_LEN :], state=model(ids[:, : 2 * SEGMENT_LEN]).state)
    torch.testing.assert_close(parts.logits, model(ids).logits, **CLOSE)


def test_the_loss_is_that_of_the_head_and_reaches_everything():
    model, ids, labels = recurrent(), random_ids(4, 3 * SEGMENT_LEN), torch.tensor([0, 1, 2, 1])
    output = model(ids, labels=labels)
    expected = torch.nn.functional.cross_entropy(output.logits, labels)
    torch.testing.assert_close(output.loss, expected, **CLOSE)
    output.loss.backward()
    unused = {"bert.embeddings.token_type_embeddings.weight"}  # a shift for all tokens alike
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0 or name in unused, name


@pytest.mark.parametrize("depth", [0, 1, 2, None])
def test_truncation_cuts_at_the_depth_asked(depth):
    model, embedded = recurrent(bptt_depth=depth), []
    _ = model.get_input_embeddings().register_forward_hook(
        lambda _module, _args, output: embedded.append(output) or output.retain_grad()
    )
    model(random_ids(1, 5 * SEGMENT_LEN)).logits.square().sum().backward()
    reached = [part.grad is not None and bool(part.grad.any()) for part in embedded]
    reach = 4 if depth is None else depth
    assert reached == [segment >= 4 - reach for segment in range(5)]


def test_training_puts_noise_on_the_memory_and_reading_does_not():
    ids = random_ids(2, 2 * SEGMENT_LEN)
    plain, noisy = recurrent(), recurrent(noise=0.4)
    expected = plain(ids).logits
    torch.testing.assert_close(noisy(ids).logits, expected, **CLOSE)
    _ = noisy.train()
    assert not torch.allclose(noisy(ids).logits, expected, rtol=1e-3)
    # nothing was written yet that noise could be put on
    first = ids[:, :SEGMENT_LEN]
    torch.testing.assert_close(noisy(first).logits, plain(first).logits, **CLOSE)


def test_checkpointing_changes_no_gradient():
    gradients, ids = [], random_ids(2, 3 * SEGMENT_LEN)
    for is_checkpointing in (False, True):
        model = recurrent().train()
        if is_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        model(ids).logits.square().sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, **CLOSE)


def test_names_stay_and_a_copy_is_its_own():
    base, model = encoder(), recurrent()
    names = [name for name in model.state_dict() if not name.startswith("memory.")]
    assert names == list(base.state_dict())
    twin, ids = copy.deepcopy(model), random_ids(1, 12)
    expected = model(ids).logits
    with torch.no_grad():
        _ = twin.memory.layers[0].first_memory.normal_()
    assert torch.equal(model(ids).logits, expected)
    assert not torch.allclose(twin(ids).logits, expected)


def test_segments_fill_the_positions_unless_told_otherwise():
    model = attach_encoder(encoder(), RMTConfig(num_memory_tokens=M), SPECIAL)
    assert model.recurrence.segment_len == 16 - M - 3
    assert model(random_ids(1, 40)).logits.isfinite().all()
    published = BertConfig()
    assert published.max_position_embeddings - 10 - 3 == 499
    for segment_len in (0, 12):
        with pytest.raises(ConfigError, match="at most 11"):
            _ = attach_encoder(encoder(), RMTConfig(num_memory_tokens=M), SPECIAL, segment_len)


def test_what_is_no_classifying_encoder_is_refused():
    _ = torch.manual_seed(0)
    config = AutoConfig.for_model("llama", vocab_size=VOCAB, pad_token_id=0, **ROPE)
    for kind, said in (
        (AutoModelForCausalLM, "does not classify texts"),
        (AutoModelForSequenceClassification, "before a token only"),
    ):
        with pytest.raises(BackboneError, match=said):
            _ = examine_encoder(kind.from_config(config))
    with pytest.raises(BackboneError, match="already"):
        _ = attach_encoder(recurrent(), RMTConfig(), SPECIAL)


def test_empty_texts_and_unknown_options_are_refused():
    model, ids = recurrent(), random_ids(2, 4)
    with pytest.raises(DataError, match="empty"):
        _ = model(ids, attention_mask=torch.tensor([[1, 1, 1, 1], [0, 0, 0, 0]]))
    with pytest.raises(DataError, match="position_ids"):
        _ = model(ids, position_ids=ids)
    assert isinstance(model, RecurrentClassifier)


def test_special_tokens_come_from_a_tokenizer_or_are_missed():
    class Tokenizer:
        cls_token_id, sep_token_id, pad_token_id = 101, 102, 0

    assert SpecialTokens.of(Tokenizer()) == (101, 102, 0)
    Tokenizer.sep_token_id = None
    with pytest.raises(ConfigError, match="has no sep_token_id"):
        _ = SpecialTokens.of(Tokenizer())


@pytest.mark.parametrize("options", [{"bptt_depth": -1}, {"segment_len": 5.0}])
def test_a_refused_recurrence_leaves_the_encoder_as_it_was_and_takes_the_remedy(options):
    base, memory = encoder(), RMTConfig(num_memory_tokens=M)
    kind, names = type(base), set(vars(base))
    with pytest.raises(ConfigError, match=next(iter(options))):
        _ = attach_encoder(base, memory, SPECIAL, **({"segment_len": SEGMENT_LEN} | options))
    assert type(base) is kind
    assert set(vars(base)) == names
    assert not hasattr(base, "memory")
    model = attach_encoder(base, memory, SPECIAL, SEGMENT_LEN, 0)
    assert model(random_ids(1, 9)).logits.isfinite().all()
