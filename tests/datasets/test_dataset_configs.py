# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Each base config gives the batches that its protocol says, from a set in the real format."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import dataset_worlds as worlds
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, DefaultScope
from mmengine.runner import Runner

from mmentropy.datasets.readers.image_folders import PRESETS

CONFIGS = Path(__file__).parents[2] / 'configs/_base_/datasets'


def mosaic_world(root: Path) -> Path:
    """Tiny ImageNet with four classes."""
    worlds.tiny_imagenet(root)
    more = ['n01774750', 'n01855672']
    for wnid, like in zip(more, ('n01641577', 'n01698640')):
        (root / 'train' / wnid).mkdir()
        boxes = (root / f'train/{like}/{like}_boxes.txt').read_text().replace(like, wnid)
        worlds.text(root / f'train/{wnid}/{wnid}_boxes.txt', boxes.strip())
        for i in range(3):
            worlds.photo(root / f'train/{wnid}/images/{wnid}_{i}.JPEG', 64, 64, 70 + i)
    wnids = ['n01641577', 'n01698640', *more]
    worlds.text(root / 'wnids.txt', *wnids)
    worlds.text(
        root / 'val/val_annotations.txt', *(f'val_{i}.JPEG\t{wnid}\t0\t0\t9\t9' for i, wnid in enumerate(wnids))
    )
    return root


#: name → world, size of a training batch's images, of a validation batch's, ground truth of a validation sample.
CASES = {
    'cub': (worlds.cub, (224, 224), (224, 224), {'gt_bboxes'}),
    'ilsvrc': (worlds.ilsvrc, (224, 224), (224, 224), {'gt_bboxes'}),
    'openimages30k': (worlds.openimages, (224, 224), (224, 224), {'gt_mask', 'ignore_mask'}),
    'flowers102': (worlds.flowers, (224, 224), (224, 224), {'gt_mask', 'ignore_mask'}),
    'glas': (worlds.glas, (480, 480), (14, 20), {'gt_mask', 'ignore_mask'}),
    'camelyon16': (worlds.camelyon, (32, 32), (32, 32), {'gt_mask', 'ignore_mask'}),
    'voc12_cls': (
        worlds.voc,
        (512, 512),
        (448, 448),
        {'gt_bboxes', 'gt_bbox_labels', 'gt_mask', 'ignore_mask', 'gt_seg_map', 'gt_score'},
    ),
    'coco_cls': (worlds.coco, (512, 512), (448, 448), {'gt_score'}),
    'tinyimagenet': (worlds.tiny_imagenet, (64, 64), (64, 64), {'gt_bboxes'}),
    'tinyimagenet_mosaic': (mosaic_world, (64, 64), (128, 128), {'gt_bboxes', 'gt_bbox_labels', 'tile_bbox'}),
    'cub_480': (worlds.cub, (480, 480), (42, 56), {'gt_bboxes'}),
    'flowers102_480': (worlds.flowers, (480, 480), (32, 48), {'gt_mask', 'ignore_mask'}),
    **{name: (partial(worlds.image_folders, preset=name), (224, 224), (224, 224), set()) for name in PRESETS},
    'partshapes': (None, (64, 64), (64, 64), {'gt_bboxes', 'gt_bbox_labels', 'gt_mask', 'part_mask'}),
}


def batch_of(cfg: Config, key: str, root: Path | None) -> dict:
    """The first batch of a dataloader, through the data preprocessor, on the fixture at ``root``."""
    loader = cfg[key].copy()
    loader.update(num_workers=0, persistent_workers=False, batch_size=min(loader.batch_size, 2))
    data = loader.dataset
    if root is not None:
        data.get('dataset', data).data_root = str(root)
    batch = next(iter(Runner.build_dataloader(loader, seed=0)))
    settings = {'type': 'ClsDataPreprocessor', **cfg.data_preprocessor}
    return MODELS.build(settings)(batch, training=key == 'train_dataloader')


@pytest.mark.parametrize('name', CASES)
def test_batches(name: str, tmp_path: Path) -> None:
    world, train_size, val_size, truth = CASES[name]
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    root = world(tmp_path) if world else None
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        train, val = batch_of(cfg, 'train_dataloader', root), batch_of(cfg, 'val_dataloader', root)
    assert train['inputs'].shape[1:] == (3, *train_size)
    assert val['inputs'].shape[1:] == (3, *val_size)
    assert torch.isfinite(train['inputs']).all()
    sample = val['data_samples'][0]
    assert set(sample.keys()) - {'gt_label'} == truth
    assert all(isinstance(sample.get(key), torch.Tensor) for key in truth)
    # The number of classes is known once and reaches the head through the preprocessor.
    assert cfg.data_preprocessor.num_classes == cfg.num_classes
    assert isinstance(sample.sample_id, int)


BOXED = [name for name, case in CASES.items() if 'gt_bboxes' in case[3]]


@pytest.mark.parametrize('name', BOXED)
@pytest.mark.parametrize('extra', [[], [dict(type='Resize', scale=(31, 57)), dict(type='RandomFlip', prob=1.0)]])
def test_ground_truth_stays_in_pixels_of_the_original_image(name: str, extra: list, tmp_path: Path) -> None:
    """mmcv's transforms move ``gt_bboxes`` and ``gt_seg_map`` with the image; metrics scale them by ``ori_shape``."""
    world = CASES[name][0]
    cfg = Config.fromfile(CONFIGS / f'{name}.py').val_dataloader.dataset
    if world:
        cfg.get('dataset', cfg).data_root = str(world(tmp_path))
    cfg.pipeline[-1:-1] = extra
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        data = DATASETS.build(cfg)
        sample = data[0]['data_samples']
    stored = data.get_data_info(0)
    assert np.array_equal(sample.gt_bboxes.numpy(), stored['gt_bboxes'])
    if name == 'voc12_cls':
        assert sample.gt_seg_map.shape == sample.gt_mask.shape == (30, 40)
        certain = sample.ignore_mask == 0
        assert torch.equal((sample.gt_seg_map > 0)[certain], (sample.gt_mask > 0)[certain])


def test_every_base_config_is_covered() -> None:
    found = {path.stem for path in CONFIGS.glob('*.py')}
    # The others: protocol and image folders have no set of their own; a segmentor's set has a test below or elsewhere.
    assert found == {*CASES, 'wsol_protocol', 'image_folders', 'voc12_seg', 'partshapes_voc', 'partshapes_voc_seg'}


def test_normalisation_is_the_protocols(tmp_path: Path) -> None:
    """A grey image of the mean colour becomes zeros: the channels are RGB after the preprocessor."""
    import cv2

    root = worlds.cub(tmp_path)
    cfg = Config.fromfile(CONFIGS / 'cub.py')
    mean = np.array(cfg.data_preprocessor.mean)
    for path in (root / 'CUBV2').rglob('*.jpg'):
        cv2.imwrite(str(path), np.full((42, 56, 3), mean[::-1].round(), dtype=np.uint8))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        inputs = batch_of(cfg, 'val_dataloader', root)['inputs']
    assert inputs.abs().max() < 0.06  # JPEG and rounding: three grey levels of 58


def test_exif_orientation_is_not_followed(tmp_path: Path) -> None:
    """Boxes and masks are those of the stored pixels."""
    from PIL import Image

    root = worlds.cub(tmp_path)
    (path,) = (root / 'CUBV2').rglob('*.jpg')
    turned = Image.Exif()
    turned[0x0112] = 6
    with Image.open(path) as image:
        image.load()
    image.save(path, exif=turned)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        sample = batch_of(Config.fromfile(CONFIGS / 'cub.py'), 'val_dataloader', root)['data_samples'][0]
    assert sample.ori_shape == (42, 56)


def test_voc_crop_is_padded_with_the_mean(tmp_path: Path) -> None:
    """40×30 photographs become 320 to 640 long; what a 512 crop lacks is the mean, zero after the preprocessor."""
    root = worlds.voc(tmp_path)
    cfg = Config.fromfile(CONFIGS / 'voc12_cls.py')
    cfg.train_dataloader.dataset.pipeline[1].ratio_range = (0.5, 0.5)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        inputs = batch_of(cfg, 'train_dataloader', root)['inputs']
    photograph = (inputs.abs().amax(1) > 0.02).float()
    rows, columns = photograph.amax(2).sum(1), photograph.amax(1).sum(1)
    assert rows.tolist() == pytest.approx([240, 240], abs=4)
    assert columns.tolist() == pytest.approx([320, 320], abs=4)


def test_voc12_seg_in_mmseg(tmp_path: Path) -> None:
    from mmseg.utils import register_all_modules

    root = worlds.voc(tmp_path)
    cfg = Config.fromfile(CONFIGS / 'voc12_seg.py')
    with DefaultScope.overwrite_default_scope('mmseg'):
        register_all_modules(init_default_scope=False)
        for key, size in (('train_dataloader', (512, 512)), ('val_dataloader', (30, 40))):
            loader = cfg[key].copy()
            loader.update(num_workers=0, persistent_workers=False, batch_size=1)
            loader.dataset.data_root = str(root)
            sample = next(iter(Runner.build_dataloader(loader, seed=0)))['data_samples'][0]
            labels = sample.gt_sem_seg.data
            if key == 'val_dataloader':
                assert labels.shape[1:] == size
            else:  # cropped to; padded by the preprocessor
                assert labels.shape[1] <= size[0]
                assert labels.shape[2] <= size[1]
            assert set(labels.unique().tolist()) <= {0, 4, 8, 15, 255}


def resize_photographs(root: Path, width: int, height: int, color: tuple[int, int, int]) -> None:
    """Every photograph becomes one of a single colour (RGB) and this size; annotations stay as they are."""
    from PIL import Image

    for path in root.rglob('*.jpg'):
        Image.new('RGB', (width, height), color).save(path, quality=100, subsampling=0)


def test_photographs_of_one_pixel(tmp_path: Path) -> None:
    """They fill the crop with their colour, in training and in validation."""
    root, color = worlds.cub(tmp_path), (200, 60, 90)
    resize_photographs(root, 1, 1, color)
    worlds.text(root / 'bounding_boxes.txt', *(f'{i} 0 0 1 1' for i in (11, 12, 13, 14)))
    worlds.text(root / 'metadata/val/image_sizes.txt', '002.Laysan_Albatross/307.jpg,1,1')
    worlds.text(root / 'metadata/val/localization.txt', '002.Laysan_Albatross/307.jpg,0,0,1,1')
    cfg = Config.fromfile(CONFIGS / 'cub.py')
    want = (torch.tensor(color) - torch.tensor(cfg.data_preprocessor.mean)) / torch.tensor(cfg.data_preprocessor.std)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        for key in ('train_dataloader', 'val_dataloader'):
            inputs = batch_of(cfg, key, root)['inputs']
            assert inputs.shape[2:] == (224, 224)
            assert (inputs - want[:, None, None]).abs().max() < 0.08  # JPEG: some grey levels of 57


@pytest.mark.parametrize(('width', 'height'), [(2, 2), (7, 3)])  # the host's loader squeezes labels one pixel wide
def test_segmentation_of_photographs_smaller_than_the_crop(width: int, height: int, tmp_path: Path) -> None:
    """Enlarged to what the protocol says; what the crop lacks is padded, and its labels are ignored."""
    import cv2
    from mmseg.utils import register_all_modules

    root = worlds.voc(tmp_path)
    resize_photographs(root, width, height, (10, 250, 10))
    for path in [*root.rglob('SegmentationClass*/*.png')]:
        cv2.imwrite(str(path), np.full((height, width), 8, np.uint8))
    cfg = Config.fromfile(CONFIGS / 'voc12_seg.py')
    cfg.train_dataloader.dataset.pipeline[2].ratio_range = (0.5, 0.5)
    loader = cfg.train_dataloader.copy()
    loader.update(num_workers=0, persistent_workers=False, batch_size=2)
    loader.dataset.data_root = str(root)
    with DefaultScope.overwrite_default_scope('mmseg'):
        register_all_modules(init_default_scope=False)
        batch = next(iter(Runner.build_dataloader(loader, seed=0)))
        batch = MODELS.build(cfg.data_preprocessor)(batch, training=True)
    assert batch['inputs'].shape[2:] == (512, 512)
    scale = 256 / min(width, height)
    rows, columns = (min(512, round(scale * side)) for side in (height, width))
    for image, sample in zip(batch['inputs'], batch['data_samples']):
        labels = sample.gt_sem_seg.data[0]
        inside = labels == 8
        assert (labels[~inside] == 255).all()
        assert inside.sum() == rows * columns
        assert (image[:, ~inside] == 0).all()
