# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Stages that train: the classifier, the affinity, the segmenter. Each is one config of its host, run to the end."""

from __future__ import annotations

import os
import subprocess
import sys
from abc import abstractmethod
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from mmentropy.engine import load_config, trust_checkpoints
from mmentropy.engine.checkpoint import latest_whole
from mmentropy.registry import STAGES
from mmentropy.safe_files import write_whole

from .stage import Context, Stage


def load_host_model(folder: Path, device: str) -> nn.Module:
    """The model that a training stage left in its folder, in evaluation mode."""
    from mmentropy.engine.model_loading import load_model

    return load_model(str(folder / 'config.py'), folder / 'model.pth', device).model


class Training(Stage):
    """Runs a host's config in a process of its own, resuming from its last whole checkpoint.

    What that is, :func:`~mmentropy.engine.startup.choose_checkpoint` says for every run; nothing is removed.

    The folder then holds ``config.py`` (everything that decided the run) and ``model.pth`` (weights only).

    Args:
        name: see :class:`Stage`.
        config: path of the config, relative to the pipeline's config or absolute.
        options: keys of the config to override, ``{'train_cfg.max_epochs': 5}``.
        source: see :class:`Stage`.
    """

    SECONDS, BYTES = 2.0, 100_000

    def __init__(
        self, name: str, config: str, options: dict[str, Any] | None = None, source: str | None = None
    ) -> None:
        super().__init__(name, source)
        self.config, self.options = config, options or {}

    @abstractmethod
    def adapt(self, cfg: Config, ctx: Context) -> None:
        """Point the config at the run's data."""

    def build(self, ctx: Context) -> Config:
        """The complete config."""
        if not Path(self.config).is_file():
            raise FileNotFoundError(f'{self.name}: config {self.config} does not exist')
        cfg = load_config(self.config, self.options)
        self.adapt(cfg, ctx)
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
        cfg.work_dir = str(ctx.folder(self.name).resolve())
        cfg.resume = True
        return cfg

    def fingerprint(self, ctx: Context) -> str:
        # Where the run lies must not matter to what it is.
        text = self.build(ctx).pretty_text
        for place, name in ((Path(ctx.data.root).resolve(), 'DATA'), (ctx.work_dir.resolve(), 'WORK')):
            text = text.replace(str(place), name)
        return text

    def outputs(self, ctx: Context) -> list[Path]:
        return [path for name in ('config.py', 'model.pth') if (path := ctx.folder(self.name) / name).is_file()]

    def run(self, ctx: Context) -> dict[str, Any]:
        folder = ctx.folder(self.name)
        folder.mkdir(parents=True, exist_ok=True)
        if len(self.outputs(ctx)) == 2:
            return {'checkpoint': 'model.pth'}
        write_whole(folder / 'config.py', self.build(ctx).pretty_text.encode())
        command = [sys.executable, '-m', 'mmentropy.segmentation.host_run', str(folder / 'config.py')]
        log = folder / 'train.log'
        with open(log, 'ab') as file:
            root = str(Path(__file__).resolve().parents[2])
            path = os.pathsep.join(filter(None, [root, os.environ.get('PYTHONPATH')]))
            code = subprocess.run(command, stdout=file, stderr=file, env={**os.environ, 'PYTHONPATH': path}).returncode
        if code:
            lines = log.read_text(errors='replace').strip().splitlines()
            said = [line for line in lines if line.startswith('error: ')] or lines[-1:] or ['nothing said']
            raise ValueError(
                f'{self.name}: training ended with code {code}: {said[-1].removeprefix("error: ")} (see {log})'
            )
        last, _ = latest_whole(folder)
        if last is None:
            raise ValueError(f'{self.name}: the training ended and left no whole checkpoint in {folder} (see {log})')
        trust_checkpoints(False)
        state = torch.load(last, map_location='cpu', weights_only=True)
        save_weights(state['state_dict'], folder / 'model.pth')
        return {'checkpoint': 'model.pth', 'parameters': sum(v.numel() for v in state['state_dict'].values())}


def save_weights(weights: dict, path: Path) -> None:
    """A checkpoint with nothing but tensors, written whole."""
    import io

    buffer = io.BytesIO()
    torch.save({'state_dict': {key: value.cpu() for key, value in weights.items()}, 'meta': {}}, buffer)
    write_whole(path, buffer.getvalue())


def set_data_root(cfg: Any, root: str) -> None:
    """Every ``data_root`` of the config."""
    for value in cfg.values() if isinstance(cfg, dict) else cfg if isinstance(cfg, list) else ():
        if isinstance(value, dict | list):
            set_data_root(value, root)
    if isinstance(cfg, dict) and 'data_root' in cfg:
        cfg['data_root'] = root


@STAGES.register_module()
class Classify(Training):
    """Multi-label classification in mmpretrain: the source of maps.

    >>> STAGES.build(dict(type='Classify', config='classify.py', options={'train_cfg.max_epochs': 5})).name
    'classify'
    """

    def __init__(
        self, name: str = 'classify', config: str = '', options: dict | None = None, source: str | None = None
    ) -> None:
        super().__init__(name, config, options, None)

    def adapt(self, cfg: Config, ctx: Context) -> None:
        set_data_root(cfg._cfg_dict, str(Path(ctx.data.root).resolve()))


class MaskTraining(Training):
    """Training in mmseg on pseudo-masks.

    Args:
        name, config, options: see :class:`Training`.
        source: the stage that wrote the masks.
        init_from: a training stage whose backbone this one starts from.

    >>> MaskTraining('segment', 'deeplab.py', source='masks', init_from='classify').needs
    ['masks', 'classify']
    """

    def __init__(
        self,
        name: str,
        config: str,
        options: dict | None = None,
        source: str | None = None,
        init_from: str | None = None,
    ) -> None:
        super().__init__(name, config, options, source)
        self.init_from = init_from

    @property
    def needs(self) -> list[str]:
        return super().needs + ([self.init_from] if self.init_from else [])

    def adapt(self, cfg: Config, ctx: Context) -> None:
        set_data_root(cfg._cfg_dict, str(Path(ctx.data.root).resolve()))
        masks = ctx.folder(self.source).resolve()
        data = cfg.train_dataloader.dataset
        data.data_prefix = dict(img_path='JPEGImages', seg_map_path=str(masks))
        data.ann_file = str(masks / 'ids.txt')
        if self.init_from:
            weights = str(ctx.folder(self.init_from).resolve() / 'model.pth')
            cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=weights, prefix='backbone.')


@STAGES.register_module()
class TrainAffinity(MaskTraining):
    """AffinityNet on confident masks; see :class:`mmentropy.models.segmentors.AffinityNet`.

    >>> STAGES.build(dict(type='TrainAffinity', config='affinity.py', source='confident')).needs
    ['confident']
    """

    def __init__(self, name: str = 'affinity', config: str = '', **kwargs: Any) -> None:
        super().__init__(name, config, **kwargs)


@STAGES.register_module()
class Segment(MaskTraining):
    """The final segmenter: an unmodified EncoderDecoder, or a ``DSRGSegmentor``.

    >>> STAGES.build(dict(type='Segment', config='deeplab.py', source='masks')).name
    'segment'
    """

    def __init__(self, name: str = 'segment', config: str = '', **kwargs: Any) -> None:
        super().__init__(name, config, **kwargs)
