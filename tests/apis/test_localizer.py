# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mmentropy.apis import Localizer
from mmentropy.apis.localizer import READING
from mmentropy.apis.writing import ResultWriter
from mmentropy.explain import METHODS, build_explainer
from mmentropy.ops.localizing.map_boxes import boxes_from_map
from mmentropy.ops.mapping.geometry import MapGrid
from mmentropy.ops.mapping.reading import Reading
from mmentropy.ops.mapping.score_functions import difference

pytest.importorskip('mmpretrain', reason='mmpretrain is not installed')

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


class Colours(nn.Module):
    """Class k's map is how much of colour k there is, above the mean: 4x4 cells, global average pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.Conv2d(3, 3, 4, 4, bias=False)
        self.act = nn.ReLU()
        self.fc = nn.Linear(3, 3, bias=False)
        nn.init.zeros_(self.cells.weight)
        for k in range(3):
            self.cells.weight.data[k, k] = float(STD[k]) / 16
        nn.init.eye_(self.fc.weight)

    def forward(self, x):
        return self.fc(self.act(self.cells(x)).mean((2, 3)))


def picture(height: int = 64, width: int = 96, channel: int = 0) -> np.ndarray:
    """Black, with a square of one colour: columns 24 to 56, rows 16 to 48."""
    image = np.zeros((height, width, 3), np.uint8)
    image[16:48, 24:56, channel] = 255
    return image


@pytest.fixture
def localizer():
    found = Localizer(Colours(), input_size=(64, 96), batch_size=2)
    found.loaded.classes = ('red', 'green', 'blue')
    return found


def test_box_mask_and_map_of_a_square(localizer):
    (found,) = localizer(picture(), threshold=0.5)
    assert (found.labels.tolist(), found.class_names, found.size) == ([0], ('red',), (64, 96))
    cells = np.maximum((picture() / 255 - MEAN).reshape(16, 4, 24, 4, 3).mean((1, 3)), 0)
    logits = cells.mean((0, 1))
    np.testing.assert_allclose(found.scores[0], np.exp(logits[0]) / np.exp(logits).sum(), rtol=1e-5)
    np.testing.assert_allclose(found.maps[0], cells[..., 0], atol=1e-6)
    assert np.abs(found.boxes[0] - [24, 16, 56, 48]).max() <= 1
    inside = np.zeros((64, 96), bool)
    inside[16:48, 24:56] = True
    assert (found.masks[0] != inside).sum() <= 2 * (32 + 32)
    np.testing.assert_array_equal(found.overlay(picture(), alpha=0), picture())


def test_boxes_are_in_pixels_of_an_image_of_another_size(localizer):
    large = np.asarray(Image.fromarray(picture()).resize((96 * 30, 64 * 20), Image.NEAREST))
    (found,) = localizer(large, threshold=0.5)
    np.testing.assert_allclose(found.boxes[0][0], [24 * 30, 16 * 20, 56 * 30, 48 * 20], atol=40)
    assert found.masks.shape == (1, 64 * 20, 96 * 30)


def test_classes_topk_and_all(localizer):
    one = picture(channel=2)
    assert localizer(one, classes='green')[0].class_names == ('green',)
    assert localizer(one, classes=['blue', 1])[0].labels.tolist() == [2, 1]
    assert localizer(one, topk=2)[0].labels[0] == 2
    everything = localizer(one, classes='all')[0]
    assert everything.labels.tolist() == [0, 1, 2]
    assert everything.scores.sum() == pytest.approx(1, abs=1e-6)
    assert len(everything.boxes) == 3
    with pytest.raises(ValueError, match="class 'pink': not among"):
        localizer(one, classes='pink')
    with pytest.raises(ValueError, match='class 7 does not exist'):
        localizer(one, classes=7)


def test_all_boxes_largest_first(localizer):
    image = picture()
    image[52:60, 80:92, 0] = 255
    (found,) = localizer(image, box='all', threshold=0.5)
    assert len(found.boxes[0]) == 2
    np.testing.assert_allclose(found.boxes[0], [[24, 16, 56, 48], [80, 52, 92, 60]], atol=1)
    np.testing.assert_array_equal(found.boxes[0], boxes_from_map(found.upsampled()[0], 0.5, 'all'))
    assert len(localizer(image, threshold=0.5)[0].boxes[0]) == 1


#: These read a transformer, which this is not, or nothing at all.
ELSEWHERE = ('legrad', 'rollout', 'grad_attention', 'random', 'center')


@pytest.mark.parametrize('method', [name for name in METHODS if name not in ELSEWHERE])
def test_every_method_marks_the_square(localizer, method):
    (found,) = localizer(picture(), method=method, topk=2)
    pixels = method in ('input_gradient', 'smooth_grad')
    assert found.maps.shape == ((2, 64, 96) if pixels else (2, 16, 24))
    row, column = np.unravel_index(found.upsampled()[0].argmax(), (64, 96))
    assert 16 <= row < 48
    assert 24 <= column < 56


def test_threshold_is_a_share_of_the_maximum_unless_asked_for():
    """Without the ReLU the map is colour − 0.485: a small square of 0.515 in a wide one of −0.085, on −0.485. By the
    maximum the cut is at 0.103; by the range it is at −0.285."""
    model = Colours()
    model.act = nn.Identity()
    localizer = Localizer(model, input_size=(64, 96))
    image = np.zeros((64, 96, 3), np.uint8)
    image[8:56, 16:64, 0] = 102
    image[24:40, 32:48, 0] = 255
    (literal,) = localizer(image, classes=0, threshold=0.2)
    np.testing.assert_allclose(literal.boxes[0], [[32, 24, 48, 40]], atol=2)
    assert 14**2 < literal.masks[0].sum() < 20**2
    (ranged,) = localizer(image, classes=0, threshold=0.2, normalize='minmax')
    np.testing.assert_allclose(ranged.boxes[0], [[16, 8, 64, 56]], atol=2)
    assert 46**2 < ranged.masks[0].sum() < 52**2


def test_each_map_is_cut_at_its_own_mean_by_default(localizer):
    (found,) = localizer(picture())
    assert found.threshold == 'mean_share'
    cam = found.upsampled()[0]
    above = cam > cam.mean()
    rows, columns = np.where(above)
    assert found.boxes[0].tolist() == [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]
    assert np.array_equal(found.masks[0], above)
    (area,) = localizer(picture(), threshold='entropy_area')
    # As large as 1.6 flat blocks of the map's mass and height; ties may cost some pixels.
    assert area.masks[0].sum() == pytest.approx(1.6 * cam.sum() / cam.max(), rel=0.05)


def test_batches_and_generators_give_what_single_images_give(localizer):
    images = [picture(channel=k % 3) for k in range(5)]
    single = [localizer(image)[0] for image in images]
    for many in (images, (image for image in images), np.stack(images)):
        found = localizer(many, progress=False)
        assert [f.name for f in found] == list('01234')
        for a, b in zip(found, single):
            np.testing.assert_allclose(a.maps, b.maps, atol=1e-6)
            assert a.class_names == b.class_names
    assert len(localizer(images)) == 5  # with the bar


def test_bad_files_are_recorded_and_the_folder_is_done(localizer, tmp_path):
    Image.fromarray(picture()).save(tmp_path / 'a.png')
    (tmp_path / 'b.jpg').touch()
    (tmp_path / 'c.png').write_text('text')
    Image.fromarray(picture()[:1, :1]).save(tmp_path / 'd.png')
    Image.fromarray(np.zeros((20, 20_000, 3), np.uint8)).save(tmp_path / 'e.png')
    Image.fromarray(picture()).convert('CMYK').save(tmp_path / 'f.jpg')
    Image.fromarray(picture()[..., 0].astype(np.uint16) * 257).save(tmp_path / 'g.png')
    Image.fromarray(picture()).save(tmp_path / 'h.gif', save_all=True, append_images=[Image.new('RGB', (96, 64))])
    with pytest.warns(UserWarning, match='0 bytes'), pytest.warns(UserWarning, match='not an image'):
        found = localizer(tmp_path, progress=False)
    assert [f.name[0] for f in found] == list('abcdefgh')
    assert [f.name for f in found if f.error] == ['b.jpg', 'c.png']
    assert all(len(f.boxes) == (0 if f.error else 1) for f in found)
    sizes = {f.name: f.size for f in found}
    assert (sizes['d.png'], sizes['e.png'], sizes['f.jpg']) == ((1, 1), (20, 20_000), (64, 96))
    with pytest.raises(ValueError, match='0 bytes'):
        localizer(tmp_path / 'b.jpg')
    with pytest.raises(ValueError, match='0 bytes'):
        localizer(tmp_path, on_error='raise')


def test_a_turned_photograph_is_localised_upright_or_as_stored(localizer, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a viewer turns it by 90 degrees clockwise
    Image.fromarray(picture()).save(tmp_path / 'a.png', exif=exif)
    (found,) = localizer(tmp_path / 'a.png', threshold=0.5)
    assert found.size == (96, 64)
    np.testing.assert_allclose(found.boxes[0], [[16, 24, 48, 56]], atol=2)
    localizer.exif = False
    (found,) = localizer(tmp_path / 'a.png', threshold=0.5)
    assert found.size == (64, 96)
    np.testing.assert_allclose(found.boxes[0], [[24, 16, 56, 48]], atol=1)
    writer = ResultWriter(tmp_path / 'out', ('overlays',), exif=False)
    writer.write(found, tmp_path / 'a.png')
    # The caption stands above the image.
    height, width = cv2.imread(str(tmp_path / 'out/overlays/a.png.0.jpg')).shape[:2]
    assert width == 448  # small images are enlarged
    assert height < 448


def test_wrong_options_are_refused_before_any_work(localizer):
    for options, message in [
        ({'box': 'big'}, 'box must be'),
        ({'threshold': 2}, 'threshold'),
        ({'threshold': 'best'}, "'entropy_area', 'mean_share', 'otsu'"),
        ({'topk': 0}, 'topk'),
        ({'on_error': 'ignore'}, 'on_error'),
        ({'normalize': 'sum'}, 'normalize must be'),
        ({'method': 'magic'}, 'method must be'),
    ]:
        with pytest.raises(ValueError, match=message):
            localizer(picture(), **options)


def test_stock_mmpretrain_name_weights_and_the_preprocessor(tmp_path):
    """Channel order, mean and scale of a stock model come out as its own pipeline's."""
    name = 'mobilenet-v2_8xb32_in1k'
    torch.manual_seed(0)
    reference = Localizer(name, device='cpu', random_weights=True)
    model = reference.loaded.model
    torch.save({'state_dict': model.state_dict(), 'meta': {'dataset_meta': {'classes': ['c'] * 1000}}}, tmp_path / 'w')
    localizer = Localizer(name, weights=tmp_path / 'w', device='cpu')
    assert localizer.loaded.size == (224, 224)
    assert localizer.classes == ('c',) * 1000
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    inputs = torch.from_numpy((image / 255 - MEAN) / STD).permute(2, 0, 1)[None].float()
    torch.testing.assert_close(localizer.loaded.inputs([image]), inputs, atol=2e-3, rtol=1e-3)
    (found,) = localizer(image, topk=3)
    features = model.backbone(inputs)[-1]
    expected = torch.einsum('kd,dhw->khw', model.head.fc.weight[found.labels], features[0]).detach()
    np.testing.assert_allclose(found.maps, expected, atol=1e-3 * float(expected.abs().max()))


def test_config_file_and_ill_fitting_weights(tmp_path):
    config = tmp_path / 'tiny.py'
    config.write_text(
        "default_scope = 'mmpretrain'\n"
        'data_preprocessor = dict(mean=[0, 0, 0], std=[255, 255, 255], to_rgb=False)\n'
        "model = dict(type='ImageClassifier', backbone=dict(type='ResNet', depth=18, base_channels=8, "
        "stem_channels=8), neck=dict(type='GlobalAveragePooling'), head=dict(type='LinearClsHead', num_classes=4, "
        'in_channels=64))\n'
        "test_dataloader = dict(dataset=dict(pipeline=[dict(type='Resize', scale=(96, 64))]))\n"
    )
    localizer = Localizer(config, device='cpu', random_weights=True)
    assert localizer.loaded.size == (64, 96)
    image = picture()
    bgr = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None] / 255
    torch.testing.assert_close(localizer.loaded.inputs([image]), bgr)
    state = localizer.loaded.model.state_dict()
    torch.save({'state_dict': {k: v for k, v in state.items() if 'fc' not in k}}, tmp_path / 'part.pth')
    with pytest.raises(ValueError, match=r'2 of the model.s parameters are not in the checkpoint, for example head.fc'):
        Localizer(config, weights=tmp_path / 'part.pth')
    state['head.fc.weight'] = torch.zeros(9, 64)
    torch.save(state, tmp_path / 'other.pth')
    with pytest.raises(ValueError, match=r'do not fit the model .*head.fc.weight'):
        Localizer(config, weights=tmp_path / 'other.pth')
    torch.save({'state_dict': {}, 'code': Localizer}, tmp_path / 'code.pth')
    with pytest.raises(ValueError, match='trust_checkpoint'):
        Localizer(config, weights=tmp_path / 'code.pth')
    with pytest.raises(FileNotFoundError, match='no such checkpoint'):
        Localizer(config, weights=tmp_path / 'absent.pth')
    with pytest.raises(FileNotFoundError, match=r'absent\.py does not exist'):
        Localizer(tmp_path / 'absent.py')
    with pytest.raises(ValueError, match='neither a config file nor'):
        Localizer('no-such-model')


def test_segmentor_of_mmseg():
    pytest.importorskip('mmseg', reason='mmsegmentation is not installed')
    from mmengine.config import Config

    config = Config(
        {
            'default_scope': 'mmseg',
            'data_preprocessor': {'type': 'SegDataPreProcessor', 'mean': [0] * 3, 'std': [255] * 3, 'bgr_to_rgb': True},
            'model': {
                'type': 'EncoderDecoder',
                'backbone': {'type': 'ResNet', 'depth': 18, 'base_channels': 8, 'stem_channels': 8},
                'decode_head': {
                    'type': 'FCNHead',
                    'in_channels': 64,
                    'in_index': 3,
                    'channels': 8,
                    'num_convs': 1,
                    'num_classes': 4,
                    'norm_cfg': {'type': 'BN'},
                },
                'test_cfg': {'mode': 'whole'},
            },
        }
    )
    torch.manual_seed(0)
    localizer = Localizer(config, device='cpu', input_size=(64, 96), random_weights=True)
    (found,) = localizer(picture(), classes='all')
    model = localizer.loaded.model
    inputs = torch.from_numpy(picture()).permute(2, 0, 1)[None].float() / 255
    np.testing.assert_allclose(found.maps, model(inputs, mode='tensor')[0].detach(), atol=1e-5)
    assert localizer(picture(), method='entropy')[0].maps.shape[0] == 1


class Sizes(nn.Module):
    """Notes the sizes of its inputs; one map, the brightness of 8×8 cells, and an empty one."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []
        self.cells = nn.Conv2d(3, 2, 8, 8, bias=False)
        nn.init.constant_(self.cells.weight, 1 / 192)
        self.fc = nn.Linear(2, 2, bias=False)
        nn.init.eye_(self.fc.weight)

    def forward(self, x):
        self.seen.append(tuple(x.shape))
        return self.fc(self.cells(x).mean((2, 3)))


def test_images_keep_their_proportions_where_the_pipeline_does():
    """Wide, tall, wide: two sizes of inputs, results in order, and maps of the shape of each image."""
    localizer = Localizer(Sizes(), batch_size=3, grid='half_pixel')  # following a grid takes a pass of its own
    localizer.loaded.size, localizer.loaded.keep_ratio = (64, 128), True
    images = [np.full(shape, 9 * i, np.uint8) for i, shape in enumerate([(32, 64, 3), (90, 60, 3), (64, 128, 3)], 1)]
    found = localizer(images, progress=False, classes=0)
    assert localizer.loaded.model.seen[-2:] == [(2, 3, 64, 128), (1, 3, 96, 64)]
    assert [one.maps.shape for one in found] == [(1, 8, 16), (1, 12, 8), (1, 8, 16)]
    for one, image in zip(found, images):
        level = ((image[0, 0, 0] / 255 - MEAN) / STD).mean()
        np.testing.assert_allclose(one.maps, level, rtol=1e-5)
    (alone,) = localizer(images[1], classes=0)
    np.testing.assert_allclose(alone.maps, found[1].maps, rtol=1e-6)
    assert Localizer(Sizes(), input_size=40).loaded.keep_ratio is False


def test_entropy_cam_reads_as_the_model_declares_and_the_callers_options_come_first():
    class Declaring(Colours):
        def method_options(self, method):
            return {'temperature': 0.2} if method == 'entropy_cam' else {}

    model = Declaring()
    maps = {}
    for name, source, options in (
        ('declared', model, {}),
        ('told', model, {'temperature': 1.0}),
        ('plain', Colours(), {}),
        ('both', Colours(), {'temperature': 0.2}),
    ):
        localizer = Localizer(source, input_size=(64, 96), **options)
        maps[name] = localizer(picture(), method='entropy_cam', classes=0)[0].maps
    assert not np.allclose(maps['declared'], maps['plain'], rtol=1e-3)
    np.testing.assert_array_equal(maps['declared'], maps['both'])
    np.testing.assert_array_equal(maps['told'], maps['plain'])


def squares_network(kind: str) -> nn.Module:
    """Class 0 is brightness at stride 8: by padded kernels of stride 2 (location j looks at 8j), or by patches."""

    def conv(width: int, k: int, s: int, p: int) -> nn.Conv2d:
        layer = nn.Conv2d(width, 4, k, s, p, bias=False)
        nn.init.constant_(layer.weight, 1 / layer.weight[0].numel())
        return layer

    body = [conv(3, 3, 2, 1), conv(4, 3, 2, 1), conv(4, 3, 2, 1)] if kind == 'padded' else [conv(3, 8, 8, 0)]
    linear = nn.Linear(4, 2)
    linear.weight.data = torch.tensor([[1.0] * 4, [-1.0] * 4])
    nn.init.zeros_(linear.bias)
    return nn.Sequential(*body, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)


def squares(factor: int = 1) -> tuple[list[np.ndarray], np.ndarray]:
    """White squares of 40 pixels on black at every phase of a step of 8, (192, 160) times a factor; their boxes."""
    boxes = np.array([(50 + i, 90 - i, 90 + i, 130 - i) for i in range(8)])
    boxes[:, 2:] = boxes[:, :2] + 40
    images = [np.zeros((192 * factor, 160 * factor, 3), np.uint8) for _ in boxes]
    for image, (x0, y0, x1, y1) in zip(images, boxes * factor):
        image[y0:y1, x0:x1] = 255
    return images, boxes * factor


def put_by(found: list, boxes: np.ndarray) -> np.ndarray:
    """Pixels (x, y) from the squares' middles to those of the boxes that were found, the mean over all."""
    got = np.stack([one.boxes[0][0] for one in found])
    return ((got[:, :2] + got[:, 2:]) / 2 - (boxes[:, :2] + boxes[:, 2:]) / 2).mean(0)


@pytest.mark.parametrize('views', [{}, {'flip': True}, {'scales': (1, 0.5, 1.5), 'flip': True}])
@pytest.mark.parametrize('kind', ['padded', 'patches'])
def test_boxes_and_masks_lie_on_the_square_whatever_the_strides(kind, views):
    model = squares_network(kind)
    localizer = Localizer(model, input_size=(192, 160), **views)
    localizer.loaded.mean, localizer.loaded.std = (0, 0, 0), (1, 1, 1)
    images, boxes = squares()
    found = localizer(images, classes=0, threshold=0.5, progress=False)
    assert np.abs(put_by(found, boxes)).max() < 0.4
    for one, box in zip(found, boxes):
        assert np.abs(one.boxes[0][0] - box).max() < 4
        inside = np.zeros((192, 160), bool)
        inside[box[1] : box[3], box[0] : box[2]] = True
        assert (one.masks[0] & inside).sum() / (one.masks[0] | inside).sum() > 0.85
    half = Localizer(model, input_size=(192, 160), grid='half_pixel', **views)
    half.loaded.mean, half.loaded.std = (0, 0, 0), (1, 1, 1)
    found = half(images, classes=0, threshold=0.5, progress=False)
    assert found[0].grid is None
    if kind == 'patches':
        assert np.abs(put_by(found, boxes)).max() < 0.4
    elif not views:
        assert put_by(found, boxes) == pytest.approx((3.5, 3.5), abs=0.5)
    else:  # the mirrored views take it back in x alone
        assert put_by(found, boxes)[0] == pytest.approx(0, abs=0.5)
        assert put_by(found, boxes)[1] > 3


def test_the_grid_is_in_pixels_of_the_image_whatever_it_is_resized_to():
    localizer = Localizer(squares_network('padded'), input_size=(192, 160))
    localizer.loaded.mean, localizer.loaded.std = (0, 0, 0), (1, 1, 1)
    images, boxes = squares(3)
    found = localizer(images, classes=0, threshold=0.5, progress=False)
    # Location 0 looks at pixel 0 of the input, whose middle is pixel 1 of an image three times as large.
    assert found[0].grid == MapGrid((1, 1), (24, 24), (576, 480))
    assert np.abs(put_by(found, boxes)).max() < 1.2
    kept = Localizer(squares_network('padded'))
    kept.loaded.size, kept.loaded.keep_ratio = (96, 96), True
    (tall, wide) = kept([np.zeros((96, 48, 3), np.uint8), np.zeros((48, 96, 3), np.uint8)], progress=False, classes=0)
    assert (tall.grid, wide.grid) == (MapGrid((0, 0), (8, 8), (96, 48)), MapGrid((0, 0), (8, 8), (48, 96)))


@pytest.mark.parametrize('multi_label', [False, True])
def test_maps_are_read_by_certainty_that_of_sigmoids_for_a_multi_label_model(multi_label):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 8, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    model.head = nn.Identity()
    model.head.multi_label = multi_label
    localizer = Localizer(model, input_size=64, reading='certain')
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    (found,) = localizer(image, classes=[3, 1])
    raw = Localizer(model, input_size=64, reading='protocol')(image, classes=[3, 1])[0].maps
    with torch.no_grad():
        features = model[0](localizer.loaded.inputs([image]))
        logits = torch.einsum('cd,ndhw->nhwc', model[3].weight, features) + model[3].bias
    if multi_label:
        entropy = torch.distributions.Bernoulli(logits=logits).entropy().mean(-1)
    else:
        entropy = torch.distributions.Categorical(logits=logits).entropy()
    np.testing.assert_allclose(found.maps, np.maximum(raw, 0) * np.exp(-entropy.numpy()), rtol=1e-4)


def test_what_the_model_declares_comes_before_the_usual_reading_and_after_what_is_asked_for():
    class Declares(Colours):
        def method_options(self, method):
            return {'reading': 'relu', 'grid': 'half_pixel'} if method == 'cam' else {}

    def reading(method: str, **options) -> Reading:
        localizer = Localizer(Declares(), input_size=(64, 96), **options)
        localizer(picture(), method=method)
        return localizer._explainers[method].reading

    assert reading('cam') == Reading(relu=True)
    assert reading('cam', reading='certain') == Reading.named('certain')
    assert reading('grad_cam') == Reading.named(READING)
    # They are maps of certainty already.
    assert reading('entropy') == reading('entropy_cam') == Reading()
    assert reading('entropy', reading={'spread': 1}) == Reading(spread=1)
    assert Localizer(Declares(), input_size=(64, 96))(picture())[0].grid is None
    assert Localizer(Declares(), input_size=(64, 96), grid='followed')(picture())[0].grid.step == (4, 4)


def test_another_grid_or_reading_is_refused():
    with pytest.raises(ValueError, match="grid must be one of followed, measured, half_pixel, got 'aligned'"):
        Localizer(Colours(), grid='aligned')
    with pytest.raises(ValueError, match=r"reading must be one of protocol, .*got 'sure'"):
        Localizer(Colours(), reading='sure')


@pytest.mark.parametrize('grid', ['followed', 'half_pixel'])
def test_what_is_written_is_drawn_in_the_same_place_when_it_is_read_again(tmp_path, grid):
    localizer = Localizer(squares_network('padded'), input_size=(192, 160), grid=grid)
    images, _ = squares()
    (found,) = localizer(images[0], classes=[0, 1], threshold='otsu')
    writer = ResultWriter(tmp_path)
    writer.write(found, images[0])
    with np.load(tmp_path / 'maps' / f'{found.name}.npz') as stored:
        assert ('grid' in stored) == (grid == 'followed')
        if grid == 'followed':
            assert stored['grid'].tolist() == [[0, 0], [8, 8], [192, 160]]
    back = writer.done(found.name)
    assert (back.grid, back.threshold) == (found.grid, 'otsu')
    np.testing.assert_array_equal(back.upsampled(), found.upsampled())
    np.testing.assert_array_equal(back.masks, found.masks)


def test_a_target_is_explained_and_scored(localizer):
    both = picture(channel=0)
    both[16:48, 64:88, 1] = 255  # green beside red
    target = difference(0, 1)
    (found,) = localizer(both, targets=target)
    red, green = (localizer(both, classes=c)[0] for c in (0, 1))
    np.testing.assert_allclose(found.maps[0], red.maps[0] - green.maps[0], atol=1e-6)
    cells = np.maximum((both / 255 - MEAN).reshape(16, 4, 24, 4, 3).mean((1, 3)), 0).mean((0, 1))
    np.testing.assert_allclose(found.scores, [cells[0] - cells[1]], rtol=1e-5)
    assert (found.labels.tolist(), found.class_names) == ([-1], ('0 - 1',))
    named = localizer(both, targets=localizer.difference('red', ['green']))[0]
    np.testing.assert_array_equal(named.maps, found.maps)
    with pytest.raises(ValueError, match='name one in classes'):
        localizer.difference(['red', 'blue'], 'green')
    with pytest.raises(ValueError, match='classes or targets, not both'):
        localizer(both, classes=0, targets=target)


def test_one_target_an_image_whatever_the_sizes_and_batches(localizer, tmp_path):
    localizer.loaded.size, localizer.loaded.keep_ratio = (64, 96), True  # inputs of several sizes
    pictures = [picture(), picture(96, 64, 1), tmp_path / 'no.png', picture(channel=2), picture(96, 64)]
    (tmp_path / 'no.png').write_text('no image')
    targets = [difference(i % 3, (i + 1) % 3) for i in range(5)]
    found = localizer(pictures, targets=targets, on_error='record')
    assert found[2].error
    for i in (0, 1, 3, 4):
        (alone,) = localizer(pictures[i], targets=targets[i])
        np.testing.assert_allclose(found[i].maps, alone.maps, atol=1e-6)
        assert found[i].class_names == (targets[i].__name__,)
    with pytest.raises(ValueError, match=r'4 target\(s\) were given for more images'):
        localizer(pictures, targets=targets[:4], on_error='record')


def test_a_region_is_in_pixels_of_the_image():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 4, 4), nn.ReLU(), nn.Conv2d(6, 6, 1), nn.Tanh(), nn.Conv2d(6, 4, 1))
    localizer = Localizer(model, input_size=(32, 48))
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    box = localizer(image, classes='all', method='hires_cam', region=(16, 8, 56, 40))[0]
    mask = np.zeros((64, 96), np.uint8)
    mask[8:40, 16:56] = 1
    np.testing.assert_allclose(localizer(image, classes='all', method='hires_cam', region=mask)[0].maps, box.maps)
    inputs = localizer.loaded.inputs([image])
    region = torch.zeros(32, 48)
    region[4:20, 8:28] = 1
    expected = build_explainer('hires_cam', model)(inputs, region=region).maps[0]
    np.testing.assert_allclose(box.maps, expected, atol=1e-7)
    assert box.maps.max() > 0
    with pytest.raises(ValueError, match='a box of 4 numbers or a mask of the image'):
        localizer(image, classes=1, method='hires_cam', region=mask[:5])
