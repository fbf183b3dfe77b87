# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Loading of one sample: image, masks, and the check that they fit each other."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile
from PIL import Image

from mmentropy.datasets.readers.parsing import check_box, read_bytes
from mmentropy.ops.masks import IGNORE_LABEL, decode_mask
from mmentropy.registry import TRANSFORMS

#: Boxes and masks are those of the stored pixels, whatever the camera's EXIF orientation says: the ``color_type`` of a
#: host's ``LoadImageFromFile`` that reads what ``mmentropy.image_files.read_image(..., exif=False)`` does.
AS_STORED = 'color_ignore_orientation'
#: Fields that mmcv's transforms move with the image (``Resize`` scales boxes, crops and flips shift them) …
MOVED_BY_HOSTS = ('gt_bboxes', 'gt_seg_map')
#: … and where a sample keeps them as the data set has them, for :class:`PackLocalizationInputs`.
GROUND_TRUTH = 'ground_truth'


class BadSampleError(Exception):
    """An image, box or mask that cannot be used; ``kind`` is the built-in error to raise in its place.

    >>> error = BadSampleError('a.jpg is missing', FileNotFoundError)
    >>> str(error), error.kind
    ('a.jpg is missing', <class 'FileNotFoundError'>)
    """

    def __init__(self, message: str, kind: type[Exception] = ValueError) -> None:
        super().__init__(message)
        self.kind = kind


def keep_ground_truth(results: dict) -> dict:
    """Keep boxes and segmentation map in the original image's pixels, out of reach of the transforms that follow.

    Metrics compare maps with the ground truth of the original image, whose size is ``ori_shape``.

    Args:
        results: a loaded sample; gains ``ground_truth``.

    Returns:
        The same dict.
    """
    kept = {key: np.array(results[key]) for key in MOVED_BY_HOSTS if results.get(key) is not None}
    if kept:
        results[GROUND_TRUTH] = kept
    return results


@TRANSFORMS.register_module()
class LoadLocalizationMasks(BaseTransform):
    """Read ``mask_paths`` and ``ignore_path`` of a sample into ``gt_mask`` and ``ignore_mask``, (H, W) uint8 0/1.

    The instances' masks are OR-ed; a pixel of the object is never ignored (ignore ∧ ¬foreground, the WSOL protocol).
    A sample without these keys passes unchanged; an empty list of masks means that the image holds no object. Palette
    masks of a multi-label set (VOC) also give ``gt_seg_map``: class + 1, 0 background, 255 left out.

    Args:
        size: (height, width) to which each file is resized, nearest neighbour, before they are joined. OpenImages'
            masks are of another size than their images: the protocol takes (224, 224). None wants the image's size.
        backend_args: of ``mmengine.fileio``.

    >>> import cv2
    >>> cv2.imwrite('a.png', np.array([[0, 9]], np.uint8)), cv2.imwrite('b.png', np.array([[0, 0]], np.uint8))
    (True, True)
    >>> LoadLocalizationMasks()({'mask_paths': ['a.png', 'b.png'], 'ori_shape': (1, 2)})['gt_mask'].tolist()
    [[0, 1]]
    """

    def __init__(self, size: tuple[int, int] | None = None, backend_args: dict | None = None) -> None:
        self.size = tuple(size) if size else None
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        """Add the masks; ValueError or FileNotFoundError in one sentence."""
        paths, ignore_path = results.get('mask_paths'), results.get('ignore_path')
        if paths is None and not ignore_path:
            return results
        size = self.size or results.get('ori_shape')
        mask = ignore = seg_map = None
        mask_format = results.get('mask_format', 'nonzero')
        for path in paths or ():
            values = self._read(path)
            if mask_format == 'palette' and 'palette_lookup' in results:
                values = self._relabel(values, results['palette_lookup'], path)
                seg_map = _joined(seg_map, self._fit(values, size, path))
            try:
                one, left_out = decode_mask(values, mask_format)
            except ValueError as error:
                raise ValueError(f'{path}: {error}') from None
            one = self._fit(one, size, path)
            mask = one if mask is None else mask | one
            if left_out is not None:
                left_out = self._fit(left_out, size, path)
                ignore = left_out if ignore is None else ignore | left_out
        if ignore_path:
            one = self._fit(decode_mask(self._read(ignore_path), 'nonzero')[0], size, ignore_path)
            ignore = one if ignore is None else ignore | one
        if mask is None:
            mask = np.zeros(size if ignore is None else ignore.shape, dtype=np.uint8)
        results['gt_mask'] = mask
        if seg_map is not None:
            results['gt_seg_map'] = seg_map
        results['ignore_mask'] = np.zeros_like(mask) if ignore is None else ignore & (1 - mask)
        return results

    def _read(self, path: str) -> np.ndarray:
        """The file's own values: palette indices of a palette image, not its colours."""
        data = read_bytes(path, backend_args=self.backend_args)
        try:
            return np.asarray(Image.open(io.BytesIO(data)))
        except Exception as error:  # Pillow's decoders raise many kinds: DecompressionBombError, struct.error …
            raise ValueError(f'{path} cannot be decoded as a mask ({error})') from None

    def _relabel(self, values: np.ndarray, lookup: np.ndarray, path: str) -> np.ndarray:
        """(H, W) uint8 ``gt_seg_map`` of one palette mask."""
        if values.ndim != 2:
            raise ValueError(f'{path}: a palette mask needs one channel, found an array of shape {values.shape}')
        if values.max(initial=0) >= len(lookup):
            raise ValueError(f'{path}: a palette mask has values up to {len(lookup) - 1}, found {values.max()}')
        return lookup[values]

    def _fit(self, mask: np.ndarray, size: Sequence[int] | None, path: str) -> np.ndarray:
        if size is None or mask.shape == tuple(size):
            return mask
        if self.size is None:
            raise ValueError(
                f'{path} is a mask of {mask.shape[1]}×{mask.shape[0]}, but its image is {size[1]}×{size[0]}; '
                'set size=(height, width) of LoadLocalizationMasks if the set is made like this'
            )
        return cv2.resize(mask, (size[1], size[0]), interpolation=cv2.INTER_NEAREST)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(size={self.size})'


def _joined(first: np.ndarray | None, second: np.ndarray) -> np.ndarray:
    """One segmentation map of two: an object's index goes before 255, and 255 before background."""
    if first is None:
        return second
    free = (first == 0) | ((first == IGNORE_LABEL) & (second > 0))
    return np.where(free, second, first)


def is_loader(transform: Callable) -> bool:
    """Whether a transform reads files, so that its failure means a bad sample and not a bug."""
    return isinstance(transform, (LoadImageFromFile, LoadLocalizationMasks))


def _load_image(info: dict, loader: LoadImageFromFile) -> dict | None:
    """What mmcv's ``LoadImageFromFile`` does, with errors in one sentence; it also tells an image that was cut off,
    whose lost part OpenCV would fill with grey without a word."""
    path = info['img_path']
    if type(loader) is not LoadImageFromFile or loader.ignore_empty or loader.file_client_args:
        return loader(info)
    data = read_bytes(path, backend_args=loader.backend_args)
    if is_cut_off(data):
        raise ValueError(f'the image {path} is cut off; fetch it again')
    try:
        img = mmcv.imfrombytes(data, flag=loader.color_type, backend=loader.imdecode_backend)
    except (OSError, cv2.error, SyntaxError, ValueError):
        img = None
    if img is None:
        raise ValueError(f'the image {path} cannot be decoded; it is empty, damaged or no image')
    info['img'] = img.astype(np.float32) if loader.to_float32 else img
    info['img_shape'] = info['ori_shape'] = img.shape[:2]
    return info


def is_cut_off(data: bytes) -> bool:
    """Whether a JPEG or PNG lacks its end.

    Neither marker can occur inside a JPEG's compressed data (0xFF is stuffed there), so a last start of scan without an
    end of image behind it was cut. Bytes after the end do no harm.
    """
    if data.startswith(b'\xff\xd8'):
        return data.rfind(b'\xff\xd9') < data.rfind(b'\xff\xda')
    return data.startswith(b'\x89PNG') and b'IEND' not in data


def load_sample(info: dict, loaders: Sequence[Callable], where: str, slack: float = 1.0) -> Any:
    """Run the loading transforms of a pipeline and check boxes against the image.

    Args:
        info: the entry.
        loaders: leading transforms for which :func:`is_loader` holds.
        where: file and line of the entry, the start of each message.
        slack: see :func:`mmentropy.datasets.readers.parsing.check_box`.

    Raises:
        BadSampleError: one sentence with file and line.
    """
    path = info.get('img_path', '')
    try:
        for loader in loaders:
            info = _load_image(info, loader) if isinstance(loader, LoadImageFromFile) else loader(info)
            if info is None:
                raise BadSampleError(f'{where}: the image {path} gave nothing (ignore_empty of its loading transform)')
    except FileNotFoundError as error:
        raise BadSampleError(f'{where}: {error}', FileNotFoundError) from error
    except ValueError as error:
        raise BadSampleError(f'{where}: {error}') from error
    if 'ori_shape' in info and 'gt_bboxes' in info:
        height, width = info['ori_shape']
        for box in info['gt_bboxes']:
            try:
                check_box([float(v) for v in box], where, (width, height), slack)
            except ValueError as error:
                raise BadSampleError(str(error)) from None
    return info
