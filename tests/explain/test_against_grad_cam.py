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


def theirs(name: str, model, layer, images, classes) -> np.ndarray:
    """Their raw maps, before they are scaled to the image: one class an image."""
    cam = getattr(pytorch_grad_cam, name)(model=model, target_layers=[layer])
    targets = [ClassifierOutputTarget(c) for c in classes]
    outputs = cam.activations_and_grads(images)
    if cam.uses_gradients:
        model.zero_grad()
        sum(target(output) for target, output in zip(targets, outputs)).backward()
    store = cam.activations_and_grads
    grads = store.gradients[0].numpy() if cam.uses_gradients else None
    maps = cam.get_cam_image(images, layer, targets, store.activations[0].detach().numpy(), grads, False)
    store.release()
    return np.maximum(maps, 0)


@pytest.mark.parametrize(
    ('method', 'name', 'options'),
    [
        ('grad_cam', 'GradCAM', {}),
        ('grad_cam++', 'GradCAMPlusPlus', {'eps': 1e-6}),  # theirs adds 1e-6 to the denominator
        ('xgrad_cam', 'XGradCAM', {}),
        ('layer_cam', 'LayerCAM', {}),
    ],
)
@pytest.mark.parametrize('layer', ['layer4', 'layer3'])
def test_same_maps(model, method, name, options, layer):
    images = torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(3))
    classes = model(images).argmax(1).tolist()  # a positive score, hence a map that is not all below zero
    expected = theirs(name, model, getattr(model, layer), images.clone(), classes)
    found = build_explainer(method, model, target_layer=layer, **options)(images, classes).maps[:, 0].numpy()
    assert (expected.max((1, 2)) > 0).all()
    scale = expected.max((1, 2), keepdims=True)
    np.testing.assert_allclose(found / scale, expected / scale, atol=1e-4)


def test_same_score_cam(model):
    images = torch.randn(1, 3, 32, 48, generator=torch.Generator().manual_seed(3))
    expected = theirs('ScoreCAM', model, model.layer1, images, [7])
    explainer = build_explainer('score_cam', model, target_layer='layer1', align_corners=True)
    found = explainer(images, [7]).maps[:, 0].numpy()
    np.testing.assert_allclose(found / expected.max(), expected / expected.max(), atol=1e-4)
