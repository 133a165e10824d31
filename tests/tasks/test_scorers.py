import pytest

from armt.tasks.scorers import decode_answer, exact_match


@pytest.mark.parametrize(
    ("prediction", "answer", "is_right"),
    [
        ("kitchen", "kitchen", True),
        (" kitchen\n", "kitchen", True),
        ("Kitchen", "kitchen", False),
        ("kitchen.", "kitchen", False),
        ("the kitchen", "kitchen", False),
        ("", "kitchen", False),
    ],
)
def test_exact_match(prediction, answer, is_right):
    assert exact_match(prediction, answer) is is_right


def test_an_answer_ends_at_the_first_end_token(encoder):
    ids = [*encoder.encode(" office"), encoder.end_id, *encoder.encode("garden"), encoder.end_id]
    assert decode_answer(encoder, ids) == "office"
    assert decode_answer(encoder, encoder.encode("office ")) == "office"
    assert decode_answer(encoder, [encoder.end_id]) == ""
