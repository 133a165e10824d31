import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from armt.core.errors import ConfigError, DataError, UnknownNameError
from armt.tasks.babi.format import Question, read_questions
from armt.tasks.babilong import (
    BabilongTask,
    BabilongTaskConfig,
    Book,
    Placement,
    build_store,
    cached_store,
    folder_books,
    parse_placement,
)
from armt.tasks.babilong.layout import PIECE_LEN
from tasks.rule_reader import FACT, latest_place

EXACT = BabilongTaskConfig(reserve_len=0)
GIVEN = Question(
    facts=("Mary went to the park.", "Bill slept.", "Mary woke."),
    fact_numbers=(1, 3, 4),
    question="Who slept?",
    answer="Bill",
    supporting=(3,),
)


@pytest.fixture(scope="module")
def test_store(store):
    return store.only("test")


@pytest.fixture(scope="module")
def task(test_store, encoder):
    return EXACT.build(test_store, encoder)


def context_of(sample):
    return np.concatenate(list(sample.context()))


def text_of(sample):
    return "".join(sample.text())


def facts_in(text):
    return [match[0] for match in FACT.finditer(text)]


def facts_of(sample):
    return [fact.text for fact in sample.facts]


@pytest.mark.parametrize("length", [200, "1k", "4k", 12_345, "64k"])
@pytest.mark.parametrize("index", [0, 1, 7])
def test_a_context_is_exactly_as_long_as_asked(task, length, index):
    sample = task.sample(length, index)
    assert len(context_of(sample)) == sample.context_len == sample.length


@pytest.mark.parametrize(("length", "context_len"), [("1k", 700), (1000, 700), ("16k", 15_700)])
def test_a_length_counts_the_reserve_for_the_prompt(test_store, encoder, length, context_len):
    sample = BabilongTask(test_store, encoder).sample(length, 3)
    assert sample.context_len == len(context_of(sample)) == context_len
    assert sample.length == context_len + 300
    assert sample.metadata["budget"] == context_len


def test_a_length_within_the_reserve_is_refused(test_store, encoder):
    task = BabilongTask(test_store, encoder)
    with pytest.raises(ConfigError, match="A length of 300 leaves nothing after the reserve"):
        _ = task.sample(300, 0)


@pytest.mark.parametrize("length", [0, "0k"])
def test_at_length_0_the_facts_stand_alone(test_store, encoder, length):
    sample = BabilongTask(test_store, encoder).sample(length, 4)
    context = context_of(sample)
    assert encoder.decode(context) == "".join(" " + fact for fact in facts_of(sample))
    assert len(context) == sample.context_len
    assert sample.length == 0


def test_facts_are_found_in_order_and_answer_the_question(task, encoder):
    for index in range(12):
        sample = task.sample("4k", index)
        facts = facts_in(text_of(sample))
        assert facts == facts_of(sample)
        answer, supporting = latest_place(facts, sample.question)
        assert sample.answer == answer
        assert [fact.is_supporting for fact in sample.facts].index(True) == supporting
        assert encoder.decode(sample.question_ids) == sample.question + "GEN"
        assert sample.question_ids[-1] == encoder.gen_id
        assert encoder.decode(sample.answer_ids[:-1]) == answer
        assert sample.answer_ids[-1] == encoder.end_id


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    budget=st.integers(200, 3000),
    index=st.integers(0, 10_000),
    name=st.sampled_from(["reference", "token_uniform", "depth:0.3", "clustered", "first", "last"]),
    question_at=st.sampled_from(["end", "both"]),
)
def test_facts_stand_where_they_are_said_to(task, encoder, budget, index, name, question_at):
    config = replace(EXACT, placement=parse_placement(name), question_at=question_at)
    sample = BabilongTask(task.store, encoder, config).sample(budget, index)
    context = context_of(sample)
    head = [] if question_at == "end" else encoder.encode(sample.question)
    assert len(context) == sample.context_len == budget + len(head)
    assert context[: len(head)].tolist() == head
    ends = [len(head)]
    for fact in sample.facts:
        ids = encoder.encode(" " + fact.text)
        assert context[fact.start : fact.start + fact.length].tolist() == ids
        assert fact.start >= ends[-1]
        ends.append(fact.start + fact.length)
    assert text_of(sample) == encoder.decode(context)


def test_facts_stand_between_sentences(task, encoder):
    sample = task.sample("2k", 9)
    pieces = np.split(context_of(sample), [fact.start for fact in sample.facts])
    ends = {piece.tolist()[-1] for piece in pieces[:-1] if len(piece)}
    assert all(encoder.decode([end]).strip()[-1] in ".!?:)\"'s" for end in ends), ends


def test_a_context_can_be_read_again(task):
    sample = task.sample("8k", 2)
    assert np.array_equal(context_of(sample), context_of(sample))
    assert text_of(sample) == text_of(sample)


def test_a_seed_and_a_split_are_samples_of_their_own(store, encoder):
    configs = [
        replace(EXACT, seed=5),
        replace(EXACT, seed=5),
        replace(EXACT, seed=6),
        replace(EXACT, seed=5, split="train"),
    ]
    one, two, *others = (
        context_of(BabilongTask(store, encoder, config).sample("1k", 3)) for config in configs
    )
    assert np.array_equal(one, two)
    assert not any(np.array_equal(one, other) for other in others)


def test_an_index_asks_the_same_at_every_length(task):
    short, long = task.sample("0k", 8), task.sample("16k", 8)
    assert facts_of(short) == facts_of(long)
    assert np.array_equal(short.question_ids, long.question_ids)
    assert not np.array_equal(context_of(task.sample("1k", 8))[:200], context_of(long)[:200])


def test_questions_differ_in_their_number_of_facts(task):
    counts = {len(task.question(index).facts) for index in range(10)}
    assert counts == {2, 4, 6, 8, 10}


def test_facts_fall_into_every_part_of_the_text(task):
    samples = [task.sample("2k", index) for index in range(150)]
    starts = np.asarray([fact.start for sample in samples for fact in sample.facts])
    shares = np.histogram(starts, bins=4, range=(0, 2000))[0] / len(starts)
    assert np.abs(shares - 0.25).max() < 0.06


def test_given_questions_are_used(store, encoder):
    config = replace(EXACT, task="own")
    task = BabilongTask(store, encoder, config, questions=[GIVEN])
    sample = task.sample("1k", 0)
    text = text_of(sample)
    assert text.index(" Mary went to the park.") < text.index(" Bill slept.")
    assert (sample.task, sample.answer, sample.question) == ("own", "Bill", "Who slept?")
    assert [fact.is_supporting for fact in sample.facts] == [False, True, False]
    with pytest.raises(DataError, match="no question 1: 1 are given"):
        _ = task.sample("1k", 1)


def test_stories_that_do_not_fit_do_not_exist(store, encoder):
    big = replace(GIVEN, facts=("Mary went to the park.",) * 90, fact_numbers=tuple(range(1, 91)))
    given = [big, GIVEN, GIVEN, big, GIVEN, GIVEN]
    task = BabilongTask(store, encoder, BabilongTaskConfig(task="own"), questions=given)
    assert task.indices("1k", 100) == [1, 2, 4, 5]
    assert task.indices("1k", 3) == [1, 2]
    assert task.indices("2k", 100) == task.indices("0k", 100) == [0, 1, 2, 3, 4, 5]
    with pytest.raises(DataError, match=r"90 facts, but a context of 700 tokens .* at most 86"):
        _ = task.sample("1k", 0)
    config = BabilongTaskConfig(task="own", reference_compat=True)
    assert BabilongTask(store, encoder, config, questions=given).indices("1k", 100) == [1, 2, 4]
    config = BabilongTaskConfig(task="own", has_fact_limit=False)
    task = BabilongTask(store, encoder, config, questions=[big])
    assert task.indices("1k", 100) == [0]
    sample = task.sample(500, 0)
    assert len(context_of(sample)) == sample.context_len == 200 + sample.metadata["num_excess"]
    assert text_of(sample) == " Mary went to the park." * 90
    assert sample.length == 500


def test_the_question_may_come_first_too(test_store, encoder, task):
    config = replace(EXACT, question_at="both")
    sample = config.build(test_store, encoder).sample("1k", 2)
    plain = task.sample("1k", 2)
    assert (sample.task, plain.task) == ("qa1@both", "qa1")
    assert text_of(sample) == plain.question + text_of(plain)
    assert np.array_equal(sample.question_ids, plain.question_ids)


def test_controls(store, encoder, task):
    config = replace(EXACT, task="own", facts="distractors")
    sample = BabilongTask(store, encoder, config, questions=[GIVEN]).sample("1k", 0)
    assert facts_of(sample) == ["Mary went to the park.", "Mary woke."]
    assert not any(fact.is_supporting for fact in sample.facts)
    assert sample.context_len == 1000
    shuffled = replace(EXACT, facts="shuffled").build(store, encoder)
    pairs = [(shuffled.sample("1k", index), task.sample("1k", index)) for index in range(8)]
    assert all(sorted(one.facts)[0].text in facts_of(other) for one, other in pairs)
    assert any(facts_of(one) != facts_of(other) for one, other in pairs)
    for one, other in pairs:
        support = {fact.text for fact in one.facts if fact.is_supporting}
        assert support == {fact.text for fact in other.facts if fact.is_supporting}


def test_a_background_may_be_without_lookalikes(encoder):
    plain = "The committee of the village met again in the long and cold winter evening. "
    fact_like = "Then at last Mary went slowly through the garden and into the kitchen again. "
    store = build_store([Book("book", (plain * 3 + fact_like) * 30)], encoder)
    config = replace(EXACT, task="own")
    texts = [
        text_of(BabilongTask(store, encoder, each, questions=[GIVEN]).sample("2k", 0))
        for each in (config, replace(config, has_lookalikes=False))
    ]
    assert ["through the garden" in text for text in texts] == [True, False]
    with pytest.raises(ConfigError, match="only `background='reference'` can"):
        _ = replace(config, has_lookalikes=False, background="sentences")


def test_a_background_may_begin_at_sentences(test_store, encoder, task):
    made = replace(EXACT, background="sentences").build(test_store, encoder)
    sample = made.sample("4k", 1)
    assert len(context_of(sample)) == 4000
    assert facts_of(sample) == facts_of(task.sample("4k", 1))
    assert not np.array_equal(context_of(sample), context_of(task.sample("4k", 1)))
    assert np.array_equal(context_of(sample), context_of(made.sample("4k", 1)))


def test_what_makes_another_task_is_in_its_label():
    assert EXACT.label == "qa1"
    assert replace(EXACT, question_at="both").label == "qa1@both"
    assert replace(EXACT, facts="shuffled").label == "qa1@shuffled"
    assert replace(EXACT, facts="distractors", question_at="both").label == "qa1@both@distractors"


def test_what_cannot_be_made_is_told(store, encoder, task):
    with pytest.raises(UnknownNameError, match="Unknown bAbI task 'qa99'"):
        _ = BabilongTask(store, encoder, BabilongTaskConfig(task="qa99"))
    with pytest.raises(DataError, match="`questions` is empty"):
        _ = BabilongTask(store, encoder, questions=[])
    with pytest.raises(ConfigError, match="Got 'long'"):
        _ = task.sample("long", 0)
    with pytest.raises(DataError, match=r"counted from 0\. Got -1"):
        _ = task.sample("1k", -1)
    with pytest.raises(ConfigError, match="`reserve_len` must not be negative"):
        _ = BabilongTaskConfig(reserve_len=-1)
    with pytest.raises(ConfigError, match="a name without '@'"):
        _ = BabilongTaskConfig(task="qa1@both")
    once = replace(EXACT, may_repeat=False).build(store, encoder)
    with pytest.raises(DataError, match="the books hold only"):
        _ = once.sample("1B", 0)
    assert once.sample("4k", 0).context_len == 4000


def test_a_fingerprint_tells_everything_apart(store, test_store, encoder):
    configs = [
        EXACT,
        replace(EXACT, seed=1),
        replace(EXACT, reserve_len=1),
        replace(EXACT, placement=Placement(kind="last")),
        replace(EXACT, split="train"),
    ]
    prints = [config.build(store, encoder).fingerprint for config in configs]
    prints.append(EXACT.build(test_store, encoder).fingerprint)
    prints.append(EXACT.build(store, encoder, questions=[GIVEN]).fingerprint)
    prints.append(EXACT.build(store, encoder, questions=[GIVEN, GIVEN]).fingerprint)
    assert len(set(prints)) == len(prints)
    assert EXACT.build(store, encoder).fingerprint == prints[0]


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
    config = BabilongTaskConfig(task="qa2", reserve_len=0)
    task = BabilongTask(store, encoder, config, questions=questions)
    for index in (0, 500, 999):
        sample = task.sample("16k", index)
        text = text_of(sample)
        assert sample.context_len == len(context_of(sample)) == 16_000
        found = [text.find(" " + fact) for fact in questions[index].facts]
        assert -1 not in found
        assert sample.answer == questions[index].answer
