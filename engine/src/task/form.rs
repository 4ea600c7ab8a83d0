//! The form of a song that is made from a text alone: tempo, meter and chords that suit the words, chosen from
//! the model's table of styles.

use std::ops::Range;

use super::styles::{Style, StyleChart, Styles};
use super::{Meter, tonic, transpose_symbol};
use crate::limits;

/// Words that ask for a slow tempo.
const SLOW: [&str; 8] = ["slow", "slowly", "ballad", "calm", "relaxed", "largo", "adagio", "lento"];
/// Words that ask for a fast tempo.
const FAST: [&str; 7] = ["fast", "quick", "quickly", "rapid", "uptempo", "allegro", "presto"];
/// Words that name a meter.
const METERS: [(&str, Meter); 4] = [
    ("waltz", Meter::ThreeFour),
    ("three four", Meter::ThreeFour),
    ("six eight", Meter::SixEight),
    ("twelve eight", Meter::TwelveEight),
];
/// Tonics of songs in major, semitones above C: keys with few accidentals.
const MAJOR_KEYS: [i32; 7] = [0, 7, 2, 9, 4, 5, 10];
/// Tonics of songs in minor.
const MINOR_KEYS: [i32; 7] = [9, 4, 2, 11, 7, 0, 6];

/// Tempo, meter and chords of a song.
#[derive(Debug, Clone, PartialEq)]
pub struct Form {
    /// Name of the style in the table.
    pub style: String,
    /// Whether the text names it; otherwise it is the table's default.
    pub named: bool,
    /// Quarter notes per minute.
    pub tempo: f64,
    /// Meter.
    pub meter: Meter,
    /// Chords, as [`Chords`](super::Chords) reads them.
    pub chords: String,
}

impl Styles {
    /// The form of a song for a text: that of the style which the text names, in the tempo ("slow", "120 bpm"),
    /// meter ("waltz", "6/8") and key ("in E minor") that it asks for. A number of BPM counts felt beats, of
    /// which 6/8 has two and 12/8 four. What the text leaves open depends on text and seed only.
    ///
    /// `meter`: the meter, where it is given.
    pub fn form(&self, text: &str, meter: Option<Meter>, seed: u64) -> Form {
        let words = Words::new(text);
        let found = self.named(&words);
        let meter = meter.or_else(|| words.meter());
        let (named, at) = (found.is_some(), found.as_ref().map_or(0..0, |(_, at)| at.clone()));
        let of_meter = |meter| self.styles.iter().find(|style| Some(style.meter) == meter).unwrap_or(self.default());
        let style = match found {
            Some((style, _)) => style,
            None if meter.is_some() => of_meter(meter),
            None => self.default(),
        };
        let meter = meter.unwrap_or(style.meter);
        let mut random = Random::new(text, seed);

        // A style that is slow by itself, and "ballad" where it names the style, make the tempo no slower.
        let rest = words.without(&at);
        let [from, to] = match (rest.any(&SLOW) && !style.slow, rest.any(&FAST)) {
            (true, false) => [style.bpm[0], style.bpm[1]],
            (false, true) => [style.bpm[3], style.bpm[4]],
            _ => [style.bpm[1], style.bpm[3]],
        };
        let felt = (from + (to - from) * random.unit()).round();
        // Quarter notes in a felt beat.
        let beat = match meter {
            Meter::FourFour | Meter::ThreeFour => 1.0,
            Meter::SixEight | Meter::TwelveEight => 1.5,
        };
        let asked = words.bpm().map(|bpm| bpm * beat).filter(|tempo| limits::TEMPO.contains(*tempo));
        let tempo = asked.unwrap_or_else(|| limits::TEMPO.clamp(felt * beat));

        let (key, minor) = words.key();
        let chart = self.chart(style, minor, &mut random);
        let keys = if chart.minor { MINOR_KEYS } else { MAJOR_KEYS };
        let drawn = keys[random.below(keys.len() as u64) as usize];
        let chords = transpose(&chart.chords, key.unwrap_or(drawn));
        Form { style: style.name.clone(), named, tempo, meter, chords }
    }

    /// The style that the words name, and which of the words do: the longest phrase, then the first.
    fn named(&self, words: &Words) -> Option<(&Style, Range<usize>)> {
        let slow = words.any(&SLOW);
        let styles = self.styles.iter().filter(|style| slow || !style.slow);
        let phrases = styles.flat_map(|style| style.words.iter().map(move |phrase| (style, phrase)));
        let found = phrases.filter_map(|(style, phrase)| Some((style, words.find(phrase)?)));
        found.max_by_key(|(style, at)| (at.len(), style.slow, usize::MAX - at.start))
    }

    /// A chart of a style, in minor or major if that is asked for: a common one more often. Where the style has
    /// none of the mode, one of the default style.
    fn chart<'a>(&'a self, style: &'a Style, minor: Option<bool>, random: &mut Random) -> &'a StyleChart {
        let fits = |chart: &&StyleChart| minor.is_none_or(|minor| chart.minor == minor);
        let charts = [style, self.default()].map(|style| style.charts.iter().filter(fits).collect::<Vec<_>>());
        let charts = charts.into_iter().find(|charts| !charts.is_empty()).unwrap_or_else(|| style.charts.iter().collect());
        let mut at = random.below(charts.iter().map(|chart| u64::from(chart.songs)).sum());
        for chart in &charts {
            match at.checked_sub(u64::from(chart.songs)) {
                Some(rest) => at = rest,
                None => return chart,
            }
        }
        charts[0]
    }
}

/// The words of a text.
struct Words {
    /// As they are written.
    written: Vec<String>,
    /// In lower case.
    lower: Vec<String>,
}

impl Words {
    fn new(text: &str) -> Words {
        let part = |c: char| c.is_alphanumeric() || "&/#'.♯♭".contains(c);
        let words = text.split(|c| !part(c)).map(|word| word.trim_matches(['.', '\'', '/'])).filter(|word| !word.is_empty());
        let written: Vec<String> = words.map(str::to_owned).collect();
        Words { lower: written.iter().map(|word| word.to_lowercase()).collect(), written }
    }

    /// The words without those at `range`.
    fn without(&self, range: &Range<usize>) -> Words {
        let keep =
            |words: &[String]| words.iter().enumerate().filter(|(i, _)| !range.contains(i)).map(|(_, w)| w.clone()).collect();
        Words { written: keep(&self.written), lower: keep(&self.lower) }
    }

    fn any(&self, of: &[&str]) -> bool {
        self.lower.iter().any(|word| of.contains(&&**word))
    }

    /// Where a phrase first is.
    fn find(&self, phrase: &str) -> Option<Range<usize>> {
        let phrase: Vec<&str> = phrase.split_whitespace().collect();
        let at = self.lower.windows(phrase.len().max(1)).position(|words| words.iter().eq(&phrase))?;
        Some(at..at + phrase.len())
    }

    fn meter(&self) -> Option<Meter> {
        let written = self.lower.iter().find_map(|word| word.parse().ok());
        written.or_else(|| METERS.iter().find_map(|(phrase, meter)| self.find(phrase).map(|_| *meter)))
    }

    /// The number before "bpm".
    fn bpm(&self) -> Option<f64> {
        (0..self.lower.len()).find_map(|i| match self.lower[i].strip_suffix("bpm")? {
            "" => self.lower[i.checked_sub(1)?].parse().ok(),
            number => number.parse().ok(),
        })
    }

    /// The tonic in semitones above C, and whether the mode is minor, as far as the words say: "in Bb", "F#m",
    /// "e minor", "minor". A small "a" is an article, except in "in a minor".
    fn key(&self) -> (Option<i32>, Option<bool>) {
        for (i, word) in self.written.iter().enumerate() {
            let next = self.lower.get(i + 1).map(String::as_str);
            let mode = next.and_then(|next| [("minor", true), ("major", false)].into_iter().find(|m| m.0 == next)).map(|m| m.1);
            let after_in = i > 0 && ["in", "of"].contains(&&*self.lower[i - 1]);
            let mut note = word.clone();
            if mode.is_some() && note.is_ascii() && note.len() <= 2 && (note != "a" || after_in) {
                note[..1].make_ascii_uppercase();
            }
            let minor = note.ends_with('m');
            if (mode.is_some() || after_in || minor) && note.len() <= 4 && tonic(&note).is_some() {
                return (tonic(&note), mode.or(minor.then_some(true)));
            }
        }
        let mode = self.lower.iter().find_map(|word| match &**word {
            "minor" => Some(true),
            "major" => Some(false),
            _ => None,
        });
        (None, mode)
    }
}

/// A chart with each chord `semitones` higher. Names of sections stay.
fn transpose(chart: &str, semitones: i32) -> String {
    let (mut out, mut in_name) = (String::new(), false);
    for piece in chart.split_inclusive([' ', ',', '|', '[', ']']) {
        let end = piece.trim_end_matches([' ', ',', '|', '[', ']']).len();
        let (symbol, between) = piece.split_at(end);
        out += &if in_name || symbol.is_empty() { symbol.to_owned() } else { transpose_symbol(symbol, semitones) };
        out += between;
        in_name = between.ends_with('[') || (in_name && !between.ends_with(']'));
    }
    out
}

/// SplitMix64.
struct Random(u64);

impl Random {
    /// Keyed by the text's words, whatever their case and the spaces between them.
    fn new(text: &str, seed: u64) -> Random {
        let text = text.to_lowercase();
        let bytes = text.split_whitespace().flat_map(|word| word.bytes().chain([b' ']));
        // FNV-1a.
        Random(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)) ^ seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// Below `n`, which is at least 1.
    fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// From 0 to below 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelDir;
    use crate::task::{Chart, Chords};

    fn styles() -> Styles {
        let dir = ModelDir::open(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/house")).unwrap();
        Styles::open(&dir).unwrap().unwrap()
    }

    #[test]
    fn every_form_is_a_chart_and_depends_on_text_and_seed_only() {
        let styles = styles();
        for text in styles.styles.iter().flat_map(|s| &s.words).map(String::as_str).chain(["", "x", "🎸 ♭ [ , /"]) {
            for seed in 0..20 {
                let form = styles.form(text, None, seed);
                assert!(Chart::new(form.tempo, 0.0, form.meter).unwrap().with_chords(&form.chords).is_ok(), "{form:?}");
                assert_eq!(styles.form(&text.to_uppercase(), None, seed), form);
            }
        }
        let forms: Vec<Form> = (0..20).map(|seed| styles.form("funk", None, seed)).collect();
        assert!(forms.iter().any(|form| form.tempo != forms[0].tempo) && forms.iter().any(|form| form.chords != forms[0].chords));
    }

    #[test]
    fn a_text_gets_the_style_that_it_names() {
        let styles = styles();
        for (text, style) in [
            ("slow blues, brushes, organ", "slow blues"),
            ("blues", "blues"),
            ("Bossa Nova, soft guitar", "bossa"),
            ("jazz waltz with brushes", "jazz waltz"),
            ("fast punk rock", "punk"),
            ("slow soul ballad, organ", "soul"),
            ("drum and bass", "funk"),
            ("R&B", "rnb"),
            ("hip-hop", "hiphop"),
            ("heavy metal", "metal"),
        ] {
            let form = styles.form(text, None, 1);
            assert_eq!((&*form.style, form.named), (style, true), "{text}");
        }
        for text in ["", "something nice", "rocket boathouse on a bluesteel sea"] {
            let form = styles.form(text, None, 1);
            assert_eq!((form.style, form.named), (styles.default().name.clone(), false), "{text}");
        }
    }

    #[test]
    fn tempo_meter_and_key_in_the_words_are_obeyed() {
        let styles = styles();
        for seed in 0..20 {
            let form = |text| styles.form(text, None, seed);
            assert!(form("slow funk").tempo < form("fast funk").tempo);
            assert_eq!((form("120 bpm funk").tempo, form("funk, 97.5bpm").tempo), (120.0, 97.5));
            assert_eq!((form("blues at 60 bpm in 12/8").tempo, form("rock in 3/4").meter), (90.0, Meter::ThreeFour));
            assert_eq!((form("rock waltz").meter, form("6/8").meter), (Meter::ThreeFour, Meter::SixEight));
            assert!(limits::TEMPO.contains(form("9999 bpm").tempo));
            assert_eq!(styles.form("house", Some(Meter::SixEight), seed).meter, Meter::SixEight);
            let chords: Chords = form("punk in F# minor").chords.parse().unwrap();
            let values: Vec<i32> = (0..16).filter_map(|bar| Some(chords.at(bar, 0, 1)?.0.value())).collect();
            assert!(values.contains(&(6 * 8 + 1)) || values.contains(&(6 * 8 + 4)), "{values:?}");
        }
    }

    #[test]
    fn a_key_is_read_as_musicians_write_it() {
        for (text, key) in [
            ("in Bb", (Some(10), None)),
            ("F#m groove", (Some(6), Some(true))),
            ("e minor funk", (Some(4), Some(true))),
            ("in a minor", (Some(9), Some(true))),
            ("a minor blues", (None, Some(true))),
            ("A major", (Some(9), Some(false))),
            ("in a bar", (None, None)),
            ("A band in Em", (Some(4), Some(true))),
            ("é minor", (None, Some(true))),
        ] {
            assert_eq!(Words::new(text).key(), key, "{text}");
        }
    }

    #[test]
    fn names_of_sections_are_not_transposed() {
        assert_eq!(transpose("[A] C,Am7 F/C [Bridge B] % NC [A]", 2), "[A] D,Bm7 G/D [Bridge B] % NC [A]");
    }

    #[test]
    fn a_damaged_table_is_refused() {
        let good = r#"{"format": 1, "default": "a", "styles": [{"name": "a", "words": ["b c"], "songs": 2, "meter": "3/4", "bpm": [60, 61, 62, 63, 64], "charts": [{"songs": 2, "minor": false, "chords": "C"}]}]}"#;
        let parse = |text: &str| Styles::parse(text.as_bytes(), "styles.json".as_ref());
        assert!(parse(good).is_ok());
        for (from, to) in [
            (r#""format": 1"#, r#""format": 2"#),
            (r#""default": "a""#, r#""default": "z""#),
            ("b c", " "),
            ("b c", "B"),
            ("[60", "[90"),
            ("64]", "9999]"),
            ("3/4", "5/4"),
            (r#""C""#, r#""X""#),
            (r#"{"songs": 2, "minor": false, "chords": "C"}"#, ""),
            (r#"{"songs": 2, "minor""#, r#"{"songs": 0, "minor""#),
        ] {
            assert!(good.contains(from), "{from}");
            assert!(parse(&good.replace(from, to)).is_err(), "{from} -> {to}");
        }
    }
}
