# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Class maps of a random ResNet-50, ours beside grad-cam and torchcam, in one run: ``python benchmarks/explain.py``.

Each library is called as its documentation shows, forward pass included, and the best of some rounds is taken, the
rounds of the libraries interleaved so that a busy machine slows all alike. grad-cam takes one class an image, so K
classes are K calls; torchcam extracts from one forward pass, one class index for the batch (or one an image) a call.
Both packages are optional; one that is not installed is left out by name.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from measure import Row, save_rows


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=8)
    parser.add_argument('--classes', type=int, default=3, help='classes an image, beside the run over all 1000')
    parser.add_argument('--few', type=int, default=2, help='images for the other explainers')
    parser.add_argument('--ablation-share', type=int, default=64, help='grad-cam ablates one channel in so many')
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--all-share', type=int, default=100, help='the others do one in so many of all classes')
    parser.add_argument('--json', type=Path, help='also write the rows of docs/benchmarks.md there')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    return parser.parse_args()


def ours(model, images, classes) -> dict[str, Callable]:
    from mmentropy.explain import build_explainer

    explainers = {name: build_explainer(name, model) for name in ('cam', 'grad_cam', 'layer_cam')}
    for explainer in explainers.values():
        explainer(images[:1])  # finds the layer: once a model, not once a batch
    return {f'ours {name}': (lambda e=e: e(images, classes)) for name, e in explainers.items()}


def theirs_grad_cam(model, images, classes) -> dict[str, Callable]:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    cam = GradCAM(model=model, target_layers=[model.layer4])

    def run() -> None:
        for k in range(classes.shape[1]):
            cam(images, [ClassifierOutputTarget(int(c)) for c in classes[:, k]])

    return {'grad-cam GradCAM': run}


def theirs_torchcam(model, images, classes) -> dict[str, Callable]:
    from torchcam.methods import CAM, GradCAM

    def run(kind: type, **options) -> None:
        with kind(model, target_layer='layer4', **options) as extractor:
            scores = model(images)
            for k in range(classes.shape[1]):
                last = k + 1 == classes.shape[1]
                extra = {} if kind is CAM else {'retain_graph': not last}
                extractor(classes[:, k].tolist(), scores, **extra)

    def cam() -> None:
        with torch.no_grad():
            run(CAM, fc_layer='fc')

    return {'torchcam CAM': cam, 'torchcam GradCAM': lambda: run(GradCAM)}


def measure(jobs: dict[str, Callable], rounds: int, device: str) -> dict[str, float]:
    """Seconds of each job, the best of some interleaved rounds."""
    best = dict.fromkeys(jobs, float('inf'))
    for number in range(rounds + 1):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            if device.startswith('cuda'):
                torch.cuda.synchronize()
            if number:  # the first round warms up
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def main() -> None:
    import torchvision

    args = parse_args()
    torch.manual_seed(0)
    model = torchvision.models.resnet50().eval().to(args.device)
    images = torch.randn(args.images, 3, args.size, args.size, device=args.device)
    rows = []
    some = torch.randint(1000, (args.images, args.classes), device=args.device)
    everything = torch.arange(1000, device=args.device).expand(args.images, -1)
    share = everything[:, :: args.all_share]
    print(f'ResNet-50, {args.images} images of {args.size} pixels, {args.device}, {torch.get_num_threads()} thread(s)')
    for title, table, part in ((f'{args.classes} classes', some, some), ('all 1000 classes', everything, share)):
        jobs = {'forward pass alone': lambda: forward(model, images), **ours(model, images, table)}
        for library, make in (('grad-cam', theirs_grad_cam), ('torchcam', theirs_torchcam)):
            try:
                jobs |= make(model, images, part)
            except ImportError:
                print(f'{library} is not installed: left out')
        times = measure(jobs, args.rounds, args.device)
        times = {name: whole(name, seconds, times, table, part) for name, seconds in times.items()}
        note = '' if part is table else f' (the others did {part.shape[1]}, the rest is extrapolated)'
        print(f'\n{title}{note}')
        for name, seconds in times.items():
            print(f'  {name:18s} {seconds:9.3f} s   {seconds / times["ours cam"]:8.2f} x ours cam')
        rows += rows_of(times, f'{args.images} images, {title}', part is table, note)
    print('\nthe other explainers')
    rows += newer_methods(args)
    save_rows(rows, args.json)


#: Which of ours stands beside which of theirs, and how many times as fast it is to be for a few classes.
PAIRS = {
    'grad-cam GradCAM': ('ours grad_cam', '≥ 5'),
    # Both are one forward pass for a few classes, and the clock is no finer than 5 %.
    'torchcam CAM': ('ours cam', '≥ 0.95'),
    'torchcam GradCAM': ('ours grad_cam', '≥ 0.95'),
}


def rows_of(times: dict[str, float], where: str, few: bool, note: str) -> list[Row]:
    """The rows of docs/benchmarks.md; for all classes ours has to be faster than each."""
    rows = []
    for other, (name, target) in PAIRS.items():
        if other in times:
            target = target if few or other.startswith('grad-cam') else '≥ 1.0'
            values = f'{times[name]:.2f} s', other, f'{times[other]:.2f} s'
            rows.append(
                Row(f'{name[5:]}, {where}', *values, times[other] / times[name], '×', target, note.strip(' ()'))
            )
    return rows


def newer_methods(args: argparse.Namespace) -> list[Row]:
    """The other explainers beside theirs, one class an image, each as its library's documentation shows."""
    import torchvision

    from mmentropy.explain import build_explainer

    torch.manual_seed(0)
    model = torchvision.models.resnet50().eval().to(args.device)
    vit = torchvision.models.VisionTransformer(args.size, 16, 12, 6, 384, 1536).eval().to(args.device)
    torch.nn.init.normal_(vit.heads.head.weight, std=0.02)
    images = torch.randn(args.few, 3, args.size, args.size, device=args.device)
    classes = torch.randint(1000, (args.few,)).tolist()
    networks = {'legrad': vit}
    jobs: dict[str, Callable] = {}
    for name in ('hires_cam', 'finer_cam', 'eigen_cam', 'ablation_cam', 'refine_cam', 'legrad'):
        explainer = build_explainer(name, networks.get(name, model))
        explainer(images, classes)  # finds layers and grids: once a model
        jobs[f'ours {name}'] = lambda e=explainer: e(images, classes)
    for library, make in (('grad-cam', newer_of_grad_cam), ('torchcam', newer_of_torchcam)):
        try:
            jobs |= make(model, vit, images, classes, args.ablation_share)
        except ImportError:
            print(f'{library} is not installed: left out')
    times = measure(jobs, args.rounds, args.device)
    rows = []
    for other, seconds in times.items():
        library, _, method = other.partition(' ')
        if library == 'ours':
            continue
        theirs = seconds * args.ablation_share if method == 'ablation_cam' else seconds
        ours = times[f'ours {method}']
        note = f'theirs did 1 channel of {args.ablation_share}, the rest is extrapolated' if theirs != seconds else ''
        print(f'  {method:14s} ours {ours:8.3f} s   {library} {theirs:9.3f} s   {theirs / ours:8.2f} x')
        where = f'{method}, {args.few} images, 1 class'
        values = f'{ours:.2f} s', library, f'{theirs:.2f} s', theirs / ours
        rows.append(Row(where, *values, '×', '≥ 2' if library == 'grad-cam' else '≥ 0.95', note))
    return rows


def newer_of_grad_cam(model, vit, images, classes, share: int) -> dict[str, Callable]:
    from pytorch_grad_cam import AblationCAM, EigenCAM, FinerCAM, HiResCAM, RefineCAM
    from pytorch_grad_cam.ablation_layer import AblationLayer
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    targets = [ClassifierOutputTarget(c) for c in classes]
    jobs: dict[str, Callable] = {}
    for name, kind in {'hires_cam': HiResCAM, 'eigen_cam': EigenCAM}.items():
        cam = kind(model=model, target_layers=[model.layer4])
        jobs[f'grad-cam {name}'] = lambda c=cam: c(images, targets)
    finer = FinerCAM(model=model, target_layers=[model.layer4])
    jobs['grad-cam finer_cam'] = lambda: finer(images)
    refine = RefineCAM(model=model, target_layers=[model.layer2, model.layer3, model.layer4])
    jobs['grad-cam refine_cam'] = lambda: refine(images, targets)

    class Some(AblationLayer):
        """Every so many channels: all would take minutes."""

        def activations_to_be_ablated(self, activations, ratio_channels_to_ablate=1.0):
            self.indices = torch.arange(0, activations.shape[0], share).numpy()
            return self.indices

    jobs['grad-cam ablation_cam'] = lambda: AblationCAM(
        model=model, target_layers=[model.layer4], ablation_layer=Some()
    )(images, targets)
    return jobs


def newer_of_torchcam(model, vit, images, classes, share: int) -> dict[str, Callable]:
    from torchcam.methods import FinerCAM, LeGrad, RefineCAM

    def finer() -> None:
        with FinerCAM(model, 'layer4') as extractor:
            extractor(classes, model(images))

    def refine() -> None:
        with RefineCAM(model, ['layer2', 'layer3', 'layer4']) as extractor:
            extractor(classes, model(images))

    def legrad() -> None:
        with LeGrad(vit, list(vit.encoder.layers)) as extractor:
            extractor(classes, vit(images))

    return {'torchcam finer_cam': finer, 'torchcam refine_cam': refine, 'torchcam legrad': legrad}


def forward(model, images) -> None:
    with torch.no_grad():
        model(images)


def whole(name: str, seconds: float, times: dict[str, float], table, part) -> float:
    """Time for all classes from that for a part: torchcam's one forward pass serves all, grad-cam repeats it."""
    factor = table.shape[1] / part.shape[1]
    if not name.startswith(('grad-cam', 'torchcam')):
        return seconds
    once = times['forward pass alone'] if name.startswith('torchcam') else 0.0
    return once + max(0.0, seconds - once) * factor


if __name__ == '__main__':
    main()
