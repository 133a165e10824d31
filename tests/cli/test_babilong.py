import csv
import hashlib
import json

import pytest
from transformers import PreTrainedTokenizerFast

from armt.cli.babilong_settings import (
    changed_settings,
    parse_lengths,
    parse_process,
    parse_tasks,
)
from armt.core.errors import ConfigError, UnknownNameError
from armt.evaluation.record_file import RecordFile
from armt.evaluation.reports.reference_files import Prediction, spell_flags, write_predictions
from armt.serving import folders
from armt.tasks.babilong import reference_prompts
from armt.tasks.babilong.corpus import is_test_book
from armt.tasks.babilong.prompts import TEMPLATE
from evaluation.subjects.local_server import Told, local_server
from tiny import backbone
from tiny_boxed import PROSE, tiny_tokenizer

SHORT = ("--set", "samples.reserve_len=0", "--lengths", "0k,300", "--num-samples", "2")


@pytest.fixture(autouse=True)
def boxed_model(monkeypatch, model, tmp_path_factory):
    """Puts a tiny random model into the box."""
    box = tmp_path_factory.mktemp("box")
    (box / folders.BOXED_NAME).symlink_to(model)
    monkeypatch.setattr(folders, "BOXED_FOLDER", box)


@pytest.fixture
def books(tmp_path):
    """A folder with one short book, which is kept for testing."""
    folder = tmp_path / "books"
    folder.mkdir()
    name = next(str(number) for number in range(99) if is_test_book(str(number)))
    _ = (folder / f"{name}.txt").write_text(PROSE * 6)
    return folder


@pytest.fixture(scope="module")
def causal(tmp_path_factory):
    """The folder of a tiny causal language model."""
    folder = tmp_path_factory.mktemp("causal") / "tiny-causal"
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tiny_tokenizer(), eos_token="<|endoftext|>"
    )
    tokenizer.save_pretrained(folder)
    options = {"vocab_size": len(tokenizer), "max_position_embeddings": 2000}
    backbone("llama", **options).save_pretrained(folder)
    return folder


def records_in(folder):
    return RecordFile(folder / "records.jsonl").records


def evaluated(run, subject, out, books, *more):
    result = run(
        "babilong", "evaluate", subject, "--out", out, "--background", books, *SHORT, *more
    )
    assert result.exit_code == 0, result.output
    return result


def test_without_a_command_the_help_is_shown(run):
    result = run("babilong")
    for name in ("generate", "evaluate", "score", "report", "store", "lm-eval"):
        assert name in result.output


def test_samples_are_generated_and_checked(run, refused, books, tmp_path):
    out = tmp_path / "out"
    args = ("babilong", "generate", "--out", out, "--tasks", "qa1,qa15", "--background", books)
    result = run(*args, *SHORT)
    assert result.exit_code == 0, result.output
    assert "qa15: 4 samples" in result.stdout
    rows = json.loads((out / "qa1" / "300.json").read_text())
    assert [set(row) for row in rows] == [{"input", "question", "target"}] * 2
    manifest = json.loads((out / "qa15" / "manifest.json").read_text())
    assert [entry["context_len"] for entry in manifest["samples"]][2:] == [300, 300]
    again = run(*args, *SHORT, "--check")
    assert again.exit_code == 0, again.output
    assert "qa1: 4 samples are the same" in again.stdout
    assert "another config" in refused(*args, *SHORT, "--set", "samples.seed=1", "--check")
    _ = (out / "qa1" / "300.json").write_text("[]")
    assert "is not what the samples are as text" in refused(*args, *SHORT, "--check")


def test_official_stories_can_be_used(run, books, tmp_path):
    babi = tmp_path / "babi"
    babi.mkdir()
    story = "1 Mary went to the garden.\n2 Where is Mary? \tgarden\t1\n"
    _ = (babi / "qa1_single-supporting-fact_test.txt").write_text(story * 3)
    out = tmp_path / "out"
    more = ("--set", f"babi={babi}", "--set", "samples.reference_compat=true")
    args = ("babilong", "generate", "--out", out, "--background", books, "--lengths", "0k")
    assert run(*args, *more).exit_code == 0
    assert (
        json.loads((out / "qa1" / "0k.json").read_text())
        == [
            {"input": "Mary went to the garden.", "question": "Where is Mary? ", "target": "garden"}
        ]
        * 2
    )


def test_the_boxed_model_is_evaluated_and_resumed(run, books, tmp_path):
    out = tmp_path / "out"
    result = evaluated(run, "boxed", out, books)
    assert "| armt/boxed-" in result.stdout
    assert "memory off | strict" in result.stdout
    assert len(records_in(out)) == 8
    before = (out / "records.jsonl").read_bytes()
    assert (out / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert all((out / f"table.{kind}").exists() for kind in ("md", "tex", "csv"))
    _ = evaluated(run, "boxed", out, books)
    assert (out / "records.jsonl").read_bytes() == before


def test_processes_share_the_questions(run, books, tmp_path):
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    for number in ("1/2", "0/2"):
        _ = evaluated(run, "oracle", parts, books, "--process", number, "--tasks", "qa1-qa2")
    _ = evaluated(run, "oracle", whole, books, "--tasks", "qa1-qa2")
    found = [{(each.key, each.answer) for each in records_in(place)} for place in (parts, whole)]
    assert found[0] == found[1]
    assert len(records_in(parts)) == 8


def test_the_oracle_is_always_right_and_the_majority_says_one_thing(run, books, tmp_path):
    out = tmp_path / "out"
    _ = evaluated(run, "oracle", out, books)
    _ = evaluated(run, "majority", out, books)
    by_subject = {}
    for record in records_in(out):
        by_subject.setdefault(record.category, []).append(record)
    assert all(record.scores["strict"] for record in by_subject["rules"])
    assert len({record.answer for record in by_subject["constant"]}) == 1


def test_searches_with_and_without_a_reader(run, books, tmp_path):
    out = tmp_path / "out"
    _ = evaluated(run, "bm25+oracle", out, books, "--set", "retrieval.num_passages=50")
    _ = evaluated(run, "hashed", out, books)
    _ = evaluated(run, "facts+oracle", out, books)
    names = {record.subject for record in records_in(out)}
    assert any(name.startswith("rule reader + bm25") and "best 50" in name for name in names)
    assert "rule reader, facts alone" in names
    assert any("support_recall" in record.details for record in records_in(out))


def test_a_causal_model_is_asked_by_a_prompt(run, books, causal, tmp_path):
    out = tmp_path / "out"
    _ = evaluated(run, causal, out, books, "--set", "prompts.without=examples")
    records = records_in(out)
    assert {(each.subject, each.category) for each in records} == {("tiny-causal", "causal")}
    assert all(each.prompt_hash and not each.knows_facts for each in records)
    other = tmp_path / "other"
    _ = evaluated(run, causal, other, books)
    assert records_in(other)[0].prompt_hash != records[0].prompt_hash


def test_prompts_of_other_wording_are_told_once(run, books, tmp_path, monkeypatch):
    path = tmp_path / "prompts.py"
    parts = dict.fromkeys(("instruction", "examples", "post_prompt"), "Say it.")
    prompts = {"qa1": parts, "qa2": parts}
    _ = path.write_text(f"DEFAULT_TEMPLATE = {TEMPLATE!r}\nDEFAULT_PROMPTS = {prompts!r}\n")
    out, chosen = tmp_path / "out", ("--tasks", "qa1,qa2", "--set", f"prompts.path={path}")
    with local_server(lambda number, body: Told(text="garden")) as server:
        told = evaluated(run, f"some-model@{server.url}", out, books, *chosen).stderr
        assert told.count("another wording than the published results: qa1, qa2.") == 1
        digest = hashlib.sha256(b"Say it.").hexdigest()[:12]
        known = dict.fromkeys(prompts, " ".join([digest] * 3))
        monkeypatch.setattr(reference_prompts, "_KNOWN_HASHES", known)
        assert (
            "another wording" not in evaluated(run, f"m@{server.url}", out, books, *chosen).stderr
        )


def test_more_tasks_in_any_order_ask_nothing_again(run, books, tmp_path):
    out = tmp_path / "out"
    short = ("--lengths", "0k")
    with local_server(lambda number, body: Told(text="garden")) as server:
        for subject in (f"some-model@{server.url}", "majority"):
            for tasks in ("qa1", "qa1,qa2", "qa2,qa1"):
                result = evaluated(run, subject, out, books, *short, "--tasks", tasks)
        assert len(server.bodies) == 4
    assert len(records_in(out)) == 8
    page = (out / "report.html").read_text()
    assert "8 answers, 2 subjects, 2 tasks" in page
    assert "| most frequent answer | qa2 |" in result.stdout


def test_a_server_is_asked_and_its_failures_are_recorded(run, books, tmp_path):
    def tell(number, body):
        return Told(status=500) if number == 0 else Told(text="The answer is garden.")

    out = tmp_path / "out"
    once = ("--set", "endpoint.request.num_attempts=1", "--set", "endpoint.request.num_parallel=1")
    with local_server(tell) as server:
        result = evaluated(run, f"some-model@{server.url}", out, books, *once)
        assert {body["model"] for body in server.bodies} == {"some-model"}
    told = " ".join(result.stderr.split())
    assert "1 questions failed and count as wrong; the same command asks them again." in told
    records = records_in(out)
    assert [bool(record.failure) for record in records].count(True) == 1
    assert {record.subject for record in records} == {"endpoint/some-model"}
    with local_server(lambda number, body: Told(text="The answer is garden.")) as server:
        again = evaluated(run, f"some-model@{server.url}", out, books, *once)
        assert len(server.bodies) == 1
    assert "failed" not in again.stderr
    assert not any(record.failure for record in records_in(out))


def test_the_commonest_failure_is_told_and_how_many_failed(run, books, tmp_path):
    def tell(number, body):
        return Told(status=500 if number == 0 else 503, text="[/busy]")

    once = ("--set", "endpoint.request.num_attempts=1", "--set", "endpoint.request.num_parallel=1")
    with local_server(tell) as server:
        result = evaluated(run, f"some-model@{server.url}", tmp_path / "out", books, *once)
    failures = [record.failure for record in records_in(tmp_path / "out")]
    assert len(failures) > 2
    told = " ".join(result.stderr.split())
    assert f"{len(failures)} questions failed and count as wrong" in told
    assert f"{len(failures) - 1} of them: {failures[-1]}" in told


def test_evaluation_mistakes_are_told(refused, books, tmp_path):
    args = ("babilong", "evaluate")
    rest = ("--out", tmp_path / "out", "--background", books)
    assert "Nobody is called 'oracel'" in refused(*args, "oracel", *rest)
    assert "Unknown bAbI task 'qa99'" in refused(*args, "oracle", *rest, "--tasks", "qa99")
    assert "A length is a number" in refused(*args, "oracle", *rest, "--lengths", "long")
    assert "num_samples" in refused(*args, "oracle", *rest, "--num-samples", "0")
    assert "--set takes PATH=VALUE" in refused(*args, "oracle", *rest, "--set", "seed")
    assert "no option 'sede'" in refused(*args, "oracle", *rest, "--set", "samples.sede=1")
    assert "Unknown placement" in refused(*args, "oracle", *rest, "--set", "samples.placement=x")
    assert "0/4" in refused(*args, "oracle", *rest, "--process", "4/4")
    assert "Before a reader may stand" in refused(*args, "dragon+oracle", *rest)
    assert "like me@http://" in refused(*args, "me@127.0.0.1:8000/v1", *rest)
    assert "No tokenizer can be read" in refused(
        *args, "oracle", *rest, "--set", f"tokenizer={tmp_path / 'none.json'}"
    )
    assert not (tmp_path / "out" / "records.jsonl").exists()


def test_a_store_is_made_verified_and_used(run, refused, books, tmp_path):
    store = tmp_path / "store"
    made = run("babilong", "store", "--out", store, "--background", books)
    assert made.exit_code == 0, made.output
    assert "1 books, splitter punkt" in made.stdout
    assert "Every byte is sound." in run("babilong", "store", "--out", store).stdout
    assert "holds a store already" in refused(
        "babilong", "store", "--out", store, "--background", books
    )
    _ = evaluated(run, "oracle", tmp_path / "out", store)
    assert not (tmp_path / "out" / "background").exists()
    tokens = store / "tokens.npy"
    _ = tokens.write_bytes(tokens.read_bytes()[:-1] + b"\xff")
    assert "build anew" in refused("babilong", "store", "--out", store)


def test_a_store_of_another_tokenizer_is_refused(run, refused, books, causal, tmp_path):
    store = tmp_path / "store"
    assert run("babilong", "store", "--out", store, "--background", books).exit_code == 0
    other = causal / "tokenizer.json"
    changed = json.loads(other.read_text())
    changed["model"]["vocab"]["extra"] = len(changed["model"]["vocab"]) + 2
    _ = (tmp_path / "other.json").write_text(json.dumps(changed))
    args = ("babilong", "evaluate", "oracle", "--out", tmp_path / "out", "--background", store)
    more = ("--set", f"tokenizer={tmp_path / 'other.json'}")
    assert "made with another tokenizer" in refused(*args, *more)


def test_a_store_of_another_splitter_is_refused(run, refused, books, tmp_path):
    store = tmp_path / "store"
    plain = ("--set", "splitter=plain")
    made = run("babilong", "store", "--out", store, "--background", books, *plain)
    assert "splitter plain" in made.stdout
    out = tmp_path / "out"
    for same in ((), plain):
        _ = evaluated(run, "oracle", out, store, *same)
    args = ("babilong", "evaluate", "oracle", "--out", out, "--background", store)
    told = refused(*args, "--set", "splitter=punkt")
    assert "were found by 'plain', and 'punkt' is asked for" in told


@pytest.fixture
def published(tmp_path):
    """A tree of result files as the reference writes it."""
    folder = tmp_path / "evals"
    for number, answer in enumerate(["garden", "the gardens", "garden or office"]):
        row = Prediction("garden", answer, "Where is Mary? ")
        path = folder / "org" / "model" / f"qa{number + 1}_4k_{spell_flags({})}.csv"
        write_predictions(path, [row, row])
    return folder


def test_published_predictions_are_scored_and_collated(run, refused, published, tmp_path):
    out = tmp_path / "out"
    result = run("babilong", "score", published, "--out", out)
    assert result.exit_code == 0, result.output
    assert "org/model, reference" in result.stdout
    assert "6 predictions in 3 files." in result.stdout
    rows = list(csv.DictReader((out / "reference" / "all_results.csv").read_text().splitlines()))
    assert [row["4k"] for row in rows] == ["100.0", "100.0", "0.0", "-1.0"]
    rows = list(csv.DictReader((out / "strict" / "all_results.csv").read_text().splitlines()))
    assert [row["4k"] for row in rows] == ["100.0", "0.0", "0.0", "-1.0"]
    _ = next(published.rglob("qa2*")).write_text(",target,output,question\n0,garden\n")
    assert "line 2, has 2 cells" in refused("babilong", "score", published)
    assert "There is no" in refused("babilong", "score", tmp_path / "none")
    one = next(published.rglob("qa1*"))
    for command in (("score", one), ("report", one, "--out", out)):
        assert f"name '{one.parent}'" in refused("babilong", *command)


def test_what_the_tables_of_the_reference_lack_is_told(run, published):
    folder = published / "org" / "model"
    assert "Notice" not in run("babilong", "score", published).stderr
    write_predictions(folder / "qa15_4k.csv", [Prediction("cat", "cat", "What is it?")])
    write_predictions(folder / "qa1_3k.csv", [Prediction("garden", "garden", "Where?")])
    write_predictions(folder / "qa4_4k.csv", [])
    told = run("babilong", "score", published).stderr.splitlines()
    assert len(told) == 2
    assert told[0].startswith("Notice: 2 files are not in the tables, such as 'qa1_3k.csv'")
    assert "qa4_4k.csv' holds no prediction" in told[1]


def test_records_are_scored_too(run, books, tmp_path):
    out = tmp_path / "out"
    _ = evaluated(run, "oracle", out, books)
    result = run("babilong", "score", out, "--out", tmp_path / "tables")
    assert "| rule reader | qa1 |  | strict | 100.0" in result.stdout
    assert (tmp_path / "tables" / "table.tex").exists()


def test_the_report_has_everything(run, refused, books, published, tmp_path):
    results, out = tmp_path / "results", tmp_path / "report"
    _ = evaluated(run, "oracle", results, books)
    _ = evaluated(run, "boxed", results, books)
    result = run("babilong", "report", results, published, "--out", out, "--title", "Mine & yours")
    assert result.exit_code == 0, result.output
    page = (out / "report.html").read_text()
    assert "<h1>Mine &amp; yours</h1>" in page
    assert "org/model" in page
    for name in ("heatmap_reference.png", "heatmap_strict.png", "leaderboard.png", "depth.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG"), name
    exported = run("babilong", "score", out / "reference_files")
    assert "armt/rule-reader, reference" in exported.stdout
    (tmp_path / "empty").mkdir()
    assert "No result file" in refused(
        "babilong", "report", tmp_path / "empty", "--out", tmp_path / "x"
    )


def test_the_harness_runs_on_a_recurrent_model(run, books, tmp_path):
    _ = pytest.importorskip("lm_eval")
    args = ("babilong", "lm-eval", "boxed", "--background", books, "--out", tmp_path / "lm")
    result = run(*args, "--tasks", "qa1", *SHORT)
    assert result.exit_code == 0, result.output
    for name in ("armt_babilong_qa1_0k | reference", "armt_babilong_qa1_300 | strict"):
        assert name in result.stdout
    kept = json.loads((tmp_path / "lm" / "lm_eval.json").read_text())
    assert set(kept["results"]) == {"armt_babilong_qa1_0k", "armt_babilong_qa1_300"}


def test_lists_on_the_command_line():
    assert parse_tasks("qa1, qa4-qa6,qa1") == ["qa1", "qa4", "qa5", "qa6"]
    assert len(parse_tasks("all")) == 20
    assert parse_lengths("0k,4k,1M,4k") == (0, 4000, 1_000_000)
    assert parse_process("2/4") == (2, 4)
    for wrong in ("4/4", "0/0", "1", "-1/2"):
        with pytest.raises(ConfigError, match="0/4"):
            _ = parse_process(wrong)
    with pytest.raises(UnknownNameError, match="qa21"):
        _ = parse_tasks("qa1-qa21")
    with pytest.raises(ConfigError, match="Tasks are named"):
        _ = parse_tasks(" ,")
    with pytest.raises(ConfigError, match="Tasks are named"):
        _ = parse_tasks("qa6-qa4")
    with pytest.raises(ConfigError, match="Lengths are named"):
        _ = parse_lengths("")


def test_settings_reach_every_part():
    settings = changed_settings(
        [
            "samples.placement=depth:0.25",
            "samples.question_at=both",
            "causal.max_answer_len=7",
            "endpoint.request.timeout_s=3.5",
            "prompts.without=examples,instruction",
            "recurrent.knows_facts=false",
            "books=all",
        ]
    )
    assert settings.samples.placement.name == "depth:0.25"
    assert settings.samples.question_at == "both"
    assert settings.causal.max_answer_len == 7
    assert settings.endpoint.request.timeout_s == 3.5
    assert settings.prompts.without == ("examples", "instruction")
    assert not settings.recurrent.knows_facts
    assert settings.books == "all"
