# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Figures of faithfulness beside torch-cam, grad-cam and Quantus, in one run: ``python benchmarks/faithfulness.py``.

Every library judges the same maps of the same images by the same random network, as its documentation shows, with the
same steps: torch-cam deletion, insertion and drop, grad-cam ROAD at nine percentages, Quantus sparseness, complexity,
pixel flipping and max-sensitivity (with the same noise). Ours makes its faster copy of the network within the time that
is measured. Figures that differ by more than 1e-4 end the run; a package that is not installed is left out by name.
"""

from __future__ import annotations

import argparse
import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torchvision
from measure import Row, interleaved, load_average, paired_ratio, save_rows
from torch import Tensor

from mmentropy.explain import build_explainer
from mmentropy.ops.faithfulness.concentration import complexity, sparseness
from mmentropy.ops.faithfulness.imputation import impute
from mmentropy.ops.faithfulness.inference_copy import inference_copy
from mmentropy.ops.faithfulness.perturbation import perturbation_scores, removal_ranks
from mmentropy.ops.faithfulness.sanity import max_sensitivity

STEPS, FLIPS, DRAWS = 20, 15, 5
#: Torch-cam's perturbed images in a forward pass, unless it is told otherwise.
THEIR_BATCH = 32
TOLERANCE = 1e-4


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=2)
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--only', help='comparisons that name this, such as ROAD or Quantus')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--json', type=Path, help='also write the rows of docs/benchmarks.md there')
    return parser.parse_args()


@dataclass
class Example:
    """A network, images, the maps of their predicted classes drawn over them, and the classes."""

    network: str
    model: torch.nn.Module
    images: Tensor
    maps: Tensor
    classes: Tensor

    @property
    def ranked(self) -> Tensor:
        """Maps in the same order of pixels, without equal values: grad-cam and Quantus leave open how those go."""
        return 1 - removal_ranks(self.maps) / self.maps[0].numel()

    def faster(self) -> torch.nn.Module:
        return inference_copy(self.model, self.images[:1])


def example(network: str, images: int, size: int) -> Example:
    """A network of torchvision with random weights, and smooth random images."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(network).eval()
    with torch.no_grad():  # a random network says the same of every image: its classifier is sharpened
        classifier = [module for module in model.modules() if isinstance(module, torch.nn.Linear)][-1]
        classifier.weight.mul_(30)
    inputs = torch.nn.functional.interpolate(
        torch.randn(images, 3, 14, 14), size=(size, size), mode='bicubic', align_corners=False
    )
    with torch.no_grad():
        classes = model(inputs).argmax(1)
    # As torch-cam has it: brought to [0, 1] at feature resolution, then enlarged.
    maps = build_explainer('grad_cam', model, grid='half_pixel')(inputs, classes[:, None]).maps[:, 0]
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    maps = (maps - low) / (high - low)
    maps = torch.nn.functional.interpolate(maps[:, None], size=inputs.shape[2:], mode='bilinear')[:, 0]
    return Example(network, model, inputs, maps.contiguous(), classes)


@dataclass
class Pair:
    """One measurement: both jobs give the figures that are compared."""

    what: str
    network: str
    alternative: str
    ours: Callable[[], Tensor]
    theirs: Callable[[], Tensor]
    target: str
    note: str = ''


class Given:
    """An extractor of torch-cam that has its map already: what is timed is the metric."""

    def __init__(self, given: Example) -> None:
        self.model, self.maps = given.model, given.maps

    def __call__(self, class_idx: object = None, scores: object = None, **options: object) -> list[Tensor]:
        return [self.maps]

    def fuse_cams(self, cams: list[Tensor]) -> Tensor:
        return cams[0]

    def _hooks_off(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


def torchcam_curves(given: Example, batch_size: int = THEIR_BATCH) -> Tensor:
    """Deletion and insertion."""
    from torchcam.metrics import DeletionInsertionMetric

    metric = DeletionInsertionMetric(
        Given(given), lambda logits: logits.softmax(-1), steps=STEPS, batch_size=batch_size
    )
    metric.update(given.images, given.classes.tolist())
    found = metric.summary()
    return torch.tensor([found['deletion_auc'], found['insertion_auc']])


def torchcam_drop(given: Example) -> Tensor:
    from torchcam.metrics import ClassificationMetric

    metric = ClassificationMetric(Given(given), lambda logits: logits.softmax(-1))
    metric.update(given.images, given.classes.tolist())
    found = metric.summary()
    return torch.tensor([found['avg_drop'], found['conf_increase']])


def gradcam_road(given: Example, maps: Tensor) -> Tensor:
    from pytorch_grad_cam.metrics import road
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget

    targets = [ClassifierOutputSoftmaxTarget(int(c)) for c in given.classes]
    # Its noise, which is drawn anew each time, is left out so that the figures can be compared.
    usual = road.NoisyLinearImputer.__init__.__defaults__
    road.NoisyLinearImputer.__init__.__defaults__ = (0.0, road.neighbors_weights)
    try:
        return torch.from_numpy(road.ROADCombined()(given.images, maps.numpy(), targets, given.model))
    finally:
        road.NoisyLinearImputer.__init__.__defaults__ = usual


def our_curves(given: Example) -> Tensor:
    found = perturbation_scores(
        given.faster(),
        given.images,
        given.maps,
        given.classes,
        ['deletion', 'insertion'],
        STEPS,
        insertion_baseline='zero',
    )
    return torch.stack([found.deletion.area.mean(), found.insertion.area.mean()])


def our_road(given: Example, maps: Tensor) -> Tensor:
    return perturbation_scores(given.faster(), given.images, maps, given.classes, ['road'], road_noise=0.0).road


def our_four(given: Example) -> Tensor:
    """Drop, increase, deletion, insertion and ROAD in one call."""
    found = perturbation_scores(
        given.faster(),
        given.images,
        given.ranked,
        given.classes,
        steps=STEPS,
        insertion_baseline='zero',
        road_noise=0.0,
    )
    means = [found.drop, found.increase, found.deletion.area, found.insertion.area]
    return torch.cat([torch.stack([value.mean() for value in means]), found.road])


def their_four(given: Example) -> Tensor:
    ranked = Example(given.network, given.model, given.images, given.ranked, given.classes)
    return torch.cat([torchcam_drop(ranked), torchcam_curves(ranked), gradcam_road(given, given.ranked)])


def torchcam_pairs(given: Example, smaller: Example) -> list[Pair]:
    import torchcam  # noqa: F401

    what = f'deletion and insertion, {STEPS} steps'
    return [
        Pair(
            what, one.network, 'torch-cam', partial(our_curves, one), partial(torchcam_curves, one, batch), '≥ 2', note
        )
        for one in (given, smaller)
        for batch, note in ((THEIR_BATCH, ''), (8, 'torch-cam told to take 8 images a pass, as ours does'))
    ]


def gradcam_pairs(given: Example, smaller: Example) -> list[Pair]:
    import pytorch_grad_cam  # noqa: F401

    return [
        Pair(
            'ROAD at 9 percentages, both orders',
            given.network,
            'grad-cam',
            partial(our_road, given, given.ranked),
            partial(gradcam_road, given, given.ranked),
            '≥ 5',
        )
    ]


def together(given: Example, smaller: Example) -> list[Pair]:
    import pytorch_grad_cam  # noqa: F401
    import torchcam  # noqa: F401

    return [
        Pair(
            'drop, deletion, insertion and ROAD together',
            given.network,
            'torch-cam, grad-cam',
            partial(our_four, given),
            partial(their_four, given),
            '≥ 2',
        )
    ]


def draws_of(images: Tensor) -> list[Tensor]:
    """The noise of :func:`max_sensitivity` with its usual seeds, to hand it to Quantus."""
    found: list[Tensor] = []

    def look(inputs: Tensor, classes: Tensor) -> Tensor:
        found.append(inputs - images)
        return inputs[:, 0]

    max_sensitivity(images, images[:, 0], look, torch.zeros(len(images)), samples=DRAWS)
    return found


def quantus_pairs(given: Example, smaller: Example) -> list[Pair]:
    import quantus

    images, maps, classes = given.images, given.maps, given.classes
    usual = dict(model=given.model, x_batch=images.numpy(), y_batch=classes.numpy(), device='cpu')
    names = dict(disable_warnings=True, display_progressbar=False, normalise=False)

    def drawn(explainer, inputs: Tensor, targets: Tensor) -> Tensor:
        found = explainer(inputs, targets[:, None]).maps
        return torch.nn.functional.interpolate(found, size=inputs.shape[2:], mode='bilinear')[:, 0]

    explainer = build_explainer('grad_cam', given.model, grid='half_pixel')
    own = drawn(explainer, images, classes)

    def explain_func(model, inputs, targets, **options) -> np.ndarray:
        return drawn(explainer, torch.as_tensor(inputs).float(), torch.as_tensor(targets).long())[:, None].numpy()

    # Quantus counts the channels of a pixel one by one. With the same map for all three, and a size whose steps it
    # divides, the same pixels go as in a deletion curve.
    divided = example(given.network, len(images), -(-images.shape[2] // FLIPS) * FLIPS)

    def flipping() -> Tensor:
        metric = quantus.PixelFlipping(
            features_in_step=3 * divided.maps[0].numel() // FLIPS,
            perturb_baseline=0.0,
            abs=False,
            return_auc_per_sample=False,
            **names,
        )
        asked = usual | dict(x_batch=divided.images.numpy(), y_batch=divided.classes.numpy())
        return torch.tensor(metric(**asked, a_batch=divided.ranked[:, None].numpy().copy(), softmax=True))

    def deletion() -> Tensor:
        found = perturbation_scores(
            divided.faster(), divided.images, divided.ranked, divided.classes, ['deletion'], FLIPS
        )
        return found.deletion.scores[:, 1:]

    def flat(metric: type, figure: Callable[[Tensor], Tensor], what: str) -> Pair:
        one = metric(abs=True, **names)
        job = lambda: torch.tensor(one(**usual, a_batch=maps[:, None].numpy().copy())).float()  # noqa: E731
        return Pair(what, given.network, 'Quantus', lambda: figure(maps), job, '≥ 10')

    def replayed(noise: Iterator[Tensor]) -> Callable[..., np.ndarray]:
        return lambda arr, **options: arr + next(noise).flatten(1).numpy()

    def sensitivity() -> Tensor:
        noise = replayed(iter(draws_of(images)))
        metric = quantus.MaxSensitivity(nr_samples=DRAWS, lower_bound=0.2, perturb_func=noise, abs=False, **names)
        found = metric(**usual, a_batch=own[:, None].numpy().copy(), explain_func=explain_func, batch_size=len(images))
        return torch.tensor(found)

    def ours() -> Tensor:
        return max_sensitivity(images, own, partial(drawn, explainer), classes, samples=DRAWS)

    return [
        flat(quantus.Sparseness, sparseness, 'sparseness'),
        flat(quantus.Complexity, complexity, 'complexity'),
        Pair(
            f'pixel flipping, {FLIPS} steps',
            given.network,
            'Quantus',
            deletion,
            flipping,
            '≥ 10',
            f'images of {divided.images.shape[2]}², which its steps divide',
        ),
        Pair(
            f'max-sensitivity, {DRAWS} draws',
            given.network,
            'Quantus',
            ours,
            sensitivity,
            '≥ 10',
            'the same noise; both explain by our Grad-CAM, one forward pass a draw',
        ),
    ]


def main() -> None:
    args = parse_args()
    warnings.filterwarnings('ignore')
    torch.set_num_threads(args.threads)
    given, smaller = (example(name, args.images, args.size) for name in ('resnet50', 'mobilenet_v2'))
    impute(torch.rand(1, 3, 8, 8), torch.rand(1, 8, 8) > 0.5)  # compiled once
    pairs: list[Pair] = []
    for make in (torchcam_pairs, gradcam_pairs, together, quantus_pairs):
        try:
            pairs += make(given, smaller)
        except ImportError as error:
            print(f'{make.__name__} are left out: {error}')
    rows: list[Row] = []
    for pair in pairs:
        if args.only and args.only not in f'{pair.what} {pair.alternative} {pair.network}':
            continue
        rows.append(row_of(pair, args))
        row = rows[-1]
        print(
            f'{row.what}: {row.ours}, {row.alternative} {row.alternative_value}, {row.figure:.2f} × {row.met} '
            f'({row.note})',
            flush=True,
        )
        save_rows(rows, args.json)  # what is measured is kept, whatever becomes of the next one
    print(f'load {load_average()}')


def row_of(pair: Pair, args: argparse.Namespace) -> Row:
    """The pair measured; short jobs in many more rounds, as a clock's tick is no small part of them."""
    results: dict[str, Tensor] = {}
    jobs = {
        'ours': lambda: results.update(ours=pair.ours()),
        'theirs': lambda: results.update(theirs=pair.theirs()),
    }
    short = pair.what in ('sparseness', 'complexity')
    # What takes many forward passes is warm already: the networks have run, the kernels are compiled.
    times = interleaved(jobs, 10 * args.rounds, warm_up=1) if short else interleaved(jobs, args.rounds, warm_up=0)
    apart = float((results['ours'].double() - results['theirs'].double()).abs().max())
    if not apart <= TOLERANCE:
        raise ValueError(f'{pair.what}: ours and {pair.alternative} differ by {apart:g}')
    note = '; '.join(
        part for part in (f'figures {apart:.0e} apart', f'processor time, {args.threads} thread(s)', pair.note) if part
    )
    ours, theirs = (np.median(times[name].cpu) for name in ('ours', 'theirs'))
    called = {'resnet50': 'ResNet-50', 'mobilenet_v2': 'MobileNetV2'}[pair.network]
    return Row(
        f'faithfulness: {pair.what}, {args.images} images of {args.size}², {called}',
        seconds(ours),
        pair.alternative,
        seconds(theirs),
        paired_ratio(times['theirs'].cpu, times['ours'].cpu),
        target=pair.target,
        note=note,
    )


def seconds(value: float) -> str:
    return f'{1000 * value:.3g} ms' if value < 1 else f'{value:.3g} s'


if __name__ == '__main__':
    main()
