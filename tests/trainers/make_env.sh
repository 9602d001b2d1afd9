#!/usr/bin/env bash
# Builds .venv-train, the environment in which the trainers' own loaders prove the exports (tests/trainers).
#
#   bash tests/trainers/make_env.sh            python3 must be 3.11 or 3.12; PYTHON=python3.12 names another one
#
# Downloads about 4 GB (a CUDA build of torch; it runs on a CPU too) and fills about 7 GB of disk. Run it again at any
# time: nothing happens while the files it was built from are unchanged, a change in constraints/ builds it anew, and a
# change in pyproject.toml only reinstalls this project. An interrupted run leaves no stamp, so the next one starts over.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
VENV="$ROOT/.venv-train"
REQUIREMENTS="$ROOT/constraints/train-requirements.txt"
CONSTRAINTS="$ROOT/constraints/train.txt"
PYTHON="${PYTHON:-python3}"
TRAINERS_STAMP="$VENV/.trainers-built-from"
PROJECT_STAMP="$VENV/.project-built-from"

say() { printf 'make_env: %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }
fingerprint() { cat "$@" | "$PYTHON" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())'; }
stamped() { [[ -f "$1" && "$(cat "$1")" == "$2" ]]; }  # is the stamp file $1 there, with the fingerprint $2?

command -v "$PYTHON" >/dev/null || die "'$PYTHON' is not on the PATH; set PYTHON to a Python 3.11 or 3.12."
version="$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
[[ "$version" == 3.11 || "$version" == 3.12 ]] ||
    die "'$PYTHON' is Python $version; the trainers need 3.11 or 3.12. Set PYTHON to one."

trainers="$version $(fingerprint "$REQUIREMENTS" "$CONSTRAINTS")"
project="$ROOT $(fingerprint "$ROOT/pyproject.toml")"  # an editable install remembers where it lies

if stamped "$TRAINERS_STAMP" "$trainers" && stamped "$PROJECT_STAMP" "$project"; then
    say "$VENV is up to date."
    exit 0
fi

if ! stamped "$TRAINERS_STAMP" "$trainers"; then
    SECONDS=0
    free_gb=$(($(df -Pk "$ROOT" | awk 'NR == 2 { print $4 }') / 1024 / 1024))
    ((free_gb >= 10)) || say "warning: only $free_gb GB free under $ROOT; the environment and its downloads need about 10."
    say "building $VENV with Python $version: about 4 GB to download, several minutes ..."
    rm -rf "$VENV"
    "$PYTHON" -m venv "$VENV"
    "$VENV/bin/python" -m pip install -qq --upgrade pip --constraint "$CONSTRAINTS"
    "$VENV/bin/python" -m pip install -qq --requirement "$REQUIREMENTS" --constraint "$CONSTRAINTS"
    say "importing the trainers ..."
    "$VENV/bin/python" -c 'import torch, torchvision, llamafactory.data, verl.utils.dataset.rl_dataset' >/dev/null ||
        die "the trainers were installed but do not import; the reason is above."
    printf '%s' "$trainers" >"$TRAINERS_STAMP"
    say "trainers installed in $SECONDS s."
fi

SECONDS=0
say "installing this project into $VENV, with DICOM so that a proof can start at examples/raw ..."
rm -f "$PROJECT_STAMP"
"$VENV/bin/python" -m pip install -qq --editable "$ROOT[dicom]" --constraint "$CONSTRAINTS"
"$VENV/bin/python" -m pip check --quiet || die "pip check found packages that do not fit together; they are listed above."
printf '%s' "$project" >"$PROJECT_STAMP"
say "project installed in $SECONDS s. Next: .venv-train/bin/python -m pytest tests/trainers"
