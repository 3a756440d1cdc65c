"""Criteria such as ``state in 1,3 and confidence >= 0.67 and not micrograph ~ "mic_0*"``.

Terms are joined by ``and``, ``or``, ``not`` and parentheses. A term is a column, a comparison
(``< <= > >= = !=``, ``~`` for a pattern of names) and a value; ``in`` takes a list with ranges
(``1,3,5-8``); ``inside FILE`` and ``rows FILE`` take a polygon and a list of rows; a column that
is true or false stands alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import UsageError

_TOKEN = re.compile(r"""\s*(?:(<=|>=|==|!=|[()<>=~,])|"([^"]*)"|'([^']*)'|([^\s()<>=!~,"']+))""")
_WORDS = {"and", "or", "not", "in", "inside", "rows"}
_COMPARISONS: dict[str, Callable[[Array, float], Array]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "=": np.equal,
    "!=": np.not_equal,
}


@dataclass(frozen=True)
class Texts:
    """A column of texts: codes (P,) into distinct texts."""

    codes: Array
    distinct: list[str]

    def where(self, wanted: Callable[[str], bool]) -> Array:
        """Rows whose text is wanted."""
        chosen = np.array([wanted(text) for text in self.distinct], bool)
        rows: Array = chosen[self.codes] if len(chosen) else np.zeros(len(self.codes), bool)
        return rows


@dataclass(frozen=True)
class Columns:
    """What terms look up.

    Attributes
    ----------
    column : callable
        Column by name: (P,) numbers, (P,) bool or :class:`Texts`.
    rows_of_file, inside_of_file : callable
        Rows (P,) bool that a file of rows, or of a polygon's corners, chooses.
    number_of : callable
        Number that a word stands for in a column, such as a state's name; None where none.
    """

    column: Callable[[str], Array | Texts]
    rows_of_file: Callable[[str], Array]
    inside_of_file: Callable[[str], Array]
    number_of: Callable[[str, str], float | None]


@dataclass(frozen=True)
class _Word:
    text: str
    kind: str  # sign, word or quoted


def _words(text: str) -> list[_Word]:
    words, position = [], 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise UsageError(f"--where: cannot be read from `{text[position:].strip()}` on")
        sign, double, single, plain = match.groups()
        if sign is not None:
            words.append(_Word("=" if sign == "==" else sign, "sign"))
        elif plain is not None:
            words.append(_Word(plain, "word"))
        else:
            words.append(_Word(double if double is not None else single, "quoted"))
        position = match.end()
    return words


def choose(text: str, columns: Columns) -> Array:
    """Rows (P,) bool that a criterion chooses.

    Parameters
    ----------
    text : str
        The criterion.
    columns : Columns
        Values by name.

    Raises
    ------
    UsageError
        The criterion cannot be read; the message says where.
    """
    parser = _Parser(_words(text), columns)
    chosen = parser.either()
    if parser.next is not None:
        raise UsageError(f"--where: `{parser.next.text}` is not expected; join terms by and, or")
    return chosen


class _Parser:
    """Recursive descent: either of, all of, not, one term."""

    def __init__(self, words: list[_Word], columns: Columns) -> None:
        self.words, self.columns, self.place = words, columns, 0

    @property
    def next(self) -> _Word | None:
        return self.words[self.place] if self.place < len(self.words) else None

    def take(self, *texts: str) -> bool:
        """Go past one of the given words, where it comes next."""
        word = self.next
        if word is None or word.kind == "quoted" or word.text.lower() not in texts:
            return False
        self.place += 1
        return True

    def value(self, what: str) -> _Word:
        word = self.next
        if word is None or word.kind == "sign":
            raise UsageError(f"--where: {what} is missing")
        self.place += 1
        return word

    def either(self) -> Array:
        chosen = self.all_of()
        while self.take("or"):
            chosen = chosen | self.all_of()
        return chosen

    def all_of(self) -> Array:
        chosen = self.opposite()
        while self.take("and"):
            chosen = chosen & self.opposite()
        return chosen

    def opposite(self) -> Array:
        if self.take("not"):
            return ~self.opposite()
        if self.take("("):
            chosen = self.either()
            if not self.take(")"):
                raise UsageError("--where: a parenthesis is not closed")
            return chosen
        return self.term()

    def term(self) -> Array:
        if self.take("inside"):
            return self.columns.inside_of_file(self.value("a file of corners").text)
        if self.take("rows"):
            return self.columns.rows_of_file(self.value("a file of rows").text)
        name = self.value("a column").text
        if name.lower() in _WORDS:
            raise UsageError(f"--where: a column is missing before `{name}`")
        column = self.columns.column(name)
        if self.take("in"):
            return self._listed(name, column)
        for sign in (*_COMPARISONS, "~"):
            if self.take(sign):
                word = self.value(f"a value after {name} {sign}").text
                return self._compared(name, column, sign, word)
        if isinstance(column, Texts) or column.dtype != bool:
            raise UsageError(f"--where: {name} is not compared with anything")
        return column

    def _compared(self, name: str, column: Array | Texts, sign: str, word: str) -> Array:
        if isinstance(column, Texts):
            if sign == "~":
                return column.where(lambda text: fnmatchcase(text, word))
            if sign not in ("=", "!="):
                raise UsageError(f"--where: {name} holds texts; compare by = != ~ or in")
            same = column.where(lambda text: text == word)
            return same if sign == "=" else ~same
        if sign == "~":
            raise UsageError(f"--where: {name} holds numbers; ~ is for texts")
        return _COMPARISONS[sign](column, self._number(name, word))

    def _number(self, name: str, word: str) -> float:
        try:
            return float(word)
        except ValueError:
            pass
        known = self.columns.number_of(name, word)
        if known is None:
            raise UsageError(f"--where: {name} holds numbers, and {word} is none")
        return known

    def _listed(self, name: str, column: Array | Texts) -> Array:
        words = [self.value(f"a list after {name} in").text]
        while self.take(","):
            words.append(self.value(f"a value after the comma of {name} in").text)
        if isinstance(column, Texts):
            return column.where(lambda text: text in words)
        chosen = np.zeros(len(column), bool)
        for word in words:
            span = re.fullmatch(r"(\d+)-(\d+)", word)
            if span is not None:
                chosen |= (column >= int(span[1])) & (column <= int(span[2]))
            else:
                chosen |= column == self._number(name, word)
        return chosen
