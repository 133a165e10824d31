from dataclasses import replace

import pytest

from armt.comparison.config import SETTINGS
from armt.comparison.trials import MEASURES, plan_trials
from armt.core.errors import ConfigError, UnknownNameError
from armt.core.registry import MEMORIES

SMOKE = SETTINGS["smoke"].entry()


@pytest.mark.parametrize("name", ["smoke", "full"])
def test_every_registered_memory_has_its_trials(name):
    config = SETTINGS[name].entry()
    trials = plan_trials(config)
    assert len(trials) == len({trial.key for trial in trials})
    assert {(trial.part, trial.mechanism, trial.seed) for trial in trials} == {
        (part, card.name, seed) for part in MEASURES for card in MEMORIES for seed in config.seeds
    }


def test_a_memory_that_no_setting_names_is_compared_as_its_card_has_it(monkeypatch):
    monkeypatch.setitem(MEMORIES._cards, "ninth", replace(MEMORIES["rmt"], name="ninth"))
    assert SMOKE.memory_configs()["ninth"] == MEMORIES["rmt"].tiny


def test_only_memory_and_seed_differ_between_trials_of_a_part():
    trials = [trial for trial in plan_trials(SMOKE) if trial.part == "language"]
    plans = [trial.plan.to_dict() for trial in trials]
    for plan in plans:
        plan["run"]["memory"] = None
    assert all(plan == plans[0] for plan in plans)


def test_options_of_a_memory_reach_it():
    config = SMOKE.changed(["memories=armt", "memory_options=armt.d_mem=8,armt.nu=2"], "")
    [memory] = config.memory_configs().values()
    assert (memory.d_mem, memory.nu, memory.num_memory_tokens) == (8, 2, 2)


def test_whatever_decides_a_figure_changes_the_key():
    changes = ["seeds=1", "memory_options=none", "retrieval.run.stages.0.num_steps=7"]
    keys = [plan_trials(SMOKE.changed([change], ""))[0].key for change in changes[::2]]
    keys.append(plan_trials(SMOKE.changed(["memory_options=armt.d_mem=7"], ""))[0].key)
    assert len({*keys, plan_trials(SMOKE)[0].key}) == 4
    later = plan_trials(SMOKE.changed(["commit=abc", "memories=armt"], ""))[0]
    assert later.key == plan_trials(SMOKE)[0].key


def test_mistakes_are_told():
    with pytest.raises(UnknownNameError, match="Did you mean 'armt'"):
        _ = SMOKE.changed(["memories=amrt"], "").memory_configs()
    with pytest.raises(UnknownNameError, match="Unknown memory 'x'"):
        _ = SMOKE.changed(["memory_options=x.d_mem=1"], "").memory_configs()
    with pytest.raises(ConfigError, match="has no option 'd_men'"):
        _ = SMOKE.changed(["memory_options=armt.d_men=1"], "").memory_configs()
    with pytest.raises(ConfigError, match=r"armt\.d_mem=32"):
        _ = SMOKE.changed(["memory_options=armt"], "").memory_configs()
    for change in ("seeds=", "retrieval.nums_pairs=0", "qa1.num_samples=0", "language.num_rows=0"):
        with pytest.raises(ConfigError, match="Got"):
            _ = SMOKE.changed([change], "")
