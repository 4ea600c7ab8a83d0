//! A device without hardware: silence in, nothing out, at the pace of the clock. For a machine without sound,
//! and for tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{DeviceStats, Stream};
use crate::live::EngineHandle;

const RATE: u32 = 48_000;
const PERIOD: usize = 256;

struct NullStream {
    stop: Arc<AtomicBool>,
    stats: Arc<DeviceStats>,
}

/// Starts its thread.
///
/// # Errors
/// The session is over.
pub fn open(engine: &EngineHandle) -> Result<Box<dyn Stream>, String> {
    let mut ports = engine.connect(RATE, RATE, false)?;
    let stream = NullStream { stop: Arc::default(), stats: Arc::default() };
    stream.stats.period.store(PERIOD as u32, Ordering::Relaxed);
    let (stop, stats) = (stream.stop.clone(), stream.stats.clone());
    std::thread::spawn(move || {
        let began = Instant::now();
        let mut frames = 0u64;
        while !stop.load(Ordering::Relaxed) {
            ports.input.write(ports.input_start + frames, std::iter::repeat_n(0.0, PERIOD));
            ports.output.play(PERIOD);
            frames += PERIOD as u64;
            stats.frames.store(frames, Ordering::Relaxed);
            let due = Duration::from_secs_f64(frames as f64 / f64::from(RATE));
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
    });
    Ok(Box::new(stream))
}

impl Stream for NullStream {
    fn description(&self) -> String {
        format!("no device: silence at {RATE} Hz")
    }

    fn rates(&self) -> (u32, u32) {
        (RATE, RATE)
    }

    fn stats(&self) -> &Arc<DeviceStats> {
        &self.stats
    }

    fn failure(&self) -> Option<String> {
        None
    }
}

impl Drop for NullStream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
