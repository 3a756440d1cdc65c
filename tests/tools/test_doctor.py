import importlib.metadata
import json
import os
import shutil
from pathlib import Path

import pytest

from alphacryo4d.cli import main
from alphacryo4d.tools import doctor


def call(capsys, *words: str, code: int = 0) -> str:
    if code:
        with pytest.raises(SystemExit) as stop:
            main(list(words))
        assert stop.value.code == code
    else:
        main(list(words))
    return capsys.readouterr().out


def test_every_part_of_the_contract_is_named(capsys, tmp_path):
    entries = json.loads(call(capsys, "doctor", "--json", "--folder", str(tmp_path)))
    versions = {entry["name"]: entry["found"] for entry in entries}
    assert versions["threads"] == str(len(os.sched_getaffinity(0)))
    assert versions["numpy"] == importlib.metadata.version("numpy")
    assert {"Python", "TensorFlow devices", "RELION", "Slurm", "memory", "disk"} <= set(versions)
    assert (versions["RELION"] is None) == (shutil.which("relion_refine") is None)


def test_missing_programs_are_optional_and_say_what_they_would_bring(capsys, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    text = call(capsys, "doctor", "--no-devices")
    lines = text.splitlines()
    place = next(i for i, line in enumerate(lines) if "RELION" in line)
    assert lines[place].startswith("none")
    assert "--engine relion" in lines[place + 1]


def test_a_missing_package_is_exit_code_4(capsys, monkeypatch):
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    text = call(capsys, "doctor", "--no-devices", code=4)
    assert "MISSING  numba" in text


def test_tensorflow_for_processors_is_tensorflow(monkeypatch):
    """The package that envs/cpu.yml installs has another name."""

    def version(name: str) -> str:
        if name == "tensorflow-cpu":
            return "2.21.0"
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert doctor.package("tensorflow", "deep features").mark == "ok"
    assert doctor.package("keras", "deep features").mark == "MISSING"


def test_a_folder_that_is_not_there_yet_has_the_disk_of_its_parent(tmp_path):
    finding = doctor.disk(tmp_path / "not" / "yet")
    assert finding.found is not None
    assert str(tmp_path) in finding.found


def test_cite_shows_the_paper_as_text_and_bibtex(capsys):
    text = call(capsys, "cite")
    assert "https://doi.org/10.3390/ijms23168872" in text
    assert "@article{wu2022alphacryo4d," in text
    assert text.count("\n  author = {") == text.count("\n@")


def test_cite_and_the_citation_file_agree(capsys):
    entry = next(e for e in json.loads(call(capsys, "cite", "--json")) if "wu2022" in e["key"])
    fields = dict(entry["fields"])
    citation = (Path(__file__).parent.parent.parent / "CITATION.cff").read_text().lower()
    for name in ("title", "doi", "volume", "pages"):
        assert fields[name].lower() in citation


def test_bibtex_alone_has_balanced_braces(capsys):
    text = call(capsys, "cite", "--bibtex")
    assert text.startswith("@article{")
    assert text.count("{") == text.count("}")
