//! MIDI clock out: 24 ticks a quarter note in time with the beat that is heard, start, stop, continue and song position.
//!
//! The engine's thread gives the position of the beat ([`BeatPosition`]) after each hop. The owner of a MIDI port calls
//! [`MidiClockOut::advance`] for each span of song time. It reads no clock and may be called in an audio callback.

use ringbuf::HeapCons;
use ringbuf::traits::Consumer;
use sideman_engine::live::{Clock as Source, Snapshot};

use super::TICKS;
use super::entry::quarters;

/// A position that differs by more than this from the predicted one, in quarter notes, means that the song has moved.
const JUMP: f64 = 0.1;
/// The most ticks of one span. More means that the span is not valid.
const MOST: usize = 256;

/// The position of the beat from a song time on.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct BeatPosition {
    /// Song time, s.
    pub at: f64,
    /// Quarter notes since bar 1.
    pub quarters: f64,
    /// Tempo in BPM; 0: there is no beat.
    pub tempo: f64,
    /// Whether the band plays or counts in.
    pub playing: bool,
}

impl BeatPosition {
    /// The position in a snapshot.
    pub fn of(s: &Snapshot) -> BeatPosition {
        let tempo = if s.clock == Source::Free { 0.0 } else { s.tempo };
        BeatPosition {
            at: s.time as f64 / f64::from(sideman_engine::audio::RATE),
            quarters: quarters(s),
            tempo,
            playing: s.playing,
        }
    }

    fn quarters_at(&self, at: f64) -> f64 {
        self.quarters + (at - self.at) * self.tempo / 60.0
    }

    /// Song time of a position.
    fn time_of(&self, quarters: f64) -> f64 {
        self.at + (quarters - self.quarters) * 60.0 / self.tempo
    }
}

/// The state of MIDI clock out.
#[derive(Debug, Clone, Default)]
pub struct MidiClockOut {
    position: Option<BeatPosition>,
    /// The next tick, counted from bar 1.
    tick: i64,
    running: bool,
    /// The end of the last span.
    to: f64,
}

impl MidiClockOut {
    /// Sends the messages of song time `from..to` (s), each with its time, in order. `positions` are in order of time; those that are due
    /// are removed. Allocates nothing.
    pub fn advance(&mut self, from: f64, to: f64, positions: &mut HeapCons<BeatPosition>, mut send: impl FnMut(f64, &[u8])) {
        if (from - self.to).abs() > 0.01 {
            // The device has lost time, or was opened again.
            self.place(from);
        }
        self.to = to;
        let mut at = from;
        loop {
            let next = positions.try_peek().filter(|m| m.at < to).copied();
            let end = next.map_or(to, |m| m.at.max(at));
            self.ticks(at, end, &mut send);
            let Some(next) = next else { return };
            positions.try_pop();
            at = end;
            self.take(next, at, &mut send);
        }
    }

    /// Sends the ticks of a span in which the beat does not move.
    fn ticks(&mut self, from: f64, to: f64, send: &mut impl FnMut(f64, &[u8])) {
        let Some(position) = self.position.filter(|m| m.tempo > 0.0) else { return };
        for _ in 0..MOST {
            let at = position.time_of(self.tick as f64 / f64::from(TICKS)).max(from);
            if at >= to {
                return;
            }
            // A receiver can start at the beginning of the song or at a sixteenth.
            if position.playing && !self.running && self.tick >= 0 && self.tick % 6 == 0 {
                self.running = true;
                if self.tick == 0 {
                    send(at, &[0xfa]);
                } else {
                    let sixteenths = (self.tick / 6).min(0x3fff);
                    send(at, &[0xf2, (sixteenths & 127) as u8, (sixteenths >> 7) as u8]);
                    send(at, &[0xfb]);
                }
            }
            send(at, &[0xf8]);
            self.tick += 1;
        }
        self.place(to);
    }

    /// Takes a new position of the beat.
    fn take(&mut self, position: BeatPosition, at: f64, send: &mut impl FnMut(f64, &[u8])) {
        let moved = self.position.is_none_or(|m| m.tempo <= 0.0 || (m.quarters_at(at) - position.quarters_at(at)).abs() > JUMP);
        self.position = Some(position);
        if moved {
            self.place(at);
        }
        if self.running && (moved || !position.playing || position.tempo <= 0.0) {
            self.running = false;
            send(at, &[0xfc]);
        }
    }

    /// Sets the next tick to the first one from a time on.
    fn place(&mut self, at: f64) {
        if let Some(position) = self.position {
            self.tick = (position.quarters_at(at) * f64::from(TICKS) - 1e-6).ceil() as i64;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ringbuf::HeapRb;
    use ringbuf::traits::{Producer, Split};

    use super::*;

    type Sent = Vec<(f64, Vec<u8>)>;

    /// All messages of 0 to `end` s, in spans of `block` s.
    fn sent(marks: &[BeatPosition], end: f64, block: f64) -> Sent {
        let (mut put, mut get) = HeapRb::new(marks.len().max(1)).split();
        put.push_slice(marks);
        let (mut clock, mut all) = (MidiClockOut::default(), Vec::new());
        let mut n = 0.0;
        while n * block < end {
            clock.advance(n * block, (n + 1.0) * block, &mut get, |at, bytes| all.push((at, bytes.to_vec())));
            n += 1.0;
        }
        all
    }

    fn mark(at: f64, quarters: f64, tempo: f64, playing: bool) -> BeatPosition {
        BeatPosition { at, quarters, tempo, playing }
    }

    #[test]
    fn ticks_count_in_and_the_song_starts_at_bar_1_and_stops() {
        // A count-in of one bar at 120 BPM, stopped at 6 s, started again with a count-in at 7 s.
        let marks = [mark(0.0, -4.0, 120.0, true), mark(6.0, 8.0, 120.0, false), mark(7.0, -4.0, 120.0, true)];
        let all = sent(&marks, 10.0, 0.0213);
        let of = |byte: u8| all.iter().filter(|m| m.1[0] == byte).map(|m| m.0).collect::<Vec<f64>>();
        let near = |found: Vec<f64>, wanted: &[f64]| {
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6)
        };
        assert!(near(of(0xfa), &[2.0, 9.0]), "{:?}", of(0xfa));
        assert!(near(of(0xfc), &[6.0]), "{:?}", of(0xfc));
        assert!(of(0xf2).is_empty() && of(0xfb).is_empty());
        // The tick after start is at the beat.
        let start = all.iter().position(|m| m.1 == [0xfa]).unwrap();
        assert_eq!(all[start + 1], (all[start].0, vec![0xf8]));
        assert!((of(0xf8).len() as i64 - 480).abs() <= 2);
    }

    #[test]
    fn a_running_song_is_continued_from_its_position() {
        let all = sent(&[mark(0.0, 17.1, 120.0, true)], 1.0, 0.01);
        let at = all.iter().position(|m| m.1[0] == 0xf2).unwrap();
        // 17.25 quarters are 69 sixteenths.
        assert_eq!((&all[at].1, &all[at + 1].1), (&vec![0xf2, 69, 0], &vec![0xfb]));
        assert!((all[at].0 - 0.075).abs() < 1e-6);
        // Without a beat there are no ticks.
        assert!(sent(&[mark(0.0, 0.0, 0.0, true)], 1.0, 0.01).is_empty());
    }

    proptest! {
        #[test]
        fn ticks_do_not_depend_on_spans_and_positions(bpm in 40.0..300.0f64, block in 0.001..0.1f64, hop in 0.02..0.5f64) {
            let marks: Vec<BeatPosition> = (0..(8.0 / hop) as usize).map(|n| n as f64 * hop).map(|at| mark(at, at * bpm / 60.0, bpm, true)).collect();
            let all = sent(&marks, 8.0, block);
            for (k, (at, bytes)) in all.iter().filter(|m| m.1[0] == 0xf8).enumerate() {
                prop_assert!(bytes.len() == 1 && (at - k as f64 * 2.5 / bpm).abs() < 1e-6, "tick {k} at {at}");
            }
            prop_assert_eq!(all.iter().filter(|m| m.1[0] != 0xf8).count(), 1);
        }

        #[test]
        fn a_change_of_tempo_loses_no_tick(a in 60.0..200.0f64, b in 60.0..200.0f64, at in 0.5..3.0f64) {
            let there = at * a / 60.0;
            let all = sent(&[mark(0.0, 0.0, a, true), mark(at, there, b, true)], 6.0, 0.005);
            let ticks = all.iter().filter(|m| m.1[0] == 0xf8).count() as f64;
            prop_assert!((ticks - (there + (6.0 - at) * b / 60.0) * 24.0).abs() < 2.0, "{ticks}");
            prop_assert!(all.windows(2).all(|w| w[0].0 <= w[1].0));
        }
    }
}
