import pytest

from armt.evaluation.retrieval import retrieval_scores
from armt.recipes.smoke import smoke
from armt.tasks.associative_retrieval import AssociativeRetrievalConfig
from armt.training.run import prepare


def test_segments_hold_one_pair_each():
    run = smoke()
    for stage in run.stages:
        assert isinstance(stage.stream, AssociativeRetrievalConfig)
        assert stage.stream.segment_len == run.recurrence.segment_len


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_recipe_learns_to_recall(tmp_path):
    run = smoke()
    model = prepare(run, tmp_path).trainer.train()
    task = run.stages[-1].stream
    scores = retrieval_scores(model, task, (task.num_pairs, 4 * task.num_pairs))
    assert scores[task.num_pairs].accuracy >= 0.99
    assert scores[4 * task.num_pairs].accuracy >= 0.9
