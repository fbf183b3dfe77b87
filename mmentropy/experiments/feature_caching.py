# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Features of a config's frozen trunk, computed once for each of its splits, and the config that reads them."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from mmentropy.engine.dataset_building import SPLITS, build_dataset, dataloader_of
from mmentropy.engine.feature_cache import (
    CacheIdentity,
    FeatureCache,
    fingerprint,
    in_words,
    sample_fields,
    union_of_grids,
)
from mmentropy.engine.random_state import random_state, set_random_state
from mmentropy.explain.watching import last_tensor
from mmentropy.progress import progress_bar
from mmentropy.safe_files import write_whole, written_whole

#: Keys of the data preprocessor that act on images; the rest (classes, one-hot labels) is for any inputs.
OF_IMAGES = ('mean', 'std', 'to_rgb', 'pad_size_divisor', 'pad_value')


class Views(Dataset):
    """Every view of every sample of a data set, each drawn with its own seed, whoever loads it.

    Args:
        dataset: whose samples are packed.
        views: of each sample.
        seed: of their crops and flips.

    >>> drawn = Views([dict(inputs=torch.zeros(3, 4, 4), data_samples=None)], views=2, seed=0)
    >>> len(drawn), drawn[1]['inputs'].shape
    (2, torch.Size([3, 4, 4]))
    """

    def __init__(self, dataset: Any, views: int, seed: int) -> None:
        self.dataset, self.views, self.seed = dataset, views, seed

    def __len__(self) -> int:
        return len(self.dataset) * self.views

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample, view = divmod(index, self.views)
        before = random_state()
        seed = int(np.random.SeedSequence((self.seed, view, sample)).generate_state(1)[0])
        try:
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002  the one that the hosts draw from
            torch.manual_seed(seed)
            return self.dataset[sample]
        finally:
            set_random_state(before)


def build_trunk(cfg: Config, device: str | torch.device = 'cpu') -> tuple[nn.Module, str]:
    """The config's model with its weights, in evaluation mode, and the fingerprint of its trunk.

    The fingerprint is taken before any image: EVA-02 keeps tables of the last image's size among its buffers.

    Raises:
        ValueError: when its backbone is not frozen, or images are mixed.
    """
    told = cfg.filename or 'the config'
    if not cfg.model.get('freeze_backbone'):
        raise ValueError(
            f'{told}: the backbone of its model is trained, so its features change; caches are for '
            'model.freeze_backbone=True (configs/frozen)'
        )
    mixed = (cfg.model.get('train_cfg') or {}).get('augments') or (cfg.get('data_preprocessor') or {}).get(
        'batch_augments'
    )
    if mixed:
        raise ValueError(f'{told}: it mixes the images of a batch, which cached features cannot do; leave augments out')
    settings = copy.deepcopy(cfg.model.to_dict())
    if cfg.get('data_preprocessor') is not None:
        settings.setdefault('data_preprocessor', cfg.data_preprocessor.to_dict())
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmpretrain'):
        model = MODELS.build(settings)
    model.init_weights()
    return model.to(device).eval(), trunk_fingerprint(cfg, model)


def cache_split(
    cfg: Config,
    model: nn.Module,
    trunk: str,
    split: str,
    folder: Path,
    views: int = 1,
    seed: int = 0,
    precision: str = 'float16',
    batch_size: int = 32,
    workers: int = 0,
    tell: Callable[[str], None] = print,
) -> FeatureCache:
    """Write the features of one split, or what of them is missing.

    Args:
        cfg: whose data set and pipeline are used.
        model, trunk: of :func:`build_trunk`.
        split: ``train``, ``val`` or ``test``.
        folder: of the split's cache.
        views: of each sample; 1 for splits that are evaluated.
        seed: of the views.
        precision: ``float16`` or ``float32``.
        batch_size: images at once.
        workers: processes that load images.
        tell: is given the size before anything is written.

    Raises:
        ValueError: when the folder holds other features, or images have different sizes.
    """
    dataset = build_dataset(cfg, split)
    drawn = Views(dataset, views, seed)
    first = _extract(model, [drawn[0]])
    identity = CacheIdentity(
        trunk=trunk,
        preprocessing=preprocessing_fingerprint(cfg, split),
        dataset=fingerprint({**dataloader_of(cfg, split).dataset.to_dict(), 'pipeline': None}),
        samples=len(dataset),
        views=views,
        seed=seed,
        shape=tuple(first.shape[1:]),
        dtype=precision,
    )
    size, shape = in_words(identity.size_bytes), '×'.join(map(str, identity.shape))
    tell(f'{split}: {len(dataset)} images, {views} view(s), {shape} in {precision}: {size} in {folder}')
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    cache = FeatureCache.create(folder, identity, classes, _grid_of(model, drawn[0], identity.shape[1:]))
    missing = cache.missing()
    if len(missing) < identity.shards:
        tell(f'{split}: {identity.shards - len(missing)} of {identity.shards} shards are there already')
    with progress_bar() as bar:
        task = bar.add_task(f'features of {split}', total=len(missing))
        for shard in missing:
            members = [i * views + v for i in identity.members(shard) for v in range(views)]
            loader = DataLoader(Subset(drawn, members), batch_size, num_workers=workers, collate_fn=list)
            features, fields = [], []
            for batch in loader:
                features.append(_same_size(_extract(model, batch), identity.shape, folder))
                fields += [sample_fields(one['data_samples']) for one in batch]
            stacked = torch.cat(features).numpy()
            by_sample = [fields[at : at + views] for at in range(0, len(fields), views)]
            cache.write(shard, stacked.reshape(len(by_sample), views, *stacked.shape[1:]), by_sample)
            bar.advance(task)
    return cache


def trunk_fingerprint(cfg: Config, model: nn.Module) -> str:
    """Of the backbone's settings and weights; where the weights came from does not count."""
    settings = {key: value for key, value in cfg.model.backbone.to_dict().items() if key != 'init_cfg'}
    return fingerprint(settings, model.backbone)


def preprocessing_fingerprint(cfg: Config, split: str) -> str:
    """Of a split's pipeline and the normalisation."""
    preprocessor = {key: (cfg.get('data_preprocessor') or {}).get(key) for key in OF_IMAGES}
    pipelines, dataset = [], dataloader_of(cfg, split).dataset
    while dataset is not None:
        pipelines.append([dict(step) for step in dataset.get('pipeline') or ()])
        dataset = dataset.get('dataset')
    return fingerprint([preprocessor, pipelines])


def cached_config(cfg: Config, caches: dict[str, FeatureCache]) -> Config:
    """The config with :class:`~mmentropy.models.CachedTrunk` and ``CachedFeatures`` for the splits that are cached.

    Splits that are not cached are taken out: their images would need the trunk.
    """
    cfg = copy.deepcopy(cfg)
    trunk = next(iter(caches.values())).identity
    cfg.model.backbone = dict(
        type='mmentropy.CachedTrunk',
        channels=trunk.shape[0],
        grids=union_of_grids(caches.values()),
        fingerprint=trunk.trunk,
    )
    cfg.model.freeze_backbone = False
    if cfg.get('data_preprocessor'):
        cfg.data_preprocessor = {k: v for k, v in cfg.data_preprocessor.items() if k not in OF_IMAGES}
    for split in SPLITS:
        if cfg.get(f'{split}_dataloader') is None:
            continue
        if split not in caches:
            cfg[f'{split}_dataloader'] = cfg[f'{split}_cfg'] = None
            if split != 'train':
                cfg[f'{split}_evaluator'] = None
            continue
        cache = caches[split]
        cfg[f'{split}_dataloader'].dataset = dict(
            type='mmentropy.CachedFeatures',
            cache=str(cache.folder.absolute()),
            trunk=cache.identity.trunk,
            preprocessing=cache.identity.preprocessing,
        )
    return cfg


def cache_config(
    cfg: Config,
    out: str | Path,
    splits: Sequence[str] = SPLITS,
    views: int = 4,
    device: str = 'cpu',
    tell: Callable[[str], None] = print,
    **options: Any,
) -> Path:
    """Cache the splits of a config, and write the config that trains on them.

    Splits whose data set and pipeline are the same (as ``val`` and ``test`` often are) share one cache.

    Args:
        cfg: with a frozen backbone.
        out: folder; gets a folder a split and ``<config>_cached.py``.
        splits: to cache.
        views: of the training images.
        device: of the trunk.
        tell: is given what is done.
        **options: of :func:`cache_split`.

    Returns:
        path of the config.
    """
    out = Path(out)
    model, trunk = build_trunk(cfg, device)
    caches: dict[str, FeatureCache] = {}
    folders: dict[str, str] = {}
    for split in splits:
        settings = fingerprint(dataloader_of(cfg, split).dataset.to_dict())
        if settings in folders and split != 'train':
            caches[split] = caches[folders[settings]]
            tell(f'{split}: the same images as {folders[settings]}')
            continue
        folders[settings] = split
        count = views if split == 'train' else 1
        caches[split] = cache_split(cfg, model, trunk, split, out / split, count, tell=tell, **options)
    path = out / f'{Path(cfg.filename or "config").stem}_cached.py'
    write_whole(path, cached_config(cfg, caches).pretty_text)
    tell(f'train the head: python tools/train.py {path}')
    return path


def join_head(cfg: Config, head: str | Path, out: str | Path, device: str = 'cpu') -> None:
    """A checkpoint of the whole model: the config's frozen trunk and a head that was trained on its cached features.

    Raises:
        FileNotFoundError: without the head's checkpoint.
        ValueError: for a head of another trunk, or of another config.
    """
    if not Path(head).is_file():
        raise FileNotFoundError(f'{head}: no such checkpoint')
    model, trunk = build_trunk(cfg, device)
    checkpoint = torch.load(head, map_location='cpu', weights_only=True)
    told = str((checkpoint.get('meta') or {}).get('cfg', ''))
    if trunk not in told:
        raise ValueError(f'{head} was not trained on features of the trunk of {cfg.filename}; join it with its own')
    try:
        missing, unexpected = model.load_state_dict(checkpoint['state_dict'], strict=False)
    except RuntimeError as error:
        raise ValueError(f'{head}: it does not fit {cfg.filename} ({str(error).splitlines()[1].strip()})') from None
    wrong = [key for key in missing if not key.startswith('backbone.')] + unexpected
    if wrong:
        raise ValueError(f'{head}: it does not fit {cfg.filename}, for example {wrong[0]}')
    with written_whole(Path(out)) as part:
        torch.save({'meta': checkpoint.get('meta', {}), 'state_dict': model.state_dict()}, part)


@torch.inference_mode()
def _extract(model: nn.Module, batch: list[dict]) -> Tensor:
    """(n, D, h, w) float32 features of packed samples."""
    data = {'inputs': [one['inputs'] for one in batch], 'data_samples': [one['data_samples'] for one in batch]}
    inputs = model.data_preprocessor(data, training=False)['inputs']
    return last_tensor(model.backbone(inputs)).float().cpu()


def _same_size(features: Tensor, shape: tuple[int, ...], folder: Path) -> Tensor:
    if tuple(features.shape[1:]) != tuple(shape):
        raise ValueError(
            f'{folder}: the first image gives features {tuple(shape)} and another one {tuple(features.shape[1:])}; a '
            'cache needs inputs of one size: resize or crop them in the pipeline'
        )
    return features


def _grid_of(model: nn.Module, sample: dict, size: tuple[int, int]) -> dict | None:
    """Where the trunk's maps look, as :class:`~mmentropy.models.CachedTrunk` wants it."""
    inputs = model.data_preprocessor({'inputs': [sample['inputs']], 'data_samples': None}, training=False)['inputs']
    grid = model.grid(model.backbone, inputs)
    if grid is None:
        return None
    return dict(map=tuple(size), start=tuple(grid.start), step=tuple(grid.step), size=tuple(grid.size))
