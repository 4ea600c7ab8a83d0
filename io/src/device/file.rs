//! Files in place of devices: the runner hears a recording, at the pace of the clock or as fast as it can.
//! Nothing is late here, so both paces give the same samples, bit for bit.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sideman_engine::audio::RATE;
use sideman_engine::limits::MAX_HOP;
use sideman_engine::model::FRAME;
use sideman_kernels::Backend;

use crate::runner::Runner;
use crate::take::{Entry, silent};

/// How fast a file is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As fast as the computer can.
    Fast,
    /// In real time.
    Real,
}

/// Plays `samples` (32 kHz) to the band, hop by hop; the last hop is filled up with silence. `events` of a
/// take are requested at their song times. `after` is called after every hop; false ends the session.
pub fn play<B: Backend>(
    runner: &mut Runner<B>,
    samples: &[f32],
    pace: Pace,
    mut events: VecDeque<Entry>,
    mut after: impl FnMut(&mut Runner<B>) -> bool,
) {
    let began = Instant::now();
    let mut padded = Vec::with_capacity(MAX_HOP * FRAME);
    let mut at = 0;
    while at < samples.len() {
        while events.front().is_some_and(|e| e.at <= at as i64) {
            if let Some(entry) = events.pop_front().filter(|e| !silent(&e.request.command)) {
                runner.request(entry.request);
            }
        }
        let mut n = runner.hop_frames() * FRAME;
        // A hop ends where a request was applied.
        if let Some(next) = events.front().and_then(|e| usize::try_from(e.at).ok()) {
            n = n.min((next - at).next_multiple_of(FRAME)).max(FRAME);
        }
        let heard = &samples[at..samples.len().min(at + n)];
        if pace == Pace::Real {
            // A hop can be heard once its last sample has been played.
            let due = Duration::from_secs_f64((at + n) as f64 / f64::from(RATE));
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
        padded.clear();
        padded.extend_from_slice(heard);
        padded.resize(heard.len().next_multiple_of(FRAME), 0.0);
        runner.last_hop(&padded, heard.len());
        runner.publish();
        at += padded.len();
        if !after(runner) || runner.controls().ended() {
            break;
        }
    }
}
