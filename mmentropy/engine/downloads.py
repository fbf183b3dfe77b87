# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Weights from addresses: where a download fails, say what was wanted, from where, and how to do without it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from http.client import HTTPException
from pathlib import PurePosixPath
from typing import Any

import torch
from mmengine.runner import checkpoint as host

#: The host's loaders that download, by the beginnings of the names that they take.
DOWNLOADS = {
    ('http://', 'https://'): host.load_from_http,
    ('modelzoo://', 'torchvision://'): host.load_from_torchvision,
    ('open-mmlab://', 'openmmlab://'): host.load_from_openmmlab,
}


def told_when_offline(load: Callable[..., Any]) -> Callable[..., Any]:
    """A loader of checkpoints whose failed download is one sentence.

    Raises:
        DownloadError: from the loader, instead of whatever the download raised.
        ValueError: from the loader, for a name that there is not.
    """

    @wraps(load)
    def loader(filename: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return load(filename, *args, **kwargs)
        except FileNotFoundError:
            raise
        except KeyError:
            raise ValueError(f'{filename}: there is no model of this name') from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, 'reason', None) or error
            name = PurePosixPath(filename.partition('?')[0]).name
            raise DownloadError(
                f'the weights {filename} could not be downloaded ({reason}); download them elsewhere, and give the '
                f'file in place of the address (load_from=FILE, model.backbone.init_cfg.checkpoint=FILE, --weights '
                f'FILE), or put it into {torch.hub.get_dir()}/checkpoints'
                + (f' as {name}' if filename.startswith('http') else '')
            ) from None

    return loader


class DownloadError(OSError):
    """A download that failed, in one sentence.

    >>> def load(filename):
    ...     raise TimeoutError('no answer')
    >>> try:
    ...     told_when_offline(load)('https://host/w.pth')
    ... except DownloadError as error:
    ...     print(str(error).partition(';')[0])
    the weights https://host/w.pth could not be downloaded (no answer)
    """


for prefixes, load in DOWNLOADS.items():
    host.CheckpointLoader.register_scheme(prefixes, told_when_offline(load), force=True)
