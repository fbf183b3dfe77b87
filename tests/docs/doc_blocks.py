# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Fenced blocks of the README and the manual, and the shell commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r'^( *)```(\S*)[^\n]*\n(.*?)^ *```\s*$', re.M | re.S)
SHELL = ('bash', 'sh', 'shell', 'console')
#: Above a block that is executed exactly as it stands, in a copy of the repository's layout.
RUN_MARK = '<!-- test: run -->'
#: Above a block that the reader is told to save under this path.
FILE_MARK = re.compile(r'<!-- test: file (\S+) -->$')
#: What stands between single backticks, a line break of the page inside it or not.
SPAN = re.compile(r'(?<!`)`((?:[^`\n]|\n(?!\n))+)`(?!`)')
#: How a command begins in the middle of a sentence: with its name and words, or a script that is only named.
INLINE = re.compile(
    r'(python|make|pip|pre-commit|mmentropy|mim|torchrun)\s+\S|(tools|benchmarks|docs)/[\w/]+\.(py|sh)\b'
)


@dataclass
class Block:
    """One fenced block: where it stands, its language, its text, and whether the page asks to run it."""

    page: str
    line: int
    language: str
    text: str
    runs: bool = False
    file: str = ''
    #: In the middle of a sentence, which names what it is about and may leave out the rest.
    inline: bool = False

    @property
    def name(self) -> str:
        return f'{self.page}:{self.line}'


@dataclass
class Command:
    """One shell command: its words with variables filled in, and the assignments in front of it."""

    words: list[str]
    variables: dict[str, str] = field(default_factory=dict)


def pages() -> list[Path]:
    """README, CONTRIBUTING and every page of the manual."""
    found = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *(ROOT / 'docs').rglob('*.md')]
    return sorted(path for path in found if '_build' not in path.parts)


def blocks() -> Iterator[Block]:
    """Every fenced block of every page, in order."""
    for path in pages():
        text = path.read_text(encoding='utf-8')
        for match in FENCE.finditer(text):
            before = text[: match.start()].rstrip()
            saved = FILE_MARK.search(before)
            yield Block(
                str(path.relative_to(ROOT)),
                text.count('\n', 0, match.start()) + 1,
                match[2],
                re.sub(f'^{match[1]}', '', match[3], flags=re.M),
                before.endswith(RUN_MARK),
                saved[1] if saved else '',
            )


def spans() -> Iterator[tuple[str, int, str]]:
    """Page, line and text of whatever stands between single backticks outside of fenced blocks."""
    for path in pages():
        text = FENCE.sub(lambda match: '\n' * match[0].count('\n'), path.read_text(encoding='utf-8'))
        for match in SPAN.finditer(text):
            yield str(path.relative_to(ROOT)), text.count('\n', 0, match.start()) + 1, ' '.join(match[1].split())


def inline_commands() -> Iterator[Block]:
    """Commands in the middle of a sentence, as blocks of one line; what is only named (``make test``) is one, too."""
    for page, line, text in spans():
        if INLINE.match(text):
            yield Block(page, line, 'bash', text.replace('…', ''), inline=True)


def files_of() -> list[tuple[str, str]]:
    """Path and text of every block that the reader is told to save."""
    return [(block.file, block.text) for block in blocks() if block.file]


def is_shell(block: Block) -> bool:
    """A block that says it is shell, or one without a language whose lines begin with a command."""
    plain = not block.language and re.match(r'\s*(python |make |pip |tools/|[A-Z]=\S)', block.text)
    return block.language in SHELL or bool(plain)


def commands(text: str) -> list[Command]:
    """The commands of a shell block: continuation lines joined, comments left out, ``$X`` filled in.

    Raises:
        ValueError: for a variable that the block does not set.
    """
    known: dict[str, str] = {}
    found = []
    # A line in brackets lists further options of the command above it.
    text = re.sub(r'\n\s+\[(.*?)\]\s*$', lambda m: ' ' + re.sub(r'[\[\]]', '', m[1]), text, flags=re.M)
    for line in text.replace('\\\n', ' ').splitlines():
        line = re.sub(r'^\s*\$\s+', '', line)
        for part in _split(line):
            words, own = [], {}
            for word in part:
                assignment = re.fullmatch(r'([A-Za-z_]\w*)=(.*)', word, re.S)
                if assignment and not words:
                    own[assignment[1]] = _fill(assignment[2], known)
                    continue
                # An unquoted variable with blanks is several words.
                words += _fill(word, known).split() if '$' in word else [word]
            if words:
                found.append(Command(words, own))
            else:
                known.update(own)
    return found


def _split(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=';&|')
    lexer.whitespace_split = True
    lexer.commenters = '#'
    part: list[str] = []
    for token in lexer:
        if token and set(token) <= set(';&|'):
            yield part
            part = []
        else:
            part.append(token)
    if part:
        yield part


def _fill(word: str, known: dict[str, str]) -> str:
    def value(match: re.Match) -> str:
        name = match[1] or match[2]
        if name.startswith('SLURM_'):
            return match[0]  # the scheduler sets it
        if name not in known:
            raise ValueError(f'${name} is not set in this block')
        return known[name]

    return re.sub(r'\$(?:\{(\w+)\}|(\w+))', value, word)
