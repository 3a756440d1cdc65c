"""Programs run without a shell, end with the run that started them, and say why they failed."""

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_until

from alphacryo4d.core.errors import (
    InputError,
    MissingProgramError,
    ProgramError,
    TimeLimitReached,
    UsageError,
)
from alphacryo4d.core.lock import locked
from alphacryo4d.core.program import (
    command_lines,
    extra_arguments,
    find_program,
    program_output,
    refuse_unsafe_name,
    run_program,
)


def test_output_and_command_line_go_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "run.log"
    run_program([sys.executable, "-c", "print('made', 2 + 3)"], log=log)
    text = log.read_text()
    assert text.startswith("$ ")
    assert "made 5" in text


def test_a_second_run_appends_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    for word in ("first", "second"):
        run_program([sys.executable, "-c", f"print('{word}')"], log=log)
    assert log.read_text().index("first\n") < log.read_text().rindex("second\n")


def test_a_command_begins_a_line_of_the_log_after_one_that_was_cut_off(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.write_bytes(b"Expectation iteration 4\r 0/ 0 sec ...")
    run_program([sys.executable, "-c", ""], log=log)
    assert log.read_bytes().splitlines()[-1].startswith(b"$ ")


def test_failure_shows_the_exit_code_and_the_last_lines(tmp_path: Path) -> None:
    code = "import sys; print('early'); print('no space left on device'); sys.exit(3)"
    with pytest.raises(ProgramError, match=r"exit code 3(.|\n)*no space left on device"):
        run_program([sys.executable, "-c", code], log=tmp_path / "run.log")


def test_failure_hides_progress_bars(tmp_path: Path) -> None:
    code = "import sys; print('ERROR: bad'); print('  0/ 0 sec ...~~(,_,\">' * 3); sys.exit(1)"
    with pytest.raises(ProgramError) as caught:
        run_program([sys.executable, "-c", code], log=tmp_path / "run.log")
    assert "ERROR: bad" in str(caught.value)
    assert "~~(" not in str(caught.value)


def test_a_killed_program_is_named_with_its_signal(tmp_path: Path) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(ProgramError, match="SIGKILL"):
        run_program([sys.executable, "-c", code], log=tmp_path / "run.log")


def test_arguments_reach_the_program_unchanged(tmp_path: Path) -> None:
    hostile = "; touch injected $(touch injected) `touch injected` 'a \"b\n"
    run_program(
        [sys.executable, "-c", "import sys; print(repr(sys.argv[1]))", hostile],
        log=tmp_path / "run.log",
        folder=tmp_path,
    )
    assert repr(hostile) in (tmp_path / "run.log").read_text()
    assert not (tmp_path / "injected").exists()


def test_a_missing_program_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(MissingProgramError, match="no-such-program"):
        run_program(["no-such-program"], log=tmp_path / "run.log")
    with pytest.raises(MissingProgramError, match="load the module"):
        find_program("no-such-program", hint="load the module")


def test_watch_ends_the_program_and_its_children(tmp_path: Path) -> None:
    mark = tmp_path / "child"
    child = f"import os, time, pathlib as p; p.Path({str(mark)!r}).write_text(str(os.getpid()))"
    child += "; time.sleep(1200)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"

    def watch() -> None:
        if mark.is_file() and mark.read_text():
            raise TimeLimitReached("over")

    with pytest.raises(TimeLimitReached):
        run_program([sys.executable, "-c", code], log=tmp_path / "run.log", watch=watch)
    wait_until(lambda: not _lives(int(mark.read_text())), 1)


def test_a_program_that_outlives_a_killed_run_keeps_its_folder_locked(tmp_path: Path) -> None:
    """RELION goes on where the run that started it is killed: nobody else may write there."""
    mark = tmp_path / "child"
    child = f"import os, time, pathlib as p; p.Path({str(mark)!r}).write_text(str(os.getpid()))"
    child += "; time.sleep(1200)"
    code = f"""
import os
import signal
import subprocess
import sys
from pathlib import Path
from alphacryo4d.core.lock import locked
from alphacryo4d.core.program import run_program
with locked(Path({str(tmp_path)!r})):
    run_program([sys.executable, "-c", {child!r}], log=Path({str(tmp_path / "run.log")!r}))
"""
    run = subprocess.Popen([sys.executable, "-c", code])
    wait_until(lambda: mark.is_file() and mark.read_text(), 2)
    run.kill()
    run.wait()
    program = int(mark.read_text())
    try:
        with pytest.raises(UsageError, match="or a program that it started"), locked(tmp_path):
            pass
    finally:
        os.kill(program, signal.SIGKILL)
    wait_until(lambda: not _lives(program), 1)
    with locked(tmp_path):
        pass


def _lives(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    try:
        return "State:\tZ" not in status.read_text()
    except FileNotFoundError:
        return False


def test_output_of_a_failing_program_stands_in_the_error() -> None:
    with pytest.raises(ProgramError, match="broken"):
        program_output([sys.executable, "-c", "import sys; sys.exit('broken')"])


def test_a_program_without_an_answer_is_given_up() -> None:
    with pytest.raises(ProgramError, match="timed out"):
        program_output([sys.executable, "-c", "import time; time.sleep(5)"], timeout=0.3)


@pytest.mark.parametrize(
    "name",
    [
        "a b.star",
        "a;b.star",
        "$(touch x).star",
        "`x`.star",
        "a|b",
        "a&b",
        "a#b",
        "-leading",
        "folder/-leading",
        "line\nend",
        "tab\tname",
        "quote'",
        'quote"',
        "1@stack",
        "map:mrc",
        "percent%",
        "star*",
        "question?",
        "back\\slash",
        "a<b",
        "a>b",
        "(a)",
        "bell\x07",
    ],
)
def test_names_that_relion_would_mangle_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"RELION would"):
        refuse_unsafe_name(name, program="RELION")


@pytest.mark.parametrize("name", ["a.star", "../up/run_it025_data.star", "Ünï/ö+=,x.mrc", "/a/b-c"])
def test_plain_names_pass(name: str) -> None:
    refuse_unsafe_name(name, program="RELION")


def test_extra_arguments_are_split_and_not_expanded() -> None:
    assert extra_arguments("--a 'b c' $HOME *") == ["--a", "b c", "$HOME", "*"]
    assert extra_arguments(None) == []
    with pytest.raises(UsageError, match="quotation"):
        extra_arguments("--a 'b")


def test_command_lines_can_be_pasted() -> None:
    assert command_lines([["a", "b c"], [Path("d"), "$x"]]) == "a 'b c'\nd '$x'\n"


def test_the_log_is_named_when_a_program_starts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("alphacryo4d").propagate = True
    with caplog.at_level(logging.INFO, logger="alphacryo4d.core.program"):
        run_program([sys.executable, "-c", ""], log=tmp_path / "run.log")
    assert str(tmp_path / "run.log") in caplog.text


def test_variables_can_be_kept_from_a_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PMIX_RANK", "7")
    monkeypatch.setenv("KEPT", "8")
    code = "import os; print(os.environ.get('PMIX_RANK'), os.environ.get('KEPT'))"
    run_program([sys.executable, "-c", code], log=tmp_path / "run.log", without=("PMIX_",))
    assert (tmp_path / "run.log").read_text().endswith("None 8\n")
