# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""One page for a pipeline's folder: stages with figures and time, IoU by class, and every step of some images."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmentropy.datasets.sources import build_source
from mmentropy.ops.mapping.overlay import blend_map
from mmentropy.ops.mapping.scaling import resize_map
from mmentropy.ops.masks import voc_palette
from mmentropy.ops.seeding.confusion import class_iou, confusion_matrix, ignore_value
from mmentropy.ops.seeding.seeds import scale_to_peak

from .files import ImageMaps
from .pipeline import MANIFEST, SeedPipeline
from .predict import Test
from .records import read_json
from .stage import Context, PerImageStage, ScoreStage

TEMPLATE = Path(__file__).with_name('pipeline_report.html')
#: Pixels of the longer side of a picture, and JPEG quality.
SIDE, QUALITY = 144, 82
#: Share of a class' colour over the image, and of black where the background is.
ALPHA, DARK = 0.6, 0.35


def open_run(folder: Path) -> SeedPipeline:
    """The pipeline that a folder's manifest tells of, of its finished stages; it is looked at, not run.

    Raises:
        FileNotFoundError: if there is no manifest.
        ValueError: if it is none of a pipeline.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file; is {folder} the folder of a pipeline?')
    manifest = read_json(path)
    try:
        # What has been drawn is there; manifests of earlier versions also name the classes.
        data = build_source({k: v for k, v in manifest['data'].items() if k not in ('drawn', 'classes')})
        stages = [dict(entry['settings']) for entry in manifest['stages']]
        places = {entry['stage']: Path(entry['place']) for entry in manifest['stages'] if entry.get('place')}
        return SeedPipeline(stages, Context(folder, data, device='cpu', places=places))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f'{path} is no manifest of a pipeline ({type(error).__name__}: {error})') from None


def pipeline_report(folder: str | Path, title: str = '', max_images: int = 100) -> str:
    """The page of a run, HTML that asks nothing of the network.

    Args:
        folder: work dir of the pipeline.
        title: heading; the folder's name by default.
        max_images: images in the gallery of each list, evenly from the whole list; those that failed come on top of it.

    Raises:
        FileNotFoundError, ValueError: see :func:`open_run`.
    """
    folder = Path(folder)
    pipeline = open_run(folder)
    content = {
        'title': title or folder.resolve().name,
        'classes': ['background', *pipeline.ctx.data.classes],
        'colors': voc_palette(pipeline.ctx.data.num_classes + 1).tolist(),
        'stages': [describe_stage(pipeline, stage) for stage in pipeline.stages],
        'columns': [*_columns(pipeline), 'truth'],
        'images': gallery(pipeline, max_images),
    }
    # In a script element only "</script" and "<!--" could end the data: no "<" is left in it.
    packed = json.dumps(content, ensure_ascii=False, allow_nan=False).replace('<', '\\u003c')
    page = TEMPLATE.read_text(encoding='utf-8')
    return page.replace('@@TITLE@@', html.escape(content['title'])).replace('@@DATA@@', packed)


def describe_stage(pipeline: SeedPipeline, stage: Any) -> dict[str, Any]:
    """A row of the table of stages."""
    record = pipeline.record(stage)
    result = record.result
    options = {name: value for name, value in record.settings.items() if name not in ('name', 'type', 'source')}
    if options.get('config'):
        options['config'] = Path(options['config']).name
    return {
        'name': stage.name,
        'type': type(stage).__name__,
        'options': ', '.join(f'{name}={value}' for name, value in options.items()),
        'images': result.get('images'),
        'failed': len(record.failures),
        'seconds': record.seconds,
        'mIoU': result.get('mIoU'),
        'best': result.get('best_mIoU'),
        'IoU': result.get('IoU') or [],
    }


def _columns(pipeline: SeedPipeline) -> list[str]:
    """Names of the per-image stages, in order."""
    return [stage.name for stage in pipeline.stages if isinstance(stage, PerImageStage)]


def gallery(pipeline: SeedPipeline, max_images: int) -> list[dict[str, Any]]:
    """Images with a picture of each stage, the truth, their mean IoU at each stage, and why they failed."""
    stages = [stage for stage in pipeline.stages if isinstance(stage, PerImageStage)]
    failures: dict[str, dict[str, str]] = {}
    lists: dict[str, list[str]] = {}
    for stage in stages:
        split = stage.split if isinstance(stage, Test) else pipeline.ctx.data.split
        lists.setdefault(split, stage.ids(pipeline.ctx) if isinstance(stage, Test) else pipeline.ctx.data.ids())
        for key, error in pipeline.record(stage).failures.items():
            failures.setdefault(key, {})[stage.name] = error
    chosen = []
    for split, keys in lists.items():
        step = max(1, -(-len(keys) // max_images))
        chosen += [(split, key) for i, key in enumerate(keys) if i % step == 0 or key in failures]
    return [_image(pipeline, stages, split, key, failures.get(key, {})) for split, key in chosen]


def _image(
    pipeline: SeedPipeline, stages: list[PerImageStage], split: str, key: str, failures: Mapping[str, str]
) -> dict[str, Any]:
    ctx = pipeline.ctx
    data, classes = ctx.data.on(split), ctx.data.num_classes + 1
    entry: dict[str, Any] = {'name': key, 'split': split, 'failures': dict(failures), 'pictures': {}, 'IoU': {}}
    try:
        image = data.image(key)
        truth = data.mask(key, image.shape[:2])
    except (ValueError, FileNotFoundError) as error:
        if str(error) not in failures.values():
            entry['failures'].setdefault('image', str(error))
        return entry
    entry['image'] = encode(image)
    if truth is not None:
        entry['pictures']['truth'] = encode(painted(image, truth, classes))
    for stage in stages:
        if not stage.output(ctx, key).is_file() or (split != ctx.data.split) != isinstance(stage, Test):
            continue
        if not isinstance(stage, ScoreStage):
            entry['pictures'][stage.name] = encode(map_picture(image, ImageMaps.load(stage.output(ctx, key))))
            continue
        predicted = stage.predicted(ctx, key)
        entry['pictures'][stage.name] = encode(painted(image, predicted, classes))
        if truth is not None:
            iou = class_iou(confusion_matrix(predicted, truth, classes))
            entry['IoU'][stage.name] = round(100 * float(np.nanmean(iou)), 2)
    return entry


def map_picture(image: np.ndarray, stored: ImageMaps) -> np.ndarray:
    """The highest of an image's class maps, each divided by its maximum, over the image."""
    maps = scale_to_peak(stored.maps[1:] if stored.background else stored.maps)
    return blend_map(image, resize_map(maps.max(axis=0), image.shape[:2], 'bilinear'))


def painted(image: np.ndarray, mask: np.ndarray, num_classes: int = 255) -> np.ndarray:
    """(H, W, 3) the image with its classes in VOC's colours; what is left out is white, the background darkened.

    >>> painted(np.full((1, 3, 3), 100, np.uint8), np.array([[0, 1, 255]])).tolist()
    [[[65, 65, 65], [117, 40, 40], [193, 193, 193]]]
    """
    left_out = mask == ignore_value(num_classes)
    colors = voc_palette(num_classes)[np.where(left_out, 0, mask)].astype(np.float32)
    colors[left_out] = 255
    share = np.where(mask == 0, DARK, ALPHA)[..., None]
    return np.round((1 - share) * image + share * colors).astype(np.uint8)


def encode(picture: np.ndarray) -> str:
    """A small JPEG as text."""
    factor = min(1.0, SIDE / max(picture.shape[:2]))
    size = max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    encoded, data = cv2.imencode('.jpg', small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not encoded:
        raise ValueError('OpenCV cannot write JPEG files')
    return base64.b64encode(data.tobytes()).decode()
