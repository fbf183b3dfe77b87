# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Real processes, killed: nobody stays behind, and a folder has one owner."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from mmentropy.processes import one_owner, run_group

#: Says its number, in one piece whoever else writes there, and sleeps.
SLEEPER = 'import os, sys, time; os.write(1, str(os.getpid()).encode() + bytes([10])); time.sleep(60)'


def alive(pid: int) -> bool:
    """Whether a process lives; a zombie does not."""
    try:
        with open(f'/proc/{pid}/stat') as file:
            return file.read().rsplit(')', 1)[1].split()[0] != 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pids: list[int], seconds: float = 10) -> bool:
    until = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.02)
    return not any(map(alive, pids))


def numbers(file, count: int) -> list[int]:
    return [int(file.readline()) for _ in range(count)]


def start(code: str) -> subprocess.Popen:
    """A Python of its own that hears Ctrl-C, also where these tests run in the background of a shell."""
    return subprocess.Popen(
        [sys.executable, '-c', code],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


#: A parent that runs a child in a group; the child starts a grandchild that hears neither SIGTERM nor SIGINT.
GROUP = f"""
import os, sys
from mmentropy.processes import run_group
child = '''
import os, signal, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import signal; signal.signal(15, signal.SIG_IGN); " + {SLEEPER!r}])
os.write(1, str(os.getpid()).encode() + bytes([10]))
time.sleep(60)
'''
os.write(1, str(os.getpid()).encode() + bytes([10]))
run_group([sys.executable, '-c', child], grace=1)
"""


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_group_ends_with_the_signal_of_its_parent(number):
    with start(GROUP) as parent:
        pids = numbers(parent.stdout, 3)
        parent.send_signal(number)
        assert gone(pids)
        assert parent.wait(10) in (-number, 1 if number == signal.SIGINT else -number)


def test_the_child_of_a_killed_parent_goes():
    with start(GROUP) as parent:
        _, *rest = numbers(parent.stdout, 3)
        child = next(pid for pid in rest if os.getpgid(pid) == pid)
        parent.kill()
        assert gone([child])
        for pid in rest:  # the grandchild asked for nothing
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


def test_a_child_that_does_not_hear_is_killed_after_the_grace():
    deaf = f'import signal; signal.signal(15, signal.SIG_IGN); {SLEEPER}'
    with start(
        f'import sys\nfrom mmentropy.processes import run_group\n'
        f'print(run_group([sys.executable, "-c", {deaf!r}], grace=0.5))'
    ) as parent:
        (child,) = numbers(parent.stdout, 1)
        parent.terminate()
        assert gone([child])
        assert parent.wait(10) == -signal.SIGTERM


def test_run_group_gives_the_exit_code():
    assert run_group([sys.executable, '-c', 'raise SystemExit(7)']) == 7
    assert run_group([sys.executable, '-c', 'import os; os.kill(os.getpid(), 9)']) == -9


def test_run_group_restores_the_handlers():
    before = signal.getsignal(signal.SIGTERM)
    run_group([sys.executable, '-c', ''])
    assert signal.getsignal(signal.SIGTERM) is before


FORKED = """
import os, time
from mmentropy.processes import children_die_with_us
children_die_with_us()
children_die_with_us()
if os.fork() == 0:
    if os.fork() == 0:
        os.write(1, str(os.getpid()).encode() + bytes([10]))
        time.sleep(60)
    os.write(1, str(os.getpid()).encode() + bytes([10]))
    time.sleep(60)
os.write(1, str(os.getpid()).encode() + bytes([10]))
time.sleep(60)
"""


def test_forked_children_and_theirs_die_with_a_killed_parent():
    with start(FORKED) as parent:
        pids = numbers(parent.stdout, 3)
        parent.kill()
        assert gone(pids)


def test_a_second_owner_is_told_the_first_ones_number(tmp_path):
    hold = (
        'import time\nfrom mmentropy.processes import one_owner\n'
        f'with one_owner({str(tmp_path / "a.lock")!r}, "training", "wait"):\n'
        '    import os; os.write(1, str(os.getpid()).encode() + bytes([10])); time.sleep(60)'
    )
    with start(hold) as first:
        (pid,) = numbers(first.stdout, 1)
        told = re.escape(f'{tmp_path}: another training works in this folder (process {pid} on ') + r'\S+\); wait$'
        with pytest.raises(ValueError, match=told), one_owner(tmp_path / 'a.lock', 'training', 'wait', 0.1):
            pass
        first.kill()
    with one_owner(tmp_path / 'a.lock', 'training', 'wait'):
        assert f'process {os.getpid()} ' in (tmp_path / 'a.lock').read_text()


def test_the_lock_is_held_by_whoever_works(tmp_path):
    """A forked worker that outlives its parent keeps the folder."""
    hold = (
        'import os, time\nfrom mmentropy.processes import one_owner\n'
        f'with one_owner({str(tmp_path / "a.lock")!r}, "training", "wait"):\n'
        '    if os.fork() == 0: os.write(1, str(os.getpid()).encode() + bytes([10])); time.sleep(60)\n'
        '    time.sleep(60)'
    )
    with start(hold) as first:
        (worker,) = numbers(first.stdout, 1)
        first.kill()
        with pytest.raises(ValueError, match='another'), one_owner(tmp_path / 'a.lock', 'training', 'wait', 0.2):
            pass
        os.kill(worker, signal.SIGKILL)
        with one_owner(tmp_path / 'a.lock', 'training', 'wait'):
            pass


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / 'mine.txt').write_text('precious')
    (tmp_path / 'a.lock').symlink_to(tmp_path / 'mine.txt')
    with (
        pytest.raises(ValueError, match=r'a\.lock cannot be used as a lock'),
        one_owner(tmp_path / 'a.lock', 'run', ''),
    ):
        pass
    assert (tmp_path / 'mine.txt').read_text() == 'precious'
