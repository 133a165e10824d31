"""Facts among segments: a reader that knows the layout alone answers every question."""

import dataclasses

import numpy as np
import pytest
import torch

from armt.core.errors import ConfigError
from armt.tasks.contract import NO_LABEL
from armt.tasks.segment_facts import (
    END_ID,
    FIRST_KEY,
    FIRST_NOISE,
    FIRST_TITLE,
    FIRST_VALUE,
    GEN_ID,
    NUM_KEYS,
    NUM_NOISES,
    NUM_TITLES,
    NUM_VALUES,
    SegmentFactsConfig,
)

PLAIN = SegmentFactsConfig(segment_len=8, num_segments=6, num_facts=3)
TOPICS = SegmentFactsConfig(segment_len=8, num_segments=7, num_facts=3, num_titles=2)
TITLED = SegmentFactsConfig(segment_len=8, num_segments=6, num_facts=3, num_titles=6)
CONFIGS = {"plain": PLAIN, "topics": TOPICS, "titled": TITLED}


class Segment:
    """What one segment tells."""

    def __init__(self, ids: list[int]) -> None:
        self.titles = [token for token in ids if FIRST_TITLE <= token < FIRST_TITLE + NUM_TITLES]
        facts = [token for token in ids if token < NUM_KEYS * NUM_VALUES]
        self.facts = {token // NUM_VALUES: token % NUM_VALUES for token in facts}
        assert len(self.facts) == len(facts), "no key twice in a segment"
        noise = [token for token in ids if FIRST_NOISE <= token < FIRST_NOISE + NUM_NOISES]
        assert len(self.titles) + len(facts) + len(noise) == len(ids)


def segments(row: list[int], config: SegmentFactsConfig) -> list[Segment]:
    """The segments before the questions, announcement included."""
    text = row[: row.index(GEN_ID)]
    assert len(text) % config.segment_len == 0
    return [
        Segment(text[start : start + config.segment_len])
        for start in range(0, len(text), config.segment_len)
    ]


@pytest.fixture(params=CONFIGS)
def config(request):
    return CONFIGS[request.param]


def test_a_reader_finds_every_answer(config):
    batch = config.build().draw_batch(np.random.default_rng(0), 50)
    for row, labels in zip(batch.input_ids.tolist(), batch.labels.tolist(), strict=True):
        told = segments(row, config)
        asked = row[row.index(GEN_ID) + 1 : -1]
        pairs = {
            key - FIRST_KEY: value - FIRST_VALUE
            for key, value in zip(asked[::2], asked[1::2], strict=True)
        }
        if config.has_titles:
            (title,) = set(told.pop().titles)
            told = [each for each in told if each.titles == [title]]
        assert sum(each.facts == pairs for each in told) == 1
        keys = [key for each in told for key in each.facts]
        assert len(set(keys)) == len(keys), "a title and a key say which value is meant"
        answers = [label for label in labels if label != NO_LABEL]
        assert answers == [FIRST_VALUE + value for value in pairs.values()] + [END_ID]
        assert row[-1] == END_ID


def test_segments_of_different_titles_share_their_keys():
    prompts = TITLED.build().draw_prompts(np.random.default_rng(0), 20)
    for row in prompts.prompt_ids.tolist():
        *told, announcement = segments(row, TITLED)
        assert len(announcement.titles) == TITLED.segment_len
        assert len({frozenset(each.facts) for each in told}) == 1
        assert len({each.titles[0] for each in told}) == 6


def test_a_title_stands_at_the_start_of_its_segment_as_often_as_asked_for():
    config = dataclasses.replace(TITLED, title_len=4)
    once, often = (
        each.build().draw_prompts(np.random.default_rng(0), 20) for each in (TITLED, config)
    )
    for row in often.prompt_ids.tolist():
        *told, _ = segments(row, config)
        assert [len(each.titles) for each in told] == [4] * 6
        starts = [row[number * 8 : number * 8 + 4] for number in range(6)]
        assert all(len(set(start)) == 1 for start in starts), "before all else"
    assert once.prompt_ids.shape == often.prompt_ids.shape


def test_topics_take_turns():
    prompts = TOPICS.build().draw_prompts(np.random.default_rng(0), 20)
    for row in prompts.prompt_ids.tolist():
        titles = [each.titles[0] for each in segments(row, TOPICS)[:-1]]
        assert titles == ([titles[0], titles[1]] * 4)[:7]
        assert titles[0] != titles[1]


@pytest.mark.parametrize("number", [0, 2, 5])
def test_as_many_segments_follow_as_asked_for(number):
    config = SegmentFactsConfig(segment_len=8, num_segments=6, num_facts=3, num_distractors=number)
    prompts = config.build().draw_prompts(np.random.default_rng(0), 30)
    for row, (value,) in zip(*(each.tolist() for each in prompts), strict=True):
        asked = segments(row, config)[5 - number]
        assert asked.facts[row[-1] - FIRST_KEY] == value - FIRST_VALUE
        assert row[-2] == GEN_ID


def test_without_noise_facts_and_questions_stand_side_by_side():
    config = SegmentFactsConfig(num_segments=1, is_filled=False)
    batch = config.build().draw_batch(np.random.default_rng(0), 5)
    assert batch.input_ids.shape == (5, 4 + 1 + 8 + 1)
    assert batch.input_ids.shape[1] <= config.segment_len
    assert batch.label_start == 6
    assert torch.equal(batch.labels[:, 6::2], batch.input_ids[:, 6::2])


def test_every_segment_is_asked_for_as_often():
    prompts = PLAIN.build().draw_prompts(np.random.default_rng(0), 1200)
    counts = [0] * PLAIN.num_segments
    for row in prompts.prompt_ids.tolist():
        told = segments(row, PLAIN)
        counts[[row[-1] - FIRST_KEY in each.facts for each in told].index(True)] += 1
    assert sum((count - 200) ** 2 / 200 for count in counts) < 20.5  # chi-square, p = 0.001


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_segments": 0}, "num_segments"),
        ({"num_facts": 0}, "num_facts"),
        ({"num_titles": 9}, r"from 1 to 8\. Got 9"),
        ({"num_segments": 17}, "64 keys"),
        ({"segment_len": 4, "num_titles": 2}, "take 5 tokens"),
        ({"segment_len": 8, "num_titles": 2, "title_len": 5}, "take 9 tokens"),
        ({"title_len": 0}, "title_len"),
        ({"num_distractors": 8}, "from 0 to 7"),
    ],
)
def test_impossible_options_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        _ = SegmentFactsConfig(**options)
