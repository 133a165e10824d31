from dataclasses import replace

import pytest

from armt.recipes.frozen_recall import FROZEN_SEGMENT_LEN, frozen_arms, frozen_recall
from armt.recurrence.config import RecurrenceConfig
from armt.training.run import build_model


@pytest.mark.parametrize("arm", frozen_arms())
def test_every_arm_takes_the_weights_of_the_frozen_backbone(arm):
    run = frozen_recall()
    trained = build_model(run, None)
    recurrence = RecurrenceConfig(segment_len=FROZEN_SEGMENT_LEN)
    frozen = build_model(
        replace(run, memory=frozen_arms()[arm], recurrence=recurrence, seed=1), None
    )
    found = frozen.load_state_dict(trained.state_dict())
    assert not found.missing_keys
    assert not found.unexpected_keys


def test_only_the_published_form_sees_the_future():
    arms = frozen_arms()
    literal = [name for name in arms if getattr(arms[name], "literal", False)]
    assert literal == ["published"]
