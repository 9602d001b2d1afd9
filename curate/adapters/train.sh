#!/usr/bin/env bash
# `curate train` as a plain script, for schedulers that want a file: sbatch adapters/train.sh STAGE.yaml [KEY=VALUE ...]
# It takes the curate of this checkout's .venv; else, since sbatch runs a copy of this file from elsewhere, that of a .venv
# where the job was submitted or is run; else the one on the PATH.
set -euo pipefail
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
CURATE=""
for folder in "$HERE/../.." "${SLURM_SUBMIT_DIR:-$PWD}" "$PWD"; do
    if [[ -z "$CURATE" && -x "$folder/.venv/bin/curate" ]]; then CURATE="$folder/.venv/bin/curate"; fi
done
[[ -n "$CURATE" ]] || CURATE="$(command -v curate)" || { echo "train.sh: curate is not installed: pip install medcurate" >&2; exit 2; }
exec "$CURATE" train "$@"
