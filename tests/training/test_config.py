from dataclasses import replace

import pytest

from armt.core.errors import ConfigError, UnknownNameError
from armt.core.registry import MEMORIES
from armt.memories.armt import ARMTConfig
from armt.memories.hmt import HMTConfig
from armt.tasks.associative_retrieval import AssociativeRetrievalConfig
from armt.tasks.babilong import FactStreamConfig
from armt.training.config import RunConfig, StageConfig
from training.runs import carried_run, retrieval_run


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("seed", "7", lambda run: run.seed == 7),
        ("precision", "bfloat16", lambda run: run.precision == "bfloat16"),
        ("optim.clip_norm", "2", lambda run: run.optim.clip_norm == 2.0),
        ("optim.betas", "(0.5, 0.6)", lambda run: run.optim.betas == (0.5, 0.6)),
        ("memory.d_mem", "12", lambda run: run.memory.d_mem == 12),
        ("memory.gate_bias", "none", lambda run: run.memory.gate_bias is None),
        ("memory.use_unit_features", "false", lambda run: run.memory.use_unit_features is False),
        ("recurrence.bptt_depth", "3", lambda run: run.recurrence.bptt_depth == 3),
        ("stages.0.num_steps", "9", lambda run: run.stages[0].num_steps == 9),
        ("stages.1.stream.num_pairs", "1", lambda run: run.stages[1].stream.num_pairs == 1),
        ("stages.1.learning_rate", "1", lambda run: run.stages[1].learning_rate == 1.0),
    ],
)
def test_any_option_is_set_from_a_text(path, text, expected):
    run = retrieval_run(memory=ARMTConfig(gate_bias=1.0))
    changed = run.replaced(path, text)
    assert expected(changed)
    assert type(changed) is RunConfig
    assert not expected(run)  # the run itself is as it was


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("sed", "1", "RunConfig has no option 'sed'. Did you mean 'seed'?"),
        ("memory.d_men", "1", "ARMTConfig has no option 'd_men'. Did you mean 'd_mem'?"),
        ("stages.0.num_step", "1", "Did you mean 'num_steps'?"),
        ("stages.2.num_steps", "1", "only 2 entries, counted from 0"),
        ("stages.num_steps", "1", "named like '0.name'"),
        ("seed.more", "1", "no option at 'more'"),
        ("seed", "1.5", "`seed` must be int. Got '1.5'"),
        ("seed", None, "`seed` needs a value"),
        ("precision", "float16", "one of 'float32', 'bfloat16'. Got 'float16'"),
        ("memory.use_unit_features", "perhaps", "must be bool"),
        ("memory.d_mem", "0", "`d_mem` must be at least 1. Got 0"),
        ("stages.0.num_steps", "-1", "must not be negative"),
        ("stages.0.learning_rate", "0", "`learning_rate` must be positive"),
        ("optim.betas", "0.9", "`betas` must be"),
    ],
)
def test_mistakes_are_told(path, value, said):
    with pytest.raises(ConfigError) as caught:
        _ = retrieval_run().replaced(path, value)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", [card.name for card in MEMORIES])
def test_a_memory_is_replaced_by_its_name(name):
    run = retrieval_run()
    changed = run.changed([f"memory={name}", "seed=4"])
    assert changed.memory == MEMORIES[name].config_class()
    assert changed == replace(run, memory=changed.memory, seed=4)


def test_an_unknown_memory_is_told():
    with pytest.raises(UnknownNameError, match="Did you mean 'hmt'"):
        _ = retrieval_run().replaced("memory", "hmtt")


@pytest.mark.parametrize("make", [retrieval_run, carried_run])
def test_a_run_is_plain_data_that_tells_runs_apart(make):
    run = make()
    told = run.to_dict()
    assert told["stages"][0]["stream"] == run.stages[0].stream.to_dict()
    assert make().to_dict() == told
    assert replace(run, seed=1).to_dict() != told


@pytest.mark.parametrize("stream", [AssociativeRetrievalConfig(num_pairs=3), FactStreamConfig()])
def test_a_stage_comes_back_from_plain_data(stream):
    stage = StageConfig(num_steps=3, learning_rate=0.1, stream=stream)
    told = {**stage.to_dict(), "stream": stream}
    assert StageConfig.from_dict(told) == stage


def test_a_stage_may_change_what_a_memory_lets_it():
    run = retrieval_run(memory=HMTConfig(num_cached=2, num_sensory=0))
    changed = run.replaced("stages.0.memory_changes", "[use_recall=false]")
    stages = [changed.memory.in_stage(stage.memory_changes) for stage in changed.stages]
    assert [stage.use_recall for stage in stages] == [False, True]
    assert replace(stages[0], use_recall=True) == changed.memory
    with pytest.raises(ConfigError, match=r"all stages: num_cached\. A stage may change: use_rec"):
        _ = run.replaced("stages.0.memory_changes", "[num_cached=3]")
    assert changed.replaced("memory", "rmt").stages == run.stages
    with pytest.raises(ConfigError, match="no option 'use_recall'"):
        _ = retrieval_run().replaced("stages.0.memory_changes", "[use_recall=false]")


def test_the_steps_of_all_stages_count():
    assert retrieval_run(6).num_steps == 6
    assert carried_run().num_steps == 6
