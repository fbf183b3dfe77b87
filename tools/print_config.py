# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Print a config with its inheritance and ``--cfg-options`` resolved."""

import argparse

from mmentropy.command_line import add_config_options, one_sentence_errors


@one_sentence_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    add_config_options(parser)
    args = parser.parse_args()
    from mmentropy.engine import load_config

    print(load_config(args.config, args.cfg_options).pretty_text)


if __name__ == '__main__':
    main()
