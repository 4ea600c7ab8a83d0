//! The clock by ear: a count starts the band, and bars and beats follow the musician's onsets.
//!
//! The tempo changes on beat lines only, when the next frame to be decided reaches one. So what is decided
//! never changes, and a beat can't be lost or doubled.

use serde::{Deserialize, Serialize};
use sideman_kernels::Backend;

use super::Clock;
use super::session::Session;
use super::song::{Song, frame, sample};
use super::stem::Playback;
use super::timeline::{Boundary, Timeline};
use crate::error::Result;
use crate::limits::TEMPO;
use crate::listen::{BeatFollower, CountIn, Counted, Features, NoteChanges, TempoFinder};
use crate::model::SAMPLE_RATE;
use crate::task::Meter;

/// Frames by which a window that is primed for a count starts before the bar line: the count's last note can
/// still move the line.
const MARGIN: i64 = 3;
/// Beats without an onset after which the tempo is held.
const PAUSE: f64 = 2.0;
/// Lock below which the tempo is held. Onsets at random have about 0.5.
const LEAST_LOCK: f64 = 0.4;
/// How near an onset is to the beat 1 that the musician shows, in beats.
const SHOWN: f64 = 0.25;
/// A beat line that has moved is looked for from this many samples before where it should be.
const ROUNDING: i64 = 8;

/// What the clock by ear does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EarState {
    /// It waits for a count.
    Waiting,
    /// It follows the onsets.
    Following,
    /// It keeps the tempo: there is nothing to follow.
    Holding,
}

impl EarState {
    /// The state's name.
    pub fn name(self) -> &'static str {
        match self {
            EarState::Waiting => "waiting",
            EarState::Following => "following",
            EarState::Holding => "holding",
        }
    }
}

/// A window to be primed for the band's entry.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Frame at which the window starts.
    first: i64,
    /// Frame at which the band enters; `i64::MAX`: not known yet.
    swap: i64,
}

/// The clock by ear.
#[derive(Debug, Clone)]
pub(super) struct EarClock {
    count: CountIn,
    notes: NoteChanges,
    /// What finds the tempo while the clock waits; `None`: the musician has set it since then.
    tempo: Option<TempoFinder>,
    /// What follows the onsets once the band plays.
    follower: Option<BeatFollower>,
    /// Length of the last beat, in samples.
    length: f64,
    entry: Option<Entry>,
}

/// Length of a beat in samples at a tempo in quarter notes a minute, and the other way round.
fn beat_length(tempo: f64, meter: Meter) -> f64 {
    60.0 * SAMPLE_RATE as f64 / tempo * meter.quarters() as f64 / meter.beats() as f64
}

fn tempo_of(length: f64, meter: Meter) -> f64 {
    beat_length(length, meter)
}

/// Notes of a count: the beats of a bar, or of two short ones.
fn notes_of(meter: Meter) -> usize {
    match meter {
        Meter::FourFour | Meter::TwelveEight | Meter::SixEight => 4,
        Meter::ThreeFour => 3,
    }
}

impl EarClock {
    pub fn new() -> Self {
        let tempo = Some(TempoFinder::new());
        EarClock { count: CountIn::new(), notes: NoteChanges::new(), tempo, follower: None, length: 0.0, entry: None }
    }

    /// Follows from beat line `at` on.
    pub fn start(&mut self, at: i64, timeline: &Timeline) {
        self.length = beat_length(timeline.tempo(at), timeline.meter(at));
        self.follower = Some(BeatFollower::new(at as f64, self.length));
    }

    /// The same after the tempo has changed, if it follows.
    pub fn restart(&mut self, at: i64, timeline: &Timeline) {
        if self.follower.is_some() {
            self.start(timeline.next(at, Boundary::Beat), timeline);
        }
    }

    /// Waits for a count.
    pub fn stop(&mut self) {
        (self.follower, self.entry) = (None, None);
        self.tempo = Some(TempoFinder::new());
    }

    /// The musician has set the tempo: none is offered.
    pub fn set_by_hand(&mut self) {
        self.tempo = None;
    }

    /// Length of a beat in samples that is offered at sample `t`, while the clock waits.
    fn offered(&self, t: i64) -> Option<f64> {
        self.tempo.as_ref().filter(|_| self.follower.is_none())?.length(t as f64)
    }

    /// How well the onsets fit, 0 to 1.
    pub fn lock(&self) -> f32 {
        self.follower.as_ref().map_or(0.0, |follower| follower.lock() as f32)
    }

    /// The state at sample `t`.
    pub fn state(&self, t: i64) -> EarState {
        match &self.follower {
            None => EarState::Waiting,
            Some(follower) => {
                let pause = t as f64 - follower.last_onset();
                let follows = pause <= PAUSE * follower.length() && follower.lock() >= LEAST_LOCK;
                if follows { EarState::Following } else { EarState::Holding }
            }
        }
    }
}

impl Song {
    /// Takes the features of the musician's frame `f`.
    pub(super) fn hear_beat(&mut self, features: &Features, f: i64) {
        let heard = sample(f + 1);
        let meter = self.timeline.meter(heard);
        let counted = self.ear_clock.count.push(features, notes_of(meter));
        let changed = self.ear_clock.notes.push(features);
        if self.transport.clock != Clock::Ear {
            return;
        }
        if let (None, Some(tempo), Some(onset)) = (&self.ear_clock.follower, &mut self.ear_clock.tempo, features.onset) {
            tempo.push(onset);
        }
        if let Some(follower) = &mut self.ear_clock.follower {
            features.onset.into_iter().for_each(|onset| follower.push(onset));
            changed.into_iter().for_each(|at| follower.push_note(at));
        }
        if let Some(counted) = counted
            && self.ear_clock.state(heard) != EarState::Following
        {
            self.counted(counted, meter);
        }
    }

    /// The tempo in quarter notes a minute at which the musician plays, uncounted, while the band waits.
    pub(super) fn offered_tempo(&self) -> Option<f64> {
        let now = sample(self.heard);
        let waits = self.transport.clock == Clock::Ear && !self.transport.playing;
        let length = self.ear_clock.offered(now).filter(|_| waits)?;
        Some(tempo_of(length, self.timeline.meter(now))).filter(|&tempo| TEMPO.contains(tempo))
    }

    /// Starts the band in the tempo that is offered, if there is one: what sounds now is beat 1 of a bar. The band
    /// enters with a later bar.
    pub(super) fn accept_offer(&mut self) -> bool {
        let Some(tempo) = self.offered_tempo() else { return false };
        let now = sample(self.heard);
        let meter = self.timeline.meter(now);
        let length = beat_length(tempo, meter);
        let near = |onset: &f64| (onset - now as f64).abs() < SHOWN * length;
        let onset = self.ear_clock.tempo.as_ref().and_then(|finder| finder.nearest(now as f64));
        let (one, bar) = (onset.filter(near).unwrap_or(now as f64), length * meter.beats() as f64);
        let bars = ((sample(self.front) as f64 - one) / bar).ceil().max(1.0);
        self.counted(Counted { beat: one + bars * bar, length, complete: true }, meter);
        true
    }

    /// A count was heard, or all of it but one note.
    fn counted(&mut self, counted: Counted, meter: Meter) {
        let front = sample(self.front);
        let bar1 = (counted.beat.round() as i64).max(front);
        if !counted.complete {
            if !self.transport.playing {
                self.ear_clock.entry = Some(Entry { first: frame(bar1) - MARGIN, swap: i64::MAX });
            }
            return;
        }
        let tempo = tempo_of(counted.length, meter);
        if self.transport.playing {
            let bar = self.timeline.position(bar1 - 1).bar + 1;
            self.timeline.start_bar(bar1, bar);
            self.timeline.set_tempo(bar1, tempo);
        } else {
            // The band is silent: what is not decided yet can be counted again.
            self.timeline.count_to(sample(self.heard) + self.setup.lead, bar1, 1, tempo);
        }
        self.ear_clock.start(bar1, &self.timeline);
        if self.transport.playing {
            self.schedule.move_boundaries(&self.timeline, front);
            return;
        }
        self.timeline.restart_chords(1);
        self.transport.playing = true;
        self.transport.count_in_span = (0, 0);
        (self.stems.from, self.stems.to) = (frame(bar1), i64::MAX);
        self.ear_clock.entry = Some(Entry { first: frame(bar1) - MARGIN, swap: frame(bar1) });
        self.schedule.move_boundaries(&self.timeline, front);
        let now = self.front;
        for stem in &mut self.stems.stem {
            stem.release(now);
            stem.clear_undo();
        }
    }

    /// Whether a stem repeats bars: the tempo then stays, so that they fit.
    fn repeats(&self) -> bool {
        self.stems.stem.iter().any(|stem| stem.playback() != Playback::Free)
    }
}

impl<B: Backend> Session<B> {
    /// When frame `f` holds a beat line: the beat that begins there gets the length that the follower expects.
    pub(super) fn follow_beat(&mut self, f: i64) {
        let song = &mut self.song;
        if song.transport.clock != Clock::Ear || !song.transport.playing || song.repeats() {
            return;
        }
        let line = song.timeline.next(sample(f), Boundary::Beat);
        if line >= sample(f + 1) || song.ear_clock.state(sample(song.heard)) != EarState::Following {
            return;
        }
        let clock = &mut song.ear_clock;
        let Some(follower) = &clock.follower else { return };
        clock.length = follower.next_length(line as f64, clock.length);
        let tempo = tempo_of(clock.length, song.timeline.meter(line));
        self.retime(line, tempo);
    }

    /// Changes the tempo on the beat line `line`. What waits for a later line waits for the same one.
    fn retime(&mut self, line: i64, tempo: f64) {
        let Session { song, model_state } = self;
        let before = song.timeline.tempo(line);
        let line_of =
            |timeline: &Timeline, f: i64| Some(timeline.next(sample(f), Boundary::Beat)).filter(|&at| at < sample(f + 1));
        let swap = model_state.next.as_ref().map(|next| next.swap).filter(|&swap| swap < i64::MAX);
        let swap_line = swap.and_then(|swap| line_of(&song.timeline, swap));
        let from_line = Some(song.stems.from)
            .filter(|&from| from < i64::MAX && sample(from) > line)
            .and_then(|from| line_of(&song.timeline, from));
        song.timeline.set_tempo(line, tempo);
        let after = song.timeline.tempo(line);
        let moved = |at: i64| line + ((at - line) as f64 * before / after) as i64 - ROUNDING;
        for entry in song.schedule.pending_mut() {
            if let Some(boundary) = entry.boundary.filter(|_| entry.at > line) {
                entry.at = song.timeline.next(moved(entry.at), boundary);
            }
        }
        song.schedule.sort();
        let new_frame = |at: i64| frame(song.timeline.next(moved(at), Boundary::Beat));
        if let (Some(next), Some(at)) = (&mut model_state.next, swap_line.filter(|&at| at > line)) {
            let end = model_state.current.map_or(i64::MAX, |current| model_state.windows[current].end());
            next.swap = new_frame(at).min(end);
        }
        if let Some(at) = from_line {
            song.stems.from = new_frame(at);
        }
    }

    /// Primes the window with which the band enters after a count. If there is too little time before bar 1, it
    /// enters with a later bar.
    pub(super) fn enter(&mut self, backend: &mut B, f: i64) -> Result<()> {
        let Some(mut entry) = self.song.ear_clock.entry.take() else { return Ok(()) };
        let primed = self.model_state.next.as_ref().filter(|next| next.start && next.swap == i64::MAX);
        if let Some(next) = primed
            && entry.swap < i64::MAX
        {
            let window = &self.model_state.windows[next.index];
            if entry.swap >= next.ready.max(window.start) && window.input == self.song.window_input() {
                if let Some(next) = &mut self.model_state.next {
                    next.swap = entry.swap;
                }
                return Ok(());
            }
        }
        self.stop_priming();
        // A window that was still ending is not the one that starts.
        self.model_state.current = None;
        if entry.swap < i64::MAX {
            let ready = f + self.song.priming_frames(true, false) + 1;
            let mut line = self.song.timeline.next(sample(entry.swap), Boundary::Bar);
            while frame(line) < ready {
                line = self.song.timeline.next(line + 1, Boundary::Bar);
            }
            entry = Entry { first: frame(line) - MARGIN, swap: frame(line) };
            self.song.stems.from = entry.swap;
        }
        self.start_priming(backend, f, entry.first, sample(entry.first), true)?;
        if let Some(next) = &mut self.model_state.next {
            next.swap = entry.swap;
        }
        Ok(())
    }
}
