#!/usr/bin/env bash
# Build wheel and sdist, check them, and install each in a clean environment: bash scripts/build_check.sh [FOLDER]
# PIP_FIND_LINKS and the like hold for all installations; FOLDER (dist/) keeps what was built.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-python3}"
target="${1:-dist}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

"$python" -m venv "$work/build"
"$work/build/bin/pip" install --quiet --disable-pip-version-check build twine
"$work/build/bin/python" -m build --quiet --outdir "$work/dist" .
"$work/build/bin/twine" check --strict "$work"/dist/*

for package in "$work"/dist/*.whl "$work"/dist/*.tar.gz; do
  rm -rf "$work/clean"
  "$python" -m venv "$work/clean"
  begun=$SECONDS
  "$work/clean/bin/pip" install --quiet --disable-pip-version-check "$package"
  size="$(du -sm "$work/clean" | cut -f1)"
  echo "$(basename "$package"): installed in $((SECONDS - begun)) s, $size MB"
  (
    cd "$work"
    "$work/clean/bin/alphacryo4d" --version
    "$work/clean/bin/alphacryo4d" run --help >/dev/null
    "$work/clean/bin/alphacryo4d" demo --dry-run
    "$work/clean/bin/python" -c 'import alphacryo4d; alphacryo4d.free_energy([1, 1])'
    "$work/clean/bin/python" - <<'PYTHON'
import importlib.resources
assert importlib.resources.files("alphacryo4d").joinpath("py.typed").is_file()
PYTHON
  )
done
mkdir -p "$target"
cp "$work"/dist/* "$target"
ls -l "$target"
