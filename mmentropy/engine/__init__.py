# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from mmentropy import _needs_hosts  # noqa: F401  says what to install, before an import fails
from mmentropy._moved import keep_old_names
from mmentropy.command_line import (
    add_run_arguments,
    add_weights_arguments,
    one_sentence_errors,
    positive_float,
    positive_int,
    threshold_or_rule,
)
from mmentropy.progress import progress_bar

from .amp import CpuAmpOptimWrapper, cpu_has_bf16
from .checkpoint import trust_checkpoints
from .checkpoint_hook import WholeCheckpointHook
from .config_options import add_config_options, merge_options
from .dataset_building import build_dataset, dataloader_of
from .devices import usable_device
from .downloads import DownloadError
from .epoch_seed import EpochSeedHook
from .metric_model_hook import MetricModelHook
from .minmax_hook import MinMaxScheduleHook
from .progress_hook import ProgressHook
from .short_log import run_header
from .startup import (
    build_runner,
    load_config,
    set_work_dir,
    start_processes,
    train,
    use_amp,
)
from .stop_hook import StopSignalHook
from .train_loop import EpochTrainLoop, IterTrainLoop

keep_old_names(
    'mmentropy.engine',
    {
        'command_line': 'mmentropy.command_line',
        'progress': 'mmentropy.engine.progress_hook',
        'tasks': 'mmentropy.tasks',
    },
)

__all__ = [
    'CpuAmpOptimWrapper',
    'DownloadError',
    'EpochSeedHook',
    'EpochTrainLoop',
    'IterTrainLoop',
    'MetricModelHook',
    'MinMaxScheduleHook',
    'ProgressHook',
    'StopSignalHook',
    'WholeCheckpointHook',
    'add_config_options',
    'add_run_arguments',
    'add_weights_arguments',
    'build_dataset',
    'build_runner',
    'cpu_has_bf16',
    'dataloader_of',
    'load_config',
    'merge_options',
    'one_sentence_errors',
    'positive_float',
    'positive_int',
    'progress_bar',
    'run_header',
    'set_work_dir',
    'start_processes',
    'threshold_or_rule',
    'train',
    'trust_checkpoints',
    'usable_device',
    'use_amp',
]
