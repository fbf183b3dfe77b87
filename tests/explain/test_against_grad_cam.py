# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Against the grad-cam package, an independent implementation, on ResNet-50 with random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmentropy.explain import build_explainer

pytorch_grad_cam = pytest.importorskip('pytorch_grad_cam', reason='the grad-cam package is not installed')
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget  # noqa: E402


@pytest.fixture(scope='module')
def model():
    import torchvision

    torch.manual_seed(0)
    return torchvision.models.resnet50().eval()


def theirs(name: str, model, layer, images, classes, cut: bool = True, **options) -> np.ndarray:
    """Their raw maps, before they are scaled to the image: one class an image."""
    cam = getattr(pytorch_grad_cam, name)(model=model, target_layers=[layer], **options)
    targets = [ClassifierOutputTarget(c) for c in classes]
    outputs = cam.activations_and_grads(images)
    if cam.uses_gradients:
        model.zero_grad()
        sum(target(output) for target, output in zip(targets, outputs)).backward()
    store = cam.activations_and_grads
    grads = store.gradients[0].numpy() if cam.uses_gradients else None
    maps = cam.get_cam_image(images, layer, targets, store.activations[0].detach().numpy(), grads, False)
    store.release()
    return np.maximum(maps, 0) if cut else maps


@pytest.mark.parametrize(
    ('method', 'name', 'options'),
    [
        ('grad_cam', 'GradCAM', {}),
        ('grad_cam++', 'GradCAMPlusPlus', {'eps': 1e-6}),  # theirs adds 1e-6 to the denominator
        ('xgrad_cam', 'XGradCAM', {}),
        ('layer_cam', 'LayerCAM', {}),
        ('hires_cam', 'HiResCAM', {}),
        ('eigen_cam', 'EigenCAM', {}),
    ],
)
@pytest.mark.parametrize('layer', ['layer4', 'layer3'])
def test_same_maps(model, method, name, options, layer):
    images = torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(3))
    classes = model(images).argmax(1).tolist()  # a positive score, hence a map that is not all below zero
    expected = theirs(name, model, getattr(model, layer), images.clone(), classes)
    found = build_explainer(method, model, target_layer=layer, **options)(images, classes).maps[:, 0].numpy()
    if method == 'eigen_cam':  # the sign of theirs is that of the decomposition
        whole = theirs('EigenCAM', model, getattr(model, layer), images.clone(), classes, cut=False)
        sign = np.sign((whole * found).sum((1, 2), keepdims=True))
        expected, found = whole * sign, found
    assert (expected.max((1, 2)) > 0).all()
    scale = expected.max((1, 2), keepdims=True)
    np.testing.assert_allclose(found / scale, expected / scale, atol=1e-4)


@pytest.mark.parametrize(
    ('method', 'name', 'options'),
    [
        ('grad_cam', 'GradCAM', {}),
        ('grad_cam++', 'GradCAMPlusPlus', {'eps': 1e-6}),
        ('xgrad_cam', 'XGradCAM', {}),
        ('layer_cam', 'LayerCAM', {}),
        ('hires_cam', 'HiResCAM', {}),
        ('eigen_cam', 'EigenCAM', {}),
    ],
)
def test_same_maps_of_a_transformer(method, name, options):
    """They are told which tokens are patches, ours finds them."""
    import torchvision

    torch.manual_seed(0)
    vit = torchvision.models.VisionTransformer(64, 16, 4, 4, 64, 128, num_classes=7).eval()
    torch.nn.init.normal_(vit.heads.head.weight)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    classes = vit(images).argmax(1).tolist()
    layer = 'encoder.layers.encoder_layer_3.ln_1'

    def patches(tokens):
        return tokens[:, 1:].reshape(len(tokens), 4, 4, -1).permute(0, 3, 1, 2)

    cut = method != 'eigen_cam'
    expected = theirs(name, vit, vit.get_submodule(layer), images.clone(), classes, cut=cut, reshape_transform=patches)
    found = build_explainer(method, vit, target_layer=layer, **options)(images, classes).maps[:, 0].numpy()
    if method == 'eigen_cam':
        expected = expected * np.sign((expected * found).sum((1, 2), keepdims=True))
    scale = np.abs(expected).max((1, 2), keepdims=True)
    assert (scale > 0).all()
    np.testing.assert_allclose(found / scale, expected / scale, atol=1e-4)


def test_same_score_cam(model):
    images = torch.randn(1, 3, 32, 48, generator=torch.Generator().manual_seed(3))
    expected = theirs('ScoreCAM', model, model.layer1, images, [7])
    explainer = build_explainer('score_cam', model, target_layer='layer1', align_corners=True)
    found = explainer(images, [7]).maps[:, 0].numpy()
    np.testing.assert_allclose(found / expected.max(), expected / expected.max(), atol=1e-4)


@pytest.mark.parametrize('closed', [True, False])
def test_same_ablation_cam(closed):
    """Theirs runs a pass a channel; ours needs none behind GAP, and is asked for them here as well."""
    from torch import nn

    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 24, 5, 4, 2), nn.BatchNorm2d(24), nn.ReLU())
    layers = body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 6), *([] if closed else [nn.Tanh()])
    small = nn.Sequential(*layers).eval()
    images = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(3))
    classes = small(images).argmax(1).tolist()
    from pytorch_grad_cam.ablation_layer import AblationLayer

    expected = theirs('AblationCAM', small, small[0], images, classes, ablation_layer=AblationLayer())
    explainer = build_explainer('ablation_cam', small, batch_size=5, target_layer='0')
    found = explainer(images, classes).maps[:, 0].numpy()
    assert explainer.anatomy.pooling == ('mean' if closed else 'other')
    scale = expected.max((1, 2), keepdims=True)
    assert (scale > 0).all()
    np.testing.assert_allclose(found / scale, expected / scale, atol=1e-4)


@pytest.mark.parametrize('layer', ['layer4', 'layer3'])
def test_same_finer_cam(model, layer):
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(3))
    classes = model(images).argmax(1).tolist()
    theirs_finer = pytorch_grad_cam.FinerCAM(model=model, target_layers=[getattr(model, layer)])
    expected = theirs_finer(images.clone(), alpha=1.0)  # scaled to [0, 1] at the image's size
    options = dict(target_layer=layer, gamma=1.0, by='probability', grid='half_pixel')
    found = build_explainer('finer_cam', model, **options)(images, classes).maps[:, 0].numpy()
    from pytorch_grad_cam.utils.image import scale_cam_image

    found = scale_cam_image(scale_cam_image(found, (96, 64)))  # they scale a layer, and then the mean of layers
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_same_segmentation_target(model):
    """Their target sums a class over a mask, ours takes the mean."""
    from torch import nn

    torch.manual_seed(1)
    net = nn.Module()
    net.backbone = nn.Sequential(nn.Conv2d(3, 6, 4, 4), nn.ReLU())
    net.head = nn.Sequential(nn.Conv2d(6, 6, 3, 1, 1), nn.Tanh(), nn.Conv2d(6, 4, 1))
    net.forward = lambda x: net.head(net.backbone(x))
    images = torch.randn(1, 3, 32, 48, generator=torch.Generator().manual_seed(3))
    mask = np.zeros((8, 12), np.float32)
    mask[2:5, 3:9] = 1
    from pytorch_grad_cam.utils.model_targets import SemanticSegmentationTarget

    cam = pytorch_grad_cam.HiResCAM(model=net, target_layers=[net.backbone])
    target = SemanticSegmentationTarget(2, mask)
    outputs = cam.activations_and_grads(images)
    target(outputs[0]).backward()
    store = cam.activations_and_grads
    expected = (store.gradients[0] * store.activations[0].detach()).sum(1).relu().numpy() / mask.sum()
    store.release()
    region = torch.from_numpy(mask).repeat_interleave(4, 0).repeat_interleave(4, 1)
    found = build_explainer('hires_cam', net)(images, 2, region=region).maps[:, 0].numpy()
    assert expected.max() > 0
    np.testing.assert_allclose(found / expected.max(), expected / expected.max(), atol=1e-4)
