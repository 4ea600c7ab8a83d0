//! What is heard in recordings as a Standard MIDI File: the tempo of each beat, and a track of notes.

use midly::{Format, Header, MetaMessage, MidiMessage, Smf, Timing, Track, TrackEvent, TrackEventKind};
use sideman_engine::listen::{Heard, Notes, Voice};
use sideman_engine::task::Meter;

/// Ticks of a quarter note.
const TICKS: f64 = 960.0;
/// Note of an onset without a pitch: side stick of the General MIDI drum map, on channel 10.
const SIDE_STICK: u8 = 37;
/// Longest note, seconds.
const LONGEST: f64 = 2.0;

/// The file. It starts with the first beat that is heard; notes before it are left out.
pub fn file(heard: &Heard, parts: &[(Voice, Notes)]) -> Vec<u8> {
    let beat_ticks = TICKS * heard.meter.quarters() as f64 / heard.meter.beats() as f64;
    let mut tempo = Track::new();
    let (numerator, denominator) = match heard.meter {
        Meter::FourFour => (4, 2),
        Meter::ThreeFour => (3, 2),
        Meter::SixEight => (6, 3),
        Meter::TwelveEight => (12, 3),
    };
    tempo.push(event(0, TrackEventKind::Meta(MetaMessage::TimeSignature(numerator, denominator, 24, 8))));
    for (k, pair) in heard.beats.windows(2).enumerate() {
        let micros = (1e6 * (pair[1] - pair[0]) * TICKS / beat_ticks).round().clamp(1.0, 16e6) as u32;
        tempo.push(event(if k == 0 { 0 } else { beat_ticks as u32 }, TrackEventKind::Meta(MetaMessage::Tempo(micros.into()))));
    }
    tempo.push(event(0, TrackEventKind::Meta(MetaMessage::EndOfTrack)));

    let mut tracks = vec![tempo];
    for (voice, notes) in parts {
        // Time in ticks, key, and velocity; 0 ends the note.
        let mut keys: Vec<(u32, u8, u8)> = Vec::new();
        let pitched = *voice == Voice::Single;
        for (i, found) in notes.events.iter().enumerate() {
            let next = notes.events.get(i + 1).map_or(f64::INFINITY, |e| e.time);
            let end = next.min(found.time + if found.note.is_some() { LONGEST } else { 0.05 });
            let Some((from, to)) = ticks(heard, found.time, beat_ticks).zip(ticks(heard, end, beat_ticks)) else { continue };
            let key = found.note.unwrap_or(SIDE_STICK);
            keys.push((from, key, (80.0 * found.accent).clamp(1.0, 127.0) as u8));
            keys.push((to.max(from + 1), key, 0));
        }
        // At the same time a note ends before the next begins.
        keys.sort_by_key(|&(at, _, velocity)| (at, velocity > 0));
        let mut track = Track::new();
        let mut last = 0;
        for (at, key, velocity) in keys {
            let message = MidiMessage::NoteOn { key: key.into(), vel: velocity.into() };
            let channel = if pitched { 0 } else { 9 };
            track.push(event(at - last, TrackEventKind::Midi { channel: channel.into(), message }));
            last = at;
        }
        track.push(event(0, TrackEventKind::Meta(MetaMessage::EndOfTrack)));
        tracks.push(track);
    }
    let smf = Smf { header: Header::new(Format::Parallel, Timing::Metrical((TICKS as u16).into())), tracks };
    let mut bytes = Vec::new();
    // Writing into memory fails only for a track of more than 4 GB.
    let _ = smf.write(&mut bytes);
    bytes
}

fn event(delta: u32, kind: TrackEventKind<'static>) -> TrackEvent<'static> {
    TrackEvent { delta: delta.into(), kind }
}

/// Ticks from the first beat to a time; `None` before it.
fn ticks(heard: &Heard, time: f64, beat_ticks: f64) -> Option<u32> {
    let after = heard.beats.partition_point(|&beat| beat <= time);
    let beat = after.checked_sub(1)?.min(heard.beats.len().checked_sub(2)?);
    let part = (time - heard.beats[beat]) / (heard.beats[beat + 1] - heard.beats[beat]);
    Some(((beat as f64 + part) * beat_ticks).round() as u32)
}

#[cfg(test)]
mod tests {
    use sideman_engine::listen::{Known, Recording, listen_to, notes};

    use super::*;

    #[test]
    fn notes_lie_where_they_are_heard() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/rock.flac");
        let samples = sideman_engine::audio::read(&path).unwrap().samples;
        let parts = vec![(Voice::Single, notes(&Recording { voice: Voice::Single, samples: &samples }))];
        let heard = listen_to(&parts, &Known::default(), &[]).unwrap();
        let bytes = file(&heard, &parts);
        let smf = Smf::parse(&bytes).unwrap();
        assert_eq!(smf.tracks.len(), 2);
        // At a constant tempo ticks are seconds times a factor.
        let second = 960.0 * heard.tempo / 60.0;
        let (mut at, mut on) = (0u32, Vec::new());
        for event in &smf.tracks[1] {
            at += event.delta.as_int();
            if let TrackEventKind::Midi { message: MidiMessage::NoteOn { key, vel }, .. } = event.kind
                && vel > 0
            {
                on.push((f64::from(at) / second + heard.beats[0], key.as_int()));
            }
        }
        let heard: Vec<_> = parts[0].1.events.iter().filter(|e| e.time >= heard.beats[0]).collect();
        assert_eq!(on.len(), heard.len());
        for ((time, key), event) in on.iter().zip(heard) {
            assert!((time - event.time).abs() < 0.002 && *key == event.note.unwrap_or(SIDE_STICK), "{time} {key} {event:?}");
        }
    }
}
