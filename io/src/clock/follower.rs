//! The clock follower: keeps the session on the MIDI clock or JACK transport that it is set to follow.
//!
//! The thread of [`crate::midi`] passes on what arrives, and calls [`ClockFollower::follow`] about once a hop.

use sideman_engine::audio::RATE;
use sideman_engine::live::{Clock, Command, Origin, Request, Snapshot, When};

use super::entry::{keep_phase, keep_tempo};
use super::{BarEntry, ClockMessage, JackTransport, MidiClock, Transport};

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
            origin,
        }
    }

    /// Takes a message of MIDI clock that arrived at time `at`. Returns its requests to the session. Start and
    /// stop also work while the session follows another clock.
    pub fn midi(&mut self, message: ClockMessage, at: f64) -> Vec<Request> {
        self.midi.message(message, at);
        let follows = self.source == Some(Clock::Midi);
        let request = |command, when| vec![Request { command, when, from: self.origin }];
        match message {
            ClockMessage::Tick | ClockMessage::Position(_) => Vec::new(),
            // A session that follows the clock starts at one of its bar lines.
            ClockMessage::Start | ClockMessage::Continue if follows => {
                self.entry.arm();
                Vec::new()
            }
            ClockMessage::Start | ClockMessage::Continue => request(Command::Play, None),
            ClockMessage::Stop => {
                self.entry.disarm();
                request(Command::Stop, follows.then_some(When::Now))
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
        let started = self.entry.start(session, next, theirs, tempo, None, self.origin);
        started.unwrap_or_else(|| keep_phase(session, theirs, tempo, self.origin))
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
        assert_eq!(follower.midi(ClockMessage::Stop, now)[0].when, Some(When::Now));
        assert_eq!(follower.follow(&Snapshot { clock: Clock::Internal, ..session }, now), []);
        assert_eq!(commands(&follower.midi(ClockMessage::Start, now)), [Command::Play]);
        let stop = follower.midi(ClockMessage::Stop, now);
        assert_eq!((commands(&stop), stop[0].when), (vec![Command::Stop], None));
    }
}
