"""The page's edits are those of ``vote --edits``: the same actions with the same fields."""

from alphacryo4d.report.edits import _FIELDS
from alphacryo4d.voting.edits import ACTIONS


def test_page_and_command_know_the_same_edits():
    assert {action: set(fields) for action, fields in _FIELDS.items()} == {
        action: set(fields) for action, fields in ACTIONS.items()
    }
