import asyncio
import dataclasses
import email.utils
import json
import socket
import time

import pytest

from armt.core.errors import ConfigError, UnknownNameError
from armt.evaluation.harness import EvaluationConfig, evaluate
from armt.evaluation.passages import SentenceCutter
from armt.evaluation.record_file import RecordFile
from armt.evaluation.reports.reference_files import spell_flags
from armt.evaluation.retrievers import BM25
from armt.evaluation.subjects.endpoint import EndpointConfig, EndpointSubject
from armt.evaluation.subjects.endpoint_client import RequestConfig
from armt.evaluation.subjects.facts_only import FactsOnly
from armt.evaluation.subjects.retrieval import RetrievalSubject, Search
from armt.tasks.babilong import BabilongTask
from armt.tasks.babilong.prompts import own_prompts
from armt.tasks.babilong.task_config import BabilongTaskConfig
from evaluation.prose_task import prose_store
from evaluation.subjects.local_server import Told, local_server
from evaluation.told_samples import told_sample
from tiny_boxed import tiny_boxed

FAST = RequestConfig(backoff_s=0.001, max_backoff_s=0.05, timeout_s=5.0, num_attempts=3)


def subject(url: str, *, request=None, encode=None, prompts=None, **changes) -> EndpointSubject:
    fields = {"url": url} | (request or {})
    config = EndpointConfig(model="small", request=dataclasses.replace(FAST, **fields), **changes)
    return EndpointSubject(config, prompts, encode=encode)


def ask(tell, samples=None, **options):
    """The answers to the samples, and the server that gave them."""
    with local_server(tell) as server:
        asked = subject(server.url, **options)
        return list(asked.answer(samples or [told_sample()])["none"]), server


def always(**options):
    return lambda number, body: Told(**options)


def test_a_chat_server_gets_the_prompt_and_gives_the_answer():
    (answer,), server = ask(always(text="hallway"))
    assert (answer.text, answer.failure) == ("hallway", "")
    assert answer.details["prompt_tokens"] == 12
    assert answer.details["num_attempts"] == 1
    assert server.paths == ["/v1/chat/completions"]
    (body,) = server.bodies
    sample = told_sample()
    prompt = own_prompts()["qa1"]
    expected = prompt.text("".join(sample.text()), sample.question)
    assert body["messages"] == [{"role": "user", "content": expected}]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("small", 0.0, 20)
    assert server.keys == [None]


def test_a_completions_server_gets_one_text():
    (answer,), server = ask(always(text=" hallway"), form="completions")
    assert answer.text == " hallway"
    assert server.paths == ["/v1/completions"]
    assert server.bodies[0]["prompt"].endswith("Question: Where is Mary?")


def test_a_completions_server_gets_templated_ids():
    def encode(messages):
        return [len(message["content"]) for message in messages]

    prompts = own_prompts().changed(system="Be brief.")
    _, server = ask(always(), form="ids", encode=encode, prompts=prompts)
    (body,) = server.bodies
    assert body["prompt"][0] == len("Be brief.")
    assert len(body["prompt"]) == 2
    assert "messages" not in body


def test_extra_entries_are_sent_and_null_removes_one():
    extra = json.dumps({"seed": 7, "max_tokens": None, "max_completion_tokens": 5})
    _, server = ask(always(), extra_body=extra)
    (body,) = server.bodies
    assert body["seed"] == 7
    assert body["max_completion_tokens"] == 5
    assert "max_tokens" not in body


def test_answers_come_back_in_the_order_of_the_samples():
    def tell(number, body):
        name = body["messages"][0]["content"].rpartition("is ")[2].rstrip("?")
        return Told(text=name, delay_s=0.0 if name in "BDF" else 0.05)

    samples = [told_sample(question=f"Where is {name}? ") for name in "ABCDEF"]
    answers, _ = ask(tell, samples)
    assert [answer.text for answer in answers] == list("ABCDEF")


def test_no_more_requests_than_allowed_are_under_way():
    samples = [told_sample(index) for index in range(12)]
    answers, server = ask(always(delay_s=0.03), samples, request={"num_parallel": 3})
    assert len(answers) == 12
    assert server.most_at_once == 3


def test_only_as_many_contexts_are_written_down_as_are_under_way():
    num_written = []

    def text():
        num_written.append(None)
        return iter(["a "])

    def tell(number, body):
        seen.append(len(num_written))
        return Told(delay_s=0.02)

    seen: list[int] = []
    samples = [told_sample(index, text=text) for index in range(8)]
    _ = ask(tell, samples, request={"num_parallel": 2})
    assert all(written <= number + 2 for number, written in enumerate(seen))


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_what_may_pass_is_tried_again(status):
    def tell(number, body):
        return Told(status=status, raw=b"later") if number == 0 else Told()

    (answer,), server = ask(tell)
    assert (answer.text, answer.failure) == ("hallway", "")
    assert answer.details["num_attempts"] == len(server.bodies) == 2


def test_a_closed_connection_is_tried_again():
    (answer,), server = ask(lambda number, body: Told(is_cut=number == 0))
    assert answer.text == "hallway"
    assert len(server.bodies) == 2


@pytest.mark.parametrize("is_date", [False, True])
def test_the_server_says_how_long_to_wait(is_date):
    def tell(number, body):
        if number:
            return Told()
        asked = email.utils.formatdate(time.time() + 100, usegmt=True) if is_date else "0.2"
        return Told(status=429, headers={"Retry-After": asked})

    start = time.perf_counter()
    (answer,), _ = ask(tell, request={"max_backoff_s": 0.3})
    assert answer.text == "hallway"
    # A date far off is cut to the longest wait.
    assert time.perf_counter() - start > (0.29 if is_date else 0.19)


def test_a_server_that_stays_broken_is_a_failure_and_the_others_go_on():
    def tell(number, body):
        is_bad = "Nobody" in body["messages"][0]["content"].rpartition("Question")[2]
        return Told(status=500, raw=b"out of memory") if is_bad else Told()

    samples = [told_sample(0), told_sample(1, question="Where is Nobody? "), told_sample(2)]
    answers, server = ask(tell, samples)
    assert [answer.text for answer in answers] == ["hallway", "", "hallway"]
    assert "status 500: out of memory" in answers[1].failure
    assert answers[1].details["num_attempts"] == 3
    assert len(server.bodies) == 5


def test_a_server_that_is_too_slow_is_a_failure():
    (answer,), _ = ask(always(delay_s=0.3), request={"timeout_s": 0.05, "num_attempts": 2})
    assert answer.text == ""
    assert "no answer within 0.05 s" in answer.failure
    assert answer.details["num_attempts"] == 2


def test_nobody_there_is_a_failure():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        (answer,) = subject(url).answer([told_sample()])["none"]
    assert "ConnectError" in answer.failure


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"<html>gateway</html>", "no JSON: <html>gateway"),
        (b"", "no JSON: (empty)"),
        (b"[1, 2]", "no JSON object"),
        (b"{}", "holds no text"),
        (b'{"choices": []}', "holds no text"),
        (b'{"choices": [{"message": {"content": null}}]}', "holds no text"),
        (b'{"choices": [{"message": "hi"}]}', "holds no text"),
        (b'{"choices": {"a": 1}, "usage": 3}', "holds no text"),
        (b"\xff\xfe\x00", "no JSON"),
    ],
)
def test_garbage_is_a_failure(raw, reason):
    (answer,), _ = ask(always(raw=raw))
    assert answer.text == ""
    assert reason in answer.failure


def test_a_context_that_is_too_long_is_a_failure_at_once():
    (answer,), server = ask(always(status=400, raw=b"maximum context length is 8192"))
    assert "maximum context length" in answer.failure
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, "refuses access"), (403, "refuses access"), (404, "no such model or address")],
)
def test_what_makes_every_question_useless_is_raised(status, message):
    def tell(number, body):
        return Told(status=status, raw=b'{"error": "wrong key sk-secret"}')

    with pytest.raises(ConfigError, match=message):
        _ = ask(tell, [told_sample(index) for index in range(5)])


@pytest.mark.parametrize("around", [None, "facts", "search"])
def test_what_was_answered_before_the_server_refused_is_kept(around, tmp_path):
    encoder = tiny_boxed().encoder
    task = BabilongTask(prose_store(encoder), encoder, BabilongTaskConfig(reserve_len=0))
    path, options = tmp_path / "records.jsonl", EvaluationConfig(lengths=(0,), num_samples=6)

    def wrapped(url):
        asked = subject(url, request={"num_parallel": 1})
        if around == "facts":
            return FactsOnly(asked)
        search = Search(SentenceCutter(), BM25())
        return asked if around is None else RetrievalSubject(search, asked, encoder)

    def tell(number, body):
        return Told(text="garden") if number < 4 else Told(status=401)

    with local_server(tell) as server, pytest.raises(ConfigError, match="refuses access"):
        _ = evaluate(wrapped(server.url), task, options, record_path=path)
    kept = RecordFile(path).records
    assert [record.answer for record in kept] == ["garden"] * 4
    assert all(("passages" in record.details) is (around == "search") for record in kept)
    with local_server(always(text="office")) as server:
        found = evaluate(wrapped(server.url), task, options, record_path=path)
        assert len(server.bodies) == 2
    by_key = {record.key: record.answer for record in found}
    assert len(by_key) == 6
    assert all(by_key[record.key] == "garden" for record in kept)


def test_the_key_is_sent_and_never_shown(monkeypatch, caplog):
    caplog.set_level("DEBUG")
    monkeypatch.setenv("A_KEY", "sk-secret")
    (answer,), server = ask(
        always(status=500, raw=b"wrong: Bearer sk-secret"), request={"api_key_env": "A_KEY"}
    )
    assert server.keys[0] == "Bearer sk-secret"
    assert "Bearer ***" in answer.failure
    assert "sk-secret" not in caplog.text + answer.failure
    asked = subject(server.url, request={"api_key_env": "A_KEY"})
    assert "sk-secret" not in asked.fingerprint + asked.about.name + json.dumps(
        asked.config.to_dict()
    )
    monkeypatch.delenv("A_KEY")
    with pytest.raises(ConfigError, match="'A_KEY' holds no key"):
        _ = subject(server.url, request={"api_key_env": "A_KEY"})


def test_it_can_be_asked_within_a_running_loop():
    async def within(url):
        return subject(url).answer([told_sample()])["none"]

    with local_server(always()) as server:
        (answer,) = asyncio.run(within(server.url))
    assert answer.text == "hallway"


def test_a_task_without_a_prompt_is_told():
    with pytest.raises(UnknownNameError, match="no prompt for the task 'qa99'"):
        _ = ask(always(), [told_sample(task="qa99")])


def test_the_fingerprint_follows_what_decides_the_answers():
    one = subject("http://127.0.0.1:1/v1")
    assert one.fingerprint == subject("http://127.0.0.1:2/v1").fingerprint
    others = [
        subject("http://127.0.0.1:1/v1", temperature=0.5),
        subject("http://127.0.0.1:1/v1", form="completions"),
        subject("http://127.0.0.1:1/v1", extra_body='{"seed": 1}'),
    ]
    assert len({one.fingerprint, *(other.fingerprint for other in others)}) == 4


def test_a_prompt_counts_for_its_own_task_alone():
    url, prompts = "http://127.0.0.1:1/v1", own_prompts()
    several = [subject(url, prompts=each) for each in (prompts, prompts.only("qa2", "qa1"))]
    assert len({each.fingerprint for each in several}) == 1
    assert {each.about.told_for("qa1").hash for each in several} == {prompts["qa1"].hash}
    bare = subject(url, prompts=prompts.changed(without=["examples"], system="Be brief."))
    flags = {"instruction": True, "post_prompt": True, "chat_template": True, "system_prompt": True}
    assert bare.about.told_for("qa1").flags == spell_flags(flags)
    as_text = subject(url, prompts=bare.prompts, form="completions")
    flags |= {"chat_template": False, "system_prompt": False}
    assert as_text.about.told_for("qa1").flags == spell_flags(flags)
    assert bare.about.told_for("qa1") != several[0].about.told_for("qa1")
    assert bare.about.prompt_set != several[0].about.prompt_set


def test_a_whole_evaluation_records_failures_and_asks_for_them_again(tmp_path):
    encoder = tiny_boxed().encoder
    config = BabilongTaskConfig(reserve_len=0)
    task = BabilongTask(prose_store(encoder), encoder, config)
    options = EvaluationConfig(lengths=(0, 400), num_samples=6, retry_failures=True)
    path = tmp_path / "records.jsonl"

    def sometimes(number, body):
        question = body["messages"][0]["content"].rpartition("Question: ")[2]
        told.append(question)
        return Told(status=500) if question == told[0] else Told(text="The garden.")

    told: list[str] = []
    with local_server(sometimes) as server:
        found = evaluate(subject(server.url), task, options, record_path=path)
    failed = [record for record in found if record.failure]
    assert len(found) == 12
    assert {record.question.strip() for record in failed} == {told[0]}
    assert not any(any(record.scores.values()) for record in failed)
    others = [record for record in found if not record.failure]
    assert {record.answer for record in others} == {"The garden."}
    assert all(record.scores["strict"] is (record.truth == "garden") for record in others)
    # The address is another one, the model the same: only what failed is asked again.
    with local_server(always(text="The garden.")) as server:
        again = evaluate(subject(server.url), task, options, record_path=path)
    assert len(server.bodies) == len(failed)
    assert len(again) == 12
    assert not any(record.failure for record in again)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"request": {"url": "localhost:8000"}}, "begin with http"),
        ({"request": {"num_parallel": 0}}, "num_parallel"),
        ({"request": {"num_attempts": 0}}, "num_attempts"),
        ({"request": {"timeout_s": 0}}, "timeout_s"),
        ({"form": "mail"}, "form"),
        ({"form": "ids"}, "encode"),
        ({"max_answer_len": 0}, "max_answer_len"),
        ({"extra_body": "{"}, "extra_body"),
        ({"extra_body": "[]"}, "extra_body"),
        ({"extra_body": '{"stream": true}'}, "must not set stream"),
    ],
)
def test_wrong_options_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        _ = subject("http://127.0.0.1:1/v1", **changes)
