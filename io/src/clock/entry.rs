//! How a session joins the beat of another program: it starts on one of the other's bar lines, then keeps its phase by small changes of
//! tempo. MIDI clock, JACK transport and Ableton Link use the same rules.

use sideman_engine::audio::RATE;
use sideman_engine::limits::TEMPO;
use sideman_engine::live::{Command, Origin, Request, Snapshot, When};
use sideman_engine::task::Meter;

/// The shortest time from the next undecided sample to a start, s: the first window must be primed before it.
pub const START_LEAD: f64 = 1.4;

/// The largest change of tempo that corrects a phase, as a share of the tempo: one that is not heard for a small correction, as after a
/// change of tempo, and a larger one farther off the beat, from [`FAR`] quarter notes on.
const SMALL_BEND: f64 = 0.01;
const MAX_BEND: f64 = 0.04;
const FAR: f64 = 0.2;

/// The smallest change of tempo that is worth a command, BPM.
const MIN_CHANGE: f64 = 0.05;

/// A start on another program's bar line.
#[derive(Debug, Clone, Copy, Default)]
pub struct BarEntry {
    /// The session has to start.
    armed: bool,
    /// A request to stop first has been sent to the session.
    stopped: bool,
}

impl BarEntry {
    /// The other program has started: the session has to start with it.
    pub fn arm(&mut self) {
        (self.armed, self.stopped) = (true, false);
    }

    /// The session no longer has to start.
    pub fn disarm(&mut self) {
        self.armed = false;
    }

    /// Whether the session has to start and has not yet done so.
    pub fn armed(&self) -> bool {
        self.armed
    }

    /// The requests that start the session at the other program's next bar line, in its tempo and meter. If the session plays with its bar
    /// lines elsewhere, it has to stop first. `None`: the session already plays with the other program.
    ///
    /// * `next`: song time of the next undecided sample, s.
    /// * `theirs`: the other program's position then, in quarter notes.
    /// * `odd`: length of the other program's bars in quarter notes, if the band can't play them: it starts with one of them, and then
    ///   shares the beat only.
    #[allow(clippy::too_many_arguments)]
    pub fn start(
        &mut self,
        session: &Snapshot,
        next: f64,
        theirs: f64,
        tempo: f64,
        meter: Option<Meter>,
        odd: Option<f64>,
        from: Origin,
    ) -> Option<Vec<Request>> {
        if !self.armed {
            return None;
        }
        let request = |command, when| Request { command, when: Some(when), from };
        let bar = odd.unwrap_or(meter.unwrap_or(session.meter).quarters() as f64);
        if !session.playing {
            self.armed = false;
            let line = ((theirs + START_LEAD * tempo / 60.0) / bar).ceil() * bar;
            let at = next + (line - theirs) * 60.0 / tempo;
            let at = When::Sample((at * f64::from(RATE)).round() as i64);
            let mut requests = vec![request(Command::Tempo(tempo), When::Now)];
            requests.extend(meter.filter(|m| *m != session.meter).map(|m| request(Command::Meter(m), at)));
            requests.push(request(Command::Play, at));
            return Some(requests);
        }
        let apart = (theirs - quarters(session)) / bar;
        if odd.is_none() && !self.stopped && ((apart - apart.round()) * bar).abs() > 0.5 {
            self.stopped = true;
            return Some(vec![request(Command::Stop, When::Now)]);
        }
        self.armed = self.stopped;
        None
    }
}

/// Position of the session's next undecided sample, in quarter notes since bar 1.
pub fn quarters(session: &Snapshot) -> f64 {
    // A beat is a quarter note, but a dotted one in 6/8 and 12/8.
    let per_beat = if session.meter.to_string().ends_with("/8") { 1.5 } else { 1.0 };
    (session.bar - 1) as f64 * session.meter.quarters() as f64
        + (f64::from(session.beat) - 1.0 + f64::from(session.phase)) * per_beat
}

/// The request for the tempo that keeps the session in phase with another program at `theirs` quarter notes, where
/// its tempo and position are exact (JACK, Link).
pub fn keep_phase(session: &Snapshot, theirs: f64, tempo: f64, from: Origin) -> Vec<Request> {
    keep_tempo(session, bend(tempo, quarters(session), theirs, MAX_BEND), from)
}

/// The same where they are estimated from ticks: near the beat the tempo bends less, so that a new tempo is not
/// overshot by what is corrected.
pub fn keep_phase_gently(session: &Snapshot, theirs: f64, tempo: f64, from: Origin) -> Vec<Request> {
    keep_tempo(session, bend(tempo, quarters(session), theirs, SMALL_BEND), from)
}

/// The request for a tempo, if it differs enough from the session's.
pub fn keep_tempo(session: &Snapshot, tempo: f64, from: Origin) -> Vec<Request> {
    let request = Request { command: Command::Tempo(tempo), when: Some(When::Now), from };
    if (tempo - session.tempo).abs() > MIN_CHANGE { vec![request] } else { Vec::new() }
}

/// The tempo at which a session at `ours` quarter notes meets a clock at `theirs`, without a jump. Only the
/// fraction of a quarter note counts: the bars may be numbered differently.
///
/// * `near`: the largest change of tempo near the beat, as a share of it.
fn bend(tempo: f64, ours: f64, theirs: f64, near: f64) -> f64 {
    let apart = theirs - ours;
    let phase = apart - apart.round();
    let most = if phase.abs() > FAR { MAX_BEND } else { near };
    TEMPO.clamp(tempo * (1.0 + (phase / 2.0).clamp(-most, most)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bent_tempo_meets_the_clock_without_a_jump(apart in -0.45..0.45f64, bpm in 60.0..180.0f64) {
            let (mut ours, mut theirs) = (0.0, apart);
            for _ in 0..400 {
                let tempo = bend(bpm, ours, theirs, SMALL_BEND);
                prop_assert!((tempo / bpm - 1.0).abs() <= MAX_BEND + 1e-9);
                ours += tempo / 60.0 * 0.08;
                theirs += bpm / 60.0 * 0.08;
            }
            prop_assert!((theirs - ours).abs() < 0.01, "{}", theirs - ours);
        }
    }
}
