"""Words of what is told: numbers with their nouns, options, lines that are said once."""

import logging
import re
from pathlib import Path

import pytest

from alphacryo4d.core.words import ONCE, OnceFilter, option_words, plural
from alphacryo4d.deepfeature.options import TrainOptions

PACKAGE = Path(__file__).resolve().parents[2] / "alphacryo4d"
COUNTED = "states|batches|barriers|classes|components|Gaussians|basins|epochs|rounds|iterations"


def test_a_number_has_its_noun() -> None:
    assert [plural(count, "state") for count in (0, 1, 2)] == ["0 states", "1 state", "2 states"]
    assert plural(1, "batch", "batches") == "1 batch"
    assert plural(2400, "class", "classes") == "2,400 classes"


def test_numbers_that_may_be_one_do_not_stand_before_a_plural() -> None:
    """In what is logged; ``1 of 4 states`` and the like are right."""
    wrong = [
        f"{path.name}: {line.strip()}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for line in path.read_text().splitlines()
        if re.search(rf"(?<!of )(?<!the )%d ({COUNTED})\\b", line)
    ]
    assert wrong == []


def test_options_are_words() -> None:
    words = option_words(TrainOptions(epochs=3, regularization=0.001))
    assert words.startswith("epochs 3, batch size 8, regularization 0.001, learning rate 0.01")
    assert "early stop" in words
    assert not set("()=") & set(words)
    assert "validation" not in words


def test_a_line_is_said_once_where_that_is_asked(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("words")
    caplog.handler.addFilter(once := OnceFilter())
    try:
        with caplog.at_level("INFO"):
            for name in ("a", "a", "b"):
                logger.info("column %s", name, extra=ONCE)
                logger.info("also %s", name)
    finally:
        caplog.handler.removeFilter(once)
    assert [line for line in caplog.messages if "column" in line] == ["column a", "column b"]
    assert len(caplog.messages) == 5
