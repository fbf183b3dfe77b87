# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Metrics over maps in files: all cores, resumable, and no bad image spoils the good ones."""

from __future__ import annotations

import gc
import hashlib
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, fields
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from mmentropy.processes import die_with_parent
from mmentropy.safe_files import load_npz, written_whole
from mmentropy.tasks import Workers, one_thread, read_records, remove_records, run_tasks

from .case_counter import CaseCounter, Counts, add_counts
from .map_files import MapBytes, MapFolder, OneMap, Truths, truth_digest, with_map

#: What a bad image may raise; anything else is a bug and stops the run.
IMAGE_ERRORS = (ValueError, KeyError, OSError)
CHUNK = 32
#: About so many parts an evaluation by many machines has.
SHARDS = 512
#: Raised when the names of the metrics' counts change: a state of before is not gone on with.
COUNTS = 3


@dataclass
class Outcome:
    """What came of some images.

    Attributes:
        counts: for each metric.
        rows: what the row function gave, with the image's index.
        faults: (id, problem) of each image that was left out.
        images: number of images that were counted.
        inputs: (index of the first image, digest of all that went in) of each chunk, where a state is kept.

    >>> outcome = Outcome(counts=[{'hits': np.array(2)}], images=3)
    >>> outcome.add(Outcome(counts=[{'hits': np.array(1)}], images=1))
    >>> int(outcome.counts[0]['hits']), outcome.images
    (3, 4)
    """

    counts: list[Counts] = field(default_factory=list)
    rows: list[tuple[int, dict]] = field(default_factory=list)
    faults: list[tuple[str, str]] = field(default_factory=list)
    images: int = 0
    inputs: list[tuple[int, str]] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Take over another's counts, rows and faults."""
        while len(self.counts) < len(other.counts):
            self.counts.append({})
        for mine, new in zip(self.counts, other.counts):
            add_counts(mine, new)
        self.rows += other.rows
        self.faults += other.faults
        self.images += other.images
        self.inputs += other.inputs

    def to_plain(self) -> dict[str, Any]:
        """As JSON has it, to the digit.

        >>> Outcome.from_plain(Outcome(images=3).to_plain(), 'a.json').images
        3
        """
        counts = [{name: np.asarray(value).tolist() for name, value in one.items()} for one in self.counts]
        return {**{own.name: getattr(self, own.name) for own in fields(self)}, 'counts': counts}

    @classmethod
    def from_plain(cls, plain: Any, name: str) -> Outcome:
        """The opposite of :meth:`to_plain`; ``name`` is what an error calls it.

        Raises:
            ValueError: if it holds something else.
        """
        try:
            counts = [{key: np.array(value, np.int64) for key, value in one.items()} for one in plain['counts']]
            rows = [(int(index), dict(row)) for index, row in plain['rows']]
            faults, inputs = ([(first, second) for first, second in plain[key]] for key in ('faults', 'inputs'))
            return cls(counts, rows, faults, int(plain['images']), inputs)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f'{name} is no record of an evaluation ({error}); remove it') from None


@dataclass
class MapEvaluation:
    """Maps, ground truths, and what to compute from each pair.

    Attributes:
        truths: ground truths.
        maps: map files, or one map for all images.
        metrics: each counts every image.
        row: optional function of a sample, for tables.
        predictions: id → classes, best first; or None, which takes those that the map files tell, if any. An image
            without a row is left out.
        save_every: seconds between two savings of the state.

    >>> from mmentropy.evaluation import BoxLocalizationMetric
    >>> class OneImage:
    ...     ids, masks = ['a.jpg'], False
    ...     def __getitem__(self, index):
    ...         return {'gt_label': [0], 'gt_bboxes': [[0, 0, 8, 8]], 'ori_shape': (8, 8)}
    >>> metric = BoxLocalizationMetric(eval_size=8)
    >>> outcome = MapEvaluation(OneImage(), OneMap(np.eye(8)), [metric]).run()
    >>> outcome.images, metric.figures(outcome.counts[0])['GT-known']
    (1, 100.0)
    """

    truths: Truths
    maps: MapFolder | OneMap
    metrics: Sequence[CaseCounter] = ()
    row: Callable[[dict], dict] | None = None
    predictions: dict[str, list[int]] | None = None
    save_every: float = 2.0
    _keeps_state: bool = False

    def images(self, indices: Sequence[int]) -> Outcome:
        """Evaluate some images; an image either counts in every metric or is a fault."""
        outcome = Outcome(counts=[{} for _ in self.metrics])
        inputs = hashlib.blake2b(digest_size=12)
        for index in indices:
            image_id = self.truths.ids[index]
            # Read once: what is replaced meanwhile does not pass for what was counted.
            file = self.maps.fetch(image_id)
            if self._keeps_state:
                self._add_inputs(inputs, file, index)
            try:
                stored = file.maps()
                ranked = None
                if self.predictions is not None:
                    if image_id not in self.predictions:
                        raise ValueError('no row in the predictions')
                    ranked = self.predictions[image_id]
                sample = with_map(self.truths[index], stored, ranked)
                counts = [metric.count(sample) for metric in self.metrics]
                rows = [(index, self.row(sample))] if self.row else []
            except IMAGE_ERRORS as error:
                text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
                outcome.faults.append((image_id, text.removeprefix(f'{image_id}: ')))
                continue
            outcome.add(Outcome(counts, rows, images=1))
        if self._keeps_state:
            outcome.inputs = [(indices[0], inputs.hexdigest())]
        return outcome

    def _add_inputs(self, inputs: Any, file: MapBytes | OneMap, index: int) -> None:
        inputs.update(file.digest())
        inputs.update(truth_digest(self.truths, index))

    def digest(self, indices: Sequence[int]) -> str:
        """Hash of everything of some images that their counts depend on: the maps' bytes, the ground truths."""
        content = hashlib.blake2b(digest_size=12)
        for index in indices:
            self._add_inputs(content, self.maps.fetch(self.truths.ids[index]), index)
        return content.hexdigest()

    def run(
        self,
        jobs: int = 1,
        state: str | Path | None = None,
        settings: Any = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
        workers: Workers | None = None,
    ) -> Outcome:
        """Evaluate all images.

        Args:
            jobs: number of processes.
            state: file that keeps what is done, so that an interrupted run goes on; removed at the end. It is used only
                if ids, ``settings`` and what the finished images consist of, maps and ground truths, are those it was
                written with.
            settings: anything that prints the same for the same evaluation.
            progress: called with the number of images done and their total.
            workers: processes of many machines that a launcher started, see :mod:`mmentropy.tasks`; ``state`` is
                then a folder, which all of them see.

        Returns:
            Counts, rows in the order of the ids, and faults in the order of the ids, strangers last.

        Raises:
            ChildProcessError: if the system ended one of the processes; what is done is in the state.
        """
        if workers is not None and workers.launcher != 'none':
            return self._with_strangers(self._run_spread(workers, state, settings, progress))
        total = len(self.truths.ids)
        chunks = [range(start, min(start + CHUNK, total)) for start in range(0, total, CHUNK)]
        key = self._key(settings)
        self._keeps_state = state is not None
        done, outcome = _load_state(state, key)
        if not all(0 <= i < len(chunks) for i in done) or not self._same_inputs(outcome):
            print(f'{state}: maps or ground truths have changed since: all is evaluated anew', file=sys.stderr)
            done, outcome = set(), Outcome()
        finished = sum(len(chunks[i]) for i in done)
        saved = monotonic()
        progress(finished, total)
        todo = [i for i in range(len(chunks)) if i not in done]
        try:
            for i, part in self._chunks([(i, chunks[i]) for i in todo], jobs):
                outcome.add(part)
                done.add(i)
                finished += len(chunks[i])
                if state is not None and monotonic() - saved >= self.save_every:
                    _save_state(state, key, done, outcome)
                    saved = monotonic()
                progress(finished, total)
        except BrokenProcessPool:
            if state is not None:
                _save_state(state, key, done, outcome)
            raise ChildProcessError(
                'a process of the evaluation was ended by the system, most often for want of memory; '
                'start again with fewer --jobs' + (': what is done is kept' if state is not None else '')
            ) from None
        if state is not None:
            Path(state).unlink(missing_ok=True)
        return self._with_strangers(outcome)

    def _key(self, settings: Any) -> str:
        return hashlib.sha256(repr((COUNTS, self.truths.ids, settings)).encode()).hexdigest()

    def _with_strangers(self, outcome: Outcome) -> Outcome:
        """In the order of the ids, with what belongs to none of them."""
        place = {image_id: i for i, image_id in enumerate(self.truths.ids)}
        outcome.rows.sort(key=lambda row: row[0])
        outcome.faults.sort(key=lambda fault: place[fault[0]])
        outcome.faults += [(str(path), 'belongs to no id of the metadata') for path in self.maps.strangers]
        outcome.faults += self.maps.damaged
        known = set(place)
        outcome.faults += [
            (name, 'predicted, but not in the metadata') for name in self.predictions or () if name not in known
        ]
        return outcome

    def _run_spread(
        self, workers: Workers, folder: str | Path | None, settings: Any, progress: Callable[[int, int], None]
    ) -> Outcome:
        """Shards of images as tasks; a rank other than the first gets its own share alone."""
        if folder is None:
            raise ValueError('an evaluation by many machines needs a folder for its records; name the output')
        total, key = len(self.truths.ids), self._key(settings)
        size = CHUNK * max(1, total // (CHUNK * SHARDS))
        starts = range(0, total, size)
        shards = {f'images{first}-{min(first + size, total)}': (first, min(first + size, total)) for first in starts}
        self._keeps_state = True
        if workers.is_first:
            self._drop_changed(Path(folder), key, shards)
        results = run_tasks(
            _PartOf(self),
            shards,
            folder,
            key,
            workers,
            lambda done, _: progress(min(done * size, total), total),
            wait_for_all=False,
        )
        outcome = Outcome()
        for name, result in results.items():
            outcome.add(Outcome.from_plain(result, f'{folder}/{name}.json'))
        if workers.is_first:
            remove_records(folder, shards)
        return outcome

    def _drop_changed(self, folder: Path, key: str, shards: dict[str, tuple[int, int]]) -> None:
        """Remove the records of an earlier run whose maps or ground truths have changed since."""
        for name, result in read_records(folder, key, shards).items():
            if not self._same_inputs(Outcome.from_plain(result, f'{folder}/{name}.json')):
                print(f'{folder}: maps or ground truths of {name} have changed since: evaluated anew', file=sys.stderr)
                (folder / f'{name}.json').unlink()

    def _same_inputs(self, outcome: Outcome) -> bool:
        """Whether the images of an earlier run are still made of what they were then."""
        total = len(self.truths.ids)
        return all(
            0 <= first < total and self.digest(range(first, min(first + CHUNK, total))) == digest
            for first, digest in outcome.inputs
        )

    def _chunks(self, chunks: list[tuple[int, range]], jobs: int) -> Any:
        """(number, outcome) of each chunk, as they are ready."""
        if jobs <= 1 or len(chunks) <= 1:
            for number, indices in chunks:
                yield number, self.images(indices)
            return
        # forked processes share data set and index; the state is handed to each once, never with a chunk
        methods = multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context('fork' if 'fork' in methods else 'spawn')
        with ProcessPoolExecutor(jobs, context, initializer=_start_worker, initargs=(self, os.getpid())) as pool:
            waiting, queue = {}, iter(chunks)
            while True:
                for number, indices in queue:
                    waiting[pool.submit(_work, indices)] = number
                    if len(waiting) >= 2 * jobs:
                        break
                if not waiting:
                    return
                ready, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in ready:
                    yield waiting.pop(future), future.result()


@dataclass(frozen=True)
class _PartOf:
    """The work of one shard: images from one to before another."""

    evaluation: MapEvaluation

    def __call__(self, bounds: tuple[int, int]) -> dict[str, Any]:
        outcome = Outcome()
        for first in range(bounds[0], bounds[1], CHUNK):
            outcome.add(self.evaluation.images(range(first, min(first + CHUNK, bounds[1]))))
        return outcome.to_plain()


_evaluation: MapEvaluation | None = None


def _start_worker(evaluation: MapEvaluation, parent: int) -> None:
    global _evaluation
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends us
    _evaluation = evaluation
    gc.freeze()  # what is inherited is not looked through for garbage, which would copy its pages
    one_thread()


def _work(indices: range) -> Outcome:
    if _evaluation is None:
        raise RuntimeError('the worker was not started by MapEvaluation.run')
    return _evaluation.images(indices)


def _save_state(path: str | Path, key: str, done: set[int], outcome: Outcome) -> None:
    plain = {'key': key, 'done': sorted(done), 'rows': outcome.rows, 'faults': outcome.faults, 'images': outcome.images}
    plain['inputs'] = outcome.inputs
    arrays = {f'{i}|{name}': value for i, counts in enumerate(outcome.counts) for name, value in counts.items()}
    with written_whole(path) as partial, open(partial, 'wb') as file:
        np.savez(file, plain=np.frombuffer(json.dumps(plain).encode(), dtype=np.uint8), **arrays)


def _load_state(path: str | Path | None, key: str) -> tuple[set[int], Outcome]:
    """Chunks that are done, and their outcome; nothing if the file is not there, damaged, or of another evaluation."""
    if path is None or not Path(path).is_file():
        return set(), Outcome()
    try:
        arrays = load_npz(path)
        plain = json.loads(arrays.pop('plain').tobytes())
        if plain['key'] != key:
            return set(), Outcome()
        outcome = Outcome(rows=[tuple(row) for row in plain['rows']], images=plain['images'])
        outcome.faults = [tuple(fault) for fault in plain['faults']]
        outcome.inputs = [(int(first), str(digest)) for first, digest in plain['inputs']]
        numbers = [*plain['done'], plain['images'], *(index for index, _ in outcome.rows)]
        if not all(type(number) is int and number >= 0 for number in numbers):
            raise ValueError('chunks, images and rows are counted')
        if not all(isinstance(row, dict) for _, row in outcome.rows):
            raise ValueError('a row of the table is a dict')
        if not all(isinstance(text, str) and len(fault) == 2 for fault in outcome.faults for text in fault):
            raise ValueError('a fault is an id and a sentence')
        if [first for first, _ in sorted(outcome.inputs)] != [i * CHUNK for i in plain['done']]:
            raise ValueError('some of what is done has no digest of its inputs')
        parts = [(*name.split('|', 1), value) for name, value in arrays.items()]
        outcome.counts = [{} for _ in {number for number, _, _ in parts}]
        for number, field_name, value in parts:
            outcome.counts[int(number)][field_name] = value
        return set(plain['done']), outcome
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return set(), Outcome()
