# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Maps in files: what is read, what is refused, over processes, and after an interruption."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from samples import evaluate, make_samples

from mmentropy.evaluation import BoxLocalizationMetric, EntropyMetric, offline
from mmentropy.evaluation.map_files import MapFolder, OneMap, StoredMaps, read_map, read_predictions, with_map
from mmentropy.evaluation.offline import CHUNK, MapEvaluation, Outcome
from mmentropy.shard_files import ShardWriter
from mmentropy.tasks import Workers

TINY = {'eval_size': 32, 'cam_interval': 0.02}
NUMBER = 3 * CHUNK + 5


class Samples:
    """Ground truths of the samples."""

    masks = False

    def __init__(self, number: int = NUMBER) -> None:
        keys = ('gt_label', 'gt_bboxes', 'ori_shape', 'img_path')
        self.samples = [{key: s[key] for key in keys} for s in make_samples(number)]
        self.ids = [s['img_path'] for s in self.samples]

    def __getitem__(self, index: int) -> dict:
        return dict(self.samples[index])


@pytest.fixture
def folder(tmp_path):
    """A map for each sample: a third as npy, npz and png."""
    folder = tmp_path / 'maps'
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(NUMBER):
        grey = rng.integers(0, 256, (9, 9)).astype(np.uint8)
        path = folder / f'image_{i}'
        if i % 3 == 0:
            np.save(f'{path}.jpg.npy', grey.astype(np.float64))
        elif i % 3 == 1:
            np.savez(f'{path}.npz', cam=grey[None].astype(np.float16), other=np.zeros(3))
        else:
            cv2.imwrite(f'{path}.png', grey)
    return folder


def expected_figures(number: int = NUMBER, without: tuple[int, ...] = ()) -> dict:
    rng = np.random.default_rng(0)
    truths = Samples()
    samples = [
        with_map(truths[i], StoredMaps(rng.integers(0, 256, (1, 9, 9)).astype(np.float32))) for i in range(NUMBER)
    ]
    return evaluate(
        BoxLocalizationMetric(**TINY), [s for i, s in enumerate(samples) if i not in without and i < number]
    )


def figures_of(outcome) -> dict:
    figures = BoxLocalizationMetric(**TINY).figures(outcome.counts[0])
    return {f'wsol/{name}': value for name, value in figures.items()}


@pytest.mark.parametrize('jobs', [1, 2])
def test_figures_are_the_metrics(folder, jobs):
    truths = Samples()
    evaluation = MapEvaluation(truths, MapFolder(folder, truths.ids), [BoxLocalizationMetric(**TINY)])
    evaluation.row = lambda sample: {'name': sample['img_path']}
    seen = []
    outcome = evaluation.run(jobs, progress=lambda done, total: seen.append((done, total)))
    assert outcome.faults == []
    assert outcome.images == NUMBER
    assert figures_of(outcome) == expected_figures()
    assert [row['name'] for _, row in outcome.rows] == truths.ids
    assert seen[0] == (0, NUMBER)
    assert seen[-1] == (NUMBER, NUMBER)
    assert len(seen) == 5


def test_faults_are_gathered_and_spoil_nothing(folder):
    (folder / 'image_0.jpg.npy').unlink()
    np.save(folder / 'image_3.jpg.npy', np.full((9, 9), np.nan))
    np.save(folder / 'image_6.jpg.npy', np.zeros((3, 9, 9)))
    (folder / 'image_9.jpg.npy').write_bytes(b'\x93NUMPY broken')
    (folder / 'image_5.png').write_bytes(b'no picture')
    cv2.imwrite(str(folder / 'image_8.png'), np.zeros((9, 9, 3), np.uint8))
    np.savez(folder / 'image_1.npz', a=np.zeros((2, 2)), b=np.zeros((2, 2)))
    np.save(folder / 'image_12.jpg.npy', np.array(['text']).reshape(1, 1))
    np.save(folder / 'unknown.npy', np.zeros((9, 9)))
    truths = Samples()
    truths.samples[15]['gt_bboxes'] = np.zeros((0, 4))
    outcome = MapEvaluation(truths, MapFolder(folder, truths.ids), [BoxLocalizationMetric(**TINY)]).run(2)
    faults = dict(outcome.faults)
    for i, problem in {
        0: 'no map',
        3: '81 NaN or infinite values',
        6: 'has the shape (3, 9, 9), expected (height, width)',
        9: 'cannot be read',
        5: 'cannot be decoded as a picture',
        8: 'is not an 8-bit picture of one channel',
        1: "needs one array, or one called 'cam'",
        12: 'expected real numbers',
        15: 'without a ground-truth box',
    }.items():
        assert problem in faults.pop(f'image_{i}.jpg')
    assert faults == {str(folder / 'unknown.npy'): 'belongs to no id of the metadata'}
    assert outcome.images == NUMBER - 9
    assert figures_of(outcome) == expected_figures(without=(0, 1, 3, 5, 6, 8, 9, 12, 15))


def test_an_image_counts_in_every_metric_or_in_none(folder):
    """The second metric refuses each sample: the first must not have counted it."""
    truths = Samples(4)
    metrics = [BoxLocalizationMetric(**TINY), EntropyMetric()]  # there are no predictions to take the entropy of
    outcome = MapEvaluation(truths, MapFolder(folder, truths.ids), metrics).run()
    assert outcome.images == 0
    assert outcome.counts == [{}, {}]
    assert "has no 'pred_score'" in outcome.faults[0][1]


class Stopped(Exception):
    pass


@pytest.mark.parametrize('jobs', [1, 2])
def test_an_interrupted_run_goes_on(folder, tmp_path, jobs):
    truths, state = Samples(), tmp_path / 'out' / 'state'
    (folder / 'image_0.jpg.npy').unlink()

    def evaluation() -> MapEvaluation:
        made = MapEvaluation(truths, MapFolder(folder, truths.ids), [BoxLocalizationMetric(**TINY)], save_every=0)
        made.row = lambda sample: {'name': sample['img_path']}
        return made

    def stop(done: int, total: int) -> None:
        if done >= 2 * CHUNK:
            raise Stopped

    with pytest.raises(Stopped):
        evaluation().run(jobs, state, 'settings', stop)
    assert state.is_file()
    seen = []
    outcome = evaluation().run(jobs, state, 'settings', lambda done, total: seen.append(done))
    # Four chunks of which one, of 5, is short; with two processes it may be among those that were done.
    left = {2 * CHUNK: 2, 2 * CHUNK + 5: 1, 3 * CHUNK: 1}[seen[0]]
    assert len(seen) == 1 + left
    assert figures_of(outcome) == expected_figures(without=(0,))
    assert outcome.faults == [('image_0.jpg', 'no map')]
    assert [row['name'] for _, row in outcome.rows] == truths.ids[1:]
    assert not state.exists()


@pytest.mark.parametrize('change', ['settings', 'maps', 'damage'])
def test_a_state_of_something_else_is_not_used(folder, tmp_path, change):
    truths, state = Samples(), tmp_path / 'state'
    metrics = [BoxLocalizationMetric(**TINY)]

    def stop(done: int, total: int) -> None:
        if done >= CHUNK:
            raise Stopped

    with pytest.raises(Stopped):
        MapEvaluation(truths, MapFolder(folder, truths.ids), metrics, save_every=0).run(1, state, 'a', stop)
    if change == 'maps':
        (folder / 'image_2.png').unlink()
    elif change == 'damage':
        state.write_bytes(state.read_bytes()[:-40])
    seen = []
    evaluation = MapEvaluation(truths, MapFolder(folder, truths.ids), metrics)
    outcome = evaluation.run(1, state, 'b' if change == 'settings' else 'a', lambda done, total: seen.append(done))
    assert seen[0] == 0
    assert outcome.images == NUMBER - (change == 'maps')


def test_names_of_maps(tmp_path):
    ids = ['a/x.jpg', 'b/x.jpg', 'b/y.jpg', 'c/z.JPEG', 'd/w.png']
    (tmp_path / 'a').mkdir()
    (tmp_path / 'd').mkdir()
    for name in ('a/x.npy', 'x.npy', 'y.npy', 'z.JPEG.npy', 'd/w.png.npy'):
        np.save(tmp_path / name, np.zeros((2, 2)))
    maps = MapFolder(tmp_path, ids)
    assert {i: p.relative_to(tmp_path).as_posix() for i, p in maps.paths.items()} == {
        'a/x.jpg': 'a/x.npy',  # x.npy could be of two images, so it is of none
        'b/y.jpg': 'y.npy',
        'c/z.JPEG': 'z.JPEG.npy',
        'd/w.png': 'd/w.png.npy',
    }
    assert [path.name for path in maps.strangers] == ['x.npy']
    with pytest.raises(FileNotFoundError, match='is not a folder'):
        MapFolder(tmp_path / 'none', ids)


def test_pickles_are_refused(tmp_path):
    np.save(tmp_path / 'a.npy', np.array([{'x': 1}]), allow_pickle=True)
    with pytest.raises(ValueError, match=r'a\.npy cannot be read'):
        read_map(tmp_path / 'a.npy')


def test_predictions(tmp_path):
    path = tmp_path / 'predictions.csv'
    path.write_text('a.jpg,3\nb.jpg,1,2,3,4,5\n')
    assert read_predictions(path) == {'a.jpg': [3], 'b.jpg': [1, 2, 3, 4, 5]}
    for text, line in (('a.jpg\n', 1), ('a.jpg,1\nb.jpg,x\n', 2), ('a.jpg,1\na.jpg,2\n', 2)):
        path.write_text(text)
        with pytest.raises(ValueError, match=rf'predictions\.csv:{line}: expected'):
            read_predictions(path)
    for label in (-1, 10**9):  # one counts from the end, the other fills the memory
        path.write_text(f'a.jpg,1,{label}\n')
        with pytest.raises(ValueError, match=rf'predictions\.csv:1: labels are from 0 to 999999, found \[1, {label}\]'):
            read_predictions(path)
    with pytest.raises(FileNotFoundError, match='does not exist'):
        read_predictions(tmp_path / 'none.csv')


def test_predictions_decide_top1_and_top5():
    truths = Samples(12)
    labels = [int(s['gt_label'][0]) for s in truths.samples]
    others = [[c for c in range(20) if c != label][:5] for label in labels]
    metric = BoxLocalizationMetric(**TINY)
    best = MapEvaluation(truths, OneMap(np.eye(9, dtype=np.float32)), [metric])
    known = figures_of(best.run())
    best.predictions = {i: [label, *other[:4]] for i, label, other in zip(truths.ids, labels, others)}
    right = figures_of(best.run())
    assert right['wsol/Top1-Loc'] == right['wsol/Top5-Loc'] == known['wsol/GT-known'] > 0
    best.predictions = {i: [*other[:4], label] for i, label, other in zip(truths.ids, labels, others)}
    fifth = figures_of(best.run())
    assert (fifth['wsol/Top1-Loc'], fifth['wsol/Top5-Loc']) == (0, known['wsol/GT-known'])
    best.predictions = dict(zip(truths.ids, others))
    never = figures_of(best.run())
    assert (never['wsol/Top1-Loc'], never['wsol/Top5-Loc']) == (0, 0)
    best.predictions = {i: [label] for i, label in zip(truths.ids, labels)} | {'strange.jpg': [0]}
    del best.predictions[truths.ids[0]]
    outcome = best.run()
    assert 'wsol/Top5-Loc' not in figures_of(outcome)  # one class a row says nothing of five
    assert outcome.faults == [
        (truths.ids[0], 'no row in the predictions'),
        ('strange.jpg', 'predicted, but not in the metadata'),
    ]


def stopped_after_one_chunk(folder, truths, state) -> MapEvaluation:
    def stop(done: int, total: int) -> None:
        if done >= CHUNK:
            raise Stopped

    metrics = [BoxLocalizationMetric(**TINY)]
    with pytest.raises(Stopped):
        MapEvaluation(truths, MapFolder(folder, truths.ids), metrics, save_every=0).run(1, state, 'a', stop)
    return MapEvaluation(truths, MapFolder(folder, truths.ids), metrics)


def test_a_run_with_other_ground_truths_begins_anew(folder, tmp_path, capsys):
    truths = Samples()
    evaluation = stopped_after_one_chunk(folder, truths, tmp_path / 'state')
    truths.samples[3]['gt_bboxes'] = truths.samples[3]['gt_bboxes'] + 1
    seen = []
    outcome = evaluation.run(1, tmp_path / 'state', 'a', lambda done, total: seen.append(done))
    assert seen[0] == 0
    assert figures_of(outcome) == figures_of(evaluation.run())
    assert 'maps or ground truths have changed since: all is evaluated anew' in capsys.readouterr().err


def test_a_run_whose_map_became_an_older_file_begins_anew(folder, tmp_path):
    """The youngest file's time and the number of files are as they were."""
    truths = Samples()
    evaluation = stopped_after_one_chunk(folder, truths, tmp_path / 'state')
    np.save(folder / 'image_3.jpg.npy', np.eye(9))
    os.utime(folder / 'image_3.jpg.npy', (1, 1))
    seen = []
    outcome = evaluation.run(1, tmp_path / 'state', 'a', lambda done, total: seen.append(done))
    assert seen[0] == 0
    assert figures_of(outcome) == figures_of(evaluation.run())


def write_shard(folder: Path, out: Path, changed: int | None = None) -> None:
    """The folder's files in one shard; one of them with another map of the same number of bytes."""
    out.mkdir(exist_ok=True)
    (out / 'maps-00000.tar').unlink(missing_ok=True)
    with ShardWriter(out) as shards:
        for i, path in enumerate(sorted(folder.iterdir())):
            data = path.read_bytes()
            shards.write(path.name, data if i != changed else data[:128] + data[128:][::-1])


@pytest.mark.parametrize('launcher', ['none', 'slurm'])
def test_a_shard_that_was_replaced_is_evaluated_anew(folder, tmp_path, launcher, capsys):
    """Its name, size and times are as they were; the map that is another one was counted already."""
    truths, shards = Samples(), tmp_path / 'shards'
    write_shard(folder, shards)
    before = (shards / 'maps-00000.tar').stat()
    if launcher == 'none':
        stopped_after_one_chunk(shards, truths, tmp_path / 'state')
    else:  # the second of two ranks has done its share
        spread(shards, tmp_path / 'state', BoxLocalizationMetric(**TINY), Workers('slurm', 1, 1, 2))
    names = sorted(path.name for path in folder.iterdir())
    write_shard(folder, shards, names.index(f'image_{0 if launcher == "none" else CHUNK + 1}.jpg.npy'))
    os.utime(shards / 'maps-00000.tar', ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (shards / 'maps-00000.tar').stat().st_size == before.st_size
    workers = Workers() if launcher == 'none' else Workers('slurm', 1, 0, 2, patience=0.1)
    again = MapEvaluation(truths, MapFolder(shards, truths.ids), [BoxLocalizationMetric(**TINY)])
    outcome = again.run(1, tmp_path / 'state', 'a', workers=workers)
    fresh = again.run()
    assert figures_of(outcome) == figures_of(fresh)
    assert outcome.faults == fresh.faults == []
    assert 'have changed since' in capsys.readouterr().err


def test_truths_with_a_digest_of_their_own_are_asked_for_it(folder, tmp_path):
    truths = Samples()
    truths.digest = lambda index: b'always the same'
    evaluation = stopped_after_one_chunk(folder, truths, tmp_path / 'state')
    truths.samples[3]['gt_bboxes'] = truths.samples[3]['gt_bboxes'] + 1
    seen = []
    evaluation.run(1, tmp_path / 'state', 'a', lambda done, total: seen.append(done))
    assert seen[0] == CHUNK


class Killed(BoxLocalizationMetric):
    """Ends its process at one image."""

    def count(self, sample: dict) -> dict:
        if sample['img_path'] == f'image_{2 * CHUNK}.jpg':
            time.sleep(0.3)  # the chunks before are done
            os.kill(os.getpid(), signal.SIGKILL)
        return super().count(sample)


def test_a_killed_worker_is_one_sentence_and_what_is_done_is_kept(folder, tmp_path):
    truths = Samples()
    maps = MapFolder(folder, truths.ids)
    with pytest.raises(ChildProcessError, match=r'ended by the system.*fewer --jobs: what is done is kept'):
        MapEvaluation(truths, maps, [Killed(**TINY)], save_every=1000).run(2, tmp_path / 'state', 'a')
    seen = []
    metrics = [BoxLocalizationMetric(**TINY)]
    outcome = MapEvaluation(truths, maps, metrics).run(1, tmp_path / 'state', 'a', lambda done, _: seen.append(done))
    assert seen[0] >= CHUNK
    assert figures_of(outcome) == expected_figures()


class Sleeping(BoxLocalizationMetric):
    """Writes its process's number down and sleeps."""

    def count(self, sample: dict) -> dict:
        (self.folder / str(os.getpid())).touch()
        time.sleep(60)


def test_the_workers_of_a_killed_evaluation_go(folder, tmp_path):
    truths, metric = Samples(), Sleeping(**TINY)
    metric.folder = tmp_path / 'workers'
    metric.folder.mkdir()
    evaluation = MapEvaluation(truths, MapFolder(folder, truths.ids), [metric])
    parent = multiprocessing.get_context('fork').Process(target=evaluation.run, args=(2,))
    parent.start()
    until = time.monotonic() + 30
    while len(workers := [int(path.name) for path in metric.folder.iterdir()]) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    parent.kill()
    parent.join()
    while any(map(alive, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert len(workers) == 2
    assert not any(map(alive, workers))


def alive(pid: int) -> bool:
    """Whether a process lives; one that has ended and is not yet waited for does not."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return False


def spread(folder: Path, records: Path, metric: BoxLocalizationMetric, workers: Workers, said=None) -> Outcome:
    truths = Samples()
    evaluation = MapEvaluation(truths, MapFolder(folder, truths.ids), [metric])
    evaluation.row = lambda sample: {'name': sample['img_path']}
    outcome = evaluation.run(1, records, 'a', workers=workers)
    if said is not None:
        said.put((workers.rank, outcome.to_plain()))
    return outcome


class KilledLate(BoxLocalizationMetric):
    """Ends its process in the second chunk."""

    def count(self, sample: dict) -> dict:
        if sample['img_path'] == f'image_{CHUNK + 20}.jpg':
            os.kill(os.getpid(), signal.SIGKILL)
        return super().count(sample)


def test_ranks_of_which_one_is_killed_count_as_one_process_does(folder, tmp_path):
    """Each has its shards; those that a killed rank leaves are done by the first."""
    (folder / 'image_40.npz').unlink()
    alone = spread(folder, None, BoxLocalizationMetric(**TINY), Workers())
    context = multiprocessing.get_context('fork')
    said, processes = context.SimpleQueue(), []
    for rank in range(2):
        metric = (KilledLate if rank else BoxLocalizationMetric)(**TINY)
        workers = Workers('slurm', 1, rank, 2, patience=2.0)
        processes.append(context.Process(target=spread, args=(folder, tmp_path / 'r', metric, workers, said)))
        processes[-1].start()
    rank, plain = said.get()
    for process in processes:
        process.join()
    assert rank == 0
    outcome = Outcome.from_plain(plain, 'test')
    assert figures_of(outcome) == figures_of(alone)
    assert {name: value.tolist() for name, value in outcome.counts[0].items()} == {
        name: value.tolist() for name, value in alone.counts[0].items()
    }
    assert (outcome.rows, outcome.faults, outcome.images) == (alone.rows, alone.faults, alone.images)
    assert len(outcome.faults) == 1
    assert not (tmp_path / 'r').exists()


def test_records_of_changed_maps_are_not_used(folder, tmp_path, capsys):
    """One rank of two has done its share; a map of it is replaced: that shard is evaluated again, the other is not."""
    metric = BoxLocalizationMetric(**TINY)
    spread(folder, tmp_path / 'r', metric, Workers('slurm', 1, 1, 2))
    done = sorted(path.name for path in (tmp_path / 'r').glob('*.json'))
    assert done == [f'images{CHUNK}-{2 * CHUNK}.json', f'images{3 * CHUNK}-{NUMBER}.json']
    np.save(folder / f'image_{CHUNK + 1}.jpg.npy', np.eye(9))
    outcome = spread(folder, tmp_path / 'r', metric, Workers('slurm', 1, 0, 2, patience=0.1))
    assert f'of images{CHUNK}-{2 * CHUNK} have changed since: evaluated anew' in capsys.readouterr().err
    assert figures_of(outcome) == figures_of(spread(folder, None, metric, Workers()))


def test_the_work_of_a_shard_travels(folder):
    """To another machine it is pickled, with truths, index and metrics."""
    truths = Samples()
    evaluation = MapEvaluation(truths, MapFolder(folder, truths.ids), [BoxLocalizationMetric(**TINY)])
    work = pickle.loads(pickle.dumps(offline._PartOf(evaluation)))
    assert work((0, 40)) == offline._PartOf(evaluation)((0, 40))
    assert work((0, 40))['images'] == 40


@pytest.mark.parametrize('plain', [None, [], {}, {'counts': [1]}, {'counts': [], 'rows': [[1]], 'faults': []}])
def test_what_is_no_record_of_an_evaluation(plain):
    with pytest.raises(ValueError, match=r'x\.json is no record of an evaluation .*; remove it'):
        Outcome.from_plain(plain, 'x.json')


def test_many_machines_need_a_folder():
    with pytest.raises(ValueError, match='needs a folder for its records'):
        MapEvaluation(Samples(3), OneMap(np.eye(9)), []).run(workers=Workers('slurm', 1, 0, 2))
