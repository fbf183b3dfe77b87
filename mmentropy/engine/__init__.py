# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from mmentropy.hosts import require_hosts

require_hosts('mmengine')

from .amp import CpuAmpOptimWrapper, cpu_has_bf16  # noqa: E402
from .checkpoint import trust_checkpoints  # noqa: E402
from .startup import (  # noqa: E402
    build_runner,
    load_config,
    one_sentence_errors,
    set_work_dir,
    start_processes,
    use_amp,
)

__all__ = [
    'CpuAmpOptimWrapper',
    'build_runner',
    'cpu_has_bf16',
    'load_config',
    'one_sentence_errors',
    'set_work_dir',
    'start_processes',
    'trust_checkpoints',
    'use_amp',
]
