//! JACK transport: the session starts, stops and relocates with the server. The transport gives its exact position in every block; tempo
//! and bars only if a timebase master, most often a sequencer, gives them.

use sideman_engine::live::{Command, Origin, Request, Snapshot, When};
use sideman_engine::task::Meter;

use super::BarEntry;
use super::entry::keep_phase;

/// A position that is farther than this from the predicted one, s, means that the transport has relocated.
const JUMP: f64 = 0.02;
/// The longest time between two reports of an unchanged transport, s.
const REPORT: f64 = 0.04;

/// The transport at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Transport {
    /// Song time of the sample that the server plays at this moment, s.
    pub at: f64,
    /// Whether it rolls.
    pub rolling: bool,
    /// Its position, s.
    pub seconds: f64,
    /// Beat and tempo, from a timebase master.
    pub beat: Option<Beat>,
}

/// Beat and tempo of a transport.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beat {
    /// Quarter notes since its bar 1.
    pub quarters: f64,
    /// Quarter notes a minute.
    pub tempo: f64,
    /// Its meter; `None`: one that the model does not know.
    pub meter: Option<Meter>,
}

impl Beat {
    /// From bar and beat (both from 1, the beat with its fraction), in a meter of `num / den`, and beats a minute. `None`: not valid.
    /// Allocates nothing.
    pub fn new(bar: f64, beat: f64, num: f64, den: f64, bpm: f64) -> Option<Beat> {
        // jack_transport gives 0.25 for quarter notes.
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
    /// Its predicted position at song time `at`, s.
    fn seconds_at(&self, at: f64) -> f64 {
        self.seconds + if self.rolling { at - self.at } else { 0.0 }
    }

    /// Whether it has relocated since `before`.
    fn moved(&self, before: &Transport) -> bool {
        (before.seconds_at(self.at) - self.seconds).abs() > JUMP
    }

    /// Whether it has to be reported after `before` was.
    pub fn is_news(&self, before: Option<&Transport>) -> bool {
        before.is_none_or(|b| b.rolling != self.rolling || self.moved(b) || (self.at - b.at).abs() >= REPORT)
    }
}

/// The transport that a session follows.
#[derive(Debug, Default)]
pub struct JackTransport {
    now: Option<Transport>,
    /// Whether it rolled at the last call of [`JackTransport::follow`].
    rolled: bool,
    /// Whether it has relocated since.
    moved: bool,
}

impl JackTransport {
    /// Takes the transport's state.
    pub fn update(&mut self, transport: Transport) {
        self.moved |= self.now.is_some_and(|before| transport.moved(&before));
        self.now = Some(transport);
    }

    /// Whether a state has arrived.
    pub fn known(&self) -> bool {
        self.now.is_some()
    }

    /// The requests to the session. `begins`: the session follows the transport from now on; if it already
    /// plays, it continues, and its tempo is bent until it is on the beat.
    pub fn follow(&mut self, session: &Snapshot, begins: bool, entry: &mut BarEntry, from: Origin) -> Vec<Request> {
        let Some(now) = self.now else { return Vec::new() };
        if begins {
            (self.rolled, self.moved) = (now.rolling && session.playing, false);
            entry.disarm();
        }
        match (std::mem::replace(&mut self.rolled, now.rolling), now.rolling) {
            (true, false) => {
                entry.disarm();
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
        let next = session.time as f64 / f64::from(sideman_engine::audio::RATE);
        // Without a timebase master the session's tempo and meter count, from the transport's position 0.
        let tempo = now.beat.map_or(session.tempo, |b| b.tempo);
        let theirs = now.beat.map_or(now.seconds * tempo / 60.0, |b| b.quarters) + (next - now.at) * tempo / 60.0;
        if let Some(requests) = entry.start(session, next, theirs, tempo, now.beat.and_then(|b| b.meter), from) {
            return requests;
        }
        if now.beat.is_none() { Vec::new() } else { keep_phase(session, theirs, tempo, from) }
    }
}

#[cfg(test)]
mod tests {
    use sideman_engine::live::Clock;

    use super::*;

    fn session(time: f64, playing: bool, tempo: f64) -> Snapshot {
        // Bars of two seconds at 120 BPM; the session's are half a second later than the transport's.
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
    fn a_session_starts_stops_and_relocates_with_the_transport() {
        let (mut f, mut entry) = (JackTransport::default(), BarEntry::default());
        assert!(f.follow(&session(1.0, false, 100.0), true, &mut entry, 7).is_empty());
        f.update(at(1.0, false, 0.0));
        assert!(f.follow(&session(1.0, false, 100.0), false, &mut entry, 7).is_empty());
        // It rolls from 3 s of song time on: bar lines at 3, 5, 7 s. The first one at least 1.4 s after 3.1 s is 5 s.
        f.update(at(3.1, true, 0.1));
        let requests = commands(f.follow(&session(3.1, false, 100.0), false, &mut entry, 7));
        assert_eq!(requests, [(Command::Tempo(120.0), Some(When::Now)), (Command::Play, Some(When::Sample(5 * 32_000)))]);
        assert!(f.follow(&session(3.1, false, 120.0), false, &mut entry, 7).is_empty());
        // It relocates while it rolls, by a beat: the session stops, and starts again.
        f.update(at(8.0, true, 30.5));
        let playing = Snapshot { bar: 3, beat: 1, phase: 0.0, ..session(8.0, true, 120.0) };
        assert_eq!(commands(f.follow(&playing, false, &mut entry, 7)), [(Command::Stop, Some(When::Now))]);
        let requests = commands(f.follow(&session(8.0, false, 120.0), false, &mut entry, 7));
        assert_eq!(requests[1], (Command::Play, Some(When::Sample((9.5 * 32_000.0) as i64))));
        f.update(at(9.0, false, 31.5));
        assert_eq!(commands(f.follow(&session(9.0, true, 120.0), false, &mut entry, 7)), [(Command::Stop, Some(When::Now))]);
        assert!(f.follow(&session(9.1, false, 120.0), false, &mut entry, 7).is_empty());
    }

    #[test]
    fn a_playing_session_that_begins_to_follow_continues() {
        let (mut f, mut entry) = (JackTransport::default(), BarEntry::default());
        f.update(at(4.0, true, 4.0));
        // A quarter of a beat late, at 118 BPM: only its tempo changes.
        let ours = Snapshot { bar: 7, beat: 4, phase: 0.75, ..session(4.0, true, 118.0) };
        let requests = commands(f.follow(&ours, true, &mut entry, 7));
        let [(Command::Tempo(tempo), Some(When::Now))] = requests[..] else { panic!("{requests:?}") };
        assert!(tempo > 120.0 && tempo <= 120.0 * 1.04 + 1e-9, "{tempo}");
        // A transport that is stopped at first does not stop the session.
        let (mut f, mut entry) = (JackTransport::default(), BarEntry::default());
        f.update(at(4.0, false, 4.0));
        assert!(f.follow(&ours, true, &mut entry, 7).is_empty() && f.follow(&ours, false, &mut entry, 7).is_empty());
    }

    #[test]
    fn without_a_timebase_master_the_session_s_bars_count() {
        let (mut f, mut entry) = (JackTransport::default(), BarEntry::default());
        f.update(Transport { beat: None, ..at(1.0, true, 10.0) });
        // 90 BPM: bars of 2.667 s from position 0 on. The first one at least 1.4 s after 11 s (song time 2 s) is at 13.333 s.
        let requests = commands(f.follow(&session(2.0, false, 90.0), true, &mut entry, 7));
        let Some((Command::Play, Some(When::Sample(sample)))) = requests.last() else { panic!("{requests:?}") };
        assert!((*sample as f64 / 32_000.0 - (13.333_333 - 9.0)).abs() < 1e-3, "{requests:?}");
        assert!(f.follow(&session(6.0, true, 90.0), false, &mut entry, 7).is_empty());
    }

    #[test]
    fn beats_in_all_meters_become_quarter_notes() {
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
