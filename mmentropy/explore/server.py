# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The explorer's server: a page, and the numbers that it draws. It reads nothing that a request names as a path."""

from __future__ import annotations

import base64
import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

from .session import UPLOAD_BYTES, MapFolderViews, ModelViews, ReportViews, ShownMap

Views = ModelViews | ReportViews | MapFolderViews

PAGE = Path(__file__).with_name('page.html')
#: Everything comes from here; other pages can neither frame nor call it.
HEADERS = {
    'Content-Security-Policy': "default-src 'none'; img-src 'self' blob: data:; connect-src 'self'; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-src 'self'; frame-ancestors 'self'",
    'X-Content-Type-Options': 'nosniff',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Cache-Control': 'no-store',
}
#: Names under which the machine itself may be asked: another page's host name that leads here is refused.
HOSTS = ['127.0.0.1', 'localhost', 'testserver']


def as_json(view: ShownMap) -> dict[str, Any]:
    """A view for the page: maps as base64 of their bytes, row by row."""

    def packed(array: np.ndarray | None) -> str | None:
        return None if array is None else base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()

    return {
        'size': view.size,
        'label': view.label,
        'best': view.best,
        'shape': view.cam.shape,
        'cam': packed(view.cam),
        'entropy': packed(view.entropy),
        'entropy_top': view.entropy_top,
        'own': view.own,
        'truth': view.truth.tolist(),
        'mean_entropy': None if math.isnan(view.mean_entropy) else view.mean_entropy,
    }


class Measuring:
    """IoU and entropy of all pictures of the first model, by a thread of its own; what is done can be sorted."""

    def __init__(self, views: Views) -> None:
        self.views, self.figures = views, {}
        self._thread: threading.Thread | None = None

    def start(self, method: str, reading: str) -> None:
        """Begin, unless it runs."""
        if self._thread is None or not self._thread.is_alive():
            self.figures = {}
            self._thread = threading.Thread(target=self._run, args=(method, reading), daemon=True)
            self._thread.start()

    def _run(self, method: str, reading: str) -> None:
        title = self.views.titles[0]
        for number, picture in enumerate(list(self.views.pictures)):
            label = picture.label if picture.label >= 0 else None
            try:
                view = self.views.view(number, title, method, reading, label)
            except (ValueError, OSError):
                continue
            iou = view.iou()
            self.figures[number] = {
                'iou': None if math.isnan(iou) else iou,
                'entropy': None if math.isnan(view.mean_entropy) else view.mean_entropy,
            }

    @property
    def running(self) -> bool:
        """Whether there is more to come."""
        return self._thread is not None and self._thread.is_alive()


def create_app(views: Views) -> FastAPI:
    """The application, to be bound to 127.0.0.1."""
    app = FastAPI(title='mmentropy explore', docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)
    measuring = Measuring(views)

    @app.middleware('http')
    async def guard(request: Request, call_next: Any) -> Response:
        origin = request.headers.get('origin')
        if origin is not None and origin.partition('://')[2] != request.headers.get('host'):
            return Response('another page may not ask here', 403)
        response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    @app.get('/', response_class=HTMLResponse)
    def page() -> str:
        return PAGE.read_text(encoding='utf-8')

    @app.get('/api/state')
    def state() -> dict[str, Any]:
        return {
            'models': [
                {'title': title, 'classes': views.classes(title), 'command': views.commands.get(title, '')}
                for title in views.titles
            ],
            'methods': views.methods,
            'readings': views.readings,
            'pictures': [{'name': one.name, 'label': one.label, 'path': one.path} for one in views.pictures],
            'figures': measuring.figures,
            'measuring': measuring.running,
        }

    @app.get('/api/picture/{number}')
    def picture(number: int) -> Response:
        return Response(_asked(views.jpeg, number), media_type='image/jpeg')

    @app.get('/api/view')
    def view(picture: int, model: str, method: str, reading: str, label: int | None = None) -> dict[str, Any]:
        return as_json(_asked(views.view, picture, model, method, reading, label))

    @app.post('/api/measure')
    def measure(method: str, reading: str) -> dict[str, bool]:
        measuring.start(method, reading)
        return {'measuring': True}

    @app.post('/api/upload')
    async def upload(request: Request) -> dict[str, int]:
        data = bytearray()
        async for chunk in request.stream():
            data += chunk
            if len(data) > UPLOAD_BYTES:
                raise HTTPException(413, f'at most {UPLOAD_BYTES / 1e6:.0f} MB are taken')
        return {'picture': _asked(views.add, bytes(data))}

    return app


def _asked(function: Any, *arguments: Any) -> Any:
    """What a request asks for, or a sentence."""
    try:
        return function(*arguments)
    except (ValueError, OSError) as error:
        raise HTTPException(422, str(error)) from None
