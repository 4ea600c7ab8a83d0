//! Progress of a rendering on stderr: a bar on a terminal, one line per second elsewhere, nothing with
//! `--json`.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::escapes;

/// Seconds of music in a frame.
const FRAME_SECONDS: f64 = 0.02;

/// Shows how many frames are done.
pub struct Progress {
    show: Show,
    what: &'static str,
    done: u64,
    total: u64,
    began: Instant,
}

enum Show {
    Bar(ProgressBar),
    Lines { last: Instant },
    Nothing,
}

impl Progress {
    /// Starts the clock. `what` is the label, such as "rendering"; `quiet` shows nothing.
    pub fn new(what: &'static str, quiet: bool) -> Self {
        let began = Instant::now();
        let show = if quiet {
            Show::Nothing
        } else if escapes::on_stderr() {
            let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} frames, {msg}, {eta} left");
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(what);
            Show::Bar(bar)
        } else {
            Show::Lines { last: began }
        };
        Self { show, what, done: 0, total: 0, began }
    }

    /// `done` of `total` frames are done; both may change.
    pub fn update(&mut self, done: usize, total: usize) {
        // Windows overlap, so `done` goes back at the start of a window: the display doesn't.
        let (done, total) = (self.done.max(done as u64), total as u64);
        (self.done, self.total) = (done, total);
        let real_time = times_real_time(done, self.began.elapsed());
        match &mut self.show {
            Show::Bar(bar) => {
                bar.set_length(total);
                bar.set_message(format!("{real_time:.1} x real time"));
                bar.set_position(done);
            }
            Show::Lines { last } => {
                if last.elapsed() >= Duration::from_secs(1) {
                    *last = Instant::now();
                    let left = self.began.elapsed().as_secs_f64() * (total.saturating_sub(done)) as f64 / done.max(1) as f64;
                    eprintln!("{}: {done}/{total} frames, {real_time:.1} x real time, {left:.0} s left", self.what);
                }
            }
            Show::Nothing => {}
        }
    }

    /// Removes the bar. Returns the time it took, and the speed in seconds of music per second.
    pub fn finish(self) -> (Duration, f64) {
        if let Show::Bar(bar) = self.show {
            bar.finish_and_clear();
        }
        let took = self.began.elapsed();
        (took, times_real_time(self.total, took))
    }
}

fn times_real_time(frames: u64, took: Duration) -> f64 {
    frames as f64 * FRAME_SECONDS / took.as_secs_f64().max(1e-9)
}
