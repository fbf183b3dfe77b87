#!/usr/bin/env bash
# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
# Usage: tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [tools/test.py options]
# NCCL with GPUs, gloo without. Several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT on each.
set -euo pipefail
CONFIG=${1:?config}
CHECKPOINT=${2:?checkpoint}
PROCESSES=${3:?number of processes on this machine}
shift 3

HERE=$(dirname "$0")
# shellcheck source=tools/rendezvous.sh
. "$HERE/rendezvous.sh"
exec python -m torch.distributed.run "${RENDEZVOUS[@]}" --nproc-per-node="$PROCESSES" \
    "$HERE/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "$@"
