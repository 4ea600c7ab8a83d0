//! The tempo map of a take as a standard MIDI file, for a DAW's tempo track.

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
/// have their times.
pub fn midi_file(changes: &[TempoChange]) -> Vec<u8> {
    let mut track = Track::new();
    // A tick is rounded to a whole number; what is left over goes into the next one.
    let (mut last, mut rest, mut tempo) = (0i64, 0.0f64, changes.first().map_or(120.0, |c| c.tempo));
    // A MIDI file without a tempo at its start begins with 120.
    if let Some(first) = changes.first().filter(|first| first.at > 0) {
        track.push(meta(0, tempo_event(first.tempo)));
    }
    for change in changes {
        let at = change.at.max(0);
        let ticks = (at - last) as f64 / f64::from(RATE) * tempo / 60.0 * f64::from(TICKS) + rest;
        let delta = ticks.round().clamp(0.0, f64::from(0x0fff_ffffu32)) as u32;
        (last, rest, tempo) = (at, ticks - f64::from(delta), change.tempo);
        // The denominator is a power of two.
        let (numerator, denominator) = match change.meter {
            Meter::FourFour => (4, 2),
            Meter::ThreeFour => (3, 2),
            Meter::SixEight => (6, 3),
            Meter::TwelveEight => (12, 3),
        };
        track.push(meta(delta, tempo_event(change.tempo)));
        track.push(meta(0, MetaMessage::TimeSignature(numerator, denominator, 24, 8)));
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

fn meta(delta: u32, message: MetaMessage<'static>) -> TrackEvent<'static> {
    TrackEvent { delta: delta.into(), kind: TrackEventKind::Meta(message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds of each time signature, by the tempos that the file itself has before it.
    fn seconds_of_meters(bytes: &[u8]) -> Vec<f64> {
        let smf = Smf::parse(bytes).unwrap();
        let (mut seconds, mut micros, mut found) = (0.0, 500_000.0, Vec::new());
        for event in &smf.tracks[0] {
            seconds += f64::from(event.delta.as_int()) / f64::from(TICKS) * micros / 1e6;
            match event.kind {
                TrackEventKind::Meta(MetaMessage::Tempo(new)) => micros = f64::from(new.as_int()),
                TrackEventKind::Meta(MetaMessage::TimeSignature(..)) => found.push(seconds),
                _ => {}
            }
        }
        found
    }

    #[test]
    fn changes_are_at_their_times_for_a_reader_of_the_file() {
        let change =
            |seconds: f64, tempo: f64| TempoChange { at: (seconds * f64::from(RATE)) as i64, tempo, meter: Meter::FourFour };
        let times = [0.5, 7.25, 20.0];
        let bytes = midi_file(&[change(times[0], 100.0), change(times[1], 83.0), change(times[2], 171.0)]);
        let found = seconds_of_meters(&bytes);
        assert!(found.len() == 3 && found.iter().zip(times).all(|(a, b)| (a - b).abs() < 1e-3), "{found:?}");
        assert_eq!(Smf::parse(&midi_file(&[change(0.0, 100.0)])).unwrap().tracks[0].len(), 3, "no tempo twice at the start");
    }
}
