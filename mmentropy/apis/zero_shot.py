# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A classifier of any classes, by their names: CLIP's image tower with text prototypes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmentropy.engine.clip_text import MEAN, MODELS_BY_NAME, STD, TEMPLATES, build_clip, clip_settings, embed_classes
from mmentropy.engine.startup import load_config


def is_clip(model: object) -> bool:
    """Whether a model may be given classes by name: one of CLIP's names, or the path of a config.

    >>> is_clip('clip-vit-base-p16'), is_clip('resnet18_8xb32_in1k')
    (True, False)
    """
    return str(model) in MODELS_BY_NAME or (Path(str(model)).suffix == '.py' and Path(str(model)).is_file())


def settings_of(model: str | Path) -> dict[str, Any]:
    """Arguments of the host's ``CLIPZeroShot``.

    Raises:
        ValueError: for a config of another model.
    """
    if str(model) in MODELS_BY_NAME:
        return clip_settings(str(model))
    settings = load_config(str(model)).model.to_dict()
    if settings.get('type') != 'CLIPZeroShot':
        raise ValueError(f'{model}: its model is {settings.get("type")}; classes by name are for CLIPZeroShot')
    return {key: value for key, value in settings.items() if key not in ('text_prototype', 'text_prompt')}


def zero_shot_model(
    model: str | Path | Mapping[str, Any],
    classes: Sequence[str],
    weights: str | Path | None,
    vocabulary: str | Path | None,
    templates: Sequence[str] = TEMPLATES,
    dense: str = 'value',
    random_weights: bool = False,
) -> nn.Module:
    """A ``LocalizationClassifier`` whose classes are texts; nothing is trained.

    Its scores are the host's ``CLIPZeroShot``'s; its maps are the logits of each patch
    (:class:`~mmentropy.models.backbones.clip_vision.CLIPVision`), its location entropy theirs.

    Args:
        model: a name (``clip-vit-base-p16`` …), a config of ``CLIPZeroShot``, or its arguments.
        classes: names, as they stand in the templates.
        weights: checkpoint of the whole CLIP, the host's layout or OpenAI's.
        vocabulary: of the text tower's tokenizer, see :class:`~mmentropy.engine.clip_tokenizer.ClipTokenizer`.
        templates: texts with ``{}`` for the name.
        dense: how patches are read.
        random_weights: do without weights.

    Raises:
        FileNotFoundError, ValueError: for weights or a vocabulary that are missing or do not fit.
    """
    from mmentropy.models import CLIPVision, LocalizationClassifier, TextPrototypeHead

    told = 'the model' if isinstance(model, Mapping) else str(model)
    if weights is None and not random_weights:
        raise ValueError(f'{told}: without weights every number would be random; name a checkpoint of CLIP (weights)')
    if vocabulary is None:
        raise ValueError(f'{told}: its text tower needs the vocabulary of CLIP: tokenizer=bpe_simple_vocab_16e6.txt.gz')
    settings = dict(model) if isinstance(model, Mapping) else settings_of(model)
    clip = build_clip(settings, vocabulary, weights)
    embeddings = embed_classes(clip, list(classes), templates)
    backbone = CLIPVision(dict(settings['vision_backbone']), settings['proj_dim'], dense)
    backbone.load_state_dict({key: value for key, value in clip.state_dict().items() if key.startswith('visual')})
    head = TextPrototypeHead(num_classes=len(classes), in_channels=settings['proj_dim'], scale=embeddings.scale)
    head.fc.prototypes.copy_(torch.from_numpy(embeddings.vectors))
    network = LocalizationClassifier(
        backbone,
        dict(type='mmentropy.TokenPooling'),
        head,
        data_preprocessor=dict(mean=list(MEAN), std=list(STD), to_rgb=True, num_classes=len(classes)),
        freeze_backbone=True,
    )
    network.dataset_meta = {'classes': tuple(classes)}
    return network.eval()
