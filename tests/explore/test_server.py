# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The server, asked directly and by a browser."""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
import subprocess
import threading
import time

import numpy as np
import pytest
import uvicorn
from fastapi.responses import HTMLResponse
from fastapi.testclient import TestClient
from test_session import picture, png, small_localizer

from mmentropy.explore.server import HEADERS, PAGE, create_app
from mmentropy.explore.session import ModelViews

BROWSER = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
QUERY = dict(picture=0, model='a', method='cam', reading='relu')


@pytest.fixture
def views() -> ModelViews:
    models = {'a': small_localizer(0), '<i>b</i>': small_localizer(1)}
    commands = {'a': ("it's.py", 'a.pth'), '<i>b</i>': ('b.py', 'b.pth')}
    return ModelViews(models, [picture(0), picture(1), picture(2)], commands)


@pytest.fixture
def client(views) -> TestClient:
    return TestClient(create_app(views))


def test_numbers_are_the_views(client, views):
    told = client.get('/api/view', params=QUERY).json()
    view = views.view(0, 'a', 'cam', 'relu')
    values = np.frombuffer(base64.b64decode(told['cam']), np.uint8).reshape(told['shape'])
    np.testing.assert_array_equal(values, view.cam)
    assert told['own'] == view.own
    assert told['truth'] == view.truth.tolist()
    assert client.get('/api/picture/0').content == views.jpeg(0)
    state = client.get('/api/state').json()
    assert [one['title'] for one in state['models']] == ['a', '<i>b</i>']
    assert state['pictures'][1] == {'name': '1.png', 'label': 2, 'path': ''}


def test_models_without_a_command_have_an_empty_one(views):
    """The page shows it as it stands; null stopped the page."""
    state = TestClient(create_app(ModelViews(views.models, views.pictures))).get('/api/state').json()
    assert [model['command'] for model in state['models']] == ['', '']


def test_measuring_gives_every_picture_its_figures(client, views):
    client.post('/api/measure', params=dict(method='cam', reading='relu'))
    for _ in range(600):
        state = client.get('/api/state').json()
        if not state['measuring']:
            break
        time.sleep(0.05)
    view = views.view(1, 'a', 'cam', 'relu', 2)  # of the true class
    assert state['figures']['1'] == {'iou': pytest.approx(view.iou()), 'entropy': pytest.approx(view.mean_entropy)}
    assert set(state['figures']) == {'0', '1', '2'}


def test_uploads(client):
    assert client.post('/api/upload', content=png(20, 10)).json() == {'picture': 3}
    assert client.get('/api/view', params=QUERY | {'picture': 3}).json()['size'] == [10, 20]
    refused = client.post('/api/upload', content=b'no image')
    assert (refused.status_code, refused.json()['detail']) == (
        422,
        'this is no image that can be read (UnidentifiedImageError)',
    )
    assert client.post('/api/upload', content=b'0' * 21_000_000).status_code == 413


def test_what_is_not_there_is_refused_in_a_sentence(client):
    for address in ('/api/picture/9', '/api/picture/-1'):
        assert client.get(address).status_code == 422
    assert client.get('/api/view', params=QUERY | {'model': '../x'}).json()['detail'].startswith('there is no view')
    assert client.get('/api/picture/..%2f..%2fetc%2fpasswd').status_code in (404, 422)
    assert client.get('/etc/passwd').status_code == 404


def test_other_pages_may_not_ask(client):
    assert client.get('/api/state', headers={'host': 'evil.example'}).status_code == 400
    assert client.post('/api/upload', content=png(2, 2), headers={'origin': 'http://evil.example'}).status_code == 403
    answer = client.get('/')
    assert {key: answer.headers[key] for key in HEADERS} == HEADERS
    assert 'http' not in re.sub(r'"[^"]*"', '', PAGE.read_text()).replace('http-equiv', '')


DRIVER = """
<script>
(async () => {
  const log = {}, data = document.body.dataset, wait = (what) => new Promise((done) => {
    const t = setInterval(() => { if (what()) { clearInterval(t); done(); } }, 20); });
  const press = (key) => document.body.dispatchEvent(
    new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
  const shown = async (act) => { const before = data.shown; act(); await wait(() => data.shown !== before); };
  await wait(() => document.body.dataset.shown);
  log.panes = document.querySelectorAll('#panes section').length;
  log.told = panes[0].told.textContent;
  log.command = by('command').textContent;
  by('threshold').value = 80; by('threshold').oninput();
  log.box = panes[0].box; log.iou = panes[0].iou; log.slow = state.drawn;
  press('ArrowDown'); log.down = by('threshold').value;
  await shown(() => press('ArrowRight')); log.second = state.at;
  await shown(() => press('ArrowLeft')); log.first = state.at;
  await shown(() => { by('class').value = '4'; by('class').onchange(); });
  log.label = panes[0].view.label; log.withClass = by('command').textContent;
  await shown(() => press('r')); log.reading = by('reading').value;
  by('measure').onclick(); await wait(() => document.body.dataset.measured);
  await shown(() => { by('order').value = 'iou up'; by('order').onchange(); });
  log.order = state.order.map((i) => state.figures[i].iou);
  const canvas = document.createElement('canvas'); canvas.width = 30; canvas.height = 20;
  canvas.getContext('2d').fillRect(0, 0, 9, 9);
  await shown(() => canvas.toBlob(upload));
  log.uploaded = [state.at, panes[0].view.size];
  await upload(new Blob(['no image'])); log.refused = by('status').textContent;
  log.wide = document.documentElement.scrollWidth - innerWidth;
  log.markup = document.querySelectorAll('main b, main i:not(.legend i)').length;
  document.body.dataset.log = JSON.stringify(log);
})();
</script>
"""


@pytest.fixture
def address(views):
    """The server on a free port, with a page that is driven by a script, alone and in a frame as wide as a phone."""
    app = create_app(views)

    @app.get('/driven', response_class=HTMLResponse)
    def driven() -> str:
        return PAGE.read_text().replace('</body>', DRIVER + '</body>')

    @app.get('/phone', response_class=HTMLResponse)
    def phone() -> str:
        return (
            '<body><iframe src="/driven" style="width:400px;height:900px;border:0"></iframe><script>setInterval(() => {'
            'const b = document.querySelector("iframe").contentDocument?.body;'
            'if (b?.dataset.log) document.body.dataset.log = b.dataset.log; }, 20)</script></body>'
        )

    server = uvicorn.Server(uvicorn.Config(app, host='127.0.0.1', port=0, log_level='error'))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f'http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}'
    server.should_exit = True
    thread.join(10)


@pytest.mark.skipif(BROWSER is None, reason='no Chromium on this machine')
@pytest.mark.parametrize('page', ['driven', 'phone'])
def test_in_a_browser(page, address, views, tmp_path):
    """Keys, sliders, classes, sorting, an upload; names stay text; nothing scrolls sideways."""
    command = [BROWSER, '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run']
    command += ['--disable-background-networking', '--disable-component-update', '--disable-sync', '--dump-dom']
    command += [f'--user-data-dir={tmp_path / "profile"}', '--virtual-time-budget=120000', '--window-size=1300,1000']
    done = subprocess.run([*command, f'{address}/{page}'], capture_output=True, text=True, timeout=180)
    found = re.search(r'data-log="([^"]*)"', done.stdout)
    assert found, done.stderr[-2000:] + done.stdout[-500:]
    log = json.loads(html.unescape(found.group(1)))
    view = views.view(0, 'a', 'cam', 'certain+spread')
    assert log['panes'] == 2
    assert f'IoU {view.iou():.2f}' in log['told']
    assert log['iou'] == pytest.approx(view.iou(0.8), abs=1e-6)
    assert log['command'].splitlines()[0] == (
        "mmentropy localize 'it'\\''s.py' IMAGE --weights a.pth --method cam --reading certain+spread "
        '--threshold mean_share'
    )
    assert (log['down'], log['second'], log['first'], log['label']) == ('78', 1, 0, 4)
    assert '--classes 4' in log['withClass']
    assert '--threshold 0.78' in log['withClass']
    assert log['reading'] == 'protocol'  # after the last comes the first
    assert log['order'] == sorted(log['order'])
    assert log['uploaded'] == [3, [20, 30]]
    assert log['refused'].startswith('this is no image')
    assert log['wide'] <= 0
    assert log['markup'] == 0
