"""Charts, grooves and timbres that only validation and test songs use. Groove MIDI's own validation and test
performances are held out too (groove.py)."""

# POP909 songs.
POP909 = [f"{n:03d}" for n in range(7, 910, 15)]
# Forms of charts.py.
CHARTS = ["pop-06", "pop-13", "minor-04", "blues-03", "jazz-04", "jazz-09", "rhythm-02", "modal-03", "soul-04", "latin-03", "rock-05"]
# Libraries of mma: every tenth of those in mma_styles.py, from the fifth on.
MMA = ["8beat", "bluegrass", "bvfunk", "dixie", "foxtrot", "lighttango", "popballad", "shuffleboggie", "spiritual"]
# Timbres: the sampled electric bass, these programs and kits (soundfont, bank, program), and all of TimGM6mb.
BASSES = ["electric-bass-yr"]
PROGRAMS = [("muse", 0, 36), ("fluid", 0, 37), ("muse", 0, 4), ("fluid", 0, 17), ("muse", 0, 27), ("fluid", 0, 25), ("muse", 0, 61),
            ("fluid", 0, 11), ("muse", 0, 89), ("fluid", 8, 28)]
KITS = [("fluid", 128, 16), ("muse", 128, 33), ("muse", 128, 9)]
SOUNDFONT = "tim"


def split_of(rng):
    """'train' for 92 % of the songs, 'valid' and 'test' for 4 % each."""
    x = rng.random()
    return "train" if x < 0.92 else "valid" if x < 0.96 else "test"
