//! Fills in what nobody said about a song (tempo, meter, bar 1, chords) from its recordings, before `render`,
//! `edit`, `continue` and `live --from` play to them.

use std::path::PathBuf;

use anyhow::Result;
use sideman_engine::audio::RATE;
use sideman_engine::listen::{
    Contradiction, Correction, Heard, Known, KnownClock, Notes, Recording, Voice, contradiction, listen_to, notes,
};
use sideman_engine::model::Config;
use sideman_engine::task::Meter;

use crate::cli::{ChartArgs, Instrument};
use crate::song_folder::Stem;
use crate::song_info::SongInfo;
use crate::{beats_file, usage};

/// Seconds below which a recording has too few notes for a beat, and is played to without a clock.
const SHORT: f64 = 4.0;
/// Bars of the chords that are printed.
const SHOWN_BARS: usize = 8;

/// What `--beats` asks for.
enum Beats {
    /// Corrections of the beats that are heard.
    Corrections(Vec<Correction>),
    /// A file with the beats.
    File(PathBuf),
}

/// Reads `--beats`: `half`, `double`, `shift`, `shift-2`, `shift-3`, `off-beat`, several with a comma, or a file.
fn read_beats(text: &str) -> Beats {
    let correction = |word: &str| match word.trim() {
        "half" => Some(Correction::Half),
        "double" => Some(Correction::Double),
        "shift" | "shift-1" => Some(Correction::Shift(1)),
        "shift-2" => Some(Correction::Shift(2)),
        "shift-3" => Some(Correction::Shift(3)),
        "off-beat" => Some(Correction::OffBeat),
        _ => None,
    };
    match text.split(',').map(correction).collect::<Option<Vec<_>>>() {
        Some(corrections) => Beats::Corrections(corrections),
        None => Beats::File(PathBuf::from(text)),
    }
}

/// How a stem is heard.
pub fn voice_of(stem: &str, instrument: Option<Instrument>) -> Voice {
    match (stem, instrument) {
        (_, Some(Instrument::Voice)) if stem != "drums" => Voice::Single,
        ("bass", _) => Voice::Single,
        ("drums", _) => Voice::Drums,
        _ => Voice::Chords,
    }
}

/// Listens to `stems` for what `song` does not say, prints it in one line and fills it in. Does nothing for a
/// model that takes no clock, with `--no-listen`, and where everything is known.
///
/// # Errors
/// `--beats` names a file that can't be read, or there is no tempo and no beat is heard: a usage error that asks
/// for the tempo.
pub fn fill(
    song: &mut SongInfo,
    stems: &[Stem],
    instrument: Option<Instrument>,
    args: &ChartArgs,
    config: &Config,
) -> Result<()> {
    if args.beats.is_some() && args.tempo.is_some() {
        return Err(usage("--beats and --tempo both say where the beats are; leave one of them out"));
    }
    let takes_clock = config.controls.iter().any(|c| c.name == "beat");
    let beats = args.beats.as_deref().map(read_beats);
    if !takes_clock || args.no_listen || stems.is_empty() {
        return song.check_tempo(args);
    }
    let seconds = stems.iter().map(|s| s.samples.len()).max().unwrap_or(0) as f64 / f64::from(RATE);
    if let Some(Beats::File(path)) = &beats {
        beats_file::read(path)?.apply(song);
    }
    let has_clock = song.bpm.is_some() || song.beats.is_some();
    let corrections = match beats {
        Some(Beats::Corrections(corrections)) if !has_clock => corrections,
        _ => Vec::new(),
    };
    let known =
        Known { clock: has_clock.then(|| known_clock(song, seconds)).transpose()?, meter: song.known_meter()?, bar1: song.bar1 };
    let part = |s: &Stem| {
        let recording = Recording { voice: voice_of(&s.name, instrument), samples: &s.samples };
        (recording.voice, notes(&recording))
    };
    let parts: Vec<(Voice, Notes)> = stems.iter().map(part).collect();
    let names = stems.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(found) = known.clock.as_ref().and_then(|clock| contradiction(&parts, clock)) {
        tracing::warn!("{}", contradicted(&found, song, &names));
    }
    if has_clock && song.chords.is_some() {
        return Ok(());
    }
    match listen_to(&parts, &known, &corrections) {
        Some(heard) => {
            report(&heard, song, &names, has_clock);
            song.take(heard, has_clock);
            Ok(())
        }
        None if has_clock => Ok(()),
        None if seconds < SHORT => {
            tracing::warn!("{names}: no beat is heard in {seconds:.1} s; without --tempo BPM the band plays without a clock");
            song.check_tempo(args)
        }
        None => Err(usage(format!(
            "no beat is heard in {names}: too few notes begin clearly; give the tempo with --tempo BPM (and --bar1 SECONDS), or use \
             --no-listen to play without a clock"
        ))),
    }
}

/// The beats of a tempo that is known.
fn known_clock(song: &SongInfo, seconds: f64) -> Result<KnownClock> {
    let meter = song.known_meter()?.unwrap_or_default();
    if let Some(map) = &song.beats {
        return Ok(KnownClock { beats: map.times.clone(), bar1: map.bar1, meter });
    }
    let beat = 60.0 / song.bpm.unwrap_or(120.0) * meter.quarters() as f64 / meter.beats() as f64;
    let bar1 = song.bar1.unwrap_or(0.0);
    // Whole bars before bar 1, so that a pickup has beats too.
    let before = (bar1.max(0.0) / beat).ceil() as usize;
    let count = ((seconds - bar1).max(0.0) / beat).ceil() as usize + before + 1;
    Ok(KnownClock { beats: (0..=count).map(|k| bar1 + (k as f64 - before as f64) * beat).collect(), bar1: before, meter })
}

/// Says that the recordings contradict the beats that were given, and what would fit.
fn contradicted(found: &Contradiction, song: &SongInfo, names: &str) -> String {
    let Contradiction { given, share, heard } = found;
    let what = match song.bpm.filter(|_| song.beats.is_none()) {
        Some(bpm) => format!("{bpm:.2} BPM with bar 1 at {:.2} s", song.bar1.unwrap_or(0.0)),
        None => "the beats of the file".to_owned(),
    };
    let changing = if heard.constant { "" } else { " (it changes: leave --tempo out)" };
    format!(
        "{what} fits {:.0} % of the notes in {names}; {:.2} BPM{changing} with bar 1 at {:.2} s fits {:.0} %: --tempo and --bar1 \
         change it, --no-listen says nothing",
        100.0 * given,
        heard.tempo,
        heard.bar1_seconds(),
        100.0 * share
    )
}

/// Prints what was heard.
fn report(heard: &Heard, song: &SongInfo, names: &str, has_clock: bool) {
    let mut parts = Vec::new();
    if !has_clock {
        let changing = if heard.constant { "" } else { " (it changes)" };
        parts.push(format!(
            "{:.2} BPM{changing} in {}, bar 1 at {:.2} s ({:.0} % sure; --tempo, --meter, --bar1 or --beats correct it)",
            heard.tempo,
            heard.meter,
            heard.bar1_seconds(),
            100.0 * heard.beat_confidence.min(heard.bar_confidence)
        ));
    }
    if song.chords.is_none() && !heard.chords.is_empty() {
        let bars: Vec<&str> = heard.chords.split(' ').collect();
        let more = if bars.len() > SHOWN_BARS { format!(" and {} more bars", bars.len() - SHOWN_BARS) } else { String::new() };
        parts.push(format!(
            "key {}, chords {}{more} (--chords corrects them)",
            heard.key,
            bars[..bars.len().min(SHOWN_BARS)].join(" ")
        ));
    }
    if !parts.is_empty() {
        eprintln!("heard in {names}: {}", parts.join("; "));
    }
    if !has_clock && heard.beat_confidence < Heard::SURE {
        tracing::warn!(
            "the beat is not certain: if the band is out of time, give --tempo BPM, or --beats half, double or off-beat"
        );
    }
}

/// What `song` says about the meter, as the engine has it.
impl SongInfo {
    /// The meter, where it is known.
    ///
    /// # Errors
    /// A meter that sideman does not play.
    pub fn known_meter(&self) -> Result<Option<Meter>> {
        let parse = |[n, d]: [u8; 2]| format!("{n}/{d}").parse().map_err(|e: sideman_engine::Error| usage(e.to_string()));
        self.meter.map(parse).transpose()
    }

    /// Takes over what was heard and is not known yet.
    pub fn take(&mut self, heard: Heard, has_clock: bool) {
        if self.chords.is_none() && !heard.chords.is_empty() {
            self.chords = Some(heard.chords.clone());
            self.key = Some(heard.key.clone());
        }
        if has_clock {
            return;
        }
        self.heard = Some(heard.beat_confidence.min(heard.bar_confidence));
        self.meter = Some(match heard.meter {
            Meter::FourFour => [4, 4],
            Meter::ThreeFour => [3, 4],
            Meter::SixEight => [6, 8],
            Meter::TwelveEight => [12, 8],
        });
        self.bar1 = Some(heard.bar1_seconds());
        self.bpm = Some(heard.tempo);
        if !heard.constant {
            self.beats = Some(crate::song_info::BeatTimes { times: heard.beats, bar1: heard.bar1 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_are_corrections_or_a_file() {
        assert!(matches!(read_beats("half, shift-2"), Beats::Corrections(c) if c == [Correction::Half, Correction::Shift(2)]));
        assert!(matches!(read_beats("off-beat"), Beats::Corrections(c) if c == [Correction::OffBeat]));
        assert!(matches!(read_beats("half.txt"), Beats::File(_)));
        assert!(matches!(read_beats("./half"), Beats::File(_)));
    }

    #[test]
    fn a_known_tempo_has_beats_from_the_start_to_the_end() {
        let song = SongInfo { bpm: Some(120.0), bar1: Some(1.2), ..SongInfo::default() };
        let clock = known_clock(&song, 5.0).unwrap();
        assert!(clock.beats[0] <= 0.0 && clock.beats[clock.beats.len() - 1] >= 5.0);
        assert!((clock.beats[clock.bar1] - 1.2).abs() < 1e-9);
    }
}
