# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The report: its figures by hand, and the page in a real browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import cv2
import numpy as np
import pytest
from report_samples import EVIL, sample

from mmentropy.ops.localizing.errors import KINDS
from mmentropy.ops.mapping.geometry import MapGrid
from mmentropy.visualization.report import box_curves, describe, entropy_histogram, render_report
from mmentropy.visualization.report_data import ReportData, Sample


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


@pytest.mark.parametrize('grid', [MapGrid((0, 3), (30, 20), (240, 160)), MapGrid.half_pixel((8, 8), (60, 80))])
def test_the_page_is_told_where_maps_look(grid):
    """The rows and columns of the map under the pixels of a picture, as the page computes them from shares of it."""
    entry = describe(sample(0, grid=grid.to_array()), 0.5)
    neutral = grid.is_half_pixel((8, 8))
    for name in ('cam', 'entropy_map'):
        for (a, b), places, n in zip(entry[name]['place'], grid.coordinates((112, 56)), (112, 56)):
            np.testing.assert_allclose(a + b * (np.arange(n) + 0.5) / n, places, atol=1e-4)
        assert (entry[name]['place'] == describe(sample(0), 0.5)[name]['place']) == neutral
    assert (entry['found'] == describe(sample(0), 0.5)['found']) == neutral
