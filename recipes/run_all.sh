#!/usr/bin/env bash
# From raw data to a trained model: score, export, every training stage of a recipe in order, evaluation, results. What is
# asked in the evaluation is the export called heldout, or else the validation rows of the export called grpo.
#
#   recipes/run_all.sh RAW [--recipe DIR] [-o WORK] [--bench OPTIONS] [-- OPTIONS of curate score]
#   recipes/run_all.sh --smoke [-o WORK] [--seed N]
#
#   recipes/run_all.sh raw/ --recipe recipes/infimed2-4b -- --judge-url http://localhost:8000/v1 --judge-model MODEL
#
# --recipe   a folder with exports.txt and one NUMBER-NAME.yaml a stage; by default recipes/infimed2-4b
# -o         where everything goes (curated/, exports/, runs/, results/); by default work/RECIPE
# --bench    options of curate bench, as one word: --bench "--max-new-tokens 4096 --batch-size 32"
# --smoke    all of it for real, on a machine without a GPU: a tiny model made on the spot, the examples' pictures, and a
#            task that can only be learned from the picture. Takes about 15 minutes on two cores
# --seed     of the smoke run's model, task and training
#
# Interrupted and started again with the same arguments, it goes on where it stopped: finished steps are skipped, unless a
# file that they name has changed (then it stops and says so) or a step before them was done again, and an unfinished one
# resumes by itself. Exit status: 0 done; 1 the data has problems or the smoke run learned nothing;
# 2 something could not run; 3 interrupted.
set -euo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
ROOT="$(dirname "$HERE")"
say() { printf '\n== %s\n' "$*" >&2; }
die() { printf 'run_all: %s\n' "$*" >&2; exit 2; }

RAW="" RECIPE="" WORK="" SMOKE="" SEED=0 SCORE_OPTIONS=() BENCH_OPTIONS=()
while (($#)); do
    case "$1" in
        --recipe | -o | --seed | --bench)
            (($# > 1)) || die "$1 needs a value"
            case "$1" in
                --recipe) RECIPE="$2" ;;
                -o) WORK="$2" ;;
                --seed) SEED="$2" ;;
                --bench) read -ra BENCH_OPTIONS <<<"$2" ;;
            esac
            shift
            ;;
        --smoke) SMOKE=yes ;;
        -h | --help) sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//; p}' "${BASH_SOURCE[0]}"; exit 0 ;;
        --) shift; SCORE_OPTIONS=("$@"); break ;;
        -*) die "there is no option $1; --help lists them" ;;
        *) [[ -z "$RAW" ]] || die "name one folder of raw data, not both $RAW and $1"; RAW="$1" ;;
    esac
    shift
done
[[ "$SEED" =~ ^[0-9]+$ ]] || die "--seed is '$SEED'; it must be a whole number"
if [[ -n "$SMOKE" ]]; then
    [[ -z "$RAW$RECIPE" ]] || die "--smoke brings its own data and recipe"
    RECIPE="$HERE/smoke"
else
    [[ -n "$RAW" ]] || die "name the folder of raw data, or --smoke; --help says more"
    [[ -e "$RAW" ]] || die "$RAW does not exist"
    RAW="$(cd "$(dirname "$RAW")" && pwd)/$(basename "$RAW")"
    RECIPE="${RECIPE:-$HERE/infimed2-4b}"
fi
[[ -f "$RECIPE/exports.txt" ]] || die "$RECIPE is no recipe: it has no exports.txt"
compgen -G "$RECIPE/[0-9]*.yaml" >/dev/null || die "$RECIPE is no recipe: it has no stage such as 1-sft.yaml"
RECIPE="$(cd "$RECIPE" && pwd)"
NAME="$(basename "$RECIPE")"
WORK="${WORK:-work/$NAME}"
mkdir -p "$WORK"
WORK="$(cd "$WORK" && pwd)"

CURATE="$ROOT/.venv/bin/curate"
[[ -x "$CURATE" ]] || CURATE="$(command -v curate)" || die "curate is not installed: make -C $ROOT .venv/.installed"
cd "$WORK" # every path of a recipe starts here
mkdir -p steps results

exec 9>>steps/.lock
flock -n 9 || die "another run_all.sh is at work in $WORK"

# A command in the background, so that SIGTERM and SIGINT reach it through this script; their status is its status.
CHILD=""
trap '[[ -z "$CHILD" ]] || kill -TERM "$CHILD" 2>/dev/null || true' INT TERM
run() {
    local status=0
    "$@" 9>&- &
    CHILD=$!
    while true; do
        status=0
        wait "$CHILD" || status=$?
        ((status > 128)) && kill -0 "$CHILD" 2>/dev/null || break # a signal ends the wait, not yet the command
    done
    CHILD=""
    return "$status"
}

# step NAME COMMAND...: run it unless it is done already. steps/NAME keeps its seconds, when it ended, the hash of the step
# before it, the command, and the hashes of the files that the command names. A step that was done again is therefore
# followed by all after it; each of them finds out by itself what has really changed.
BEFORE="none"
step() {
    local name="$1" begun=$SECONDS status=0 inputs was word
    shift
    inputs="$(printf '%q ' "$@")"
    for word in "${@:2}"; do # but not raw data in one file, which can be large, and which curate score knows
        [[ ! -f "$word" || "$word" == "$RAW" ]] || inputs+=$'\n'"$(sha256sum -- "$word")"
    done
    if [[ -f "steps/$name" ]]; then
        was="$(tail -n +4 "steps/$name")"
        [[ "${was%%$'\n'*}" == "${inputs%%$'\n'*}" ]] || other "$name" "with other arguments"
        if [[ "$(sed -n 3p "steps/$name")" == "$BEFORE" ]]; then
            [[ "$was" == "$inputs" ]] || other "$name" "before a file that it names was changed"
            say "$name: done before"
            BEFORE="$(sha256sum <"steps/$name")"
            return
        fi
        say "$name: again, since a step before it was done again"
    else
        say "$name"
    fi
    run "$@" || status=$?
    if ((status)); then
        say "$name ended with status $status; the same command goes on from here"
        exit "$status"
    fi
    printf '%s\n' $((SECONDS - begun)) "$(date --utc +%FT%T.%NZ)" "$BEFORE" "$inputs" >"steps/.$name.part"
    mv "steps/.$name.part" "steps/$name"
    BEFORE="$(sha256sum <"steps/$name")"
}
other() { die "$1 was done in $WORK $2; name another -o, or remove $WORK/steps/$1 to do it again, and with it what follows"; }

export_all() { # each line of exports.txt: NAME and the options of curate export, quoted as in a shell
    local line words
    while IFS= read -r line; do
        [[ -z "$line" || "$line" == \#* ]] && continue
        mapfile -t words < <(xargs printf '%s\n' <<<"$line")
        step "export-${words[0]}" "$CURATE" export curated -o "exports/${words[0]}" "${words[@]:1}"
    done <"$RECIPE/exports.txt"
}

SETTINGS=()
if [[ -n "$SMOKE" ]]; then
    TRAIN_PYTHON="${CURATE_SMOKE_ENV:-$ROOT/.venv-train}/bin/python"
    [[ -x "$TRAIN_PYTHON" ]] ||
        die "the smoke run needs an environment with both trainers; this makes one: bash $ROOT/adapters/make_env.sh smoke"
    export CURATE_LLAMAFACTORY_ENV="$(dirname "$(dirname "$TRAIN_PYTHON")")" HF_HUB_OFFLINE=1
    export CURATE_VERL_ENV="$CURATE_LLAMAFACTORY_ENV"
    SETTINGS=("seed=$SEED") BENCH_OPTIONS=(--max-new-tokens 16 --batch-size 64)
    step base-model "$TRAIN_PYTHON" "$RECIPE/make_model.py" runs/smoke/base --seed "$SEED"
    step task "$TRAIN_PYTHON" "$RECIPE/make_task.py" raw --seed "$SEED"
    step examples cp -R "$ROOT/examples/raw/." raw
    RAW=raw
    SCORE_OPTIONS=(--judge --judge-url demo --declare-deidentified dicom)
else
    SCORE_OPTIONS=(--judge "${SCORE_OPTIONS[@]}")
fi

step score "$CURATE" score "$RAW" -o curated "${SCORE_OPTIONS[@]}"
export_all

MODELS=()
for stage in "$RECIPE"/[0-9]*.yaml; do
    stem="$(basename "$stage" .yaml)"
    if ((${#MODELS[@]} == 0)); then
        MODELS=("before=$(sed -n 's/^model: *\([^ #]*\).*/\1/p' "$stage")")
    fi
    step "train-$stem" "$CURATE" train "$stage" "${SETTINGS[@]}"
    MODELS+=("$stem=runs/$NAME/$stem/model")
done

HELDOUT=exports/heldout
if [[ ! -e "$HELDOUT" ]]; then
    HELDOUT=exports/grpo/val.parquet
    say "Evaluation: no export is called heldout, so it takes $HELDOUT. Its pictures are held out from GRPO alone: captions" \
        "and conversations about them are trained on. exports.txt of the recipe says how to hold pictures out of all stages"
fi
step bench "$CURATE" bench "${MODELS[@]}" --data "$HELDOUT" -o results/bench "${BENCH_OPTIONS[@]}"

if [[ -n "$SMOKE" ]]; then
    step curves "$TRAIN_PYTHON" -m curate.adapters.curves results/curves.png "CPT=runs/smoke/1-cpt/metrics.jsonl:loss" \
        "SFT=runs/smoke/2-sft/metrics.jsonl:loss" "GRPO=runs/smoke/3-grpo/metrics.jsonl:reward,val_accuracy"
    step check "$TRAIN_PYTHON" "$RECIPE/check.py" .
fi

say "Seconds of each step"
for name in $(ls -tr steps); do printf '%8s  %s\n' "$(head -n 1 "steps/$name")" "$name" >&2; done
say "Models: $WORK/runs  Results: $WORK/results"
