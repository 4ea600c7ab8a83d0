"""Generates and inspects the training corpus; see train/data/README.md."""

import argparse
from pathlib import Path

from .styles import GUESTS, STYLES


def main():
    parser = argparse.ArgumentParser(prog="python -m train.data", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("render", help="render a corpus; existing shards are kept")
    p.add_argument("--out", type=Path, required=True, help="folder of the corpus")
    p.add_argument("--hours", type=float, required=True, help="total length, existing shards included")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--guests", type=float, default=0.0, help="share of the songs in 4/4 whose drums play another style than the rest (0 to 1)")
    p.add_argument("--styles", nargs="+", choices=STYLES, default=[], metavar="STYLE", help="only songs of these styles, all equally often")
    p.add_argument("--drummers", nargs="+", choices=GUESTS, default=[], metavar="STYLE", help="only these styles for guest drums")
    p.add_argument("--mma", type=float, default=0.0, help="share of the songs that Debian's mma plays over our charts (0 to 1)")
    p = commands.add_parser("stats", help="print hours, styles, timbres, and how well the stems agree")
    p.add_argument("dir", type=Path)
    p = commands.add_parser("page", help="write a listening page (one HTML file)")
    p.add_argument("dir", type=Path)
    p.add_argument("--out", type=Path, required=True)
    p = commands.add_parser("styles", help="count tempi, meters and charts of each style and write them as the program's table")
    p.add_argument("--out", type=Path, required=True, help="styles.json of a model directory")
    p.add_argument("--songs", type=int, default=100, help="songs that are planned in each style")
    p.add_argument("--seed", type=int, default=2)
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
    elif args.command == "styles":
        from .style_table import write
        write(args.out, args.songs, args.seed)
    else:
        from .sampler import write_pitch_table
        write_pitch_table()


main()
