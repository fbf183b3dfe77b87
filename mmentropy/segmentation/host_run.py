# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""One training run of a host in a process of its own: ``python -m mmentropy.segmentation.host_run CONFIG``.

mmengine keeps scope, message hub and visualizer in globals, so the runs of two hosts do not share a process. It holds
its folder as long as it works, and its data workers end with it. A number after the config has so many steps timed.
torchrun or srun starts several for one training, whose config then says ``launcher='pytorch'`` or ``'slurm'``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mmentropy.engine import build_runner, load_config, one_sentence_errors, start_processes, train
from mmentropy.engine.startup import LOCK
from mmentropy.processes import one_owner

from .planning import time_steps


@one_sentence_errors
def main() -> None:
    config = Path(sys.argv[1])
    if len(sys.argv) <= 2:
        cfg = load_config(str(config))
        start_processes(cfg, cfg.get('launcher', 'none'))
        train(cfg)
        return
    with one_owner(config.parent / LOCK, 'training', 'wait for it to end'):
        time_steps(build_runner(load_config(str(config))), int(sys.argv[2]), config.parent)


if __name__ == '__main__':
    main()
