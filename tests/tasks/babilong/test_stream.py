from collections import Counter
from itertools import pairwise, product

import numpy as np
import pytest
import torch

from armt.core.errors import ConfigError
from armt.tasks.babi.world import MOVE_VERBS, PEOPLE, PLACES
from armt.tasks.babilong import Book, FactStreamConfig, build_store
from armt.tasks.babilong.corpus import is_test_book
from armt.tasks.contract import NO_LABEL
from tasks.babilong.streams import batches, row_ids
from tasks.rule_reader import ANSWERED, ASKED, read_text

CARRIED = {
    "batch_size": 6,
    "segment_len": 64,
    "carry_len": 256,
    "tail_len": (40, 90),
    "num_questions": 3,
    "gap_len": (16, 600),
    "epoch_steps": 6,
}
SHORT = {"batch_size": 6, "tail_len": (40, 200), "gap_len": (16, 100)}
DENSE = {"batch_size": 12, "is_dense": True, "sequence_len": 300, "gap_len": (8, 64)}


def row_texts(encoder, run, row):
    """Yields for each batch all that a reader of one row has read: carried text, then the batch."""
    return (encoder.decode(carried + ids) for carried, ids in row_ids(run, row))


@pytest.mark.parametrize(
    ("options", "num_asked"),
    [
        (CARRIED, 3),
        (SHORT, 2),
        ({**CARRIED, "carry_len": 64, "border_share": 0.8}, 3),
        ({**CARRIED, "carry_len": 64, "confuser_border_share": 0.8}, 3),
        ({**CARRIED, "carry_len": 64, "confuser_border_share": 0.8, "half_fact_share": 0.7}, 3),
    ],
)
def test_every_answer_follows_from_what_was_read(store, encoder, options, num_asked):
    run = batches(store, encoder, options, 25)
    for row in range(6):
        for text in row_texts(encoder, run, row):
            reading = read_text(text)
            assert reading.wrong == []
            assert reading.right == num_asked
            assert len(ASKED.findall(text)) == num_asked
            assert len(reading.facts) > 0


def test_dense_rows_ask_all_along(store, encoder):
    right = 0
    for batch in batches(store, encoder, DENSE, 10):
        assert batch.input_ids.shape == (12, 300)
        for text in (encoder.decode(ids.tolist()) for ids in batch.input_ids):
            reading = read_text(text)
            assert reading.wrong == []
            right += reading.right
    assert right > 120


@pytest.mark.parametrize("options", [CARRIED, SHORT, DENSE])
def test_labels_are_answers_and_their_ends(store, encoder, options):
    for batch in batches(store, encoder, options, 4):
        bears_loss = batch.labels != NO_LABEL
        assert torch.equal(batch.labels[bears_loss], batch.input_ids[bears_loss])
        for ids, labels in zip(batch.input_ids, batch.labels, strict=True):
            answers = [match[2] for match in ANSWERED.finditer(encoder.decode(ids.tolist()))]
            labelled = encoder.decode(labels[labels != NO_LABEL].tolist())
            # the last question of a dense row may be cut by the row's end
            assert labelled.startswith("".join(f"{answer}<|endoftext|>" for answer in answers))
            assert labelled.count("<|endoftext|>") == len(answers)


def facts_in(encoder, tokens):
    """The places [start, end) of all facts in a row of tokens, by looking for each everywhere."""
    forms = [
        encoder.encode(f" {person} {verb} to the {place}.")
        for person, verb, place in product(PEOPLE, MOVE_VERBS, PLACES)
    ]
    return [
        (start, start + len(form))
        for form in forms
        for start in range(len(tokens) - len(form) + 1)
        if tokens[start : start + len(form)] == form
    ]


@pytest.mark.parametrize(
    "changes",
    [{}, {"confuser_gap": 60}, {"border_share": 0.5}, {"confuser_border_share": 0.5}],
    ids=["plain", "confusers", "cut", "cut confusers"],
)
def test_a_row_is_quiet_where_no_fact_touches_its_carried_text(store, encoder, changes):
    options = {**CARRIED, "segment_len": 16, "carry_len": 16, "gap_len": (8, 100)}
    run = batches(store, encoder, {**options, **changes}, 60)
    counts = Counter()
    for row in range(6):
        carried: list[int] = []
        for batch in run:
            carried = [] if batch.resets[row] else carried
            ids = batch.input_ids[row].tolist()
            begin, end = len(carried), len(carried) + 16
            facts = facts_in(encoder, carried + ids)
            touching = [(first, last) for first, last in facts if first < end and last > begin]
            assert bool(batch.is_quiet[row]) == (not touching)
            is_cut = all(first < begin or last > end for first, last in touching)
            counts["quiet" if not touching else "cut" if is_cut else "told"] += 1
            counts["just before"] += begin in {last for _, last in facts}
            counts["just after"] += end in {first for first, _ in facts}
            carried += ids[:16]
    assert set(counts) == {"quiet", "cut", "told", "just before", "just after"}
    assert min(counts.values()) > 2, counts


def share_cut(store, encoder, border_share):
    """Which share of the facts in carried texts stands in two segments."""
    options = {**CARRIED, "gap_len": (40, 300), "epoch_steps": 1, "border_share": border_share}
    facts = [
        fact
        for batch in batches(store, encoder, options, 6)
        for row in batch.input_ids[:, : CARRIED["carry_len"] + 10].tolist()
        for fact in facts_in(encoder, row)
    ]
    cut = [first for first, last in facts if first // 64 < (last - 1) // 64]
    return len(cut) / len(facts)


def test_borders_cut_as_many_facts_as_asked(store, encoder):
    by_chance, half, every = (share_cut(store, encoder, share) for share in (0.0, 0.5, 1.0))
    assert by_chance < 0.2
    # facts that would meet on a border follow each other, so not all of them are cut
    assert by_chance + 0.1 < half < every - 0.1


def test_where_nothing_is_carried_no_row_is_called_quiet(store, encoder):
    for options in (SHORT, DENSE):
        assert batches(store, encoder, options, 1)[0].is_quiet is None


@pytest.mark.parametrize("options", [CARRIED, DENSE])
def test_text_may_bear_loss_too(store, encoder, options):
    plain, weighted = (
        batches(store, encoder, {**options, "text_weight": weight}, 1)[0] for weight in (0.0, 0.25)
    )
    assert plain.label_weights is None
    assert torch.equal(weighted.labels, weighted.input_ids)
    assert torch.equal(plain.input_ids, weighted.input_ids)
    expected = torch.where(plain.labels == NO_LABEL, 0.25, 1.0)
    assert torch.equal(weighted.label_weights, expected)


@pytest.mark.parametrize("options", [CARRIED, SHORT, DENSE])
def test_seeking_yields_the_same_batches(store, encoder, options):
    run = batches(store, encoder, options, 16)
    for start in (0, 1, 5, 13):
        for batch, again in zip(
            run[start:], batches(store, encoder, options, 3, start=start), strict=False
        ):
            assert torch.equal(batch.input_ids, again.input_ids)
            assert torch.equal(batch.labels, again.labels)
            assert (batch.resets is None) == (again.resets is None)
            if batch.resets is not None:
                assert torch.equal(batch.resets, again.resets)
            if batch.is_quiet is not None:
                assert torch.equal(batch.is_quiet, again.is_quiet)
    other = batches(store, encoder, options, 1, seed=1)[0]
    assert other.input_ids.shape != run[0].input_ids.shape or not torch.equal(
        other.input_ids, run[0].input_ids
    )


def test_carried_text_holds_no_question_and_goes_on(store, encoder):
    run = batches(store, encoder, CARRIED, 20)
    going_on = 0
    for before, after in pairwise(run):
        assert before.carry_len == 256
        assert "GEN" not in encoder.decode(before.input_ids[:, :256].flatten().tolist())
        for row in range(6):
            preview = before.input_ids[row, 256:272]
            is_same = torch.equal(preview[:4], after.input_ids[row, :4])
            assert is_same != bool(after.resets[row])
            going_on += is_same
    assert going_on > 30


def test_epochs_differ_in_length(store, encoder):
    run = batches(store, encoder, CARRIED, 60)
    resets = torch.stack([batch.resets for batch in run])
    assert resets[0].all()
    lengths = {
        int(length) for row in resets.T for length in torch.diff(torch.nonzero(row).flatten())
    }
    assert lengths == {1, 2, 3, 4, 5, 6}


def test_short_samples_always_begin_anew(store, encoder):
    assert all(batch.resets.all() for batch in batches(store, encoder, SHORT, 5))


def test_a_fixed_tail_gives_a_fixed_shape(store, encoder):
    options = {**CARRIED, "tail_len": (50, 50)}
    shapes = {tuple(batch.input_ids.shape) for batch in batches(store, encoder, options, 10)}
    assert len(shapes) == 1


def test_persons_asked_differ_as_far_as_known(store, encoder):
    options = {**CARRIED, "num_questions": 4}
    run = batches(store, encoder, options, 20)
    for row in range(6):
        for text in row_texts(encoder, run, row):
            known = {person for person, _ in read_text(text).facts}
            asked = ASKED.findall(text)
            assert len(asked) == 4
            assert set(asked) == known


def test_rows_are_dense_and_sparse(store, encoder):
    options = {**CARRIED, "batch_size": 40, "epoch_steps": 1, "carry_len": 1024}
    batch = batches(store, encoder, options, 1)[0]
    counts = [len(read_text(encoder.decode(ids.tolist())).facts) for ids in batch.input_ids]
    assert min(counts) < 6
    assert max(counts) > 20


def test_people_never_move_to_where_they_are(store, encoder):
    run = batches(store, encoder, {**CARRIED, "gap_len": (8, 16)}, 8)
    for row in range(6):
        *_, text = row_texts(encoder, run, row)
        where = {}
        for person, place in read_text(text).facts:
            assert where.get(person) != place
            where[person] = place


@pytest.mark.parametrize("num_sentences", [1, 9])
@pytest.mark.parametrize("options", [CARRIED, SHORT, DENSE])
def test_a_stream_reads_its_split_only(encoder, options, num_sentences):
    names = [f"book {number}" for number in range(20)]
    word = {name: "seldom" if is_test_book(name) else "always" for name in names}
    text = "It is {} so that one sees all of it. " * num_sentences
    books = [Book(name, text.replace("{}", word[name])) for name in names]
    store = build_store(books, encoder)
    for split, own, other in (("train", "always", "seldom"), ("test", "seldom", "always")):
        for batch in batches(store.only(split), encoder, options, 5):
            text = encoder.decode(batch.input_ids.flatten().tolist())
            assert own in text
            assert other not in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"carry_len": 100, "segment_len": 64}, r"multiple of `segment_len` \(64\), or 0. Got 100"),
        ({"epoch_steps": 4}, "set `carry_len`"),
        ({"is_dense": True, "carry_len": 128}, "not carried on"),
        ({"gap_len": (50, 10)}, r"`gap_len` must be .* Got \(50, 10\)"),
        ({"tail_len": (-1, 10)}, "`tail_len` must be .* from 0 up. Got"),
        ({"text_weight": 2.0}, r"\[0, 1\]. Got 2.0"),
        ({"carry_len": 128, "border_share": -0.1}, r"`border_share` must lie in \[0, 1\]"),
        ({"border_share": 0.1}, "no border where nothing is carried"),
        ({"confuser_border_share": 0.1}, "or `confuser_border_share` to 0. Got 0.1"),
        ({"num_questions": 0}, "at least 1. Got 0"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        _ = FactStreamConfig(**options)


def test_a_text_must_hold_two_facts(store, encoder):
    with pytest.raises(ConfigError, match=r"two facts of the longest\. Got 0 and 3"):
        _ = FactStreamConfig(**{**SHORT, "tail_len": (3, 90)}).build(store, encoder)


def test_questions_stand_right_behind_the_text(store, encoder):
    options = {**CARRIED, "tail_len": (0, 40), "num_questions": 3}
    first = encoder.encode("Where is Mary")[:2]
    starts = set()
    for batch in batches(store, encoder, options, 24):
        assert (batch.labels[:, : batch.label_start] == NO_LABEL).all()
        for ids, labels in zip(batch.input_ids, batch.labels, strict=True):
            end = int((labels != NO_LABEL).nonzero()[0])
            questions = ids[batch.carry_len : end].tolist()
            starts.add(min(k for k in range(len(questions)) if questions[k : k + 2] == first))
    assert min(starts) == 0  # the first of a segment's tokens
    assert max(starts) > 30


def test_tokens_are_ready_for_an_embedding(store, encoder):
    for options in (CARRIED, SHORT, DENSE):
        batch = batches(store, encoder, options, 1)[0]
        assert batch.input_ids.dtype == batch.labels.dtype == torch.int64
        assert 0 <= int(batch.input_ids.min()) <= int(batch.input_ids.max()) < encoder.vocab_size
    assert np.isfinite(batch.input_ids.numpy()).all()
