# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The boxes of all contours of an 8-bit map, at all its levels, in one pass.

At level L, ``cv2.findContours(img > L, RETR_TREE)`` traces the outer border of every 8-connected component of the
foreground and the border of every hole: a 4-connected component of the background that does not reach the zero-padded
frame, whose contour runs through the foreground pixels around it and is therefore one pixel larger on each side.

As L falls, pixels only ever join the foreground; as L rises, they only ever join the background. So a union-find over
the counting-sorted pixels, descending for the foreground and ascending for the background, meets every component of
every level. Each root carries its bounding box; a box is written down once, with the interval of levels over which it
stood, when it changes. O(N α(N)) for N pixels, whatever the number of levels. Which neighbours a pixel meets follows
from the grey values alone, so it is known before any pixel joins; on smooth maps one of them is enough, and each pixel
costs one ``find``. The kernels release the interpreter lock.

The contours are those of the WSOL protocol (Choe et al., CVPR 2020).
"""

from __future__ import annotations

import functools

import numpy as np

from mmentropy.ops.jit import F64, I16, I32, I64, U8, announce_compilation, jit

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


#: Columns of a root's row while pixels join: its box, and the step since when that stands.
_X0, _Y0, _X1, _Y1, _SINCE = range(5)

#: Without numba's reference counting of arrays, which would cost more than what these do; they allocate nothing.
_leaf = functools.partial(jit, _nrt=False)


@_leaf
def _find(parent: I32, p: int) -> int:
    """The root of pixel p's component, which has joined; path halving, so that later walks are shorter."""
    while parent[p] != p:
        parent[p] = parent[parent[p]]
        p = parent[p]
    return p


@_leaf
def _write(boxes: I32, root: int, last: int, out: I32, n: int) -> int:
    """Row n of ``out`` (R, 6) = a root's box and the steps, both inclusive, over which it stood; the next free row.

    Nothing is written where the box stands since a later step than ``last``.
    """
    if boxes[root, _SINCE] > last:
        return n
    for k in range(4):
        out[n, k] = boxes[root, _X0 + k]
    out[n, 4] = boxes[root, _SINCE]
    out[n, 5] = last
    return n + 1


@_leaf
def _enlarge(boxes: I32, root: int, x0: int, y0: int, x1: int, y1: int, step: int, out: I32, n: int) -> int:
    """Let a root's box take in another; the box that stood until now is written down."""
    if x0 < boxes[root, _X0] or y0 < boxes[root, _Y0] or x1 > boxes[root, _X1] or y1 > boxes[root, _Y1]:
        n = _write(boxes, root, step - 1, out, n)
        boxes[root, _SINCE] = step
        boxes[root, _X0] = min(boxes[root, _X0], x0)
        boxes[root, _Y0] = min(boxes[root, _Y0], y0)
        boxes[root, _X1] = max(boxes[root, _X1], x1)
        boxes[root, _Y1] = max(boxes[root, _Y1], y1)
    return n


@_leaf
def _lives_on(boxes: I32, a: int, b: int) -> int:
    """Which of two roots that meet lives on: the larger box, which goes on standing and need not be written."""
    larger = (
        boxes[b, _X0] <= boxes[a, _X0]
        and boxes[b, _Y0] <= boxes[a, _Y0]
        and boxes[b, _X1] >= boxes[a, _X1]
        and boxes[b, _Y1] >= boxes[a, _Y1]
    )
    return b if larger else a


@_leaf
def _merge(parent: I32, boxes: I32, root: int, gone: int, step: int, out: I32, n: int) -> int:
    """One root becomes part of another: its box is written down, and the other's takes it in."""
    n = _write(boxes, gone, step - 1, out, n)
    parent[gone] = root
    return _enlarge(boxes, root, boxes[gone, _X0], boxes[gone, _Y0], boxes[gone, _X1], boxes[gone, _Y1], step, out, n)


@_leaf
def _set_steps(img: U8, top: int, descending: bool, steps: I16) -> None:
    """Write when each pixel joins, at its value or top − value, into ``steps`` (H + 2, W + 2), inside its padding."""
    for y in range(img.shape[0]):
        for x in range(img.shape[1]):
            steps[y + 1, x + 1] = top - img[y, x] if descending else img[y, x]


@_leaf
def _set_looks(steps: I16, representatives: U8, looks: U8) -> None:
    """Write the neighbours that a pixel looks at when it joins into ``looks`` (H + 2, W + 2): bit i for ``_RING[i]``.

    Those have joined that have an earlier step, or its own and come before it row by row: known before any joins, and
    the comparisons take many pixels an instruction.
    """
    height, width = steps.shape
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            s, pattern = steps[y, x], 0
            if steps[y - 1, x] <= s:
                pattern |= 1
            if steps[y - 1, x + 1] <= s:
                pattern |= 2
            if steps[y, x + 1] < s:
                pattern |= 4
            if steps[y + 1, x + 1] < s:
                pattern |= 8
            if steps[y + 1, x] < s:
                pattern |= 16
            if steps[y + 1, x - 1] < s:
                pattern |= 32
            if steps[y, x - 1] <= s:
                pattern |= 64
            if steps[y - 1, x - 1] <= s:
                pattern |= 128
            looks[y, x] = pattern
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            looks[y, x] = representatives[looks[y, x]]


@_leaf
def _sort(steps: I16, order: I32, start: I64, place: I64) -> None:
    """Counting sort of the pixels by the step at which they join, row by row within a step.

    Args:
        steps: (H + 2, W + 2) padded steps.
        order: (H·W,) takes the numbers of the pixels in the padded image.
        start: (257,) zeros; takes that ``order[start[s]:start[s + 1]]`` join at step s.
        place: (256,) room.
    """
    height, width = steps.shape
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            start[steps[y, x] + 1] += 1
    for s in range(256):
        start[s + 1] += start[s]
        place[s] = start[s]
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            step = steps[y, x]
            order[place[step]] = y * width + x
            place[step] += 1


@_leaf
def _join(
    order: I32, start: I64, top: int, stride: int, looks: U8, offsets: I32, parent: I32, boxes: I32, out: I32, n: int
) -> int:
    """Let pixels join step by step; write (box, first step, last step) of every component into ``out`` from row n.

    Args:
        order: (N,), start: (257,) see :func:`_sort`; looks: (P,) see :func:`_set_looks`.
        top: the last step, whose pixels never join: no level shows a change there.
        stride: width of the padded image, in whose pixels all boxes are until they are written.
        offsets: (256,) from a pixel to the neighbour of the lowest bit of such a set of bits.
        parent: (P,) room; where the frame has joined, ``parent[0]`` is 0 and so are all in the padding.
        boxes: (P, 5) room; with a frame, row 0 is a box that holds all others and is never written.
        out: (R, 6) that takes x0, y0, x1, y1, first step, last step; all inclusive.
        n: the first free row.

    Returns:
        The first row that is free afterwards.
    """
    rows = 1.0 / stride  # p // stride, without a division; half a pixel away from where rounding could matter
    for step in range(top):
        for i in range(start[step], start[step + 1]):
            p = order[i]
            y = int((p + 0.5) * rows)
            x = p - y * stride
            look = looks[p]
            if look == 0:  # nothing around it has joined: a component of its own
                parent[p] = p
                boxes[p, _X0], boxes[p, _Y0], boxes[p, _X1], boxes[p, _Y1], boxes[p, _SINCE] = x, y, x, y, step
                continue
            root = _find(parent, p + offsets[look])  # it joins the first component around it …
            parent[p] = root
            n = _enlarge(boxes, root, x, y, x, y, step, out, n)
            look &= look - 1
            while look:  # … and brings it together with the next
                other = _find(parent, p + offsets[look])
                if other != root:
                    lives = _lives_on(boxes, root, other)
                    n = _merge(parent, boxes, lives, root + other - lives, step, out, n)
                    root = lives
                look &= look - 1
    for i in range(start[top]):  # what still stands at the last step
        if parent[order[i]] == order[i]:
            n = _write(boxes, order[i], top - 1, out, n)
    return n


@jit
def _grow(img: U8, top: int, descending: bool, frame: bool, representatives: U8, out: I32, n: int) -> int:
    """Write every component's boxes into ``out``, in pixels of the padded image.

    Pixels are numbered in it, (y + 1)·(W + 2) + x + 1, so that all eight neighbours always exist.

    Args:
        img: (H, W) grey values.
        top: the largest of them.
        descending: the brightest pixels join first.
        frame: the padding has joined from the start, and its component, root 0, has no box.
        representatives: (256,) neighbours to look at, see :func:`_representatives`.
        out, n: see :func:`_join`, as the result.
    """
    height, width = img.shape[0] + 2, img.shape[1] + 2
    steps = np.full((height, width), -1 if frame else 256, np.int16)
    _set_steps(img, top, descending, steps)
    looks = np.empty((height, width), np.uint8)
    _set_looks(steps, representatives, looks)
    order, start, place = np.empty(img.size, np.int32), np.zeros(257, np.int64), np.empty(256, np.int64)
    _sort(steps, order, start, place)
    ring = (-width, 1 - width, 1, width + 1, width, width - 1, -1, -width - 1)
    offsets = np.zeros(256, np.int32)
    for look in range(1, 256):
        bit = 0
        while not look >> bit & 1:
            bit += 1
        offsets[look] = ring[bit]
    parent, boxes = np.empty(height * width, np.int32), np.empty((height * width, 5), np.int32)
    if frame:
        parent[:width] = parent[-width:] = 0
        parent[::width] = parent[width - 1 :: width] = 0
        boxes[0, _X0], boxes[0, _Y0], boxes[0, _X1], boxes[0, _Y1], boxes[0, _SINCE] = 0, 0, width, height, top
    return _join(order, start, top, width, looks.ravel(), offsets, parent, boxes, out, n)


@jit(nogil=True)
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
        for k in range(4):
            out[i, k] -= 1  # without the padding
    for i in range(fore, both):  # a hole's contour lies on the foreground around it: one more on each side
        out[i, 0] -= 2
        out[i, 1] -= 2
    return out[:both], fore, top


@jit(nogil=True)
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

    >>> boxes, outer = level_boxes(np.array([[0, 2, 2, 1]], np.uint8))
    >>> boxes.tolist(), outer  # three columns at level 0, two at level 1
    ([[1, 0, 2, 0, 1, 1], [1, 0, 3, 0, 0, 0]], 2)
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

    >>> img = np.zeros((6, 6), np.uint8)
    >>> img[1:3, 1:5], img[1:3, 1:3] = 1, 2  # a wide box, and a narrow one within
    >>> best_iou_by_level(img, np.array([[1, 1, 3, 3]])).tolist()
    [0.6, 1.0, 0.0]
    """
    img = _checked(img)
    truths = np.asarray(truths)
    if truths.ndim != 2 or truths.shape[1] != 4 or not np.issubdtype(truths.dtype, np.integer):
        raise ValueError(f'expected (n, 4) integer boxes, got {truths.dtype} of shape {truths.shape}')
    announce_compilation(_best_iou)
    truths = np.ascontiguousarray(truths, dtype=np.int64)
    return _best_iou(img, truths, _REPRESENTATIVES[8], _REPRESENTATIVES[4])
