//! No device: silence in, nothing out, at the pace of the clock. For a machine without sound, and for tests of everything around.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Pulse, Stream};
use crate::live::Link;

const RATE: u32 = 48_000;
const PERIOD: usize = 256;

struct Null {
    stop: Arc<AtomicBool>,
    pulse: Arc<Pulse>,
}

/// Starts its clock.
///
/// # Errors
/// The engine is gone.
pub fn open(link: &Link) -> Result<Box<dyn Stream>, String> {
    let mut line = link.connect(RATE, RATE, false)?;
    let (stop, pulse) = (Arc::new(AtomicBool::new(false)), Arc::new(Pulse::default()));
    pulse.period.store(PERIOD as u32, Ordering::Relaxed);
    let (stopped, counts) = (stop.clone(), pulse.clone());
    std::thread::spawn(move || {
        let began = Instant::now();
        let mut frames = 0u64;
        while !stopped.load(Ordering::Relaxed) {
            line.ear.hear(line.in_start + frames, std::iter::repeat_n(0.0, PERIOD));
            line.player.play(PERIOD);
            frames += PERIOD as u64;
            counts.frames.store(frames, Ordering::Relaxed);
            let due = Duration::from_secs_f64(frames as f64 / f64::from(RATE));
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
    });
    Ok(Box::new(Null { stop, pulse }))
}

impl Stream for Null {
    fn about(&self) -> String {
        format!("no device: silence at {RATE} Hz")
    }

    fn rates(&self) -> (u32, u32) {
        (RATE, RATE)
    }

    fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    fn lost(&self) -> Option<String> {
        None
    }
}

impl Drop for Null {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
