# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
r"""High-dimensional Gaussian filtering on the permutohedral lattice (Adams, Baek and Davis, Eurographics 2010).

The lattice :math:`A_d^*` lives on the hyperplane :math:`\sum_j x_j = 0` of :math:`R^{d+1}`. A feature is lifted onto it
and found to lie in one simplex; its value is shared among the simplex' d + 1 vertices with barycentric weights
(*splat*); the vertices exchange values with their two neighbours along each of the d + 1 lattice directions (*blur*,
[½ 1 ½]); each feature reads its vertices back (*slice*). Cost O(N d²), where the direct sum costs O(N² d).
"""

from __future__ import annotations

import numpy as np

from mmentropy.ops.jit import F32, I8, I32, I64, announce_compilation, jit


@jit(nogil=True)
def _locate(features: F32, scale: F32, cell: I32, rank: I8, weight: F32) -> None:
    """Find the simplex of each feature: its remainder-0 corner divided by d + 1, the coordinate ranks, the weights.

    Args:
        features: (N, d) in units of the Gaussian's standard deviation.
        scale: (d,) factors of the orthonormal lift.
        cell: (N, d + 1) out: the corner's coordinates divided by d + 1, whose sum is 0.
        rank: (N, d + 1) out: place of each coordinate's residual, 0 for the largest; a permutation of 0 … d.
        weight: (N, d + 1) out: barycentric weights of the vertices of remainder 0 … d; they sum to 1.
    """
    n, d = features.shape
    lifted, residual = np.empty(d + 1, np.float32), np.empty(d + 1, np.float32)
    bary = np.empty(d + 2, np.float32)
    inverse = np.float32(1) / np.float32(d + 1)
    for p in range(n):
        bary[:] = 0
        total = np.float32(0)
        # Lift: the matrix is triangular but for one diagonal, so suffix sums do it in d steps instead of d².
        for j in range(d, 0, -1):
            step = features[p, j - 1] * scale[j - 1]
            lifted[j] = total - np.float32(j) * step
            total += step
        lifted[0] = total
        # Round each coordinate to the nearest multiple of d + 1.
        surplus = 0
        for j in range(d + 1):
            nearest = np.int32(np.floor(lifted[j] * inverse + np.float32(0.5)))
            cell[p, j] = nearest
            rank[p, j] = 0
            residual[j] = lifted[j] - np.float32(nearest * (d + 1))
            surplus += int(nearest)
        # Ranks by counting, without a sort for so few coordinates; ties go to the earlier one.
        for i in range(d):
            for j in range(i + 1, d + 1):
                lower = residual[i] < residual[j]
                rank[p, i] += lower
                rank[p, j] += 1 - lower
        # The rounded point may lie off the plane; the coordinates that rounding moved furthest bring it back.
        for j in range(d + 1):
            moved = rank[p, j] + surplus
            if moved < 0:
                moved += d + 1
                cell[p, j] += 1
            elif moved > d:
                moved -= d + 1
                cell[p, j] -= 1
            rank[p, j] = moved
        for j in range(d + 1):
            share = lifted[j] * inverse - np.float32(cell[p, j])
            bary[d - rank[p, j]] += share
            bary[d + 1 - rank[p, j]] -= share
        bary[0] += np.float32(1) + bary[d + 1]
        for r in range(d + 1):
            weight[p, r] = bary[r]


@jit(nogil=True)
def _slot(table: I64, shift: int, key: int) -> int:
    """The slot of a key in an open-addressed table (multiplicative hashing, linear probing; -1 marks an empty slot).

    Args:
        table: (2^b,) keys; never more than half full, so that probing ends.
        shift: 64 − b: the product's top bits are its best mixed ones.
        key: ≥ 0.
    """
    mask = len(table) - 1
    slot = np.int64((np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(shift))
    while table[slot] != -1 and table[slot] != key:
        slot = (slot + 1) & mask
    return int(slot)


@jit(nogil=True)
def _number(cell: I32, rank: I8, low: I64, stride: I64, vertex: I32) -> tuple[I64, I64, I32, int]:
    """Number the vertices in the order in which the features touch them.

    A vertex' first d coordinates, in cells from ``low``, are packed into one integer with its remainder: the last
    coordinate follows from the others, and one integer is hashed and compared instead of d.

    Args:
        cell: (N, d + 1) from :func:`_locate`.
        rank: (N, d + 1) likewise.
        low: (d,) least cells.
        stride: (d,) what one cell of each coordinate adds to a key.
        vertex: (N, d + 1) out: the numbers of each feature's vertices, 0 … M − 1.

    Returns:
        (M,) keys by number; the hash table (2^b,) of keys, the numbers (2^b,) beside it, and its shift 64 − b.
    """
    n, d = cell.shape[0], cell.shape[1] - 1
    bits = 12
    table = np.full(1 << bits, -1, np.int64)
    number = np.empty(1 << bits, np.int32)
    keys = np.empty(1 << (bits - 1), np.int64)
    count = 0
    # Neighbouring pixels often lie in one simplex: its vertices are still at hand.
    last = np.full(d + 1, -1, np.int64)
    for p in range(n):
        base = np.int64(0)
        for j in range(d):
            base += (cell[p, j] - low[j]) * stride[j]
        for r in range(d + 1):
            key = base + r
            for j in range(d):
                if rank[p, j] > d - r:  # vertex r takes d + 1 from the r coordinates of the smallest residuals
                    key -= stride[j]
            if key == last[r]:
                vertex[p, r] = vertex[p - 1, r]
                continue
            last[r] = key
            slot = _slot(table, 64 - bits, key)
            if table[slot] == -1:
                if count == len(keys):  # half full: twice the table, everything hashed again
                    bits += 1
                    table = np.full(1 << bits, -1, np.int64)
                    number = np.empty(1 << bits, np.int32)
                    for k in range(count):
                        slot = _slot(table, 64 - bits, keys[k])
                        table[slot] = keys[k]
                        number[slot] = k
                    grown = np.empty(1 << (bits - 1), np.int64)
                    grown[:count] = keys
                    keys = grown
                    slot = _slot(table, 64 - bits, key)
                table[slot] = key
                number[slot] = count
                keys[count] = key
                count += 1
            vertex[p, r] = number[slot]
    return keys[:count].copy(), table, number, 64 - bits


@jit(nogil=True)
def _neighbours(keys: I64, table: I64, number: I32, shift: int, stride: I64, out: I32) -> None:
    """The two neighbours of each vertex along each direction; the number of vertices stands for "none".

    Args:
        keys: (M,), ``table`` (2^b,), ``number`` (2^b,) and ``shift`` from :func:`_number`.
        stride: (d,).
        out: (d + 1, M, 2) out: a vertex' neighbours along direction j, or M.
    """
    d, count = len(stride), len(keys)
    whole = stride.sum()
    for v in range(count):
        key = keys[v]
        r = key % (d + 1)
        for j in range(d + 1):
            own = stride[j] if j < d else 0
            # One step down the direction takes 1 from every coordinate but j, which gains d; on packed keys that is:
            down = own - 1 if r >= 1 else own - whole + d
            up = 1 - own if r < d else whole - own - d
            for side in range(2):
                other = key + (down if side == 0 else up)
                slot = _slot(table, shift, other)
                out[j, v, side] = number[slot] if table[slot] == other else count


# A row is copied to, or summed in, a small local array: with pointers that might overlap, no vectors would be used.
@jit(nogil=True, fastmath={'contract', 'reassoc', 'nsz'})
def _splat(values: F32, vertex: I32, weight: F32, lattice: F32) -> None:
    """lattice[vertex] += weight · values. Neighbours in the image share vertices, so this stays within the cache.

    Args:
        values: (n, C).
        vertex: (n, d + 1).
        weight: (n, d + 1).
        lattice: (M + 1, C), added to.
    """
    width = lattice.shape[1]
    row = np.empty(width, np.float32)
    for p in range(len(vertex)):
        for c in range(width):
            row[c] = values[p, c]
        for r in range(vertex.shape[1]):
            v, share = vertex[p, r], weight[p, r]
            for c in range(width):
                lattice[v, c] += share * row[c]


@jit(nogil=True, fastmath={'contract', 'reassoc', 'nsz'})
def _blur(lattice: F32, neighbour: I32, out: F32) -> None:
    """[½ 1 ½] along one direction; the last row of ``lattice`` stands for missing neighbours and holds zeros.

    Args:
        lattice: (M + 1, C).
        neighbour: (M, 2), M for none.
        out: (M + 1, C) out; its last row is left alone.
    """
    for v in range(len(neighbour)):
        a, b = neighbour[v, 0], neighbour[v, 1]
        for c in range(lattice.shape[1]):
            out[v, c] = lattice[v, c] + np.float32(0.5) * (lattice[a, c] + lattice[b, c])


@jit(nogil=True, fastmath={'contract', 'reassoc', 'nsz'})
def slice_lattice(lattice: F32, vertex: I32, weight: F32, out: F32, begin: int, end: int) -> None:
    """out[p] = Σ weight · lattice[vertex] for the points begin … end. Releases the interpreter's lock.

    Args:
        lattice: (M + 1, C), blurred.
        vertex: (N, d + 1).
        weight: (N, d + 1).
        out: (N, ≥ C) out; columns behind C are left alone.
        begin: first point.
        end: one past the last.

    >>> lattice, vertex = np.float32([[2], [4], [0]]), np.int32([[0, 1]])
    >>> out = np.zeros((1, 1), np.float32)
    >>> slice_lattice(lattice, vertex, np.float32([[0.5, 0.5]]), out, 0, 1)
    >>> out.tolist()
    [[3.0]]
    """
    width = lattice.shape[1]
    total = np.empty(width, np.float32)
    for p in range(begin, end):
        total[:] = 0
        for r in range(vertex.shape[1]):
            v, share = vertex[p, r], weight[p, r]
            for c in range(width):
                total[c] += share * lattice[v, c]
        for c in range(width):
            out[p, c] = total[c]


class Permutohedral:
    """The lattice of one set of features, ready to filter any values that sit on them.

    Args:
        features: (N, d) positions in units of the Gaussian's standard deviation.

    Attributes:
        vertex: (N, d + 1) int32, the vertices of each feature's simplex.
        weight: (N, d + 1) float32, their barycentric weights; rows sum to 1.
        neighbour: (d + 1, M, 2) int32, the neighbours of each vertex along each direction, M for none.
        scale: the factor that makes a filtered delta comparable to :math:`\\exp(-|f|^2/2)`, :math:`1/(1 + 2^{-d})`.

    Raises:
        ValueError: if the features are not a finite (N, d) array, or span more lattice cells than 63 bits can number.

    >>> lattice = Permutohedral(np.array([[0.0], [0.0], [100.0]]))  # two points in one place, a third far away
    >>> first, second, third = lattice.filter(np.array([1.0, 0.0, 0.0])).tolist()
    >>> first == second, third
    (True, 0.0)
    """

    def __init__(self, features: np.ndarray) -> None:
        features = np.ascontiguousarray(features, dtype=np.float32)
        if features.ndim != 2 or 0 in features.shape or not np.isfinite(features).all():
            raise ValueError(f'features must be a finite, non-empty (N, d) array, got shape {features.shape}')
        n, d = features.shape
        axis = np.arange(1, d + 1)
        # Orthonormal lift, times (d + 1) √(2/3) so that the blurs' variance adds up to one unit per feature axis.
        scale = ((d + 1) * np.sqrt(2 / 3) / np.sqrt(axis * (axis + 1))).astype(np.float32)
        cell = np.empty((n, d + 1), np.int32)
        rank = np.empty((n, d + 1), np.int8)
        self.weight = np.empty((n, d + 1), np.float32)
        announce_compilation(_locate)
        _locate(features, scale, cell, rank, self.weight)
        # Two spare cells a side keep every neighbour's packed key free of wrap-around.
        low = cell[:, :d].min(axis=0).astype(np.int64) - 3
        extent = [int(e) for e in cell[:, :d].max(axis=0) - low + 3]
        stride = [d + 1]
        for e in extent:
            stride.append(stride[-1] * e)
        if stride[-1] >= 2**63:
            raise ValueError(f'features span {extent} lattice cells, too many to number; use larger deviations')
        strides = np.array(stride[:-1], np.int64)
        self.vertex = np.empty((n, d + 1), np.int32)
        keys, table, number, shift = _number(cell, rank, low, strides, self.vertex)
        self.neighbour = np.empty((d + 1, len(keys), 2), np.int32)
        _neighbours(keys, table, number, shift, strides, self.neighbour)
        self.scale = 1 / (1 + 2.0**-d)

    def __len__(self) -> int:
        """The number M of vertices that some feature touches."""
        return self.neighbour.shape[1]

    def splat(self, values: F32, weight: F32, part: slice = slice(None)) -> F32:
        """Share values among the vertices. Releases the interpreter's lock.

        Args:
            values: (N, C) float32.
            weight: (N, d + 1) float32, :attr:`weight` or that times one factor a point.
            part: which points; the results of several parts add up.

        Returns:
            (M + 1, C) float32, the last row zero.
        """
        lattice = np.zeros((len(self) + 1, values.shape[1]), np.float32)
        _splat(values[part], self.vertex[part], weight[part], lattice)
        return lattice

    def blur(self, lattice: F32) -> F32:
        """Blur (M + 1, C) float32 along every direction; may use its argument as work space."""
        spare = np.zeros_like(lattice)
        for direction in self.neighbour:
            _blur(lattice, direction, spare)
            lattice, spare = spare, lattice
        return lattice

    def filter(self, values: np.ndarray) -> F32:
        r"""Approximate :math:`y_i = \sum_j \exp(-|f_i - f_j|^2 / 2)\, x_j`, up to the lattice's constant.

        Args:
            values: (N, C) or (N,) values.

        Returns:
            float32 of the same shape.
        """
        x = np.ascontiguousarray(values, dtype=np.float32)
        if len(x) != len(self.vertex):
            raise ValueError(f'{len(x)} values for {len(self.vertex)} features; there must be one value a feature')
        flat = x.reshape(len(x), -1)
        out = np.empty_like(flat)
        lattice = self.blur(self.splat(flat, self.weight))
        slice_lattice(lattice, self.vertex, self.weight * np.float32(self.scale), out, 0, len(out))
        return out.reshape(x.shape)
