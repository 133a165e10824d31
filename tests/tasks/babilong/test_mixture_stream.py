from collections import Counter
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from armt.core.errors import ConfigError, DataError, UnknownNameError
from armt.tasks.babi.catalogue import BABI_TASKS
from armt.tasks.babi.oracle import answer_from
from armt.tasks.babilong import (
    LengthStage,
    MixtureStreamConfig,
    Placement,
    TaskShare,
    segment_lengths,
)
from armt.tasks.contract import NO_LABEL
from tasks.rule_reader import read_text

CONFIG = MixtureStreamConfig(
    tasks=(TaskShare(task="qa1"), TaskShare(task="qa2", weight=3.0)),
    stages=(LengthStage(lengths=(400, 600, 900)),),
    batch_size=6,
    tokens_per_line=12,
)
CHAT = replace(CONFIG, form="chat")


def template(messages):
    """A conversation with marks that are common."""
    return "".join(f"<|{each['role']}|>{each['content'].strip()}<|end|>\n" for each in messages)


def first(stream, count=1, start=0):
    return list(islice(stream.batches(start), count))


def rows_of(batch):
    return zip(batch.input_ids.tolist(), batch.labels.tolist(), batch.facts, strict=True)


def same(one, two):
    return (
        one.input_ids.equal(two.input_ids)
        and one.labels.equal(two.labels)
        and one.facts == two.facts
    )


def test_rows_end_with_the_question_and_its_answer(store, encoder):
    end = encoder.end_id
    for batch in first(CONFIG.build(store, encoder, 3), 4):
        for ids, labels, facts in rows_of(batch):
            marked = [place for place, label in enumerate(labels) if label != NO_LABEL]
            start, stop = marked[0], marked[-1] + 1
            assert marked == list(range(start, stop))
            assert labels[start:stop] == ids[start:stop]
            assert ids[start] == encoder.gen_id
            assert ids[stop - 1] == end
            assert set(ids[stop:]) <= {end}
            answer = encoder.decode(ids[start + 1 : stop - 1])
            question = encoder.decode(ids[start - 12 : start])
            task = "qa2" if "Where is the" in question else "qa1"
            question = question[question.index("Where is") :]
            reading = answer_from(task, [fact.text for fact in facts], question)
            assert reading.answer == answer
            supporting = {number for number, fact in enumerate(facts) if fact.is_supporting}
            assert supporting == set(reading.supporting)
        assert batch.label_start == min(row.index(encoder.gen_id) for row in batch.labels.tolist())


def test_facts_stand_where_they_are_said_to(store, encoder):
    both = replace(CONFIG, question_at="both")
    for config in (CONFIG, both, CHAT, replace(CHAT, question_at="both")):
        (batch,) = first(config.build(store, encoder, template=template))
        for ids, _, facts in rows_of(batch):
            assert facts
            for fact in facts:
                told = encoder.decode(ids[fact.start : fact.start + fact.length])
                assert told == " " + fact.text


def test_a_row_is_as_long_as_asked(store, encoder):
    lengths = {400, 600, 900}
    found = set()
    for batch in first(CONFIG.build(store, encoder, 5), 3):
        for ids, labels, _ in rows_of(batch):
            gen = labels.index(encoder.gen_id)
            text = encoder.decode(ids[gen - 12 : gen])
            question = encoder.encode(text[text.index("Where is") :])
            found.add(gen - len(question))
    assert found == lengths


def test_the_question_may_come_first_too(store, encoder):
    config = replace(CONFIG, tasks=(TaskShare(task="qa1"),))
    (plain,) = first(config.build(store, encoder))
    (both,) = first(replace(config, question_at="both").build(store, encoder))
    for (ids, labels, _), (others, _, _) in zip(rows_of(both), rows_of(plain), strict=True):
        gen = labels.index(encoder.gen_id)
        num_more = next(
            number for number in range(1, 20) if ids[number:gen] == others[: gen - number]
        )
        assert ids[:num_more] == ids[gen - num_more : gen]
        assert encoder.decode(ids[:num_more]).startswith("Where is")


def test_dense_rows_answer_every_question_from_what_was_told_before(store, encoder):
    config = replace(CONFIG, tasks=(TaskShare(task="qa1"),), is_dense=True)
    for batch in first(config.build(store, encoder, 1), 3):
        for ids, labels, facts in rows_of(batch):
            reading = read_text(encoder.decode(ids))
            assert reading.right == 5
            assert not reading.wrong
            assert len(facts) == len(reading.facts) == 10
            assert labels.count(encoder.end_id) == labels.count(encoder.gen_id) == 5
        lens = {int((row != encoder.end_id).nonzero().max()) + 2 for row in batch.input_ids}
        assert max(lens) <= 901


def test_chats_have_labels_on_the_answer_alone(store, encoder):
    stream = CHAT.build(store, encoder, 2, template=template)
    (plain,) = first(CONFIG.build(store, encoder, 2))
    (batch,) = first(stream)
    for (ids, labels, facts), (_, answers, told) in zip(
        rows_of(batch), rows_of(plain), strict=True
    ):
        text = encoder.decode(ids)
        marked = [label for label in labels if label != NO_LABEL]
        answer = encoder.decode([each for each in answers if each != NO_LABEL][1:-1])
        assert encoder.decode(marked) == answer + "<|end|>\n"
        assert text.startswith("<|user|> ")
        asked = "Answer with as few words as possible.<|end|>\n<|assistant|>"
        assert f"? {asked}{answer}<|end|>\n" in text
        assert [fact.text for fact in facts] == [fact.text for fact in told]


def test_a_run_goes_on_where_it_stopped(store, encoder):
    stream = CONFIG.build(store, encoder, 9)
    whole = first(stream, 5)
    assert all(same(*pair) for pair in zip(first(stream, 2, start=3), whole[3:], strict=True))
    assert not same(whole[0], whole[1])
    assert not same(whole[0], first(CONFIG.build(store, encoder, 8))[0])


def test_shards_are_the_same_batches(store, encoder):
    stream = CONFIG.build(store, encoder, 4)
    whole = first(stream, 12)
    for rank in range(2):
        part = stream.sharded(rank, 2)
        assert all(same(*pair) for pair in zip(first(part, 4), whole[rank::2], strict=False))
        for worker in range(3):
            found = first(part.sharded(worker, 3), 2)
            expected = whole[rank + 2 * worker :: 6]
            assert all(same(*pair) for pair in zip(found, expected, strict=True))
    with pytest.raises(ConfigError, match="Got 2 of 2"):
        _ = stream.sharded(2, 2)


def test_tasks_come_by_their_weights(store, encoder):
    stream = replace(CONFIG, batch_size=200).build(store, encoder)
    (batch,) = first(stream)
    texts = [encoder.decode(ids[-40:]) for ids in batch.input_ids.tolist()]
    assert len(texts) == 200
    is_second = [len(facts) > 10 or has_object(facts) for facts in batch.facts]
    assert 0.65 < np.mean(is_second) < 0.85


def has_object(facts):
    return any(fact.text.split()[-1] not in places() for fact in facts)


def places():
    return {f"{place}." for place in BABI_TASKS["qa1"].labels}


def lengths_in(batch, encoder):
    """The lengths of the rows, about: question and answer left out."""
    widths = [row.index(encoder.gen_id) for row in batch.labels.tolist()]
    return [width // 100 * 100 for width in widths]


def test_lengths_follow_the_stages(store, encoder):
    stages = (LengthStage(lengths=(400,), num_batches=2), LengthStage(lengths=(600, 900)))
    config = replace(CONFIG, stages=stages, batch_size=40)
    stream = config.build(store, encoder)
    found = [Counter(lengths_in(batch, encoder)) for batch in first(stream, 4)]
    assert [set(each) for each in found] == [{400}, {400}, {600, 900}, {600, 900}]
    mostly = replace(config, mixed_length_ratio=0.9).build(store, encoder)
    assert Counter(lengths_in(first(mostly, start=2)[0], encoder))[900] > 30
    alike = replace(config, is_length_shared=True).build(store, encoder)
    shared = [set(lengths_in(batch, encoder)) for batch in first(alike, 8, start=2)]
    assert {len(each) for each in shared} == {1}
    assert set().union(*shared) == {600, 900}


def test_each_question_of_a_story_is_asked_as_often(store, encoder):
    config = replace(CONFIG, tasks=(TaskShare(task="qa1"),), batch_size=500)
    (batch,) = first(config.build(store, encoder))
    found = Counter(len(facts) for facts in batch.facts)
    assert set(found) == {2, 4, 6, 8, 10}
    assert all(abs(count - 100) < 4 * 100**0.5 for count in found.values()), found


@pytest.mark.parametrize("task", BABI_TASKS)
@pytest.mark.parametrize("is_dense", [False, True])
def test_every_task_makes_rows(store, encoder, task, is_dense):
    stages = (LengthStage(lengths=(6000,)),)
    config = MixtureStreamConfig(
        tasks=(TaskShare(task=task),), stages=stages, batch_size=2, is_dense=is_dense
    )
    (batch,) = first(config.build(store, encoder))
    for ids, labels, facts in rows_of(batch):
        assert any(fact.is_supporting for fact in facts)
        assert all(
            encoder.decode(ids[fact.start : fact.start + fact.length]) == " " + fact.text
            for fact in facts
        )
        assert labels.count(encoder.gen_id) == labels.count(encoder.end_id) >= 1


def test_lengths_of_segments():
    assert segment_lengths(3, 512) == (1516,)
    assert segment_lengths(3, 512, is_varied=True) == (492, 1004, 1516)
    assert segment_lengths(2, 100, margin=70) == (130,)
    with pytest.raises(ConfigError, match="longer than the margin"):
        _ = segment_lengths(1, 20)


def test_stories_that_never_fit_are_told(store, encoder):
    stages = (LengthStage(lengths=(30,)),)
    config = MixtureStreamConfig(tasks=(TaskShare(task="qa3"),), stages=stages, batch_size=1)
    with pytest.raises(DataError, match="Of 200 stories of qa3 none is short enough"):
        _ = first(config.build(store, encoder))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be at least 1"),
        ({"tokens_per_line": 0}, "`tokens_per_line` must be at least 1"),
        ({"tasks": ()}, "at least one each"),
        ({"stages": ()}, "at least one each"),
        ({"mixed_length_ratio": 2.0}, "mixed_length_ratio"),
        ({"is_dense": True, "form": "chat"}, "A dense row has many questions"),
        ({"is_dense": True, "question_at": "both"}, "A dense row has many questions"),
        ({"stages": (LengthStage(lengths=(9,)), LengthStage(lengths=(9,)))}, "Every stage but"),
    ],
)
def test_wrong_options_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        _ = replace(CONFIG, **changes)


def test_wrong_parts_are_refused(store, encoder):
    with pytest.raises(UnknownNameError, match="qa21"):
        _ = TaskShare(task="qa21")
    with pytest.raises(ConfigError, match="`weight` must be above 0"):
        _ = TaskShare(weight=0.0)
    with pytest.raises(ConfigError, match="`lengths` must be one or more"):
        _ = LengthStage(lengths=())
    with pytest.raises(ConfigError, match="`num_batches` must not be negative"):
        _ = LengthStage(lengths=(1,), num_batches=-1)
    with pytest.raises(ConfigError, match="need a template"):
        _ = CHAT.build(store, encoder)
    with pytest.raises(ConfigError, match="must show the user's message"):
        _ = CHAT.build(store, encoder, template=lambda messages: messages[0]["content"])


def test_a_config_is_plain_data():
    config = replace(CONFIG, placement=Placement(kind="depth", depth=0.25))
    assert MixtureStreamConfig.from_dict(config.to_dict()) == config
