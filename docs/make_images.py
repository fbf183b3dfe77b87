# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The manual's pictures: ``python docs/make_images.py`` writes them into docs/images.

Images are PartShapes', drawn by :func:`mmentropy.datasets.drawn.shapes.draw_scene`. The location scores of the
"network" are made by hand from the exact masks (see :func:`hand_made_scores`): no training, so that the pictures are
the same everywhere and show what a method does, not how well a network was trained. What trained networks do is in
docs/results.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
import torch

from mmentropy.datasets.drawn.shapes import ShapeScene, draw_scene
from mmentropy.ops.certainty.entropy import entropy_weights, softmax_entropy
from mmentropy.ops.certainty.pooling import global_max_pool, lse_pool, pcam_pool
from mmentropy.ops.certainty.regularizer_optimum import optimal_entropy
from mmentropy.ops.certainty.regularizers import confidence_divergence, jeffreys_divergence, uniform_divergence
from mmentropy.ops.certainty.wildcat import wildcat_pool
from mmentropy.ops.erasing.feature_erasing import acol_mask, adl_drop_mask, adl_importance, normalized, rdap_mask
from mmentropy.ops.erasing.image_erasing import hide_cells
from mmentropy.ops.erasing.recursive import erasing_weight, expected_map, pseudo_threshold
from mmentropy.ops.localizing.map_boxes import boxes_from_map, foreground_mask
from mmentropy.ops.localizing.protocol import best_iou_by_threshold, quantize_map
from mmentropy.ops.mapping.geometry import MapGrid
from mmentropy.ops.mapping.overlay import blend_map, colorize_map
from mmentropy.ops.mapping.scaling import normalize_map, resize_map, upsample_map
from mmentropy.ops.masks import voc_palette
from mmentropy.ops.refining.affinity import color_affinity, neighbor_offsets
from mmentropy.ops.refining.dense_crf import Bilateral, Gaussian, dense_crf, unary_from_labels
from mmentropy.ops.refining.random_walk import random_walk, sparse_affinity, transition_matrix
from mmentropy.ops.seeding.seeds import entropy_background, seed_map
from mmentropy.visualization.panels import GT_COLOR, PRED_COLOR, add_caption, draw_boxes, join_tiles
from mmentropy.visualization.visualizer import write_image

SIZE, GRID, CLASSES = 192, 12, 5
#: Scores of the right class: on the telling part, on the rest of the object, on the background.
PART, BODY, GROUND = 6.0, 2.6, 0.0


def hand_made_scores(scene: ShapeScene, grid: int = GRID, noise: float = 0.5, seed: int = 0) -> np.ndarray:
    """(C, grid, grid) location scores of an imagined classifier: sure of the part, less sure of the rest."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, noise, (CLASSES, grid, grid)).astype(np.float32)
    for number, label in enumerate(scene.labels):
        body = (scene.instances == number + 1).astype(np.float32)
        wanted = GROUND + (BODY - GROUND) * body + (PART - BODY) * body * (scene.parts > 0)
        scores[label] += resize_map(cv2.GaussianBlur(wanted, (0, 0), 4), (grid, grid), 'area')
    return scores


def rgb(scene: ShapeScene) -> np.ndarray:
    return np.ascontiguousarray(scene.image[..., ::-1])


def over(image: np.ndarray, cam: np.ndarray, low: float | None = None, high: float | None = None) -> np.ndarray:
    """A map over its image; ``low`` and ``high`` fix the range, so that tiles can be compared."""
    cam = resize_map(np.asarray(cam, np.float32), image.shape[:2])
    if high is None:
        return blend_map(image, normalize_map(cam))
    return blend_map(image, np.clip((cam - low) / (high - low), 0, 1))


def blocks(cam: np.ndarray) -> np.ndarray:
    """A small map as squares of colour, highest value brightest."""
    cam = np.asarray(cam, np.float32)
    return colorize_map(resize_map(cam / max(float(cam.max()), 1e-12), (SIZE, SIZE), 'nearest'), 'viridis')


def row(*tiles: tuple[str, np.ndarray]) -> np.ndarray:
    return join_tiles([add_caption(tile, title, 22) for title, tile in tiles])


def cam() -> np.ndarray:
    """The way from a class map to a box."""
    scene = draw_scene(3, 0, 1, CLASSES, SIZE)
    image, scores = rgb(scene), hand_made_scores(scene, noise=0.3)
    small = scores[scene.labels[0]]
    full = upsample_map(small, (SIZE, SIZE), normalize='max')
    mask = np.repeat(255 * foreground_mask(full, 0.2).astype(np.uint8)[..., None], 3, axis=2)
    boxed = draw_boxes(draw_boxes(image, scene.boxes, GT_COLOR), boxes_from_map(full, 0.2), PRED_COLOR)
    raw = colorize_map(resize_map(normalize_map(small), (SIZE, SIZE), 'nearest'))
    return row(
        ('image', image),
        ('raw map, 12×12', raw),
        ('enlarged', over(image, small)),
        ('above 20 % of the max.', mask),
        ('box; green: the truth', boxed),
    )


def map_grid() -> np.ndarray:
    """One map drawn both ways: with half-pixel centres, and where a network of padded kernels looks."""
    scene, stride = draw_scene(3, 0, 1, CLASSES, SIZE), 24
    image, seen = rgb(scene), cv2.GaussianBlur((scene.instances > 0).astype(np.float32), (0, 0), 10)
    small = seen[::stride, ::stride]  # location j looks at pixel j·stride, as behind padded 3×3 kernels of stride 2
    grid = MapGrid((0, 0), (stride, stride), (SIZE, SIZE))
    tiles = [('image', image), ('raw map, 8×8', colorize_map(resize_map(small, (SIZE, SIZE), 'nearest')))]
    for title, where in (('half-pixel', None), ('in its place', grid)):
        drawn = upsample_map(small, (SIZE, SIZE), normalize='max', grid=where)
        boxed = draw_boxes(draw_boxes(blend_map(image, drawn), scene.boxes, GT_COLOR), boxes_from_map(drawn, 0.5))
        tiles.append((title, boxed))
    return row(*tiles)


def entropy_pooling() -> np.ndarray:
    """Location entropy, weights at three temperatures, and the two maps."""
    scene = draw_scene(3, 0, 2, CLASSES, SIZE)
    image, scores = rgb(scene), hand_made_scores(scene)
    entropy = softmax_entropy(torch.from_numpy(scores), dim=0)
    lines = [('image', image), ('score of its class', over(image, scores[scene.labels[0]]))]
    low, high = float(entropy.min()), float(entropy.max())
    lines.append((f'entropy {low:.2f}–{high:.2f} nats', over(image, entropy.numpy())))
    for temperature in (5.0, 1.0, 0.2):
        weights = entropy_weights(entropy[None], CLASSES, temperature=temperature)[0]
        lines.append((f'weights, T = {temperature:g}', blocks(weights.numpy())))
    return row(*lines)


def pooling() -> np.ndarray:
    """How much of the pooled score each location gives: the derivative of the pooled score of the class."""
    scene = draw_scene(3, 0, 2, CLASSES, SIZE)
    image, scores = rgb(scene), torch.from_numpy(hand_made_scores(scene)).requires_grad_()
    own = scores[scene.labels[0]]

    def entropy_pool(temperature: float) -> torch.Tensor:
        weights = entropy_weights(softmax_entropy(scores.detach(), dim=0)[None], CLASSES, temperature=temperature)[0]
        return (weights * own).sum()

    pooled: dict[str, Callable[[], torch.Tensor]] = {
        'average': lambda: own.mean(),
        'log-sum-exp, r = 1': lambda: lse_pool(own, 1.0),
        'WILDCAT, top 9 %': lambda: wildcat_pool(own, 0.09),
        'PCAM': lambda: pcam_pool(own),
        'entropy, T = 1': lambda: entropy_pool(1.0),
        'maximum': lambda: global_max_pool(own),
    }
    tiles = [('image', image)]
    for name, function in pooled.items():
        share = torch.autograd.grad(function().sum(), scores)[0][scene.labels[0]].clamp(min=0)
        tiles.append((name, blocks(share.numpy())))
    return row(*tiles)


def erasing() -> np.ndarray:
    """What the erasers take away; feature masks are shown over the image."""
    scene = draw_scene(3, 0, 3, CLASSES, SIZE)
    image, own = rgb(scene), torch.from_numpy(hand_made_scores(scene)[scene.labels[0]])[None, None]
    rng = np.random.default_rng(4)
    attention = own.clamp(min=0)

    def shown(mask: torch.Tensor) -> np.ndarray:
        keep = resize_map(mask[0, 0].float().numpy(), (SIZE, SIZE), 'nearest')[..., None]
        return (image * (0.15 + 0.85 * keep)).round().astype(np.uint8)

    return row(
        ('image', image),
        ('attention', over(image, attention[0, 0].numpy())),
        ('Hide-and-Seek', hide_cells(image, rng.random((4, 4)) < 0.5, 127)),
        ('ADL, drop, γ = 0.6', shown(adl_drop_mask(attention, 0.6))),
        ('ADL, importance', shown(adl_importance(attention) * 2 - 1)),
        ('RDAP', shown(rdap_mask(attention, 0.25))),
        ('ACoL, δ = 0.5', shown(acol_mask(normalized(own), 0.5))),
    )


def minmax() -> np.ndarray:
    """Four passes of recursive erasing with a localizer that sees the brightest spot of what is left."""
    scene = draw_scene(3, 0, 4, CLASSES, SIZE)
    picture = rgb(scene)
    label = torch.tensor([scene.labels[0]])
    base = torch.from_numpy(hand_made_scores(scene, noise=0.3))[None]
    joined = torch.zeros(1, 1, SIZE, SIZE)
    first = None
    lines = []
    for step in range(4):
        # The imagined localizer: its evidence goes where the image goes dark.
        left = torch.nn.functional.adaptive_avg_pool2d(1 - joined, GRID)
        maps = base * left
        scores = maps.flatten(2).topk(round(0.09 * GRID**2), dim=2).values.mean(2)
        loss = torch.nn.functional.cross_entropy(scores, label, reduction='none')
        first = loss if first is None else first
        # loss_t <= loss_0 holds by construction only for the first pass here; it is left out of the picture.
        confidence = scores.softmax(1).amax(1)
        psi = erasing_weight(step, 10.0, scores.argmax(1) == label, first, first, confidence)
        mask = pseudo_threshold(expected_map(maps, scores), (SIZE, SIZE))
        seen = (picture * (1 - joined[0, 0].numpy())[..., None]).round().astype(np.uint8)
        joined = torch.maximum(joined, psi.view(-1, 1, 1, 1) * mask)
        lines.append(
            row(
                (f't = {step}: what M sees', seen),
                (f'its mask, ψ = {psi.item():.2f}', colorize_map(mask[0, 0].numpy())),
                ('joined mask R', colorize_map(joined[0, 0].numpy())),
                ('kept: X · R', (picture * joined[0, 0].numpy()[..., None]).round().astype(np.uint8)),
            )
        )
    return join_tiles([lines[0], lines[1], lines[3]], axis=0)


def painted(labels: np.ndarray) -> np.ndarray:
    return voc_palette()[labels]


def segmentation() -> np.ndarray:
    """Maps, seeds with a background from entropy, the dense CRF, the walk on colour, and the truth."""
    scene = draw_scene(5, 0, 0, CLASSES, SIZE, num_objects=(2, 2))
    image = rgb(scene)
    scores = hand_made_scores(scene, grid=24)
    labels = np.array(scene.labels)
    maps = resize_map(scores[labels], (SIZE, SIZE))
    maps = np.clip(maps / maps.max(axis=(1, 2), keepdims=True), 0, 1)
    entropy = resize_map(softmax_entropy(torch.from_numpy(scores), dim=0).numpy(), (SIZE, SIZE))
    background = 0.45 * entropy_background(entropy)
    seeds = seed_map(maps, labels, background)
    order = [0, *(labels + 1)]
    compact = np.searchsorted(np.sort(order), seeds)
    marginals = dense_crf(unary_from_labels(compact, len(order), 0.7), image, (Gaussian(3, 3), Bilateral(50, 5, 10)))
    refined = np.sort(order)[marginals.argmax(0)]
    small = cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA)
    offsets = neighbor_offsets(5)
    walk = transition_matrix(sparse_affinity(color_affinity(small, offsets), offsets))
    walked = random_walk(resize_map(np.concatenate([background[None], maps]), (48, 48), 'area'), walk, 6)
    walked = np.array(order)[resize_map(walked, (SIZE, SIZE), 'bilinear').argmax(0)]
    truth = np.zeros((SIZE, SIZE), int)
    for number, label in enumerate(scene.labels):
        truth[scene.instances == number + 1] = label + 1
    return row(
        ('image', image),
        ('map, first class', over(image, scores[labels[0]])),
        ('location entropy', over(image, entropy)),
        ('seeds', painted(seeds)),
        ('dense CRF', painted(refined)),
        ('random walk on colour', painted(walked)),
        ('truth', painted(truth)),
    )


def figure(width: float = 8, height: float = 3, columns: int = 2):
    return plt.subplots(1, columns, figsize=(width, height), dpi=100, constrained_layout=True)


def as_image(fig) -> np.ndarray:
    fig.canvas.draw()
    image = np.asarray(fig.canvas.buffer_rgba())[..., :3].copy()
    plt.close(fig)
    return image


def entropy_regularization() -> np.ndarray:
    """What λ means: the entropy at the optimum, averaged or summed over the classes."""
    fig, axes = figure()
    lambdas = np.logspace(-5, 1, 61)
    for axis, reduction in zip(axes, ('mean', 'sum')):
        for classes in (20, 200, 1000):
            entropy = [optimal_entropy(x, classes, 'uniform', reduction) / np.log(classes) for x in lambdas]
            axis.semilogx(lambdas, entropy, label=f'C = {classes}')
        axis.axvline(1e-4, color='gray', lw=0.8, ls=':')
        axis.set(title=f"class_reduction='{reduction}'", xlabel='λ (dotted: 1e-4)', ylim=(-0.02, 1.02))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel('entropy at the optimum / log C')
    axes[0].legend()
    return as_image(fig)


def regularizers() -> np.ndarray:
    """The three penalties, and how hard they push, against the right class's probability."""
    fig, axes = figure()
    classes = 20
    right = torch.tensor(np.concatenate([np.linspace(0.05, 0.9, 60), 1 - np.logspace(-1, -6, 60)]))
    probabilities = ((1 - right) / (classes - 1))[:, None].repeat(1, classes)
    probabilities[:, 0] = right
    logits = probabilities.log().requires_grad_()
    shown = {'KL(u‖p)': uniform_divergence, 'KL(p‖u)': confidence_divergence, 'Jeffreys': jeffreys_divergence}
    for name, function in shown.items():
        value = function(logits)
        slope = torch.autograd.grad(value.sum(), logits)[0][:, 0]
        odds = torch.log10(right / (1 - right))
        axes[0].plot(odds, value.detach(), label=name)
        axes[1].plot(odds, slope, label=name)
    for axis, label in zip(axes, ('penalty R, nats', 'slope ∂R/∂z of the right class')):
        axis.set(xlabel='log10 of the odds of the right class', ylabel=label)
        axis.grid(alpha=0.3)
    axes[0].legend(title=f'C = {classes}')
    return as_image(fig)


def accuracy_by_threshold(count: int, start: int, thresholds: np.ndarray) -> np.ndarray:
    """(count, T) hits at IoU 50 % of hand-made maps of PartShapes images ``start`` … at every threshold."""
    hits = np.zeros((count, len(thresholds)), bool)
    for n in range(count):
        scene = draw_scene(11, 1, start + n, CLASSES, 64)
        cam_map = hand_made_scores(scene, 8, noise=0.8, seed=start + n)[scene.labels[0]]
        image = quantize_map(normalize_map(resize_map(cam_map, (64, 64))))
        truths = scene.boxes - np.array([0, 0, 1, 1])
        hits[n] = best_iou_by_threshold(image, truths, thresholds) >= 0.5
    return hits


def oracle_threshold() -> np.ndarray:
    """Box accuracy over the threshold on splits of 25 images, and how much the best look flatters by split size."""
    thresholds = np.arange(0, 1, 0.005)
    test, other = accuracy_by_threshold(400, 0, thresholds), accuracy_by_threshold(400, 400, thresholds)
    fig, axes = figure()
    for number, part in enumerate(np.split(test[:125], 5)):
        curve = 100 * part.mean(0)
        line = axes[0].plot(thresholds, curve, lw=1, label='25 images' if number == 0 else None)
        axes[0].plot(thresholds[curve.argmax()], curve.max(), 'o', color=line[0].get_color())
    axes[0].plot(thresholds, 100 * test.mean(0), 'k', lw=2, label='all 400')
    axes[0].set(xlabel='threshold t', ylabel='boxes with IoU ≥ 50 %, in %', title='five splits, each with its best t')
    axes[0].legend()
    sizes = [10, 25, 50, 100, 200]
    rng = np.random.default_rng(0)
    oracle, transfer = [], []
    for size in sizes:
        gaps = []
        for _ in range(200):
            here = test[rng.choice(400, size, replace=False)].mean(0)
            there = other[rng.choice(400, size, replace=False)].mean(0)
            gaps.append((here.max(), here[there.argmax()]))
        mean = 100 * np.mean(gaps, axis=0)
        oracle.append(mean[0])
        transfer.append(mean[1])
    axes[1].semilogx(sizes, oracle, 'o-', label='oracle: best t of this split')
    axes[1].semilogx(sizes, transfer, 's-', label="transfer: another split's best t")
    axes[1].axhline(100 * test.mean(0).max(), color='k', lw=1, ls=':', label='all 400 images, best t')
    axes[1].set(
        xlabel='images in the split',
        title='the same maps, two ways to report',
        xticks=sizes,
        xticklabels=sizes,
        ylim=(75, 94),
    )
    axes[1].minorticks_off()
    axes[1].legend(loc='lower right', fontsize=9)
    for axis in axes:
        axis.grid(alpha=0.3)
    return as_image(fig)


#: Name of the file -> the function that draws it.
PICTURES = {
    'cam.jpg': cam,
    'entropy_pooling.jpg': entropy_pooling,
    'entropy_regularization.png': entropy_regularization,
    'erasing.jpg': erasing,
    'map_grid.jpg': map_grid,
    'minmax.jpg': minmax,
    'oracle_threshold.png': oracle_threshold,
    'pooling.jpg': pooling,
    'regularizers.png': regularizers,
    'segmentation.jpg': segmentation,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', nargs='*', help='files to make (default: all)')
    parser.add_argument('--out-dir', type=Path, default=Path(__file__).parent / 'images')
    args = parser.parse_args()
    unknown = sorted(set(args.names) - set(PICTURES))
    if unknown:
        sys.exit(f'unknown picture {unknown[0]}; choose from {", ".join(PICTURES)}')
    for name in args.names or PICTURES:
        write_image(args.out_dir / name, PICTURES[name]())


if __name__ == '__main__':
    main()
