//! `song.dawproject` in the folder of a song or a take: tracks that play its WAVs, the tempo map, time signatures, and
//! markers for sections and chords, in the open exchange format DAWproject 1.0 (github.com/bitwig/dawproject), which
//! Bitwig Studio, Cubase, Studio One and others open.
//!
//! Bars of the song are bars of the project. So the clips begin where the song has bar 1 on a bar line: with a bar 1 at
//! 0.5 s of bars of 2.4 s, bar 1 is the project's second bar, and the clips begin 1.9 s after the project. The WAVs are
//! not copied: the project names them, and belongs beside them.

use std::fmt::Write as _;
use std::io::{Cursor, Write as _};
use std::path::Path;

use sideman_engine::audio::RATE;
use sideman_engine::task::{Beat, Meter, SongMap};
use sideman_engine::{Error, Result, atomic};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Name of the file.
pub const FILE: &str = "song.dawproject";
/// How far a beat may be from where the tempos put it, in seconds, before another tempo is written.
const EXACT: f64 = 0.000_5;
/// Shortest beat in seconds; a shorter one is joined to the next. Programs take tempos up to 666 BPM.
const SHORTEST: f64 = 60.0 / 666.0;
/// Most markers.
const MOST_MARKERS: usize = 4_000;
/// Colours of the tracks.
const COLOURS: [&str; 4] = ["#4c8dd6", "#d6784c", "#5aab61", "#9a6fd0"];

/// A track that plays a WAV.
pub struct DawTrack {
    /// Its name.
    pub name: String,
    /// The WAV in the project's folder, mono at 32 kHz.
    pub file: String,
    /// Whether it is muted at first.
    pub muted: bool,
}

/// What a project is made of.
pub struct DawProject<'a> {
    /// The tracks.
    pub tracks: &'a [DawTrack],
    /// Length of the WAVs in samples.
    pub samples: u64,
    /// Gain of the master, so that the sum of the tracks doesn't clip.
    pub gain: f32,
    /// Beats, chords and sections.
    pub map: &'a SongMap,
    /// What the project says about itself, such as the text that the song was made for.
    pub comment: &'a str,
}

/// Writes the project into the folder `dir`.
///
/// # Errors
/// The disk is full, or the file can't be written.
pub fn write(dir: &Path, project: &DawProject) -> Result<()> {
    let path = dir.join(FILE);
    let bytes = archive(project).map_err(|e| Error::file(&path, e.to_string()))?;
    atomic::write(&path, &bytes)
}

fn archive(project: &DawProject) -> zip::result::ZipResult<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, text) in [("project.xml", project_xml(project)), ("metadata.xml", metadata_xml(project.comment))] {
        zip.start_file(name, stored)?;
        zip.write_all(text.as_bytes())?;
    }
    Ok(zip.finish()?.into_inner())
}

/// The song's beats on the project's grid: a tempo from each point on, and where its bars are.
struct Grid {
    /// Quarter notes and seconds of the points at which a tempo begins, and the tempo. The seconds are those of the
    /// recording; the first point is the project's start.
    tempos: Vec<(f64, f64, f64)>,
    /// Quarter notes at which a time signature begins.
    signatures: Vec<(f64, Signature)>,
}

/// Numerator and denominator of a time signature.
type Signature = (i64, i64);

/// Time signature of a bar with `beats` beats of this meter.
fn signature(meter: Meter, beats: i64) -> Signature {
    match meter {
        Meter::FourFour | Meter::ThreeFour => (beats, 4),
        Meter::SixEight | Meter::TwelveEight => (3 * beats, 8),
    }
}

fn quarters_per_beat(meter: Meter) -> f64 {
    meter.quarters() as f64 / meter.beats() as f64
}

impl Grid {
    fn of(beats: &[Beat]) -> Grid {
        let mut beats: Vec<Beat> = beats.to_vec();
        beats.dedup_by(|later, earlier| later.seconds - earlier.seconds < SHORTEST);
        let Some(first) = beats.first().copied() else {
            return Grid { tempos: vec![(0.0, 0.0, 120.0)], signatures: vec![(0.0, (4, 4))] };
        };
        // Whole bars before the first beat's bar, so that the recording begins after the project does.
        let bar = first.meter.quarters() as f64;
        let in_bar = f64::from(first.number - 1) * quarters_per_beat(first.meter);
        let before = first.seconds * first.tempo / 60.0 - in_bar;
        let mut at = (before / bar - 1e-9).ceil().max(0.0) * bar + in_bar;
        let start = first.seconds - at * 60.0 / first.tempo;
        let mut grid = Grid {
            tempos: vec![(0.0, start, first.tempo)],
            signatures: vec![(0.0, signature(first.meter, first.meter.beats()))],
        };
        let mut bar_start = (at - in_bar, first.meter, i64::from(first.number) - 1);
        for pair in beats.windows(2) {
            let [beat, next] = [pair[0], pair[1]];
            let one = quarters_per_beat(beat.meter);
            // More than one where beats are missing.
            let passed = ((next.seconds - beat.seconds) * beat.tempo / 60.0 / one).round().clamp(1.0, 1e6);
            let then = at + passed * one;
            grid.reach(at, then, next.seconds);
            bar_start.2 += passed as i64;
            at = then;
            if next.number == 1 || next.meter != beat.meter {
                grid.bars(bar_start);
                bar_start = (at, next.meter, 0);
            }
        }
        grid.bars((bar_start.0, bar_start.1, bar_start.1.beats()));
        grid
    }

    /// Sets the tempo at the quarter note `from` where with the one before, `to` would not be at these seconds.
    fn reach(&mut self, from: f64, to: f64, seconds: f64) {
        if (self.seconds(to) - seconds).abs() < EXACT {
            return;
        }
        let begin = self.seconds(from);
        let tempo = ((to - from) * 60.0 / (seconds - begin).max(1e-3)).clamp(1.0, 999.0);
        if self.tempos.last().is_some_and(|last| last.0 == from) {
            self.tempos.pop();
        }
        self.tempos.push((from, begin, tempo));
    }

    /// Adds the signatures of bars from `start` on that have `beats` beats together: whole ones, and a shorter last one.
    fn bars(&mut self, (start, meter, beats): (f64, Meter, i64)) {
        let (whole, rest) = (beats / meter.beats(), beats % meter.beats());
        let parts = [(start, meter.beats(), whole), (start + (whole * meter.quarters() as i64) as f64, rest, rest)];
        for (at, beats, _) in parts.into_iter().filter(|part| part.2 > 0) {
            let new = signature(meter, beats);
            if self.signatures.last().is_none_or(|last| last.1 != new) {
                self.signatures.push((at, new));
            }
        }
    }

    /// Seconds of the recording at a quarter note of the project.
    fn seconds(&self, quarter: f64) -> f64 {
        let n = self.tempos.partition_point(|point| point.0 <= quarter).saturating_sub(1);
        let (at, seconds, tempo) = self.tempos[n];
        seconds + (quarter - at) * 60.0 / tempo
    }

    /// The quarter note of the project at a second of the recording.
    fn quarter(&self, seconds: f64) -> f64 {
        let n = self.tempos.partition_point(|point| point.1 <= seconds).saturating_sub(1);
        let (at, from, tempo) = self.tempos[n];
        (at + (seconds - from) * tempo / 60.0).max(0.0)
    }
}

/// Seconds and names of sections and chords, by time; where both begin, as one.
pub fn markers(map: &SongMap) -> Vec<(f64, String)> {
    let mut all: Vec<(f64, String)> = map.sections.iter().filter(|section| !section.1.is_empty()).cloned().collect();
    for (seconds, chord) in map.chords.iter().filter(|chord| !chord.1.is_empty()) {
        match all.iter_mut().find(|section| (section.0 - seconds).abs() < 1e-3) {
            Some(section) => section.1 = format!("{}: {chord}", section.1),
            None => all.push((*seconds, chord.clone())),
        }
    }
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    all.truncate(MOST_MARKERS);
    all
}

/// A number of the XML: to a millionth, which is nothing that is heard.
fn number(x: f64) -> f64 {
    (x * 1e6).round() / 1e6
}

/// Text in an attribute or between tags. XML has no other control characters than these.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' | '\t' | '\r' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}

fn metadata_xml(comment: &str) -> String {
    let comment = escape(comment);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<MetaData>\n  <Comment>{comment}</Comment>\n</MetaData>\n"
    )
}

fn project_xml(project: &DawProject) -> String {
    let grid = Grid::of(&project.map.beats);
    let seconds = project.samples as f64 / f64::from(RATE);
    let [start, end] = [0.0, seconds].map(|at| number(grid.quarter(at)));
    let tempo = number(grid.tempos[0].2);
    let (numerator, denominator) = grid.signatures[0].1;
    // Writing into a string doesn't fail.
    let mut xml = String::new();
    let mut line = |text: std::fmt::Arguments| {
        let _ = writeln!(xml, "{text}");
    };
    line(format_args!("<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>"));
    line(format_args!("<Project version=\"1.0\">"));
    line(format_args!("  <Application name=\"Sideman\" version=\"{}\"/>", env!("CARGO_PKG_VERSION")));
    line(format_args!("  <Transport>"));
    line(format_args!("    <Tempo unit=\"bpm\" value=\"{tempo}\" min=\"1\" max=\"999\" id=\"tempo\" name=\"Tempo\"/>"));
    line(format_args!("    <TimeSignature numerator=\"{numerator}\" denominator=\"{denominator}\" id=\"signature\"/>"));
    line(format_args!("  </Transport>"));
    line(format_args!("  <Structure>"));
    for (n, track) in project.tracks.iter().enumerate() {
        let (name, colour) = (escape(&track.name), COLOURS[n % COLOURS.len()]);
        line(format_args!(
            "    <Track contentType=\"audio\" loaded=\"true\" id=\"track{n}\" name=\"{name}\" color=\"{colour}\">"
        ));
        line(format_args!(
            "      <Channel audioChannels=\"2\" destination=\"master\" role=\"regular\" solo=\"false\" id=\"channel{n}\">"
        ));
        line(format_args!("        <Mute value=\"{}\" id=\"mute{n}\" name=\"Mute\"/>", track.muted));
        line(format_args!("        <Pan min=\"0\" max=\"1\" unit=\"normalized\" value=\"0.5\" id=\"pan{n}\" name=\"Pan\"/>"));
        line(format_args!("        <Volume min=\"0\" max=\"2\" unit=\"linear\" value=\"1\" id=\"volume{n}\" name=\"Volume\"/>"));
        line(format_args!("      </Channel>"));
        line(format_args!("    </Track>"));
    }
    line(format_args!("    <Track contentType=\"audio\" loaded=\"true\" id=\"mastertrack\" name=\"Master\">"));
    line(format_args!("      <Channel audioChannels=\"2\" role=\"master\" solo=\"false\" id=\"master\">"));
    line(format_args!(
        "        <Volume min=\"0\" max=\"2\" unit=\"linear\" value=\"{}\" id=\"mastervolume\" name=\"Volume\"/>",
        project.gain
    ));
    line(format_args!("      </Channel>"));
    line(format_args!("    </Track>"));
    line(format_args!("  </Structure>"));
    line(format_args!("  <Arrangement id=\"arrangement\">"));
    line(format_args!("    <Lanes timeUnit=\"beats\" id=\"lanes\">"));
    for (n, track) in project.tracks.iter().enumerate() {
        let file = escape(&track.file);
        line(format_args!("      <Lanes track=\"track{n}\" id=\"lanes{n}\">"));
        line(format_args!("        <Clips id=\"clips{n}\">"));
        line(format_args!(
            "          <Clip time=\"{start}\" duration=\"{}\" contentTimeUnit=\"seconds\" playStart=\"0\" playStop=\"{seconds}\" name=\"{}\">",
            number(end - start),
            escape(&track.name)
        ));
        line(format_args!("            <Audio channels=\"1\" duration=\"{seconds}\" sampleRate=\"{RATE}\" id=\"audio{n}\">"));
        line(format_args!("              <File path=\"{file}\" external=\"true\"/>"));
        line(format_args!("            </Audio>"));
        line(format_args!("          </Clip>"));
        line(format_args!("        </Clips>"));
        line(format_args!("      </Lanes>"));
    }
    line(format_args!("    </Lanes>"));
    let markers = markers(project.map);
    if !markers.is_empty() {
        line(format_args!("    <Markers timeUnit=\"beats\" id=\"markers\">"));
        for (seconds, name) in &markers {
            line(format_args!("      <Marker time=\"{}\" name=\"{}\"/>", number(grid.quarter(*seconds)), escape(name)));
        }
        line(format_args!("    </Markers>"));
    }
    line(format_args!("    <TempoAutomation timeUnit=\"beats\" unit=\"bpm\" id=\"tempos\">"));
    line(format_args!("      <Target parameter=\"tempo\"/>"));
    for (at, tempo) in grid.tempos.iter().map(|(at, _, tempo)| (number(*at), number(*tempo))) {
        line(format_args!("      <RealPoint time=\"{at}\" value=\"{tempo}\" interpolation=\"hold\"/>"));
    }
    line(format_args!("    </TempoAutomation>"));
    line(format_args!("    <TimeSignatureAutomation timeUnit=\"beats\" id=\"signatures\">"));
    line(format_args!("      <Target parameter=\"signature\"/>"));
    for (at, (numerator, denominator)) in &grid.signatures {
        line(format_args!(
            "      <TimeSignaturePoint time=\"{}\" numerator=\"{numerator}\" denominator=\"{denominator}\"/>",
            number(*at)
        ));
    }
    line(format_args!("    </TimeSignatureAutomation>"));
    line(format_args!("  </Arrangement>"));
    line(format_args!("</Project>"));
    xml
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn beat(seconds: f64, bar: i64, number: u32, tempo: f64) -> Beat {
        Beat { seconds, bar, number, meter: Meter::FourFour, tempo }
    }

    fn project<'a>(map: &'a SongMap, tracks: &'a [DawTrack]) -> DawProject<'a> {
        DawProject { tracks, samples: 32_000 * 10, gain: 0.5, map, comment: "a <b> & \"c\"\u{1}" }
    }

    /// Values of an attribute in elements of this name, in order.
    fn values(xml: &str, element: &str, attribute: &str) -> Vec<String> {
        let start = format!("<{element} ");
        let elements = xml.split(&start).skip(1).map(|rest| rest.split_once('>').unwrap().0.to_owned());
        let value = |text: String| {
            let text = format!(" {text}");
            text.split_once(&format!(" {attribute}=\"")).map(|(_, rest)| rest.split_once('"').unwrap().0.to_owned())
        };
        elements.filter_map(value).collect()
    }

    fn numbers(xml: &str, element: &str, attribute: &str) -> Vec<f64> {
        values(xml, element, attribute).iter().map(|x| x.parse().unwrap()).collect()
    }

    #[test]
    fn bars_of_the_song_are_bars_of_the_project_and_every_beat_is_at_its_time() {
        // Bar 1 at 0.7 s; the tempo changes at each beat, and bar 2 was cut short.
        let times = [0.7, 1.3, 1.8, 2.35, 2.9, 3.4, 4.0, 4.45];
        let at = [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2), (3, 1), (3, 2)];
        let beats: Vec<Beat> = times.iter().zip(at).map(|(t, (bar, n))| beat(*t, bar, n, 109.0)).collect();
        let grid = Grid::of(&beats);
        let quarters: Vec<f64> = times.iter().map(|t| grid.quarter(*t)).collect();
        let whole: Vec<f64> = (0..8).map(|n| 4.0 + f64::from(n)).collect();
        assert!(quarters.iter().zip(&whole).all(|(q, w)| (q - w).abs() < 1e-2), "{quarters:?}");
        assert!(times.iter().zip(&whole).all(|(t, w)| (grid.seconds(*w) - t).abs() < EXACT));
        assert!(grid.quarter(0.0) > 0.0, "the recording begins after the project");
        assert_eq!(grid.signatures, [(0.0, (4, 4)), (8.0, (2, 4)), (10.0, (4, 4))]);
    }

    #[test]
    fn a_constant_tempo_is_one_tempo_and_two_hours_later_a_beat_is_still_at_its_time() {
        let seconds = |n: u32| 0.5 + f64::from(n) * 60.0 / 97.0;
        let beats: Vec<Beat> = (0..11_640).map(|n| beat(seconds(n), i64::from(n / 4) + 1, n % 4 + 1, 97.0)).collect();
        let grid = Grid::of(&beats);
        assert_eq!((grid.tempos.len(), grid.signatures.len()), (1, 1));
        assert!((grid.quarter(beats[11_639].seconds) - 4.0 - 11_639.0).abs() < 1e-3);
        // As a live session says them: to the sample, with another rounding each time.
        let rounded: Vec<Beat> = beats.iter().map(|b| Beat { seconds: (b.seconds * 32e3).round() / 32e3, ..*b }).collect();
        let grid = Grid::of(&rounded);
        assert!(rounded.iter().enumerate().all(|(n, b)| (grid.seconds(4.0 + n as f64) - b.seconds).abs() < EXACT));
    }

    #[test]
    fn compound_meters_missing_beats_and_no_beats_have_their_bars() {
        let six = |n: u32| Beat { meter: Meter::SixEight, ..beat(f64::from(n) * 0.6, i64::from(n / 2), n % 2 + 1, 150.0) };
        assert_eq!(Grid::of(&(0..8).map(six).collect::<Vec<_>>()).signatures, [(0.0, (6, 8))]);
        // The band stopped for two and a half bars.
        let beats = [(0.0, 1, 1), (0.5, 1, 2), (1.0, 1, 3), (1.5, 1, 4), (7.0, 5, 1), (7.5, 5, 2)];
        let grid = Grid::of(&beats.map(|(t, bar, n)| beat(t, bar, n, 120.0)));
        assert_eq!(grid.signatures, [(0.0, (4, 4)), (12.0, (2, 4)), (14.0, (4, 4))]);
        assert_eq!(grid.quarter(7.0), 14.0);
        let none = Grid::of(&[]);
        assert_eq!((none.quarter(3.0), &none.signatures[..]), (6.0, &[(0.0, (4, 4))][..]));
        // Two beats at once, as a hostile or broken clock sends them.
        let grid = Grid::of(&[beat(0.0, 1, 1, 120.0), beat(0.001, 1, 2, 120.0), beat(0.5, 1, 2, 120.0)]);
        assert!(grid.tempos.iter().all(|t| t.2 > 0.0 && t.2 <= 999.0));
    }

    #[test]
    fn the_file_is_a_zip_of_a_project_that_plays_the_wavs_beside_it() {
        let beats: Vec<Beat> =
            (0..20).map(|n| beat(0.5 + f64::from(n) * 0.5, i64::from(n / 4) + 1, n as u32 % 4 + 1, 120.0)).collect();
        let chords = vec![(0.5, "C#m7/\"<".to_owned()), (2.5, "A".into()), (4.5, String::new())];
        let map = SongMap { beats, chords, sections: vec![(0.5, "Verse & 1".into())] };
        let tracks =
            ["bass", "drums"].map(|name| DawTrack { name: name.into(), file: format!("{name}.wav"), muted: name == "drums" });
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &project(&map, &tracks)).unwrap();
        let mut zip = zip::ZipArchive::new(std::fs::File::open(dir.path().join(FILE)).unwrap()).unwrap();
        let mut text = |name: &str| {
            let mut text = String::new();
            zip.by_name(name).unwrap().read_to_string(&mut text).unwrap();
            text
        };
        let (xml, about) = (text("project.xml"), text("metadata.xml"));
        assert!(about.contains("<Comment>a &lt;b&gt; &amp; &quot;c&quot;</Comment>"));
        assert_eq!(values(&xml, "File", "path"), ["bass.wav", "drums.wav"]);
        assert!(values(&xml, "File", "external").iter().all(|external| external == "true"));
        // Bar 1 is at 0.5 s, so the clips begin three quarter notes into the project.
        assert_eq!((numbers(&xml, "Clip", "time"), numbers(&xml, "Clip", "duration")), (vec![3.0; 2], vec![20.0; 2]));
        assert_eq!(numbers(&xml, "Marker", "time"), [4.0, 8.0]);
        assert_eq!(values(&xml, "Marker", "name"), ["Verse &amp; 1: C#m7/&quot;&lt;", "A"]);
        assert_eq!(
            (numbers(&xml, "RealPoint", "value"), values(&xml, "Mute", "value")),
            (vec![120.0], vec!["false".into(), "true".into()])
        );
        // Each reference has its element, and no element has the id of another.
        let ids: Vec<&str> = xml.split(" id=\"").skip(1).map(|rest| rest.split_once('"').unwrap().0).collect();
        let distinct: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!(ids.len(), distinct.len());
        for (element, attribute) in [("Lanes", "track"), ("Channel", "destination"), ("Target", "parameter")] {
            assert!(values(&xml, element, attribute).iter().all(|id| ids.contains(&&**id)), "{element}");
        }
    }
}
