"""Music to learn from; see train/data/README.md."""

import argparse
from pathlib import Path

from .styles import GUESTS, STYLES


def main():
    parser = argparse.ArgumentParser(prog="python -m train.data", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("render", help="render a corpus; shards that are there are kept")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--hours", type=float, required=True)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--guests", type=float, default=0.0, help="share of songs in 4/4 whose drummer plays another style than the band")
    p.add_argument("--styles", nargs="+", choices=STYLES, default=[], metavar="STYLE", help="no songs but of these, each style as often as the next")
    p.add_argument("--drummers", nargs="+", choices=GUESTS, default=[], metavar="STYLE", help="no guests but these")
    p.add_argument("--mma", type=float, default=0.0, help="share of songs that Debian's mma plays over our charts")
    p = commands.add_parser("stats", help="how far the stems agree, hours, styles, timbres")
    p.add_argument("dir", type=Path)
    p = commands.add_parser("page", help="a listening page in one file")
    p.add_argument("dir", type=Path)
    p.add_argument("--out", type=Path, required=True)
    commands.add_parser("pitch", help="measure the bass samples again and write bass_pitch.json")
    args = parser.parse_args()
    if args.command == "render":
        from .corpus import render
        render(args.out, args.hours, args.seed, guests=args.guests, by_mma=args.mma, styles=args.styles, drummers=args.drummers)
    elif args.command == "stats":
        from .stats import main as stats
        stats(args.dir)
    elif args.command == "page":
        from .page import main as page
        page(args.dir, args.out)
    else:
        from .sampler import write_pitch_table
        write_pitch_table()


main()
