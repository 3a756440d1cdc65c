"""The short form of the battery, in one process; `make faults` runs every row, and the whole."""

import pytest
from rows_corruption import other, test_damaged_files_are_named_or_made_again  # noqa: F401
from rows_disk import (  # noqa: F401
    test_a_full_disk_loses_nothing,
    test_a_limit_on_file_sizes_is_named,
    test_no_locks_is_said_and_harmless,
    test_read_errors_are_named,
)
from rows_environment import test_paths  # noqa: F401
from rows_relion import test_stand_ins_of_relion_are_named  # noqa: F401

pytestmark = pytest.mark.slow
