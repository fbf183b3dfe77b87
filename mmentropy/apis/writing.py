# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What was localised, as files: overlays, COCO boxes, mask PNGs, raw maps."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmentropy.engine.startup import load_config
from mmentropy.image_files import read_image
from mmentropy.ops.mapping.geometry import HALF_PIXEL, MapGrid
from mmentropy.ops.mapping.overlay import blend_map
from mmentropy.safe_files import DiskFullError, file_digest, load_npz, parse_arrays, remove_partial, write_whole
from mmentropy.shard_files import ShardWriter

from .localizer import Localization

KINDS = ('overlays', 'boxes', 'masks', 'maps')
#: Overlays are for looking at: their longer side has so many pixels, at least (a caption needs room) and at most.
OVERLAY_SIDES = (448, 1024)


def encode(image: np.ndarray, suffix: str) -> bytes:
    """An image, (H, W) or (H, W, 3) RGB, uint8, as the bytes of a file."""
    image = image if image.ndim == 2 else image[..., ::-1]
    return cv2.imencode(suffix, np.ascontiguousarray(image))[1].tobytes()


class ResultWriter:
    """Writes one image's results after the other.

    ``maps/NAME.npz`` holds labels, scores, raw maps, their grid in pixels of the image (start, step and size, y and x;
    none where maps are drawn half-pixel), boxes and the image's size. It is what a later run resumes from
    and what ``tools/eval_maps.py`` evaluates.
    ``boxes.json`` is COCO's format: boxes x y w h in pixels, with their class's score.

    Args:
        out_dir: folder; made when needed.
        kinds: which of :data:`KINDS` to write.
        class_names: of all classes, for the categories of ``boxes.json``.
        settings: model, method and options as text: a result that was written with others is not taken up again.
        exif: whether overlays are drawn on upright images; as the :class:`~mmentropy.apis.Localizer` read them.
        shards: maps go into tar archives in ``maps``, for very many images; see :mod:`mmentropy.shard_files`.

    Raises:
        ValueError: where shards hold an image's result of other settings, when it is looked for.

    >>> writer = ResultWriter('out', kinds=('maps',))
    >>> writer.path('maps', 'cats/a.jpg', '.npz').as_posix()
    'out/maps/cats/a.jpg.npz'
    """

    def __init__(
        self,
        out_dir: str | Path,
        kinds: tuple[str, ...] = KINDS,
        class_names: tuple[str, ...] | None = None,
        settings: str = '',
        exif: bool = True,
        shards: bool = False,
    ) -> None:
        unknown = set(kinds) - set(KINDS)
        if unknown:
            raise ValueError(f'unknown kind of output {sorted(unknown)[0]!r}; known are {", ".join(KINDS)}')
        self.out_dir, self.kinds, self.class_names = Path(out_dir), tuple(kinds), class_names
        self.settings, self.exif = settings, exif
        remove_partial(self.out_dir, below=True)
        self.shards = ShardWriter(self.out_dir / 'maps').__enter__() if shards else None
        self.images: list[dict] = []
        self.annotations: list[dict] = []
        self.categories: dict[int, str] = {}

    def path(self, kind: str, name: str, suffix: str) -> Path:
        """Where one image's file goes: sub-folders of the input are kept, ``a.jpg`` becomes ``a.jpg.png``."""
        parts = [part for part in Path(name).parts if part not in ('..', '/', os.sep)]
        return self.out_dir / kind / Path(*parts[:-1]) / (parts[-1] + suffix)

    def _in_shard(self, name: str) -> str:
        return self.path('maps', name, '.npz').relative_to(self.out_dir / 'maps').as_posix()

    def done(self, name: str, source: str | Path | None = None) -> Localization | None:
        """The result that an earlier run wrote whole, with the same settings and of the same image, or None.

        Args:
            name: of the image.
            source: its file, whose content is compared with that which was localised.
        """
        path = self.path('maps', name, '.npz')
        member = None if self.shards is None else self.shards.members.get(self._in_shard(name))
        if member is None and not path.is_file():
            return None
        try:
            stored = load_npz(path) if member is None else parse_arrays(member.read(), member)
            if not isinstance(stored, dict):
                return None
            same = str(stored['settings']) == self.settings
            same = same and (source is None or str(stored['source']) == file_digest(source))
            whole = self._has_pictures(name, stored['labels'].tolist())
        except (KeyError, ValueError, TypeError, OSError):  # damaged: written again
            return None
        if not same and member is not None:
            raise ValueError(
                f'{member} was made with other settings or of another image, and shards only grow; take another folder'
            )
        return _result_of(name, stored) if same and whole else None

    def _has_pictures(self, name: str, labels: list[int]) -> bool:
        """Whether what is asked for beside the maps is there as well; an earlier run may not have been asked for it."""
        suffixes = {'overlays': '.jpg', 'masks': '.png'}
        wanted = [(kind, suffix) for kind, suffix in suffixes.items() if kind in self.kinds]
        return all(self.path(kind, name, f'.{label}{suffix}').is_file() for kind, suffix in wanted for label in labels)

    def write(self, result: Localization, source: object) -> None:
        """Write what was asked for of one image; ``source`` is what :func:`read_image` reads it from."""
        if 'overlays' in self.kinds:
            self._write_overlays(result, read_image(source, self.exif))
        if 'masks' in self.kinds:
            for label, mask in zip(result.labels.tolist(), result.masks):
                data = encode(mask.astype(np.uint8) * 255, '.png')
                write_whole(self.path('masks', result.name, f'.{label}.png'), data)
        if 'maps' in self.kinds:
            grid: dict[str, Any] = {} if result.grid is None else {'grid': result.grid.to_array()}
            buffer = io.BytesIO()
            np.savez_compressed(
                buffer,
                labels=result.labels,
                class_names=np.array(result.class_names),
                scores=result.scores,
                maps=result.maps,
                boxes=np.concatenate(result.boxes),
                box_counts=np.array([len(b) for b in result.boxes]),
                size=np.array(result.size),
                threshold=result.threshold,
                normalize=result.normalize,
                ranking=result.ranking,
                settings=self.settings,
                source=file_digest(source) if isinstance(source, str | Path) else '',
                **grid,
            )
            self._write_maps(result.name, buffer.getvalue())

    def _write_maps(self, name: str, data: bytes) -> None:
        if self.shards is None:
            write_whole(self.path('maps', name, '.npz'), data)
            return
        there = self.shards.members.get(self._in_shard(name))
        if there is None or there.read() != data:  # the same again where only a picture was missing
            self.shards.write(self._in_shard(name), data)

    def write_or_tell(self, result: Localization, source: object) -> str | None:
        """:meth:`write`; the sentence of what only this image has wrong, a name too long for the disk, say."""
        try:
            self.write(result, source)
        except DiskFullError:
            raise
        except OSError as error:
            return f'{result.name}: its results cannot be written ({error.strerror})'
        return None

    def _write_overlays(self, result: Localization, image: np.ndarray) -> None:
        # Imported here: the panels bring Pillow's fonts and matplotlib's data path with them.
        from mmentropy.visualization.panels import add_caption, draw_boxes, fit_image, scale_boxes

        longer = max(image.shape[:2])
        side = min(max(longer, OVERLAY_SIDES[0]), OVERLAY_SIDES[1])
        picture = image if side == longer else fit_image(image, side)
        size = picture.shape[:2]
        rows = zip(result.labels.tolist(), result.class_names, result.scores, result.upsampled(size), result.boxes)
        for label, name, score, cam, boxes in rows:
            drawn = draw_boxes(blend_map(picture, cam), scale_boxes(boxes, result.size, size))
            write_whole(
                self.path('overlays', result.name, f'.{label}.jpg'),
                encode(add_caption(drawn, f'{name} {score:.2f}'), '.jpg'),
            )

    def add(self, result: Localization) -> None:
        """Take a result, new or resumed, into ``boxes.json``."""
        height, width = result.size
        image_id = len(self.images) + 1
        self.images.append({'id': image_id, 'file_name': result.name, 'width': width, 'height': height})
        for label, name, score, boxes in zip(result.labels.tolist(), result.class_names, result.scores, result.boxes):
            self.categories[label] = name
            for x0, y0, x1, y1 in boxes.tolist():
                self.annotations.append(
                    {
                        'id': len(self.annotations) + 1,
                        'image_id': image_id,
                        'category_id': label,
                        'bbox': [round(v, 2) for v in (x0, y0, x1 - x0, y1 - y0)],
                        'area': round((x1 - x0) * (y1 - y0), 2),
                        'score': round(float(score), 6),
                        'iscrowd': 0,
                    }
                )

    def close(self) -> None:
        """Write ``boxes.json``, and close the shards."""
        if self.shards is not None:
            self.shards.__exit__()
        if 'boxes' not in self.kinds:
            return
        names = dict(enumerate(self.class_names)) if self.class_names else dict(sorted(self.categories.items()))
        content = {
            'images': self.images,
            'annotations': self.annotations,
            'categories': [{'id': label, 'name': name} for label, name in names.items()],
        }
        # A name that is no UTF-8 has lone surrogates, which become JSON's own escapes.
        text = json.dumps(content, ensure_ascii=False).encode(errors='backslashreplace')
        write_whole(self.out_dir / 'boxes.json', text)


def _result_of(name: str, stored: dict[str, np.ndarray]) -> Localization | None:
    """A result from its file; None where something in it is missing or damaged."""
    try:
        boxes, counts = stored['boxes'], stored['box_counts']
        return Localization(
            name,
            tuple(stored['size'].tolist()),
            stored['labels'],
            tuple(stored['class_names'].tolist()),
            stored['scores'],
            stored['maps'],
            np.split(boxes, np.cumsum(counts)[:-1]) if len(counts) else [],
            _threshold(stored['threshold']),
            str(stored['normalize']),
            ranking=stored['ranking'],
            grid=MapGrid.from_array(stored['grid']) if 'grid' in stored else HALF_PIXEL,
        )
    except (KeyError, ValueError, TypeError):  # damaged: written again
        return None


def _threshold(stored: np.ndarray) -> float | str:
    """A share, or a rule's name, from a file."""
    return str(stored) if stored.dtype.kind == 'U' else float(stored)


def content_of(part: str | None) -> str | None:
    """What stands for a model or its weights among the settings: a file's content, or the name of what is no file.

    A config counts with all that it inherits.
    """
    if part is None or not Path(part).is_file():
        return part
    if part.endswith('.py'):
        return str(load_config(part)._cfg_dict.to_dict())
    return file_digest(part)
