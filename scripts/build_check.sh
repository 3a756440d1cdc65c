#!/usr/bin/env bash
# Build wheel and sdist, check them, and install each in a clean environment: bash scripts/build_check.sh [FOLDER]
# FROM=PYTHON takes the dependencies, and no other package, from that environment, which saves minutes (CI).
# PIP_FIND_LINKS, PIP_NO_INDEX and the like hold for all installations; FOLDER (dist/) keeps what was built.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-${FROM:-python3}}"
target="${1:-dist}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
export PIP_QUIET=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1

"$python" -m venv "$work/build"
"$work/build/bin/pip" install build twine
"$work/build/bin/python" -m build --quiet --outdir "$work/dist" .
"$work/build/bin/twine" check --strict "$work"/dist/*
if git ls-files alphacryo4d >"$work/tracked" 2>/dev/null; then
  "$python" -m zipfile --list "$work"/dist/*.whl | awk '/^alphacryo4d\// {print $1}' | sort >"$work/packed"
  sort "$work/tracked" | diff - "$work/packed"  # every file of the package, data files too, and no other
fi

for package in "$work"/dist/*.whl "$work"/dist/*.tar.gz; do
  rm -rf "$work/clean"
  begun=$SECONDS
  "$python" -m venv "$work/clean"
  if [ -n "${FROM:-}" ]; then
    packages="$("$work/clean/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
    "$FROM" scripts/borrow_packages.py "$work"/dist/*.whl "$packages"
  fi
  "$work/clean/bin/pip" install ${FROM:+--no-deps} "$package"
  "$work/clean/bin/pip" check
  echo "$(basename "$package"): installed in $((SECONDS - begun)) s, $(du -sm "$work/clean" | cut -f1) MB"
  (
    cd "$work"
    "$work/clean/bin/python" -c "import alphacryo4d; assert alphacryo4d.__file__.startswith('$work')"
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
# as a user has it, from particles to the page, by what the sdist brought
[ -n "${FROM:-}" ] || (
  cd "$work"
  clean/bin/alphacryo4d simulate --i small-hinge --particles-per-state 40 --box 24 --pixel-size 7 --snr 2 --o data
  clean/bin/alphacryo4d run --i data/particles.star --o project --classes 4 --iter 2 --epochs 1 --states 2
  ls -l project/report.html
) >"$work/walk.log" 2>&1 || { cat "$work/walk.log"; exit 1; }
mkdir -p "$target"
cp "$work"/dist/* "$target"
ls -l "$target"
