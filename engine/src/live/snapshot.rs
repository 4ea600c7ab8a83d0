//! [`Snapshot`]: the state of a running session, for the screen and OSC. The runner takes one after each hop.

use sideman_kernels::Backend;

use super::ear::symbol;
use super::{Boundary, Clock, Command, EarState, Mode, Notice, Session, Timeline};
use crate::model::FRAME;
use crate::task::{Meter, transpose_symbol};

/// A request that waits for its boundary.
#[derive(Debug, Clone, PartialEq)]
pub struct Pending {
    /// The command.
    pub command: Command,
    /// Song time at which it takes effect, in samples.
    pub at: i64,
}

/// The state of one stem.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StemState {
    /// Gain in dB.
    pub gain: f32,
    /// Pan, −1 (left) to 1 (right).
    pub pan: f32,
    /// The musician has muted it.
    pub mute: bool,
    /// Solo: only solo stems sound.
    pub solo: bool,
    /// Bars that it repeats; 0: it plays freely.
    pub frozen: u32,
    /// Steps that can be undone.
    pub undo: u32,
    /// Steps that can be redone.
    pub redo: u32,
    /// Peak of the last hop; full scale is 1.
    pub peak: f32,
    /// Root mean square of the last hop; full scale is 1.
    pub rms: f32,
}

/// What is given up while the computer can't keep up. Each level includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum LoadShedding {
    /// Nothing.
    #[default]
    None,
    /// Music that comes late: the last bar is repeated in its place.
    RepeatedBar,
    /// Guidance.
    NoGuidance,
    /// Short hops.
    LongerHops,
}

/// How well the computer keeps up. Counters count from the start of the session.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Health {
    /// Median computing time of a hop, in ms.
    pub p50: f32,
    /// 99th percentile of the computing time of a hop, in ms.
    pub p99: f32,
    /// Load: computing time divided by the length of a hop, averaged over the last hops. 1 is all of the
    /// time.
    pub load: f32,
    /// Late hops.
    pub late: u64,
    /// Underruns: output frames that had to be filled in.
    pub underrun: u64,
    /// Overruns: input frames that were lost.
    pub overrun: u64,
    /// Xruns that the device reported.
    pub xruns: u64,
    /// Tokens sampled without a finite logit ([`Session::faults`]).
    pub faults: u64,
    /// What is given up because the computer is too slow.
    pub shedding: LoadShedding,
    /// Latency of the input device, in ms.
    pub latency_in: f32,
    /// Latency of the output device, in ms.
    pub latency_out: f32,
}

/// The state of a running session.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Snapshot {
    /// Song time of the next sample that the session gives.
    pub time: i64,
    /// Bar; 1 is the first. Bars of 0 and below are the count-in.
    pub bar: i64,
    /// Beat in the bar, from 1.
    pub beat: u32,
    /// The part of the beat that has passed, 0 to 1.
    pub phase: f32,
    /// Tempo in quarter notes a minute (BPM).
    pub tempo: f64,
    /// Meter.
    pub meter: Meter,
    /// Where the beat comes from.
    pub clock: Clock,
    /// How well the clock is locked, 0 to 1.
    pub lock: f32,
    /// What the clock by ear does; `None`: the beat comes from elsewhere.
    pub ear: Option<EarState>,
    /// Tempo that the musician plays in, uncounted, while the clock by ear waits: play accepts it, on beat 1. 0: none.
    pub offer: f64,
    /// The band plays or counts in.
    pub playing: bool,
    /// What the band does.
    pub mode: Mode,
    /// The stem that the musician plays.
    pub input_stem: Option<u8>,
    /// Stems, in the model's order.
    pub stems: Vec<StemState>,
    /// Peak of the musician's samples in the last hop; full scale is 1.
    pub heard: f32,
    /// Pending requests, soonest first.
    pub pending: Vec<Pending>,
    /// Chord in force; empty: none.
    pub chord: String,
    /// Chord at the start of the next bar; empty: none.
    pub next_chord: String,
    /// Bars after which the chords that are heard repeat; 0: not known, or chords by ear are off.
    pub chord_loop: u32,
    /// Chords in force, as they were written; `ear`: as heard; empty: none.
    pub chords: String,
    /// Section of the chart; empty: it has no name.
    pub section: String,
    /// Bars until the next section, the current one included; 0: the chart has no section names.
    pub section_bars: u32,
    /// Key, as it was written; empty: not known.
    pub key: String,
    /// Text in force.
    pub text: String,
    /// Lag, in frames.
    pub lag: u32,
    /// Hop, in frames.
    pub hop: u32,
    /// Lead, in samples ([`Session::lead`]).
    pub lead: i64,
    /// Song time up to which everything is decided.
    pub committed: i64,
    /// Song time up to which the model has predicted.
    pub planned: i64,
    /// Dim: attenuation of everything but the input stem, as a gain in dB; 0: none.
    pub dim: f32,
    /// Level of the room in the mix, 0 to 1.
    pub room: f32,
    /// The click goes on after the count-in.
    pub click: bool,
    /// A take is being recorded.
    pub recording: bool,
    /// Samples of it so far.
    pub recorded: i64,
    /// Load and faults.
    pub health: Health,
    /// The latest notice. Its text is its `Display`.
    pub notice: Option<Notice>,
}

impl<B: Backend> Session<B> {
    /// Writes the state to `out`: everything but load, latencies, text, hop and take, which the runner knows.
    /// Call it between hops; it may allocate.
    pub fn snapshot(&self, out: &mut Snapshot) {
        let song = &self.song;
        let timeline = &song.timeline;
        let time = self.heard_to() + self.lead();
        let position = timeline.position(time);
        out.time = time;
        (out.bar, out.beat, out.phase) = (position.bar, position.beat, position.phase);
        out.tempo = timeline.tempo(time);
        out.meter = timeline.meter(time);
        debug_assert!(i64::from(position.beat) <= out.meter.beats());
        out.clock = song.transport.clock;
        out.ear = None;
        if out.clock == Clock::Ear {
            out.ear = Some(song.ear_clock.state(self.heard_to()));
            out.lock = song.ear_clock.lock();
        }
        out.offer = song.offered_tempo().unwrap_or(0.0);
        out.playing = song.transport.playing;
        out.mode = song.arrangement.mode;
        out.input_stem = song.input.stem.map(|p| p as u8);
        out.stems.resize_with(song.stems.stem.len(), Default::default);
        for (s, state) in out.stems.iter_mut().enumerate() {
            let stem = &song.stems.stem[s];
            stem.show(state);
            let gain = stem.level[0].max(stem.level[1]);
            let samples = &song.output.samples[s];
            state.peak = gain * samples.iter().fold(0.0f32, |peak, x| peak.max(x.abs()));
            state.rms = gain * (samples.iter().map(|x| x * x).sum::<f32>() / samples.len().max(1) as f32).sqrt();
        }
        out.heard = song.input.peak;
        song.schedule.show(&mut out.pending);
        let next_bar = timeline.next(time + 1, Boundary::Bar);
        for (t, out) in [(time, &mut out.chord), (next_bar, &mut out.next_chord)] {
            show_chord(timeline, t, out);
            out.push_str(song.ear.chord(t, timeline).map_or("", symbol));
        }
        out.chord_loop = song.ear.loop_bars();
        song.arrangement.chart.text().clone_into(&mut out.chords);
        out.section.clear();
        let section = timeline.section(time);
        out.section_bars = section.map_or(0, |(_, _, bars)| bars as u32);
        if let Some((_, name, _)) = section {
            out.section.push_str(name);
        }
        out.key.clone_from(&song.arrangement.key);
        out.lag = song.input.lag as u32;
        out.lead = song.setup.lead;
        out.committed = song.front * FRAME as i64;
        out.planned = out.committed;
        out.dim = song.stems.dim;
        out.room = song.stems.room;
        out.click = song.metronome.on;
        if out.notice.as_ref() != song.notices.latest() {
            out.notice = song.notices.latest().cloned();
        }
    }
}

/// The chord at sample `t`, transposed; empty: none.
fn show_chord(timeline: &Timeline, t: i64, out: &mut String) {
    out.clear();
    match (timeline.chord(t), timeline.transposition()) {
        (Some((_, symbol)), 0) => out.push_str(symbol),
        (Some((_, symbol)), semitones) => out.push_str(&transpose_symbol(symbol, semitones)),
        (None, _) => {}
    }
}
