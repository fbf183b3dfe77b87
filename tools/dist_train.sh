#!/usr/bin/env bash
# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
# Usage: tools/dist_train.sh CONFIG PROCESSES [tools/train.py options]
# NCCL with GPUs, gloo without. Several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT on each.
set -euo pipefail
CONFIG=${1:?config}
PROCESSES=${2:?number of processes on this machine}
shift 2

exec python -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node-rank="${NODE_RANK:-0}" \
    --master-addr="${MASTER_ADDR:-127.0.0.1}" \
    --master-port="${PORT:-29500}" \
    --nproc-per-node="$PROCESSES" \
    "$(dirname "$0")/train.py" "$CONFIG" --launcher pytorch "$@"
