import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from armt.core.errors import ConfigError
from armt.evaluation.reports.leaderboard import (
    claimed_row,
    draw_leaderboard,
    group_standings,
    leaderboard_figure,
    shown_lengths,
    shown_share,
)
from armt.evaluation.reports.published import MEASURED_HERE, Standing, leaderboard_rows

OWN = Standing("mine", None, {0: 99.0, 777: 0.0}, MEASURED_HERE)
SMALL = Standing("small", 8000, {0: 60.0, 8000: 48.0, 16000: 30.0}, "a paper")
LARGE = Standing("large", 200_000, {0: 70.0, 128_000: 40.0}, "a paper")
BETTER = Standing("better", 128_000, {0: 80.0, 128_000: 60.0}, "a paper")


def cells_of(figure) -> dict[str, tuple[float, ...]]:
    """Colours of the cells by the number in them."""
    [axes] = figure.axes
    inside = [text for text in axes.texts if text.get_position()[0] > 0]
    numbers = [text for text in inside if text.get_text().isdigit()]
    return {
        text.get_text(): patch.get_facecolor()[:3]
        for text, patch in zip(numbers, axes.patches, strict=True)
    }


def test_models_are_grouped_by_claim_and_sorted_by_average():
    groups = [
        (group.name, [each.name for each in group.standings])
        for group in group_standings([LARGE, SMALL, BETTER, OWN])
    ]
    assert groups == [("measured here", ["mine"]), ("8k", ["small"]), ("128k", ["better", "large"])]


def test_all_published_groups_are_there():
    names = [group.name for group in group_standings(leaderboard_rows())]
    assert names == ["8k", "32k", "64k", "128k", "1M", "unlimited"]


def test_cells_beyond_the_claim_are_blank_and_the_claimed_one_is_bold():
    assert shown_share(SMALL, 8000) == 48
    assert shown_share(SMALL, 16000) is None
    assert (claimed_row(SMALL), claimed_row(OWN)) == (8000, None)
    [axes] = leaderboard_figure([SMALL], "title").axes
    bold = [text.get_text() for text in axes.texts if text.get_weight() == "bold"]
    assert bold == ["mean", "48"]
    assert "30" not in {text.get_text() for text in axes.texts}


def test_rows_are_all_lengths_measured_by_anyone():
    assert shown_lengths([OWN, SMALL]) == [0, 777, 8000, 16000]


def test_colours_go_from_red_over_yellow_to_green():
    cells = cells_of(leaderboard_figure([OWN, SMALL], "title"))
    for number, colour in (("0", "#ff0000"), ("48", "#ffff00"), ("99", "#34a853")):
        assert np.allclose(cells[number], to_rgb(colour), atol=0.02), number


@pytest.mark.parametrize("length", [3, 39, 200])
def test_names_stay_within_the_picture_and_keep_their_end(length):
    own = OWN._replace(name="W" * length + " (qa1 only)")
    figure = leaderboard_figure([own, SMALL], "title")
    [axes] = figure.axes
    renderer = FigureCanvasAgg(figure).get_renderer()
    [name] = [text for text in axes.texts if text.get_text().endswith(" (qa1 only)")]
    box, [title] = name.get_window_extent(renderer), figure.texts[:1]
    assert box.y1 < title.get_window_extent(renderer).y0 < figure.bbox.height


def test_the_picture_is_written_in_every_kind(tmp_path):
    draw_leaderboard(tmp_path / "board.png", [OWN])
    width, height = imread(tmp_path / "board.png").shape[1::-1]
    assert width > height > 500
    draw_leaderboard(tmp_path / "board.svg", [OWN], published=[SMALL])
    assert (tmp_path / "board.svg").read_text().startswith("<?xml")
    with pytest.raises(ConfigError, match="no model to draw"):
        draw_leaderboard(tmp_path / "none.png", published=[])
    with pytest.raises(ConfigError, match="ends in"):
        draw_leaderboard(tmp_path / "board.doc", [OWN])


def test_the_footnote_says_what_was_not_measured_here():
    texts = [text.get_text() for text in leaderboard_figure([OWN, SMALL], "title").texts]
    assert "Published, not measured here: a paper." in texts
