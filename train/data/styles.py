"""The styles: which tempo, drums, bass, comping, instruments and charts go together."""

# Families of `other` programs: (bank, program) in both FluidR3 and MuseScore_General.
INSTRUMENTS = {
    "piano": [(0, 0), (0, 1), (0, 3)], "ep": [(0, 4), (0, 5), (8, 4), (8, 5)], "organ": [(0, 16), (0, 17), (0, 18), (8, 16)],
    "clav": [(0, 7)], "acoustic guitar": [(0, 24), (0, 25), (8, 25)], "electric guitar": [(0, 26), (0, 27), (8, 28)],
    "muted guitar": [(0, 28), (8, 28), (0, 27)], "distorted guitar": [(0, 29), (0, 30)], "strings": [(0, 48), (0, 49), (0, 50), (0, 51)],
    "choir": [(0, 52), (0, 53), (0, 54)], "synth pad": [(0, 88), (0, 89), (0, 90), (0, 91), (0, 94), (0, 95), (0, 99)],
    "brass": [(0, 61), (0, 62), (0, 63), (8, 61)], "mallets": [(0, 11), (0, 12)], "synth lead": [(0, 80), (0, 81)],
    "sax": [(0, 65), (0, 66)], "accordion": [(0, 21)], "harp": [(0, 46), (0, 45)], "trumpet": [(0, 56), (0, 59)],
}
REGISTER = {"electric guitar": (50, 72), "acoustic guitar": (45, 70), "muted guitar": (52, 74), "distorted guitar": (40, 64), "brass": (55, 77),
            "mallets": (57, 81), "strings": (50, 76), "choir": (52, 76), "synth pad": (48, 74), "synth lead": (60, 79), "sax": (56, 74),
            "trumpet": (60, 77), "harp": (55, 84)}

# weight, bpm range (of the felt beat), meter, triplet feel, Groove MIDI styles, drum tables, bass modes with
# weights, (mode, instrument families) of the first and of the second accompanist, chart families, kits.
STYLES = {
    "rock": dict(weight=10, bpm=(92, 165), groove=["rock"], tables=["rock"], bass={"kick": 6, "eighths": 3, "riff": 3},
                 comp=[("power", ["distorted guitar"]), ("strum", ["acoustic guitar", "electric guitar"]), ("band", ["piano", "organ"])],
                 second=[("pad", ["organ", "synth pad", "strings"]), ("melody", ["synth lead", "electric guitar"])], charts=["rock", "pop", "minor", "pop909"], kits="rock"),
    "punk": dict(weight=3, bpm=(140, 190), groove=["punk", "rock"], tables=["punk"], bass={"eighths": 5, "kick": 1},
                 comp=[("power", ["distorted guitar"]), ("eighths", ["distorted guitar"])], second=[], charts=["rock", "pop"], kits="rock"),
    "metal": dict(weight=3, bpm=(90, 180), groove=["rock"], tables=["metal"], bass={"kick": 4, "eighths": 2, "riff": 2},
                  comp=[("power", ["distorted guitar"])], second=[("pad", ["choir", "strings"]), ("melody", ["synth lead"])], charts=["metal", "minor"], kits="rock"),
    "pop": dict(weight=9, bpm=(85, 130), groove=["pop", "rock", "soul"], tables=["pop"], bass={"kick": 7, "eighths": 2, "long": 1, "motown": 1, "riff": 1},
                comp=[("pop", ["piano", "ep"]), ("strum", ["acoustic guitar"]), ("arp", ["piano", "electric guitar", "harp"]), ("quarters", ["piano"]), ("push", ["ep", "synth pad"])],
                second=[("pad", ["strings", "synth pad", "choir"]), ("melody", ["synth lead", "mallets"])], charts=["pop", "pop909", "minor"], kits="pop"),
    "funk": dict(weight=10, bpm=(85, 122), groove=["funk", "afrobeat"], tables=["funk"], bass={"kick": 4, "riff": 4, "slap": 3},
                 comp=[("chank", ["muted guitar", "electric guitar"]), ("funk", ["clav", "ep", "organ"]), ("band", ["clav", "ep"])],
                 second=[("stabs", ["brass"]), ("pad", ["organ"]), ("chank", ["muted guitar"])], charts=["funk", "modal", "soul"], kits="pop"),
    "soul": dict(weight=7, bpm=(70, 115), groove=["soul", "gospel"], tables=["soul"], bass={"kick": 5, "motown": 3, "riff": 2},
                 comp=[("pop", ["ep", "piano", "organ"]), ("push", ["ep", "electric guitar"]), ("charleston", ["organ", "ep"])],
                 second=[("pad", ["strings", "organ"]), ("stabs", ["brass"])], charts=["soul", "pop", "pop909"], kits="pop"),
    "rnb": dict(weight=4, bpm=(62, 95), groove=["hiphop", "soul"], tables=["hiphop"], bass={"kick": 3, "long": 3, "riff": 1},
                comp=[("push", ["ep"]), ("pop", ["ep", "piano"]), ("arp", ["ep", "mallets"])], second=[("pad", ["synth pad", "strings"])], charts=["soul", "jazz", "modal", "pop909"], kits="pop"),
    "hiphop": dict(weight=5, bpm=(74, 104), groove=["hiphop"], tables=["hiphop", "halftime"], bass={"kick": 3, "long": 3, "riff": 2},
                   comp=[("push", ["ep", "piano"]), ("arp", ["mallets", "ep"]), ("charleston", ["ep"])], second=[("pad", ["strings", "choir"])], charts=["minor", "modal", "soul"], kits="electro"),
    "disco": dict(weight=5, bpm=(108, 128), groove=["dance/disco"], tables=["disco"], bass={"octaves": 6, "riff": 2, "kick": 1},
                  comp=[("chank", ["muted guitar"]), ("off", ["piano", "ep"]), ("push", ["piano"])], second=[("pad", ["strings"]), ("stabs", ["brass"])], charts=["minor", "soul", "funk", "pop"], kits="pop"),
    "house": dict(weight=3, bpm=(116, 130), groove=[], tables=["house", "disco"], bass={"octaves": 2, "riff": 3, "kick": 2},
                  comp=[("off", ["piano", "synth pad"]), ("push", ["piano", "organ"]), ("funk", ["synth lead", "organ"])], second=[("pad", ["synth pad", "strings"])], charts=["minor", "modal"], kits="electro"),
    "swing": dict(weight=7, bpm=(95, 190), groove=["jazz"], tables=["swing"], triplet=True, bass={"walking": 8},
                  comp=[("swing", ["piano", "electric guitar", "ep"]), ("quarters", ["electric guitar"])], second=[("melody", ["sax", "trumpet", "mallets"])], charts=["jazz", "rhythm", "blues"], kits="jazz"),
    "brushes": dict(weight=3, bpm=(62, 110), groove=[], tables=["brushes"], triplet=True, bass={"walking": 4, "ballad": 3},
                    comp=[("swing", ["piano", "electric guitar"]), ("pad", ["piano", "mallets"])], second=[("melody", ["sax", "trumpet"])], charts=["jazz"], kits="brush"),
    "fusion": dict(weight=3, bpm=(88, 130), groove=["jazz/fusion", "jazz/funk", "funk"], tables=["funk"], bass={"kick": 3, "riff": 3, "slap": 1},
                   comp=[("funk", ["ep", "clav"]), ("push", ["ep", "electric guitar"])], second=[("pad", ["synth pad"]), ("melody", ["sax", "synth lead"])], charts=["modal", "jazz", "funk"], kits="pop"),
    "bossa": dict(weight=4, bpm=(110, 150), groove=["latin/brazilian-bossa"], tables=["latin"], bass={"bossa": 6},
                  comp=[("bossa", ["acoustic guitar", "ep", "piano"])], second=[("pad", ["strings"]), ("melody", ["sax", "mallets"])], charts=["jazz", "latin"], kits="jazz"),
    "latin": dict(weight=5, bpm=(88, 130), groove=["latin", "afrocuban"], tables=["latin"], bass={"tumbao": 4, "kick": 2, "baiao": 2},
                  comp=[("montuno", ["piano"]), ("strum", ["acoustic guitar"]), ("bossa", ["acoustic guitar", "ep"])], second=[("stabs", ["brass"]), ("melody", ["trumpet", "accordion"])], charts=["latin", "minor"], kits="pop"),
    "reggae": dict(weight=5, bpm=(66, 92), groove=["reggae"], tables=["reggae"], bass={"reggae": 6, "kick": 1},
                   comp=[("skank", ["electric guitar", "organ", "muted guitar"]), ("skank", ["piano", "organ"])], second=[("pad", ["organ"]), ("melody", ["mallets", "trumpet"])], charts=["reggae", "pop"], kits="pop"),
    "shuffle": dict(weight=5, bpm=(88, 150), groove=["rock/shuffle", "blues/shuffle", "rock"], tables=["shuffle"], triplet=True, bass={"shuffle": 4, "walking": 2, "kick": 2},
                    comp=[("shuffle", ["piano", "organ", "electric guitar"]), ("quarters", ["electric guitar"])], second=[("pad", ["organ"]), ("stabs", ["brass"])], charts=["blues", "rock"], kits="rock"),
    "halfshuffle": dict(weight=2, bpm=(82, 110), groove=["funk/purdieshuffle"], tables=["halfshuffle"], triplet=True, bass={"kick": 4, "walking": 1},
                        comp=[("shuffle", ["ep", "clav"]), ("band", ["ep"])], second=[("pad", ["organ"])], charts=["funk", "soul", "blues"], kits="pop"),
    "ballad": dict(weight=5, bpm=(60, 82), groove=["pop/soft", "soul"], tables=["ballad"], bass={"ballad": 3, "kick": 3, "long": 2},
                   comp=[("arp", ["piano", "acoustic guitar", "ep"]), ("quarters", ["piano"]), ("pop", ["piano", "ep"])], second=[("pad", ["strings", "synth pad", "choir"])], charts=["pop", "pop909", "soul"], kits="pop"),
    "country": dict(weight=3, bpm=(90, 150), groove=["country"], tables=["country"], bass={"country": 5, "kick": 1},
                    comp=[("strum", ["acoustic guitar"]), ("off", ["electric guitar"])], second=[("melody", ["electric guitar"])], charts=["pop", "rock"], kits="pop"),
    "twelve eight": dict(weight=3, bpm=(60, 92), meter=(12, 8), groove=[], tables=["twelve"], triplet=True, bass={"twelve": 3, "kick": 3},
                         comp=[("twelve", ["piano", "electric guitar"]), ("arp", ["electric guitar", "piano"])], second=[("pad", ["organ", "strings"])], charts=["pop", "soul", "blues"], kits="pop"),
    "waltz": dict(weight=3, bpm=(85, 150), meter=(3, 4), groove=[], tables=["waltz"], bass={"waltz": 5, "kick": 1},
                  comp=[("waltz", ["piano", "acoustic guitar", "accordion"]), ("arp", ["piano", "harp"])], second=[("pad", ["strings"])], charts=["pop", "minor"], kits="pop"),
    "jazz waltz": dict(weight=2, bpm=(110, 170), meter=(3, 4), groove=[], tables=["jazzwaltz"], triplet=True, bass={"waltz": 2, "walking": 3},
                       comp=[("waltz", ["piano", "electric guitar"])], second=[("melody", ["sax", "mallets"])], charts=["jazz"], kits="jazz"),
    "six eight": dict(weight=3, bpm=(48, 76), meter=(6, 8), groove=[], tables=["six"], triplet=True, bass={"six": 4, "kick": 2},
                      comp=[("six", ["piano", "electric guitar", "acoustic guitar"]), ("arp", ["piano", "electric guitar"])], second=[("pad", ["strings", "organ"])], charts=["pop", "minor", "soul"], kits="rock"),
}
KITS = {"rock": [0, 1, 3, 8, 9, 16, 17], "pop": [0, 1, 2, 4, 8, 10, 12], "jazz": [32, 33, 35, 0], "brush": [40, 41], "electro": [24, 25, 0, 8]}
BASSES = {  # sampled basses (repeated ones are more likely), then GM programs
    "rock": (["jazz-bass-di", "electric-bass-yr"], [33, 34]), "pop": (["jazz-bass-di", "jazz-bass-di", "jazz-bass-di", "electric-bass-yr", "synth-bass-1"], [33, 34, 35, 38, 39]),
    "jazz": (["double-bass-pizz"], [32, 35, 43]), "brush": (["double-bass-pizz"], [32]), "electro": (["synth-bass-1", "jazz-bass-di"], [38, 39, 33]),
}
# Guest drums, in place of the style's own in 4/4: kits; drum tables and Groove MIDI styles for straight and
# triplet songs.
GUESTS = {
    "rock": {"kits": "rock", "straight": ["rock"], "straight groove": ["rock"], "triplet": ["shuffle"]},
    "metal": {"kits": "rock", "straight": ["metal"]},
    "funk": {"kits": "pop", "straight": ["funk"], "straight groove": ["funk"], "triplet": ["halfshuffle"]},
    "hiphop": {"kits": "electro", "straight": ["hiphop"], "straight groove": ["hiphop"]},
    "disco": {"kits": "pop", "straight": ["disco"], "straight groove": ["dance/disco"]},
    "house": {"kits": "electro", "straight": ["house"], "triplet": ["shuffled house"]},
    "swing": {"kits": "jazz", "triplet": ["swing"], "triplet groove": ["jazz"]},
    "brushes": {"kits": "brush", "straight": ["straight brushes"], "triplet": ["brushes"]},
    "latin": {"kits": "pop", "straight": ["latin"], "straight groove": ["latin"]},
    "reggae": {"kits": "pop", "straight": ["reggae"], "straight groove": ["reggae"]},
}
