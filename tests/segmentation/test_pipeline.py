# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The pipeline's promises: right numbers, nothing done twice, nothing mixed, nothing lost in a kill."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmentropy.safe_files import DiskFullError, write_whole
from mmentropy.segmentation import Context, ImageMaps, SeedPipeline
from mmentropy.segmentation.training import TORCHRUN, last_step
from mmentropy.tasks import Workers


def build(chain, voc, folder, **options) -> SeedPipeline:
    return SeedPipeline(chain, Context(Path(folder), voc, quiet=True, device='cpu', **options))


def contents(folder: Path) -> dict[str, bytes]:
    """Every output by content; not the marks, which hold times."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file() and path.suffix in ('.npz', '.png', '.txt', '.zip')
    }


def iou_by_hand(voc, folder: Path) -> float:
    """mIoU of palette PNGs, class by class, with sets of pixels."""
    classes = range(voc.num_classes + 1)
    hit, union = dict.fromkeys(classes, 0), dict.fromkeys(classes, 0)
    for key in voc.ids():
        truth, got = voc.mask(key), np.array(Image.open(folder / f'{key}.png'))
        valid = truth != 255
        for c in classes:
            hit[c] += int(((truth == c) & (got == c) & valid).sum())
            union[c] += int((((truth == c) | (got == c)) & valid).sum())
    return 100 * float(np.mean([hit[c] / union[c] for c in classes if union[c]]))


@pytest.fixture(scope='module')
def finished(voc, foreign, tmp_path_factory):
    """One whole run, for the tests that only look."""
    folder = tmp_path_factory.mktemp('run')
    stages = [
        dict(type='ForeignMaps', name='maps', folder=str(foreign), threshold=0.6),
        dict(type='Seed', name='seed', threshold=0.6),
        dict(type='CrfRefine', name='crf', gaussian=[2, 3], bilateral=[20, 10, 6], iterations=5),
        dict(type='PseudoMasks', name='masks'),
    ]
    return folder, build(stages, voc, folder).run()


def test_numbers(voc, finished):
    folder, manifest = finished
    result = {entry['stage']: entry['result'] for entry in manifest['stages']}
    assert list(result) == ['maps', 'seed', 'crf', 'masks']
    assert result['masks']['mIoU'] == pytest.approx(iou_by_hand(voc, folder / 'masks'), abs=0.01)
    # float16 files and a threshold at a histogram's edge: the seeds' mIoU is the curve's but for pixels near it.
    assert result['seed']['mIoU'] == pytest.approx(result['maps']['mIoU'], abs=0.5)
    assert result['maps']['best_mIoU'] >= result['maps']['mIoU']
    assert result['crf']['mIoU'] > result['seed']['mIoU'] + 3
    assert result['masks']['measured'] == len(voc.ids())
    entry = manifest['stages'][2]
    assert entry['inputs'] == ['seed']
    assert entry['outputs']['count'] == len(voc.ids())
    assert entry['settings']['bilateral'] == [20, 10, 6]
    assert entry['version'] == manifest['version']


def test_masks_are_what_mmseg_reads(voc, finished):
    folder, _ = finished
    assert (folder / 'masks/ids.txt').read_text().split() == sorted(voc.ids())
    for key in voc.ids():
        with Image.open(folder / 'masks' / f'{key}.png') as image:
            assert image.mode == 'P'
            values = np.array(image)
        assert values.shape == voc.image(key).shape[:2]
        assert set(np.unique(values)) <= {0, *(voc.labels(key) + 1)}


def test_a_second_start_does_nothing(voc, chain, finished):
    folder, manifest = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob('*') if path.suffix in ('.npz', '.png')}
    assert build(chain, voc, folder).run()['stages'] == manifest['stages']
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert all(row['finished'] for row in build(chain, voc, folder).plan())


def test_a_changed_file_is_made_again_and_only_that(voc, chain, finished, tmp_path):
    folder = tmp_path / 'copy'
    shutil.copytree(finished[0], folder)
    want = contents(folder)
    paths = sorted((folder / 'crf').glob('*.npz'))
    paths[3].write_bytes(b'spoilt')
    paths[5].unlink()
    times = {path: path.stat().st_mtime_ns for path in paths if path.exists() and path != paths[3]}
    pipeline = build(chain, voc, folder)
    stage = pipeline.stage('crf')
    assert pipeline.is_finished(stage)
    assert pipeline.changed_files(stage) == [paths[3], paths[5]]
    assert paths[3].read_bytes() == b'spoilt'  # asking changes nothing
    assert pipeline.changed_files(pipeline.stage('seed')) == []
    manifest = build(chain, voc, folder).run()
    assert contents(folder) == want
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert next(e for e in manifest['stages'] if e['stage'] == 'crf')['result']['made'] == 2


def test_other_settings_are_refused(voc, chain, finished):
    folder, _ = finished
    chain[1]['threshold'] = 0.5
    with pytest.raises(ValueError, match=r'seed: holds outputs of other settings .* take another --work-dir'):
        build(chain, voc, folder).run()
    chain[1]['threshold'] = 0.6
    chain[0]['threshold'] = 0.5
    with pytest.raises(ValueError, match='maps: holds outputs of other settings'):
        build(chain, voc, folder).run()


def test_what_is_upstream_is_part_of_a_hash(voc, chain, tmp_path):
    first = build(chain, voc, tmp_path)
    chain[0]['threshold'] = 0.5
    second = build(chain, voc, tmp_path)
    assert all(first.hash(stage.name) != second.hash(stage.name) for stage in first.stages)
    chain[3]['confidence'] = 0.5
    third = build(chain, voc, tmp_path)
    assert [second.hash(s.name) == third.hash(s.name) for s in second.stages] == [True, True, True, False]
    assert build(chain, voc, tmp_path / 'elsewhere').hash('masks') == third.hash('masks')


def named(chain: list[dict]) -> dict[str, dict]:
    return {stage['name']: {key: value for key, value in stage.items() if key != 'name'} for stage in chain}


def test_stages_by_name_are_the_list(voc, chain, tmp_path):
    """The same settings, sources and hashes, whichever way the stages are written."""
    by_list, by_name = build(chain, voc, tmp_path), build(named(chain), voc, tmp_path)
    assert by_name.settings == by_list.settings
    assert [by_name.hash(name) for name in by_name.settings] == [by_list.hash(name) for name in by_list.settings]


def test_only_and_from(voc, chain, tmp_path):
    pipeline = build(chain, voc, tmp_path)
    with pytest.raises(ValueError, match="crf: the stage 'seed' before it has not finished"):
        pipeline.run(only=['crf'])
    pipeline.run(only=['maps', 'seed'])
    assert not (tmp_path / 'masks').exists()
    assert [row['finished'] for row in pipeline.plan()] == [True, True, False, False]
    pipeline.run(start='crf')
    assert len(list((tmp_path / 'masks').glob('*.png'))) == len(voc.ids())
    with pytest.raises(ValueError, match="no stage 'crg'; this pipeline has maps, seed, crf, masks"):
        pipeline.run(start='crg')


def test_processes_and_shards_give_the_same_files(voc, chain, finished, tmp_path):
    want = contents(finished[0])
    build(chain, voc, tmp_path / 'jobs').run(only=['maps', 'seed'])
    build(chain, voc, tmp_path / 'jobs', jobs=2).run(only=['crf'])
    build(chain, voc, tmp_path / 'jobs').run()
    assert contents(tmp_path / 'jobs') == want


def run_shard(chain, voc, folder, rank: int) -> None:
    workers = Workers('torchrun', 1, rank, 2, patience=5.0)
    build(chain, voc, folder, workers=workers).run()


def test_two_shards_chain_through_all_stages(voc, chain, finished, tmp_path):
    """Started at once from nothing, they give one process's files, figures and failures."""
    fork = multiprocessing.get_context('fork')
    shards = [fork.Process(target=run_shard, args=(chain, voc, tmp_path, rank)) for rank in (0, 1)]
    for shard in shards:
        shard.start()
    for shard in shards:
        shard.join(120)
        assert shard.exitcode == 0
    assert contents(tmp_path) == contents(finished[0])
    manifest = json.loads((tmp_path / 'manifest.json').read_text())
    assert [one['result'] for one in manifest['stages']] == [one['result'] for one in finished[1]['stages']]
    assert all(row['finished'] for row in build(chain, voc, tmp_path).plan())


def test_one_shard_does_what_a_lost_one_left(voc, chain, finished, tmp_path):
    workers = Workers('torchrun', 1, 0, 2, patience=0.3)
    build(chain, voc, tmp_path, workers=workers).run(only=['maps', 'seed'])
    build(chain, voc, tmp_path).run()
    assert contents(tmp_path) == contents(finished[0])


def test_shards_and_a_whole_run_keep_off_each_other(voc, chain, tmp_path):
    import fcntl

    workers = Workers('torchrun', 1, 0, 2)
    with open(tmp_path / '.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match='another run, without shards, works in this folder'):
            build(chain, voc, tmp_path, workers=workers).run()


def run_slowly(chain, voc, folder) -> None:
    """In a process to be killed: every file takes a while, so that the kill falls into an unfinished one."""
    from mmentropy import safe_files

    real = os.fsync

    def slow(number):
        time.sleep(0.12)
        real(number)

    safe_files.os.fsync = slow
    build(chain, voc, folder).run()


def test_killed_at_any_moment(voc, chain, finished, tmp_path):
    """SIGKILL again and again, in every stage; what comes out is what an undisturbed run gives."""
    want, folder = contents(finished[0]), tmp_path / 'run'
    hit, times = set(), {}
    for target in ('maps', 'seed', 'crf', 'masks'):
        process = multiprocessing.get_context('fork').Process(target=run_slowly, args=(chain, voc, folder))
        process.start()
        end = time.monotonic() + 100
        while len(list((folder / target).glob('*.[np][pn][zg]'))) < 3 and process.is_alive():
            assert time.monotonic() < end
            time.sleep(0.005)
        time.sleep(0.06)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        hit.add(target)
        got = contents(folder)
        # Whatever has its final name is whole, and what was finished before has not been touched again.
        assert all(want[name] == data for name, data in got.items() if not name.endswith('.txt')), target
        stamps = {name: (folder / name).stat().st_mtime_ns for name in got}
        assert all(stamps[name] == stamp for name, stamp in times.items())
        times = stamps
        assert len(got) < len(want)
    manifest = build(chain, voc, folder).run()
    assert contents(folder) == want
    assert not list(folder.rglob('*.part'))
    assert {name: (folder / name).stat().st_mtime_ns for name in times} == times
    assert len(manifest['stages']) == 4
    assert hit == {'maps', 'seed', 'crf', 'masks'}


@pytest.fixture
def spoilt(voc, foreign, tmp_path):
    """A copy of the data and the maps, to spoil."""
    from mmentropy.segmentation import VOCFolder

    shutil.copytree(voc.root, tmp_path / 'VOC2012')
    shutil.copytree(foreign, tmp_path / 'foreign')
    return VOCFolder(str(tmp_path / 'VOC2012'), num_classes=5), tmp_path / 'foreign'


def results(manifest: dict) -> dict[str, dict]:
    return {entry['stage']: entry['result'] for entry in manifest['stages']}


@pytest.fixture
def copied(finished, spoilt, chain, tmp_path):
    """A finished run, with data and maps of its own to change: pipeline builder, folder, data, maps."""
    voc, foreign = spoilt
    chain[0]['folder'] = str(foreign)
    folder = tmp_path / 'run'
    build(chain, voc, folder).run()
    return lambda **options: build(chain, voc, folder, **options), folder, voc, foreign


def stamps(folder: Path) -> dict[str, int]:
    return {name: (folder / name).stat().st_mtime_ns for name in contents(folder) if not name.endswith('.txt')}


def touched(folder: Path, before: dict[str, int]) -> set[str]:
    now = stamps(folder)
    return {name for name in now if now[name] != before.get(name)}


def test_an_image_appended_to_the_list_is_made(copied):
    again, folder, voc, foreign = copied
    listed, extra = Path(voc.root, 'ImageSets/Segmentation/train.txt'), voc.ids('val')[0]
    from rough_maps import rough_maps

    np.save(foreign / f'{extra}.npy', rough_maps(voc, extra))
    before = stamps(folder)
    listed.write_text(listed.read_text() + f'{extra}\n')
    assert not any(row['finished'] for row in again().plan())
    manifest = again().run()
    assert touched(folder, before) == {f'{s}/{extra}.{e}' for s, e in zip(CHAIN, ('npz', 'npz', 'npz', 'png'))}
    assert [result['images'] for result in results(manifest).values()] == [11] * 4
    assert extra in (folder / 'masks/ids.txt').read_text().split()
    # And taken off again: nothing is made, and the figures are of ten images.
    listed.write_text(listed.read_text().replace(f'{extra}\n', ''))
    assert [result['images'] for result in results(again().run()).values()] == [10] * 4
    assert extra not in (folder / 'masks/ids.txt').read_text().split()


CHAIN = ('maps', 'seed', 'crf', 'masks')


def test_what_one_image_is_made_from(copied, caplog):
    again, folder, voc, foreign = copied
    first, second, third = voc.ids()[:3]
    before = stamps(folder)
    # A map replaced, an image replaced, labels changed.
    np.save(
        foreign / f'{first}.npy',
        {k: 1 - v for k, v in np.load(foreign / f'{first}.npy', allow_pickle=True).item().items()},
    )
    shutil.copy(voc.image_path(third), voc.image_path(second))
    with caplog.at_level('WARNING'):
        again().run()
    made = {f'{s}/{k}.{e}' for k in (first, second) for s, e in zip(CHAIN, ('npz', 'npz', 'npz', 'png'))}
    assert touched(folder, before) >= {name for name in made if first in name} | {
        f'maps/{second}.npz',
        f'crf/{second}.npz',
    }
    assert touched(folder, before) <= made
    assert 'maps: 2 images changed since' in caplog.text
    assert all(row['finished'] for row in again().plan())


def test_a_repaired_image_is_done_without_being_asked(copied):
    again, folder, voc, _ = copied
    key = voc.ids()[4]
    whole, want = voc.image_path(key).read_bytes(), contents(folder)
    voc.image_path(key).write_bytes(whole[:200])
    manifest = again().run()
    assert results(manifest)['maps']['failed'] == 1
    assert not (folder / f'maps/{key}.npz').exists()
    assert not again().plan()[0]['finished']
    voc.image_path(key).write_bytes(whole)
    manifest = again().run()
    assert results(manifest)['maps']['failed'] == 0
    assert contents(folder) == want


def test_a_failure_is_tried_again(copied, monkeypatch):
    """An image that failed for a reason outside of it, such as a server that was away."""
    from mmentropy.segmentation import ForeignMaps

    again, folder, voc, _ = copied
    key, real, want = voc.ids()[2], ForeignMaps.process, contents(folder)
    (folder / f'maps/{key}.npz').unlink()

    def away(self, ctx, one):
        if one == key:
            raise ValueError('the server is away')
        return real(self, ctx, one)

    monkeypatch.setattr(ForeignMaps, 'process', away)
    assert results(again().run())['maps']['failed'] == 1
    monkeypatch.setattr(ForeignMaps, 'process', real)
    assert results(again().run())['maps']['failed'] == 0
    assert contents(folder) == want


def test_another_data_root(copied, chain, tmp_path):
    """The same content elsewhere is the same; another content is not."""
    from mmentropy.segmentation import VOCFolder

    _, folder, voc, _ = copied
    shutil.copytree(voc.root, tmp_path / 'elsewhere')
    moved, before = VOCFolder(str(tmp_path / 'elsewhere'), num_classes=5), stamps(folder)
    build(chain, moved, folder).run()
    assert touched(folder, before) == set()
    shutil.copy(voc.image_path(voc.ids()[1]), moved.image_path(voc.ids()[0]))
    build(chain, moved, folder).run()
    assert f'maps/{voc.ids()[0]}.npz' in touched(folder, before)


def test_other_true_masks_are_measured_and_nothing_is_made(copied):
    again, folder, voc, _ = copied
    before, old = stamps(folder), results(again().run())
    for key in voc.ids():
        shutil.copy(folder / f'masks/{key}.png', voc.truth_from(key))
    new = results(again().run())
    assert new['masks']['mIoU'] == 100.0 != old['masks']['mIoU']
    assert new['seed']['mIoU'] != old['seed']['mIoU']
    assert touched(folder, before) == set()


def test_redo_makes_a_stage_and_its_readers_anew(copied, chain):
    again, folder, _, _ = copied
    before = stamps(folder)
    chain[2]['bilateral'] = [10, 10, 6]
    with pytest.raises(ValueError, match=r'bilateral was \[20, 10, 6\], is \[10, 10, 6\]\); --redo crf makes it'):
        again().run()
    assert touched(folder, before) == set()
    manifest = again().run(redo=['crf'])
    assert {name.split('/')[0] for name in touched(folder, before)} == {'crf', 'masks'}
    assert [one['settings'].get('bilateral') for one in manifest['stages']] == [None, None, [10, 10, 6], None]
    assert all(row['finished'] for row in again().plan())
    with pytest.raises(ValueError, match="no stage 'crg'"):
        again().run(redo=['crg'])


def test_a_branch_takes_from_its_base_and_writes_nothing_there(copied, chain):
    _, folder, voc, _ = copied
    before = {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()}
    chain[2]['bilateral'] = [10, 10, 6]
    branch = folder.with_name('run@small')
    manifest = build(chain, voc, branch).run()
    assert sorted(path.name for path in branch.iterdir() if path.is_dir()) == ['crf', 'masks']
    assert [one.get('place') for one in manifest['stages']] == [str(folder / 'maps'), str(folder / 'seed'), None, None]
    assert {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()} == before
    # What it has made is what a run of its own makes.
    own = build(chain, voc, folder.with_name('own')).run()
    assert results(own)['masks']['mIoU'] == results(manifest)['masks']['mIoU']
    assert contents(branch / 'masks') == contents(folder.with_name('own') / 'masks')
    # A base that has changed since is not taken from.
    key = voc.ids()[0]
    shutil.copy(voc.image_path(voc.ids()[1]), voc.image_path(key))
    build(chain, voc, branch).run()
    assert (branch / f'maps/{key}.npz').is_file()


def test_keep(copied, chain, caplog):
    again, folder, _, _ = copied
    before = stamps(folder)
    chain[1]['threshold'] = 0.55
    with caplog.at_level('INFO'):
        again().run(keep=['seed', 'crf', 'masks'])
    assert touched(folder, before) == set()
    assert 'masks: finished before, skipped' in caplog.text


@pytest.mark.parametrize('name', ['../../canary.txt', '{canary}'])
def test_an_edited_record_deletes_nothing(copied, tmp_path, name):
    again, folder, _, _ = copied
    canary = tmp_path / 'canary.txt'
    canary.write_text('alive')
    content = json.loads((folder / 'seed/stage.json').read_text())
    content['files'][name.format(canary=canary)] = 'ab'
    (folder / 'seed/stage.json').write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r'seed/stage\.json is no record of a stage: the name .* does not stay inside'):
        again().run()
    assert canary.read_text() == 'alive'


@pytest.mark.parametrize('content', ['{"stages": [', '[]', '{"stages": {"a": 1}}', '{"stages": ["maps"]}'])
def test_a_broken_manifest_is_refused_by_name(copied, content):
    again, folder, _, _ = copied
    whole = json.loads((folder / 'manifest.json').read_text())
    (folder / 'manifest.json').write_text(content)
    with pytest.raises(ValueError, match=r'run/manifest\.json'):
        again().run()
    (folder / 'manifest.json').unlink()
    assert again().run()['stages'] == whole['stages']
    assert json.loads((folder / 'manifest.json').read_text()) == whole


def test_files_that_nobody_noted_are_made_again(copied):
    again, folder, voc, _ = copied
    want = contents(folder)
    (folder / 'seed/stage.json').unlink()
    (folder / f'seed/{voc.ids()[0]}.npz').write_bytes((folder / f'seed/{voc.ids()[1]}.npz').read_bytes())
    again().run()
    assert contents(folder) == want


def test_bad_images_cost_one_sentence_each(spoilt, chain, tmp_path):
    voc, foreign = spoilt
    keys = voc.ids()
    xml = Path(voc.root, 'Annotations')
    text = (xml / f'{keys[0]}.xml').read_text()
    (xml / f'{keys[0]}.xml').write_text(text[: text.index('<object>')] + '</annotation>')
    name = f'<name>{voc.classes[voc.labels(keys[1])[0]]}</name>'
    (xml / f'{keys[1]}.xml').write_text((xml / f'{keys[1]}.xml').read_text().replace(name, '<name>sofa</name>'))
    np.save(
        foreign / f'{keys[2]}.npy',
        {k: v[:-1] for k, v in np.load(foreign / f'{keys[2]}.npy', allow_pickle=True).item().items()},
    )
    np.save(foreign / f'{keys[3]}.npy', {'cams': np.ones((64, 64))})
    (foreign / f'{keys[4]}.npy').unlink()
    Path(voc.root, 'JPEGImages', f'{keys[5]}.jpg').write_bytes(b'\xff\xd8 cut')
    Path(voc.root, 'SegmentationClass', f'{keys[6]}.png').write_bytes(b'\x89PNG cut')
    chain[0]['folder'] = str(foreign)
    manifest = build(chain, voc, tmp_path / 'run').run()
    said = dict(line.split(': ', 1) for line in (tmp_path / 'run/maps/failures.txt').read_text().splitlines())
    for key, words in zip(
        keys,
        (
            'no object, so the image has no label',
            "'sofa' is none of the 5 classes",
            r'the maps have size (63, 64), the image (64, 64)',
            "key 'cams' is not a class in 0–4",
            'no such file',
            'not an image in a format that Pillow reads',
        ),
    ):
        assert words in said[key]
        assert key in said[key]  # the file is named
    assert len(said) == 6
    result = {entry['stage']: entry['result'] for entry in manifest['stages']}
    assert result['maps']['failed'] == 6
    assert result['masks']['images'] == 4
    assert result['masks']['measured'] == 3  # of the one with a bad true mask nothing is measured


def test_nothing_at_all_can_be_done(voc, chain, tmp_path):
    chain[0]['folder'] = str(tmp_path / 'nowhere')
    with pytest.raises(ValueError, match=r'maps: not one of 10 images could be done; the first: .*no such file'):
        build(chain, voc, tmp_path / 'run').run()


def test_a_full_disk_ends_the_run_and_a_second_start_goes_on(voc, chain, finished, tmp_path, monkeypatch):
    from mmentropy import safe_files

    real, count = os.fsync, [0]

    def full(number):
        count[0] += 1
        if count[0] > 15:
            raise OSError(errno.ENOSPC, 'No space left on device')
        real(number)

    monkeypatch.setattr(safe_files.os, 'fsync', full)
    with pytest.raises(DiskFullError, match='the disk is full; free some space and start again'):
        build(chain, voc, tmp_path).run()
    assert not list(tmp_path.rglob('*.part'))
    monkeypatch.setattr(safe_files.os, 'fsync', real)
    build(chain, voc, tmp_path).run()
    assert contents(tmp_path) == contents(finished[0])


def test_a_really_full_disk(tmp_path):
    """A tmpfs of 64 KiB, where the system lets us mount one."""
    folder = tmp_path / 'small'
    folder.mkdir()
    mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=64k', 'none', str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip('mounting a tmpfs is not permitted here; the test with a simulated ENOSPC covers the rest')
    try:
        write_whole(folder / 'a', b'x' * 20_000)
        with pytest.raises(DiskFullError, match='disk is full'):
            write_whole(folder / 'b', b'x' * 100_000)
        assert sorted(path.name for path in folder.iterdir()) == ['a']
    finally:
        subprocess.run(['umount', str(folder)], check=True)


def test_two_runs_do_not_share_a_folder(voc, chain, tmp_path):
    import fcntl

    tmp_path.joinpath('.lock').touch()
    with open(tmp_path / '.lock') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match='another run works in this folder'):
            build(chain, voc, tmp_path).run()


def test_wrong_pipelines(voc, chain, tmp_path):
    with pytest.raises(ValueError, match="reads from 'walk', which is no stage before it"):
        build([*chain, dict(type='Seed', name='x', source='walk')], voc, tmp_path)
    with pytest.raises(ValueError, match="two stages are called 'seed'"):
        build([*chain, dict(type='Seed')], voc, tmp_path)
    with pytest.raises(ValueError, match="stage 'sede' has no type; there are maps, seed, crf, masks, sede: to change"):
        build({**named(chain), 'sede': dict(threshold=0.3)}, voc, tmp_path)
    with pytest.raises(ValueError, match="stage 'seed' calls itself 'cues'; leave its name out"):
        build(dict(seed=dict(type='Seed', name='cues')), voc, tmp_path)
    with pytest.raises(ValueError, match='background must be one of'):
        build([dict(type='Seed', background='white')], voc, tmp_path)
    with pytest.raises(FileNotFoundError, match=r'pipeline config nowhere\.py does not exist'):
        SeedPipeline.from_config('nowhere.py')
    path = tmp_path / 'train.py'
    path.write_text('model = dict()')
    with pytest.raises(ValueError, match="has 'data' and 'stages'"):
        SeedPipeline.from_config(path)


def test_confidence_band(voc, finished, tmp_path):
    from mmentropy.segmentation import PseudoMasks

    folder, _ = finished
    key = voc.ids()[0]
    for name in ('crf', 'masks'):
        (tmp_path / name).mkdir()
    shutil.copy(folder / f'crf/{key}.npz', tmp_path / 'crf')
    PseudoMasks(source='crf', confidence=0.9).process(Context(tmp_path, voc), key)
    got = np.array(Image.open(tmp_path / f'masks/{key}.png'))
    plain = np.array(Image.open(folder / f'masks/{key}.png'))
    best = ImageMaps.load(folder / f'crf/{key}.npz').probabilities().max(axis=0)
    np.testing.assert_array_equal(got == 255, best < 0.9)
    assert (got == 255).any()
    np.testing.assert_array_equal(got[got != 255], plain[got != 255])


ROOT = Path(__file__).resolve().parents[2]


TINY = {
    'partshapes': dict(train=12, val=4, num_classes=5, image_size=64, num_objects=[1, 2], seed=2),
    'classify': {'train_cfg.max_epochs': 2, 'train_dataloader.batch_size': 6, 'train_dataloader.num_workers': 0,
                 'train_dataloader.persistent_workers': False, 'model.backbone.base_channels': 8,
                 'model.backbone.stem_channels': 8},
    'segment': {'train_cfg.max_iters': 3, 'train_dataloader.batch_size': 2, 'train_dataloader.num_workers': 0,
                'train_dataloader.persistent_workers': False, 'default_hooks.checkpoint.interval': 1},
}  # fmt: skip


def tiny_config(folder: Path) -> Path:
    """Every kind of stage, each as short as it can be: two trainings of mmseg's, one of mmpretrain's."""
    configs = ROOT / 'configs/voc'
    path = folder / 'tiny.py'
    affinity = {**TINY['segment'], 'model.backbone.base_channels': 8, 'model.backbone.stem_channels': 8}
    affinity['model.in_channels'] = [8, 16, 64]
    path.write_text(
        f"""
data = dict(split='train', num_classes=5, partshapes={TINY['partshapes']})
stages = [
    dict(type='Classify', config='{configs}/resnet18_partshapes_cls_ent.py', options={TINY['classify']}),
    dict(type='ClassMaps', scales=[1.0, 0.5], stride=4),
    dict(type='Seed', background='entropy'),
    dict(type='PseudoMasks', name='sure', confidence=0.3),
    dict(type='TrainAffinity', config='{configs}/affinity_r18_partshapes.py', init_from='classify', options={affinity}),
    dict(type='RandomWalkRefine', source='seed', affinity='affinity', stride=8, radius=3, log_steps=2),
    dict(type='PseudoMasks'),
    dict(type='Segment', config='{configs}/dsrg_r18_partshapes.py', options={TINY['segment']}),
    dict(type='Test', split='val', flip=True),
]
"""
    )
    return path


@pytest.mark.slow
def test_the_whole_chain_in_one_command(tmp_path):
    """One command from labels to a tested segmenter; a second one finds everything done."""
    command = [sys.executable, str(ROOT / 'tools/seg_pipeline.py'), str(tiny_config(tmp_path)), '--quiet']
    command += ['--work-dir', str(tmp_path / 'run'), '--device', 'cpu']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = json.loads((tmp_path / 'run/manifest.json').read_text())
    names = ['classify', 'maps', 'seed', 'sure', 'affinity', 'walk', 'masks', 'segment', 'test']
    assert [entry['stage'] for entry in manifest['stages']] == names
    result = {entry['stage']: entry['result'] for entry in manifest['stages']}
    assert all(result[name]['mIoU'] is not None for name in ('maps', 'seed', 'walk', 'masks', 'test'))
    assert result['test']['images'] == 4
    with zipfile.ZipFile(tmp_path / 'run/test/val_server.zip') as archive:
        inside = archive.namelist()
        assert len(inside) == 4
        assert all(name.startswith('results/VOC2012/Segmentation/comp6_val_cls/2008_') for name in inside)
    # Checkpoints load weights only, and nothing of the run's place is in the hashes.
    state = torch.load(tmp_path / 'run/segment/model.pth', weights_only=True)
    assert any(key.startswith('backbone') for key in state['state_dict'])
    again = SeedPipeline.from_config(tmp_path / 'tiny.py', tmp_path / 'run', quiet=True, device='cpu')
    assert all(row['finished'] for row in again.plan())
    moved = SeedPipeline.from_config(tmp_path / 'tiny.py', tmp_path / 'elsewhere', quiet=True, device='cpu')
    assert moved.hash('test') == again.hash('test')
    # The segmenter's palette PNGs are argmax of what mmseg itself computes.
    from mmentropy.segmentation.predict import segment_probability
    from mmentropy.segmentation.training import load_host_model

    model = load_host_model(tmp_path / 'run/segment', 'cpu')
    key = again.ctx.data.ids('val')[0]
    image = again.ctx.data.image(key)
    with torch.inference_mode():
        x = (torch.from_numpy(image).permute(2, 0, 1)[None] - 127.5) / 63.75
        logits = model.encode_decode(torch.cat([x, x.flip(-1)]), [{'img_shape': image.shape[:2]}] * 2)
        want = (logits[0].softmax(0) + logits[1].flip(-1).softmax(0)) / 2
    np.testing.assert_allclose(segment_probability(model, image, flip=True), want, atol=1e-4)
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / f'run/test/{key}.png')), want.argmax(0))


@pytest.mark.slow
def test_a_killed_classifier_ends_with_the_same_weights(tmp_path):
    """Its trainer goes with the pipeline, and the next start goes on as if nothing had been."""
    config = tiny_config(tmp_path)
    command = [sys.executable, str(ROOT / 'tools/seg_pipeline.py'), str(config), '--quiet', '--device', 'cpu']
    command += ['--stages', 'classify', '--work-dir']
    subprocess.run([*command, str(tmp_path / 'whole')], check=True, capture_output=True, timeout=600)
    killed = tmp_path / 'killed'
    with subprocess.Popen([*command, str(killed)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        while not (killed / 'classify/epoch_1.pth').is_file():
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    done = subprocess.run([*command, str(killed)], check=True, capture_output=True, timeout=600, text=True)
    assert 'another' not in done.stderr
    want, got = (torch.load(folder / 'classify/model.pth')['state_dict'] for folder in (tmp_path / 'whole', killed))
    assert want.keys() == got.keys()
    assert all(torch.equal(want[name], got[name]) for name in want)


def short_config(folder: Path) -> Path:
    """Trainings of both hosts and what lies between, short enough to be run several times."""
    path = folder / 'short.py'
    stages = """
    dict(type='Classify', config='{configs}/resnet18_partshapes_cls_ent.py', options={classify}),
    dict(type='ClassMaps', scales=[1.0], stride=4, batch_size=1),
    dict(type='Seed', background='entropy'),
    dict(type='PseudoMasks'),
    dict(type='Segment', config='{configs}/dsrg_r18_partshapes.py', options={segment}),
    dict(type='Test', split='val'),
""".format(configs=ROOT / 'configs/voc', **TINY)
    path.write_text(
        f"data = dict(split='train', num_classes=5, partshapes={TINY['partshapes']})\nstages = [{stages}]\n"
    )
    return path


def end(folder: Path) -> tuple[dict[str, bytes], dict[str, torch.Tensor], list]:
    """Outputs, weights and figures of a finished run."""
    weights = {
        f'{stage}/{name}': value
        for stage in ('classify', 'segment')
        for name, value in torch.load(folder / stage / 'model.pth')['state_dict'].items()
    }
    manifest = json.loads((folder / 'manifest.json').read_text())
    told = [(one['stage'], {k: v for k, v in one['result'].items() if k != 'made'}) for one in manifest['stages']]
    return contents(folder), weights, told


@pytest.mark.slow
def test_two_processes_of_torchrun_and_two_shards_end_as_one_process(tmp_path):
    """Trainings, maps, masks and figures, to the last file and weight."""
    tool, config = str(ROOT / 'tools/seg_pipeline.py'), str(short_config(tmp_path))
    options = ['--quiet', '--device', 'cpu', '--work-dir']
    torchrun = [sys.executable, *TORCHRUN, '2', tool, config, '--launcher', 'torchrun']
    ways = {
        'one': [[sys.executable, tool, config]],
        'torchrun': [torchrun],
        'shards': [[sys.executable, tool, config, '--shard', f'{i}/2'] for i in (0, 1)],
    }
    for name, commands in ways.items():
        started = [
            subprocess.Popen([*command, *options, str(tmp_path / name)], stdout=subprocess.DEVNULL, stderr=log)
            for number, command in enumerate(commands)
            for log in [open(tmp_path / f'{name}{number}.log', 'wb')]  # noqa: SIM115
        ]
        for number, process in enumerate(started):
            assert process.wait(900) == 0, (tmp_path / f'{name}{number}.log').read_text()
    files, weights, told = end(tmp_path / 'one')
    assert {name.partition('/')[0] for name in files} >= {'maps', 'seed', 'masks', 'test'}
    for name in ('torchrun', 'shards'):
        also, theirs, said = end(tmp_path / name)
        assert also == files
        assert theirs.keys() == weights.keys()
        assert all(torch.equal(theirs[key], weights[key]) for key in weights)
        assert said == told


@pytest.mark.slow
def test_two_processes_train_together(tmp_path):
    """Each takes half of every batch: as many steps as one process takes."""
    config = short_config(tmp_path)
    config.write_text(config.read_text().replace("type='Classify', ", "type='Classify', processes=2, "))
    SeedPipeline.from_config(config, tmp_path / 'run', quiet=True, device='cpu').run(['classify'])
    (log,) = (tmp_path / 'run/classify').glob('*/*.log')
    assert 'GPU number: 2' in log.read_text()
    # 2 epochs of 12 images in batches of 6.
    assert last_step((tmp_path / 'run/classify/train.log').read_text()).startswith('epoch 2, 2/2')
    weights = torch.load(tmp_path / 'run/classify/model.pth')['state_dict']
    assert all(torch.isfinite(value).all() for value in weights.values())


def test_the_plan(tmp_path, capsys):
    from mmentropy.segmentation.pipeline import print_plan

    pipeline = SeedPipeline.from_config(tiny_config(tmp_path), tmp_path / 'run', quiet=True)
    rows = pipeline.plan()
    assert [row['finished'] for row in rows] == [False] * 9
    assert rows[1]['images'] == 12
    assert rows[5]['reads'] == ['seed', 'affinity']
    assert sum(row['seconds'] for row in rows) > 0
    print_plan(rows)
    assert 'in all about' in capsys.readouterr().out
    assert not (tmp_path / 'run').exists()
