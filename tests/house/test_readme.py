"""The README stays short, has its parts in order of need, and its links lead somewhere."""

import re

import pytest

from house.sources import ROOT

MAX_LINES = 150
# What a heading must speak of.
PARTS = ("idea", "picture", "code", "memories", "heat map", "install", "add yours")
README = ROOT / "README.md"


def _text() -> str:
    return README.read_text(encoding="utf-8")


def _headings() -> list[str]:
    prose = re.sub(r"^```.*?^```", "", _text(), flags=re.DOTALL | re.MULTILINE)
    return [line.lstrip("# ").lower() for line in prose.splitlines() if line.startswith("#")]


def test_it_is_short():
    assert len(_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("part", PARTS)
def test_it_has_its_parts(part):
    assert any(part in heading for heading in _headings()), f"No heading of README speaks of {part}"


def test_its_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)|src=\"([^\"]+)\"", _text())
    local = [first or second for first, second in targets if "://" not in first + second]
    missing = [target for target in local if not (ROOT / target).exists()]
    assert not missing


def test_it_is_the_description_of_the_package():
    assert 'readme = "README.md"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
