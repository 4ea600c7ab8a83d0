"""Command line: `python -m train.data {render,stats,page,pitch}`; see README.md."""

import argparse
from pathlib import Path


def main():
    parser = argparse.ArgumentParser(prog="python -m train.data", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("render", help="render a corpus; what is there is kept")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--hours", type=float, required=True)
    p.add_argument("--seed", type=int, default=1)
    commands.add_parser("pitch", help="measure the bass samples and write bass_pitch.json")
    args = parser.parse_args()
    if args.command == "render":
        from .corpus import render
        render(args.out, args.hours, args.seed)
    if args.command == "pitch":
        from .sampler import write_pitch_table
        write_pitch_table()


main()
