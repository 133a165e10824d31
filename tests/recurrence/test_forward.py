"""`forward` and `read`: the loss over a whole text, which logits are kept, and what may be read."""

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import DynamicCache

from armt import ARMTConfig
from armt.backbones.huggingface import CACHE_NAMES
from armt.core.errors import BackboneError, ConfigError, DataError, StateError
from tiny import SEGMENT_LEN, VOCAB, assert_same_state, random_ids, recurrent

CLOSE = {"rtol": 1e-10, "atol": 1e-12}
NUM_TOKENS = 3 * SEGMENT_LEN + 2
LAST_LEN = 2


@pytest.fixture
def model():
    return recurrent(ARMTConfig(num_memory_tokens=2, d_mem=4))


class ToyTokenizer:
    """Each letter is a token."""

    def encode(self, text, /, *, add_special_tokens=True):
        ids = [3 + ord(letter) % (VOCAB - 3) for letter in text]
        return [1, *ids] if add_special_tokens else ids


def full_loss(logits, labels):
    return functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


def some_labels(ids, share=0.5):
    labels = ids.masked_fill(torch.rand(ids.shape) > share, -100)
    labels[:, SEGMENT_LEN] = ids[:, SEGMENT_LEN]  # the first token after an edge
    return labels


@pytest.mark.parametrize("share", [1.0, 0.5, 0.05])
@pytest.mark.parametrize("num_tokens", [2 * SEGMENT_LEN, NUM_TOKENS, SEGMENT_LEN + 1])
def test_the_loss_is_that_of_the_whole_text(model, share, num_tokens):
    ids = random_ids(3, num_tokens)
    labels = some_labels(ids, share)
    output, logits = model(ids, labels=labels), model(ids).logits
    torch.testing.assert_close(output.loss, full_loss(logits, labels), **CLOSE)
    assert output.num_labels == (labels[:, 1:] != -100).sum()
    assert output.num_correct == (logits[:, :-1].argmax(-1) == labels[:, 1:]).sum()


def test_its_gradient_is_that_of_the_whole_text(model):
    ids = random_ids(2, NUM_TOKENS)
    labels = some_labels(ids)
    weights = list(model.parameters())
    found = torch.autograd.grad(model(ids, labels=labels).loss, weights)
    expected = torch.autograd.grad(full_loss(model(ids).logits, labels), weights)
    for left, right in zip(found, expected, strict=True):
        torch.testing.assert_close(left, right, **CLOSE)


def test_correct_tokens_are_counted(model):
    ids = random_ids(1, 9)
    for place in range(1, 9):
        ids[:, place] = model(ids[:, :place]).logits[:, -1].argmax(-1)
    output = model(ids, labels=ids)
    assert output.num_correct == output.num_labels == 8


@pytest.mark.parametrize("divisor", [4, torch.tensor(4)])
def test_the_loss_may_be_divided_by_the_labels_of_several_batches(model, divisor):
    ids = random_ids(2, NUM_TOKENS)
    mean = model(ids, labels=ids).loss
    found = model(ids, labels=ids, num_items_in_batch=divisor).loss
    torch.testing.assert_close(found, mean * 2 * (NUM_TOKENS - 1) / 4, **CLOSE)


def test_a_text_without_labels_has_the_loss_zero(model):
    ids = random_ids(2, NUM_TOKENS)
    loss = model(ids, labels=torch.full_like(ids, -100)).loss
    assert loss == 0
    loss.backward()


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_loss_of_padded_rows_is_that_of_the_rows(model, side):
    lengths, width = [NUM_TOKENS, 3, 2 * SEGMENT_LEN], NUM_TOKENS
    rows = [random_ids(1, length, seed=length) for length in lengths]
    ids, mask = torch.zeros(3, width, dtype=torch.long), torch.zeros(3, width, dtype=torch.long)
    for index, row in enumerate(rows):
        place = slice(width - lengths[index], width) if side == "left" else slice(lengths[index])
        ids[index, place], mask[index, place] = row[0], 1
    labels = ids.masked_fill(mask == 0, -100)
    output = model(ids, attention_mask=mask, labels=labels)
    total = sum(model(row, labels=row).loss * (row.shape[1] - 1) for row in rows)
    torch.testing.assert_close(output.loss, total / (sum(lengths) - 3), **CLOSE)
    assert output.num_labels == sum(lengths) - 3


def test_with_labels_only_the_last_segments_logits_are_kept(model):
    ids = random_ids(2, NUM_TOKENS)
    full = model(ids).logits
    assert full.shape == (2, NUM_TOKENS, VOCAB)
    kept = model(ids, labels=ids).logits
    torch.testing.assert_close(kept, full[:, -LAST_LEN:], rtol=1e-12, atol=1e-13)
    whole = model(ids[:, : 2 * SEGMENT_LEN], labels=ids[:, : 2 * SEGMENT_LEN]).logits
    assert whole.shape == (2, SEGMENT_LEN, VOCAB)


@pytest.mark.parametrize("has_labels", [False, True])
@pytest.mark.parametrize("num_kept", [0, 1, 3, 7, NUM_TOKENS, 99])
@pytest.mark.parametrize("num_read", [0, 3])
@torch.no_grad()
def test_logits_are_kept_as_asked(model, num_kept, num_read, has_labels):
    ids, state = random_ids(2, NUM_TOKENS), model.read(random_ids(2, num_read), model.init_state(2))
    labels = some_labels(ids) if has_labels else None
    full = model(ids, state=state).logits
    kept = model(ids, state=state, labels=labels, logits_to_keep=num_kept).logits
    torch.testing.assert_close(kept, full[:, -num_kept:], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("num_kept", [0, 1, 3, 9])
@pytest.mark.parametrize("lengths", [[9, 3, 4], [6, 6, 6], [1, 0, 9]])
@pytest.mark.parametrize("side", ["left", "right", "either"])
@torch.no_grad()
def test_kept_logits_stand_at_the_callers_columns(model, num_kept, lengths, side):
    width = 9
    mask = torch.zeros(3, width, dtype=torch.long)
    for index, length in enumerate(lengths):
        is_left = side == "left" or (side == "either" and index == 0)
        mask[index, slice(width - length, width) if is_left else slice(length)] = 1
    ids = random_ids(3, width)
    state = model.read(random_ids(3, 2, seed=5))
    kept = model(ids, attention_mask=mask, state=state, logits_to_keep=num_kept).logits
    expected = torch.zeros(3, width, VOCAB, dtype=torch.float64)
    for index, length in enumerate(lengths):
        if length:
            is_text = mask[index].bool()
            row = state.select_rows(torch.tensor([index]))
            expected[index, is_text] = model(ids[index : index + 1, is_text], state=row).logits[0]
    if kept is None:  # nothing but padding stands there
        kept = torch.zeros_like(expected[:, -num_kept:])
    torch.testing.assert_close(kept, expected[:, -num_kept:], **CLOSE)


def test_labels_hold_over_an_edge_to_a_carried_state(model):
    ids = random_ids(2, NUM_TOKENS)
    state = model.read(ids[:, :6])
    found = model(ids[:, 6:], state=state, labels=ids[:, 6:])
    labels = ids.clone()
    labels[:, :6] = -100
    # The token before the first new one is pending, so that the first new one has its loss too.
    torch.testing.assert_close(found.loss, model(ids, labels=labels).loss, **CLOSE)
    assert found.num_labels == 2 * (NUM_TOKENS - 6)


def test_an_empty_input_changes_nothing(model):
    state = model.read(random_ids(2, 6))
    output = model(torch.zeros(2, 0, dtype=torch.long), state=state)
    assert_same_state(output.state, state)
    assert output.logits is None or output.logits.shape[1] == 0
    fresh = model(torch.zeros(2, 0, dtype=torch.long))
    assert_same_state(fresh.state, model.init_state(2))


@pytest.mark.parametrize("num_tokens", [1, SEGMENT_LEN - 1])
def test_a_short_text_stays_pending(model, num_tokens):
    ids = random_ids(2, num_tokens)
    output = model(ids)
    assert output.logits.shape == (2, num_tokens, VOCAB)
    assert torch.equal(output.state.pending, ids)
    assert output.state.num_tokens.tolist() == [num_tokens] * 2
    assert all(layer.association.abs().sum() == 0 for layer in output.state.layers)


def test_the_mask_of_all_ones_changes_nothing(model):
    ids = random_ids(2, NUM_TOKENS)
    masked = model(ids, attention_mask=torch.ones_like(ids))
    torch.testing.assert_close(masked.logits, model(ids).logits, rtol=0, atol=0)
    assert_same_state(masked.state, model(ids).state)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "input_ids"),
        ({"input_ids": torch.zeros(4, dtype=torch.long)}, r"\(4,\)"),
        ({"input_ids": random_ids(2, 4), "attention_mask": torch.ones(2, 5)}, r"\(2, 5\)"),
        ({"input_ids": random_ids(2, 4), "logits_to_keep": -1}, "-1"),
    ],
)
def test_wrong_inputs_are_told(model, options, said):
    with pytest.raises(DataError, match=said):
        _ = model(**options)


EMBEDDINGS = torch.zeros(2, 4, 16, dtype=torch.float64)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"inputs_embeds": EMBEDDINGS}, "not embeddings"),
        ({"output_hidden_states": True}, "output_hidden_states"),
        ({"label_weight": 1.0, "cu_seq_lens_q": [0]}, "cu_seq_lens_q, label_weight"),
        *(({name: DynamicCache()}, "from a DynamicCache. Give `state=`") for name in CACHE_NAMES),
    ],
)
def test_nothing_that_is_asked_for_is_left_out_silently(model, options, said):
    with pytest.raises(DataError, match=said):
        _ = model(random_ids(2, 4), **options)


def test_options_that_ask_for_nothing_are_taken(model):
    ids = random_ids(2, NUM_TOKENS)
    options = {"inputs_embeds": None, "output_attentions": False, "return_dict": True}
    found = model(ids, position_ids=torch.zeros_like(ids), use_cache=True, **options)
    torch.testing.assert_close(found.logits, model(ids).logits, rtol=0, atol=0)


@pytest.mark.parametrize("num_carried", [0, 1, 3])
def test_the_state_may_be_taken_before_the_end(model, num_carried):
    ids, carry_len = random_ids(2, NUM_TOKENS), num_carried * SEGMENT_LEN
    start = model.read(random_ids(2, SEGMENT_LEN, seed=5))
    whole, found = model(ids, state=start), model(ids, state=start, carry_len=carry_len)
    assert_same_state(found.state, model(ids[:, :carry_len], state=start).state)
    torch.testing.assert_close(found.logits, whole.logits, rtol=0, atol=0)


@pytest.mark.parametrize("carry_len", [-SEGMENT_LEN, SEGMENT_LEN - 1, 4 * SEGMENT_LEN])
def test_the_state_is_taken_after_whole_segments(model, carry_len):
    with pytest.raises(DataError, match=f"Got {carry_len}"):
        _ = model(random_ids(2, NUM_TOKENS), carry_len=carry_len)


def test_the_state_is_not_taken_amid_padding(model):
    ids = random_ids(2, NUM_TOKENS)
    with pytest.raises(DataError, match="without padding"):
        _ = model(ids, attention_mask=torch.ones_like(ids), carry_len=SEGMENT_LEN)


def test_a_known_start_of_the_labels_changes_nothing(model):
    ids = random_ids(2, NUM_TOKENS)
    labels = ids.masked_fill(torch.arange(NUM_TOKENS) < SEGMENT_LEN + 1, -100)
    plain = model(ids, labels=labels, logits_to_keep=1)
    told = model(ids, labels=labels, logits_to_keep=1, label_start=SEGMENT_LEN + 1)
    torch.testing.assert_close(told.loss, plain.loss, **CLOSE)
    assert told.num_labels == plain.num_labels


def test_labels_count_by_their_weights(model):
    ids = random_ids(2, NUM_TOKENS)
    weights = torch.rand(ids.shape, dtype=torch.float64)
    logits = model(ids).logits[:, :-1].flatten(0, 1)
    losses = functional.cross_entropy(logits, ids[:, 1:].flatten(), reduction="none")
    expected = (losses * weights[:, 1:].flatten()).sum() / weights[:, 1:].sum()
    torch.testing.assert_close(model(ids, labels=ids, loss_weights=weights).loss, expected)


def test_rows_of_input_and_state_must_fit(model):
    with pytest.raises(DataError, match="2 rows, the state 3"):
        _ = model(random_ids(2, 4), state=model.init_state(3))


TEXT = "the memory of a reader"
TOKENS = ToyTokenizer().encode(TEXT, add_special_tokens=False)
SOURCES = {
    "text": lambda: TEXT,
    "pieces of text": lambda: iter([TEXT[:7], "", TEXT[7:]]),
    "list": lambda: TOKENS,
    "list of numpy numbers": lambda: [np.int64(token) for token in TOKENS],
    "array": lambda: np.array(TOKENS),
    "array of small numbers": lambda: np.array(TOKENS, dtype=np.uint16),
    "array with a row": lambda: np.array([TOKENS]),
    "tensor": lambda: torch.tensor(TOKENS),
    "tensor with a row": lambda: torch.tensor([TOKENS], dtype=torch.int32),
    "pieces of arrays": lambda: (np.array(part) for part in (TOKENS[:9], TOKENS[9:])),
    "pieces of lists": lambda: [TOKENS[:5], [], TOKENS[5:]],
    "mixed pieces": lambda: iter([TEXT[:3], TOKENS[3:5], torch.tensor([TOKENS[5:]])]),
}


@pytest.mark.parametrize("name", SOURCES)
def test_every_kind_of_source_is_read_alike(model, name):
    expected = model(torch.tensor([TOKENS])).state
    found = model.read(SOURCES[name](), tokenizer=ToyTokenizer())
    assert_same_state(found, expected, **CLOSE)
    assert not any(t.requires_grad for layer in found.layers for t in layer.tensors().values())


def test_a_tokenizer_may_return_a_record_of_ids(model):
    class Record:
        ids = TOKENS

    class Tokenizer:
        def encode(self, text, /, *, add_special_tokens=True):
            return Record()

    found = model.read(TEXT, tokenizer=Tokenizer())
    assert_same_state(found, model.read(TOKENS))


@pytest.mark.parametrize("source", ["", [], iter([]), np.array([], dtype=np.int64), iter(["", []])])
def test_an_empty_text_changes_nothing(model, source):
    state = model.read(random_ids(1, 6))
    assert_same_state(model.read(source, state, tokenizer=ToyTokenizer()), state)


def test_nothing_read_is_the_fresh_state(model):
    assert_same_state(model.read([]), model.init_state(1))


def test_an_iterator_is_not_held(model):
    seen = []

    def pieces():
        for index in range(5):
            assert len(seen) == index
            yield [5] * SEGMENT_LEN

    after = model.read(pieces(), on_progress=seen.append)
    assert [progress.num_tokens for progress in seen] == [4, 8, 12, 16, 20]
    assert {progress.nbytes for progress in seen} == {after.nbytes}


def test_rows_are_read_together(model):
    ids = random_ids(3, NUM_TOKENS)
    assert_same_state(model.read(ids), model(ids).state, **CLOSE)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("text", "tokenizer"),
        (torch.randn(4), "float"),
        (torch.zeros(1, 1, 1, dtype=torch.long), r"\(1, 1, 1\)"),
        (iter([3, 4]), "Got 3"),
    ],
)
def test_sources_that_cannot_be_read_are_told(model, source, said):
    with pytest.raises(DataError, match=said):
        _ = model.read(source)


def test_a_memory_that_is_not_finite_is_told(model):
    torch.nn.init.constant_(model.memory.layers[1].to_value.weight, float("nan"))
    with pytest.raises(StateError, match="layer 1, after 8 tokens, field 'association'"):
        _ = model.read(random_ids(1, 8))


def test_reentrant_checkpointing_is_refused(model):
    with pytest.raises(ConfigError, match="use_reentrant"):
        model.gradient_checkpointing_enable({"use_reentrant": True})


def test_a_copy_of_data_parallel_is_refused(model):
    ids = random_ids(2, 9)
    with pytest.raises(BackboneError, match=r"DistributedDataParallel.*accelerate"):
        _ = model._replicate_for_data_parallel()(ids)
    assert model(ids).logits.isfinite().all()


@pytest.mark.parametrize("name", ["labels", "loss_weights"])
def test_labels_of_another_shape_are_refused(name):
    model, ids = recurrent(ARMTConfig(num_memory_tokens=2, d_mem=4)), random_ids(2, 6)
    given = {"labels": ids, "loss_weights": torch.ones(2, 6)}
    given[name] = given[name][:, 1:]
    with pytest.raises(DataError, match=rf"`{name}` stand at the tokens.*\(2, 6\).*\(2, 5\)"):
        _ = model(ids, **given)
