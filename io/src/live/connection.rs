//! The engine's ends of a device's rings, silence for a device without input, and the drift between input and
//! output.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ringbuf::traits::Consumer;
use ringbuf::{HeapCons, HeapProd};

use super::handle::OpenedDevice;
use crate::clock::BeatPosition;
use crate::input::InputReader;
use crate::mailbox::MailSender;
use crate::midi::PortEvent;
use crate::output::OutputWriter;

/// Time without input after which a device counts as silent: song time then follows the clock.
pub(super) const SILENT_AFTER: Duration = Duration::from_secs(1);
/// How often silence is inserted while a device is silent.
const SILENCE_STEP: Duration = Duration::from_millis(25);

/// The engine's ends of a device's rings.
pub(super) struct Connection {
    pub input: InputReader,
    pub output: OutputWriter,
    pub midi: HeapCons<PortEvent>,
    pub marks: HeapProd<BeatPosition>,
    /// Time up to which input has come, or silence was inserted for it.
    pub input_until: Instant,
    /// Silence is being inserted.
    pub silent: bool,
    /// Frames of input that had come at the last call of [`Connection::has_input`].
    pub frames_in: u64,
    /// How far the input's clock is ahead of the output's, in seconds, and when it was measured; none if
    /// both have the same clock.
    pub drift: Option<(f64, Instant)>,
}

impl Connection {
    /// Passes the device's MIDI messages on.
    pub(super) fn pass_on_midi(&mut self, mut midi: Option<&mut MailSender<PortEvent>>) {
        while let Some(message) = self.midi.try_pop() {
            if let Some(midi) = &mut midi {
                // Full where the MIDI thread has stalled: the clock's follower sees the gap.
                let _ = midi.send(message);
            }
        }
    }

    /// Whether enough input has come for a hop of that many samples.
    pub(super) fn has_input(&mut self, samples: usize) -> bool {
        let waiting = self.input.fill(samples);
        let frames_in = count(&self.input.counts().frames);
        if frames_in != self.frames_in {
            (self.frames_in, self.input_until, self.silent) = (frames_in, Instant::now(), false);
        }
        waiting >= samples
    }

    /// Inserts silence where no input has come for too long.
    pub(super) fn fill_silence(&mut self) {
        let passed = self.input_until.elapsed();
        if passed > SILENT_AFTER || (self.silent && passed > SILENCE_STEP) {
            let rate = self.input.rate();
            self.input.insert_silence((passed.as_secs_f64().min(10.0) * f64::from(rate)) as usize);
            (self.input_until, self.silent) = (Instant::now(), true);
        }
    }

    /// Steers the input's resampling ratio by how far the input's clock is ahead of the output's, if input and
    /// output have different clocks.
    pub(super) fn steer_input(&mut self, device: &OpenedDevice) {
        let Some((before, measured)) = self.drift else { return };
        let (rate_in, rate_out) = device.rates;
        let seconds = |frames: u64, rate: u32| frames as f64 / f64::from(rate);
        let ahead = seconds(count(&self.input.counts().frames), rate_in) - seconds(count(&device.stats.frames), rate_out);
        let dt = measured.elapsed().as_secs_f64();
        self.input.steer(if before == 0.0 { ahead } else { 0.5 * (ahead + before) }, dt);
        self.drift = Some((ahead, Instant::now()));
    }
}

/// The value of a counter.
pub(super) fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
