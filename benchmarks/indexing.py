# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Time and memory of indexing ILSVRC's training set (a generated index), against the plain list of dicts.

``python benchmarks/indexing.py [--images 1281167]``: each way in its own process, peak resident memory of that process.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WAYS = {
    'first start': 'streamed into the serialised index, which is then cached',
    'second start': 'read from the cache',
    'list of dicts': 'mmengine as it is: a list first, then serialised',
}


def write_index(root: Path, images: int) -> None:
    """``train_cls.txt`` and the class file of a set with 1 000 classes."""
    lists = root / 'ILSVRC/ImageSets/CLS-LOC'
    lists.mkdir(parents=True)
    wnids = [f'n{1_440_764 + 37 * i:08d}' for i in range(1000)]
    (root / 'LOC_synset_mapping.txt').write_text(''.join(f'{wnid} name\n' for wnid in wnids))
    with open(lists / 'train_cls.txt', 'w') as file:
        for i in range(images):
            wnid = wnids[i * 1000 // images]
            file.write(f'{wnid}/{wnid}_{i} {i + 1}\n')


def measure(way: str, root: str) -> dict:
    """One way, in this process."""
    from mmengine.dataset import BaseDataset

    from mmentropy.datasets import ImageNetLocalization

    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if way == 'list of dicts':

        class Plain(ImageNetLocalization):
            def full_init(self) -> None:
                self._metainfo.setdefault('classes', tuple(self.class_names()))
                BaseDataset.full_init(self)

        reader = Plain
    else:
        reader = ImageNetLocalization
    start = time.perf_counter()
    data = reader(root, 'train')
    seconds = time.perf_counter() - start
    if data.get_data_info(len(data) - 1)['gt_label'] != 999:
        raise ValueError('the last entry is wrong')
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return dict(images=len(data), seconds=seconds, peak=peak, imports=base)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', type=int, default=1_281_167)
    parser.add_argument('--way', choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument('--root', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        print(json.dumps(measure(args.way, args.root)))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_index(Path(folder) / 'set', args.images)
        env = {**os.environ, 'MMENTROPY_CACHE': f'{folder}/cache'}
        results = {}
        for way in WAYS:
            command = [sys.executable, __file__, '--way', way, '--root', f'{folder}/set']
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
            results[way] = json.loads(done.stdout.splitlines()[-1])
    plain = results['list of dicts']['seconds']
    print(f'{"way":<15}{"images":>10}{"seconds":>9}{"ratio":>7}{"peak MiB":>10}{"of it imports":>15}')
    for way, r in results.items():
        cells = (
            f'{r["images"]:>10}{r["seconds"]:>9.1f}{plain / r["seconds"]:>7.1f}{r["peak"]:>10.0f}{r["imports"]:>15.0f}'
        )
        print(f'{way:<15}{cells}   {WAYS[way]}')


if __name__ == '__main__':
    main()
