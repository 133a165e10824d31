"""Tracking: a reader that knows the words alone answers every question."""

import numpy as np
import pytest

from armt.core.errors import ConfigError
from armt.tasks.babi.sentences import PEOPLE, PLACES
from armt.tasks.contract import NO_LABEL
from armt.tasks.tracking import SENTENCE_LEN, WORDS, TrackingConfig


def sentences(row: list[int]) -> list[list[str]]:
    """The words of each sentence; the last one may be cut."""
    words = [WORDS[token] for token in row]
    return [words[start : start + SENTENCE_LEN] for start in range(0, len(words), SENTENCE_LEN)]


def last_move(told: list[list[str]], person: str) -> tuple[int, str]:
    """The number of the sentence in which a person moved last, and where to."""
    moves = [
        (number, words[4])
        for number, words in enumerate(told)
        if words[0] == person and words[2:4] == ["to", "the"]
    ]
    return moves[-1]


@pytest.mark.parametrize("question_share", [0.0, 0.4])
def test_a_reader_answers_every_question(question_share):
    config = TrackingConfig(num_sentences=20, move_share=0.3, question_share=question_share)
    batch = config.build().draw_batch(np.random.default_rng(0), 50)
    num_questions = 0
    for row, labels in zip(batch.input_ids.tolist(), batch.labels.tolist(), strict=True):
        told = sentences(row)
        assert len(told) == 21
        for number, words in enumerate(told):
            marked = labels[number * SENTENCE_LEN : (number + 1) * SENTENCE_LEN]
            if words[0] != "Where":
                assert words[0] in PEOPLE
                assert words[-1] == "."
                assert set(marked) == {NO_LABEL}
                continue
            num_questions += 1
            assert words == [
                "Where",
                "is",
                words[2],
                "?",
                last_move(told[:number], words[2])[1],
                "END",
            ]
            assert marked == [NO_LABEL] * 4 + [WORDS.index(word) for word in words[4:]]
        assert told[-1][0] == "Where"
    assert (num_questions > 50) == (question_share > 0)


@pytest.mark.parametrize("distance", [0, 3, 9])
def test_the_last_move_lies_as_far_back_as_asked_for(distance):
    config = TrackingConfig(num_sentences=10, distance=distance)
    prompts = config.build().draw_prompts(np.random.default_rng(0), 50)
    for row, answer in zip(*(each.tolist() for each in prompts), strict=True):
        *told, question = sentences(row)
        assert question[:2] == ["Where", "is"]
        number, place = last_move(told, question[2])
        assert number == 9 - distance
        assert [WORDS[token] for token in answer] == [place, "END"]


def test_places_and_people_are_as_likely():
    prompts = TrackingConfig(num_sentences=6).build().draw_prompts(np.random.default_rng(0), 1200)
    places = [WORDS[token] for token in prompts.answer_ids[:, 0].tolist()]
    people = [WORDS[token] for token in prompts.prompt_ids[:, -2].tolist()]
    for drawn, known in ((places, PLACES), (people, PEOPLE)):
        expected = 1200 / len(known)
        counts = [drawn.count(each) for each in known]
        assert sum((count - expected) ** 2 / expected for count in counts) < 20.5  # p = 0.001


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_sentences": 0}, "num_sentences"),
        ({"move_share": 0.0}, "move_share"),
        ({"question_share": 0.9}, "question_share"),
        ({"distance": 80}, r"from 0 to 79\. Got 80"),
    ],
)
def test_impossible_options_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        _ = TrackingConfig(**options)
