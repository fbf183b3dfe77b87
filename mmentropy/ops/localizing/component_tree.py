# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The boxes of all contours of an 8-bit map, at all its levels, in one pass.

At level L, ``cv2.findContours(img > L, RETR_TREE)`` traces the outer border of every 8-connected component of the
foreground and the border of every hole: a 4-connected component of the background that does not reach the zero-padded
frame, whose contour runs through the foreground pixels around it and is therefore one pixel larger on each side.

As L falls, pixels only ever join the foreground; as L rises, they only ever join the background. So a union-find over
the counting-sorted pixels, descending for the foreground and ascending for the background, meets every component of
every level. Each root carries its bounding box; a box is written down once, with the interval of levels over which it
stood, when it changes. O(N α(N)) for N pixels, whatever the number of levels.

The contours are those of the WSOL protocol (Choe et al., CVPR 2020).
"""

from __future__ import annotations

import numpy as np

from mmentropy.ops.jit import F64, I32, I64, U8, announce_compilation, jit

#: Columns of the array that :func:`level_boxes` returns; boxes are inclusive, levels too.
X0, Y0, X1, Y1, FIRST_LEVEL, LAST_LEVEL = range(6)

#: (dy, dx) of the eight pixels around one, in ring order: bit i of a pattern says that position i has joined.
_RING = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))


def _representatives(connectivity: int) -> U8:
    """For each of the 256 patterns around a pixel, the neighbours that need a ``find``.

    Neighbours that touch one another belong to one component already, so one of each group will do: on smooth maps
    that is one ``find`` a pixel instead of eight.

    Returns:
        (256,) uint8, a bit for each neighbour to look at.
    """
    reach = 2 if connectivity == 8 else 1  # city-block distance up to which two ring pixels touch, if chess says 1
    table = np.zeros(256, dtype=np.uint8)
    for pattern in range(256):
        group = {i: i for i in range(8) if pattern >> i & 1}
        for _ in range(8):
            for i in group:
                for j in group:
                    dy, dx = abs(_RING[i][0] - _RING[j][0]), abs(_RING[i][1] - _RING[j][1])
                    if max(dy, dx) <= 1 and dy + dx <= reach:
                        group[i] = group[j] = min(group[i], group[j])
        for root in set(group.values()):
            members = [i for i in group if group[i] == root and (connectivity == 8 or i % 2 == 0)]
            if members:  # with 4-connectivity a corner alone does not touch the pixel
                table[pattern] |= 1 << members[0]
    return table


_REPRESENTATIVES = {4: _representatives(4), 8: _representatives(8)}


@jit
def _find(parent: I32, p: int) -> int:
    """The root of pixel p's component; path halving, so that later walks are shorter.

    Args:
        parent: (P,) of the padded pixels; a root is its own parent.
        p: a pixel that has joined.
    """
    while parent[p] != p:
        parent[p] = parent[parent[p]]
        p = parent[p]
    return p


@jit
def _write(out: I32, n: int, box: I32, root: int, first: int, last: int) -> int:
    """Row n of ``out`` (R, 6) = the box of a root and the steps, both inclusive, over which it stood; returns n + 1."""
    for k in range(4):
        out[n, k] = box[root, k]
    out[n, 4] = first
    out[n, 5] = last
    return n + 1


@jit
def _grow(img: U8, top: int, descending: bool, frame: bool, representatives: U8, out: I32, n: int) -> int:
    """Let pixels join step by step; write (box, first step, last step) of every component into ``out`` from row n.

    Pixels are numbered in the padded image, (y + 1)·(W + 2) + x + 1, so that all eight neighbours always exist.

    Args:
        img: (H, W) grey values.
        top: the largest of them; the pixels of the last step, ``top``, never join: no level shows a change there.
        descending: turn the grey values over, step = top − value, so that step s is always the grey value that joins.
        frame: the padding has joined from the start, and its component, root 0, has no box.
        representatives: (256,) neighbours to look at, see :func:`_representatives`.
        out: (R, 6) that takes x0, y0, x1, y1, first step, last step; pixels of the unpadded image, all inclusive.
        n: the first free row.

    Returns:
        The first row that is free afterwards.
    """
    height, width = img.shape
    stride = width + 2
    # Counting sort: order[start[s]:start[s + 1]] are the pixels of step s.
    start = np.zeros(257, np.int64)
    for y in range(height):
        for x in range(width):
            step = top - img[y, x] if descending else img[y, x]
            start[step + 1] += 1
    for s in range(256):
        start[s + 1] += start[s]
    order = np.empty(height * width, np.int32)
    place = start.copy()
    for y in range(height):
        for x in range(width):
            step = top - img[y, x] if descending else img[y, x]
            order[place[step]] = (y + 1) * stride + x + 1
            place[step] += 1

    # Of each padded pixel: its parent (-1 until it joins); and, at roots, the box and the step since when it stands.
    parent = np.full((height + 2) * stride, -1, np.int32)
    since = np.zeros((height + 2) * stride, np.int32)
    box = np.empty(((height + 2) * stride, 4), np.int32)
    if frame:
        for x in range(stride):
            parent[x] = parent[(height + 1) * stride + x] = 0
        for y in range(height + 2):
            parent[y * stride] = parent[y * stride + stride - 1] = 0
    ring = np.array([-stride, 1 - stride, 1, stride + 1, stride, stride - 1, -1, -stride - 1])

    for step in range(top):
        for i in range(start[step], start[step + 1]):
            p = order[i]
            y = p // stride - 1
            x = p - (y + 1) * stride - 1
            pattern = 0
            for k in range(8):
                if parent[p + ring[k]] >= 0:
                    pattern |= 1 << k
            look = representatives[pattern]
            if look == 0:  # nothing around it has joined: a component of its own
                parent[p] = p
                since[p] = step
                box[p, 0] = x
                box[p, 1] = y
                box[p, 2] = x
                box[p, 3] = y
                continue
            root = -1
            for k in range(8):
                if not look >> k & 1:
                    continue
                other = _find(parent, p + ring[k])
                if root < 0:  # the pixel joins the first component
                    root = other
                    parent[p] = root
                    if frame and root == 0:
                        continue
                    if x < box[root, 0] or y < box[root, 1] or x > box[root, 2] or y > box[root, 3]:
                        if since[root] < step:
                            n = _write(out, n, box, root, since[root], step - 1)
                            since[root] = step
                        box[root, 0] = min(box[root, 0], x)
                        box[root, 1] = min(box[root, 1], y)
                        box[root, 2] = max(box[root, 2], x)
                        box[root, 3] = max(box[root, 3], y)
                elif other != root:  # two components become one
                    if frame and (other == 0 or root == 0):  # the background outside swallows what was a hole
                        gone = max(other, root)
                        if since[gone] < step:
                            n = _write(out, n, box, gone, since[gone], step - 1)
                        parent[gone] = 0
                        root = 0
                        continue
                    x0 = min(box[root, 0], box[other, 0])
                    y0 = min(box[root, 1], box[other, 1])
                    x1 = max(box[root, 2], box[other, 2])
                    y1 = max(box[root, 3], box[other, 3])
                    # the one whose box is the common box lives on, so that its box need not be written
                    if box[other, 0] == x0 and box[other, 1] == y0 and box[other, 2] == x1 and box[other, 3] == y1:
                        root, other = other, root
                    same = box[root, 0] == x0 and box[root, 1] == y0 and box[root, 2] == x1 and box[root, 3] == y1
                    if since[other] < step:
                        n = _write(out, n, box, other, since[other], step - 1)
                    if not same:
                        if since[root] < step:
                            n = _write(out, n, box, root, since[root], step - 1)
                        since[root] = step
                        box[root, 0] = x0
                        box[root, 1] = y0
                        box[root, 2] = x1
                        box[root, 3] = y1
                    parent[other] = root
    for i in range(start[top]):  # what still stands at the last step
        p = order[i]
        if parent[p] == p:
            n = _write(out, n, box, p, since[p], top - 1)
    return n


@jit
def _level_boxes(img: U8, joins8: U8, joins4: U8) -> tuple[I32, int, int]:
    """The rows of :func:`level_boxes`, how many of them are outer contours, and the map's maximum.

    Args:
        img: (H, W), not empty.
        joins8: (256,) neighbours to look at for the 8-connected foreground.
        joins4: (256,) those for the 4-connected background.
    """
    top = 0
    for y in range(img.shape[0]):
        for x in range(img.shape[1]):
            top = max(top, img[y, x])
    # a box is written for a change, and a change needs a pixel: N rows each suffice
    out = np.empty((2 * img.size, 6), np.int32)
    fore = _grow(img, top, True, False, joins8, out, 0)
    both = _grow(img, top, False, True, joins4, out, fore)
    for i in range(fore):  # step s of the foreground is level top - 1 - s
        first = top - 1 - out[i, 5]
        out[i, 5] = top - 1 - out[i, 4]
        out[i, 4] = first
    for i in range(fore, both):  # a hole's contour lies on the foreground around it
        out[i, 0] -= 1
        out[i, 1] -= 1
        out[i, 2] += 1
        out[i, 3] += 1
    return out[:both], fore, top


@jit
def _best_iou(img: U8, truths: I64, joins8: U8, joins4: U8) -> F64:
    """:func:`best_iou_by_level` on checked arguments: (img.max() + 1,), each box scored once for all its levels."""
    height, width = img.shape
    boxes, _, top = _level_boxes(img, joins8, joins4)
    # best[k, l] holds for the levels l … l + 2^k − 1: any interval is covered by two such entries
    best = np.full((9, top + 1), -1.0)
    for i in range(len(boxes)):
        x0, y0 = boxes[i, 0], boxes[i, 1]
        x1, y1 = min(boxes[i, 2] + 1, width - 1), min(boxes[i, 3] + 1, height - 1)
        iou = _iou(x0, y0, x1, y1, truths)
        first, last = boxes[i, 4], boxes[i, 5]
        k = 0
        while 2 << k <= last - first + 1:
            k += 1
        best[k, first] = max(best[k, first], iou)
        best[k, last + 1 - (1 << k)] = max(best[k, last + 1 - (1 << k)], iou)
    for k in range(8, 0, -1):  # hand each entry down to its two halves, until single levels are left
        half = 1 << (k - 1)
        for level in range(top + 1 - 2 * half + 1):
            best[k - 1, level] = max(best[k - 1, level], best[k, level])
            best[k - 1, level + half] = max(best[k - 1, level + half], best[k, level])
    nothing = _iou(0, 0, 0, 0, truths)  # the protocol's box of a level without a contour
    for level in range(top + 1):
        if best[0, level] < 0:
            best[0, level] = nothing
    return best[0]


@jit
def _iou(x0: int, y0: int, x1: int, y1: int, truths: I64) -> float:
    """The best IoU, in [0, 1], of one box with any of the (n, 4) ground truths; pixels, widths counted with + 1."""
    best = 0.0
    area = (x1 - x0 + 1) * (y1 - y0 + 1)
    for g in range(len(truths)):
        w = min(x1, truths[g, 2]) - max(x0, truths[g, 0]) + 1
        h = min(y1, truths[g, 3]) - max(y0, truths[g, 1]) + 1
        if w > 0 and h > 0:
            other = (truths[g, 2] - truths[g, 0] + 1) * (truths[g, 3] - truths[g, 1] + 1)
            best = max(best, w * h / (area + other - w * h))
    return best


def _checked(img: np.ndarray) -> U8:
    if img.dtype != np.uint8 or img.ndim != 2 or img.size == 0:
        raise ValueError(f'expected an (H, W) uint8 map, got {img.dtype} of shape {img.shape}')
    return np.ascontiguousarray(img)


def level_boxes(img: np.ndarray) -> tuple[I32, int]:
    """All boxes of ``cv2.findContours(img > L, RETR_TREE)``, for every level 0 ≤ L < ``img.max()``.

    Args:
        img: (H, W) uint8.

    Returns:
        (n, 6) int32 rows ``x0, y0, x1, y1, first level, last level``, all inclusive, in pixels: the box that
        ``cv2.boundingRect`` gives as (x0, y0, x1 − x0 + 1, y1 − y0 + 1) stands at each of the levels; and the number
        of rows, from the first, that are outer contours: the rest are holes.

    Raises:
        ValueError: if the map is not (H, W) uint8.
    """
    img = _checked(img)
    announce_compilation(_level_boxes)
    boxes, outer, _ = _level_boxes(img, _REPRESENTATIVES[8], _REPRESENTATIVES[4])
    return boxes, outer


def best_iou_by_level(img: np.ndarray, truths: np.ndarray) -> F64:
    r"""The best IoU of any contour's box with any ground truth, at every level of the map.

    .. math:: b_L = \max_{B \in \text{boxes}(img > L),\ G} \mathrm{IoU}(B, G)

    with the protocol's boxes ``(x, y, min(x + w, W − 1), min(y + h, H − 1))`` and widths counted with + 1; a level
    without a contour has the box (0, 0, 0, 0).

    Args:
        img: (H, W) uint8.
        truths: (n, 4) integers x0 y0 x1 y1, in pixels of the map.

    Returns:
        (img.max() + 1,) float64, the entry L for ``img > L``.

    Raises:
        ValueError: if the map is not (H, W) uint8 or the boxes are not (n, 4) integers.
    """
    img = _checked(img)
    truths = np.asarray(truths)
    if truths.ndim != 2 or truths.shape[1] != 4 or not np.issubdtype(truths.dtype, np.integer):
        raise ValueError(f'expected (n, 4) integer boxes, got {truths.dtype} of shape {truths.shape}')
    announce_compilation(_best_iou)
    truths = np.ascontiguousarray(truths, dtype=np.int64)
    return _best_iou(img, truths, _REPRESENTATIVES[8], _REPRESENTATIVES[4])
