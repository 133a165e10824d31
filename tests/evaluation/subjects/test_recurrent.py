from itertools import islice

import pytest
import torch

from armt.core.errors import ConfigError, StateError
from armt.evaluation.harness import EvaluationConfig, evaluate
from armt.evaluation.subjects.recurrent import RecurrentSubject
from armt.evaluation.subjects.rules import RulesSubject
from armt.serving.boxed_model import load_boxed
from armt.serving.folders import boxed_folder
from armt.tasks.babilong.building import build_store
from armt.tasks.babilong.corpus import embedded_books
from armt.tasks.babilong.sample import BabilongTask
from armt.tasks.babilong.task_config import BabilongTaskConfig
from armt.tasks.encoder import TokenizerEncoder
from armt.tasks.tokenizer import train_tokenizer
from evaluation.prose_task import prose_store
from tiny_boxed import PROSE, tiny_boxed

OPTIONS = EvaluationConfig(lengths=(0, 250), num_samples=4)


@pytest.fixture(scope="module")
def boxed():
    return tiny_boxed()


@pytest.fixture(scope="module")
def task(boxed):
    return BabilongTask(
        prose_store(boxed.encoder), boxed.encoder, BabilongTaskConfig(reserve_len=0)
    )


def subject_of(boxed, **options):
    fields = {"name": "tiny", "batch_size": 3, "max_answer_len": 3} | options
    return RecurrentSubject(boxed.model, boxed.encoder, **fields)


@pytest.fixture(scope="module")
def records(boxed, task):
    return evaluate(subject_of(boxed), task, OPTIONS)


def told(records):
    return [(record.length, record.index, record.arm, record.answer) for record in records]


def test_every_sample_is_asked_with_the_memory_and_without(records):
    assert len(records) == 2 * 4 * 2
    assert {record.arm for record in records} == {"on", "off"}
    by_arm = [[each.answer for each in records if each.arm == arm] for arm in ("on", "off")]
    assert by_arm[0] != by_arm[1], "The memory of this model should matter."


def test_a_state_is_never_carried_from_sample_to_sample(boxed, task, records):
    assert told(evaluate(subject_of(boxed, batch_size=1), task, OPTIONS)) == told(records)
    backwards = [task.sample(250, index) for index in (3, 2, 1, 0)]
    answers = subject_of(boxed).answer(backwards, ("on",))["on"]
    expected = [each.answer for each in records if (each.length, each.arm) == (250, "on")]
    assert [answer.text for answer in answers] == expected[::-1]


def test_text_is_read_as_the_same_tokens_if_it_has_the_same(boxed, task):
    sample = task.sample(250, 0)
    by_ids = subject_of(boxed).answer([sample], ("on", "off"))
    by_text = subject_of(boxed, reads_text=True).answer([sample], ("on", "off"))
    ids = [token for piece in sample.context() for token in piece]
    assert boxed.encoder.encode("".join(sample.text())) == ids, "The test needs a plain text."
    assert by_text == by_ids


def test_tokens_of_another_tokenizer_are_refused(boxed, task):
    other = TokenizerEncoder(train_tokenizer([PROSE * 2], vocab_size=280))
    foreign = BabilongTask(prose_store(other), other).sample(0, 0)
    with pytest.raises(ConfigError, match="tokens of another tokenizer"):
        _ = subject_of(boxed).answer([foreign], ("on",))
    # Of the facts alone the texts are the same in all tokens, and so are the answers from text.
    own = BabilongTask(prose_store(boxed.encoder), boxed.encoder).sample(0, 0)
    assert "".join(own.text()) == "".join(foreign.text())
    found = subject_of(boxed, reads_text=True).answer([foreign], ("on",))
    assert found == subject_of(boxed).answer([own], ("on",))


def test_another_model_or_another_way_to_ask_is_another_subject(boxed):
    first = subject_of(boxed)
    others = [
        subject_of(tiny_boxed(seed=1)),
        subject_of(boxed, max_answer_len=4),
        subject_of(boxed, reads_text=True),
    ]
    assert len({first.fingerprint, *(each.fingerprint for each in others)}) == 4
    assert subject_of(boxed, batch_size=1).fingerprint == first.fingerprint


def test_a_broken_state_fails_alone(boxed, task, monkeypatch):
    samples = [task.sample(250, index) for index in range(3)]
    expected = subject_of(boxed).answer(samples, ("on",))["on"]
    broken = next(samples[1].context())[:5]
    read = type(boxed.model).read

    def break_down(self, texts, state=None):
        stretches = list(texts)
        if any(torch.equal(row[:5], torch.as_tensor(broken)) for row in stretches[0]):
            raise StateError("the memory is no longer finite")
        return read(self, iter(stretches), state)

    monkeypatch.setattr(type(boxed.model), "read", break_down)
    found = subject_of(boxed).answer(samples, ("on",))["on"]
    assert [answer.failure for answer in found] == [
        "", "StateError: the memory is no longer finite", ""
    ]  # fmt: skip
    assert [found[0], found[2]] == [expected[0], expected[2]]


def test_the_mode_of_the_model_comes_back(boxed, task):
    _ = boxed.model.train()
    try:
        _ = subject_of(boxed).answer([task.sample(0, 0)], ("on",))
        assert boxed.model.training
    finally:
        _ = boxed.model.eval()


@pytest.mark.parametrize("name", ["batch_size", "max_answer_len"])
def test_wrong_options_are_refused(boxed, name):
    with pytest.raises(ConfigError, match=name):
        _ = subject_of(boxed, **{name: 0})


@pytest.fixture(scope="module")
def real_boxed():
    return load_boxed(boxed_folder())


@pytest.mark.timeout(600)  # reads 70,000 tokens: some 15 s on two cores that do nothing else
def test_a_whole_evaluation_of_the_boxed_model(real_boxed, tmp_path):
    """QA1 from 0k to 64k, beside the rules, which read the text alone."""
    encoder = real_boxed.encoder
    store = build_store(list(islice(embedded_books(), 12)), encoder)
    task = BabilongTask(store, encoder)
    options = EvaluationConfig(lengths=(0, 4000, 64_000), num_samples=1)
    path = tmp_path / "records.jsonl"
    subject = RecurrentSubject(real_boxed.model, encoder, name="boxed")
    records = evaluate(subject, task, options, record_path=path)
    assert [record.context_len for record in records if record.arm == "on"][1:] == [3700, 63_700]
    assert all(record.is_right("exact") for record in records if record.arm == "on")
    assert not any(
        record.is_right("exact")
        for record in records
        if (record.length, record.arm) == (64_000, "off")
    )
    by_rules = evaluate(RulesSubject(), task, options, record_path=path)
    assert all(record.is_right("reference") for record in by_rules)
    assert len(path.read_text().splitlines()) == 3 * 2 + 3
    assert by_rules[0].category == "rules"
