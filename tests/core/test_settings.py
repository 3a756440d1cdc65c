"""Options take numbers and tuples in Python, and the spellings of the command line."""

import dataclasses

import pytest

from alphacryo4d.core.errors import UsageError
from alphacryo4d.landscape.options import StatesOptions
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.reclassify.options import ReclassifyOptions
from alphacryo4d.resample.options import ResampleOptions
from alphacryo4d.voting.options import VoteOptions, votes_needed


@pytest.mark.parametrize(
    ("settings", "name", "value", "spelling"),
    [
        (ClassifyOptions, "classes", 20, "20"),
        (ClassifyOptions, "classes", (5, 8), "5x8"),
        (StatesOptions, "states", 7, "7"),
        (ResampleOptions, "box", 48, "48"),
        (VoteOptions, "threshold", 0.6, "0.6"),
        (ReclassifyOptions, "threshold", 2, "2"),
    ],
)
def test_numbers_are_the_same_options_as_their_spelling(settings, name, value, spelling):
    assert settings(**{name: value}) == settings(**{name: spelling})
    assert getattr(settings(**{name: value}), name) == spelling


def test_values_mean_what_they_are():
    assert ClassifyOptions(classes=(5, 8)).levels == (5, 8)
    assert StatesOptions(states=7).number == 7
    assert votes_needed(0.6, 5) == votes_needed("0.6", 5) == 4
    assert votes_needed(2, 3) == 2


def test_numbers_that_make_no_sense_are_refused():
    for wrong in (lambda: ClassifyOptions(classes=0), lambda: StatesOptions(states=0),
                  lambda: VoteOptions(threshold=1.5)):  # fmt: skip
        with pytest.raises(UsageError):
            wrong()


def test_options_describe_every_field_as_the_help_does():
    text = ClassifyOptions.__doc__ or ""
    for field in dataclasses.fields(ClassifyOptions):
        assert f"\n{field.name} : {field.type}, default {field.default!r}\n" in text
    assert "Resolution limit of the first iterations (A);" in " ".join(text.split())
