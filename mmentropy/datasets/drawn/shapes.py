# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Drawing of the PartShapes images: integers and fixed-point coordinates only, so every platform draws the same pixels.

One object is a *body* (a shape, size, place and colour whose distribution all classes share, with a weak texture of its
class) and a *part* of its class (a vivid glyph at one end of the body, 10 to 25 % of the object's area). It stands on a
background whose pattern belongs to the class with a set probability. No floating-point number decides about a pixel, no
anti-aliasing is used, and random numbers are the raw words of a Philox counter keyed by (seed, stream, index).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np

#: Angles are counted in 1/256 of a turn, lengths in 1/16 pixel (a shift by 4 bits), ratios in 1/16384.
ANGLES, SHIFT, ONE = 256, 4, 1 << 14
_TURN = np.arange(ANGLES) * (2 * np.pi / ANGLES)
#: round(sin · 2^14): far from a tie at every entry, so the last bit of a platform's sine does not matter.
SIN = np.rint(np.sin(_TURN) * ONE).astype(np.int64)
COS = np.rint(np.cos(_TURN) * ONE).astype(np.int64)

#: Allowed share of the part in its object's pixels, in per cent.
PART_SHARE = (10, 25)
#: Least difference of brightness (0..255) between a body and its background.
CONTRAST = 40
#: Names of the background patterns; the body textures are drawn by the same function.
NUM_PATTERNS = 8


class Draws:
    """A stream of random integers that is the same everywhere: raw 64-bit words of Philox-4x64 with a given key.

    ``numpy.random.Generator``'s methods may change between versions of numpy; the raw words may not.

    >>> draws = Draws(seed=0, stream=0, index=0)
    >>> [draws.integer(0, 10) for _ in range(6)]
    [9, 8, 9, 6, 3, 5]
    """

    def __init__(self, seed: int, stream: int, index: int, words: int = 512) -> None:
        if not (0 <= seed < 1 << 63 and 0 <= stream < 1 << 15 and 0 <= index < 1 << 47):
            raise ValueError(
                'seed, stream and index must be non-negative and below 2^63, 2^15 and 2^47; '
                f'got {seed}, {stream}, {index}'
            )
        key = np.array([seed, (stream << 47) | index], dtype=np.uint64)
        self._bits = np.random.Philox(key=key)
        self._words: list[int] = self._bits.random_raw(words).tolist()
        self._at = 0

    def integer(self, low: int, high: int) -> int:
        """An integer in [low, high); the bias of the modulo is below 2^-40 for every range used here."""
        if self._at == len(self._words):
            self._words = self._bits.random_raw(len(self._words)).tolist()
            self._at = 0
        self._at += 1
        return low + self._words[self._at - 1] % (high - low)

    def noise(self, height: int, width: int) -> np.ndarray:
        """(height, width) uint8, uniform over 0..255."""
        count = height * width
        # Little-endian bytes of the words, also on a big-endian machine.
        words = self._bits.random_raw((count + 7) // 8).astype('<u8')
        return words.view(np.uint8)[:count].reshape(height, width)


def hue_color(hue: int, saturation: int, value: int) -> tuple[int, int, int]:
    """BGR of a hue (1/1536 of the circle), saturation and value (0..255), in integers."""
    hue %= 1536
    low = value * (255 - saturation) // 255
    up = low + (value - low) * (hue % 256) // 255
    down = value - (value - low) * (hue % 256) // 255
    red, green, blue = (
        (value, up, low),
        (down, value, low),
        (low, value, up),
        (low, down, value),
        (up, low, value),
        (value, low, down),
    )[hue // 256]
    return blue, green, red


def pattern(kind: int, height: int, width: int, phase_x: int, phase_y: int) -> np.ndarray:
    """One of the eight periodic patterns (stripes, checks, dots, rings …), moved by a phase in pixels.

    Args:
        kind: 0..7 chooses the pattern; each further 8 makes its period one pixel longer, up to three times.
        height: rows of the result.
        width: columns of the result.
        phase_x: shift to the left, pixels.
        phase_y: shift upwards, pixels.

    Returns:
        (height, width) int16, -1 or 1.
    """
    y = np.arange(phase_y, phase_y + height)[:, None]
    x = np.arange(phase_x, phase_x + width)[None, :]
    half = 3 + (kind // NUM_PATTERNS) % 3
    kind %= NUM_PATTERNS
    on: np.ndarray
    if kind == 0:
        on = np.broadcast_to(y // half % 2, (height, width))
    elif kind == 1:
        on = np.broadcast_to(x // half % 2, (height, width))
    elif kind == 2:
        on = (x + y) // (half + 1) % 2
    elif kind == 3:
        on = (x - y) // (half + 1) % 2
    elif kind == 4:
        on = (x // (half + 1) + y // (half + 1)) % 2
    elif kind == 5:
        on = (x % (2 * half) - half) ** 2 + (y % (2 * half) - half) ** 2 <= half * half // 2
    elif kind == 6:
        on = (x % (2 * half) < half // 2 + 1) | (y % (2 * half) < half // 2 + 1)
    else:
        on = (np.abs(x % (4 * half) - 2 * half) + y) // half % 2
    return np.where(on, 1, -1).astype(np.int16)


def _regular(count: int, first: int = 0, radii: tuple[int, ...] = (ONE,)) -> np.ndarray:
    """Vertices at equal angles with the radii taken in turn; (count, 2) in units of 1/ONE."""
    turn = (first + np.arange(count) * ANGLES // count) % ANGLES
    radius = np.resize(np.array(radii), count)
    return np.stack([COS[turn] * radius // ONE, SIN[turn] * radius // ONE], axis=1)


def _points(*pairs: tuple[int, int]) -> np.ndarray:
    return np.array(pairs, dtype=np.int64) * (ONE // 8)


def _unit_area(polygon: np.ndarray) -> np.ndarray:
    """Scale a polygon to the area of a square of side ONE (integer square root, no float decides)."""
    x, y = polygon[:, 0].astype(object), polygon[:, 1].astype(object)
    area = abs(int((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())) // 2
    root = math.isqrt(area)
    return polygon * ONE // root


#: The glyphs that tell classes apart, all of one area, centred on their middle.
GLYPHS: tuple[np.ndarray, ...] = tuple(
    _unit_area(p)
    for p in (
        _regular(32),  # disc
        _points((-8, -8), (8, -8), (8, 8), (-8, 8)),  # square
        _regular(3, first=192),  # triangle
        _points(
            (-3, -9), (3, -9), (3, -3), (9, -3), (9, 3), (3, 3), (3, 9), (-3, 9), (-3, 3), (-9, 3), (-9, -3), (-3, -3)
        ),
        _regular(4),  # diamond
        _points((-8, -8), (8, -8), (2, 0), (8, 8), (-8, 8), (-2, 0)),  # hourglass
        _regular(10, first=192, radii=(ONE, ONE // 2)),  # star
        _points((-8, -9), (-3, -9), (-3, 4), (8, 4), (8, 9), (-8, 9)),  # L
        _points((-12, -4), (12, -4), (12, 4), (-12, 4)),  # bar
        _points((-9, -8), (9, -8), (9, -2), (3, -2), (3, 9), (-3, 9), (-3, -2), (-9, -2)),  # T
    )
)

_BODY_TURN = np.arange(0, ANGLES, 8)


def _rotate(points: np.ndarray, angle: int) -> np.ndarray:
    """Turn (n, 2) integer points by angle / 256 of a turn."""
    c, s = COS[angle % ANGLES], SIN[angle % ANGLES]
    return np.stack(
        [(points[:, 0] * c - points[:, 1] * s) // ONE, (points[:, 0] * s + points[:, 1] * c) // ONE], axis=1
    )


def _body_outline(draws: Draws, long_axis: int) -> tuple[np.ndarray, int]:
    """A body around the origin: (32, 2) vertices in 1/16 px and the angle of its long axis.

    Families: ellipse, rounded box, and blob (an ellipse with two harmonics); the classes share them all.
    """
    short = long_axis * draws.integer(55, 91) // 100
    angle = draws.integer(0, ANGLES)
    family = draws.integer(0, 3)
    cos, sin = COS[_BODY_TURN], SIN[_BODY_TURN]
    if family == 1:
        cos, sin = np.clip(cos * 5 // 4, -ONE, ONE), np.clip(sin * 5 // 4, -ONE, ONE)
    radius = np.full(len(cos), ONE, dtype=np.int64)
    if family == 2:
        second, third = draws.integer(0, ANGLES), draws.integer(0, ANGLES)
        wave = SIN[(2 * _BODY_TURN + second) % ANGLES] * 2 + SIN[(3 * _BODY_TURN + third) % ANGLES] * 3
        radius = ONE + wave // 24
    points = np.stack([cos * radius // ONE * long_axis // ONE, sin * radius // ONE * short // ONE], axis=1)
    return _rotate(points, angle), angle


@dataclass
class ShapeObject:
    """One drawn object: masks of the whole image's size and its class."""

    label: int
    mask: np.ndarray
    part: np.ndarray


@dataclass
class ShapeScene:
    """One drawn image with its exact ground truth.

    Attributes:
        image: (S, S, 3) uint8, BGR.
        labels: class of each object, in drawing order.
        boxes: (n, 4) int64, x0 y0 x1 y1 of the *visible* pixels, x1 and y1 exclusive (edges).
        instances: (S, S) uint8, 0 background, i + 1 the i-th object.
        parts: (S, S) uint8, 1 on the visible pixels of the parts.
        background: the background's pattern (its class).
    """

    image: np.ndarray
    labels: list[int] = field(default_factory=list)
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), dtype=np.int64))
    instances: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.uint8))
    parts: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.uint8))
    background: int = 0


def fill_polygon(size: int, polygon: np.ndarray) -> np.ndarray:
    """The pixels whose centre lies inside a polygon (even-odd rule), in integers.

    OpenCV's ``fillPoly`` with fractional coordinates draws other borders in other versions.

    Args:
        size: side of the square image, pixels.
        polygon: (n, 2) integer x y in 1/16 pixel; pixel (column, row) has its centre at (16 · column, 16 · row).

    Returns:
        (size, size) uint8, 0/1.
    """
    polygon = polygon.astype(np.int64)
    start, end = polygon, np.roll(polygon, -1, axis=0)
    upward = (start[:, 1] > end[:, 1])[:, None]
    low, high = np.where(upward, end, start), np.where(upward, start, end)
    step = high - low
    rows = (np.arange(size) << SHIFT)[None, :]
    crossed = (low[:, 1:] <= rows) & (rows < high[:, 1:])
    # First column whose centre is not left of the crossing: the ceiling of x / 16 at this row, by whole numbers.
    numerator = low[:, :1] * step[:, 1:] + step[:, :1] * (rows - low[:, 1:])
    column = -(-numerator // np.maximum(step[:, 1:] << SHIFT, 1))
    edge, row = np.nonzero(crossed)
    toggles = np.zeros((size, size + 1), dtype=np.uint8)
    np.add.at(toggles, (row, column[edge, row].clip(0, size)), 1)
    return np.cumsum(toggles[:, :size], axis=1, dtype=np.uint8) & 1


def mask_box(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """The tight box of a mask's non-zero pixels, x1 and y1 exclusive; None for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def place_object(draws: Draws, size: int, label: int, sides: tuple[int, int]) -> ShapeObject:
    """Draw the masks of one object: a body with a glyph at one end of its long axis, wholly inside the image.

    Args:
        draws: the random stream.
        size: side of the image, pixels.
        label: class; chooses the glyph and nothing else about the masks.
        sides: smallest and largest long side of the body, per cent of the image's.
    """
    long_axis = size * draws.integer(sides[0], sides[1] + 1) * (1 << SHIFT) // 200
    body, angle = _body_outline(draws, long_axis)
    end = _rotate(np.array([[long_axis * draws.integer(50, 76) // 100, 0]]), angle)[0]
    glyph = _rotate(GLYPHS[label % len(GLYPHS)], draws.integer(0, 17) - 8)
    share = draws.integer(PART_SHARE[0] + 3, PART_SHARE[1] - 2)
    place = draws.integer(0, 1 << 20), draws.integer(0, 1 << 20)
    body_area = int(fill_polygon(size, body + (size << SHIFT) // 2).sum())
    # Side of the glyph's square in 1/16 px for the wanted share, corrected until the drawn pixels agree.
    side = math.isqrt(body_area * share * (1 << 2 * SHIFT) // 100)
    for _ in range(12):
        part = end + glyph * side // ONE
        both = np.concatenate([body, part])
        low, high = both.min(axis=0), both.max(axis=0)
        room = np.maximum((size << SHIFT) - (2 << SHIFT) - (high - low), 1)
        offset = (1 << SHIFT) - low + np.array(place) % room
        part_mask = fill_polygon(size, part + offset)
        mask = fill_polygon(size, body + offset) | part_mask
        part_area, area = int(part_mask.sum()), int(mask.sum())
        if PART_SHARE[0] * area <= 100 * part_area <= PART_SHARE[1] * area:
            break
        side = side * (105 if 100 * part_area < PART_SHARE[0] * area else 95) // 100
    return ShapeObject(label, mask, part_mask)


def part_hue(label: int, num_classes: int) -> int:
    """Middle of the hues of a class's part, 1/1536 of the circle; :func:`paint_object` varies it by a whole step."""
    return label * 1536 // num_classes


def paint_object(draws: Draws, image: np.ndarray, shape: ShapeObject, num_classes: int, ground: int) -> None:
    """Colour one object into the (S, S, 3) int16 image: random muted body, weak class texture, vivid class part.

    The body's brightness keeps at least ``CONTRAST`` from the background's, ``ground``, so that its extent can be seen.
    """
    size = len(image)
    below, above = max(ground - CONTRAST - 60, 0), max(230 - ground - CONTRAST, 0)
    step = draws.integer(0, below + above)
    value = 60 + step if step < below else ground + CONTRAST + step - below
    color = np.array(hue_color(draws.integer(0, 1536), draws.integer(30, 91), value), dtype=np.int16)
    texture = pattern(shape.label, size, size, draws.integer(0, 64), draws.integer(0, 64)) * 10
    body = shape.mask.astype(bool)
    image[body] = color + texture[body][:, None]
    spread = 1536 // num_classes
    hue = part_hue(shape.label, num_classes) + draws.integer(-spread, spread + 1)
    image[shape.part.astype(bool)] = hue_color(hue, draws.integer(170, 241), draws.integer(170, 246))


def draw_background(draws: Draws, size: int, kind: int) -> tuple[np.ndarray, int]:
    """A muted random colour, slow blobs of light, and the pattern of ``kind``: (size, size, 3) int16, brightness."""
    ground = draws.integer(80, 201)
    color = np.array(hue_color(draws.integer(0, 1536), draws.integer(20, 91), ground), dtype=np.int16)
    # Bit-exact interpolation: the ordinary linear one may differ between SIMD paths.
    blobs = cv2.resize(draws.noise(5, 5), (size, size), interpolation=cv2.INTER_LINEAR_EXACT).astype(np.int16)
    strength = draws.integer(14, 29)
    flat = pattern(kind, size, size, draws.integer(0, 64), draws.integer(0, 64)) * strength + (blobs - 128) // 4
    return color + flat[:, :, None], ground


def draw_scene(
    seed: int,
    stream: int,
    index: int,
    num_classes: int = 10,
    size: int = 64,
    num_objects: tuple[int, int] = (1, 1),
    cooccurrence: float = 0.5,
) -> ShapeScene:
    """Draw image ``index`` of a stream: the whole of PartShapes as one pure function.

    The first object's class is ``index % num_classes``, so the classes are balanced; the background's pattern is that
    class's with probability ``cooccurrence`` and otherwise uniform over all classes. Further objects are of other
    classes and are left out when no free place is found (at most a tenth of their box may be covered).

    Args:
        seed: of the whole set.
        stream: number of the split.
        index: number of the image.
        num_classes: at least 2.
        size: side of the square image, pixels, at least 32.
        num_objects: smallest and largest number of objects, of different classes.
        cooccurrence: in [0, 1].

    Returns:
        The image with its ground truth; the same arguments give the same bytes on every platform.

    Raises:
        ValueError: if an argument is out of its range.
    """
    low, high = num_objects
    if num_classes < 2 or size < 32 or not 1 <= low <= high <= num_classes or not 0 <= cooccurrence <= 1:
        raise ValueError(
            'a scene needs num_classes >= 2, size >= 32, 1 <= num_objects <= num_classes and 0 <= cooccurrence <= 1; '
            f'got num_classes={num_classes}, size={size}, num_objects={num_objects}, cooccurrence={cooccurrence}'
        )
    draws = Draws(seed, stream, index)
    label = index % num_classes
    own = draws.integer(0, 10_000) < round(cooccurrence * 10_000)
    kind = label if own else draws.integer(0, num_classes)
    image, ground = draw_background(draws, size, kind)
    count = draws.integer(low, high + 1)
    sides = (42, 72) if high == 1 else (26, 46)
    others = [c for c in range(num_classes) if c != label]
    scene = ShapeScene(image=image, background=kind, instances=np.zeros((size, size), dtype=np.uint8))
    scene.parts = np.zeros((size, size), dtype=np.uint8)
    taken: list[tuple[int, int, int, int]] = []
    for _ in range(count):
        for _attempt in range(10):
            shape = place_object(draws, size, label, sides)
            box = mask_box(shape.mask)
            if box is not None and all(_clear(box, other) for other in taken):
                break
        else:
            # Crowded image: leave this object out rather than hide another one.
            continue
        taken.append(box)
        paint_object(draws, image, shape, num_classes, ground)
        scene.labels.append(label)
        scene.instances[shape.mask > 0] = len(scene.labels)
        scene.parts[shape.mask > 0] = 0
        scene.parts[shape.part > 0] = 1
        label = others.pop(draws.integer(0, len(others))) if others else label
    scene.boxes = np.array([mask_box(scene.instances == i + 1) for i in range(len(scene.labels))], dtype=np.int64)
    grain = (draws.noise(size, size) >> 4).astype(np.int16) - 8
    scene.image = np.clip(image + grain[:, :, None], 0, 255).astype(np.uint8)
    return scene


def _clear(box: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    """Whether the two boxes share at most a tenth of the smaller one."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    smaller = min((b[2] - b[0]) * (b[3] - b[1]) for b in (box, other))
    return width <= 0 or height <= 0 or 10 * width * height <= smaller
