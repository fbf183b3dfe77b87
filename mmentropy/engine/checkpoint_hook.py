# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Checkpoints that a crash does not touch: written aside, renamed, and the older one removed last."""

from __future__ import annotations

from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, get_file_backend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, Runner

from mmentropy.registry import HOOKS
from mmentropy.safe_files import remove_partial, write_whole

from .checkpoint import host_curves, misfit, plain_curves
from .random_state import random_states, restore_own

#: Where the message hub, and with it every checkpoint, keeps the random numbers of all processes.
RANDOM_STATES = 'random_states'
#: The checkpoint of a run that a signal ended; the next regular one replaces it.
INTERRUPTED = 'interrupted.pth'


class WholeFileBackend(LocalBackend):
    """The local disk, whose files are there whole or not at all.

    >>> backend = get_file_backend('a.pth', backend_args={'backend': 'mmentropy_whole'})
    >>> backend.put(b'weights', 'a.pth')
    >>> backend.get('a.pth')
    b'weights'
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        write_whole(filepath, obj, 'start again with --resume: earlier checkpoints are whole')


register_backend('mmentropy_whole', WholeFileBackend, force=True)


@HOOKS.register_module()
class WholeCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, safe against a kill or a full disk at any moment.

    mmengine writes in place and removes the oldest checkpoint before it writes the new one: with ``max_keep_ckpts=1`` a
    kill in between leaves none. Here a file is written under another name, flushed and renamed, ``last_checkpoint``
    likewise, and what is no longer kept goes afterwards. Each checkpoint carries the random numbers of all processes
    (see :class:`~mmentropy.engine.train_loop.EpochTrainLoop`).

    When a run is resumed or a model tested, a checkpoint that does not hold all of the model is refused; to start a
    training (``load_from``) any that shares weights with it will do. A validation that was due when the run ended is
    made up for.

    Args:
        *args, **kwargs: of ``CheckpointHook``.

    >>> hook = HOOKS.build(dict(type='mmentropy.WholeCheckpointHook', interval=1, max_keep_ckpts=1))
    >>> type(hook).__name__, hook.max_keep_ckpts
    ('WholeCheckpointHook', 1)
    """

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        if is_main_process():
            remove_partial(Path(runner.work_dir))
        if self.backend_args is None and type(self.file_backend) is LocalBackend:
            self.backend_args = {'backend': 'mmentropy_whole'}
            self.file_backend = get_file_backend(self.out_dir, backend_args=self.backend_args)
        restore_own(runner.message_hub.runtime_info.get(RANDOM_STATES))
        loop = runner.train_loop
        if hasattr(loop, 'run_epoch'):
            done, last = loop.epoch, loop.max_epochs
            inside = loop.iter != loop.epoch * len(runner.train_dataloader)
        else:
            done, last, inside = loop.iter, loop.max_iters, False
        due = done > 0 and not inside and done >= getattr(loop, 'val_begin', 1)
        if runner.val_loop is not None and due and (done % loop.val_interval == 0 or done == last):
            runner.val_loop.run()

    def save_now(self, runner: Runner, epoch: int, iteration: int) -> str:
        """Write :data:`INTERRUPTED` for a run that has made so many epochs and iterations; its path."""
        return self._write(runner, INTERRUPTED, dict(epoch=epoch, iter=iteration))

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        outdated = []
        if self.max_keep_ckpts > 0 and (not self.keep_ckpt_ids or self.keep_ckpt_ids[-1] != step):
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                outdated.append(self.filename_tmpl.format(self.keep_ckpt_ids[0]))
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        self.last_ckpt = self._write(runner, self.filename_tmpl.format(step), meta)
        if is_main_process():
            for name in (*outdated, INTERRUPTED):
                path = self.file_backend.join_path(self.out_dir, name)
                if self.file_backend.isfile(path):
                    self.file_backend.remove(path)

    def _write(self, runner: Runner, name: str, meta: dict) -> str:
        path = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', path)
        runner.message_hub.update_info(RANDOM_STATES, random_states())
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        runner.message_hub.runtime_info.pop(RANDOM_STATES)
        if is_main_process():
            write_whole(Path(runner.work_dir, 'last_checkpoint'), path)
        return path

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Nothing but tensors and plain values goes to the file."""
        checkpoint['message_hub'] = plain_curves(checkpoint['message_hub'])

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """ValueError for the checkpoint of another model; the curves as mmengine knows them."""
        if 'message_hub' in checkpoint:
            checkpoint['message_hub'] = host_curves(checkpoint['message_hub'])
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        whole = runner._resume or not isinstance(runner._train_loop, BaseLoop)
        problem = misfit(model, checkpoint, whole)
        if problem:
            raise ValueError(f'the checkpoint does not fit the model of this config: {problem}')
