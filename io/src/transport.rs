//! Following JACK's transport: who plays, stops and goes elsewhere on the server takes the band along. A transport says its position in every
//! block, exactly; tempo and bars only where a timebase master (a sequencer, most often) gives them.

use sideman_engine::live::{Command, Origin, Request, Snapshot, When};
use sideman_engine::task::Meter;

/// A position that is this far beside the one foretold, s, is another place in the song.
const JUMP: f64 = 0.02;
/// It is told anew at least so often, s.
const OFTEN: f64 = 0.04;

/// The transport at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Transport {
    /// Song time of the sample that the server is given for this moment, s.
    pub at: f64,
    /// It rolls.
    pub rolling: bool,
    /// Where it is, s.
    pub seconds: f64,
    /// What a timebase master says of it.
    pub beat: Option<Beat>,
}

/// Where in which bar it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beat {
    /// Quarter notes since its bar 1.
    pub quarters: f64,
    /// Quarter notes a minute.
    pub tempo: f64,
    /// Its meter, where it is one that we know.
    pub meter: Option<Meter>,
}

impl Beat {
    /// From bar, beat (both from 1) and share of the beat, in bars of `num / den`, and beats a minute. None: it can't be. Allocates nothing.
    pub fn new(bar: f64, beat: f64, num: f64, den: f64, bpm: f64) -> Option<Beat> {
        // jack_transport says 0.25 where it means quarter notes.
        let den = if den >= 1.0 { den } else { 4.0 };
        let tempo = bpm * 4.0 / den;
        if !(num >= 1.0 && (10.0..=800.0).contains(&tempo) && bar.is_finite() && beat.is_finite()) {
            return None;
        }
        let meter = match (num as u32, den as u32) {
            (4, 4) => Some(Meter::FourFour),
            (3, 4) => Some(Meter::ThreeFour),
            (6, 8) => Some(Meter::SixEight),
            (12, 8) => Some(Meter::TwelveEight),
            _ => None,
        };
        Some(Beat { quarters: ((bar - 1.0) * num + beat - 1.0) * 4.0 / den, tempo, meter })
    }
}

impl Transport {
    /// Where it is at song time `at` if nothing happens, s.
    fn seconds_at(&self, at: f64) -> f64 {
        self.seconds + if self.rolling { at - self.at } else { 0.0 }
    }

    /// Whether it has gone elsewhere since `before`.
    fn moved(&self, before: &Transport) -> bool {
        (before.seconds_at(self.at) - self.seconds).abs() > JUMP
    }

    /// Whether it is worth telling after `before` was told.
    pub fn is_news(&self, before: Option<&Transport>) -> bool {
        before.is_none_or(|b| b.rolling != self.rolling || self.moved(b) || (self.at - b.at).abs() >= OFTEN)
    }
}

/// A band that is led by it.
#[derive(Debug, Default)]
pub struct Follower {
    now: Option<Transport>,
    /// It rolled when it was looked at last.
    rolled: bool,
    /// It has gone elsewhere since.
    moved: bool,
}

impl Follower {
    /// What the server says.
    pub fn heard(&mut self, transport: Transport) {
        self.moved |= self.now.is_some_and(|before| transport.moved(&before));
        self.now = Some(transport);
    }

    /// Whether there is one.
    pub fn known(&self) -> bool {
        self.now.is_some()
    }

    /// What it asks of the band, in order; `entry` is the way in, shared with MIDI's clock. `taken_up`: the band has begun to follow it just now: what plays
    /// then goes on, and is only bent to the beat.
    pub fn follow(&mut self, model: &Snapshot, taken_up: bool, entry: &mut super::midi::Entrance, from: Origin) -> Vec<Request> {
        let Some(now) = self.now else { return Vec::new() };
        if taken_up {
            (self.rolled, self.moved) = (now.rolling && model.playing, false);
            entry.leave();
        }
        match (std::mem::replace(&mut self.rolled, now.rolling), now.rolling) {
            (true, false) => {
                entry.leave();
                return vec![Request { command: Command::Stop, when: Some(When::Now), from }];
            }
            (false, true) => entry.arm(),
            (true, true) if self.moved => entry.arm(),
            _ => {}
        }
        self.moved = false;
        if !now.rolling {
            return Vec::new();
        }
        let next = model.time as f64 / f64::from(sideman_engine::audio::RATE);
        // Without a timebase master its bars are the band's, counted from its beginning.
        let tempo = now.beat.map_or(model.tempo, |b| b.tempo);
        let theirs = now.beat.map_or(now.seconds * tempo / 60.0, |b| b.quarters) + (next - now.at) * tempo / 60.0;
        if let Some(wishes) = entry.come_in(model, next, theirs, tempo, now.beat.and_then(|b| b.meter), from) {
            return wishes;
        }
        if now.beat.is_none() { Vec::new() } else { super::midi::keep_on(model, theirs, tempo, from) }
    }
}

#[cfg(test)]
mod tests {
    use sideman_engine::live::Clock;

    use super::super::midi::Entrance;
    use super::*;

    fn model(time: f64, playing: bool, tempo: f64) -> Snapshot {
        // Bars of two seconds at 120; the band's own lie half a second beside the transport's.
        let quarters = (time - 0.5) * tempo / 60.0;
        let (bar, beat) = ((quarters / 4.0).floor(), quarters.rem_euclid(4.0));
        Snapshot {
            time: (time * 32_000.0) as i64,
            bar: bar as i64 + 1,
            beat: beat as u32 + 1,
            phase: beat.fract() as f32,
            tempo,
            playing,
            clock: Clock::Jack,
            ..Snapshot::default()
        }
    }

    fn at(at: f64, rolling: bool, seconds: f64) -> Transport {
        let beat = Beat::new(1.0 + (seconds / 2.0).floor(), 1.0 + seconds % 2.0 * 2.0, 4.0, 4.0, 120.0);
        Transport { at, rolling, seconds, beat }
    }

    fn commands(requests: Vec<Request>) -> Vec<(Command, Option<When>)> {
        requests.into_iter().map(|r| (r.command, r.when)).collect()
    }

    #[test]
    fn it_comes_in_at_its_bars_stops_with_it_and_comes_in_elsewhere() {
        let (mut f, mut entry) = (Follower::default(), Entrance::default());
        assert!(f.follow(&model(1.0, false, 100.0), true, &mut entry, 7).is_empty());
        f.heard(at(1.0, false, 0.0));
        assert!(f.follow(&model(1.0, false, 100.0), false, &mut entry, 7).is_empty());
        // It rolls from 3 s of song time on: bar lines at 3, 5, 7. The first one at least 1.4 s ahead of 3.1 s is 5.
        f.heard(at(3.1, true, 0.1));
        let wishes = commands(f.follow(&model(3.1, false, 100.0), false, &mut entry, 7));
        assert_eq!(
            wishes,
            [(Command::Tempo(120.0), Some(When::Now)), (Command::Play, Some(When::Sample(5 * 32_000)))],
            "once, and at its bar line"
        );
        assert!(f.follow(&model(3.1, false, 120.0), false, &mut entry, 7).is_empty());
        // It goes elsewhere while it rolls, a beat beside what was: the band is still, and comes in again.
        f.heard(at(8.0, true, 30.5));
        let playing = Snapshot { bar: 3, beat: 1, phase: 0.0, ..model(8.0, true, 120.0) };
        assert_eq!(commands(f.follow(&playing, false, &mut entry, 7)), [(Command::Stop, Some(When::Now))]);
        let wishes = commands(f.follow(&model(8.0, false, 120.0), false, &mut entry, 7));
        assert_eq!(wishes[1], (Command::Play, Some(When::Sample((9.5 * 32_000.0) as i64))));
        f.heard(at(9.0, false, 31.5));
        assert_eq!(commands(f.follow(&model(9.0, true, 120.0), false, &mut entry, 7)), [(Command::Stop, Some(When::Now))]);
        assert!(f.follow(&model(9.1, false, 120.0), false, &mut entry, 7).is_empty());
    }

    #[test]
    fn who_takes_it_up_in_the_middle_goes_on() {
        let (mut f, mut entry) = (Follower::default(), Entrance::default());
        f.heard(at(4.0, true, 4.0));
        // A quarter of a beat late, at its own 118: bent, never moved.
        let ours = Snapshot { bar: 7, beat: 4, phase: 0.75, ..model(4.0, true, 118.0) };
        let wishes = commands(f.follow(&ours, true, &mut entry, 7));
        let [(Command::Tempo(tempo), Some(When::Now))] = wishes[..] else { panic!("{wishes:?}") };
        assert!(tempo > 120.0 && tempo <= 120.0 * 1.04 + 1e-9, "{tempo}");
        // A transport that stands when it is taken up stops nothing.
        let (mut f, mut entry) = (Follower::default(), Entrance::default());
        f.heard(at(4.0, false, 4.0));
        assert!(f.follow(&ours, true, &mut entry, 7).is_empty() && f.follow(&ours, false, &mut entry, 7).is_empty());
    }

    #[test]
    fn without_a_master_the_bars_are_the_band_s() {
        let (mut f, mut entry) = (Follower::default(), Entrance::default());
        f.heard(Transport { beat: None, ..at(1.0, true, 10.0) });
        // 90 a minute: bars of 2.667 s from its second 0 on; 1.4 s ahead of 11 (song 2.0) the next one is 13.333.
        let wishes = commands(f.follow(&model(2.0, false, 90.0), true, &mut entry, 7));
        let Some((Command::Play, Some(When::Sample(sample)))) = wishes.last() else { panic!("{wishes:?}") };
        assert!((*sample as f64 / 32_000.0 - (13.333_333 - 9.0)).abs() < 1e-3, "{wishes:?}");
        assert!(f.follow(&model(6.0, true, 90.0), false, &mut entry, 7).is_empty());
    }

    #[test]
    fn beats_of_all_masters() {
        let six = Beat::new(2.0, 4.0, 6.0, 8.0, 180.0).unwrap();
        assert_eq!((six.quarters, six.tempo, six.meter), (4.5, 90.0, Some(Meter::SixEight)));
        let quirk = Beat::new(1.0, 2.5, 4.0, 0.25, 120.0).unwrap();
        assert_eq!((quirk.quarters, quirk.tempo, quirk.meter), (1.5, 120.0, Some(Meter::FourFour)));
        assert_eq!(Beat::new(3.0, 1.0, 5.0, 4.0, 100.0).unwrap().meter, None);
        for (num, den, bpm) in [(0.0, 4.0, 120.0), (4.0, 4.0, f64::NAN), (4.0, 4.0, 0.0), (f64::NAN, f64::NAN, 1.0)] {
            assert_eq!(Beat::new(1.0, 1.0, num, den, bpm), None);
        }
        let (a, b) = (at(1.0, true, 5.0), at(1.005, true, 5.005));
        assert!(a.is_news(None) && !b.is_news(Some(&a)) && at(1.05, true, 5.05).is_news(Some(&a)));
        assert!(at(1.005, false, 5.005).is_news(Some(&a)) && at(1.005, true, 9.0).is_news(Some(&a)));
    }
}
