#!/usr/bin/env python3
"""Plays a piece of three minutes by controlling Sideman over OSC. Needs only the standard library.

    python3 examples/rig.py                 # renders the piece into out/rig, as fast as possible
    python3 examples/rig.py --pace real     # the same samples, in three minutes

The script writes a bass line, starts `sideman live --wait` on it, sends all cues, and starts playing. Each
message names its bar (a last argument such as "bar 17"), so the music does not depend on when a message
arrives. At the end it checks the stems against the cues: levels, silence, loops.
"""

import argparse
import array
import math
import os
import socket
import struct
import subprocess
import sys
import threading
import wave

RATE = 32_000
TEMPO = 120
BEATS = 4
NOTES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
STEMS = ("drums", "other")

# The piece: section, bars, chords (one per bar, repeated), text.
PIECE = [
    ("intro", 8, "Em Em C D", "sparse, electric piano"),
    ("verse", 16, "Em Em C D", "tight funk drums, electric piano"),
    ("chorus", 16, "G D Am C", "open hi-hat, big organ"),
    ("loop", 8, "G D Am C", None),
    ("break", 8, "Em Em Em Em", "brushes, soft pad"),
    ("verse", 14, "Em Em C D", "tight funk drums, electric piano"),
    ("chorus", 16, "A E Bm D", "open hi-hat, big organ"),
    ("end", 4, "A A A A", None),
]
SHORT = [(name, 2, chords, text) for name, _, chords, text in PIECE]


def osc(address, *args):
    """An OSC message as bytes."""

    def pad(data):
        return data + b"\0" * (4 - len(data) % 4)

    tags, data = ",", b""
    for arg in args:
        if isinstance(arg, str):
            tags, data = tags + "s", data + pad(arg.encode())
        elif isinstance(arg, int):
            tags, data = tags + "i", data + struct.pack(">i", arg)
        else:
            tags, data = tags + "f", data + struct.pack(">f", arg)
    return pad(address.encode()) + pad(tags.encode()) + data


def read(packet):
    """The address and arguments of an OSC message."""

    def text(at):
        end = packet.index(b"\0", at)
        return packet[at:end].decode(), end + 4 - end % 4

    address, at = text(0)
    tags, at = text(at)
    args = []
    for tag in tags[1:]:
        if tag == "s":
            value, at = text(at)
        else:
            value, at = struct.unpack_from({"i": ">i", "f": ">f", "d": ">d", "h": ">q"}[tag], packet, at)[0], at + (8 if tag in "dh" else 4)
        args.append(value)
    return address, args


def layout(piece):
    """The sections with their first bars: (name, bar, bars, chords, text)."""
    bar = 1
    for name, bars, chords, text in piece:
        yield name, bar, bars, chords, text
        bar += bars


def cues(piece):
    """The messages of the piece in order: (bar, address, arguments...)."""
    all_ = []
    for name, bar, bars, chords, text in layout(piece):
        all_.append((bar, "/jam/chords", chords))
        if text:
            all_.append((bar, "/jam/text", text))
        if name == "intro":
            all_.append((bar, "/jam/stem/drums/mute", 1))
            all_.append((bar + bars, "/jam/stem/drums/mute", 0))
        if name == "chorus":
            # A fill before the chorus.
            all_ += [(bar - 1, "/jam/fill"), (bar, "/jam/stem/other/gain", 3.0), (bar + bars, "/jam/stem/other/gain", 0.0)]
        if name == "loop":
            # The drums repeat the bar before, then continue.
            all_ += [(bar, "/jam/stem/drums/freeze", 1), (bar + bars, "/jam/stem/drums/freeze", 0)]
        if name == "break":
            all_ += [(bar, "/jam/dim", 18.0), (bar + bars, "/jam/dim", 0.0)]
        if name == "end":
            all_.append((bar + bars // 2, "/jam/transport/stop"))
    return sorted(all_, key=lambda cue: cue[0])


def bass(path, piece):
    """Writes a WAV file with a bass line of decaying eighths on the roots."""
    eighth = RATE * 60 // TEMPO // 2
    cache = {}

    def note(pitch):
        if pitch not in cache:
            hertz = 440 * 2 ** ((pitch - 69) / 12)
            wave_ = (sum(math.sin(math.tau * hertz * h * n / RATE) / h for h in (1, 2, 3)) for n in range(eighth))
            fade = (math.exp(-3 * n / eighth) * min(1, n / 64, (eighth - n) / 256) for n in range(eighth))
            cache[pitch] = array.array("h", (int(9000 * w * f) for w, f in zip(wave_, fade)))
        return cache[pitch]

    out = array.array("h")
    for _, _, bars, chords, _ in layout(piece):
        chords = chords.split()
        for bar in range(bars):
            root = 28 + (NOTES[chords[bar % len(chords)][0]] - 4) % 12
            for step in range(8):
                out += note(root + (0, 0, 12, 0, 7, 0, 12, 7)[step])
    with wave.open(path, "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        if sys.byteorder == "big":
            out.byteswap()
        file.writeframes(out.tobytes())


def samples(path):
    """The samples of a mono WAV file of 32-bit float, the format that Sideman writes."""
    data = open(path, "rb").read()
    at = 12
    while data[at : at + 4] != b"data":
        at += 8 + struct.unpack_from("<I", data, at + 4)[0]
    found = array.array("f", data[at + 8 : at + 8 + struct.unpack_from("<I", data, at + 4)[0]])
    if sys.byteorder == "big":
        found.byteswap()
    return found


def level(x):
    """The RMS level of samples in dB; -120 is silence."""
    return 20 * math.log10(max(1e-6, math.sqrt(sum(v * v for v in x) / max(1, len(x)))))


def correlation(a, b):
    """The correlation of two sequences of samples."""
    dot = sum(x * y for x, y in zip(a, b))
    return dot / math.sqrt(max(1e-12, sum(x * x for x in a) * sum(y * y for y in b)))


def check(out, piece):
    """Compares the stems with the piece and returns a list of what is wrong."""
    bar_len = RATE * 60 * BEATS // TEMPO
    stems = {stem: samples(os.path.join(out, stem + ".wav")) for stem in STEMS}
    wrong, last = [], {}

    def stretch(stem, bar, bars):
        # Without the first and last 0.1 s, which contain fades.
        return stems[stem][(bar - 1) * bar_len + 3200 : (bar - 1 + bars) * bar_len - 3200]

    for name, bar, bars, _, _ in layout(piece):
        db = {stem: level(stretch(stem, bar, bars)) for stem in STEMS}
        print(f"  {name:<7} bars {bar:>2} to {bar + bars - 1:>2}   " + "   ".join(f"{s} {db[s]:6.1f} dB" for s in STEMS))
        if name == "intro" and db["drums"] > -100:
            wrong.append("the drums are not muted in the intro")
        if name in ("verse", "chorus", "loop") and min(db.values()) < -60:
            wrong.append(f"drums or other is silent in the {name} at bar {bar}")
        if name == "break" and db["drums"] > last["drums"] - 9:
            wrong.append("the drums are not softer in the break")
        if name == "loop":
            same = min(correlation(stretch("drums", bar + n, 1), stretch("drums", bar, 1)) for n in range(1, bars))
            print(f"          lowest correlation of the bars of the loop: {same:.4f}")
            if same < 0.95:
                wrong.append(f"the drums do not repeat their bar in the loop: correlation {same:.2f}, at least 0.95 expected")
        if name == "end" and max(level(stems[s][(bar - 1 + bars // 2) * bar_len + RATE :]) for s in STEMS) > -60:
            wrong.append("drums or other continues after the end")
        last = db
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sideman", default="sideman", help="the program")
    parser.add_argument("--out", default="out/rig", help="folder for the take")
    parser.add_argument("--pace", choices=["fast", "real"], default="fast")
    parser.add_argument("--short", action="store_true", help="two bars per section")
    parser.add_argument("--threads", help="compute threads")
    args = parser.parse_args()
    piece = SHORT if args.short else PIECE
    os.makedirs(args.out, exist_ok=True)
    bass_file = os.path.join(args.out, "line.wav")
    bass(bass_file, piece)

    command = [args.sideman, "live", "--from", bass_file, "--to", args.out, "--pace", args.pace, "--tempo", str(TEMPO), "--bar1", "0"]
    command += ["--seed", "7", "--lag", "8", "--osc", "127.0.0.1:0", "--wait"]
    command += ["--threads", args.threads] if args.threads else []
    sideman = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    for line in sideman.stderr:
        if line.startswith("OSC: "):
            port = int(line.rsplit(":", 1)[1])
            break
        print(line, end="", file=sys.stderr)
    else:
        return f"{args.sideman} ended before it opened its OSC port"
    threading.Thread(target=lambda: [print(s, end="", file=sys.stderr) for s in sideman.stderr if "bpm" not in s], daemon=True).start()

    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.connect(("127.0.0.1", port))
    client.settimeout(0.2)

    def ask(*message):
        """Sends a message until there is an answer, because UDP may lose a packet."""
        while sideman.poll() is None:
            client.send(osc(*message))
            try:
                while True:
                    address, values = read(client.recv(2000))
                    if address == "/jam/error":
                        print("  sideman:", values[0], file=sys.stderr)
                    if address != "/jam/error":
                        return values
            except TimeoutError:
                pass
        return None

    script = cues(piece)
    for number, (bar, address, *values) in enumerate(script):
        client.send(osc(address, *values, f"bar {bar}"))
        if number % 8 == 7:
            # Not faster than Sideman reads: the answer to a ping comes after all messages before it.
            ask("/jam/ping")
            threading.Event().wait(0.05)
    threading.Event().wait(0.1)
    ask("/jam/ping")
    client.send(osc("/jam/subscribe", 3600))
    client.send(osc("/jam/transport/play"))
    sections = {bar: name for name, bar, *_ in layout(piece)}
    print(f"{len(script)} cues in {sum(bars for _, bars, *_ in piece)} bars at {TEMPO} BPM:")
    while sideman.poll() is None:
        try:
            address, values = read(client.recv(2000))
        except (TimeoutError, ConnectionError):
            continue
        if address == "/jam/error":
            print("  sideman:", values[0], file=sys.stderr)
        if address == "/jam/beat" and values[0] in sections:
            print(f"  bar {values[0]}: {sections.pop(values[0])}")
    if sideman.returncode:
        return f"{args.sideman} failed with exit status {sideman.returncode}"
    wrong = check(args.out, piece)
    return "; ".join(wrong) if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
