# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Scripts with which shells complete ``mmentropy``: names of commands, then their options, else files."""

from __future__ import annotations

from collections.abc import Sequence

#: Shell → how its script is loaded.
SHELLS = {
    'bash': 'eval "$(mmentropy completion bash)" in ~/.bashrc',
    'zsh': 'eval "$(mmentropy completion zsh)" in ~/.zshrc',
    'fish': 'mmentropy completion fish > ~/.config/fish/completions/mmentropy.fish',
}

# Options are asked of --help, which imports nothing heavy: they are always those of the installed version.
BASH = r"""_mmentropy() {
    local word=${COMP_WORDS[COMP_CWORD]}
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W 'NAMES' -- "$word"))
    elif [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "$(mmentropy "${COMP_WORDS[1]}" --help 2>/dev/null |
            grep -oE -e '--[a-z][a-z-]*' | sort -u)" -- "$word"))
    fi
}
complete -o default -F _mmentropy mmentropy"""
ZSH = 'autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n' + BASH
FISH = r"""complete -c mmentropy -n '__fish_is_first_arg' -f -a 'NAMES'
complete -c mmentropy -n 'not __fish_is_first_arg; and string match -q -- "-*" (commandline -ct)' \
    -a '(mmentropy (commandline -opc)[2] --help 2>/dev/null | string match -ar -- "--[a-z][a-z-]*" | sort -u)'"""


def completion_script(shell: str, names: Sequence[str]) -> str:
    """The script of a shell.

    Args:
        shell: one of :data:`SHELLS`.
        names: of the commands.

    Raises:
        KeyError: for another shell.

    >>> completion_script('fish', ['train', 'test']).splitlines()[0]
    "complete -c mmentropy -n '__fish_is_first_arg' -f -a 'train test'"
    """
    return {'bash': BASH, 'zsh': ZSH, 'fish': FISH}[shell].replace('NAMES', ' '.join(names))
