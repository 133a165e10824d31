"""Every memory that can wave reads the same by CUDA graphs as by the plain loop (law 12)."""

from dataclasses import replace

import pytest

from armt import ARMTConfig
from armt.recurrence.choose_schedule import wave_obstacle
from tiny import SEGMENT_LEN, assert_same_state, random_ids, recurrent

pytestmark = pytest.mark.gpu

LENGTHS = (1, 2 * SEGMENT_LEN, 30 * SEGMENT_LEN + 2)


def test_graphs_read_as_the_loop_does(subject):
    plain = subject.model(schedule="sequential").cuda()
    if wave_obstacle(plain) is not None:
        return  # such a memory runs segment by segment
    graphed = subject.model(schedule="waves").cuda()
    for seed, length in enumerate(LENGTHS):
        ids = random_ids(2, length, seed=seed)
        assert_same_state(graphed.read(ids), plain.read(ids), rtol=1e-9, atol=1e-10)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")  # torch's compiler warns of itself
@pytest.mark.parametrize("schedule", ["waves", "sequential"])
def test_compiled_graphs_read_as_the_loop_does(schedule):
    memory = ARMTConfig(num_memory_tokens=4, d_mem=8)
    options = {"num_hidden_layers": 3}
    plain = recurrent(memory, schedule="sequential", **options).float().cuda()
    graphed = recurrent(memory, schedule=schedule, **options).float().cuda()
    graphed.recurrence = replace(graphed.recurrence, is_compiled=True)
    for seed, length in enumerate(LENGTHS):
        ids = random_ids(2, length, seed=seed)
        for given in (ids, ids.cuda()):
            assert_same_state(graphed.read(given), plain.read(ids), rtol=1e-3, atol=1e-4)
