"""Whole samples against the published rules: background, cut, limit, slots, counting."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from armt.core.errors import DataError
from armt.tasks.babi.catalogue import BABI_TASKS
from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import read_questions
from armt.tasks.babilong import (
    BabilongTask,
    BabilongTaskConfig,
    BackgroundStore,
    build_store,
    folder_books,
    parse_placement,
)
from armt.tasks.babilong.task_config import GENERATOR_VERSION
from armt.tasks.encoder import TokenizerEncoder
from tasks.babilong.reference_mixer import fact_starts, is_kept, mix, slots_in_window
from tasks.babilong.reference_sampler import ReferenceSampler

GPT2_END = 50256


class Library(NamedTuple):
    """Texts and the store made of them."""

    texts: list[str]
    store: BackgroundStore
    encoder: TokenizerEncoder


def library_of(books, encoder):
    store = build_store(books, encoder, splitter="punkt", num_workers=1)
    texts = [book.text for book in books if book.name in store.book_names]
    return Library(texts, store, encoder)


@pytest.fixture(scope="module")
def prose(books, encoder):
    return library_of([book for book in books if len(book.text) > 4000][:8], encoder)


@pytest.fixture(scope="module")
def novels(shared_data):
    folder = shared_data / "gpt2_bpe"
    names = (str(folder / "encoder.json"), str(folder / "vocab.bpe"))
    tokenizer = Tokenizer(models.BPE.from_file(*names))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = ("Lee_Brown_1884", "Conrad_Almayer", "Chesterton_Napoleon")
    books = [book for book in folder_books(shared_data / "books") if book.name.startswith(names)]
    assert len(books) >= 2
    return library_of(books, TokenizerEncoder(tokenizer, end_id=GPT2_END))


@pytest.fixture(params=["prose", "novels"])
def library(request):
    return request.getfixturevalue(request.param)


def key(config, index, *purpose):
    """The dice of one purpose, as the samples are documented to draw."""
    parts = (config.task, config.split, config.seed, index)
    return Dice(GENERATOR_VERSION, *parts, *purpose)


def reference_sample(library, config, question, index, budget):
    """Sentences, facts and slots of a sample by the published rules."""
    facts = [library.encoder.encode(" " + fact) for fact in question.facts]
    longest = config.placement.max_sentence_len(budget)
    dice = key(config, index, "background", budget)
    sampler = ReferenceSampler(
        library.texts, library.encoder.encode, dice, max_sentence_len=longest
    )
    num_background = budget - sum(len(fact) for fact in facts)
    sentences = sampler.take(num_background) if num_background > 0 else [[]]
    gaps = list(range(len(sentences) + 1)) if num_background > 0 else [0]
    if config.placement.kind == "window":
        start, end = config.placement.start, config.placement.end
        gaps = slots_in_window(sentences, facts, budget, start, end)
    places = key(config, index, "places")
    return sentences, facts, sorted(places.pick(gaps) for _ in facts)


def ids_of(sample):
    return np.concatenate(list(sample.context())).tolist()


@pytest.mark.parametrize("name", ["reference", "window:0.2-0.6"])
@pytest.mark.parametrize(("task", "length"), [("qa1", "1k"), ("qa2", "4k"), ("qa5", "16k")])
def test_samples_are_made_by_the_published_rules(library, name, task, length):
    config = BabilongTaskConfig(task=task, seed=3, placement=parse_placement(name))
    made = config.build(library.store, library.encoder)
    for index in made.indices(length, 4):
        sample = made.sample(length, index)
        budget = sample.length - 300
        question = made.question(index)
        sentences, facts, slots = reference_sample(library, config, question, index, budget)
        assert ids_of(sample) == mix(sentences, facts, slots)
        assert [fact.start for fact in sample.facts] == fact_starts(sentences, facts, slots)
        assert sample.context_len == budget
        assert [len(fact) for fact in facts] == [fact.length for fact in sample.facts]


def test_a_window_may_hold_no_gap(library):
    config = BabilongTaskConfig(placement=parse_placement("window:0.9-1"), seed=1)
    made = config.build(library.store, library.encoder)
    num_empty = 0
    for index in made.indices("1k", 20):
        question = made.question(index)
        try:
            found = reference_sample(library, config, question, index, 700)
        except (IndexError, AssertionError):  # nothing to pick from
            num_empty += 1
            with pytest.raises(DataError, match="Widen the window"):
                _ = made.sample("1k", index)
            continue
        assert ids_of(made.sample("1k", index)) == mix(*found)
    assert num_empty > 0


@pytest.mark.parametrize("task", ["qa1", "qa3"])
def test_the_limit_of_lines_is_the_published_one(library, task):
    made = BabilongTaskConfig(task=task).build(library.store, library.encoder)
    for length, budget in (("0k", 0), ("1k", 700), ("2k", 1700), ("4k", 3700)):
        kept = [index for index in range(60) if is_kept(len(made.question(index).facts), budget)]
        assert made.indices(length, 60) == kept
    assert task == "qa1" or len(made.indices("1k", 60)) < 60


def test_the_official_files_lose_their_last_sample(shared_data, novels):
    path = shared_data / "babi" / "en" / "qa3_three-supporting-facts_train.txt"
    questions = read_questions(path)
    config = BabilongTaskConfig(task="qa3", reference_compat=True)
    made = BabilongTask(novels.store, novels.encoder, config, questions=questions)
    kept = [index for index in range(1000) if is_kept(len(questions[index].facts), 700)]
    assert made.indices("1k", 1000) == kept[:-1]
    assert made.indices("0k", 1000) == list(range(999))
    whole = replace(config, reference_compat=False)
    assert (
        BabilongTask(novels.store, novels.encoder, whole, questions=questions).indices("1k", 1000)
        == kept
    )


def test_gpt2_counts_and_spells_the_pieces(novels):
    made = BabilongTaskConfig(task="qa1").build(novels.store, novels.encoder)
    sample = made.sample("1k", 0)
    assert novels.encoder.gen_id == 35353
    assert sample.question_ids[-1] == 35353
    assert sample.answer_ids[-1] == GPT2_END
    assert novels.encoder.encode("bathroom") == [37648, 3823]
    assert "".join(sample.text()) == novels.encoder.decode(ids_of(sample))
    assert sample.metadata["splitter"] != "plain 1"


@pytest.mark.parametrize("task", BABI_TASKS)
def test_every_task_has_samples_that_hold_their_facts(prose, task):
    made = BabilongTaskConfig(task=task).build(prose.store, prose.encoder)
    for index in made.indices("4k", 5):
        sample = made.sample("4k", index)
        ids = ids_of(sample)
        assert len(ids) == sample.context_len == 3700
        assert any(fact.is_supporting for fact in sample.facts)
        for fact in sample.facts:
            told = prose.encoder.decode(ids[fact.start : fact.start + fact.length])
            assert told == " " + fact.text
