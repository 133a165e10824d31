"""The training stream of tasks 2 to 5: what it asks follows from what it told, by the oracle."""

import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch

from armt.core.errors import ConfigError, DataError, UnknownNameError
from armt.tasks.babi.oracle import answer_from, find_facts
from armt.tasks.babi.sentences import OBJECTS, PLACES
from armt.tasks.babilong import BabilongTaskConfig, FactStreamConfig
from armt.tasks.babilong.task_worlds import TASKS, task_world
from armt.tasks.contract import NO_LABEL
from tasks.babilong.streams import batches, row_ids

CARRIED = {
    "batch_size": 4,
    "segment_len": 128,
    "carry_len": 256,
    "tail_len": (40, 90),
    "num_questions": 4,
    "gap_len": (16, 300),
    "epoch_steps": 6,
    "easier_weight": 0.5,
}
DENSE = {
    "batch_size": 8,
    "is_dense": True,
    "sequence_len": 500,
    "gap_len": (4, 12),
    "easier_weight": 0.1,
}
CUT = {"segment_len": 64, "border_share": 0.5, "confuser_gap": 100, "confuser_border_share": 0.5}
ASKED = re.compile(
    r"((?:Where|What|Who) (?:is|was|did|gave|received)(?:(?!Where|What|Who)[^?.])*\? ?)"
    r"GEN(\w+)<\|end"
)
HELPED = {"qa2": ("qa2", "qa1"), "qa3": ("qa3", "qa2", "qa1")}
OPPOSITE = {"north": "south", "south": "north", "east": "west", "west": "east"}
OF_PEOPLE = re.compile(r"Where is [A-Z]")


def row_texts(encoder, run, row):
    """Yields for each batch the carried text before it and its own text."""
    return (tuple(map(encoder.decode, parts)) for parts in row_ids(run, row))


def by_the_oracle(task, facts, question):
    """The answer of the task, or of the easier one whose question it is."""
    kind = task
    if task in HELPED and not question.startswith("Where was"):
        kind = "qa1" if OF_PEOPLE.match(question) else "qa2"
    told = [fact for fact in facts if kind != "qa1" or " to the " in fact]
    if kind == "qa4":  # the oracle takes the first of several maps, the stream the latest
        told = told[::-1]
    return kind, answer_from(kind, told, question).answer


def last_source(task, facts, question):
    """How many facts it takes until the question has, and keeps, the answer that it has at last."""
    answers = []
    for told in range(len(facts) + 1):
        try:
            answers.append(by_the_oracle(task, facts[:told], question)[1])
        except DataError:
            answers.append(None)
    return max(told for told in range(1, len(facts) + 1) if answers[told] != answers[told - 1])


def check(task, text, counts):
    """Compares every answer in a text with the oracle's, from the facts before it."""
    facts = find_facts(task, text)
    for match in ASKED.finditer(text):
        told = [fact.text for fact in facts if fact.start < match.start()]
        kind, answer = by_the_oracle(task, told, match[1])
        assert match[2] == answer, (told, match[0])
        counts[kind] += 1


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("changes", [{}, CUT], ids=["plain", "cut"])
def test_every_answer_is_the_oracles(store, encoder, task, changes):
    counts: Counter[str] = Counter()
    run = batches(store, encoder, {**CARRIED, **changes, "tasks": (task,)}, 12)
    for row in range(4):
        for carried, text in row_texts(encoder, run, row):
            assert not ASKED.search(carried)
            assert "GEN" not in carried
            check(task, carried + text, counts)
            assert len(ASKED.findall(text)) in (0, 4)
    assert sum(counts.values()) > 120
    assert set(counts) == set(HELPED.get(task, (task,)))
    assert counts[task] > 40


@pytest.mark.parametrize("task", TASKS)
def test_dense_answers_are_the_oracles(store, encoder, task):
    counts: Counter[str] = Counter()
    for batch in batches(store, encoder, {**DENSE, "tasks": (task,)}, 5):
        assert batch.input_ids.shape == (8, 500)
        for ids in batch.input_ids:
            check(task, encoder.decode(ids.tolist()), counts)
    assert set(counts) == set(HELPED.get(task, (task,)))
    assert counts[task] > 20


@pytest.mark.parametrize("options", [CARRIED, DENSE], ids=["carried", "dense"])
def test_labels_are_answers_and_their_ends(store, encoder, options):
    for batch in batches(store, encoder, {**options, "tasks": TASKS}, 4):
        bears_loss = batch.labels != NO_LABEL
        assert torch.equal(batch.labels[bears_loss], batch.input_ids[bears_loss])
        for ids, labels in zip(batch.input_ids, batch.labels, strict=True):
            answers = [answer for _, answer in ASKED.findall(encoder.decode(ids.tolist()))]
            labelled = encoder.decode(labels[labels != NO_LABEL].tolist())
            # the last question of a dense row may be cut by the row's end
            assert labelled.startswith("".join(f"{answer}<|endoftext|>" for answer in answers))
            assert labelled.count("<|endoftext|>") == len(answers)


def test_all_tasks_occur_and_differ_from_epoch_to_epoch(store, encoder):
    """A question tells its task, but for those of task 1 and 2, which also help."""
    forms = {"qa3": "Where was", "qa4": "What is", "qa5": "W(?:ho|hat did)", "qa2": "Where is the"}
    for options in (CARRIED, DENSE):
        changes = {"tasks": TASKS, "batch_size": 24, "easier_weight": 0.0, "epoch_steps": 1}
        run = batches(store, encoder, {**options, **changes}, 2)
        seen = Counter()
        for text in (encoder.decode(ids.tolist()) for batch in run for ids in batch.input_ids):
            asked = [question for question, _ in ASKED.findall(text)]
            found = {
                next((task for task, form in forms.items() if re.match(form, each)), "qa1")
                for each in asked
            }
            assert len(found) <= 1
            seen.update(found)
        assert set(seen) == set(TASKS)


def test_without_weight_no_question_helps(store, encoder):
    options = {**CARRIED, "tasks": ("qa3",), "easier_weight": 0.0}
    asked = [
        question
        for batch in batches(store, encoder, options, 6)
        for ids in batch.input_ids
        for question, _ in ASKED.findall(encoder.decode(ids.tolist()))
    ]
    assert asked
    assert all(question.startswith("Where was the ") for question in asked)


def test_questions_differ_as_far_as_there_are(store, encoder):
    options = {**CARRIED, "tasks": ("qa4",), "num_questions": 5}
    run = batches(store, encoder, options, 12)
    seen = set()
    for row in range(4):
        for _, text in row_texts(encoder, run, row):
            asked = [question for question, _ in ASKED.findall(text)]
            assert len(asked) == options["num_questions"]
            seen.add(len(set(asked)))
    # two questions about each link of the latest map
    assert seen == {2, 4, 5}


@pytest.mark.parametrize("task", TASKS)
def test_a_fact_can_be_asked_for_once(store, encoder, task):
    options = {**CARRIED, "tasks": (task,), "num_questions": 6, "asks_a_fact_once": True}
    num_asked: Counter[int] = Counter()
    for row in range(4):
        for carried, text in row_texts(encoder, batches(store, encoder, options, 12), row):
            asked = [match[1] for match in ASKED.finditer(text)]
            facts = [fact.text for fact in find_facts(task, carried + text)]
            sources = [last_source(task, facts, question) for question in asked]
            assert len(set(sources)) == len(asked)
            num_asked[len(asked)] += 1
    assert max(num_asked) >= {"qa5": 2}.get(task, 4)


@pytest.mark.parametrize("options", [CARRIED, DENSE], ids=["carried", "dense"])
def test_directions_are_asked_in_the_words_of_a_link(store, encoder, options):
    counts: Counter[str] = Counter()
    run = batches(store, encoder, {**options, "tasks": ("directions",)}, 8)
    for row in range(4):
        for carried, text in row_texts(encoder, run, row):
            told = carried + text if options is CARRIED else text
            check("qa4", told, counts)
            assert not re.search(r" of\?", told)
    assert counts["qa4"] > 60


def test_directions_are_those_of_a_place_between_two():
    world = task_world("directions", 0.0)
    told = world.open(np.random.default_rng(0)).tell(400)
    facts = [world.sentences.facts[each] for each in told.facts]
    links = [re.findall("|".join((*PLACES, *OPPOSITE)), fact) for fact in facts]
    for one, other in zip(links[::2], links[1::2], strict=True):
        assert one[2] == other[2]
        assert one[1] == OPPOSITE[other[1]]
        assert len({*one, *other} & {*PLACES}) == 3


def test_rows_of_one_map_are_seldom_asked_in_the_opposite_words(store, encoder):
    """Once in eleven times; more than half of that and less than twice as often, by chance."""
    run = batches(store, encoder, {**DENSE, "tasks": ("one_map",)}, 8)
    asked: list[str] = []
    for text in (encoder.decode(ids.tolist()) for batch in run for ids in batch.input_ids):
        assert len({fact.text for fact in find_facts("qa4", text)}) <= 2
        check("qa4", text, Counter())
        asked += [question.strip() for question, _ in ASKED.findall(text)]
    assert len(asked) > 300
    assert 1 / 22 < sum(question.endswith(" of?") for question in asked) / len(asked) < 2 / 11


def test_maps_of_three_or_six_places_follow_each_other_and_only_the_latest_is_asked_of():
    world = task_world("qa4", 0.0)
    told = world.open(np.random.default_rng(0)).tell(2000)
    facts = [world.sentences.facts[each] for each in told.facts]
    known = [
        {
            question: world.sentences.answers[answer]
            for question, answer in zip(world.sentences.questions, row, strict=True)
            if answer >= 0
        }
        for row in told.known
    ]
    starts = [number for number in range(2000) if len(known[number + 1]) == 2]
    sizes: Counter[tuple[int, int]] = Counter()
    for start, end in pairwise(starts):
        latest = facts[start:end]
        sizes[len(latest), len({*PLACES} & {*re.findall(r"\w+", " ".join(latest))})] += 1
        for number in range(start, end):
            assert len(known[number + 1]) == 2 * (number + 1 - start)
        for question, answer in known[end].items():
            assert answer_from("qa4", latest, question).answer == answer
    assert set(sizes) == {(2, 3), (4, 6)}
    assert sizes[2, 3] == pytest.approx(sizes[4, 6], rel=0.2)


@pytest.mark.parametrize("options", [CARRIED, {**CARRIED, **CUT}, DENSE])
def test_seeking_yields_the_same_batches(store, encoder, options):
    options = {**options, "tasks": TASKS}
    run = batches(store, encoder, options, 9)
    for start in (1, 6):
        for batch, again in zip(run[start:], batches(store, encoder, options, 3, 0, start)):  # noqa: B905
            assert batch.tensors().keys() == again.tensors().keys()
            for name, tensor in batch.tensors().items():
                assert torch.equal(tensor, again.tensors()[name])


def test_a_text_goes_on_until_its_row_begins_another(store, encoder):
    run = batches(store, encoder, {**CARRIED, "tasks": TASKS}, 12)
    for before, after in pairwise(run):
        is_same = (before.input_ids[:, 256:260] == after.input_ids[:, :4]).all(dim=1)
        assert torch.equal(is_same, ~after.resets)


@pytest.mark.parametrize("task", TASKS)
def test_no_story_of_the_evaluation_is_told(store, encoder, task):
    world = task_world(task, 0.0)
    rng = np.random.default_rng(12345)
    told = [world.open(rng).tell(12).facts for _ in range(60)]
    texts = {tuple(world.sentences.facts[each] for each in facts) for facts in told}
    assert len(texts) > 55
    samples = BabilongTaskConfig(task=task, seed=12345).build(store, encoder)
    if task == "qa4":  # two links between six places: there are few such stories
        return
    asked = [samples.question(index).facts[:12] for index in range(4, 100, 5)]
    assert not {facts for facts in asked if len(facts) == 12} & texts
    assert max(len(facts) for facts in asked) >= 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": ("qa6",)}, "must name some of qa1, .* Got qa6"),
        ({"tasks": ()}, "Got none"),
        ({"easier_weight": 1.0}, r"`easier_weight` must lie in \[0, 1\). Got 1.0"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        _ = FactStreamConfig(**options)


def test_an_unknown_world_is_told():
    with pytest.raises(UnknownNameError, match="Did you mean 'qa4'"):
        _ = task_world("qa44", 0.0)


def test_questions_about_one_gift_have_one_source_also_where_it_is_given_again():
    world = task_world("qa5", 0.0)
    numbers = {question: number for number, question in enumerate(world.sentences.questions)}
    asked = [
        [numbers[f"Who {verb} the {thing}? "] for verb in ("gave", "received")]
        for thing in OBJECTS
        if f"Who gave the {thing}? " in numbers
    ]
    num_repeated = 0
    for seed in range(20):
        told = world.open(np.random.default_rng(seed)).tell(300)
        for gave, received in asked:
            assert (told.sources[:, gave] == told.sources[:, received]).all()
            known = told.known[:, [gave, received]]
            is_repeated = (np.diff(told.sources[:, gave]) > 0) & ~np.diff(known, axis=0).any(1)
            num_repeated += int(is_repeated.sum())
    assert num_repeated > 0


def test_what_was_given_has_the_source_of_the_gift_that_it_tells():
    """Also where it can be asked for only since another object, given alike, went on."""
    world = task_world("qa5", 0.0)
    questions, answers = world.sentences.questions, world.sentences.answers
    num_older = 0
    for seed in range(10):
        told = world.open(np.random.default_rng(seed)).tell(300)
        for what in (each for each in questions if each.startswith("What did")):
            column = questions.index(what)
            for number in np.flatnonzero(told.known[:, column] >= 0).tolist():
                thing = answers[told.known[number, column]]
                source = told.sources[number, questions.index(f"Who gave the {thing}? ")]
                assert told.sources[number, column] == source
                num_older += told.known[number - 1, column] < 0 and source < number
    assert num_older > 5


def test_what_was_given_is_what_was_given_last():
    world = task_world("qa5", 0.0)
    questions, answers = world.sentences.questions, world.sentences.answers
    gift = re.compile(r"(\w+) (?:gave|handed|passed) the (\w+) to (\w+)\.")
    num_asked = 0
    for seed in range(10):
        told, last = world.open(np.random.default_rng(seed)).tell(300), {}
        for fact, known in zip(told.facts.tolist(), told.known[1:], strict=True):
            if found := gift.fullmatch(world.sentences.facts[fact].strip()):
                giver, thing, receiver = found.groups()
                last[f"What did {giver} give to {receiver}? "] = thing
            asked = {q: answers[a] for q, a in zip(questions, known, strict=True) if a >= 0}
            what = {q: answer for q, answer in asked.items() if q.startswith("What did")}
            assert what.items() <= last.items()
            num_asked += len(what)
    assert num_asked > 1000
