//! JACK transport: the session starts, stops and relocates with the server. The transport gives its exact position in every block; tempo
//! and bars only if a timebase master, most often a sequencer, gives them.

use sideman_engine::live::{Command, Origin, Request, Snapshot, When};
use sideman_engine::task::Meter;

use super::BarEntry;
use super::entry::{keep_phase, keep_tempo};

/// A position that is farther than this from the predicted one, s, means that the transport has relocated.
const JUMP: f64 = 0.02;
/// The longest time between two reports of an unchanged transport, s.
const REPORT: f64 = 0.04;
/// A position of the timebase master that is farther than this from the predicted one, in quarter notes, does not fit.
const COUNTED: f64 = 0.1;
/// A position is compared with one that is up to this old, s: at 20 BPM a master that stands still is noticed then.
const ANCHOR: f64 = 0.5;
/// Time in which positions fit each other, but not those before, until they are followed, s.
const FITTING: f64 = 0.4;
/// Time without a position that fits after which the master is left out, s.
const PATIENCE: f64 = 1.0;

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
    /// Whether there is a timebase master. What it says may be no position: then there is no beat.
    pub master: bool,
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
    /// Length of its bars, in quarter notes.
    pub bar: f64,
}

impl Beat {
    /// From bar and beat (both from 1, the beat with its fraction), in a meter of `num / den`, and beats a minute. `None`: not valid.
    /// Allocates nothing.
    pub fn new(bar: f64, beat: f64, num: f64, den: f64, bpm: f64) -> Option<Beat> {
        // jack_transport gives 0.25 for quarter notes.
        let den = if den >= 1.0 { den } else { 4.0 };
        let tempo = bpm * 4.0 / den;
        if !(num >= 1.0 && (10.0..=800.0).contains(&tempo) && bar.is_finite() && (1.0..num + 1.0).contains(&beat)) {
            return None;
        }
        let meter = match (num as u32, den as u32) {
            (4, 4) => Some(Meter::FourFour),
            (3, 4) => Some(Meter::ThreeFour),
            (6, 8) => Some(Meter::SixEight),
            (12, 8) => Some(Meter::TwelveEight),
            _ => None,
        };
        Some(Beat { quarters: ((bar - 1.0) * num + beat - 1.0) * 4.0 / den, tempo, meter, bar: num * 4.0 / den })
    }

    /// The same, some seconds later.
    fn after(self, seconds: f64) -> Beat {
        Beat { quarters: self.quarters + seconds * self.tempo / 60.0, ..self }
    }

    /// Whether another position is the same one.
    fn is_at(&self, other: &Beat) -> bool {
        (self.quarters - other.quarters).abs() < COUNTED
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

/// What is wrong with a timebase master.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MasterFault {
    /// It does not count with the transport.
    Nonsense,
    /// Its bars, of so many quarter notes, are none that the band plays.
    OddBars(f64),
}

impl std::fmt::Display for MasterFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MasterFault::Nonsense => write!(
                f,
                "JACK's timebase master does not count with the transport: it is left out, and bars are counted from the transport's position 0"
            ),
            MasterFault::OddBars(quarters) => write!(
                f,
                "JACK's timebase master has bars of {quarters} quarter notes, which the band does not play: it follows the beat, in its own bars"
            ),
        }
    }
}

/// Checks what a timebase master counts against the transport, which is exact.
#[derive(Debug, Default)]
struct MasterCheck {
    /// A position that fitted, and when that was.
    good: Option<(f64, Beat)>,
    /// The first one of those that fit each other since.
    chain: Option<(f64, Beat)>,
    /// Since when none has fitted.
    doubt: Option<f64>,
}

impl MasterCheck {
    /// The beat of a state of the transport; `None`: there is no master, or it counts nonsense. One wrong position is replaced by the
    /// predicted one. `moved`: the transport has relocated, started or stopped.
    fn beat(&mut self, now: &Transport, moved: bool) -> (Option<Beat>, Option<MasterFault>) {
        if moved || !now.rolling || !now.master {
            *self = MasterCheck::default();
        }
        if !now.master {
            return (None, None);
        }
        let after = |(at, beat): (f64, Beat)| beat.after(now.at - at);
        if let Some(beat) = now.beat {
            let fits = |before: Option<(f64, Beat)>| before.filter(|before| after(*before).is_at(&beat));
            let chain = fits(self.chain).unwrap_or((now.at, beat));
            self.chain = Some(chain);
            // Also another position than the predicted one, if the next ones continue it: the song's tempo or bars have changed.
            let new = self.good.is_none() && self.doubt.is_none() || now.at - chain.0 >= FITTING;
            if let Some(good) = fits(self.good).or(new.then_some((now.at, beat))) {
                let old = now.at - good.0 >= ANCHOR;
                (self.good, self.doubt) = (Some(if old { (now.at, beat) } else { good }), None);
                return (Some(beat), beat.meter.is_none().then_some(MasterFault::OddBars(beat.bar)));
            }
        }
        if now.rolling && now.at - *self.doubt.get_or_insert(now.at) < PATIENCE {
            return (self.good.map(after), None);
        }
        self.good = None;
        (None, now.rolling.then_some(MasterFault::Nonsense))
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
    master: MasterCheck,
    /// What was last wrong with the master, and whether that is still to be said.
    fault: Option<MasterFault>,
    unsaid: bool,
}

impl JackTransport {
    /// Takes the transport's state.
    pub fn update(&mut self, transport: Transport) {
        let moved = self.now.is_some_and(|before| transport.moved(&before) || transport.rolling != before.rolling);
        self.moved |= self.now.is_some_and(|before| transport.moved(&before));
        let (beat, fault) = self.master.beat(&transport, moved);
        if let Some(fault) = fault.filter(|fault| self.fault != Some(*fault)) {
            (self.fault, self.unsaid) = (Some(fault), true);
        }
        self.now = Some(Transport { beat, ..transport });
    }

    /// What is wrong with the timebase master, once.
    pub fn fault(&mut self) -> Option<MasterFault> {
        self.fault.filter(|_| std::mem::take(&mut self.unsaid))
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
        let odd = now.beat.filter(|beat| beat.meter.is_none()).map(|beat| beat.bar);
        if let Some(requests) = entry.start(session, next, theirs, tempo, now.beat.and_then(|b| b.meter), odd, from) {
            return requests;
        }
        match now.beat {
            None => Vec::new(),
            Some(_) if session.playing => keep_phase(session, theirs, tempo, from),
            Some(_) => keep_tempo(session, tempo, from),
        }
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
        Transport { at, rolling, seconds, beat, master: true }
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
        f.update(Transport { beat: None, master: false, ..at(1.0, true, 10.0) });
        // 90 BPM: bars of 2.667 s from position 0 on. The first one at least 1.4 s after 11 s (song time 2 s) is at 13.333 s.
        let requests = commands(f.follow(&session(2.0, false, 90.0), true, &mut entry, 7));
        let Some((Command::Play, Some(When::Sample(sample)))) = requests.last() else { panic!("{requests:?}") };
        assert!((*sample as f64 / 32_000.0 - (13.333_333 - 9.0)).abs() < 1e-3, "{requests:?}");
        assert!(f.follow(&session(6.0, true, 90.0), false, &mut entry, 7).is_empty());
    }

    /// The transport at 120 BPM in 4/4 with a master that counts in its own way, every 40 ms of `seconds`: what is followed, and what is said.
    fn counted(seconds: f64, count: impl Fn(f64) -> Option<Beat>) -> (Vec<Option<Beat>>, Vec<MasterFault>) {
        let (mut f, mut beats, mut said) = (JackTransport::default(), Vec::new(), Vec::new());
        let mut time = 0.0;
        while time < seconds {
            f.update(Transport { at: time, rolling: true, seconds: time, beat: count(time), master: true });
            beats.push(f.now.and_then(|now| now.beat));
            said.extend(f.fault());
            time += 0.04;
        }
        (beats, said)
    }

    #[test]
    fn a_master_that_counts_nonsense_is_said_and_left_out() {
        let four = |seconds: f64| at(0.0, true, seconds).beat;
        // Bar 1, beat -2, for ever; or a valid position for ever.
        for frozen in [Beat::new(1.0, -2.015, 4.0, 4.0, 120.0), Beat::new(1.0, 1.0, 4.0, 4.0, 120.0)] {
            let (beats, said) = counted(5.0, |_| frozen);
            assert_eq!(said, [MasterFault::Nonsense]);
            assert!(beats[40..].iter().all(Option::is_none));
        }
        // Beat 5 of 4 in the wrong bar just before each bar line: not followed, and nothing is said.
        let (beats, said) =
            counted(20.0, |time| if time % 2.0 > 1.95 { Beat::new(9.0, 5.0, 4.0, 4.0, 120.0) } else { four(time) });
        assert_eq!(said, []);
        for (n, beat) in beats.iter().enumerate() {
            assert!((beat.unwrap().quarters - n as f64 * 0.08).abs() < 1e-6, "{n}: {beat:?}");
        }
        // Random positions.
        let (beats, said) = counted(5.0, |time| {
            Beat::new((time * 7919.0).rem_euclid(50.0).floor(), 1.0 + (time * 104_729.0) % 4.0, 4.0, 4.0, 120.0)
        });
        assert_eq!(said, [MasterFault::Nonsense]);
        assert!(beats[40..].iter().filter(|beat| beat.is_some()).count() < 5);
        // A song whose bars are renumbered in the middle is followed again after a moment.
        let (beats, said) = counted(10.0, |time| four(if time > 5.0 { time + 8.5 } else { time }));
        assert_eq!(said, []);
        assert!((beats[140].unwrap().quarters - (140.0 * 0.04 + 8.5) * 2.0).abs() < 1e-6);
    }

    #[test]
    fn a_master_in_seven_is_said_and_shares_its_beat_only() {
        let seven = |seconds: f64| {
            let beats = seconds * 2.0;
            Beat::new(1.0 + (beats / 7.0).floor(), 1.0 + beats % 7.0, 7.0, 4.0, 120.0)
        };
        assert_eq!(counted(5.0, seven).1, [MasterFault::OddBars(7.0)]);
        let (mut f, mut entry) = (JackTransport::default(), BarEntry::default());
        f.update(Transport { beat: seven(0.1), ..at(3.1, true, 0.1) });
        // It starts with a bar of theirs: 7 quarter notes after 3 s of song time.
        let requests = commands(f.follow(&session(3.0, false, 100.0), true, &mut entry, 7));
        assert_eq!(requests.last(), Some(&(Command::Play, Some(When::Sample((6.5 * 32_000.0) as i64)))));
        // A relocation by a bar of theirs does not stop the band.
        f.update(Transport { beat: seven(10.5), ..at(8.1, true, 10.5) });
        let playing = Snapshot { bar: 3, beat: 1, phase: 0.0, ..session(8.1, true, 120.0) };
        for _ in 0..3 {
            assert!(commands(f.follow(&playing, false, &mut entry, 7)).iter().all(|(command, _)| *command != Command::Stop));
        }
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
