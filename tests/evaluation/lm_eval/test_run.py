import json
import logging
from types import SimpleNamespace

import pytest

from armt.core.errors import ConfigError, MissingExtraError, UnknownNameError
from armt.evaluation.answers import answer_samples
from armt.evaluation.judging import judge
from armt.evaluation.lm_eval import adapter
from armt.evaluation.lm_eval.adapter import PromptForm, recurrent_lm
from armt.evaluation.lm_eval.run import run_lm_eval
from armt.evaluation.lm_eval.tasks import METRICS, lm_eval_task
from armt.tasks.babilong import BabilongTask, Book, build_store
from armt.tasks.babilong.prompts import own_prompts
from armt.tasks.babilong.task_config import BabilongTaskConfig
from armt.tasks.scorers import decode_answer
from tiny_boxed import PROSE, tiny_boxed

_ = pytest.importorskip("lm_eval")
LENGTH = 400
NAME = "armt_babilong_qa1_400"


@pytest.fixture(scope="module")
def boxed():
    return tiny_boxed()


@pytest.fixture(scope="module")
def task(boxed):
    store = build_store([Book("prose", PROSE * 3)], boxed.encoder)
    return BabilongTask(store, boxed.encoder, BabilongTaskConfig(reserve_len=0))


@pytest.fixture(scope="module")
def lm(boxed):
    form = PromptForm(
        encode_text=boxed.encode_text, encode_question=boxed.encode_question, batch_size=3
    )
    return recurrent_lm(boxed.model, boxed.encoder, form)


@pytest.fixture
def no_report(monkeypatch):
    """Spares the look at the machine's software, which takes the harness seconds."""
    monkeypatch.setattr("torch.utils.collect_env.get_pretty_env_info", lambda: "not asked")


def output_of(boxed, sample) -> str:
    """What the model says if it reads the sample's own tokens."""
    options = {"arms": ["on"], "end_id": boxed.encoder.end_id, "max_answer_len": 3}
    (ids,) = answer_samples(boxed.model, [sample], **options)["on"]
    return decode_answer(boxed.encoder, ids)


@pytest.mark.usefixtures("no_report")
def test_the_harness_runs_our_model_on_our_task(boxed, task, lm, caplog):
    caplog.set_level(logging.WARNING)
    ours = [lm_eval_task(task, length, 4, max_answer_len=3) for length in (0, LENGTH)]
    found = run_lm_eval(lm, ours, num_bootstrap=10)
    assert set(found["results"]) == {"armt_babilong_qa1_0k", NAME}
    logged = found["samples"][NAME]
    samples = [task.sample(LENGTH, number) for number in task.indices(LENGTH, 4)]
    assert [each["target"] for each in logged] == [sample.answer for sample in samples]
    for each, sample in zip(logged, samples, strict=True):
        output = output_of(boxed, sample)
        assert each["filtered_resps"] == [output]
        scores = judge("qa1", sample.answer, output, sample.question)
        assert {name: bool(each[name]) for name in METRICS} == scores
    assert found["config"]["segment_len"] == boxed.model.recurrence.segment_len
    assert not caplog.records
    # What the harness writes to its files must be plain data.
    assert json.dumps(found["configs"], default=str)


@pytest.mark.usefixtures("no_report")
def test_right_answers_are_counted(task, boxed):
    lm = recurrent_lm(boxed.model, boxed.encoder)
    answers = [task.sample(LENGTH, number).answer for number in range(4)]
    said = [f" {answers[0]}.", "nobody knows", f"the {answers[2]}s", answers[3]]
    lm.generate_until = lambda requests: said
    row = run_lm_eval(lm, [lm_eval_task(task, LENGTH, 4)], num_bootstrap=10)["results"][NAME]
    assert row["reference,none"] == 0.75
    assert row["strict,none"] == 0.5
    assert row["exact,none"] == 0.25


def test_a_prompt_of_the_task_is_the_context_and_a_line_with_the_question(task):
    made = lm_eval_task(task, LENGTH, 2)
    doc = made.test_docs()[1]
    sample = task.sample(LENGTH, 1)
    assert made.task_name == NAME
    assert doc["question"] == sample.question
    assert made.doc_to_text(doc) == f"{''.join(sample.text()).strip()}\n{sample.question.strip()}"
    assert "context" not in doc
    assert [each["index"] for each in made.test_docs()] == [0, 1]


def test_a_prompt_for_others_has_their_wording(task):
    prompts = own_prompts().changed(without=["examples"])
    made = lm_eval_task(task, LENGTH, 2, prompts=prompts)
    sample = task.sample(LENGTH, 0)
    expected = prompts["qa1"].text("".join(sample.text()), sample.question)
    assert made.doc_to_text(made.test_docs()[0]) == expected
    assert made.config.metadata["prompt_hash"] == prompts["qa1"].hash
    assert made.config.metadata["samples"] == task.fingerprint


@pytest.mark.usefixtures("no_report")
def test_a_limit_and_a_chat_template_are_obeyed(task, boxed):
    seen = []

    def render(messages, asks):
        seen.append((messages, asks))
        return "".join(message["content"] for message in messages)

    lm = recurrent_lm(boxed.model, boxed.encoder, PromptForm(render=render))
    made = lm_eval_task(task, LENGTH, 4, max_answer_len=2, prompts=own_prompts())
    found = run_lm_eval(lm, [made], limit=1, has_chat_template=True, num_bootstrap=10)
    assert found["n-samples"][NAME] == {"original": 4, "effective": 1}
    ((messages, asks),) = seen
    assert asks is True
    assert [message["role"] for message in messages] == ["user"]


def test_names_of_the_harness_are_looked_up(lm, monkeypatch):
    def known(**options):
        names = ["lambada_openai", "babilong"] if options["include_defaults"] else []
        return SimpleNamespace(all_tasks=names)

    # Its own list is made from thousands of files.
    monkeypatch.setattr("lm_eval.tasks.TaskManager", known)
    with pytest.raises(UnknownNameError, match="Did you mean 'lambada_openai'"):
        _ = run_lm_eval(lm, ["lambada_openay"])


CHOICES = """
task: two_choices
custom_dataset: !function made.load
test_split: test
output_type: multiple_choice
doc_to_text: "{{text}}"
doc_to_target: "{{gold}}"
doc_to_choice: ["garden", "kitchen"]
"""
MADE = """
import datasets

def load(**options):
    rows = [{"text": "Mary went to the", "gold": 0}, {"text": "John went to the", "gold": 1}]
    return {"test": datasets.Dataset.from_list(rows)}
"""


@pytest.mark.usefixtures("no_report")
def test_tasks_of_others_go_through_the_memory_too(lm, boxed, tmp_path):
    _ = (tmp_path / "choices.yaml").write_text(CHOICES)
    _ = (tmp_path / "made.py").write_text(MADE)
    found = run_lm_eval(lm, ["two_choices"], include_path=tmp_path, num_bootstrap=10)
    rows = found["samples"]["two_choices"]
    assert len(rows) == 2
    scored = [each["filtered_resps"] for each in rows]
    assert all(len(each) == 2 and all(log_prob < 0 for log_prob, _ in each) for each in scored)
    best = [0 if float(each[0][0]) > float(each[1][0]) else 1 for each in scored]
    expected = sum(best[row] == row for row in (0, 1)) / 2
    assert found["results"]["two_choices"]["acc,none"] == expected


def test_what_cannot_be_run_is_told(task, lm, monkeypatch):
    with pytest.raises(ConfigError, match="No task"):
        _ = run_lm_eval(lm, [])
    monkeypatch.setattr(adapter, "find_spec", lambda name: None)
    for use in (
        lambda: run_lm_eval(lm, ["x"]),
        lambda: lm_eval_task(task, LENGTH, 1),
        lambda: recurrent_lm(lm.model, lm.encoder),
    ):
        with pytest.raises(MissingExtraError, match=r"armt\[lm-eval\]"):
            _ = use()
