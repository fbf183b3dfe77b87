# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Figures of faithfulness beside torch-cam, grad-cam and Quantus, in one run: ``python benchmarks/faithfulness.py``.

Every library judges the same maps of the same images by the same random ResNet-50, as its documentation shows:
torch-cam deletion and insertion, grad-cam ROAD at nine percentages, Quantus sparseness, complexity, pixel flipping and
max-sensitivity. Ours makes its faster copy of the network within the time that is measured. The results are compared
where the definitions agree; a package that is not installed is left out by name.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from measure import Row, interleaved, load_average, paired_ratio, save_rows
from torch import Tensor
from torchvision.models import resnet50

from mmentropy.explain import build_explainer
from mmentropy.ops.faithfulness.concentration import complexity, sparseness
from mmentropy.ops.faithfulness.inference_copy import inference_copy
from mmentropy.ops.faithfulness.perturbation import perturbation_scores, removal_ranks
from mmentropy.ops.faithfulness.sanity import max_sensitivity

STEPS = 20


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=4)
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--only', help='comparisons that name this, such as ROAD or Quantus')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--json', type=Path, help='also write the rows of docs/benchmarks.md there')
    return parser.parse_args()


def example(args: argparse.Namespace) -> tuple[torch.nn.Module, Tensor, Tensor, Tensor]:
    """The network, smooth random images, the maps of their predicted classes drawn over them, and the classes."""
    torch.manual_seed(0)
    model = resnet50().eval()
    with torch.no_grad():  # a random network says the same of every image: its classifier is sharpened
        model.fc.weight.mul_(30)
    images = torch.nn.functional.interpolate(
        torch.randn(args.images, 3, 14, 14), size=(args.size, args.size), mode='bicubic', align_corners=False
    )
    with torch.no_grad():
        classes = model(images).argmax(1)
    maps = build_explainer('grad_cam', model, grid='half_pixel')(images, classes[:, None]).maps
    # As torch-cam has it: brought to [0, 1] at feature resolution, then enlarged.
    maps = maps[:, 0]
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    maps = (maps - low) / (high - low)
    maps = torch.nn.functional.interpolate(maps[:, None], size=images.shape[2:], mode='bilinear')[:, 0]
    return model, images, maps, classes


@dataclass
class Pair:
    """One measurement: both jobs give the figures that are compared; None where the definitions differ."""

    what: str
    alternative: str
    ours: Callable[[], Tensor]
    theirs: Callable[[], Tensor]
    target: str
    tolerance: float | None = 1e-4
    note: str = ''


def torchcam_pair(model, images: Tensor, maps: Tensor, classes: Tensor) -> Pair:
    from torchcam.metrics import DeletionInsertionMetric

    class Given:
        """An extractor that has its map already: what is timed is the metric."""

        def __init__(self) -> None:
            self.model = model

        def __call__(self, class_idx=None, scores=None, normalized=True, **options):
            return [maps]

        def fuse_cams(self, cams):
            return cams[0]

        def _hooks_off(self):
            from contextlib import nullcontext

            return nullcontext()

    def theirs() -> Tensor:
        metric = DeletionInsertionMetric(Given(), lambda logits: logits.softmax(-1), steps=STEPS)
        metric.update(images, classes.tolist())
        found = metric.summary()
        return torch.tensor([found['deletion_auc'], found['insertion_auc']])

    def ours() -> Tensor:
        found = perturbation_scores(
            inference_copy(model, images[:1]),
            images,
            maps,
            classes,
            ['deletion', 'insertion'],
            STEPS,
            insertion_baseline='zero',
        )
        return torch.stack([found.deletion.area.mean(), found.insertion.area.mean()])

    return Pair(f'deletion and insertion, {STEPS} steps', 'torch-cam', ours, theirs, '≥ 2')


def gradcam_pair(model, images: Tensor, maps: Tensor, classes: Tensor) -> Pair:
    from pytorch_grad_cam.metrics import road
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget

    targets = [ClassifierOutputSoftmaxTarget(int(c)) for c in classes]
    ranked = distinct(maps)

    def theirs() -> Tensor:
        # Its noise, which is drawn anew each time, is left out so that the figures can be compared.
        usual, road.NoisyLinearImputer.__init__.__defaults__ = (
            road.NoisyLinearImputer.__init__.__defaults__,
            (
                0.0,
                road.neighbors_weights,
            ),
        )
        try:
            return torch.from_numpy(road.ROADCombined()(images, ranked.numpy(), targets, model))
        finally:
            road.NoisyLinearImputer.__init__.__defaults__ = usual

    def ours() -> Tensor:
        faster = inference_copy(model, images[:1])
        return perturbation_scores(faster, images, ranked, classes, ['road'], road_noise=0.0).road

    return Pair('ROAD at 9 percentages, both orders', 'grad-cam', ours, theirs, '≥ 5')


def distinct(maps: Tensor) -> Tensor:
    """The places of the pixels, from 1 down: grad-cam removes by a threshold, which leaves ties where they are."""
    return 1 - removal_ranks(maps) / maps[0].numel()


def quantus_pairs(model, images: Tensor, maps: Tensor, classes: Tensor) -> list[Pair]:
    import quantus

    x, y, a = images.numpy(), classes.numpy(), maps[:, None].numpy()
    usual = dict(model=model, x_batch=x, y_batch=y, a_batch=a, device='cpu')
    explainer = build_explainer('grad_cam', model, grid='half_pixel')

    def explain(inputs: Tensor, targets: Tensor) -> Tensor:
        found = explainer(inputs, targets[:, None]).maps
        return torch.nn.functional.interpolate(found, size=inputs.shape[2:], mode='bilinear')[:, 0]

    def explain_func(model, inputs, targets, **options):
        return explain(torch.as_tensor(inputs).float(), torch.as_tensor(targets).long())[:, None].numpy()

    own = explain(images, classes)
    names = dict(disable_warnings=True, display_progressbar=False)

    def curve() -> Tensor:
        metric = quantus.PixelFlipping(
            features_in_step=images.shape[2] * images.shape[3] // STEPS,
            perturb_baseline='black',
            abs=False,
            normalise=False,
            return_auc_per_sample=True,
            **names,
        )
        return torch.tensor(metric(**usual))

    def deletion() -> Tensor:
        faster = inference_copy(model, images[:1])
        return perturbation_scores(faster, images, maps, classes, ['deletion'], STEPS).deletion.area

    def flat(metric: type, figure: Callable[[Tensor], Tensor], what: str) -> Pair:
        one = metric(abs=True, normalise=False, **names)
        return Pair(what, 'Quantus', lambda: figure(maps), lambda: torch.tensor(one(**usual)).float(), '≥ 10')

    def sensitivity() -> Tensor:
        metric = quantus.MaxSensitivity(nr_samples=5, lower_bound=0.2, normalise=False, abs=False, **names)
        return torch.tensor(
            metric(**{**usual, 'a_batch': own[:, None].numpy()}, explain_func=explain_func, batch_size=len(x))
        )

    return [
        flat(quantus.Sparseness, sparseness, 'sparseness'),
        flat(quantus.Complexity, complexity, 'complexity'),
        Pair(
            f'pixel flipping (deletion), {STEPS} steps',
            'Quantus',
            deletion,
            curve,
            '≥ 10',
            None,
            'Quantus ranks every channel of a pixel by itself, and takes 3 × as many steps',
        ),
        Pair(
            'max-sensitivity, 5 draws',
            'Quantus',
            lambda: max_sensitivity(images, own, explain, classes, samples=5),
            sensitivity,
            '≥ 10',
            None,
            'other noise; the explanation, which both ask for, takes the time',
        ),
    ]


def main() -> None:
    args = parse_args()
    warnings.filterwarnings('ignore')
    given = example(args)
    pairs: list[Pair] = []
    rows: list[Row] = []
    for name, make in (('torchcam', torchcam_pair), ('grad-cam', gradcam_pair), ('quantus', quantus_pairs)):
        try:
            made = make(*given)
        except ImportError as error:
            print(f'{name} is left out: {error}')
            continue
        pairs += made if isinstance(made, list) else [made]
    for pair in pairs:
        if args.only and args.only not in f'{pair.what} {pair.alternative}':
            continue
        results: dict[str, Tensor] = {}
        jobs = {
            'ours': lambda pair=pair, results=results: results.update(ours=pair.ours()),
            'theirs': lambda pair=pair, results=results: results.update(theirs=pair.theirs()),
        }
        times = interleaved(jobs, args.rounds)
        ratio = paired_ratio(times['theirs'].cpu, times['ours'].cpu)
        apart = float((results['ours'].double() - results['theirs'].double()).abs().max())
        note = pair.note
        if pair.tolerance is not None:
            note = f'figures {apart:.0e} apart'
            if apart > pair.tolerance:
                raise ValueError(f'{pair.what}: ours and {pair.alternative} differ by {apart:g}')
        rows.append(
            Row(
                f'faithfulness: {pair.what}, {args.images} images of {args.size}², ResNet-50',
                f'{np.median(times["ours"].cpu):.3g} s',
                pair.alternative,
                f'{np.median(times["theirs"].cpu):.3g} s',
                ratio,
                target=pair.target,
                note=f'{note}; processor time',
            )
        )
        row = rows[-1]
        print(
            f'{row.what}: {row.ours}, {row.alternative} {row.alternative_value}, {ratio:.2f} × {row.met} ({note})',
            flush=True,
        )
    print(f'load {load_average()}')
    save_rows(rows, args.json)


if __name__ == '__main__':
    main()
