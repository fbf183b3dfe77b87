# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""One training run of a host in a process of its own: ``python -m mmentropy.segmentation.host_run CONFIG``.

mmengine keeps scope, message hub and visualizer in globals, so the runs of two hosts do not share a process.
"""

from __future__ import annotations

import sys

from mmentropy.engine import build_runner, load_config, one_sentence_errors


@one_sentence_errors
def main() -> None:
    cfg = load_config(sys.argv[1])
    build_runner(cfg).train()


if __name__ == '__main__':
    main()
