# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
# shellcheck shell=bash
# How the processes of a run find each other: RENDEZVOUS, the options for torch.distributed.run.
# One machine without PORT: the system chooses the port at the moment of binding, so that two runs never collide.
# A chosen port, or several machines: a fixed address that each machine is told.
if [ -z "${PORT:-}" ] && [ "${NNODES:-1}" = 1 ]; then
    RENDEZVOUS=(--rdzv-backend=c10d --rdzv-endpoint=127.0.0.1:0 --local-addr=127.0.0.1)
else
    RENDEZVOUS=(
        --nnodes="${NNODES:-1}" --node-rank="${NODE_RANK:-0}"
        --master-addr="${MASTER_ADDR:-127.0.0.1}" --master-port="${PORT:-29500}"
    )
fi
