//! Reads the beats of a song from a file: labels as Audacity and Sonic Visualiser write them, or the tempo map of
//! a Standard MIDI File.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Result, anyhow};
use midly::{MetaMessage, Smf, Timing, TrackEventKind};
use sideman_engine::task::BeatMap;

use crate::song_info::{BeatTimes, SongInfo};

/// Most bytes that are read.
const MAX_BYTES: u64 = 8 << 20;
/// Offset of the two bytes of a MIDI file's header that say how its times are counted.
const TIMING: usize = 12;
/// Seconds that the beats of a MIDI file go on after its last event.
const AFTER: f64 = 600.0;

/// Beats of a file.
#[derive(Debug, PartialEq)]
pub struct BeatsFile {
    times: Vec<f64>,
    bar1: usize,
    meter: Option<[u8; 2]>,
}

impl BeatsFile {
    /// Gives a song these beats.
    pub fn apply(self, song: &mut SongInfo) {
        let lengths = self.times.windows(2).map(|w| w[1] - w[0]);
        let mut lengths: Vec<f64> = lengths.collect();
        lengths.sort_by(f64::total_cmp);
        song.meter = song.meter.or(self.meter);
        let quarters = match song.meter {
            Some([6 | 12, 8]) => 1.5,
            _ => 1.0,
        };
        song.bpm = lengths.get(lengths.len() / 2).map(|length| 60.0 / length * quarters);
        song.bar1 = self.times.get(self.bar1).copied();
        song.beats = Some(BeatTimes { times: self.times, bar1: self.bar1 });
    }
}

/// Reads a file of beats.
///
/// # Errors
/// It can't be read, or has no beats that can be.
pub fn read(path: &Path) -> Result<BeatsFile> {
    let at = |what: String| anyhow!("--beats {}: {what}", path.display());
    let file = File::open(path).map_err(|e| at(format!("{e}; give a file, or half, double, shift or off-beat")))?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|e| at(e.to_string()))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(at(format!("is too long for a file of beats; at most {MAX_BYTES} bytes are read")));
    }
    let file = if bytes.starts_with(b"MThd") { of_midi(&bytes) } else { of_labels(&String::from_utf8_lossy(&bytes)) };
    let file = file.map_err(at)?;
    BeatMap::new(&file.times, file.bar1).map_err(|e| at(e.to_string()))?;
    Ok(file)
}

/// One beat in a line: the time in seconds, then a label. A label that is 1, or ends in .1, begins a bar.
fn of_labels(text: &str) -> Result<BeatsFile, String> {
    let (mut times, mut bars) = (Vec::new(), Vec::new());
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line.starts_with('\\') {
            continue;
        }
        let mut fields = line.split(['\t', ',', ' ', ';']).filter(|f| !f.is_empty());
        let time = fields.next().and_then(|f| f.parse::<f64>().ok()).filter(|t| t.is_finite());
        let time = time.ok_or_else(|| format!("line {}: it should begin with a time in seconds, such as \"1.52\"", n + 1))?;
        if fields.next_back().is_some_and(|label| label == "1" || label.ends_with(".1") && label != "0.1") {
            bars.push(times.len());
        }
        times.push(time);
    }
    let length = bars.windows(2).map(|w| w[1] - w[0]).min();
    let meter = length.and_then(|beats| match beats {
        2 => Some([6, 8]),
        3 => Some([3, 4]),
        4 => Some([4, 4]),
        _ => None,
    });
    Ok(BeatsFile { times, bar1: bars.first().copied().unwrap_or(0), meter })
}

/// The quarter notes of a MIDI file's tempo map; bar 1 is its start.
fn of_midi(bytes: &[u8]) -> Result<BeatsFile, String> {
    let smpte = || "its times are SMPTE frames; export it with quarter notes".to_owned();
    // midly panics at a rate of -128 frames a second.
    if bytes.get(TIMING).is_some_and(|byte| byte & 0x80 != 0) {
        return Err(smpte());
    }
    let smf = Smf::parse(bytes).map_err(|e| format!("not a MIDI file that can be read: {e}"))?;
    let Timing::Metrical(ticks) = smf.header.timing else { return Err(smpte()) };
    let mut changes = vec![(0u64, 500_000.0)];
    let (mut meter, mut end) = (None, 0u64);
    for track in &smf.tracks {
        let mut at = 0u64;
        for event in track {
            at += u64::from(event.delta.as_int());
            end = end.max(at);
            match event.kind {
                TrackEventKind::Meta(MetaMessage::Tempo(micros)) => changes.push((at, f64::from(micros.as_int()))),
                TrackEventKind::Meta(MetaMessage::TimeSignature(n, d, _, _)) if meter.is_none() => {
                    meter = Some([n, 1u8.checked_shl(u32::from(d)).unwrap_or(0)]);
                }
                _ => {}
            }
        }
    }
    changes.sort_by_key(|change| change.0);
    let meter = meter.filter(|m| [[4, 4], [3, 4], [6, 8], [12, 8]].contains(m));
    // Beats are dotted quarters in 6/8 and 12/8.
    let ticks = f64::from(ticks.as_int().max(1));
    let beat = if matches!(meter, Some([_, 8])) { 1.5 * ticks } else { ticks };
    let mut times = Vec::new();
    let (mut seconds, mut last, mut micros, mut next) = (0.0, 0.0, 500_000.0, 0);
    for k in 0.. {
        let at = f64::from(k) * beat;
        while next < changes.len() && changes[next].0 as f64 <= at {
            seconds += (changes[next].0 as f64 - last) / ticks * micros / 1e6;
            (last, micros) = (changes[next].0 as f64, changes[next].1);
            next += 1;
        }
        let time = seconds + (at - last) / ticks * micros / 1e6;
        times.push(time);
        if times.len() >= 20_000 || at > end as f64 && time > seconds + AFTER {
            break;
        }
    }
    Ok(BeatsFile { times, bar1: 0, meter })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_give_beats_bars_and_meter() {
        let file = of_labels("# beats\n0.5\t1.4\n1.0\t1.0\t2.1\n1.5 2.2\n2.1 2.3\n2.6\t3.1\n").unwrap();
        assert_eq!(file, BeatsFile { times: vec![0.5, 1.0, 1.5, 2.1, 2.6], bar1: 1, meter: Some([3, 4]) });
        assert!(of_labels("soon\n").is_err());
        assert_eq!(of_labels("0.1\n0.6\n").unwrap().bar1, 0);
    }

    #[test]
    fn a_take_and_a_song_write_midi_that_is_read_again() {
        let times: Vec<f64> = (0..40).map(|k| 0.5 * f64::from(k) + 0.002 * f64::from(k * k)).collect();
        let bytes = crate::song_folder::tempo_map(&times, sideman_engine::task::Meter::ThreeFour, &[]);
        let file = of_midi(&bytes).unwrap();
        assert_eq!((file.bar1, file.meter), (0, Some([3, 4])));
        for (k, time) in times.iter().enumerate() {
            assert!((file.times[k] - time).abs() < 0.001, "beat {k}: {} not {time}", file.times[k]);
        }
    }

    #[test]
    fn damaged_files_are_errors() {
        assert!(of_midi(b"MThd").is_err());
        for smpte in [0xe8, 0x80] {
            assert!(of_midi(&[b"MThd\0\0\0\x06\0\x01\0\x01", &[smpte, 0][..]].concat()).is_err());
        }
        for cut in 0..60 {
            let bytes = crate::song_folder::tempo_map(&[0.0, 0.5, 1.0], sideman_engine::task::Meter::FourFour, &[]);
            let _ = of_midi(&bytes[..cut.min(bytes.len())]);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_without_end_is_an_error() {
        assert!(read(Path::new("/dev/zero")).is_err());
    }
}
