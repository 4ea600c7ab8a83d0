"""Style, tempo, meter, kit and charts of mma's standard libraries. Libraries without drums or bass are left
out."""

# style, bpm of the felt beat, meter, quarters per bar as mma counts, triplet feel, kits, chart families,
# libraries
FOUR, THREE, SIX, TWELVE = (4, 4), (3, 4), (6, 8), (12, 8)
ROWS = [
    ("rock", (96, 160), FOUR, 4, False, "rock", ["rock", "pop", "minor", "pop909"], "50srock 60srock 8beat basicrock bubblerock strut twist"),
    ("rock", (130, 176), FOUR, 4, True, "rock", ["blues", "rock"], "jive"),
    ("soul", (76, 112), FOUR, 4, False, "pop", ["soul", "pop", "pop909"], "rb dsoul spiritual"),
    ("ballad", (60, 84), FOUR, 4, False, "pop", ["pop", "pop909", "soul"], "ballad guitarballad pianoballad popballad rb-ballad softrock"),
    ("ballad", (60, 80), FOUR, 4, True, "pop", ["pop", "soul"], "rockballad"),
    ("funk", (88, 116), FOUR, 4, False, "pop", ["funk", "modal", "soul"], "bvfunk"),
    ("disco", (106, 128), FOUR, 4, False, "pop", ["minor", "pop", "soul"], "boneym"),
    ("fusion", (92, 128), FOUR, 4, False, "pop", ["modal", "jazz", "funk"], "lfusion"),
    ("shuffle", (88, 144), FOUR, 4, True, "rock", ["blues", "rock"], "fastblues shuffleboggie jazzrock"),
    ("trance", (124, 140), FOUR, 4, False, "electro", ["minor", "modal"], "trance"),
    ("swing", (110, 184), FOUR, 4, True, "jazz", ["jazz", "rhythm", "blues"], "bebop bigband easyswing jazzcombo modernjazz swing"),
    ("swing", (150, 200), FOUR, 4, True, "jazz", ["jazz", "rhythm"], "fastswing"),
    ("swing", (64, 116), FOUR, 4, True, "jazz", ["jazz"], "descendingjazz evansish mellowjazz nitejazz slowjazz"),
    ("blues", (72, 132), FOUR, 4, True, "jazz", ["blues"], "blues slowblues"),
    ("bossa", (108, 148), FOUR, 4, False, "jazz", ["jazz", "latin"], "bossanova"),
    ("samba", (84, 116), FOUR, 4, False, "pop", ["latin", "jazz"], "samba"),
    ("latin", (92, 136), FOUR, 4, False, "pop", ["latin", "minor"], "beguine chacha jazzrhumba mambo merengue rhumba salsa son"),
    ("latin", (58, 84), SIX, 3, True, "pop", ["latin", "minor"], "afro-cuban"),
    ("bolero", (76, 108), FOUR, 4, False, "pop", ["latin", "minor", "pop"], "bolero slowbolero"),
    ("tango", (108, 132), FOUR, 4, False, "pop", ["minor", "latin"], "lighttango tango"),
    ("calypso", (100, 140), FOUR, 4, False, "pop", ["reggae", "pop"], "calypso"),
    ("ska", (116, 150), FOUR, 4, False, "pop", ["reggae", "rock"], "ska"),
    ("country", (92, 150), FOUR, 4, False, "pop", ["pop", "rock"], "bluegrass countryblues hillcountry"),
    ("country", (64, 92), FOUR, 4, False, "pop", ["pop", "pop909"], "slowcountry"),
    ("country", (110, 160), FOUR, 4, True, "jazz", ["pop", "blues"], "countryswing westernswing"),
    ("folk", (84, 128), FOUR, 4, False, "pop", ["pop", "minor", "pop909"], "desert folkrock"),
    ("folk", (76, 120), FOUR, 4, True, "pop", ["pop", "blues"], "bluefolk"),
    ("zydeco", (100, 140), FOUR, 4, False, "pop", ["pop", "rock"], "zydeco"),
    ("polka", (100, 132), FOUR, 4, False, "pop", ["pop"], "polka"),
    ("march", (96, 124), FOUR, 4, False, "pop", ["pop"], "bwmarch march"),
    ("march", (96, 120), SIX, 2, True, "pop", ["pop"], "68march"),
    ("dixieland", (120, 184), FOUR, 4, False, "jazz", ["rhythm", "pop"], "dixie dixiemarch"),
    ("dixieland", (120, 180), FOUR, 4, True, "jazz", ["rhythm", "jazz"], "charleston"),
    ("foxtrot", (108, 156), FOUR, 4, True, "jazz", ["jazz", "rhythm", "pop"], "foxtrot softshoe"),
    ("foxtrot", (140, 190), FOUR, 4, False, "jazz", ["jazz", "rhythm"], "quickstep"),
    ("broadway", (92, 150), FOUR, 4, False, "pop", ["jazz", "pop"], "broadway slowbroadway"),
    ("waltz", (88, 156), THREE, 3, False, "pop", ["pop", "minor"], "broadwaywaltz countrywaltz fastwaltz latinwaltz rockwaltz waltz"),
    ("jazz waltz", (110, 170), THREE, 3, True, "jazz", ["jazz"], "fastjazzwaltz jazzwaltz modernjazzwaltz"),
    ("six eight", (48, 76), SIX, 6, True, "jazz", ["blues", "pop", "soul"], "68swing blues68"),
    ("twelve eight", (56, 92), TWELVE, 4, True, "pop", ["pop", "soul", "blues"], "ballad128 ballad68 blues128 rock-128"),
]
BANDS = {library: dict(style=style, bpm=bpm, meter=meter, quarters=quarters, triplet=triplet, kits=kits, charts=charts)
         for style, bpm, meter, quarters, triplet, kits, charts, libraries in ROWS for library in libraries.split()}

# Instrument family of `other` by General MIDI program; programs in none (timpani, noises) are not used.
FAMILIES = {
    "piano": range(0, 4), "ep": range(4, 6), "clav": range(6, 8), "mallets": [*range(8, 16), 108, 114], "organ": range(16, 21),
    "accordion": [21, 23], "harmonica": [22], "acoustic guitar": range(24, 26), "electric guitar": range(26, 28), "muted guitar": [28],
    "distorted guitar": range(29, 31), "fiddle": [40, 110], "strings": [41, 42, 43, 44, *range(48, 52)], "harp": [45, 46], "choir": range(52, 55),
    "trumpet": [56, 59], "brass": [57, 58, *range(60, 64)], "sax": range(64, 68), "clarinet": range(68, 72), "flute": range(72, 80),
    "synth lead": range(80, 88), "synth pad": range(88, 104), "sitar": [104], "banjo": [105],
}
FAMILY = {program: family for family, programs in FAMILIES.items() for program in programs}
