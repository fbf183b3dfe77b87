# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What a run says on the terminal: a few lines that matter. The whole configuration goes into its log file."""

from __future__ import annotations

import logging
from typing import Any

import torch
from mmengine.logging import MMLogger
from mmengine.runner import Runner

#: How the hundreds of lines begin that mmengine logs before a run, and what it says of its own code.
DUMPS = ('System environment:', 'Config:', 'Hooks will be executed', '"FileClient" will be', '"HardDiskBackend" is')


def without_dumps(record: logging.LogRecord) -> bool:
    """Whether a record is for the terminal: all but environment, configuration, hooks, and mmengine's own affairs.

    >>> without_dumps(logging.LogRecord('run', logging.INFO, '', 1, 'Config:\\nmodel = dict()', None, None))
    False
    >>> without_dumps(logging.LogRecord('run', logging.INFO, '', 1, 'Epoch(train) [1][10/50]', None, None))
    True
    """
    return not record.getMessage().lstrip('\n-').startswith(DUMPS)


class ShortLogRunner(Runner):
    """mmengine's runner, whose long dumps go into the log file alone.

    >>> ShortLogRunner.build_logger.__qualname__
    'ShortLogRunner.build_logger'
    """

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler) and without_dumps not in handler.filters:
                handler.addFilter(without_dumps)
        return logger


def run_header(runner: Runner) -> str:
    """Config, data, model, device, and where the whole configuration lies: a line each.

    Args:
        runner: built, not yet started.
    """
    cfg = runner.cfg
    model = getattr(runner.model, 'module', runner.model)
    parts = [type(part).__name__ for name in ('backbone', 'neck', 'head') if (part := getattr(model, name, None))]
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    lines = {
        'config': str(cfg.filename or 'without a file'),
        'data': '; '.join(_data(cfg)) or 'none',
        'model': f'{type(model).__name__}({", ".join(parts)}), {millions:.1f} million parameters',
        'device': _device(),
        'log': f'{runner._log_dir}: the whole configuration is there, and here with --verbose',
    }
    return '\n'.join(f'{name:7s} {told}' for name, told in lines.items())


def _data(cfg: Any) -> list[str]:
    """Each split with its data set and folder."""
    found = []
    for split in ('train', 'val', 'test'):
        data = (cfg.get(f'{split}_dataloader') or {}).get('dataset') or {}
        while 'dataset' in data:  # wrappers
            data = data['dataset']
        if data:
            root = data.get('data_root')
            found.append(f'{split} {str(data.get("type")).rpartition(".")[2]}' + (f' in {root}' if root else ''))
    return found


def _device() -> str:
    if torch.cuda.is_available():
        return f'{torch.cuda.device_count()} × {torch.cuda.get_device_name()}'
    return f'CPU, {torch.get_num_threads()} threads'
