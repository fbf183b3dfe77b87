# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""One training run of a host in a process of its own: ``python -m mmentropy.segmentation.host_run CONFIG``.

mmengine keeps scope, message hub and visualizer in globals, so the runs of two hosts do not share a process. It holds
its folder as long as it works, and its data workers end with it. A number after the config has so many steps timed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mmentropy.engine import build_runner, load_config, one_sentence_errors
from mmentropy.processes import children_die_with_us, one_owner

from .planning import time_steps


@one_sentence_errors
def main() -> None:
    children_die_with_us()
    config = Path(sys.argv[1])
    with one_owner(config.parent / '.training', 'training', 'wait for it to end'):
        runner = build_runner(load_config(str(config)))
        if len(sys.argv) > 2:
            time_steps(runner, int(sys.argv[2]), config.parent)
        else:
            runner.train()


if __name__ == '__main__':
    main()
