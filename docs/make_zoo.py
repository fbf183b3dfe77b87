# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What the map methods give for each family of networks: writes the tables of docs/zoo.md.

``python docs/make_zoo.py`` builds every folder of mmpretrain's configs that holds a classifier, and networks of
torchvision and timm, small and with random weights; ``tests/explain/test_zoo.py`` compares the page with the truth.
"""

from __future__ import annotations

import argparse
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from mmentropy.explain import build_explainer
from mmentropy.explain.watching import last_tensor
from mmentropy.models.backbones.map_backbone import MAP_OPTIONS
from mmentropy.safe_files import write_whole

PAGE = Path(__file__).with_name('zoo.md')
MARK = '<!-- written by docs/make_zoo.py -->'
CLASSES = 10


@dataclass(frozen=True)
class Network:
    """One network of the zoo.

    Attributes:
        family: a folder of mmpretrain's configs, ``torchvision`` or ``timm``.
        name: the config below the folder without its suffix, or the model's name.
        size: of the square image that is shown, in pixels.
        options: what makes it small: changed keys of the config's model, or arguments of the constructor.
    """

    family: str
    name: str
    size: int = 64
    options: dict = field(default_factory=dict)

    def __str__(self) -> str:
        return f'{self.family}/{self.name}'

    @property
    def hosted(self) -> bool:
        """Whether it is a config of mmpretrain."""
        return self.family not in ('torchvision', 'timm')

    def config(self) -> dict:
        """The ``model`` of mmpretrain's config, made small."""
        import mmpretrain
        from mmengine.config import Config, ConfigDict

        path = Path(mmpretrain.__file__).parent / '.mim/configs' / self.family / f'{self.name}.py'
        model = {
            key: value.to_dict() if isinstance(value, ConfigDict) else value
            for key, value in Config.fromfile(str(path)).model.items()
            if key not in ('train_cfg', 'data_preprocessor', 'init_cfg')
        }
        for key, value in self.options.items():
            part, name = key.split('.')
            model[part][name] = value
        model['backbone'].pop('init_cfg', None)
        if 'num_classes' in (model.get('head') or {}):
            model['head']['num_classes'] = CLASSES
        return model

    def build(self) -> nn.Module:
        """The classifier, in evaluation mode; heads that start at zero are drawn anew."""
        torch.manual_seed(0)
        if self.family == 'torchvision':
            import torchvision

            model = torchvision.models.get_model(self.name, num_classes=CLASSES, **self.options)
        elif self.family == 'timm':
            import timm

            model = timm.create_model(self.name, num_classes=CLASSES, **self.options)
        else:
            model = build_host(self.config())
        for module in model.modules():
            if isinstance(module, nn.Linear) and not module.weight.any():
                nn.init.normal_(module.weight, std=0.02)
        return model.eval()

    def own(self) -> nn.Module:
        """Its backbone in a ``LocalizationClassifier`` with average pooling and a ``CAMHead``.

        Raises:
            ValueError: when the backbone gives no maps.
        """
        backbone = self.config()['backbone'] if self.hosted else dict(type='TIMMBackbone', model_name=self.name)
        if not self.hosted:
            backbone.update(self.options)
        return build_host(
            dict(
                type='mmentropy.LocalizationClassifier',
                backbone=backbone,
                neck=dict(type='GlobalAveragePooling'),
                head=dict(type='mmentropy.CAMHead', num_classes=CLASSES),
            )
        ).eval()

    def image(self) -> Tensor:
        """Noise of the size and channels that the network takes."""
        channels = 1 if self.family == 'lenet' else 3
        return torch.randn(1, channels, self.size, self.size, generator=torch.Generator().manual_seed(1))


def build_host(config: dict) -> nn.Module:
    """A model of mmpretrain from its config."""
    from mmengine.registry import DefaultScope
    from mmpretrain.registry import MODELS

    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(config)


VIT_ARCH = dict(embed_dims=48, num_layers=2, num_heads=3, feedforward_channels=96)
VIT = {'backbone.arch': VIT_ARCH, 'backbone.img_size': 64, 'head.in_channels': 48}
RESNET = {'backbone.base_channels': 8, 'backbone.stem_channels': 8, 'head.in_channels': 256}
CONVNEXT = {'backbone.arch': dict(depths=[1, 1, 1, 1], channels=[8, 16, 24, 48]), 'head.in_channels': 48}
SWIN_ARCH = dict(embed_dims=24, depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 8])
SWIN = {'backbone.arch': SWIN_ARCH, 'head.in_channels': 192}

ZOO = (
    Network('barlowtwins', 'benchmarks/resnet50_8xb32-linear-coslr-100e_in1k', options=RESNET),
    Network('beit', 'benchmarks/beit-base-p16_8xb64_in1k', options=VIT),
    Network('beitv2', 'benchmarks/beit-base-p16_8xb64_in1k', options=VIT),
    Network('byol', 'benchmarks/resnet50_8xb512-linear-coslr-90e_in1k', options=RESNET),
    Network('cae', 'benchmarks/beit-base-p16_8xb128-coslr-100e_in1k', options=VIT),
    Network('clip', 'vit-base-p16_pt-64xb64_in1k-384px', options=VIT),
    Network(
        'conformer',
        'conformer-tiny-p16_8xb128_in1k',
        options={
            'backbone.arch': dict(embed_dims=48, channel_ratio=1, num_heads=3, depths=6),
            'backbone.base_channels': 16,
            'head.in_channels': [64, 48],
        },
    ),
    Network(
        'convmixer',
        'convmixer-768-32_10xb64_in1k',
        options={
            'backbone.arch': dict(embed_dims=48, depth=2, patch_size=8, kernel_size=7),
            'head.in_channels': 48,
        },
    ),
    Network('convnext', 'convnext-tiny_32xb128_in1k', options=CONVNEXT),
    Network('convnext_v2', 'convnext-v2-atto_32xb32_in1k', options=CONVNEXT),
    Network('cspnet', 'cspdarknet50_8xb32_in1k'),
    Network('csra', 'resnet101-csra_1xb16_voc07-448px', 128, {**RESNET, 'backbone.depth': 50}),
    Network(
        'davit',
        'davit-tiny_4xb256_in1k',
        224,
        {**SWIN, 'backbone.arch': {**SWIN_ARCH, 'num_heads': [3, 6, 12, 24]}},
    ),
    Network('deit', 'deit-tiny_4xb256_in1k', options=VIT),
    Network('deit', 'deit-tiny-distilled_4xb256_in1k', options=VIT),
    Network('deit3', 'deit3-small-p16_64xb64_in1k', options=VIT),
    Network('densecl', 'benchmarks/resnet50_8xb32-linear-steplr-100e_in1k', options=RESNET),
    Network(
        'densenet',
        'densenet121_4xb256_in1k',
        options={
            'backbone.arch': dict(growth_rate=8, depths=[2, 2, 2, 2], init_channels=16),
            'head.in_channels': 32,
        },
    ),
    Network(
        'dinov2',
        'vit-small-p14_dinov2-pre_headless',
        56,
        {'backbone.arch': VIT_ARCH, 'backbone.img_size': 56},
    ),
    Network('edgenext', 'edgenext-xxsmall_8xb256_in1k'),
    Network('efficientformer', 'efficientformer-l1_8xb128_in1k', 224),
    Network('efficientnet', 'efficientnet-b0_8xb32_in1k'),
    Network('efficientnet_v2', 'efficientnetv2-b0_8xb32_in1k'),
    Network('eva', 'benchmarks/vit-base-p16_8xb128-coslr-100e_in1k', options=VIT),
    Network(
        'eva02',
        'eva02-tiny-p14_in1k',
        56,
        {**VIT, 'backbone.arch': {**VIT_ARCH, 'num_heads': 4}, 'backbone.img_size': 56},
    ),
    Network('glip', 'glip-t_headless', 224, {'backbone.arch': SWIN_ARCH}),
    Network('hivit', 'hivit-tiny-p16_16xb64_in1k', 224),
    Network('hornet', 'hornet-tiny_8xb128_in1k'),
    Network('hrnet', 'hrnet-w18_4xb32_in1k'),
    Network('inception_v3', 'inception-v3_8xb32_in1k', 128, {'backbone.num_classes': CLASSES}),
    Network('lenet', 'lenet5_mnist', 32),
    Network('levit', 'levit-128s_8xb256_in1k', 224),
    Network('mae', 'benchmarks/vit-base-p16_8xb128-coslr-100e_in1k', options=VIT),
    Network('maskfeat', 'benchmarks/vit-base-p16_8xb256-coslr-100e_in1k', options=VIT),
    Network('mff', 'benchmarks/vit-base-p16_8xb128-coslr-100e_in1k', options=VIT),
    Network('milan', 'benchmarks/vit-base-p16_8xb128-coslr-100e_in1k', options=VIT),
    Network('mixmim', 'benchmarks/mixmim-base_8xb64_in1k', 224, SWIN),
    Network(
        'mlp_mixer',
        'mlp-mixer-base-p16_64xb64_in1k',
        options={
            'backbone.arch': dict(embed_dims=48, num_layers=2, tokens_mlp_dims=24, channels_mlp_dims=96),
            'backbone.img_size': 64,
            'head.in_channels': 48,
        },
    ),
    Network('mobilenet_v2', 'mobilenet-v2_8xb32_in1k'),
    Network('mobilenet_v3', 'mobilenet-v3-small-050_8xb128_in1k'),
    Network('mobileone', 'mobileone-s0_8xb32_in1k'),
    Network('mobilevit', 'mobilevit-xxsmall_8xb128_in1k'),
    Network('mocov2', 'benchmarks/resnet50_8xb32-linear-steplr-100e_in1k', options=RESNET),
    Network(
        'mocov3', 'benchmarks/vit-small-p16_8xb128-linear-coslr-90e_in1k', options={**VIT, 'backbone.frozen_stages': 2}
    ),
    Network(
        'mvit',
        'mvitv2-tiny_8xb256_in1k',
        options={
            'backbone.arch': dict(embed_dims=24, num_layers=4, num_heads=1, downscale_indices=[1, 2, 3]),
            'backbone.img_size': 64,
            'head.in_channels': 192,
        },
    ),
    Network('poolformer', 'poolformer-s12_32xb128_in1k'),
    Network('regnet', 'regnetx-400mf_8xb128_in1k'),
    Network(
        'replknet',
        'replknet-31L_32xb64_in1k-384px',
        options={
            'backbone.arch': dict(
                large_kernel_sizes=[7, 7, 7, 7],
                layers=[1, 1, 1, 1],
                channels=[8, 16, 24, 48],
                small_kernel=5,
                dw_ratio=1,
            ),
            'head.in_channels': 48,
        },
    ),
    Network(
        'repmlp',
        'repmlp-base_8xb64_in1k',
        224,
        {
            'backbone.arch': dict(channels=[16, 32, 64, 128], depths=[1, 1, 1, 1], sharesets_nums=[1, 4, 16, 16]),
            'head.in_channels': 128,
        },
    ),
    Network('repvgg', 'repvgg-A0_8xb32_in1k'),
    Network('res2net', 'res2net50-w14-s8_8xb32_in1k'),
    Network('resnest', 'resnest50_32xb64_in1k'),
    Network('resnet', 'resnet18_8xb32_in1k', options={**RESNET, 'head.in_channels': 64}),
    Network('resnext', 'resnext50-32x4d_8xb32_in1k'),
    Network('revvit', 'revvit-base_8xb256_in1k', options={**VIT, 'head.in_channels': 96}),
    Network('riformer', 'riformer-s12_8xb128_in1k'),
    Network(
        'sam',
        'vit-base-p16_sam_headless',
        options={'backbone.arch': {**VIT_ARCH, 'global_attn_indexes': [1]}, 'backbone.img_size': 64},
    ),
    Network('seresnet', 'seresnet50_8xb32_in1k', options=RESNET),
    Network('shufflenet_v1', 'shufflenet-v1-1x_16xb64_in1k'),
    Network('shufflenet_v2', 'shufflenet-v2-1x_16xb64_in1k'),
    Network('simclr', 'benchmarks/resnet50_8xb512-linear-coslr-90e_in1k', options=RESNET),
    Network('simmim', 'benchmarks/swin-base-w7_8xb256-coslr-100e_in1k', 224, SWIN),
    Network('simsiam', 'benchmarks/resnet50_8xb512-linear-coslr-90e_in1k', options=RESNET),
    Network('spark', 'benchmarks/convnextv2-tiny_8xb256-coslr-300e_in1k', options=CONVNEXT),
    Network('swav', 'benchmarks/resnet50_8xb512-linear-coslr-90e_in1k', options=RESNET),
    Network('swin_transformer', 'swin-tiny_16xb64_in1k', 224, SWIN),
    Network(
        'swin_transformer_v2',
        'swinv2-tiny-w8_16xb64_in1k-256px',
        256,
        {**SWIN, 'backbone.arch': {**SWIN_ARCH, 'extra_norm_every_n_blocks': 0}},
    ),
    Network(
        't2t_vit',
        't2t-vit-t-14_8xb64_in1k',
        options={
            'backbone.embed_dims': 48,
            'backbone.num_layers': 2,
            'backbone.layer_cfgs': dict(num_heads=3, feedforward_channels=96),
            'backbone.img_size': 64,
            'head.in_channels': 48,
        },
    ),
    Network('tinyvit', 'tinyvit-5m_8xb256_in1k', options={'backbone.img_size': (64, 64)}),
    Network(
        'tnt',
        'tnt-s-p16_16xb64_in1k',
        options={
            'backbone.arch': dict(
                embed_dims_outer=48, embed_dims_inner=12, num_layers=2, num_heads_outer=3, num_heads_inner=2
            ),
            'backbone.img_size': 64,
            'head.in_channels': 48,
        },
    ),
    Network('twins', 'twins-svt-small_8xb128_in1k'),
    Network('van', 'van-tiny_8xb128_in1k'),
    Network('vgg', 'vgg11_8xb32_in1k', 224, {'backbone.num_classes': CLASSES}),
    Network('vig', 'vig-tiny_8xb128_in1k', 224),
    Network('vig', 'pvig-tiny_8xb128_in1k', 224),
    Network('vision_transformer', 'vit-base-p32_64xb64_in1k', options={**VIT, 'head.hidden_dim': 96}),
    Network('wrn', 'wide-resnet50_8xb32_in1k', options={**RESNET, 'head.in_channels': 128}),
    Network('xcit', 'xcit-nano-12-p16_8xb128_in1k', 128),
    *(Network('torchvision', name) for name in ('resnet18', 'squeezenet1_1', 'densenet121', 'shufflenet_v2_x0_5')),
    *(Network('torchvision', name) for name in ('mobilenet_v2', 'mobilenet_v3_small', 'mnasnet0_5', 'efficientnet_b0')),
    *(Network('torchvision', name) for name in ('efficientnet_v2_s', 'regnet_y_400mf', 'convnext_tiny', 'swin_t')),
    *(Network('torchvision', name) for name in ('swin_v2_t', 'vgg11')),
    Network('torchvision', 'alexnet', 128),
    *(Network('torchvision', name, 128, {'init_weights': False}) for name in ('inception_v3', 'googlenet')),
    Network('torchvision', 'vit_b_32', 128, {'image_size': 128}),
    Network('torchvision', 'maxvit_t', 224),
    *(Network('timm', name) for name in ('resnet10t', 'regnetx_002', 'convnext_atto', 'mobilenetv3_small_050')),
    *(Network('timm', name) for name in ('poolformer_s12', 'nfnet_l0')),
    *(Network('timm', f'{name}_patch16_224', 64, {'img_size': 64}) for name in ('vit_tiny', 'deit_tiny_distilled')),
    Network('timm', 'vit_small_patch14_reg4_dinov2', 56, {'img_size': 56, 'depth': 2}),
    Network(
        'timm',
        'swin_tiny_patch4_window7_224',
        224,
        {'depths': (1, 1, 1, 1), 'embed_dim': 24, 'num_heads': (1, 2, 4, 8)},
    ),
    Network('timm', 'mixer_s32_224', 224),
    Network('timm', 'xcit_nano_12_p16_224', 128),
)


#: Folders of mmpretrain's configs without a classifier of images: pre-training alone, retrieval, text.
OTHERS = ('arcface', 'blip', 'blip2', 'chinese_clip', 'flamingo', 'itpn', 'llava', 'minigpt4', 'ofa', 'otter')
#: Words of the table, by what the method's warning says.
SAID = {'plain mean': 'approximate', 'reads the class token': 'class token', 'reads the direction': 'cosine'}
METHODS = ('cam', 'entropy', 'grad_cam')


def look(network: Network) -> str:
    """The network's row of the table."""
    model, image = network.build(), network.image()
    grid, words, anatomy = 'none', [], None
    for method in METHODS:
        explainer = build_explainer(method, model)
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter('always')
                # Found once for those that score locations; what each makes of it is asked again.
                if anatomy is not None and explainer.needs_classifier:
                    explainer.anatomy = anatomy
                    explainer._check(anatomy)
                maps = explainer(image, 0).maps
        except ValueError:
            words.append('refused')
        else:
            grid = '×'.join(map(str, maps.shape[2:]))
            said = ' '.join(str(warning.message) for warning in caught)
            word = next((word for text, word in SAID.items() if text in said), 'yes')
            # Gradient maps of random weights may well be cut to nothing; these may not.
            words.append('constant' if method == 'cam' and maps.std() == 0 else word)
        anatomy = anatomy or explainer.anatomy
    cells = [f'`{network}`', str(network.size), grid, *words, own(network, model)]
    return f'| {" | ".join(cells)} |'


def own(network: Network, model: nn.Module) -> str:
    """What the backbone gives under a ``CAMHead``: the last map's size, and the option that was set for it."""
    if network.family == 'torchvision':
        return ''
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            backbone = network.own().backbone
        except ValueError:
            return 'refused'
    with torch.no_grad():
        features = last_tensor(backbone(network.image()))
    stock = getattr(model, 'backbone', backbone)
    changed = [key for key in MAP_OPTIONS if getattr(stock, key, None) != getattr(backbone, key, None)]
    options = [f'`{key}={getattr(backbone, key)!r}`' for key in changed]
    return ', '.join(['×'.join(map(str, features.shape[1:])), *options])


def table(rows: list[str]) -> str:
    """The table of the page."""
    head = ('network', 'image', 'map', *(f'`{method}`' for method in METHODS), 'under a `CAMHead`')
    return '\n'.join([f'| {" | ".join(head)} |', '|---' * len(head) + '|', *rows])


def main() -> None:
    """Write the table into the page, below its mark."""
    argparse.ArgumentParser(description='Write the table of docs/zoo.md: about a minute.').parse_args()
    text, _, _ = PAGE.read_text(encoding='utf-8').partition(MARK)
    write_whole(PAGE, f'{text}{MARK}\n\n{table([look(network) for network in ZOO])}\n')


if __name__ == '__main__':
    main()
