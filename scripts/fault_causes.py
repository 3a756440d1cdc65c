"""Cause and way out of the messages that do not say them: patterns, the first that fits counts."""

from __future__ import annotations

import re

SAYS_ITSELF = re.compile(
    r"; |: give |[Gg]ive |take |must be|is needed|are needed|[Rr]un `|with `|use |remove |put |"
    r"did you mean|are there|is too old; |pip install|\balphacryo4d [a-z]+ --"
)
"""Messages with a way out of their own."""

LETTERS = "abcdefghijklmnopqrstuvwxyz"

CAUSES: list[tuple[str, str, str]] = [
    (
        r"no such (file|folder)|stacks of … are not there|holds no maps|holds no PDB|"
        r"no \.star tables|no \.mrc volumes|"
        r"no batch1/u123|no project folder",
        "the path is misspelt, starts from another folder, or names a folder of another stage",
        "list it with `ls` from the same folder; paths count from the working directory",
    ),
    (
        r"exclude each other|goes? with|does not go with|go into the project|goes into|"
        r"makes none to write|are for --engine|is for elements|needs the landscape stage|"
        r"needs a project|no command is running",
        "options that contradict each other, or lack the one that they belong to",
        "leave out one, or add the other; `--help-all` says what goes with what",
    ),
    (
        r"^--where|^\(?…: no column|--where:",
        "the criterion is not complete, or names a column that the particles do not have",
        "see the examples of `select` in After; a column of the table is named as it stands there",
    ),
    (
        r"^--|^… volume: training|has 4 states|has one state|needs? exactly|shifts need|"
        r"subset: |point group|name one of|no such command|neither a fraction|cannot be mixed|"
        r"only particles, a mask|line ends in it|^extra arguments",
        "an option has a value, or a combination of values, that makes no sense",
        "one of the values that the message or `--help-all` names",
    ),
    (
        r"edit|polygon needs|a centre is|state …|add_center|table states lacks|no table `states`|"
        r"no particle is in state|is not in its state|holds no edits|not an object|"
        r"only version|count as|no class of the null",
        "an edit or option names a state that is not there, or edits are written differently",
        "numbers are those before the edits (`landscape/states.star`); the form stands in After",
    ),
    (
        r"not a readable|cannot be mapped|cannot be read|not a table|not a list|no list of|"
        r"not valid JSON|not a JSON|does not describe|became shorter|cut short|no number|"
        r"could not be set|class numbers outside|is damaged",
        "the file is damaged, half copied, or of another program",
        "copy it again from its source, or give the command again that wrote it",
    ),
    (
        r"rows?\b.*(but|instead|where|the truth|there|counts)|… particles|… counts|of … particles|"
        r"describes … classes|names volume|is not in|are not there|its volume|has … rows|"
        r"in a map|with a state|trained on boxes|column … is missing",
        "files of two runs were put together, or one was edited or sorted between the stages",
        "give files of one project as they were written, or run the stage before again",
    ),
    (
        r"not finite|not a number|position that|pose that|are not square|one array|one shape|"
        r"three axes|has no particles|holds no particles|no image|can be classified|"
        r"phase plate|optics group|beyond the Nyquist|box …, but",
        "the data hold values or shapes that the method cannot use",
        "`alphacryo4d check --full --i TABLE` names rows and images; repair or leave them out",
    ),
    (
        r"another run is working",
        "a command works in the folder now, here or on another machine, or RELION goes on that a "
        "killed command had started",
        "wait for it, or end it (`ps -ef` shows RELION); then the folder is free at once",
    ),
    (
        r"cannot be written|cannot be run|prints no job id|template|no version in|is missing|"
        r"--mpi|none of its|blanks in its path",
        "the folder, program, or template is not as this machine needs it",
        "`alphacryo4d doctor` says what is there; rights with `ls -ld`; the template's variables "
        "stand in Cluster",
    ),
]


def cause(message: str) -> str:
    """Letter of the cause of a message that does not say it; empty where it does, or none is known.

    Parameters
    ----------
    message : str
        With an ellipsis for what is put in.
    """
    if says_itself(message):
        return ""
    fits = (letter for letter, entry in zip(LETTERS, CAUSES, strict=False)
            if re.search(entry[0], message))  # fmt: skip
    return next(fits, "")


def causes_table() -> str:
    """Causes and ways out by their letters, in Markdown."""
    rows = [
        f"| {letter} | {why} | {out} |"
        for letter, (_, why, out) in zip(LETTERS, CAUSES, strict=False)
    ]
    return "\n".join(["| | cause | way out |", "|---|---|---|", *rows]) + "\n"


def says_itself(message: str) -> bool:
    """Whether a message names the way out."""
    return bool(SAYS_ITSELF.search(message))
