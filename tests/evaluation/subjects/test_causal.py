import dataclasses

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from armt.core.errors import BackboneError, ConfigError, UnknownNameError
from armt.evaluation.harness import EvaluationConfig, evaluate
from armt.evaluation.subjects.causal import CausalConfig, CausalSubject, load_causal
from armt.tasks.babilong.prompts import Prompt, PromptBook
from armt.tasks.babilong.sample import BabilongTask
from armt.tasks.encoder import TokenizerEncoder
from evaluation.prose_task import prose_store
from evaluation.text_samples import text_sample
from tiny import backbone
from tiny_boxed import PROSE, tiny_tokenizer

PROMPTS = PromptBook({"qa1": Prompt(instruction="Where are they?")})
CONFIG = CausalConfig(max_answer_len=4)


@pytest.fixture(scope="module")
def tokenizer():
    return PreTrainedTokenizerFast(tokenizer_object=tiny_tokenizer(), eos_token="<|endoftext|>")


@pytest.fixture(scope="module")
def model(tokenizer):
    return backbone("llama", vocab_size=len(tokenizer), max_position_embeddings=400)


def subject_of(model, tokenizer, config=CONFIG, prompts=PROMPTS):
    return CausalSubject(model, tokenizer, config, prompts, name="tiny")


def sample(text=PROSE, question="Where is Mary? ", **options):
    return text_sample(text, question, "garden", **options)


def said(subject, samples):
    return [answer.text for answer in subject.answer(samples, ("none",))["none"]]


def greedy(model, tokenizer, text, num_tokens):
    """The most likely continuation, found without a cache and without `generate`."""
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    start = ids.shape[1]
    for _ in range(num_tokens):
        with torch.no_grad():
            token = model(input_ids=ids).logits[:, -1:].argmax(-1)
        if int(token) == model.config.eos_token_id:
            break
        ids = torch.cat([ids, token], dim=1)
    return tokenizer.decode(ids[0, start:], skip_special_tokens=True)


def test_the_answer_is_the_most_likely_continuation_of_the_prompt(model, tokenizer):
    text = PROMPTS["qa1"].text(PROSE, "Where is Mary? ")
    (found,) = subject_of(model, tokenizer).answer([sample()], ("none",))["none"]
    assert found.text == greedy(model, tokenizer, text, 4)
    assert found.details == {"prompt_len": len(tokenizer(text)["input_ids"])}
    assert found.num_dropped == 0


def test_what_does_not_fit_is_dropped_and_counted(model, tokenizer):
    (found,) = subject_of(model, tokenizer).answer([sample(PROSE * 9)], ("none",))["none"]
    assert found.details == {"prompt_len": 400 - 4}
    assert found.num_dropped > 100
    longer = dataclasses.replace(CONFIG, max_prompt_len=90)
    (cut,) = subject_of(model, tokenizer, longer).answer([sample()], ("none",))["none"]
    assert cut.details == {"prompt_len": 90}


def test_answers_do_not_depend_on_who_is_beside(model, tokenizer):
    samples = [
        sample(question=question)
        for question in ("Where is Mary? ", "Where is John now, in the evening? ", "Where? ")
    ]
    together = said(
        subject_of(model, tokenizer, CausalConfig(max_answer_len=4, batch_size=3)), samples
    )
    apart = [said(subject_of(model, tokenizer), [each])[0] for each in samples]
    assert together == apart


def test_a_sample_for_which_memory_runs_out_fails_alone(model, tokenizer, monkeypatch):
    subject = subject_of(model, tokenizer)
    generate = type(model).generate

    def run_out(self, ids, **options):
        if ids.shape[1] > 390:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return generate(self, ids, **options)

    monkeypatch.setattr(type(model), "generate", run_out)
    answers = subject.answer([sample(), sample(PROSE * 9), sample()], ("none",))["none"]
    assert [answer.failure != "" for answer in answers] == [False, True, False]
    assert "out of memory" in answers[1].failure


def test_all_that_decides_the_answers_makes_another_fingerprint(model, tokenizer):
    first = subject_of(model, tokenizer)
    others = [
        subject_of(backbone("llama", seed=1, vocab_size=len(tokenizer)), tokenizer),
        subject_of(model, tokenizer, CausalConfig(max_answer_len=5)),
        subject_of(model, tokenizer, dataclasses.replace(CONFIG, shortening="prompt")),
        subject_of(model, tokenizer, dataclasses.replace(CONFIG, max_prompt_len=40)),
    ]
    assert len({first.fingerprint, *(each.fingerprint for each in others)}) == 5
    wider = dataclasses.replace(CONFIG, batch_size=8)
    assert subject_of(model, tokenizer, wider).fingerprint == first.fingerprint


def test_a_prompt_is_told_of_its_task_and_not_of_the_subject(model, tokenizer):
    asked = PromptBook({"qa1": Prompt(instruction="Who?"), "qa2": PROMPTS["qa1"]})
    first, second = subject_of(model, tokenizer), subject_of(model, tokenizer, prompts=asked)
    assert first.fingerprint == second.fingerprint
    assert first.about.told_for("qa1").hash == PROMPTS["qa1"].hash
    assert second.about.told_for("qa1").hash == asked["qa1"].hash
    assert second.about.prompt_set == asked.hash


def test_a_task_without_a_prompt_is_told(model, tokenizer):
    with pytest.raises(UnknownNameError, match="no prompt for the task 'qa2'"):
        _ = said(subject_of(model, tokenizer), [sample(task="qa2")])


def test_a_model_without_positions_for_a_prompt_is_refused(model, tokenizer):
    with pytest.raises(ConfigError, match="400 positions"):
        _ = subject_of(model, tokenizer, CausalConfig(max_answer_len=400))


@pytest.mark.parametrize("name", ["batch_size", "max_answer_len", "max_prompt_len"])
def test_wrong_options_are_refused(name):
    with pytest.raises(ConfigError, match=name):
        _ = CausalConfig(**{name: 0})
    with pytest.raises(ConfigError, match="shortening"):
        _ = CausalConfig(shortening="middle")


def test_a_model_is_loaded_from_a_folder(model, tokenizer, tmp_path):
    folder = tmp_path / "tiny-llama"
    model.float().save_pretrained(folder)
    _ = model.double()
    tokenizer.save_pretrained(folder)
    subject = load_causal(str(folder), CONFIG, PROMPTS)
    assert subject.about.name == "tiny-llama"
    assert said(subject, [sample()]) == said(subject_of(model, tokenizer), [sample()])
    with pytest.raises(BackboneError, match="No causal language model can be loaded"):
        _ = load_causal(str(tmp_path / "nothing"))
    weights = folder / "model.safetensors"
    _ = weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(BackboneError, match=r"[^.]\. Give a folder with a model"):
        _ = load_causal(str(folder))


def test_a_whole_evaluation_of_a_tiny_model(model, tokenizer, tmp_path):
    encoder = TokenizerEncoder(tokenizer)
    task = BabilongTask(prose_store(encoder), encoder)
    options = EvaluationConfig(lengths=(0, 1000), num_samples=3)
    path = tmp_path / "records.jsonl"
    records = evaluate(subject_of(model, tokenizer), task, options, record_path=path)
    assert [(record.length, record.arm) for record in records] == [(0, "none")] * 3 + [
        (1000, "none")
    ] * 3
    assert {tuple(record.scores) for record in records} == {("reference", "strict", "exact")}
    assert all((record.num_dropped > 0) == (record.length == 1000) for record in records)
    assert len(path.read_text().splitlines()) == 6
