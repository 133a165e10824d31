import tracemalloc

import numpy as np
import pytest

from armt.core.errors import ConfigError, DataError, UnknownNameError
from armt.tasks.babi.format import Question, read_questions
from armt.tasks.babilong import BabilongTask, cached_store, folder_books
from armt.tasks.babilong.sample import PIECE_LEN
from tasks.rule_reader import FACT, latest_place


@pytest.fixture
def task(store, encoder):
    return BabilongTask(store.only("test"), encoder)


def context_of(sample):
    return np.concatenate(list(sample.context()))


def facts_in(text):
    return [match[0] for match in FACT.finditer(text)]


@pytest.mark.parametrize("length", [200, "1k", "4k", 12_345, "64k"])
@pytest.mark.parametrize("index", [0, 1, 7])
def test_a_context_is_exactly_as_long_as_asked(task, length, index):
    sample = task.sample(length, index)
    assert len(context_of(sample)) == sample.context_len == sample.length


@pytest.mark.parametrize("length", [0, 20])
def test_facts_beyond_the_budget_stand_alone(task, encoder, length):
    sample = task.sample(length, 4)
    context = context_of(sample)
    assert encoder.decode(context) == "".join(" " + fact for fact in sample.metadata["facts"])
    assert len(context) == sample.context_len > length
    assert sample.length == length


@pytest.mark.parametrize("index", range(12))
def test_facts_are_found_in_order_and_answer_the_question(task, encoder, index):
    sample = task.sample("4k", index)
    facts = facts_in(encoder.decode(context_of(sample)))
    assert facts == sample.metadata["facts"]
    question = sample.metadata["question"]
    answer, supporting = latest_place(facts, question)
    assert sample.answer == answer
    assert sample.metadata["supporting"] == [supporting]
    assert encoder.decode(sample.question_ids) == question + "GEN"
    assert sample.question_ids[-1] == encoder.gen_id
    assert encoder.decode(sample.answer_ids[:-1]) == answer
    assert sample.answer_ids[-1] == encoder.end_id


def test_facts_stand_where_the_metadata_says_and_at_sentence_gaps(task, encoder):
    sample = task.sample("2k", 9)
    context = context_of(sample)
    starts = sample.metadata["fact_starts"]
    pieces = np.split(context, starts)
    for fact, start in zip(sample.metadata["facts"], starts, strict=True):
        ids = encoder.encode(" " + fact)
        assert context[start : start + len(ids)].tolist() == ids
    ends = {piece.tolist()[-1] for piece in pieces[:-1] if len(piece)}
    assert all(encoder.decode([end]).strip()[-1] in ".!?:)\"'s" for end in ends), ends


def test_a_context_can_be_read_again(task):
    sample = task.sample("8k", 2)
    assert np.array_equal(context_of(sample), context_of(sample))


def test_a_seed_is_a_sample(store, encoder):
    one, two, other = (
        context_of(BabilongTask(store, encoder, seed=seed).sample("1k", 3)) for seed in (5, 5, 6)
    )
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_an_index_asks_the_same_at_every_length(task):
    short, long = task.sample("0k", 8), task.sample("16k", 8)
    assert short.metadata["facts"] == long.metadata["facts"]
    assert np.array_equal(short.question_ids, long.question_ids)
    assert not np.array_equal(context_of(task.sample("1k", 8))[:200], context_of(long)[:200])


def test_questions_differ_in_their_number_of_facts(task):
    counts = {len(task.question(index).facts) for index in range(10)}
    assert counts == {2, 4, 6, 8, 10}


def test_facts_fall_into_every_part_of_the_text(store, encoder):
    task = BabilongTask(store, encoder)
    starts = np.concatenate(
        [task.sample("2k", index).metadata["fact_starts"] for index in range(150)]
    )
    shares = np.histogram(starts, bins=4, range=(0, 2000))[0] / len(starts)
    assert np.abs(shares - 0.25).max() < 0.06


def test_given_questions_are_used(store, encoder):
    given = Question(
        facts=("Mary went to the park.", "Bill slept."),
        fact_numbers=(1, 3),
        question="Who slept?",
        answer="Bill",
        supporting=(3,),
    )
    task = BabilongTask(store, encoder, task="own", questions=[given])
    sample = task.sample("1k", 0)
    text = encoder.decode(context_of(sample))
    assert text.index(" Mary went to the park.") < text.index(" Bill slept.")
    assert (sample.task, sample.answer) == ("own", "Bill")
    assert sample.metadata["supporting"] == [1]
    with pytest.raises(DataError, match="no question 1: 1 are given"):
        _ = task.sample("1k", 1)


def test_what_cannot_be_made_is_told(store, encoder, task):
    with pytest.raises(UnknownNameError, match=r"No generator for the task 'qa99'. Known: qa1"):
        _ = BabilongTask(store, encoder, task="qa99")
    with pytest.raises(DataError, match="`questions` is empty"):
        _ = BabilongTask(store, encoder, questions=[])
    with pytest.raises(ConfigError, match="Got 'long'"):
        _ = task.sample("long", 0)


def test_two_million_tokens_take_no_memory(task):
    tracemalloc.start()
    sample = task.sample("2M", 0)
    total, longest = 0, 0
    for piece in sample.context():
        total += len(piece)
        longest = max(longest, len(piece))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 2_000_000
    assert longest <= PIECE_LEN
    assert peak < 20e6
    assert sample.metadata["repetition"] > 1


def test_real_questions_in_real_books(shared_data, encoder, tmp_path):
    path = shared_data / "babi" / "en" / "qa2_two-supporting-facts_train.txt"
    books = [book for book in folder_books(shared_data / "books") if "Lee_" in book.name]
    store = cached_store(books, encoder, tmp_path)
    questions = read_questions(path)
    task = BabilongTask(store, encoder, task="qa2", questions=questions)
    for index in (0, 500, 999):
        sample = task.sample("16k", index)
        text = encoder.decode(context_of(sample))
        assert sample.context_len == len(context_of(sample)) == 16_000
        found = [text.find(" " + fact) for fact in questions[index].facts]
        assert -1 not in found
        assert sample.answer == questions[index].answer
