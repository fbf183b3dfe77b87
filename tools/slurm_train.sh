#!/usr/bin/env bash
# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
# Usage: GPUS=8 tools/slurm_train.sh PARTITION JOB_NAME CONFIG [tools/train.py options]
set -euo pipefail
PARTITION=${1:?partition}
JOB_NAME=${2:?job name}
CONFIG=${3:?config}
shift 3
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-8}
CPUS_PER_TASK=${CPUS_PER_TASK:-5}

# shellcheck disable=SC2086
exec srun -p "$PARTITION" \
    --job-name="$JOB_NAME" \
    --gres="gpu:$GPUS_PER_NODE" \
    --ntasks="$GPUS" \
    --ntasks-per-node="$GPUS_PER_NODE" \
    --cpus-per-task="$CPUS_PER_TASK" \
    --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} \
    python -u "$(dirname "$0")/train.py" "$CONFIG" --launcher slurm "$@"
