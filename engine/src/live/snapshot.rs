//! What a running band shows: filled after each hop for the screen, OSC and the take.

use sideman_kernels::Backend;

use super::{Boundary, Clock, Command, Mode, Notice, Session, Timeline, beats};
use crate::model::FRAME;
use crate::task::{Meter, transpose_symbol};

/// A request that waits for its boundary.
#[derive(Debug, Clone, PartialEq)]
pub struct Pending {
    /// What.
    pub command: Command,
    /// Song time at which it comes true.
    pub at: i64,
}

/// One stem as heard and shown.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StemState {
    /// dB.
    pub gain: f32,
    /// −1 to 1.
    pub pan: f32,
    /// Silenced by hand.
    pub mute: bool,
    /// Heard alone.
    pub solo: bool,
    /// Bars repeated; 0: free.
    pub frozen: u32,
    /// Steps that can be undone, and redone.
    pub undo: u32,
    /// See `undo`.
    pub redo: u32,
    /// Peak of the last hop, full scale 1.
    pub peak: f32,
    /// Root mean square of the last hop.
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

/// How the machine keeps up. All counters since the start.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Health {
    /// Median and 99th percentile of a hop's computing time, ms.
    pub p50: f32,
    /// See `p50`.
    pub p99: f32,
    /// Share of the time that the last hops took: 1 is all of it.
    pub load: f32,
    /// Hops that came after their time.
    pub late: u64,
    /// Frames of the device that had to be filled in, and input frames lost.
    pub underrun: u64,
    /// See `underrun`.
    pub overrun: u64,
    /// What the device itself reported.
    pub xruns: u64,
    /// Draws without a finite logit, each mended by the likeliest finite or first code.
    pub faults: u64,
    /// What is given up because the computer is too slow.
    pub shedding: LoadShedding,
    /// Latency of input and output devices, ms.
    pub latency_in: f32,
    /// See `latency_in`.
    pub latency_out: f32,
}

/// The band at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Snapshot {
    /// Song time of the next sample to be decided.
    pub time: i64,
    /// Bar, 1 is the first; 0 and less count in.
    pub bar: i64,
    /// Beat in the bar, from 1.
    pub beat: u32,
    /// Share of the beat gone by.
    pub phase: f32,
    /// Quarter notes a minute.
    pub tempo: f64,
    /// Meter.
    pub meter: Meter,
    /// Source of the beat and how well it is locked, 0 to 1.
    pub clock: Clock,
    /// See `clock`.
    pub lock: f32,
    /// The band plays (or counts in).
    pub playing: bool,
    /// What the band does.
    pub mode: Mode,
    /// The stem that the player plays.
    pub input_stem: Option<u8>,
    /// Stems in the model's order.
    pub stems: Vec<StemState>,
    /// Peak of what the player played in the last hop.
    pub heard: f32,
    /// What waits, soonest first.
    pub pending: Vec<Pending>,
    /// Chord in force, as it was written; empty: none.
    pub chord: String,
    /// Chord of the next bar; empty: none.
    pub next_chord: String,
    /// Chords in force, as they were written; empty: none.
    pub chords: String,
    /// Section of the chart; empty: it has no name.
    pub section: String,
    /// Bars until the next section begins, this one included; 0: the chart has no sections with names.
    pub section_bars: u32,
    /// Key, as it was written; empty: not known.
    pub key: String,
    /// Text in force.
    pub text: String,
    /// Frames by which the player's stem is heard late.
    pub lag: u32,
    /// Frames at a time.
    pub hop: u32,
    /// Samples by which the band is ahead of what it has heard.
    pub lead: i64,
    /// Song time up to which nothing changes any more, and up to which it is foretold.
    pub committed: i64,
    /// See `committed`.
    pub planned: i64,
    /// dB by which the band is dipped.
    pub dim: f32,
    /// The click sounds.
    pub click: bool,
    /// A take is being kept.
    pub recording: bool,
    /// Samples of it so far.
    pub recorded: i64,
    /// Load and faults.
    pub health: Health,
    /// The latest notice; its text is its `Display`.
    pub notice: Option<Notice>,
}

impl<B: Backend> Session<B> {
    /// Writes the state to `out`: everything but load, latencies, text, hop and take, which the runner knows. Call it between hops; it may
    /// allocate.
    pub fn snapshot(&self, out: &mut Snapshot) {
        let song = &self.song;
        let timeline = &song.timeline;
        let time = self.heard_to() + self.lead();
        let position = timeline.position(time);
        out.time = time;
        (out.bar, out.beat, out.phase) = (position.bar, position.beat, position.phase);
        out.tempo = timeline.tempo(time);
        out.meter = timeline.meter(time);
        debug_assert!(i64::from(position.beat) <= beats(out.meter));
        out.clock = song.transport.clock;
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
        show_chord(timeline, time, &mut out.chord);
        show_chord(timeline, timeline.next(time + 1, Boundary::Bar), &mut out.next_chord);
        out.chords.clone_from(&song.arrangement.chart);
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
