# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A process that cannot be spoken to leaves when its peer has died, and stays while it lives."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from mmentropy.engine import peer_watch

#: Listens, and then holds the main thread outside Python, where no handler is called.
STUCK = """
import importlib.util, signal, sys
spec = importlib.util.spec_from_file_location('peer_watch', sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
signal.signal(signal.SIGTERM, lambda *_: print('heard', flush=True))
watch = module.PeerWatch([int(sys.argv[2])], grace=0.1)
watch.start()
if sys.argv[3] == 'stopped':
    watch.stop()
print('ready', flush=True)
import ctypes
libc = ctypes.CDLL(None)
left = 60
while left:
    left = libc.sleep(left)
"""


def stuck(peer: int, how: str = 'listening') -> subprocess.Popen:
    command = [sys.executable, '-c', STUCK, peer_watch.__file__, str(peer), how]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == 'ready\n'
    return process


@pytest.fixture
def peer():
    process = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
    yield process
    process.kill()
    process.wait()


def test_it_leaves_when_its_peer_has_died(peer):
    process = stuck(peer.pid)
    peer.kill()
    peer.wait()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 1
    assert (
        f'process {peer.pid} of this run has died: {process.pid} leaves; go on with --resume' in process.stderr.read()
    )


def test_the_signal_may_come_before_the_death_is_seen(peer):
    process = stuck(peer.pid)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    assert process.poll() is None
    peer.kill()
    peer.wait()
    assert process.wait(20) == 1


@pytest.mark.parametrize(
    ('how', 'kill', 'number'),
    [
        ('listening', False, signal.SIGTERM),  # a scheduler's, all are there
        ('listening', True, signal.SIGCHLD),  # not the launcher's word
        ('stopped', True, signal.SIGTERM),  # the training is over
    ],
)
def test_it_stays(peer, how, kill, number):
    process = stuck(peer.pid, how)
    if kill:
        peer.kill()
        peer.wait()
    process.send_signal(number)
    time.sleep(1.5)
    assert process.poll() is None
    process.kill()
    process.wait()
