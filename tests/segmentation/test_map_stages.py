# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Maps of the pipeline against a plain loop: where they are drawn, how they are read, and other people's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from rough_maps import rough_maps

from mmentropy.explain import find_grid, measured_shift
from mmentropy.ops.certainty.entropy import location_entropy
from mmentropy.ops.mapping.geometry import MapGrid
from mmentropy.ops.mapping.reading import Reading, read_maps
from mmentropy.segmentation import (
    ClassifierMaps,
    ClassMaps,
    Context,
    ExplainerMaps,
    ForeignMaps,
    ImageMaps,
    multi_scale_maps,
)
from mmentropy.segmentation.map_stages import classifier_maps

SIZE, SIDE = 192, 44

CONFIG = dict(
    default_scope='mmpretrain',
    data_preprocessor=dict(num_classes=5, mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
    model=dict(
        type='mmentropy.LocalizationClassifier',
        backbone=dict(type='ResNet', depth=18, base_channels=4, stem_channels=4, strides=(1, 2, 1, 1)),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='mmentropy.CAMHead', num_classes=5, in_channels=32, multi_label=True),
    ),
)


def brightness(images: torch.Tensor, labels=None, grid: MapGrid | str | None = 'padded'):
    """Two maps at stride 8, from 3×3 kernels of stride 2 with padding: location j looks at pixel 8j."""
    maps = images.float().mean(1, keepdim=True) / 255
    for _ in range(3):
        maps = F.avg_pool2d(maps, 3, 2, 1)
    if grid == 'padded':
        grid = MapGrid((0, 0), (8, 8), tuple(images.shape[2:]))
    return torch.cat([maps, 1 - maps], 1), maps[:, 0], grid


def off_by(maps: torch.Tensor, corners: np.ndarray) -> np.ndarray:
    """Pixels (y, x) from the squares to the centroids of their (N, h, w) maps, the mean over all."""
    weight = maps.double().numpy()
    rows, columns = (np.arange(n) * SIZE / n + (SIZE / n - 1) / 2 for n in weight.shape[1:])
    found = np.stack([weight.sum(2) @ rows, weight.sum(1) @ columns], 1) / weight.sum((1, 2))[:, None]
    return (found - corners - (SIDE - 1) / 2).mean(0)


@pytest.mark.parametrize('scales', [(1,), (0.5,), (1, 0.5, 1.5)])
@pytest.mark.parametrize('flip', [False, True])
def test_a_bright_square_is_where_its_map_is_at_every_scale_mirrored_or_not(scales, flip):
    corners = np.array([(50 + i, 93 - i) for i in range(16)])  # every phase of a step
    images = [np.zeros((SIZE, SIZE, 3), np.uint8) for _ in corners]
    for image, (y, x) in zip(images, corners):
        image[y : y + SIDE, x : x + SIDE] = 255
    maps, entropy = multi_scale_maps(brightness, images, scales, flip, (SIZE // 4, SIZE // 4))
    assert np.abs(off_by(maps[:, 0], corners)).max() < 0.3
    assert np.abs(off_by(entropy, corners)).max() < 0.3
    np.testing.assert_allclose(maps.sum(1)[:, 8:-8, 8:-8], len(scales), atol=1e-5)  # two maps that add up to one
    # Half-pixel drawing is off by (8 - 1)/2 pixels of each view; the mirrored views take it back in x alone.
    drawn = multi_scale_maps(
        lambda x, labels: brightness(x, labels, None), images, scales, flip, (SIZE // 4, SIZE // 4)
    )[0]
    off = np.mean([(8 - 1) / 2 / scale for scale in scales])
    assert off_by(drawn[:, 0], corners) == pytest.approx((off, 0 if flip else off), abs=0.4)


@pytest.fixture
def classifier(tmp_path):
    """Config and checkpoint of an untrained classifier."""
    import mmentropy.models  # noqa: F401
    from mmentropy.engine.model_loading import load_model

    torch.manual_seed(0)
    Config(CONFIG).dump(tmp_path / 'config.py')
    model = load_model(Config(CONFIG), random_weights=True, device='cpu').model
    torch.nn.init.normal_(model.head.fc.weight)
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'model.pth')
    return tmp_path / 'config.py', tmp_path / 'model.pth', model


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (3, 64, 96, 3)).astype(np.uint8)


@pytest.mark.parametrize('reading', ['protocol', 'relu', 'certain', {'relu': True, 'spread': 1, 'power': 2}])
def test_maps_of_a_classifier_are_read(classifier, pictures, reading):
    config, checkpoint, model = classifier
    maps, entropy, grid = classifier_maps(config, checkpoint, 'cpu', reading)(
        torch.tensor(pictures).permute(0, 3, 1, 2)
    )
    with torch.no_grad():
        # Colours in the order of the file, as the readers give BGR and the preprocessor turns it round.
        features = model.backbone((torch.tensor(pictures).permute(0, 3, 1, 2) - 127.5) / 127.5)[-1]
        raw = F.conv2d(features, model.head.fc.weight[:, :, None, None])
        uncertain = location_entropy(features, model.head.fc.weight, model.head.fc.bias, 'sigmoid')
        expected = read_maps(raw, uncertain, features, reading)
    torch.testing.assert_close(entropy, uncertain)
    torch.testing.assert_close(maps, expected)
    assert (maps.min() < 0) == (reading == 'protocol')
    assert grid == MapGrid((0, 0), (8, 8), (64, 96))


def test_the_grid_is_followed_measured_or_half_pixel(classifier, pictures):
    model = classifier[2]
    batch = torch.tensor(pictures).permute(0, 3, 1, 2)
    assert ClassifierMaps(model, grid='half_pixel')(batch)[2] is None
    measured = ClassifierMaps(model, grid='measured')
    measured.measure(list(pictures))
    inputs = (batch - 127.5) / 127.5
    followed = find_grid(model, 'backbone', inputs)
    dy, dx = np.mean([measured_shift(model, 'backbone', one[None], followed) for one in inputs], axis=0)
    assert max(abs(dy), abs(dx)) > 0.1
    assert measured(batch)[2].start == pytest.approx((dy, dx))
    # The weights move it by as many pixels of any input.
    assert measured(F.interpolate(batch.float(), scale_factor=2).to(torch.uint8))[2].start == pytest.approx((dy, dx))


def test_the_stage_measures_on_the_first_images_of_the_set_whatever_is_asked_for(classifier, voc, tmp_path):
    config, checkpoint, _ = classifier
    options = dict(config=str(config), checkpoint=str(checkpoint), grid='measured', scales=[1.0], batch_size=2)
    shifts = []
    for key in voc.ids()[-2:]:
        stage = ClassMaps(**options)
        ctx = Context(tmp_path, voc, quiet=True, device='cpu')
        ctx.folder('maps').mkdir(exist_ok=True)
        stage.process(ctx, key)
        shifts.append(stage.model(ctx).grid.shift)
        assert ImageMaps.load(stage.output(ctx, key)).maps.shape[1:] == (16, 16)
    assert shifts[0] == shifts[1] != (0.0, 0.0)


def test_the_classes_asked_for(classifier, pictures):
    model, batch = classifier[2], torch.tensor(pictures).permute(0, 3, 1, 2)
    every, some = ClassifierMaps(model)(batch)[0], ClassifierMaps(model)(batch, [2, 0])[0]
    torch.testing.assert_close(some, every[:, [2, 0]])


def test_any_explainer(classifier, pictures):
    """Behind global average pooling Grad-CAM is the class map's positive part, but for a factor."""
    model, batch = classifier[2], torch.tensor(pictures).permute(0, 3, 1, 2)
    want, entropy, grid = ClassifierMaps(model, 'relu')(batch, [1, 2])
    maps, uncertain, place = ExplainerMaps(model, 'grad_cam')(batch, [1, 2])
    peak = want.amax((2, 3), keepdim=True)
    torch.testing.assert_close(
        maps / maps.amax((2, 3), keepdim=True).clamp(min=1e-12) * (peak > 0), want / peak.clamp(min=1e-12)
    )
    torch.testing.assert_close(uncertain, entropy)
    assert place == grid
    with pytest.raises(ValueError, match='entropy has one map an image'):
        ExplainerMaps(model, 'entropy')
    with pytest.raises(ValueError, match=r"method must be one of cam, .*got 'gradcam'"):
        ClassMaps(method='gradcam')


def test_a_view_is_one_pass_through_the_backbone(classifier, pictures):
    """Each view's grid was looked for by another pass, with gradients: more than half of the time of the maps."""
    model, passes = classifier[2], []
    model.backbone.register_forward_hook(lambda *_: passes.append(1))
    for count in (4 + 2, 4, 4):  # four views; two sizes to be followed, once
        multi_scale_maps(ClassifierMaps(model), list(pictures), [1.0, 0.5], True, (16, 24))
        assert len(passes) == count
        passes.clear()


def test_half_precision_is_near(classifier, pictures):
    model, batch = classifier[2], torch.tensor(pictures).permute(0, 3, 1, 2)
    whole, half = (ClassifierMaps(model, half=half)(batch)[0] for half in (False, True))
    assert half.dtype == torch.float32
    assert 0 < (half - whole).abs().max() < 0.05 * whole.abs().max()


def test_every_second_scale_is_mirrored():
    """Half of the looks; their sum is that of these looks alone."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)
    scales, size = (1.0, 0.5, 1.5), (16, 16)
    maps, entropy = multi_scale_maps(toy_model, [image], scales, 'alternate', size)
    looks = [multi_scale_maps(toy_model, [image], [scale], False, size) for scale in (1.0, 1.5)]
    mirrored = multi_scale_maps(toy_model, [np.ascontiguousarray(image[:, ::-1])], [0.5], False, size)
    want = looks[0][0] + looks[1][0] + mirrored[0].flip(-1)
    torch.testing.assert_close(maps, want)
    torch.testing.assert_close(entropy, (looks[0][1] + looks[1][1] + mirrored[1].flip(-1)) / 3)
    with pytest.raises(ValueError, match="flip is True, False or 'alternate', got 'both'"):
        ClassMaps(flip='both')


def test_a_model_without_entropy():
    image = np.zeros((64, 64, 3), np.uint8)
    maps, entropy = multi_scale_maps(lambda x, labels: (toy_model(x)[0], None, None), [image], [1.0], True, (16, 16))
    torch.testing.assert_close(maps, multi_scale_maps(toy_model, [image], [1.0], True, (16, 16))[0])
    assert entropy is None


def test_a_model_without_maps_is_refused():
    from mmpretrain.models import ImageClassifier

    head = dict(type='LinearClsHead', num_classes=3, in_channels=512)
    model = ImageClassifier(dict(type='ResNet', depth=18), dict(type='GlobalAveragePooling'), head)
    with pytest.raises(ValueError, match='maps need a LocalizationClassifier with a CAMHead, got ImageClassifier'):
        ClassifierMaps(model)


def test_the_stage_refuses_another_reading_or_grid():
    with pytest.raises(ValueError, match=r"reading must be one of protocol, .*got 'sure'"):
        ClassMaps(reading='sure')
    with pytest.raises(ValueError, match="grid must be one of followed, measured, half_pixel, got 'aligned'"):
        ClassMaps(grid='aligned')


def toy_model(images: torch.Tensor, labels=None) -> tuple[torch.Tensor, torch.Tensor, None]:
    """Class maps and entropy that any position and colour matter to, at stride 4."""
    pooled = F.avg_pool2d(images.float(), 4) / 255
    ramp = torch.linspace(-1, 1, pooled.shape[-1])
    maps = torch.stack([pooled[:, c % 3] * 2 - 0.8 + 0.1 * ramp * c for c in range(5)], dim=1)
    maps = maps if labels is None else maps[:, list(labels)]
    return maps.clamp(min=0), pooled.mean(dim=1) + 0.2 * ramp, None


def test_multi_scale_maps_are_the_plain_loop(voc):
    images = [voc.image(key) for key in voc.ids()[:3]]
    maps, entropy = multi_scale_maps(toy_model, images, (1.0, 0.5, 1.5), True, (20, 24))
    for i, image in enumerate(images):
        total, mean = np.zeros((5, 20, 24)), np.zeros((20, 24))
        for scale in (1.0, 0.5, 1.5):
            size = round(64 * scale)
            small = cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC)
            for mirrored in (False, True):
                batch = torch.from_numpy(np.ascontiguousarray(small[:, ::-1] if mirrored else small))
                cams, ent, _ = toy_model(batch.permute(2, 0, 1)[None])
                cams, ent = cams[0].numpy(), ent[0].numpy()
                if mirrored:
                    cams, ent = cams[..., ::-1], ent[..., ::-1]
                total += [cv2.resize(np.ascontiguousarray(c), (24, 20)) for c in cams / 2]
                mean += cv2.resize(np.ascontiguousarray(ent), (24, 20)) / 6
        np.testing.assert_allclose(maps[i], total, atol=1e-4)
        np.testing.assert_allclose(entropy[i], mean, atol=1e-4)


def test_batches_by_shape_give_the_maps_of_single_images(voc, tmp_path, monkeypatch):
    """Mixed sizes, small batches: the files do not depend on who shared a batch with whom."""
    sizes = {key: (64, 64) if i % 3 else (48, 80) for i, key in enumerate(voc.ids())}
    read = type(voc).image
    monkeypatch.setattr(
        type(voc), 'image', lambda self, key: cv2.resize(read(self, key), sizes[key][::-1]) if key in sizes else None
    )
    contents, seen = [], []
    for size in (1, 4):
        stage = ClassMaps(source='classify', scales=(1.0, 0.5), stride=4, batch_size=size)

        def counting(images, labels):
            seen.append(len(images))
            return toy_model(images, labels)

        monkeypatch.setattr(stage, '_model', counting)
        ctx = Context(tmp_path / str(size), voc, quiet=True)
        stage.run(ctx)
        contents.append({key: ImageMaps.load(stage.output(ctx, key)) for key in voc.ids()})
    assert max(seen) == 4
    for key in voc.ids():
        one, four = (found[key] for found in contents)
        assert one.size == sizes[key]
        assert one.labels.tolist() == voc.labels(key).tolist()
        assert one.maps.shape[1:] == (sizes[key][0] // 4, sizes[key][1] // 4)
        np.testing.assert_allclose(one.maps, four.maps, atol=1e-3)
        np.testing.assert_allclose(one.entropy, four.entropy, atol=1e-3)
        assert one.maps.max() == pytest.approx(1)


@pytest.mark.parametrize('file_format', ['irn', 'sec'])
def test_foreign_formats(voc, file_format, tmp_path):
    import pickle

    keys = voc.ids()
    cues = {}
    for number, key in enumerate(keys):
        maps = rough_maps(voc, key)
        labels = np.array(sorted(maps))
        stacked = np.stack([maps[k] for k in sorted(maps)])
        np.save(tmp_path / f'{key}.npy', {'keys': labels, 'high_res': stacked})
        c, y, x = np.nonzero(np.stack([cv2.resize(m, (41, 41)) for m in stacked]) > 0.7)
        cues |= {f'{number}_labels': labels + 1, f'{number}_cues': np.stack([labels[c] + 1, y, x])}
    (tmp_path / 'cues.pickle').write_bytes(pickle.dumps(cues))
    folder = str(tmp_path if file_format == 'irn' else tmp_path / 'cues.pickle')
    stage = ForeignMaps(folder=folder, file_format=file_format, threshold=0.6)
    result = stage.run(Context(tmp_path / 'run', voc, quiet=True))
    assert result['images'] == len(keys)
    assert result['mIoU'] > 50


def test_a_transformers_maps_are_spread_by_its_attention():
    from mmentropy.models import LocalizationClassifier

    torch.manual_seed(0)
    arch = dict(embed_dims=12, num_layers=2, num_heads=3, feedforward_channels=24)
    backbone = dict(type='VisionTransformer', arch=arch, img_size=32, patch_size=8)
    neck, head = dict(type='GlobalAveragePooling'), dict(type='mmentropy.CAMHead', num_classes=3)
    reading = Reading(relu=True, spread=1, affinity='attention')
    model = LocalizationClassifier(backbone, neck, head, map_classes='all', reading=reading)
    images = torch.randint(0, 255, (1, 3, 32, 48), dtype=torch.uint8)
    found = ClassifierMaps(model.eval(), reading)(images)[0]
    inputs = model.data_preprocessor({'inputs': images.flip(1)})['inputs']
    torch.testing.assert_close(found, model.predict(inputs)[0].cams[None])
    assert not torch.allclose(found, ClassifierMaps(model, 'relu')(images)[0])
