#!/usr/bin/env bash
# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
# Usage: tools/dist_train.sh CONFIG PROCESSES [tools/train.py options]
# NCCL with GPUs, gloo without. Several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT on each.
set -euo pipefail
CONFIG=${1:?config}
PROCESSES=${2:?number of processes on this machine}
shift 2

HERE=$(dirname "$0")
# shellcheck source=tools/rendezvous.sh
. "$HERE/rendezvous.sh"
exec python -m torch.distributed.run "${RENDEZVOUS[@]}" --nproc-per-node="$PROCESSES" \
    "$HERE/train.py" "$CONFIG" --launcher pytorch "$@"
