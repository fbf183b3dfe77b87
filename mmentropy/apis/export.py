# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A network with its class maps as ONNX."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmentropy.engine.model_loading import LoadedModel
from mmentropy.explain import CAM
from mmentropy.explain.watching import hooked, last_tensor, run
from mmentropy.ops.mapping.class_maps import class_activation_maps
from mmentropy.safe_files import written_whole

#: Where the file's metadata keep the grid.
GRID_KEY = 'map_grid'


class ScoresAndMaps(nn.Module):
    """Scores (N, C) and raw class maps (N, C, h, w) of a batch; see :class:`mmentropy.explain.CAM`.

    Args:
        loaded: the network.
        raw: take RGB in 0 … 255 and normalise inside.

    >>> layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    >>> network = ScoresAndMaps(LoadedModel(nn.Sequential(*layers), size=(16, 16)))
    >>> scores, maps = network(torch.zeros(1, 3, 16, 16))
    >>> scores.shape, maps.shape
    (torch.Size([1, 5]), torch.Size([1, 5, 14, 14]))
    """

    def __init__(self, loaded: LoadedModel, raw: bool = False) -> None:
        super().__init__()
        self.model, self.raw, self.to_scores = loaded.model, raw, loaded.scores
        explainer = CAM(self.model)
        #: Where the maps' locations look, in pixels of the network's input; None where they tile it.
        self.grid = explainer(loaded.example()).grid
        anatomy = explainer.anatomy
        if anatomy is None:
            raise ValueError(f'{type(self.model).__name__} gave no feature map')
        self.anatomy = anatomy
        preprocessor = getattr(self.model, 'data_preprocessor', None)
        # The network's input order: the host's preprocessors get BGR and turn it round, or not.
        self.bgr = preprocessor is not None and not getattr(
            preprocessor, 'to_rgb', getattr(preprocessor, 'channel_conversion', False)
        )
        mean, std = (np.array(v) * 255 for v in (loaded.mean, loaded.std))
        if preprocessor is not None:
            mean, std = (np.ravel(getattr(preprocessor, k, d)) for k, d in (('mean', [0.0] * 3), ('std', [1.0] * 3)))
        for name, value in (('mean', mean), ('std', std)):
            self.register_buffer(name, torch.tensor(np.asarray(value, np.float32)).view(1, 3, 1, 1))

    mean: Tensor
    std: Tensor

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        if self.raw:
            images = ((images.flip(1) if self.bgr else images) - self.mean) / self.std
        if self.anatomy.dense:
            maps = run(self.model, images)
            return maps.softmax(1).mean((2, 3)), maps
        kept: list[Any] = []
        layer: Any = self.anatomy.layer
        classifier: Any = self.anatomy.classifier
        with hooked([layer.register_forward_hook(lambda m, i, output: kept.append(last_tensor(output)))]):
            logits = run(self.model, images)
        features = self.anatomy.scored(kept[-1], (int(images.shape[2]), int(images.shape[3])))
        return self.to_scores(logits), class_activation_maps(features, classifier.weight)


def export_onnx(loaded: LoadedModel, path: str | Path, raw: bool = False, opset: int = 17) -> ScoresAndMaps:
    """Write the network as ONNX, with a free batch size; through a temporary name.

    The file's metadata say under ``map_grid`` where the maps look: six numbers, start, step and size, y and x, that
    :meth:`mmentropy.ops.mapping.geometry.MapGrid.from_array` takes; without it they tile the input.

    Args:
        loaded: the network, on the CPU.
        path: file to write.
        raw: see :class:`ScoresAndMaps`.
        opset: of ONNX.

    Returns:
        the module that was exported, for comparison.

    Raises:
        ImportError: without the onnx package.
        ValueError: when the network's images keep their proportions: a file has one size.
    """
    try:
        import onnx  # torch's exporter needs it, and says so less clearly
    except ImportError:
        raise ImportError('the export needs the onnx package: run `pip install onnx`') from None
    if loaded.keep_ratio:
        raise ValueError(
            "the config's test pipeline keeps each image's proportions, an ONNX file has one input size: give it "
            '(--input-size, or loaded.fix_size)'
        )
    path = Path(path)
    module = ScoresAndMaps(loaded, raw).eval()
    example = torch.rand(2, 3, *loaded.size) * (255 if raw else 1)
    with written_whole(path) as partial, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter('ignore')  # the tracer's, about sizes that are meant to be constant
        torch.onnx.export(
            module,
            (example,),
            str(partial),
            input_names=['images'],
            output_names=['scores', 'maps'],
            dynamic_axes={name: {0: 'N'} for name in ('images', 'scores', 'maps')},
            opset_version=opset,
            dynamo=False,
        )
        if module.grid is not None:
            written = onnx.load(str(partial))
            written.metadata_props.add(key=GRID_KEY, value=json.dumps(module.grid.to_array().ravel().tolist()))
            onnx.save(written, str(partial))
    return module


def compare_with_onnxruntime(module: ScoresAndMaps, path: str | Path, size: tuple[int, int]) -> float | None:
    """Largest difference between onnxruntime and PyTorch, on batches of 1 and 3.

    Relative to each output's largest value; None without the onnxruntime package.
    """
    try:
        import onnxruntime
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    worst = 0.0
    for count in (1, 3):
        images = torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(count))
        images = images * 255 if module.raw else images
        with torch.no_grad():
            expected = [out.numpy() for out in module(images)]
        for given, truth in zip(session.run(None, {'images': images.numpy()}), expected):
            worst = max(worst, float(np.abs(given - truth).max() / max(np.abs(truth).max(), 1e-12)))
    return worst
