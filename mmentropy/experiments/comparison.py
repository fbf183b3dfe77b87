# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Many runs on equal terms: configs × seeds, each trained and evaluated once, resumed where it was interrupted.

A run has a directory; what is finished there is said by small JSON files written last and at once:

* ``trained.json`` once the training is done: the checkpoint, and a fingerprint of the config that it came from;
* ``metrics/<evaluation>.json`` for each evaluation of that checkpoint, with the fingerprint of the evaluation.

So a second start does what is missing and nothing else, and a changed config is an error instead of a mixed table.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmentropy.engine import epoch_seed  # noqa: F401  registers EpochSeedHook
from mmentropy.engine.checkpoint import latest_whole
from mmentropy.engine.dataset_building import dataloader_of
from mmentropy.engine.run_settings import LOADER_NOISE, TRAINING_KEYS
from mmentropy.engine.startup import build_runner, load_config, train
from mmentropy.evaluation.thresholds import save_metrics, use_thresholds_from
from mmentropy.experiments.tables import summarize, write_tables
from mmentropy.processes import one_owner
from mmentropy.safe_files import load_json

EVALUATION_KEYS = ('model', 'data_preprocessor', 'test_dataloader', 'test_evaluator')
TRAINED, METRICS = 'trained.json', 'metrics'


@dataclass(frozen=True, eq=False)
class Run:
    """One model of a comparison.

    Attributes:
        name: its row in the table; runs of one name are its seeds.
        config: path of the config.
        seed: ``randomness.seed``.
        directory: where everything of it lies.
        options: ``--cfg-options`` of the run.
        evaluations: name -> path of a config whose ``test_dataloader`` and ``test_evaluator`` judge the model, beside
            its own validation (``val``) and, where it is another set, test (``test``).
        evaluation_options: options merged into those configs.

    >>> Run('entropy', 'configs/demo/resnet18_partshapes_ent.py', seed=1, directory=Path('work/entropy/1')).seed
    1
    """

    name: str
    config: str
    seed: int
    directory: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    evaluations: Mapping[str, str] = field(default_factory=dict)
    evaluation_options: Mapping[str, Any] = field(default_factory=dict)

    def train_config(self) -> Config:
        """The config that trains it: no validation on the way, and random numbers by epoch, so that it resumes."""
        cfg = load_config(self.config, self.options)
        cfg.merge_from_dict({'randomness.seed': self.seed})
        cfg.work_dir = str(self.directory)
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        cfg.train_dataloader.persistent_workers = False
        # Two: the older one is removed before the newer one is written.
        cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=1, max_keep_ckpts=2)
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type='mmentropy.EpochSeedHook')]
        cfg.resume = True
        return cfg

    def evaluation_configs(self) -> dict[str, Config]:
        """name -> config with the ``test_*`` keys of that evaluation and this run's model."""
        own = load_config(self.config, self.options)
        configs = {'val': _judged_by(own, own, 'val')}
        if own.get('test_dataloader') and own.test_dataloader != own.val_dataloader:
            configs['test'] = _judged_by(own, own, 'test')
        for name, path in self.evaluations.items():
            configs[name] = _judged_by(own, load_config(path, self.evaluation_options), 'test')
        for name, cfg in configs.items():
            cfg.work_dir = str(self.directory / METRICS / name)
        return configs

    def metrics(self) -> dict[str, dict[str, float]]:
        """evaluation -> figures, of the evaluations that are done."""
        done = {}
        for name in self.evaluation_configs():
            path = self.directory / METRICS / f'{name}.json'
            if path.is_file():
                done[name] = load_json(path)['metrics']
        return done

    def checkpoint(self) -> Path:
        """The trained weights.

        Raises:
            FileNotFoundError: before the training is done, or if they were removed.
        """
        trained = self._trained()
        path = self.directory / trained['checkpoint'] if trained else self.directory
        if not path.is_file():
            raise FileNotFoundError(f'{self.name} seed {self.seed} has no weights in {self.directory}; train it first')
        return path

    def state(self) -> str:
        """``finished``, ``to evaluate``, ``interrupted`` or ``missing``; ValueError if its directory is another's."""
        trained = self._trained()
        if trained is None:
            return 'interrupted' if (self.directory / 'last_checkpoint').is_file() else 'missing'
        configs = self.evaluation_configs()
        return 'finished' if all(self._is_evaluated(name, cfg) for name, cfg in configs.items()) else 'to evaluate'

    def execute(self) -> None:
        """Train what is left to train and evaluate what is left to evaluate, in this process."""
        self.directory.mkdir(parents=True, exist_ok=True)
        advice = 'wait for it or stop it'
        with one_owner(self.directory / '.lock', 'run of a comparison', advice, patience=10):
            checkpoint = self._train()
            for name, cfg in self.evaluation_configs().items():
                if not self._is_evaluated(name, cfg):
                    self._evaluate(name, cfg, checkpoint)

    def _trained(self) -> dict | None:
        path = self.directory / TRAINED
        files = [path]
        if (self.directory / 'last_checkpoint').is_file():  # nothing was trained before the first one
            files.append(self.directory / 'started.json')
        for file in files:
            if file.is_file():
                record = load_json(file)
                if record['fingerprint'] != _fingerprint(self.train_config(), TRAINING_KEYS):
                    raise ValueError(
                        f'{self.directory} holds a run of another configuration (see {file.name}); give another '
                        '--work-dir, or remove that directory to train again'
                    )
        return load_json(path) if path.is_file() else None

    def _train(self) -> Path:
        trained = self._trained()
        if trained is None:
            cfg = self.train_config()
            mark = dict(config=self.config, seed=self.seed, fingerprint=_fingerprint(cfg, TRAINING_KEYS))
            save_metrics(self.directory / 'started.json', mark)
            start = time.time()
            runner = train(cfg)
            last, _ = latest_whole(self.directory)
            if last is None:
                raise ValueError(f'{self.directory}: the training ended and left no whole checkpoint')
            checkpoint = last.name
            trained = dict(
                mark,
                checkpoint=checkpoint,
                epochs=runner.max_epochs,
                images=len(runner.train_dataloader.dataset),
                seconds_since_last_start=round(time.time() - start, 1),
            )
            save_metrics(self.directory / TRAINED, trained)
        return self.directory / trained['checkpoint']

    def _is_evaluated(self, name: str, cfg: Config) -> bool:
        path = self.directory / METRICS / f'{name}.json'
        return path.is_file() and load_json(path)['fingerprint'] == _fingerprint(cfg, EVALUATION_KEYS)

    def _evaluate(self, name: str, cfg: Config, checkpoint: Path) -> None:
        if not checkpoint.is_file():
            raise FileNotFoundError(f'{checkpoint} is gone, but the evaluation {name!r} is still to be done with it')
        mark = _fingerprint(cfg, EVALUATION_KEYS)
        if name == 'test':
            # Thresholds are chosen on the validation split; the figures at them stand beside the split's own maxima.
            thresholds = self.directory / METRICS / 'val.thresholds.json'
            save_metrics(thresholds, load_json(self.directory / METRICS / 'val.json')['metrics'])
            with suppress(ValueError):  # no metric of this evaluator chooses a threshold
                use_thresholds_from(cfg.test_evaluator, thresholds)
        cfg.load_from = str(checkpoint)
        metrics = {key: float(value) for key, value in build_runner(cfg).test().items()}
        save_metrics(self.directory / METRICS / f'{name}.json', dict(fingerprint=mark, metrics=metrics))


def plan_runs(
    configs: Sequence[str],
    seeds: Sequence[int],
    work_dir: str | Path,
    options: Mapping[str, Any] | None = None,
    evaluations: Mapping[str, str] | None = None,
    evaluation_options: Mapping[str, Any] | None = None,
) -> list[Run]:
    """Configs × seeds, the seeds outermost: a comparison that is cut short has every method before a second seed.

    Raises:
        ValueError: if two configs have one file name, which names the row and the directory.
    """
    names = [Path(config).stem for config in configs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f'the configs are told apart by their file names, and {twice[0]} is there more than once')
    given = (options or {}, evaluations or {}, evaluation_options or {})
    return [
        Run(name, config, seed, Path(work_dir) / name / f'seed{seed}', *given)
        for seed in seeds
        for name, config in zip(names, configs)
    ]


def named_configs(texts: Sequence[str]) -> dict[str, str]:
    """``NAME=PATH`` or ``PATH`` (named by its file) to name -> path; ValueError where two are named alike."""
    named: dict[str, str] = {}
    for text in texts:
        name, equals, path = text.partition('=')
        name, path = (name, path) if equals else (Path(text).stem, text)
        if name in named or name in ('val', 'test'):
            raise ValueError(f'the evaluation name {name!r} is taken; write NAME={path} with another name')
        named[name] = path
    return named


def figures_of(run: Run) -> dict[str, float]:
    """All figures of a run; those of its ``test`` (where there is none, ``val``) under their own names, the others'
    with the evaluation's name before them: ``mosaic:wsol/GT-known``.
    """
    metrics = run.metrics()
    main = 'test' if 'test' in metrics else 'val'
    return {
        key if name == main else f'{name}:{key}': value
        for name in sorted(metrics, key=lambda name: name != main)
        for key, value in metrics[name].items()
    }


def tabulate(runs: Sequence[Run], out: str | Path, columns: Sequence[str] | None = None) -> list[Path]:
    """Write the tables of the runs that are finished; a row without a finished run is there, with 0 runs."""
    repeats: dict[str, list[dict[str, float]]] = {}
    for run in runs:
        rows = repeats.setdefault(run.name, [])
        if run.state() == 'finished':
            rows.append(figures_of(run))
    return write_tables(out, summarize(repeats), columns)


def _judged_by(cfg: Config, judge: Config, split: str) -> Config:
    """The model of one config, with the data and the evaluator of another's split as its ``test``.

    Raises:
        ValueError: where there are none.
    """
    loader, evaluator = dataloader_of(judge, split), judge.get(f'{split}_evaluator')
    if evaluator is None:
        raise ValueError(f'{judge.filename} has a {split}_dataloader, but no {split}_evaluator to judge the runs by')
    cfg = Config(cfg._cfg_dict.to_dict())
    cfg.test_dataloader, cfg.test_evaluator = loader, evaluator
    cfg.test_cfg = cfg.get('test_cfg') or {}
    cfg.train_dataloader = cfg.train_cfg = cfg.optim_wrapper = cfg.param_scheduler = None
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    return cfg


def _fingerprint(cfg: Config, keys: Sequence[str]) -> str:
    """A hash of what the result depends on."""
    parts = {key: cfg[key] for key in keys if cfg.get(key) is not None}
    for key, part in parts.items():
        if key.endswith('dataloader'):
            parts[key] = {name: value for name, value in part.items() if name not in LOADER_NOISE}
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
