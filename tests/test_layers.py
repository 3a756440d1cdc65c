"""Layers, circles and sizes: what the layout promises, read from the imports."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "alphacryo4d"
TOP_FLOOR = {"__init__", "__main__", "cli"}
STAGES = ("resample", "deepfeature", "landscape", "voting")

# From the ground up; a stage file (stage, *_stage) lies above the science of its folder.
LAYERS = (
    ("core",),
    ("maths",),
    ("io",),
    ("particles", "ml3d"),
    ("alignment",),
    ("relion", "cluster"),
    (*STAGES, "reclassify", "reconstruction", "selection", "particle_landscape"),
)
STAGE_FILES, COMMANDS_OF_STAGES, ABOVE, CLI, ROOT = 20, 21, 22, 30, 40
ABOVE_STAGES = ("pipeline", "assessment", "prototype", "tools", "report")

# Larger than they should be; the lists may only shrink
LONG_FILES: dict[str, int] = {}
LONG_FUNCTIONS: dict[str, int] = {
    "io.tables.kernels.parse_rows": 89,
    "io.tables.kernels.scan_rows": 73,
    "io.tables.rows.read_columns": 68,
    "ml3d.compiled.components.expect_components": 79,
    "ml3d.compiled.expect.expect_classes": 86,
    "ml3d.prepare.prepare_images": 72,
    "particles.particle_set.read_particles": 73,
}


def floor(module: str) -> int:
    """Layer of a module such as ``landscape.energy``."""
    parts = module.split(".")
    if len(parts) == 1 and parts[0] in TOP_FLOOR:
        return -1 if parts[0] == "__init__" else ROOT
    if parts[-1] == "cli" or parts[-1].endswith("_cli") or module == "core.options":
        return CLI
    if parts[0] in ABOVE_STAGES:
        return ABOVE
    if parts[-1] in ("stage", "plots", "report") or parts[-1].endswith("_stage"):
        return STAGE_FILES
    known = [n for n, folders in enumerate(LAYERS) if parts[0] in folders]
    assert known, f"{module}: no layer is known; name it in tests/test_layers.py"
    return known[0]


def imports(path: Path, at_top_only: bool = False) -> list[str]:
    """Modules of the package that a file imports, anywhere in it or when it is loaded."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if at_top_only else list(ast.walk(tree))
    modules = []
    for node in nodes:
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    names = {
        name.removeprefix("alphacryo4d.") for name in modules if name.startswith("alphacryo4d.")
    }
    return sorted(name for name in names if file_of(name).is_file())


def file_of(module: str) -> Path:
    return PACKAGE / Path(*module.split(".")).with_suffix(".py")


MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py"
)


@pytest.mark.parametrize("module", MODULES)
def test_imports_stay_below(module: str) -> None:
    for name in imports(file_of(module)):
        assert floor(name) <= floor(module), f"{module} imports {name}, a higher layer"
        stage, other = module.split(".")[0], name.split(".")[0]
        if stage in STAGES and other in STAGES and floor(module) in (STAGE_FILES, CLI):
            assert stage == other or floor(name) < STAGE_FILES, (
                f"{module} imports {name}: stages meet in files only"
            )


def test_no_circle_of_imports() -> None:
    below = {module: imports(file_of(module)) for module in MODULES}
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, "circle: " + " -> ".join((*way, module))
        if module not in done:
            for name in below[module]:
                visit(name, (*way, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


def test_top_floor() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == TOP_FLOOR


@pytest.mark.parametrize("module", MODULES)
def test_files_and_functions_stay_small(module: str) -> None:
    text = file_of(module).read_text()
    assert len(text.splitlines()) <= LONG_FILES.get(module, 300), f"{module} is two modules"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            length = (node.end_lineno or 0) - node.lineno
            name = f"{module}.{node.name}"
            assert length <= LONG_FUNCTIONS.get(name, 60), f"{name} is two functions ({length})"
