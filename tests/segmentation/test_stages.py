# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Stages on their own: maps against a plain loop, refiners against the ops, prediction, training end to end."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from rough_maps import rough_maps

from mmentropy.ops.refining.dense_crf import Bilateral, Gaussian, dense_crf
from mmentropy.ops.seeding.confusion import class_iou, confusion_matrix
from mmentropy.ops.seeding.seeds import scale_to_peak
from mmentropy.segmentation import (
    ClassMaps,
    Context,
    CrfRefine,
    ForeignMaps,
    GrowRefine,
    ImageMaps,
    PixelAdaptiveRefine,
    RandomWalkRefine,
    SeedPipeline,
    multi_scale_maps,
)
from mmentropy.segmentation.stage import iou_figures, label_map

ROOT = Path(__file__).resolve().parents[2]


def toy_model(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
    """Class maps and entropy that any position and colour matter to, at stride 4."""
    pooled = F.avg_pool2d(images.float(), 4) / 255
    ramp = torch.linspace(-1, 1, pooled.shape[-1])
    maps = torch.stack([pooled[:, c % 3] * 2 - 0.8 + 0.1 * ramp * c for c in range(5)], dim=1)
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

        def counting(images):
            seen.append(len(images))
            return toy_model(images)

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


def test_figures_of_a_stage():
    """Per cent, two digits; a class that occurs nowhere has none and is not in the mean."""
    counts = np.array([[2, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]])
    assert iou_figures(counts) == {'mIoU': 66.67, 'IoU': [100.0, 50.0, 50.0, None]}
    assert iou_figures(np.zeros((2, 2), int)) == {'mIoU': None, 'IoU': [None, None]}


@pytest.fixture
def scores(voc):
    key = voc.ids()[1]
    maps = rough_maps(voc, key)
    labels = np.array(sorted(maps))
    stacked = scale_to_peak(np.stack([maps[k] for k in sorted(maps)]))
    return key, ImageMaps(
        labels, np.concatenate([np.full((1, 64, 64), 0.55, np.float32), stacked]), (64, 64), None, True
    )


@pytest.mark.parametrize(
    'stage',
    [
        CrfRefine(source='seed', gaussian=(2, 3), bilateral=(20, 10, 6)),
        PixelAdaptiveRefine(source='seed', dilations=(1, 2), iterations=8),
        RandomWalkRefine(source='seed', stride=2, radius=3, log_steps=3, sigma=25),
        GrowRefine(source='seed', seed_confidence=0.55, fg_threshold=0.4, bg_threshold=0.4),
    ],
    ids=['crf', 'pixel adaptive', 'walk on colour', 'grow'],
)
def test_refiners_improve_noisy_seeds(voc, scores, stage, tmp_path):
    key, noisy = scores
    ctx = Context(tmp_path, voc, quiet=True, device='cpu')
    for name in ('seed', stage.name):
        ctx.folder(name).mkdir()
    noisy.save(ctx.folder('seed') / f'{key}.npz')
    stage.process(ctx, key)
    refined = ImageMaps.load(stage.output(ctx, key))
    truth = voc.mask(key)
    before, after = (np.nanmean(class_iou(confusion_matrix(label_map(s), truth, 6))) * 100 for s in (noisy, refined))
    gain = {'crf': 4, 'pixel_adaptive': 4, 'walk': 4, 'grow': -1}[stage.name]
    assert after > before + gain
    if stage.name == 'grow':  # it lifts what is connected to a sure location, and nothing else
        assert (refined.maps.argmax(0) != noisy.maps.argmax(0)).mean() < 0.1
        assert (refined.maps.max(0) > 0.5 * noisy.probabilities().max(0) + 0.4).mean() > 0.2
    assert refined.labels.tolist() == noisy.labels.tolist()
    assert np.isfinite(refined.maps).all()


def test_crf_on_scores_is_the_op_on_their_probabilities(voc, scores, tmp_path):
    key, noisy = scores
    stage = CrfRefine(source='seed', confidence=None, gaussian=(2, 3), bilateral=(20, 10, 6), iterations=3)
    clipped = np.maximum(noisy.maps, 1e-5)
    unary = -np.log(clipped / clipped.sum(0))
    want = dense_crf(unary, voc.image(key), [Gaussian(2, 3), Bilateral(20, 10, 6)], 3)
    got = stage.refine(Context(tmp_path, voc), key, noisy, voc.image(key))
    np.testing.assert_allclose(got, want, atol=1e-4)


def test_crf_backends_agree(voc, scores, tmp_path):
    pytest.importorskip('pydensecrf.densecrf', reason='pydensecrf2 is not installed')
    key, noisy = scores
    got = []
    for backend in ('numba', 'pydensecrf'):
        stage = CrfRefine(source='seed', confidence=None, backend=backend)
        got.append(stage.refine(Context(tmp_path, voc), key, noisy, voc.image(key)).argmax(0))
    assert (got[0] == got[1]).mean() > 0.999


def test_refiners_refuse_what_does_not_fit(voc, scores, tmp_path):
    key, noisy = scores
    ctx = Context(tmp_path, voc)
    (tmp_path / 'seed').mkdir()
    noisy.size = (63, 64)
    noisy.save(tmp_path / f'seed/{key}.npz')
    with pytest.raises(ValueError, match=r'size \(64, 64\), its maps were made for \(63, 64\)'):
        CrfRefine(source='seed').process(ctx, key)
    noisy.background, noisy.maps = False, noisy.maps[1:]
    noisy.save(tmp_path / f'seed/{key}.npz')
    with pytest.raises(ValueError, match='put a Seed stage between'):
        CrfRefine(source='seed').process(ctx, key)
    (tmp_path / f'seed/{key}.npz').write_bytes(b'PK\x03\x04 half')
    with pytest.raises(ValueError, match=f'{key}.npz: not a map file of ours'):
        CrfRefine(source='seed').process(ctx, key)


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


TINY = {
    'partshapes': dict(train=12, val=4, num_classes=5, image_size=64, num_objects=[1, 2], seed=2),
    'classify': {'train_cfg.max_epochs': 2, 'train_dataloader.batch_size': 6, 'train_dataloader.num_workers': 0,
                 'train_dataloader.persistent_workers': False, 'model.backbone.base_channels': 8,
                 'model.backbone.stem_channels': 8},
    'segment': {'train_cfg.max_iters': 3, 'train_dataloader.batch_size': 2, 'train_dataloader.num_workers': 0,
                'train_dataloader.persistent_workers': False, 'default_hooks.checkpoint.interval': 1},
}  # fmt: skip


def tiny_config(folder: Path) -> Path:
    """Every kind of stage, each as short as it can be: two trainings of mmseg's, one of mmpretrain's."""
    configs = ROOT / 'configs/voc'
    path = folder / 'tiny.py'
    affinity = {**TINY['segment'], 'model.backbone.base_channels': 8, 'model.backbone.stem_channels': 8}
    affinity['model.in_channels'] = [8, 16, 64]
    path.write_text(
        f"""
data = dict(split='train', num_classes=5, partshapes={TINY['partshapes']})
stages = [
    dict(type='Classify', config='{configs}/resnet18_partshapes_cls_ent.py', options={TINY['classify']}),
    dict(type='ClassMaps', scales=[1.0, 0.5], stride=4),
    dict(type='Seed', background='entropy'),
    dict(type='PseudoMasks', name='sure', confidence=0.3),
    dict(type='TrainAffinity', config='{configs}/affinity_r18_partshapes.py', init_from='classify', options={affinity}),
    dict(type='RandomWalkRefine', source='seed', affinity='affinity', stride=8, radius=3, log_steps=2),
    dict(type='PseudoMasks'),
    dict(type='Segment', config='{configs}/dsrg_r18_partshapes.py', options={TINY['segment']}),
    dict(type='Test', split='val', flip=True),
]
"""
    )
    return path


@pytest.mark.slow
def test_the_whole_chain_in_one_command(tmp_path):
    """One command from labels to a tested segmenter; a second one finds everything done."""
    command = [sys.executable, str(ROOT / 'tools/seg_pipeline.py'), str(tiny_config(tmp_path)), '--quiet']
    command += ['--work-dir', str(tmp_path / 'run'), '--device', 'cpu']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = json.loads((tmp_path / 'run/manifest.json').read_text())
    names = ['classify', 'maps', 'seed', 'sure', 'affinity', 'walk', 'masks', 'segment', 'test']
    assert [entry['stage'] for entry in manifest['stages']] == names
    result = {entry['stage']: entry['result'] for entry in manifest['stages']}
    assert all(result[name]['mIoU'] is not None for name in ('maps', 'seed', 'walk', 'masks', 'test'))
    assert result['test']['images'] == 4
    with zipfile.ZipFile(tmp_path / 'run/test/val_server.zip') as archive:
        inside = archive.namelist()
        assert len(inside) == 4
        assert all(name.startswith('results/VOC2012/Segmentation/comp6_val_cls/2008_') for name in inside)
    # Checkpoints load weights only, and nothing of the run's place is in the hashes.
    state = torch.load(tmp_path / 'run/segment/model.pth', weights_only=True)
    assert any(key.startswith('backbone') for key in state['state_dict'])
    again = SeedPipeline.from_config(tmp_path / 'tiny.py', tmp_path / 'run', quiet=True, device='cpu')
    assert all(row['finished'] for row in again.plan())
    moved = SeedPipeline.from_config(tmp_path / 'tiny.py', tmp_path / 'elsewhere', quiet=True, device='cpu')
    assert moved.hash('test') == again.hash('test')
    # The segmenter's palette PNGs are argmax of what mmseg itself computes.
    from mmentropy.segmentation.predict import segment_probability
    from mmentropy.segmentation.training import load_host_model

    model = load_host_model(tmp_path / 'run/segment', 'cpu')
    key = again.ctx.data.ids('val')[0]
    image = again.ctx.data.image(key)
    with torch.inference_mode():
        x = (torch.from_numpy(image).permute(2, 0, 1)[None] - 127.5) / 63.75
        logits = model.encode_decode(torch.cat([x, x.flip(-1)]), [{'img_shape': image.shape[:2]}] * 2)
        want = (logits[0].softmax(0) + logits[1].flip(-1).softmax(0)) / 2
    np.testing.assert_allclose(segment_probability(model, image, flip=True), want, atol=1e-4)
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / f'run/test/{key}.png')), want.argmax(0))


def test_the_plan(tmp_path, capsys):
    from mmentropy.segmentation.pipeline import print_plan

    pipeline = SeedPipeline.from_config(tiny_config(tmp_path), tmp_path / 'run', quiet=True)
    rows = pipeline.plan()
    assert [row['finished'] for row in rows] == [False] * 9
    assert rows[1]['images'] == 12
    assert rows[5]['reads'] == ['seed', 'affinity']
    assert sum(row['seconds'] for row in rows) > 0
    print_plan(rows)
    assert 'in all about' in capsys.readouterr().out
    assert not (tmp_path / 'run').exists()
