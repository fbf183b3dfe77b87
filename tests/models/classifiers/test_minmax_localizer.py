# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from __future__ import annotations

import math
import weakref
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from minmax_models import build, found, images, samples, sgd, total, weights
from mmengine.config import Config
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmentropy.engine import CpuAmpOptimWrapper
from mmentropy.models import MinMaxLocalizer
from mmentropy.models.classifiers.minmax_localizer import Mask, Rest

ROOT = Path(__file__).resolve().parents[3]


class Smooth(nn.Module):
    """Two convolutions and tanh: finite differences meet no kink of a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 6, 3, 2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (self.b(self.a(x).tanh()).tanh(),)


def smooth(**options) -> tuple[MinMaxLocalizer, Tensor, list[int]]:
    """Model, images and labels in float64: samples 0 and 1 right, 2 wrong from the start."""
    torch.manual_seed(3)
    model = build(backbone=Smooth(), **options).double()
    nn.init.normal_(model.localizer.fc.weight, std=2.0)
    x = images(3, 16).double()
    labels = found(model, x)
    labels[2] = (labels[2] + 1) % 4
    return model, x, labels


def by_hand(model: MinMaxLocalizer, x: Tensor, labels: list[int], frozen: list | None = None) -> Tensor:
    """The whole loss as one plain graph, written from the formulae; ``frozen`` replaces ψ and the erased images."""
    y, options = torch.tensor(labels), model.erasing

    def mask_of(image: Tensor) -> tuple[Tensor, Tensor]:
        f = model.backbone(image)[-1]
        fc = model.localizer.fc
        maps = F.conv2d(f, fc.weight[:, :, None, None], fc.bias).unflatten(1, (4, 5)).mean(2)
        count = max(1, round(0.09 * maps[0, 0].numel()))
        scores = maps.flatten(2).sort(-1, descending=True).values[..., :count].mean(-1)
        soft = (scores.softmax(1)[:, :, None, None] * maps).sum(1, keepdim=True)
        soft = F.interpolate(soft, image.shape[2:], mode='bilinear')
        low, high = soft.flatten(1).min(1).values, soft.flatten(1).max(1).values
        normal = (soft - low.view(-1, 1, 1, 1)) / (high - low).view(-1, 1, 1, 1)
        return scores, 1 / (1 + torch.exp(-8 * (normal - model.sigma)))

    if options.steps == 0:
        scores, mask = mask_of(x)
        localizer = -scores.log_softmax(1)[range(3), y].mean()
    else:
        image, mask, alive, localizer, record = x, torch.zeros_like(x[:, :1]), torch.ones(3), 0.0, []
        first = torch.full((3,), torch.inf)
        for t in range(options.steps):
            if frozen is not None:
                image = frozen[t][1]
            scores, now = mask_of(image)
            losses = -scores.log_softmax(1)[range(3), y]
            localizer = localizer + (alive * losses).sum() / 3
            first = losses.detach() if t == 0 else first
            alive = alive * (scores.argmax(1) == y)
            psi = math.exp(-t / 10) * alive * (losses <= first) * scores.softmax(1).max(1).values
            if frozen is not None:
                psi = frozen[t][0]
            elif not options.through_images:
                psi = psi.detach()
            record.append((psi.detach(), image.detach()))
            mask = torch.maximum(mask, psi.view(-1, 1, 1, 1) * now)
            image = image * (1 - (mask if options.through_images else mask.detach()))
        by_hand.record = record

    def classify(image: Tensor) -> Tensor:
        return model.head(model.backbone(0.5 * image))

    positive = -classify(x * mask).log_softmax(1)[range(3), y].mean()
    log_p = classify(x * (1 - mask)).log_softmax(1)
    rest = (log_p.exp() * log_p).sum(1) if model.rest.loss == 'eem' else -log_p.mean(1)
    area, t = mask.mean((1, 2, 3)), model.barrier_t.item()
    barrier = sum(
        torch.where(s >= 1 / t**2, -(s.clamp(min=1e-9).log()) / t, -t * s - math.log(1 / t**2) / t + 1 / t)
        for s in (area, 1 - area)
    )
    return positive + model.rest.weight * rest.mean() + barrier.mean() + localizer


def gradient(model: nn.Module, loss: Tensor) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


@torch.no_grad()
def slope(model: nn.Module, loss, direction: Tensor, eps: float = 1e-6) -> float:
    """Finite difference of the loss along a direction in the space of all parameters."""
    values = []
    for sign in (1, -2):
        start = 0
        for p in model.parameters():
            p += sign * eps * direction[start : start + p.numel()].view_as(p)
            start += p.numel()
        values.append(loss().item())
    start = 0
    for p in model.parameters():
        p += eps * direction[start : start + p.numel()].view_as(p)
        start += p.numel()
    return (values[0] - values[1]) / (2 * eps)


@pytest.mark.parametrize('negative', ['sem', 'eem'])
@pytest.mark.parametrize('through', [True, False])
@pytest.mark.parametrize('steps', [0, 1, 3])
def test_gradient_of_the_whole_loss(steps, through, negative):
    options = dict(steps=steps, start_epoch=0, through_images=through)
    model, x, labels = smooth(erasing=options, negative=negative, negative_weight=0.3)
    loss = total(model(x, samples(labels), mode='loss'))
    expected = by_hand(model, x, labels)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    analytic = gradient(model, loss)
    torch.testing.assert_close(analytic, gradient(model, expected), rtol=1e-8, atol=1e-11)
    # Through the images it is the derivative of the loss itself, else of the loss with ψ and erased images held.
    frozen = None if through or steps == 0 else by_hand.record
    for seed in range(4):
        direction = torch.randn(analytic.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        numeric = slope(model, lambda: by_hand(model, x, labels, frozen), direction)
        assert (analytic @ direction).item() == pytest.approx(numeric, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize('norm', ['GN', 'BN'])
@pytest.mark.parametrize('through', [True, False])
def test_pass_by_pass_equals_one_graph(norm, through):
    """With batch norm, too: the second computation sees the same batch, and its statistics are counted once."""
    results = []
    for recompute in (True, False):
        erasing = dict(steps=4, start_epoch=0, through_images=through)
        model = build(norm, erasing=erasing, recompute=recompute, negative_weight=0.1)
        x = images()
        labels = found(model, x)
        labels[0] = (labels[0] + 1) % 4
        loss = total(model(x, samples(labels), mode='loss'))
        loss.backward()
        buffers = torch.cat([b.flatten().double() for b in model.buffers()])
        results.append((loss.detach(), torch.cat([p.grad.flatten() for p in model.parameters()]), buffers))
    scale = results[1][1].abs().max()
    assert abs(results[0][0] - results[1][0]) <= 1e-6
    assert ((results[0][1] - results[1][1]).abs().max() / scale).item() <= 1e-6
    assert torch.equal(results[0][2], results[1][2])


class Living(TorchDispatchMode):
    """Bytes of the tensors that are alive, and their peak, in forward and backward."""

    def __init__(self) -> None:
        super().__init__()
        self.seen, self.now, self.peak = set(), 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor) and id(tensor.untyped_storage()) not in self.seen:
                storage = tensor.untyped_storage()
                self.seen.add(id(storage))
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self.gone, id(storage), storage.nbytes())
        return out

    def gone(self, key: int, size: int) -> None:
        self.seen.discard(key)
        self.now -= size


def peak(steps: int, recompute: bool = True) -> int:
    model = build(erasing=dict(steps=steps, start_epoch=0), recompute=recompute)
    x = images(4, 64)
    labels = found(model, x)
    with Living() as living:
        losses = model(x, samples(labels), mode='loss')
        total(losses).backward()
    assert losses['passes'].item() == max(steps, 1)
    return living.peak


def test_memory_does_not_grow_with_the_passes():
    plain = peak(0)
    assert peak(4) <= 1.3 * plain
    assert peak(8) <= 1.3 * plain
    assert peak(4, recompute=False) > 1.6 * plain  # the measure sees what is saved


def test_detached_mask_leaves_the_localizer_its_own_loss_alone():
    model, x, labels = smooth(detach_mask=True, area_constraint=False, negative='ce_uniform', erasing=dict(steps=0))
    assert model.rest.weight == 1
    losses = model(x, samples(labels), mode='loss')
    head = list(model.localizer.parameters())
    for name in ('loss_cls', 'loss_negative'):
        assert all(g is None for g in torch.autograd.grad(losses[name], head, retain_graph=True, allow_unused=True))
    assert all((g != 0).any() for g in torch.autograd.grad(losses['loss_localizer'], head))
    joined, x, labels = smooth(area_constraint=False, negative='ce_uniform', erasing=dict(steps=0))
    grads = torch.autograd.grad(
        joined(x, samples(labels), mode='loss')['loss_cls'], list(joined.localizer.parameters())
    )
    assert (grads[0] != 0).any()


def test_first_version_is_the_sum_of_three_cross_entropies():
    model, x, labels = smooth(area_constraint=False, negative='ce_uniform', detach_mask=True)
    losses = model(x, samples(labels), mode='loss')
    assert set(losses) == {'loss_localizer', 'loss_cls', 'loss_negative', 'area', 'passes'}
    with torch.no_grad():
        mask = model.localize(x)[1]
        log_p = model.head(model.backbone(0.5 * x * (1 - mask))).log_softmax(1)
        uniform = torch.full_like(log_p, 0.25)
    torch.testing.assert_close(losses['loss_negative'].detach(), -(uniform * log_p).sum(1).mean())


def test_a_weight_of_zero_leaves_out_the_pass_on_the_rest():
    model, x, labels = smooth(negative_weight=0.0)
    calls = []
    model.backbone.register_forward_hook(lambda *_: calls.append(1))
    assert 'loss_negative' not in model(x, samples(labels), mode='loss')
    assert len(calls) == 2


def test_prediction_is_one_pass_and_the_mask_travels_as_a_map():
    model = build(erasing=dict(steps=4, start_epoch=0)).eval()
    x = images(3)
    calls = []
    model.backbone.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        out = model(x, samples([0, 1, 2]), mode='predict')
        assert len(calls) == 2
        mask = model.localize(x)[1]
        scores = model.head(model.backbone(0.5 * x * mask)).softmax(1)
        entropy = model.localizer.entropy_map(model.backbone(x)[-1])
        torch.testing.assert_close(model(x).softmax(1), scores)
    for n, sample in enumerate(out):
        assert sample.cam_labels.tolist() == [-1]
        assert sample.cams.shape == (1, 32, 32)
        torch.testing.assert_close(sample.cams, mask[n], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(sample.pred_score, scores[n], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(sample.entropy_map, entropy[n], rtol=1e-4, atol=1e-5)


def test_every_metric_reads_the_mask():
    """A mask that is right to the pixel: the metrics say so."""
    from mmentropy.registry import METRICS

    truth = torch.zeros(32, 32, dtype=torch.uint8)
    truth[8:20, 4:28] = 1
    sample = samples([2])[0]
    sample.set_field(truth[None].float() * 0.9, 'cams')
    sample.set_field(torch.tensor([-1]), 'cam_labels')
    for name, value in (('gt_mask', truth), ('part_mask', truth), ('gt_bboxes', torch.tensor([[4.0, 8, 28, 20]]))):
        sample.set_field(value, name, field_type='data') if name == 'gt_mask' else sample.set_field(value, name)
    sample.set_pred_score(torch.tensor([0.1, 0.1, 0.7, 0.1])).set_pred_label(2)
    sample.set_field((32, 32), 'ori_shape', field_type='metainfo')
    sample.set_field(torch.ones(4, 4), 'entropy_map')
    expected = {
        'DiceMetric': {'wsol/F1+': 100, 'wsol/F1-': 100, 'wsol/error': 0},
        'PixelLocalizationMetric': {'wsol/PxAP': 100},
        'PartCoverageMetric': {'wsol/mass_background': 0},
        'BoxLocalizationMetric': {'wsol/GT-known': 100},
    }
    for name, figures in expected.items():
        options = dict(eval_size=32) if name in ('BoxLocalizationMetric', 'PixelLocalizationMetric') else {}
        metric = METRICS.build(dict(type=name, **options))
        metric.process(None, [sample.to_dict()])
        result = metric.evaluate(1)
        for key, value in figures.items():
            assert result[key] == pytest.approx(value, abs=1e-6), (name, key)


@pytest.mark.parametrize('method', ['grad_cam', 'layer_cam'])
def test_explainers_work_on_it(method):
    from mmentropy.explain import build_explainer

    maps = build_explainer(method, build().eval())(images(2), [[0, 3], [1, 2]])
    assert maps.maps.shape[:2] == (2, 2)
    assert torch.isfinite(maps.maps).all()
    assert maps.maps.flatten(2).std(-1).max() > 0


def test_a_crf_sharpens_the_predicted_mask_and_nothing_else():
    """On a white square whose mask is blurred the CRF moves the mask's edge to the square's."""
    mean, std = [127.5] * 3, [63.75] * 3
    plain = build().eval()
    sharp = build(crf=dict(bilateral=(20.0, 13.0, 10.0), iterations=5)).eval()
    for model in (plain, sharp):
        model.data_preprocessor.mean = torch.tensor(mean).view(-1, 1, 1)
        model.data_preprocessor.std = torch.tensor(std).view(-1, 1, 1)
    pixels = torch.zeros(1, 3, 32, 32)
    pixels[:, :, 8:24, 8:24] = 255
    x = (pixels - 127.5) / 63.75
    torch.testing.assert_close(sharp.grey_levels(x), pixels)
    yy, xx = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing='ij')
    blurred = torch.exp(-((yy - 15.5) ** 2 + (xx - 15.5) ** 2) / 200)[None, None]
    refined = sharp.crf.refine(blurred[0], pixels[0])
    truth = pixels[0, :1] > 0
    before, after = (((mask >= 0.5) == truth).float().mean() for mask in (blurred[0], refined))
    assert before < 0.97
    assert after == 1
    with torch.no_grad():
        a, b = plain(x, samples([0]), mode='predict')[0], sharp(x, samples([0]), mode='predict')[0]
    assert torch.equal(a.pred_score, b.pred_score)
    torch.testing.assert_close(b.cams, sharp.crf.refine(a.cams, pixels[0]))


def test_entropy_pooling_for_the_classifier():
    options = dict(neck=dict(type='mmentropy.EntropyPooling'), head=dict(type='mmentropy.CAMHead'))
    model = build(**options, erasing=dict(steps=2, start_epoch=0))
    assert model.neck.classifier is model.head.fc
    loss = total(model(images(), samples([0, 1, 2, 3, 0, 1]), mode='loss'))
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    with torch.no_grad():
        x = images(2)
        pooled = model.neck(model.backbone(0.5 * x * model.localize(x)[1]))[-1]
        torch.testing.assert_close(model(x), model.head.fc(pooled))


def test_any_backbone():
    backbone = dict(
        type='mmpretrain.ConvNeXt', arch=dict(depths=[1, 1, 1, 1], channels=[4, 8, 12, 20]), gap_before_final_norm=False
    )
    model = build(backbone=backbone, erasing=dict(steps=2, start_epoch=0))
    total(model(images(2, 64), samples([0, 1]), mode='loss')).backward()
    assert model.localizer.in_channels == model.head.in_channels == 20
    assert model.backbone.stages[0][0].depthwise_conv.weight.grad.abs().sum() > 0


def test_gradient_accumulation_is_the_whole_batch():
    ends = []
    x = images(8)
    for parts in (1, 2):
        model = build(erasing=dict(steps=3, start_epoch=0))
        labels = found(model, x)
        labels[1] = (labels[1] + 1) % 4
        optim = sgd(model, accumulative_counts=parts)
        for i in range(parts):
            share = slice(i * 8 // parts, (i + 1) * 8 // parts)
            model.train_step(dict(inputs=x[share], data_samples=samples(labels[share])), optim)
        ends.append(weights(model))
    assert (ends[0] - weights(build())).abs().max() > 1e-4
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-5, atol=1e-6)


def test_mixed_precision_recomputes_in_the_same_precision():
    """bfloat16: the second computation of a pass is the first one to the bit, and the mask stays float32."""
    steps = []
    for recompute in (True, False):
        model = build(erasing=dict(steps=3, start_epoch=0), recompute=recompute)
        x = images()
        optim = sgd(model, wrapper=CpuAmpOptimWrapper)
        start = weights(model)
        logged = model.train_step(dict(inputs=x, data_samples=samples(found(model, x))), optim)
        assert math.isfinite(logged['loss'].item())
        assert logged['area'].dtype == torch.float32
        steps.append(weights(model) - start)
    assert steps[0].abs().max() > 1e-4
    torch.testing.assert_close(steps[0], steps[1], rtol=0, atol=1e-6)


def test_a_batch_that_is_all_wrong_stops_and_learns():
    model = build(erasing=dict(steps=4, start_epoch=0))
    x = images()
    labels = [(label + 1) % 4 for label in found(model, x)]
    losses = model(x, samples(labels), mode='loss')
    assert losses['passes'].item() == 1
    assert losses['area'].item() == 0
    t = 5.0  # an empty mask: the barrier's line at s⁺ = 0, and its logarithm of s⁻ = 1
    assert losses['loss_area'].item() == pytest.approx(-math.log(1 / t**2) / t + 1 / t)
    total(losses).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    assert (model.localizer.fc.weight.grad != 0).any()


def test_samples_do_not_depend_on_their_batch():
    """With group norm the loss of a batch is the mean of its samples' own, one class alone or mixed, right or wrong."""
    model = build(erasing=dict(steps=3, start_epoch=0), negative_weight=0.5)
    x = images(5)
    right = found(model, x)
    for labels in ([2] * 5, [right[0], right[1], (right[2] + 1) % 4, right[3], right[4]]):
        with torch.no_grad():
            whole = total(model(x, samples(labels), mode='loss'))
            alone = [total(model(x[i : i + 1], samples(labels[i : i + 1]), mode='loss')) for i in range(5)]
        torch.testing.assert_close(whole, torch.stack(alone).mean(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_nan_in_an_image_is_refused_by_name(value):
    model = build(erasing=dict(steps=2, start_epoch=0))
    x = images(3)
    x[1, 2, 5, 5] = value
    data = samples([0, 1, 2])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match='image 1 of the batch holds NaN or infinite values'):
        model.train_step(dict(inputs=x, data_samples=data), sgd(model))
    data[1].set_field('birds/wren.png', 'img_path', field_type='metainfo')
    with pytest.raises(ValueError, match=r'birds/wren.png holds NaN'):
        model.eval()(x, data, mode='predict')
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_black_image_has_a_finite_mask_and_loss():
    model = build(erasing=dict(steps=2, start_epoch=0))
    losses = model(torch.zeros(2, 3, 32, 32), samples([0, 1]), mode='loss')
    total(losses).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_labels_it_cannot_use_are_refused():
    model = build()
    several = samples([0, 1])
    several[1].set_gt_label([0, 1])
    mixed = samples([0, 1])
    mixed[0].set_gt_score(torch.tensor([0.5, 0.5, 0, 0]))
    for wrong in (several, mixed):
        with pytest.raises(ValueError, match='exactly one gt_label'):
            model(images(2), wrong, mode='loss')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(negative='kl'), "rest needs a loss of \\['ce_uniform', 'eem', 'sem'\\], got 'kl'"),
        (dict(detach_mask=True), 'the barrier acts through the mask'),
        (dict(mask=dict(omega=0)), 'omega of the mask must be > 0'),
        (dict(barrier=dict(t=0)), 't of the barrier must be > 0'),
        (dict(mask=dict(steepness=8)), "mask has no option 'steepness'; it has omega, sigma, detach"),
        (dict(rest=dict(loss='eem'), negative='sem'), r'negative and rest=dict\(loss=...\) are the same option'),
        (
            dict(barrier=None, area_constraint=True),
            r'area_constraint and barrier=dict\(enabled=',
        ),
        (dict(erasing=dict(step=4)), "erasing has no option 'step'"),
        (dict(localizer=dict(type='mmentropy.CAMHead')), 'the localizer is a WildcatHead, not a CAMHead'),
        (dict(crf=dict(steps=4)), "crf has no option 'steps'"),
        (dict(erasing=dict(steps=-1)), 'erasing needs steps >= 0'),
        (dict(erasing=dict(initial='ones')), 'erasing needs steps >= 0'),
    ],
)
def test_wrong_options_are_one_sentence(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_groups_and_flat_names_are_the_same():
    flat = build(
        omega=4.0, sigma=0.4, detach_mask=True, negative='eem', area_constraint=False, barrier_t=6.0, recompute=False
    )
    grouped = build(
        mask=dict(omega=4.0, sigma=0.4, detach=True),
        rest=dict(loss='eem'),
        barrier=dict(enabled=False, t=6.0),
        erasing=dict(steps=0, recompute=False),
    )
    for name in ('mask', 'rest', 'barrier', 'erasing'):
        assert getattr(flat, name) == getattr(grouped, name)
    assert flat.mask == Mask(4.0, 0.4, True)
    assert flat.rest == Rest('eem', 1e-7)
    assert not build(barrier=None).barrier.enabled
    assert flat.state_dict()['barrier_t'] == grouped.state_dict()['barrier_t'] == 6


@pytest.mark.parametrize(('name', 'reaches'), [('minmax_2019', False), ('minmax_2019_joint', True), ('minmax', True)])
def test_which_config_lets_the_classifier_train_the_mask(name, reaches):
    """The idea of the paper needs it: only then is a mask good because the classifier is sure of what it keeps."""
    cfg = Config.fromfile(str(ROOT / f'configs/minmax/resnet50_glas_{name}.py')).model
    options = {key: cfg.get(key) for key in ('mask', 'rest', 'barrier')}
    model, x, labels = smooth(**options, erasing=dict(steps=0))
    losses = model(x, samples(labels), mode='loss')
    head = list(model.localizer.parameters())
    for term in ('loss_cls', 'loss_negative'):
        grads = torch.autograd.grad(losses[term], head, retain_graph=True, allow_unused=True)
        assert all(g is not None and (g != 0).any() for g in grads) == reaches


def test_erasing_waits_for_its_epoch():
    model = build(erasing=dict(steps=3, start_epoch=2))
    assert model.steps == 0  # nobody has told the epoch
    for epoch, steps in ((0, 0), (1, 0), (2, 3), (7, 3)):
        model.set_epoch(epoch)
        assert model.steps == steps


def test_erasing_options():
    assert build().erasing.steps == 0  # None is off
    assert build(erasing={}).erasing.steps == 4
    assert build(erasing={}).erasing.start_epoch == 1


def test_a_checkpoint_keeps_what_the_schedule_reached():
    model = build()
    model.sigma.fill_(0.4)
    model.barrier_t.fill_(6.5)
    twin = build(seed=5)
    twin.load_state_dict(model.state_dict())
    assert twin.sigma.item() == pytest.approx(0.4)
    assert twin.barrier_t.item() == 6.5


def test_a_mask_that_is_trained_through_is_drawn_and_read_as_it_is():
    with torch.no_grad():
        sample = build().eval().predict(images(1, 16), samples([0]))[0]
    assert sample.cams.shape == (1, 16, 16)
    assert 'map_grid' not in sample
    for option in (dict(grid='followed'), dict(reading='certain')):
        with pytest.raises(ValueError, match='its mask is trained through'):
            build(**option)
