#!/usr/bin/env bash
# Makes an environment for a trainer. Trainers live apart from curate, and mostly from each other: their dependencies
# conflict with those of the rest. `curate train` finds these environments by their names.
#
#   bash make_env.sh llamafactory [DIR]   .venv-llamafactory: LLaMA-Factory for GPUs
#   bash make_env.sh verl [DIR]           .venv-verl: verl with vLLM for GPUs
#   bash make_env.sh smoke [DIR]          .venv-train: both trainers, pinned, for proofs and smoke runs on a CPU
#
# DIR is where to make it instead. python3 must be 3.11 or 3.12; PYTHON=python3.12 names another one. Each takes several
# GB of downloads and about 10 GB of disk. Run it again at any time: nothing happens while the files it was built from are
# unchanged. An interrupted run leaves no stamp, so the next one starts over.
set -euo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
ROOT="$(dirname "$(dirname "$HERE")")"  # the checkout, or site-packages where curate was installed from a wheel
PYTHON="${PYTHON:-python3}"

say() { printf 'make_env: %s\n' "$*" >&2; }
die() { say "error: $*"; exit 2; }
fingerprint() { cat "$@" | "$PYTHON" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())'; }
stamped() { [[ -f "$1" && "$(cat "$1")" == "$2" ]]; }  # is the stamp file $1 there, with the fingerprint $2?

WHAT="${1:-}"
case "$WHAT" in
    llamafactory) NAME=.venv-llamafactory; IMPORTS="torch, torchvision, llamafactory.data" ;;
    verl) NAME=.venv-verl; IMPORTS="torch, torchvision, vllm, verl.utils.dataset.rl_dataset" ;;
    smoke) NAME=.venv-train; IMPORTS="torch, torchvision, llamafactory.data, verl.utils.dataset.rl_dataset" ;;
    *) die "name what to make: bash ${BASH_SOURCE[0]} llamafactory|verl|smoke [DIR]" ;;
esac
REQUIREMENTS="$HERE/requirements/$WHAT.txt"
BUILT_FROM=("$REQUIREMENTS")
PINS=()
if [[ -f "$HERE/requirements/$WHAT-pinned.txt" ]]; then
    BUILT_FROM+=("$HERE/requirements/$WHAT-pinned.txt")
    PINS=(--constraint "$HERE/requirements/$WHAT-pinned.txt")
fi

command -v "$PYTHON" >/dev/null || die "'$PYTHON' is not on the PATH; set PYTHON to a Python 3.11 or 3.12."
version="$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
[[ "$version" == 3.11 || "$version" == 3.12 ]] ||
    die "'$PYTHON' is Python $version; the trainers need 3.11 or 3.12. Set PYTHON to one."

if [[ -f "$ROOT/pyproject.toml" ]]; then
    VENV="${2:-$ROOT/$NAME}"
    PROJECT=(--editable "${ROOT}[dicom]")  # with DICOM, so that a proof can start at raw files
    project="$ROOT $(fingerprint "$ROOT/pyproject.toml")"  # an editable install remembers where it lies
else
    VENV="${2:-$PWD/$NAME}"
    release="$("$PYTHON" -c "import re, sys; print(re.search(r'__version__\s*=\s*\"(.+?)\"', open(sys.argv[1]).read())[1])" \
        "$ROOT/curate/__init__.py")"
    PROJECT=("medcurate[dicom]==$release")
    project="$release"
fi
TRAINERS_STAMP="$VENV/.trainers-built-from"
PROJECT_STAMP="$VENV/.project-built-from"
trainers="$WHAT $version $(fingerprint "${BUILT_FROM[@]}")"

if stamped "$TRAINERS_STAMP" "$trainers" && stamped "$PROJECT_STAMP" "$project"; then
    say "$VENV is up to date."
    exit 0
fi

if ! stamped "$TRAINERS_STAMP" "$trainers"; then
    SECONDS=0
    [[ ! -e "$VENV" || -f "$VENV/pyvenv.cfg" ]] || die "$VENV exists and is no virtual environment; name another DIR."
    mkdir -p "$(dirname "$VENV")"
    free_gb=$(($(df -Pk "$(dirname "$VENV")" | awk 'NR == 2 { print $4 }') / 1024 / 1024))
    ((free_gb >= 12)) || say "warning: only $free_gb GB free beside $VENV; the environment and its downloads need about 12."
    say "building $VENV with Python $version: several GB to download, several minutes ..."
    rm -rf "$VENV"
    "$PYTHON" -m venv "$VENV"
    "$VENV/bin/python" -m pip install -qq --upgrade pip "${PINS[@]}"
    "$VENV/bin/python" -m pip install -qq --requirement "$REQUIREMENTS" "${PINS[@]}"
    say "importing the trainer ..."
    "$VENV/bin/python" -c "import $IMPORTS" >/dev/null ||
        die "the trainer was installed but does not import; the reason is above."
    printf '%s' "$trainers" >"$TRAINERS_STAMP"
    say "trainer installed in $SECONDS s."
fi

SECONDS=0
say "installing medcurate into $VENV ..."
rm -f "$PROJECT_STAMP"
"$VENV/bin/python" -m pip install -qq "${PROJECT[@]}" "${PINS[@]}"
"$VENV/bin/python" -m pip check --quiet || die "pip check found packages that do not fit together; they are listed above."
printf '%s' "$project" >"$PROJECT_STAMP"
say "medcurate installed in $SECONDS s."
