//! A song's folder: a WAV for each stem, their mix, song.json, the tempo map, the DAW project and the page. All WAVs start at sample 0 and
//! have the same length.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use sideman_engine::atomic;
use sideman_engine::audio::wav::Audio;
use sideman_engine::audio::{RATE, level, room, wav};
use sideman_engine::task::{Chart, Meter, SongMap};
use sideman_io::dawproject::{self, DawProject, DawTrack};
use sideman_io::page;
use sideman_io::take::{TempoChange, midi_file};

use crate::song_info::{self, SongInfo};

/// A stem of a song.
#[derive(Clone)]
pub struct Stem {
    /// bass, drums or other.
    pub name: String,
    /// Mono at 32 kHz.
    pub samples: Vec<f32>,
    /// It is, or begins with, a recording of the user, which is written unchanged.
    pub kept: bool,
}

/// The result of [`write()`].
pub struct Written {
    /// Names of the WAV files.
    pub files: Vec<String>,
    /// Gain of the mix: 1, or less where the sum of the stems would clip.
    pub mix_gain: f32,
    /// Messages for the user about changed levels.
    pub notes: Vec<String>,
}

/// Name of the file with the tempo map of a song.
pub const TEMPO_MAP: &str = "tempo.mid";

/// A Standard MIDI File with the tempo of each beat. It starts with the first beat. `markers`: samples from there on, and
/// names.
pub fn tempo_map(beats: &[f64], meter: Meter, markers: &[(i64, String)]) -> Vec<u8> {
    let quarters = meter.quarters() as f64 / meter.beats() as f64;
    let change = |pair: &[f64]| TempoChange {
        at: ((pair[0] - beats[0]) * f64::from(RATE)).round() as i64,
        tempo: 60.0 / (pair[1] - pair[0]) * quarters,
        meter,
    };
    midi_file(&beats.windows(2).map(change).collect::<Vec<_>>(), markers)
}

/// Writes the tempo map of a song beside its stems, for a DAW, with markers for the sections and chords of `map`. It starts
/// with the first beat where `info` has the beats, else with bar 1. Without a tempo no file is written.
///
/// # Errors
/// The meter is impossible, or the file can't be written.
pub fn write_tempo_map(dir: &Path, info: &SongInfo, map: &SongMap) -> Result<()> {
    let start = info.beats.as_ref().and_then(|beats| beats.times.first().copied()).or(info.bar1).unwrap_or(0.0);
    let sample = |seconds: f64| ((seconds - start) * f64::from(RATE)).round() as i64;
    let markers: Vec<(i64, String)> = dawproject::markers(map).into_iter().map(|(at, name)| (sample(at), name)).collect();
    let meter = info.known_meter()?.unwrap_or_default();
    let bytes = match (&info.beats, info.bpm) {
        (Some(beats), _) => tempo_map(&beats.times, meter, &markers),
        (None, Some(tempo)) => midi_file(&[TempoChange { at: 0, tempo, meter }], &markers),
        (None, None) => return Ok(()),
    };
    Ok(atomic::write(&dir.join(TEMPO_MAP), &bytes)?)
}

/// Length of the files of a song, in samples.
pub fn samples(stems: &[Stem]) -> u64 {
    stems.iter().map(|stem| stem.samples.len()).max().unwrap_or(0) as u64
}

/// Beats, chords and sections of a song with this chart.
pub fn map(stems: &[Stem], chart: Option<&Chart>) -> SongMap {
    chart.map(|chart| SongMap::of_chart(chart, samples(stems) as f64 / f64::from(RATE))).unwrap_or_default()
}

/// Writes the DAW project of a song beside its stems. `gain`: that of the stems in the mix.
///
/// # Errors
/// The file can't be written.
pub fn write_daw_project(dir: &Path, stems: &[Stem], gain: f32, map: &SongMap, text: &str) -> Result<()> {
    let track = |stem: &Stem| DawTrack { name: stem.name.clone(), file: format!("{}.wav", stem.name), muted: false };
    let tracks: Vec<DawTrack> = stems.iter().map(track).collect();
    let project = DawProject { tracks: &tracks, samples: samples(stems), gain, map, comment: text };
    Ok(dawproject::write(dir, &project)?)
}

/// Names of the files of a song with these stems.
pub fn file_names(stems: &[String]) -> Vec<String> {
    let stems = stems.iter().map(|stem| format!("{stem}.wav"));
    stems.chain(["mix.wav", song_info::FILE, TEMPO_MAP, dawproject::FILE, page::FILE].map(str::to_owned)).collect()
}

/// Creates a folder if it doesn't exist. Call it before the work, so that a wrong folder fails at once.
///
/// # Errors
/// It can't be created, or is a file; the error names the `flag`.
pub fn create(dir: &Path, flag: &str) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|e| anyhow!("{flag} {}: can't create the folder: {e}", dir.display()))
}

/// Writes stems, mix and song.json (`about`) into `dir`. `amount`: level of the room in the mix, which is stereo then,
/// else mono. A generated stem above full scale is scaled down as
/// a whole; a recording never. The mix is made before that, so one loud stroke does not turn its stem down in it.
///
/// # Errors
/// A file can't be written. None of the WAV files then has its final name.
pub fn write(dir: &Path, stems: &mut [Stem], amount: f32, about: &serde_json::Value) -> Result<Written> {
    let mut notes = Vec::new();
    let tracks: Vec<&[f32]> = stems.iter().map(|s| &s.samples[..]).collect();
    let ((mix, mix_gain), channels) = if amount > 0.0 { (room::mix(&tracks, amount), 2) } else { (level::mix(&tracks), 1) };
    for stem in stems.iter_mut().filter(|s| !s.kept) {
        let peak = level::peak(&stem.samples);
        if peak > 1.0 {
            stem.samples.iter_mut().for_each(|x| *x *= level::CEILING / peak);
            notes.push(format!(
                "{}: the peak was {:.1} dB above full scale; the stem was scaled down",
                stem.name,
                level::db(peak)
            ));
        }
    }
    if mix_gain < 1.0 {
        notes.push(format!("mix: {:.1} dB quieter than the sum of the stems, which would clip", -level::db(mix_gain)));
    }
    let mut files: Vec<(PathBuf, Audio)> =
        stems.iter().map(|s| (dir.join(format!("{}.wav", s.name)), Audio::mono(&s.samples))).collect();
    files.push((dir.join("mix.wav"), Audio { samples: &mix, channels }));
    wav::write_all(&files, RATE)?;
    let path = dir.join(song_info::FILE);
    atomic::write(&path, format!("{about:#}\n").as_bytes())?;
    let names = stems.iter().map(|s| s.name.as_str()).chain(["mix"]).map(|name| format!("{name}.wav"));
    Ok(Written { files: names.collect(), mix_gain, notes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_song_with_a_constant_tempo_has_a_tempo_map_and_one_without_a_tempo_has_none() {
        let dir = tempfile::tempdir().unwrap();
        write_tempo_map(dir.path(), &SongInfo::default(), &SongMap::default()).unwrap();
        assert!(!dir.path().join(TEMPO_MAP).exists());
        let info = SongInfo { bpm: Some(90.0), meter: Some([6, 8]), bar1: Some(0.5), ..SongInfo::default() };
        write_tempo_map(dir.path(), &info, &SongMap { chords: vec![(1.5, "Em".into())], ..SongMap::default() }).unwrap();
        let bytes = std::fs::read(dir.path().join(TEMPO_MAP)).unwrap();
        let events = &midly::Smf::parse(&bytes).unwrap().tracks[0];
        let kinds: Vec<_> = events.iter().map(|event| (event.delta.as_int(), event.kind)).collect();
        let meta = |message| midly::TrackEventKind::Meta(message);
        assert_eq!(kinds[0], (0, meta(midly::MetaMessage::Tempo(666_667.into()))));
        assert_eq!(kinds[1], (0, meta(midly::MetaMessage::TimeSignature(6, 3, 24, 8))));
        // A second after bar 1 are 1.5 quarter notes.
        assert_eq!(kinds[2], (1440, meta(midly::MetaMessage::Marker(b"Em"))));
    }

    #[test]
    fn a_loud_stroke_does_not_turn_its_stem_down_in_the_mix() {
        let dir = tempfile::tempdir().unwrap();
        let stem = |name: &str, samples| Stem { name: name.to_owned(), samples, kept: false };
        let mut drums = vec![0.25; 1000];
        drums[500] = 2.0;
        let mut stems = [stem("drums", drums), stem("other", vec![0.125; 1000])];
        let written = write(dir.path(), &mut stems, 0.0, &serde_json::json!({})).unwrap();
        let samples = |name: &str| -> Vec<f32> {
            hound::WavReader::open(dir.path().join(name)).unwrap().into_samples::<f32>().map(|x| x.unwrap()).collect()
        };
        let (drums, mix) = (samples("drums.wav"), samples("mix.wav"));
        assert!(level::peak(&drums) <= 1.0 && level::peak(&mix) <= 1.0);
        assert!((mix[0] - written.mix_gain * 0.375).abs() < 1e-6, "both stems, at the level that they were made at");
        assert!(drums[0] < 0.25 * 0.5, "the file of the stem alone holds it below full scale");
    }
}
