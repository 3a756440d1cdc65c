"""Nothing imports upward, and stages never import each other."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "alphacryo4d"
STAGES = ("resample", "deepfeature", "landscape", "voting", "assessment")
FLOORS = {"errors": 0, "settings": 0, "progress": 0, "__init__": 0, "ml3d": 1}
FLOORS |= dict.fromkeys(
    ("files", "star", "mrc", "particles", "cs", "convert", "check", "tables"), 2
)
FLOORS |= dict.fromkeys(
    ("program", "cluster", "job", "relion", "external", "status", "doctor", "cite"), 3
)
FLOORS |= {"prototype": 5, "pipeline": 5, "options": 5, "cli": 6, "__main__": 7}
READERS_AND_WRITERS = ("stage", "plots", "report", "benchmark", "page")


def floor(module: str) -> int:
    """Floor of a module such as ``landscape.energy``; plain science of a stage is 1."""
    parts = module.split(".")
    if parts[-1] == "cli" or parts[-1].endswith("_cli"):
        return FLOORS["cli"]
    if parts[0] in STAGES:
        name = parts[-1]
        return 4 if name in READERS_AND_WRITERS or name.endswith("_stage") else 1
    if parts[0] in FLOORS:
        return FLOORS[parts[0]]
    known = [FLOORS[name] for name in FLOORS if parts[0].startswith(f"{name}_")]
    assert known, f"{module}: no floor is known; name it in tests/test_layers.py"
    return max(known)


def imports(path: Path) -> list[str]:
    """Modules of the package that a file imports, anywhere in it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    names = {name.removeprefix("alphacryo4d.") for name in found if name.startswith("alphacryo4d.")}
    return sorted(name for name in names if is_module(name))


def is_module(name: str) -> bool:
    path = PACKAGE / Path(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py"
)


@pytest.mark.parametrize("module", MODULES)
def test_imports_stay_below(module: str) -> None:
    path = PACKAGE / Path(*module.split(".")).with_suffix(".py")
    for name in imports(path):
        package = (PACKAGE / Path(*name.split("."))).is_dir()
        if not package:
            assert floor(name) <= floor(module), f"{module} imports {name}, a higher floor"
        stage, other = module.split(".")[0], name.split(".")[0]
        if stage in STAGES and other in STAGES:
            assert stage == other, f"{module} imports {name}: stages meet in files only"


@pytest.mark.parametrize("module", MODULES)
def test_files_and_functions_stay_small(module: str) -> None:
    path = PACKAGE / Path(*module.split(".")).with_suffix(".py")
    text = path.read_text()
    assert len(text.splitlines()) <= 400, f"{module} is two modules"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            length = (node.end_lineno or 0) - node.lineno
            assert length <= 110, f"{module}.{node.name} is two functions ({length} lines)"
