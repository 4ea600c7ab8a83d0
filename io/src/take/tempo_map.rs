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

/// The bytes of the MIDI file.
pub fn midi_file(changes: &[TempoChange]) -> Vec<u8> {
    let mut track = Track::new();
    // A tick is rounded to a whole number; what is left over goes into the next one.
    let (mut last, mut rest, mut tempo) = (0i64, 0.0f64, changes.first().map_or(120.0, |c| c.tempo));
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
        let micros = (60e6 / change.tempo.clamp(4.0, 1e4)).round() as u32;
        track.push(meta(delta, MetaMessage::Tempo(micros.into())));
        track.push(meta(0, MetaMessage::TimeSignature(numerator, denominator, 24, 8)));
    }
    track.push(meta(0, MetaMessage::EndOfTrack));
    let smf = Smf { header: Header::new(Format::SingleTrack, Timing::Metrical(TICKS.into())), tracks: vec![track] };
    let mut bytes = Vec::new();
    // Writing into memory fails only for a track that is too long, and tempos are few.
    let _ = smf.write(&mut bytes);
    bytes
}

fn meta(delta: u32, message: MetaMessage<'static>) -> TrackEvent<'static> {
    TrackEvent { delta: delta.into(), kind: TrackEventKind::Meta(message) }
}
