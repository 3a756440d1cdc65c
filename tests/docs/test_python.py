"""The Python interface: quick to import, typed, and its page and notebook true."""

import ast
import doctest
import subprocess
import sys

import pytest

import alphacryo4d

from .conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "python.md"


def test_import_loads_nothing_heavy():
    heavy = ("numpy", "scipy", "tensorflow", "matplotlib", "click", "numba")
    script = f"import sys, alphacryo4d; print([n for n in {heavy} if n in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize("name", sorted(set(alphacryo4d.__all__) - {"__version__"}))
def test_every_public_name_is_there_documented_and_in_an_example(name):
    value = getattr(alphacryo4d, name)
    assert name in dir(alphacryo4d)
    assert value.__doc__
    examples = doctest.DocTestParser().get_examples(PAGE.read_text())
    shown = any(name in example.source for example in examples)
    assert shown or name in ("StateSet", "Landscape", "ResampleOptions")


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = alphacryo4d.nothing


def test_types_say_the_same_as_the_names():
    stub = ast.parse((REPOSITORY / "alphacryo4d" / "__init__.pyi").read_text())
    typed = {
        alias.asname: (node.module.removeprefix("alphacryo4d."), alias.name)
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == alphacryo4d._WHERE
    assert (REPOSITORY / "alphacryo4d" / "py.typed").is_file()


@pytest.mark.slow
def test_examples_of_the_page_are_true(notebook_folder, monkeypatch):
    monkeypatch.chdir(notebook_folder)
    failed, tried = doctest.testfile(
        str(PAGE), module_relative=False, optionflags=doctest.ELLIPSIS, verbose=False
    )
    assert tried > 40
    assert failed == 0


@pytest.mark.slow
def test_notebook_ran(notebook_folder):
    assert (notebook_folder / "landscape.png").stat().st_size > 1000
