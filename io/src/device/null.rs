//! No device: silence in, nothing out, at the pace of the clock. For a machine without sound, and for tests of everything around.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{DeviceStats, Stream};
use crate::live::EngineHandle;

const RATE: u32 = 48_000;
const PERIOD: usize = 256;

struct Null {
    stop: Arc<AtomicBool>,
    stats: Arc<DeviceStats>,
}

/// Starts its clock.
///
/// # Errors
/// The engine is gone.
pub fn open(link: &EngineHandle) -> Result<Box<dyn Stream>, String> {
    let mut line = link.connect(RATE, RATE, false)?;
    let (stop, stats) = (Arc::new(AtomicBool::new(false)), Arc::new(DeviceStats::default()));
    stats.period.store(PERIOD as u32, Ordering::Relaxed);
    let (stopped, counts) = (stop.clone(), stats.clone());
    std::thread::spawn(move || {
        let began = Instant::now();
        let mut frames = 0u64;
        while !stopped.load(Ordering::Relaxed) {
            line.input.hear(line.in_start + frames, std::iter::repeat_n(0.0, PERIOD));
            line.reader.play(PERIOD);
            frames += PERIOD as u64;
            counts.frames.store(frames, Ordering::Relaxed);
            let due = Duration::from_secs_f64(frames as f64 / f64::from(RATE));
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
    });
    Ok(Box::new(Null { stop, stats }))
}

impl Stream for Null {
    fn about(&self) -> String {
        format!("no device: silence at {RATE} Hz")
    }

    fn rates(&self) -> (u32, u32) {
        (RATE, RATE)
    }

    fn stats(&self) -> &Arc<DeviceStats> {
        &self.stats
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
