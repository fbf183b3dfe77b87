# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""mmpretrain's CLIP and its text tower: built offline, weights of two layouts, class names to embeddings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from mmentropy.engine import clip_tokenizer  # noqa: F401  registers the tokenizer
from mmentropy.engine.embeddings import ClassEmbeddings
from mmentropy.ops.mapping.prototypes import mean_direction

TEMPLATES = ('a photo of a {}.',)
#: CLIPs by name: (width, layers, heads of the vision tower; patch; image; width and heads of the text tower; joint).
MODELS_BY_NAME = {
    'clip-vit-base-p32': ('base', 768, 32, 224, 512, 8, 512),
    'clip-vit-base-p16': ('base', 768, 16, 224, 512, 8, 512),
    'clip-vit-large-p14': ('large', 1024, 14, 224, 768, 12, 768),
}
#: Normalisation of the images that CLIPs were trained on.
MEAN, STD = (122.7709383, 116.7460125, 104.09373615), (68.5005327, 66.6321579, 70.32316305)


def clip_settings(name: str) -> dict[str, Any]:
    """The host's ``CLIPZeroShot`` of a name, as a config; without tokenizer and classes.

    Raises:
        ValueError: for another name.

    >>> clip_settings('clip-vit-base-p16')['vision_backbone']['patch_size']
    16
    """
    if name not in MODELS_BY_NAME:
        raise ValueError(f'{name!r}: the CLIP models are {", ".join(MODELS_BY_NAME)}; or name a config of CLIPZeroShot')
    arch, width, patch, size, text, heads, joint = MODELS_BY_NAME[name]
    vision = dict(type='VisionTransformer', arch=arch, img_size=size, patch_size=patch, pre_norm=True)
    vision['layer_cfgs'] = dict(act_cfg=dict(type='QuickGELU'))
    return dict(
        vision_backbone=vision,
        projection=dict(type='CLIPProjection', in_channels=width, out_channels=joint),
        text_backbone=dict(type='CLIPTransformer', width=text, layers=12, heads=heads, attn_mask=True),
        vocab_size=49408,
        transformer_width=text,
        proj_dim=joint,
        context_length=77,
    )


def build_clip(settings: Mapping[str, Any], vocabulary: str | Path, weights: str | Path | None = None) -> nn.Module:
    """The host's ``CLIPZeroShot``, also where the transformers package is missing: only its own tokenizers need that.

    Args:
        settings: arguments of ``CLIPZeroShot``, its ``tokenizer`` apart.
        vocabulary: of :class:`~mmentropy.engine.clip_tokenizer.ClipTokenizer`.
        weights: file; None keeps random ones.

    Raises:
        FileNotFoundError, ValueError: for a vocabulary or weights that are missing or do not fit.
    """
    kind = host_clip()
    arguments = {key: value for key, value in settings.items() if key not in ('type', 'tokenizer')}
    arguments = {key: dict(value) if isinstance(value, Mapping) else value for key, value in arguments.items()}
    tokenizer = dict(type='ClipTokenizer', vocabulary=str(vocabulary))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = kind(tokenizer=tokenizer, **arguments)
    known, wanted = len(model.tokenizer), model.vocab_size
    if known != wanted:
        raise ValueError(f'{vocabulary}: it has {known} tokens, and the text tower embeds {wanted}; take its own file')
    if weights is not None:
        load_clip(model, weights)
    return model.eval()


def host_clip() -> type[nn.Module]:
    """mmpretrain's ``CLIPZeroShot``. Without transformers it registers a placeholder in the place of the class."""
    registered = MODELS.get('CLIPZeroShot')
    if registered is None or not hasattr(registered, 'prepare_text_prototype'):
        MODELS._module_dict.pop('CLIPZeroShot', None)
    from mmpretrain.models.multimodal.clip.clip import CLIPZeroShot

    return CLIPZeroShot


def load_clip(model: nn.Module, weights: str | Path) -> None:
    """Weights of the host's layout or OpenAI's.

    Raises:
        FileNotFoundError: without the file.
        ValueError: for one that is no state dict, or does not fit.
    """
    if not Path(weights).is_file():
        raise FileNotFoundError(f'{weights}: no such checkpoint')
    try:
        state = torch.load(weights, map_location='cpu', weights_only=True)
    except Exception as error:  # an archive of code (OpenAI's own files are), a damaged file
        raise ValueError(
            f'{weights}: it cannot be read as plain data ({str(error).splitlines()[0][:80]}); an archive of OpenAI is '
            'saved as a state dict first: torch.save(torch.jit.load(FILE).state_dict(), NEW)'
        ) from None
    state = state.get('state_dict', state)
    if 'visual.class_embedding' in state:
        state = from_openai(state)
    state = {key: value.float() for key, value in state.items() if isinstance(value, Tensor)}
    try:
        missing, _ = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ValueError(f'{weights}: it does not fit the model ({str(error).splitlines()[1].strip()})') from None
    if missing:
        raise ValueError(f'{weights}: {len(missing)} parameters of CLIP are not in it, for example {missing[0]}')


#: OpenAI's names of a vision tower's parts, and the host's.
OPENAI = (
    (r'^visual\.class_embedding$', 'visual.cls_token'),
    (r'^visual\.positional_embedding$', 'visual.pos_embed'),
    (r'^visual\.conv1\.', 'visual.patch_embed.projection.'),
    (r'^visual\.ln_pre\.', 'visual.pre_norm.'),
    (r'^visual\.ln_post\.', 'visual.ln1.'),
    (r'^visual\.proj$', 'visual_proj.proj'),
    (r'^visual\.transformer\.resblocks\.(\d+)\.ln_', r'visual.layers.\1.ln'),
    (r'^visual\.transformer\.resblocks\.(\d+)\.attn\.in_proj_', r'visual.layers.\1.attn.qkv.'),
    (r'^visual\.transformer\.resblocks\.(\d+)\.attn\.out_proj\.', r'visual.layers.\1.attn.proj.'),
    (r'^visual\.transformer\.resblocks\.(\d+)\.mlp\.c_fc\.', r'visual.layers.\1.ffn.layers.0.0.'),
    (r'^visual\.transformer\.resblocks\.(\d+)\.mlp\.c_proj\.', r'visual.layers.\1.ffn.layers.1.'),
)


def from_openai(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict in OpenAI's layout with the host's names; the text tower's are the same.

    >>> list(from_openai({'visual.transformer.resblocks.3.attn.in_proj_weight': torch.zeros(3, 1)}))
    ['visual.layers.3.attn.qkv.weight']
    """
    found = {}
    for key, value in state.items():
        for old, new in OPENAI:
            key = re.sub(old, new, key)
        if key == 'visual.cls_token':
            value = value[None, None]
        elif key == 'visual.pos_embed':
            value = value[None]
        found[key] = value
    return found


@torch.no_grad()
def embed_classes(
    model: nn.Module, classes: Sequence[str], templates: Sequence[str] = TEMPLATES, made_by: str = ''
) -> ClassEmbeddings:
    """Embeddings of class names: of each, the mean direction over the templates.

    Args:
        model: of :func:`build_clip`.
        classes: their names.
        templates: texts with ``{}`` for the name.
        made_by: for the file.

    Raises:
        ValueError: without classes, for one that is there twice, and for a template without ``{}``.
    """
    doubled = sorted({name for name in classes if list(classes).count(name) > 1})
    if not classes or doubled:
        raise ValueError(f'classes must be named, each once; {doubled[0]!r} stands twice' if doubled else 'no class')
    wrong = [text for text in templates if text.count('{}') != 1]
    if wrong or not templates:
        raise ValueError(f'a template has {{}} once, for the name of the class; got {(wrong or [""])[0]!r}')
    device, vectors = next(model.parameters()).device, []
    for name in classes:
        tokens = model.tokenize([text.format(name) for text in templates])
        vectors.append(mean_direction(model.extract_text_feat(tokens.to(device))))
    scale = float(model.logit_scale.exp())
    return ClassEmbeddings(tuple(classes), torch.stack(vectors).cpu().numpy(), scale, made_by)
