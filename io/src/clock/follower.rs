//! The clock follower: keeps the session on the MIDI clock or JACK transport that it is set to follow.
//!
//! The thread of [`crate::midi`] passes on what arrives, and calls [`ClockFollower::follow`] about once a hop.

use sideman_engine::audio::RATE;
use sideman_engine::live::{Clock, Command, Origin, Request, Snapshot, When};

use super::entry::{keep_phase_gently, keep_tempo};
use super::{BarEntry, ClockMessage, JackTransport, MasterFault, MidiClock, Transport};

/// Time after a stop in which a start makes it a jump, s: sequencers send stop, position and start where a loop begins again.
const JUMP: f64 = 0.1;
/// Ticks after a start until the tempo is known well enough to compute a bar line: two beats.
const TICKS_TO_START: u64 = 48;

/// Follows the clock that is the session's source of the beat.
#[derive(Debug)]
pub struct ClockFollower {
    midi: MidiClock,
    jack: JackTransport,
    /// The session's source of the beat, at the last look.
    source: Option<Clock>,
    entry: BarEntry,
    /// When the clock has stopped, while a start may follow.
    stopped: Option<f64>,
    origin: Origin,
}

impl ClockFollower {
    /// A follower whose requests carry `origin`. MIDI clock arrives `offset` seconds late.
    pub fn new(offset: f64, origin: Origin) -> ClockFollower {
        ClockFollower {
            midi: MidiClock::new(offset),
            jack: JackTransport::default(),
            source: None,
            entry: BarEntry::default(),
            stopped: None,
            origin,
        }
    }

    /// What is wrong with the timebase master of JACK transport, once.
    pub fn fault(&mut self) -> Option<MasterFault> {
        self.jack.fault().filter(|_| self.source == Some(Clock::Jack))
    }

    /// Takes a message of MIDI clock that arrived at time `at`. Returns its requests to the session. Start and
    /// stop also work while the session follows another clock. A stop of the clock that it follows comes with
    /// [`ClockFollower::follow`], a moment later.
    pub fn midi(&mut self, message: ClockMessage, at: f64) -> Vec<Request> {
        self.midi.message(message, at);
        let follows = self.source == Some(Clock::Midi);
        let request = |command, when| vec![Request { command, when, from: self.origin }];
        match message {
            ClockMessage::Tick | ClockMessage::Position(_) => Vec::new(),
            // A session that follows the clock starts at one of its bar lines.
            ClockMessage::Start | ClockMessage::Continue if follows => {
                self.stopped = None;
                self.entry.arm();
                Vec::new()
            }
            ClockMessage::Start | ClockMessage::Continue => request(Command::Play, None),
            ClockMessage::Stop => {
                self.entry.disarm();
                self.stopped = Some(at).filter(|_| follows);
                if follows { Vec::new() } else { request(Command::Stop, None) }
            }
        }
    }

    /// Takes the state of JACK transport.
    pub fn transport(&mut self, transport: Transport) {
        self.jack.update(transport);
    }

    /// How well the clock that the session follows is known at a time, 0 to 1. `None`: Ableton Link, which has a thread of its own, and the
    /// clock by ear, which the session keeps.
    pub fn lock(&self, now: f64) -> Option<f32> {
        match self.source? {
            Clock::Midi => Some(self.midi.lock(now) as f32),
            Clock::Jack => Some(f32::from(u8::from(self.jack.known()))),
            Clock::Link | Clock::Ear => None,
            Clock::Internal | Clock::Free => Some(0.0),
        }
    }

    /// The requests of the clock to the session at song time `now` (s): for its tempo, and for a start at its
    /// bar line. None if the session follows a clock that has its own thread, or no external clock.
    pub fn follow(&mut self, session: &Snapshot, now: f64) -> Vec<Request> {
        let changed = self.source.replace(session.clock) != Some(session.clock);
        match session.clock {
            Clock::Jack => return self.jack.follow(session, changed, &mut self.entry, self.origin),
            Clock::Midi => {}
            Clock::Internal | Clock::Link | Clock::Ear | Clock::Free => return Vec::new(),
        }
        if self.stopped.take_if(|at| (now - *at).abs() > JUMP).is_some() {
            return vec![Request { command: Command::Stop, when: Some(When::Now), from: self.origin }];
        }
        let Some(tempo) = self.midi.tempo().filter(|_| self.midi.lock(now) > 0.0) else { return Vec::new() };
        // A request takes effect at the next undecided sample.
        let next = session.time as f64 / f64::from(RATE);
        let theirs = self.midi.quarters(now) + (next - now) * tempo / 60.0;
        if !self.midi.running() {
            return keep_tempo(session, tempo, self.origin);
        }
        if self.entry.armed() && self.midi.since < TICKS_TO_START {
            return Vec::new();
        }
        let started = self.entry.start(session, next, theirs, tempo, None, None, self.origin);
        started.unwrap_or_else(|| match session.playing {
            true => keep_phase_gently(session, theirs, tempo, self.origin),
            // A band that waits for its bar line has no phase yet.
            false => keep_tempo(session, tempo, self.origin),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(requests: &[Request]) -> Vec<Command> {
        requests.iter().map(|r| r.command.clone()).collect()
    }

    /// A follower of a clock at 100 BPM that started at 0 s and is at beat 1 of bar 2; the session's snapshot; the time.
    fn following() -> (ClockFollower, Snapshot, f64) {
        let mut follower = ClockFollower::new(0.0, 5);
        // The next samples are decided 0.3 s ahead of what sounds.
        let session = Snapshot { tempo: 120.0, bar: 1, beat: 1, clock: Clock::Midi, time: samples(0.3), ..Snapshot::default() };
        assert_eq!(follower.follow(&session, 0.0), []);
        follower.midi(ClockMessage::Start, 0.0);
        (0..=96).for_each(|k| drop(follower.midi(ClockMessage::Tick, f64::from(k) * TICK)));
        let now = 96.0 * TICK;
        (follower, Snapshot { time: samples(now + 0.3), ..session }, now)
    }

    const TICK: f64 = 60.0 / 100.0 / 24.0;

    fn samples(seconds: f64) -> i64 {
        (seconds * 32_000.0).round() as i64
    }

    #[test]
    fn a_stopped_session_starts_at_the_next_bar_line_that_it_can_reach() {
        let (mut follower, session, now) = following();
        // Bar 3 of the clock, 4 quarters ahead.
        let requests = follower.follow(&session, now);
        let [
            Request { command: Command::Tempo(tempo), .. },
            Request { command: Command::Play, when: Some(When::Sample(bar)), .. },
        ] = requests[..]
        else {
            panic!("{requests:?}")
        };
        assert!((tempo - 100.0).abs() < 0.01 && (bar - samples(now + 2.4)).abs() <= 1, "{requests:?}");
    }

    #[test]
    fn a_playing_session_is_bent_to_the_beat() {
        let (mut follower, session, now) = following();
        // It is 0.3 of a beat ahead of where the clock will be.
        let ahead = Snapshot { playing: true, tempo: 100.0, phase: 0.5 + 0.3, ..session };
        let requests = follower.follow(&ahead, now);
        let [Request { command: Command::Tempo(tempo), .. }] = requests[..] else { panic!("{requests:?}") };
        assert!((95.9..96.5).contains(&tempo), "{tempo}");
        assert_eq!(follower.follow(&Snapshot { phase: 0.5, ..ahead }, now), []);
    }

    #[test]
    fn a_session_with_its_bars_elsewhere_stops_and_starts_again() {
        let (mut follower, session, now) = following();
        let session = Snapshot { playing: true, tempo: 100.0, phase: 0.5, ..session };
        follower.follow(&session, now);
        follower.midi(ClockMessage::Start, now);
        (97..=145).for_each(|k| drop(follower.midi(ClockMessage::Tick, f64::from(k) * TICK)));
        let now = 145.0 * TICK;
        let session = Snapshot { time: samples(now + 0.3), beat: 4, ..session };
        assert_eq!(commands(&follower.follow(&session, now)), [Command::Stop]);
        assert!(!commands(&follower.follow(&session, now)).contains(&Command::Stop));
        assert!(commands(&follower.follow(&Snapshot { playing: false, ..session }, now)).contains(&Command::Play));
    }

    #[test]
    fn start_and_stop_work_with_another_source_of_the_beat() {
        let (mut follower, session, now) = following();
        assert_eq!(follower.midi(ClockMessage::Stop, now), []);
        assert_eq!(follower.follow(&session, now + 0.15)[0].when, Some(When::Now));
        assert_eq!(follower.follow(&Snapshot { clock: Clock::Internal, ..session }, now), []);
        assert_eq!(commands(&follower.midi(ClockMessage::Start, now)), [Command::Play]);
        let stop = follower.midi(ClockMessage::Stop, now);
        assert_eq!((commands(&stop), stop[0].when), (vec![Command::Stop], None));
    }

    /// A session that plays what a follower requests, every 40 ms, decided 0.3 s ahead.
    struct Band {
        follower: ClockFollower,
        /// Song time and quarter notes since bar 1 of the next undecided sample.
        next: f64,
        quarters: f64,
        tempo: f64,
        /// When it starts; `None`: it does not play.
        starts: Option<f64>,
        /// Time and tempo after each call.
        tempos: Vec<(f64, f64)>,
        stops: usize,
    }

    impl Band {
        fn new() -> Band {
            let follower = ClockFollower::new(0.0, 5);
            let mut band = Band { follower, next: 0.3, quarters: 0.0, tempo: 120.0, starts: None, tempos: vec![], stops: 0 };
            // It follows the clock before that starts.
            band.hop();
            band
        }

        fn snapshot(&self) -> Snapshot {
            let playing = self.starts.is_some_and(|at| self.next >= at);
            let (bar, beat) = ((self.quarters / 4.0).floor(), self.quarters.rem_euclid(4.0));
            Snapshot {
                time: samples(self.next),
                bar: bar as i64 + 1,
                beat: beat as u32 + 1,
                phase: beat.fract() as f32,
                tempo: self.tempo,
                playing,
                clock: Clock::Midi,
                ..Snapshot::default()
            }
        }

        /// Plays messages of MIDI clock in order, each with its time.
        fn play(&mut self, messages: &[(f64, ClockMessage)]) {
            for (at, message) in messages {
                while self.next - 0.3 + 0.04 < *at {
                    self.hop();
                }
                self.follower.midi(*message, *at);
            }
        }

        fn hop(&mut self) {
            let now = self.next - 0.3 + 0.04;
            for request in self.follower.follow(&self.snapshot(), now) {
                match (request.command, request.when) {
                    (Command::Tempo(tempo), _) => self.tempo = tempo,
                    (Command::Play, Some(When::Sample(at))) => (self.starts, self.quarters) = (Some(at as f64 / 32_000.0), 0.0),
                    (Command::Stop, _) => (self.starts, self.stops) = (None, self.stops + 1),
                    other => panic!("{other:?}"),
                }
            }
            self.next += 0.04;
            if let Some(at) = self.starts.filter(|at| self.next > *at) {
                self.quarters += (self.next - at.max(self.next - 0.04)) * self.tempo / 60.0;
            }
            self.tempos.push((now, self.tempo));
        }
    }

    /// Ticks of a tempo from a time on, the last one before the end left out.
    fn ticks(from: f64, tempo: f64, beats: usize) -> Vec<(f64, ClockMessage)> {
        (0..beats * 24).map(|k| (from + k as f64 * 60.0 / tempo / 24.0, ClockMessage::Tick)).collect()
    }

    #[test]
    fn the_band_reaches_a_new_tempo_within_two_beats_without_overshoot() {
        for (from, to) in [(120.0, 101.0), (101.0, 120.0), (100.0, 96.0)] {
            let change = 32.0 * 60.0 / from;
            let start = [(0.0, ClockMessage::Start)];
            let all = [&start[..], &ticks(0.0, from, 32), &ticks(change, to, 48)].concat();
            let mut band = Band::new();
            band.play(&all);
            let reached = band.tempos.iter().filter(|(at, _)| *at > change + 2.0 * 60.0 / to);
            let worst = reached.map(|(_, tempo)| (tempo / to - 1.0).abs()).fold(0.0, f64::max);
            let beyond =
                band.tempos.iter().filter(|(at, _)| *at > change).map(|(_, tempo)| (tempo / to - 1.0) * f64::signum(to - from));
            let beyond = beyond.fold(0.0, f64::max);
            let shown: Vec<_> = band.tempos.iter().filter(|(at, _)| (change - 0.2..change + 2.0).contains(at)).collect();
            assert!(worst <= 0.0101 && beyond <= 0.0101, "{from} to {to}: {worst} {beyond} {shown:?}");
            // And the beat again.
            let theirs = 32.0 + (band.next - change) * to / 60.0;
            let apart = theirs - band.quarters;
            assert!((apart - apart.round()).abs() < 0.02 && band.stops == 0 && band.starts.is_some(), "{apart}");
        }
    }

    #[test]
    fn continue_at_every_bar_does_not_bend_the_tempo() {
        let mut all = vec![(0.0, ClockMessage::Start)];
        for bar in 0..24 {
            if bar > 0 {
                all.push((f64::from(bar) * 2.0 - 1e-4, ClockMessage::Continue));
            }
            all.extend(ticks(f64::from(bar) * 2.0, 120.0, 4));
        }
        let mut band = Band::new();
        band.play(&all);
        assert!(
            band.tempos.iter().skip(100).all(|(_, tempo)| (tempo - 120.0).abs() < 0.1)
                && band.stops == 0
                && band.starts.is_some()
        );
    }

    #[test]
    fn a_loop_of_stop_position_and_start_costs_no_bar() {
        for start in [ClockMessage::Continue, ClockMessage::Start] {
            let mut all = vec![(0.0, ClockMessage::Start)];
            for pass in 0..12 {
                let at = f64::from(pass) * 4.0;
                if pass > 0 {
                    // The loop begins at bar 5, or at bar 1.
                    let position = if start == ClockMessage::Start { 0 } else { 64 };
                    let jump = [ClockMessage::Stop, ClockMessage::Position(position), start];
                    all.extend(jump.iter().enumerate().map(|(n, message)| (at - 3e-3 + n as f64 * 1e-3, *message)));
                }
                all.extend(ticks(at, 120.0, 8));
            }
            let mut band = Band::new();
            band.play(&all);
            assert!(band.stops == 0 && band.starts.is_some(), "{start:?}");
            let far = band.tempos.iter().skip(100).find(|(_, tempo)| (tempo / 120.0 - 1.0).abs() > 0.011);
            assert_eq!(far, None, "{start:?}");
        }
    }
}
