# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""How fast the explorer answers, in a headless Chromium: ``python benchmarks/explorer.py``.

Moves of the threshold and of the blending, from the event to the frame that shows it; and a picture that was not seen
before, beside one forward pass of its network (torchvision's ResNet-50, random weights, 640×480 pixels of smooth noise
resized to 224×224, one thread).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import uvicorn
from fastapi import Request
from fastapi.responses import HTMLResponse
from measure import Row, interleaved, load_average, paired_ratio, save_rows
from torchvision.models import resnet50

from mmentropy.apis import Localizer
from mmentropy.explore.server import PAGE, create_app
from mmentropy.explore.session import ModelViews, Picture

QUERY = ('network', 'cam', 'certain+spread')
DRIVER = """
<script>
(async () => {
  const data = document.body.dataset, wait = (what) => new Promise((done) => {
    const t = setInterval(() => { if (what()) { clearInterval(t); done(); } }, 1); });
  const painted = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const timed = async (act) => { const began = performance.now(); await act(); return performance.now() - began; };
  await wait(() => data.shown);
  const log = { drawn: [], threshold: [], blend: [], picture: [] };
  for (let i = 0; i < MOVES; i++) {
    for (const name of ['threshold', 'blend']) {
      await painted();
      log[name].push(await timed(async () => {
        by(name).value = (37 * i) % 100; by(name).oninput(); if (name === 'threshold') log.drawn.push(state.drawn);
        await painted(); }));
    }
  }
  for (let i = 1; i < state.pictures.length; i++) {
    const before = data.shown;
    log.picture.push(await timed(async () => { step(1); await wait(() => data.shown !== before); await painted(); }));
  }
  await fetch('log', { method: 'POST', body: JSON.stringify(log) });
})();
</script>
"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--moves', type=int, default=40, help='of each slider')
    parser.add_argument('--rounds', type=int, default=9, help='pictures')
    parser.add_argument('--json', type=Path, help='also write the rows there')
    return parser.parse_args()


def pictures(count: int) -> list[Picture]:
    """Photographs' sizes, smooth noise: no two alike."""
    random = np.random.default_rng(0)
    coarse = [random.integers(0, 255, (12, 16, 3), dtype=np.uint8) for _ in range(count)]
    images = [cv2.resize(small, (640, 480), interpolation=cv2.INTER_CUBIC) for small in coarse]
    return [Picture(f'{i}.jpg', lambda image=image: image) for i, image in enumerate(images)]


def in_the_browser(views: ModelViews, moves: int) -> dict[str, list[float]]:
    """Milliseconds of every move and picture, as the page measures them.

    Raises:
        FileNotFoundError: without a Chromium.
        TimeoutError: if the page does not answer.
    """
    browser = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
    if browser is None:
        raise FileNotFoundError('this measurement needs a Chromium on the PATH')
    app, told = create_app(views), {}

    @app.get('/driven', response_class=HTMLResponse)
    def driven() -> str:
        return PAGE.read_text().replace('</body>', DRIVER.replace('MOVES', str(moves)) + '</body>')

    @app.post('/log')
    async def log(request: Request) -> dict[str, Any]:
        told.update(json.loads(await request.body()))
        return {}

    server = uvicorn.Server(uvicorn.Config(app, host='127.0.0.1', port=0, log_level='error'))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.02)
    address = f'http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/driven'
    options = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync']
    options += ['--disable-background-networking', '--disable-component-update', '--window-size=1300,1000']
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [browser, *options, f'--user-data-dir={folder}', '--remote-debugging-port=0', address],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(3000):
            if told or process.poll() is not None:
                break
            time.sleep(0.1)
        process.terminate()
        process.wait(10)
    server.should_exit = True
    if not told:
        raise TimeoutError('the page told nothing')
    return told


def main() -> None:
    args = parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings('ignore')
    network = resnet50().eval()
    localizer = Localizer(network)
    views = ModelViews({'network': localizer}, pictures(args.rounds + 3))
    fresh = iter(range(args.rounds + 3))
    inputs = localizer.loaded.inputs([views.pictures[0].read()])

    def forward() -> None:
        with torch.inference_mode():
            network(inputs)

    views.view(next(fresh), *QUERY)  # finds layer and grid
    times = interleaved({'view': lambda: views.view(next(fresh), *QUERY), 'forward': forward}, args.rounds)
    views.forget()
    log = in_the_browser(views, args.moves)
    view, passed = times['view'], times['forward']
    rows = [
        Row(
            'explorer: a new picture, in the server',
            f'{1000 * view.median:.0f} ms',
            'one forward pass',
            f'{1000 * passed.median:.0f} ms',
            paired_ratio(view.cpu, passed.cpu),
            target='≤ 1.5',
        )
    ]
    for key, what in (
        ('threshold', 'threshold, until it is painted'),
        ('drawn', "threshold, the page's own work"),
        ('blend', 'blending, until it is painted'),
        ('picture', 'a new picture, until it is painted'),
    ):
        median, worst = float(np.median(log[key])), float(np.max(log[key]))
        target = None if key == 'picture' else '< 100'
        rows.append(Row(f'explorer: {what}', f'{median:.0f} ms', figure=median, unit_of_figure='ms', target=target))
        rows[-1].note = f'largest of {len(log[key])}: {worst:.0f} ms'
    print(f'load {load_average()}')
    for row in rows:
        print(
            f'{row.what}: {row.ours} {row.alternative} {row.alternative_value} {row.figure:.2f} {row.target} {row.note}'
        )
    save_rows(rows, args.json)


if __name__ == '__main__':
    main()
