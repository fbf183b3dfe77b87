# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""dist_train.sh on two hosts made of network namespaces, slurm_train.sh under a stand-in for srun."""

from __future__ import annotations

import json
import os
import subprocess
from ast import literal_eval
from pathlib import Path

import pytest
import torch
from launch import ROOT, environment
from mmengine.config import Config

from mmentropy.segmentation.training import host_command

CONFIG = 'configs/demo/resnet18_partshapes.py'
TINY = (
    *('train_dataloader.batch_size=4', 'train_dataloader.dataset.length=16', 'train_dataloader.num_workers=0'),
    *('train_dataloader.persistent_workers=False', 'model.backbone.base_channels=8', 'model.backbone.stem_channels=8'),
    'train_cfg.max_epochs=2',
)
HOSTS = ('mmehost0', 'mmehost1')


@pytest.fixture
def hosts():
    """Two network namespaces joined by a virtual cable."""

    def ip(*words: str) -> int:
        return subprocess.run(['ip', *words], capture_output=True).returncode

    for host in HOSTS:
        ip('netns', 'del', host)
    if not hasattr(os, 'geteuid') or os.geteuid() or any(ip('netns', 'add', host) for host in HOSTS):
        pytest.skip('network namespaces are not permitted here (they need root)')
    try:
        if ip('link', 'add', 'mme0', 'netns', HOSTS[0], 'type', 'veth', 'peer', 'name', 'mme1', 'netns', HOSTS[1]):
            pytest.skip('virtual network cables (veth) are not permitted here')
        for i, host in enumerate(HOSTS):
            assert ip('-n', host, 'addr', 'add', f'10.199.0.{i + 1}/24', 'dev', f'mme{i}') == 0
            assert ip('-n', host, 'link', 'set', f'mme{i}', 'up') == 0
            assert ip('-n', host, 'link', 'set', 'lo', 'up') == 0
        yield HOSTS
    finally:
        for host in HOSTS:
            ip('netns', 'del', host)


def test_two_hosts(hosts, tmp_path):
    """Each host starts dist_train.sh with its NODE_RANK; together they train one model, each on half the images."""
    processes = []
    for i, host in enumerate(hosts):
        env = environment(
            NNODES='2', NODE_RANK=str(i), MASTER_ADDR='10.199.0.1', PORT='29511', GLOO_SOCKET_IFNAME=f'mme{i}'
        )
        command = ['ip', 'netns', 'exec', host, 'bash', 'tools/dist_train.sh', CONFIG, '1', '--no-validate']
        command += ['--work-dir', str(tmp_path / host), '--cfg-options', *TINY]
        processes.append(subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
    said = [process.communicate(timeout=900)[0].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], '\n'.join(text[-3000:] for text in said)
    # The first host writes, the other has no checkpoint; 16 images in 2 × 4, two epochs.
    state = torch.load(tmp_path / hosts[0] / 'epoch_2.pth', weights_only=False)
    assert state['meta']['iter'] == 4
    assert not (tmp_path / hosts[1] / 'epoch_2.pth').exists()


SRUN = """#!/usr/bin/env python3
import json, os, subprocess, sys
words = sys.argv[1:]
json.dump(words, open(os.environ['SRUN_LOG'], 'w'))
command = words[next(i for i, word in enumerate(words) if os.path.basename(word).startswith('python')):]
def env(task):
    task = str(task)
    return dict(os.environ, SLURM_PROCID=task, SLURM_NTASKS='2', SLURM_LOCALID=task, SLURM_NODELIST='node[1-1]')
tasks = [subprocess.Popen(command, env=env(task)) for task in range(2)]
sys.exit(max(task.wait() for task in tasks))
"""
SCONTROL = '#!/bin/sh\n[ "$*" = "show hostname node[1-1]" ] && echo 127.0.0.1\n'


@pytest.fixture
def slurm(tmp_path):
    """The environment of a machine with a stand-in for Slurm."""
    (tmp_path / 'bin').mkdir()
    for name, text in (('srun', SRUN), ('scontrol', SCONTROL)):
        (tmp_path / 'bin' / name).write_text(text)
        (tmp_path / 'bin' / name).chmod(0o755)
    env = environment(SRUN_ARGS='--quiet --time=10', SRUN_LOG=str(tmp_path / 'srun.json'), MASTER_PORT='29517')
    return env | {'PATH': f'{tmp_path / "bin"}:{env["PATH"]}'}


def test_slurm(slurm, tmp_path):
    """srun gets the partition, the job's name and the resources; its tasks find each other by Slurm's variables."""
    env = slurm | {'GPUS': '2', 'GPUS_PER_NODE': '2'}
    command = [
        'bash',
        'tools/slurm_train.sh',
        'gpu',
        'tiny',
        CONFIG,
        '--no-validate',
        '--work-dir',
        str(tmp_path / 'run'),
    ]
    done = subprocess.run([*command, '--cfg-options', *TINY], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    words = json.loads((tmp_path / 'srun.json').read_text())
    for word in ('-p', 'gpu', '--job-name=tiny', '--ntasks=2', '--ntasks-per-node=2', '--gres=gpu:2', '--time=10'):
        assert word in words
    assert words[words.index('--launcher') + 1] == 'slurm'
    state = torch.load(Path(tmp_path, 'run/epoch_2.pth'), weights_only=False)
    assert state['meta']['iter'] == 4  # 16 images in 2 × 4, two epochs


def test_a_stage_of_the_pipeline_trains_under_slurm(slurm, tmp_path, monkeypatch):
    for name in ('PATH', 'SRUN_ARGS'):
        monkeypatch.setenv(name, slurm[name])
    cfg = Config.fromfile(ROOT / CONFIG)
    cfg.merge_from_dict({name: literal_eval(value) for name, value in (word.split('=') for word in TINY)})
    cfg.update(launcher='slurm', work_dir=str(tmp_path / 'run'), val_cfg=None, val_dataloader=None, val_evaluator=None)
    (tmp_path / 'config.py').write_text(cfg.pretty_text)
    command = host_command(tmp_path / 'config.py', 2, launcher='slurm')
    done = subprocess.run(command, cwd=ROOT, env=slurm, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    words = json.loads((tmp_path / 'srun.json').read_text())
    assert words[:4] == ['--ntasks=2', '--kill-on-bad-exit=1', '--quiet', '--time=10']
    state = torch.load(tmp_path / 'run/epoch_2.pth', weights_only=False)
    assert state['meta']['iter'] == 4  # 16 images in 2 × 4, two epochs
