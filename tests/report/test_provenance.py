"""Options on the page that differ from their defaults."""

import pytest

from alphacryo4d.report.provenance import changed_options, default_options


@pytest.mark.parametrize(
    ("normalise", "changed"),
    [("auto", False), ("deviation", False), ("micrograph", False), ("none", True)],
)
def test_what_the_images_decide_is_no_changed_option(normalise: str, changed: bool) -> None:
    options = {"classify": {"normalise": normalise, "classes": 3}}
    found = {one["option"] for one in changed_options(options, default_options())}
    assert found == {"classify.classes"} | ({"classify.normalise"} if changed else set())
