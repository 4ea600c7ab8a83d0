//! The tempo map of a take or a song as a standard MIDI file, for a DAW's tempo track, with markers.

use midly::{Format, Header, MetaMessage, Smf, Timing, Track, TrackEvent, TrackEventKind};
use sideman_engine::audio::RATE;
use sideman_engine::task::Meter;

/// Ticks of a quarter note.
const TICKS: u16 = 960;

/// A tempo and a meter from a sample of the take on.
#[derive(Debug, Clone, Copy)]
pub struct TempoChange {
    /// Sample of the take.
    pub at: i64,
    /// Quarter notes a minute.
    pub tempo: f64,
    /// Meter.
    pub meter: Meter,
}

/// The bytes of the MIDI file. Its start is the take's; the first tempo is in force from there on, so that later changes
/// have their times. `markers`: samples and names, in order.
pub fn midi_file(changes: &[TempoChange], markers: &[(i64, String)]) -> Vec<u8> {
    let mut track = Track::new();
    // A tick is rounded to a whole number; what is left over goes into the next one.
    let (mut last, mut rest, mut tempo) = (0i64, 0.0f64, changes.first().map_or(120.0, |c| c.tempo));
    // A MIDI file without a tempo at its start begins with 120.
    if let Some(first) = changes.first().filter(|first| first.at > 0) {
        track.push(meta(0, tempo_event(first.tempo)));
    }
    // Ticks from the last event to one at this sample.
    let mut delta = |at: i64, new: f64| {
        let ticks = (at.max(0) - last) as f64 / f64::from(RATE) * tempo / 60.0 * f64::from(TICKS) + rest;
        let delta = ticks.round().clamp(0.0, f64::from(0x0fff_ffffu32)) as u32;
        (last, rest) = (at.max(0), ticks - f64::from(delta));
        tempo = if new > 0.0 { new } else { tempo };
        delta
    };
    let mut markers = markers.iter().peekable();
    let ends = changes.iter().skip(1).map(|change| change.at).chain([i64::MAX]);
    for (change, end) in changes.iter().zip(ends) {
        let delta_of_change = delta(change.at, change.tempo);
        // The denominator is a power of two.
        let (numerator, denominator) = match change.meter {
            Meter::FourFour => (4, 2),
            Meter::ThreeFour => (3, 2),
            Meter::SixEight => (6, 3),
            Meter::TwelveEight => (12, 3),
        };
        track.push(meta(delta_of_change, tempo_event(change.tempo)));
        track.push(meta(0, MetaMessage::TimeSignature(numerator, denominator, 24, 8)));
        while let Some((at, name)) = markers.next_if(|marker| marker.0 < end) {
            track.push(meta(delta((*at).max(change.at), 0.0), MetaMessage::Marker(name.as_bytes())));
        }
    }
    track.push(meta(0, MetaMessage::EndOfTrack));
    let smf = Smf { header: Header::new(Format::SingleTrack, Timing::Metrical(TICKS.into())), tracks: vec![track] };
    let mut bytes = Vec::new();
    // Writing into memory fails only for a track that is too long, and tempos are few.
    let _ = smf.write(&mut bytes);
    bytes
}

fn tempo_event(tempo: f64) -> MetaMessage<'static> {
    MetaMessage::Tempo(((60e6 / tempo.clamp(4.0, 1e4)).round() as u32).into())
}

fn meta(delta: u32, message: MetaMessage) -> TrackEvent {
    TrackEvent { delta: delta.into(), kind: TrackEventKind::Meta(message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds of each time signature and of each marker, by the tempos that the file itself has before it.
    fn seconds_of_meters(bytes: &[u8]) -> (Vec<f64>, Vec<(f64, String)>) {
        let smf = Smf::parse(bytes).unwrap();
        let (mut seconds, mut micros, mut found, mut marked) = (0.0, 500_000.0, Vec::new(), Vec::new());
        for event in &smf.tracks[0] {
            seconds += f64::from(event.delta.as_int()) / f64::from(TICKS) * micros / 1e6;
            match event.kind {
                TrackEventKind::Meta(MetaMessage::Tempo(new)) => micros = f64::from(new.as_int()),
                TrackEventKind::Meta(MetaMessage::TimeSignature(..)) => found.push(seconds),
                TrackEventKind::Meta(MetaMessage::Marker(name)) => {
                    marked.push((seconds, String::from_utf8_lossy(name).into_owned()))
                }
                _ => {}
            }
        }
        (found, marked)
    }

    #[test]
    fn changes_are_at_their_times_for_a_reader_of_the_file() {
        let change =
            |seconds: f64, tempo: f64| TempoChange { at: (seconds * f64::from(RATE)) as i64, tempo, meter: Meter::FourFour };
        let times = [0.5, 7.25, 20.0];
        let markers = [(0, "Verse"), (16_000, "Em"), (64_000, "A7"), (700_000, "C")].map(|(at, name)| (at, name.to_owned()));
        let bytes = midi_file(&[change(times[0], 100.0), change(times[1], 83.0), change(times[2], 171.0)], &markers);
        let (found, marked) = seconds_of_meters(&bytes);
        // The first one is where the first tempo is, and not before it.
        let want = [(0.5, "Verse"), (0.5, "Em"), (2.0, "A7"), (21.875, "C")];
        assert!(marked.len() == 4 && marked.iter().zip(want).all(|(a, b)| (a.0 - b.0).abs() < 1e-3 && a.1 == b.1), "{marked:?}");
        assert!(found.len() == 3 && found.iter().zip(times).all(|(a, b)| (a - b).abs() < 1e-3), "{found:?}");
        assert_eq!(Smf::parse(&midi_file(&[change(0.0, 100.0)], &[])).unwrap().tracks[0].len(), 3, "no tempo twice at the start");
    }
}
