# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The report: what the hook keeps, the figures by hand, and the page in a real browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from mmentropy.ops.localizing.errors import KINDS
from mmentropy.visualization.report import THRESHOLDS, box_curves, describe, entropy_histogram, render_report
from mmentropy.visualization.report_data import ReportData, Sample

EVIL = '</script><script>document.title="owned"</script><img src=x onerror=alert(1)>&amp;"\''


def sample(number: int, **changes) -> Sample:
    """A map whose box is columns 2 to 6 and rows 2 to 6 of 8; the true box is the same for even numbers."""
    cam = np.zeros((8, 8), np.uint8)
    cam[2:6, 2:6] = 255
    box = [0.25, 0.25, 0.75, 0.75] if number % 2 == 0 else [0.0, 0.0, 0.2, 0.2]
    image = np.full((60, 80, 3), 40 + 20 * (number % 10), np.uint8)
    content = {
        'name': f'folder/{number}.jpg',
        'label': number % 3,
        'prediction': number % 3 if number % 4 < 2 else (number + 1) % 3,
        'score': 0.1 + 0.08 * (number % 10),
        'entropy': 0.1 * (number % 7),
        'boxes': np.array([box], np.float32),
        'cam': cam,
        'best_iou': np.where(abs(THRESHOLDS - 0.5) < 0.1, 0.9 if number % 2 == 0 else 0.4, 0.1),
        'thumb': cv2.imencode('.jpg', image)[1].tobytes(),
        'entropy_map': np.linspace(0, 1, 64).reshape(8, 8).astype(np.float16),
    }
    return Sample(**{**content, **changes})


@pytest.fixture
def data() -> ReportData:
    samples = [sample(i) for i in range(12)]
    samples[3].name = EVIL
    return ReportData(samples, ('cat', 'dog', EVIL), {'wsol/GT-known': 51.25, 'x': float('nan')}, 'a = 1 # ' + EVIL)


def test_file_brings_everything_back(tmp_path, data):
    data.samples[5] = sample(5, thumb=None, cam=None, entropy_map=None, score=float('nan'))
    data.save(tmp_path / 'report.npz')
    back = ReportData.load(tmp_path / 'report.npz')
    assert (back.classes, back.config) == (data.classes, data.config)
    assert back.samples[5].thumb is None
    assert np.isnan(back.samples[5].score)
    for a, b in zip(back.samples, data.samples):
        assert (a.name, a.label, a.prediction, a.thumb) == (b.name, b.label, b.prediction, b.thumb)
        np.testing.assert_array_equal(a.boxes, b.boxes)
        np.testing.assert_allclose(a.best_iou, b.best_iou, atol=1e-3)
        assert (a.cam is None) == (b.cam is None)
    edge = ReportData([Sample('x', best_iou=np.array([0.7, 0.69999, 0.3, 0.5, 0.49999, 0.29]))])
    edge.save(tmp_path / 'edge.npz')
    kept = ReportData.load(tmp_path / 'edge.npz').samples[0].best_iou
    for delta in (0.29, 0.3, 0.5, 0.7):
        np.testing.assert_array_equal(kept >= delta, edge.samples[0].best_iou >= delta)
    (tmp_path / 'other.npz').write_text('no')
    with pytest.raises(ValueError, match='not the data of a report'):
        ReportData.load(tmp_path / 'other.npz')
    with pytest.raises(FileNotFoundError, match='ReportHook'):
        ReportData.load(tmp_path / 'absent.npz')


def test_curves_histogram_and_boxes_by_hand(data):
    curves = box_curves(data)
    assert [curves[delta][50] for delta in ('30', '50', '70')] == [100, 50, 50]
    assert curves['30'][0] == curves['30'][-1] == 0
    histogram = entropy_histogram(data, bins=6)
    assert sum(histogram['right']) == 6
    assert sum(histogram['wrong']) == 6
    assert histogram['edges'][-1] == pytest.approx(0.6)
    even, odd = describe(data.samples[0], 0.5), describe(data.samples[1], 0.5)
    np.testing.assert_allclose(even['found'], [[0.25, 0.25, 0.75, 0.75]], atol=0.02)
    assert even['iou'] > 0.93
    assert KINDS[even['error']] == 'correct'
    assert KINDS[odd['error']] == 'elsewhere'
    assert box_curves(ReportData([Sample('x')])) == {}
    assert entropy_histogram(ReportData([Sample('x')])) == {}


@pytest.mark.parametrize(
    ('number', 'changes', 'kind'),
    [
        (0, {'label': 0, 'prediction': 1}, 'wrong_class'),
        (1, {'label': 0, 'prediction': 1}, 'wrong_class_and_box'),
        (1, {'label': 0, 'prediction': -1}, 'elsewhere'),  # without predictions no class is wrong
        (0, {'cam': np.zeros((8, 8), np.uint8)}, 'elsewhere'),  # a map without any box
    ],
)
def test_kinds_are_the_metrics(number, changes, kind):
    """As in ``ErrorAnalysisMetric``: by the one op, under its names."""
    assert KINDS[describe(sample(number, **changes), 0.5)['error']] == kind


def test_page_holds_text_as_data_and_asks_nothing_of_the_network(data):
    page = render_report(data, 'run ' + EVIL)
    assert EVIL not in page
    assert page.count('<script') == 2
    assert re.search(r'(?:src|href)\s*=\s*["\']?(?:https?:)?//', page) is None
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S).group(1)
    content = json.loads(found)
    assert content['title'] == 'run ' + EVIL
    assert content['samples'][3]['name'] == EVIL
    assert content['metrics'] == {'wsol/GT-known': 51.25, 'x': None}
    assert content['thresholdIsOracle']
    assert not json.loads(re.search(r'id="data">(.*?)</script>', render_report(data, 't', 0.3), re.S).group(1))[
        'thresholdIsOracle'
    ]


def test_five_hundred_images_stay_under_fifteen_megabytes():
    noise = np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    worst = cv2.imencode('.jpg', noise, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()  # no photograph is larger
    samples = [sample(i, thumb=worst, cam=np.zeros((28, 28), np.uint8)) for i in range(10)]
    samples = [Sample(**{**vars(samples[i % 10]), 'name': str(i)}) for i in range(500)]
    assert len(render_report(ReportData(samples), 't').encode()) < 15e6


def test_hook_keeps_figures_of_all_and_pictures_of_some(tmp_path):
    pytest.importorskip('mmpretrain', reason='mmpretrain is not installed')
    from mmpretrain.structures import DataSample

    from mmentropy.visualization import ReportHook

    def output(i: int) -> DataSample:
        one = DataSample(metainfo={'img_path': f'a/b/{i}.png', 'ori_shape': (100, 50)})
        one.set_gt_label(1).set_pred_score(torch.tensor([0.3, 0.7]))
        cams = torch.zeros(2, 7, 7)
        cams[1, 1:4, 2:5] = 1
        for value, name in [(cams, 'cams'), (torch.tensor([0, 1]), 'cam_labels'), (torch.tensor(0.25), 'entropy')]:
            one.set_field(value, name)
        return one.set_field(torch.tensor([[10.0, 10, 30, 60]]), 'gt_bboxes') or one

    dataset = type('Five', (), {'metainfo': {'classes': ('a', 'b')}, '__len__': lambda self: 5})()
    loader = SimpleNamespace(dataset=dataset)
    config = SimpleNamespace(pretty_text='x = 1', get=lambda key: 'last.pth')
    runner = SimpleNamespace(test_dataloader=loader, work_dir=str(tmp_path), cfg=config, experiment_name='e')
    hook = ReportHook(max_images=2, thumb=20)
    hook.before_test_epoch(runner)
    image = torch.zeros(3, 40, 20, dtype=torch.uint8)
    image[2] = 200  # red, last in BGR
    hook.after_test_iter(runner, 0, {'inputs': [image] * 3}, [output(i) for i in range(3)])
    hook.after_test_iter(runner, 1, {'inputs': [image] * 2}, [output(i) for i in range(3, 5)])
    hook.after_test_epoch(runner, {'accuracy': 60.0})
    data = ReportData.load(tmp_path / 'report.npz')
    assert [s.thumb is not None for s in data.samples] == [True, False, False, True, False]
    first = data.samples[0]
    assert (first.name, first.label, first.prediction, first.entropy) == ('b/0.png', 1, 1, 0.25)
    assert first.score == pytest.approx(0.7)
    np.testing.assert_allclose(first.boxes, [[0.2, 0.1, 0.6, 0.6]], atol=1e-6)
    assert first.cam.max() == 255
    shown = cv2.imdecode(np.frombuffer(first.thumb, np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (20, 10, 3)
    assert shown[10, 5, 2] > 180
    assert shown[10, 5, 0] < 40
    # The map's block is columns 2 to 5 and rows 1 to 4 of 7: at a high threshold its box meets the true one.
    assert first.best_iou.max() > 0.5
    assert data.metrics == {'accuracy': 60.0}


BROWSER = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
DRIVER = """
<script>
addEventListener('load', () => {
  const log = {}, press = (key) => (document.activeElement || document.body).dispatchEvent(
    new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
  const all = (what) => [...document.querySelectorAll(what)];
  const pick = (id, value) => {
    const s = document.getElementById(id); s.value = value; s.dispatchEvent(new Event('change')); };
  const ious = () => all('#gallery button').map((b) => +b.getAttribute('aria-label').split('IoU ')[1]);
  const names = () => all('#gallery button').length;
  log.first = ious();
  pick('sort', 'iou down'); log.down = ious();
  pick('class', '2'); log.filtered = names();
  pick('error', '0'); log.both = names();
  pick('class', ''); pick('error', '');
  log.all = names();
  const button = document.querySelectorAll('#gallery button')[4];
  button.focus(); button.click();
  const dialog = document.getElementById('dialog');
  log.open = dialog.open;
  log.views = dialog.querySelectorAll('figure').length;
  log.canvas = [...dialog.querySelector('canvas').getContext('2d').getImageData(56, 56, 1, 1).data];
  log.title = document.getElementById('d-title').textContent;
  press('ArrowRight'); log.next = document.getElementById('d-title').textContent;
  press('ArrowLeft'); log.back = document.getElementById('d-title').textContent;
  document.getElementById('close').click();
  log.closed = !dialog.open;
  setTimeout(() => {
    log.focus = document.activeElement === button;
    log.wide = document.documentElement.scrollWidth - innerWidth;
    log.documentTitle = document.title;
    log.images = document.querySelectorAll('img[src="x"]').length;
    document.body.dataset.log = JSON.stringify(log);
  }, 50);
});
</script>
"""


@pytest.mark.skipif(BROWSER is None, reason='no Chromium on this machine')
@pytest.mark.parametrize('width', [390, 1440])
def test_page_in_a_browser(tmp_path, data, width):
    """Sorting, filtering, the dialog and its keys, and no sideways scrolling on a phone."""
    page = render_report(data, 'run ' + EVIL).replace('</body>', DRIVER + '</body>')
    (tmp_path / 'page.html').write_text(page)
    command = [BROWSER, '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run']
    command += ['--disable-background-networking', '--disable-component-update', '--disable-sync', '--dump-dom']
    command += [f'--user-data-dir={tmp_path / "profile"}', '--virtual-time-budget=4000', '--window-size=1500,1000']
    target = tmp_path / 'page.html'
    if width == 390:  # narrower than a headless window can be: the page goes into a frame
        inner = html.escape(page, quote=True)
        (tmp_path / 'frame.html').write_text(
            f'<body><iframe srcdoc="{inner}" style="width:390px;height:900px;border:0"></iframe><script>'
            'setInterval(() => { const b = document.querySelector("iframe").contentDocument?.body;'
            'if (b?.dataset.log) document.body.dataset.log = b.dataset.log; }, 20)</script></body>'
        )
        target = tmp_path / 'frame.html'
    done = subprocess.run([*command, target.as_uri()], capture_output=True, text=True, timeout=120)
    found = re.search(r'data-log="([^"]*)"', done.stdout)
    assert found, done.stderr[-2000:]
    log = json.loads(html.unescape(found.group(1)))
    assert log['first'] == sorted(log['first'])
    assert log['down'] == sorted(log['first'], reverse=True)
    assert (log['filtered'], log['both'], log['all']) == (4, 1, 12)
    assert (log['open'], log['views'], log['closed'], log['focus']) == (True, 3, True, True)
    assert log['next'] != log['title']
    assert log['back'] == log['title']
    # The middle of the map is its maximum: dark red in the turbo colours, at 55 % opacity.
    red, green, blue, alpha = log['canvas']
    assert red > 90
    assert green < 60
    assert blue < 60
    assert 130 < alpha < 150
    assert log['wide'] <= 0
    assert log['documentTitle'] == 'run ' + EVIL
    assert log['images'] == 0
