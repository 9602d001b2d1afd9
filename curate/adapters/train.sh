#!/usr/bin/env bash
# `curate train` as a plain script, for schedulers that want a file: sbatch adapters/train.sh STAGE.yaml [KEY=VALUE ...]
# It takes the curate of this checkout's .venv, else the one on the PATH.
set -euo pipefail
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
CURATE="$HERE/../../.venv/bin/curate"
[[ -x "$CURATE" ]] || CURATE="$(command -v curate)" || { echo "train.sh: curate is not installed: pip install medcurate" >&2; exit 2; }
exec "$CURATE" train "$@"
