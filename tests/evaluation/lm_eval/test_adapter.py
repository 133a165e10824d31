from types import SimpleNamespace

import pytest
import torch

from armt.core.errors import ConfigError
from armt.evaluation.lm_eval.adapter import PromptForm, recurrent_lm
from armt.evaluation.lm_eval.stopping import Wish
from tiny_boxed import PROSE, tiny_boxed

_ = pytest.importorskip("lm_eval")
# More than a segment of 16 tokens, so that the memory is written.
CONTEXT = PROSE[:190]


@pytest.fixture(scope="module")
def boxed():
    return tiny_boxed()


@pytest.fixture(scope="module")
def lm(boxed):
    return recurrent_lm(boxed.model, boxed.encoder, PromptForm(batch_size=2, max_answer_len=12))


def request(*args):
    return SimpleNamespace(args=args)


def whole_log_probs(boxed, ids: list[int]) -> torch.Tensor:
    """Log-probabilities after every token of a text that the model reads in one go."""
    with torch.no_grad():
        output = boxed.model(input_ids=torch.tensor([ids]), logits_to_keep=0)
    return output.logits[0].log_softmax(-1)


def test_it_is_a_model_of_the_harness(lm, boxed):
    from lm_eval.api.model import LM, TemplateLM

    assert isinstance(lm, LM)
    assert isinstance(lm, TemplateLM)
    assert (lm.rank, lm.world_size) == (0, 1)
    assert lm.eot_token_id == boxed.encoder.end_id
    assert lm.tokenizer_name.endswith(boxed.encoder.digest[:16])
    assert lm.get_model_info()["model_num_parameters"] == boxed.model.num_parameters()


def test_likelihoods_are_those_of_the_whole_text(lm, boxed):
    continuations = [" the garden", " Mary", ".", " he children came home by the river and told"]
    contexts = [CONTEXT, CONTEXT[:60], "The"]
    requests = [request(context, tail) for context in contexts for tail in continuations]
    found = lm.loglikelihood(requests, disable_tqdm=True)
    for (log_prob, is_greedy), (context, tail) in zip(
        found, [each.args for each in requests], strict=True
    ):
        ids, num_context = boxed.encoder.encode(context + tail), len(boxed.encoder.encode(context))
        spread = whole_log_probs(boxed, ids)[num_context - 1 : -1]
        wanted = torch.tensor(ids[num_context:])
        expected = float(spread.gather(-1, wanted.unsqueeze(-1)).sum())
        assert log_prob == pytest.approx(expected, abs=1e-3)
        assert is_greedy is bool((spread.argmax(-1) == wanted).all())


def test_a_greedy_continuation_is_known_as_one(lm, boxed):
    context = boxed.encoder.encode(CONTEXT)
    options = {"max_new_tokens": 3, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    output = boxed.model.generate(torch.tensor([context]), **options)
    tail = output[0, len(context) :].tolist()
    other = [*tail[:-1], (tail[-1] + 1) % boxed.encoder.vocab_size]
    found = lm._loglikelihood_tokens([(("c", "t"), context, ids) for ids in (tail, other)])
    assert [is_greedy for _, is_greedy in found] == [True, False]
    assert found[1][0] < found[0][0] < 0


def test_the_memory_counts(lm):
    """The same last segment after another beginning: a model that forgot it would not differ."""
    other = "Nobody" + CONTEXT[6:]
    one, two = lm.loglikelihood(
        [request(CONTEXT, " garden"), request(other, " garden")], disable_tqdm=True
    )
    assert one[0] != pytest.approx(two[0], abs=1e-6)


def test_a_context_is_read_once_for_all_of_its_continuations(lm, boxed, monkeypatch):
    read, num_tokens = type(boxed.model).read, []

    def count(self, ids, state):
        num_tokens.append(ids.numel())
        return read(self, ids, state)

    monkeypatch.setattr(type(boxed.model), "read", count)
    requests = [request(CONTEXT, tail) for tail in (" a", " b", " c", " d")]
    _ = lm.loglikelihood(requests, disable_tqdm=True)
    assert sum(num_tokens) == len(boxed.encoder.encode(CONTEXT)) - 1


def test_an_empty_context_is_the_end_token(lm, boxed):
    ((log_prob, _),) = lm.loglikelihood([request("", "The house")], disable_tqdm=True)
    ids = boxed.encoder.encode("The house")
    spread = whole_log_probs(boxed, [boxed.encoder.end_id, *ids])[:-1]
    expected = spread.gather(-1, torch.tensor(ids).unsqueeze(-1)).sum()
    assert log_prob == pytest.approx(float(expected), abs=1e-3)
    assert lm.loglikelihood_rolling([request("The house")]) == [pytest.approx(log_prob, abs=1e-4)]


@pytest.mark.parametrize("num_chars", [0, 1, 40, 200])
def test_whole_texts_are_likely_as_in_one_go(lm, boxed, num_chars):
    (found,) = lm.loglikelihood_rolling([request(PROSE[:num_chars])])
    ids = boxed.encoder.encode(PROSE[:num_chars])
    if not ids:
        assert found == 0.0
        return
    spread = whole_log_probs(boxed, [boxed.encoder.end_id, *ids])[:-1]
    expected = spread.gather(-1, torch.tensor(ids).unsqueeze(-1)).sum()
    assert found == pytest.approx(float(expected), abs=2e-3)


def test_generation_follows_the_whole_prompt(lm, boxed):
    ids = torch.tensor([boxed.encoder.encode(CONTEXT)])
    options = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": boxed.encoder.end_id}
    output = boxed.model.generate(ids, pad_token_id=boxed.encoder.end_id, **options)
    expected = output[0, ids.shape[1] :].tolist()
    end = boxed.encoder.end_id
    expected = expected[: expected.index(end)] if end in expected else expected
    (found,) = lm.generate_until([request(CONTEXT, {"until": []})])
    assert found == boxed.encoder.decode(expected)
    assert len(expected) > 3


def test_prompts_of_any_length_come_back_in_their_order(lm):
    prompts = [CONTEXT, "The", CONTEXT[:100], "", CONTEXT, PROSE, "The old house"]
    arguments = {"until": [], "max_gen_toks": 4}
    together = lm.generate_until([request(prompt, arguments) for prompt in prompts])
    alone = [lm.generate_until([request(prompt, arguments)])[0] for prompt in prompts]
    assert together == alone
    assert len(set(together)) > 2


def test_text_ends_before_the_first_stop(lm):
    (whole,) = lm.generate_until([request(CONTEXT, {"until": []})])
    assert len(whole) > 4
    for stop in (whole[2:4], whole[3]):
        arguments = {"until": ["never to be found", stop]}
        (found,) = lm.generate_until([request(CONTEXT, arguments)])
        assert found == whole[: whole.index(stop)]
    (found,) = lm.generate_until([request(CONTEXT, {"until": whole[3]})])
    assert found == whole[: whole.index(whole[3])]


def test_rows_stop_each_for_itself(lm):
    prompts = [CONTEXT, "Nobody" + CONTEXT[6:]]
    outputs = lm.generate_until([request(prompt, {"until": []}) for prompt in prompts])
    stop = outputs[0][2:4]
    arguments = {"until": [stop]}
    found = lm.generate_until([request(prompt, arguments) for prompt in prompts])
    assert found == [text.partition(stop)[0] for text in outputs]


def test_the_last_line_can_be_a_question(boxed):
    form = PromptForm(encode_text=boxed.encode_text, encode_question=boxed.encode_question)
    lm = recurrent_lm(boxed.model, boxed.encoder, form)
    prompt = lm._prompt("Some text.\n\nOn two lines.\nWhere is  Mary?\n")
    assert prompt.context.tolist() == boxed.encode_text("Some text. On two lines.")
    assert prompt.question == boxed.encode_question("Where is Mary?")
    alone = lm._prompt("Where is Mary?")
    assert alone.context.tolist() == []
    (answer,) = lm.generate_until([request("Where is Mary?", {"until": [], "max_gen_toks": 3})])
    assert answer == answer.strip()


def test_answers_are_kept_for_the_cache_of_the_harness(boxed):
    lm = recurrent_lm(boxed.model, boxed.encoder)
    kept = []
    lm.set_cache_hook(SimpleNamespace(add_partial=lambda *entry: kept.append(entry)))
    arguments = {"until": [], "max_gen_toks": 2}
    (text,) = lm.generate_until([request("The", arguments)])
    found = lm.loglikelihood([request("The", " old")], disable_tqdm=True)
    (whole,) = lm.loglikelihood_rolling([request("The")])
    assert kept == [
        ("generate_until", ("The", arguments), text),
        ("loglikelihood", ("The", " old"), found[0]),
        ("loglikelihood_rolling", ("The",), whole),
    ]


def test_a_chat_template_must_be_there(lm, boxed):
    with pytest.raises(ConfigError, match="no chat template"):
        _ = lm.apply_chat_template([{"role": "user", "content": "x"}])
    form = PromptForm(render=lambda messages, asks: f"{messages[0]['content']}|{asks}")
    chat = recurrent_lm(boxed.model, boxed.encoder, form)
    assert chat.apply_chat_template([{"role": "user", "content": "x"}]) == "x|True"


def test_wishes_are_read():
    wish = Wish.of({"until": ["\n", ""], "max_gen_toks": 5, "temperature": 0.0}, 9)
    assert (wish.stops, wish.max_answer_len) == (("\n",), 5)
    assert wish.options["temperature"] is None
    assert wish.options["do_sample"] is False
    drawn = Wish.of({"do_sample": True, "temperature": 0.7, "top_p": 0.9}, 9)
    assert dict(drawn.options) == {"do_sample": True, "temperature": 0.7, "top_p": 0.9}
    assert (drawn.stops, drawn.max_answer_len) == ((), 9)
    assert Wish.of({"until": None}, 9).stops == ()
    assert wish.cut("a\nb\n") == "a"
    assert Wish.of({"until": ["b", "ab"]}, 9).cut("cab") == "c"


@pytest.mark.parametrize("arguments", [{"max_gen_toks": 0}, {"until": [3]}])
def test_wrong_wishes_are_refused(arguments):
    with pytest.raises(ConfigError):
        _ = Wish.of(arguments, 9)


@pytest.mark.parametrize("name", ["batch_size", "max_answer_len"])
def test_wrong_options_are_refused(name):
    with pytest.raises(ConfigError, match=name):
        _ = PromptForm(**{name: 0})
