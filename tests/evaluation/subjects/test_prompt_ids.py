import pytest
from transformers import PreTrainedTokenizerFast

from armt.core.errors import ConfigError
from armt.evaluation.subjects import prompt_ids, words
from armt.evaluation.subjects.prompt_ids import PromptWriter
from armt.evaluation.subjects.words import whole_words
from armt.tasks.babilong.prompts import Prompt
from evaluation.text_samples import text_sample
from tiny_boxed import PROSE, tiny_tokenizer

PROMPT = Prompt(instruction="Read about the people.", post_prompt="Say one word.")
QUESTION = "Where is Mary? "
LONG = " " + PROSE * 30
TEMPLATE = "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %} [assistant] "


@pytest.fixture(scope="module")
def tokenizer():
    return PreTrainedTokenizerFast(tokenizer_object=tiny_tokenizer(), eos_token="<|endoftext|>")


def write(tokenizer, text, prompt=PROMPT, **options):
    return PromptWriter(tokenizer, **options).write(prompt, text_sample(text, QUESTION, "garden"))


def test_a_prompt_that_fits_is_encoded_as_a_whole(tokenizer):
    expected = tokenizer(PROMPT.text(PROSE, QUESTION))["input_ids"]
    for options in ({"max_len": None}, {"max_len": len(expected)}):
        found = write(tokenizer, PROSE, **options)
        assert found == (expected, 0)


def test_the_beginning_of_the_context_is_dropped_and_counted(tokenizer):
    found = write(tokenizer, LONG, max_len=150)
    text = tokenizer.decode(found.ids)
    assert len(found.ids) == 150
    assert text.startswith("Read about the people.\n\n")
    assert text.endswith("</context>\n\nQuestion: Where is Mary?")
    kept = text.partition("<context>\n")[2].partition("\n</context>")[0]
    assert LONG.strip().endswith(kept)
    num_tokens = len(tokenizer(LONG.strip())["input_ids"])
    assert found.num_dropped == num_tokens - len(tokenizer(kept)["input_ids"])


def test_the_beginning_of_the_whole_prompt_can_be_dropped(tokenizer):
    whole = tokenizer(PROMPT.text(LONG, QUESTION))["input_ids"]
    found = write(tokenizer, LONG, max_len=150, shortening="prompt")
    assert found.ids == whole[-150:]
    num_head = len(
        tokenizer(PROMPT.text("", "").partition("<context>\n")[0] + "<context>\n").input_ids
    )
    assert found.num_dropped == len(whole) - 150 - num_head


def test_a_prompt_that_is_short_of_a_few_tokens_loses_its_instruction_first(tokenizer):
    whole = tokenizer(PROMPT.text(PROSE, QUESTION))["input_ids"]
    found = write(tokenizer, PROSE, max_len=len(whole) - 3, shortening="prompt")
    assert found == (whole[3:], 0)


@pytest.mark.parametrize("shortening", ["context", "prompt"])
def test_pieces_do_not_change_the_tokens(tokenizer, shortening, monkeypatch):
    whole = write(tokenizer, LONG, max_len=200, shortening=shortening)
    monkeypatch.setattr(
        prompt_ids, "whole_words", lambda pieces: words.whole_words(pieces, num_chars=40)
    )
    assert write(tokenizer, LONG, max_len=200, shortening=shortening) == whole


def test_a_prompt_without_room_is_told(tokenizer):
    with pytest.raises(ConfigError, match="tokens without its context, and only 5 fit"):
        _ = write(tokenizer, PROSE, max_len=5)
    assert len(write(tokenizer, PROSE, max_len=5, shortening="prompt").ids) == 5


def test_a_chat_template_stands_around_the_prompt(tokenizer):
    chat = PreTrainedTokenizerFast(
        tokenizer_object=tiny_tokenizer(), eos_token="<|endoftext|>", chat_template=TEMPLATE
    )
    found = write(chat, PROSE, max_len=None, has_chat_template=True)
    whole = f"[user] {PROMPT.text(PROSE, QUESTION)} [assistant] "
    assert chat.decode(found.ids) == whole
    cut = write(chat, LONG, max_len=150, has_chat_template=True)
    text = chat.decode(cut.ids)
    assert text.startswith("[user] Read about the people.")
    assert text.endswith("Question: Where is Mary? [assistant] ")
    assert cut.num_dropped > 0
    with pytest.raises(ConfigError, match="no chat template"):
        _ = PromptWriter(tokenizer, max_len=None, has_chat_template=True)


def test_a_template_that_loses_the_context_is_told(tokenizer):
    lossy = PreTrainedTokenizerFast(
        tokenizer_object=tiny_tokenizer(), chat_template="{{ messages[0].role }}"
    )
    with pytest.raises(ConfigError, match="not 0 times"):
        _ = write(lossy, PROSE, max_len=None, has_chat_template=True)


@pytest.mark.parametrize("num_chars", [1, 5, 10_000])
def test_pieces_end_before_blanks_and_join_to_the_text(num_chars):
    text = " " + PROSE + "  " + "x" * 50 + " end "
    pieces = list(whole_words((text[at : at + 3] for at in range(0, len(text), 3)), num_chars))
    assert "".join(pieces) == text
    assert all(piece.startswith(" ") for piece in pieces[1:])
    assert list(whole_words([])) == []


def test_white_space_around_a_context_does_not_count(tokenizer):
    padded = "\n \n" + PROSE + " \n "
    assert write(tokenizer, padded, max_len=None) == write(tokenizer, PROSE, max_len=None)
    pieces = [" ", "\n", " a ", " \n", "b", " ", "\n"]
    assert "".join(prompt_ids._stripped(pieces)) == "a  \nb"
