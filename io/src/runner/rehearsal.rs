//! How long hops take on this computer, measured before the first one: a lead that is too short is said before the
//! music stutters.

use std::time::{Duration, Instant};

use sideman_engine::Result;
use sideman_engine::audio::RATE;
use sideman_engine::live::{Session, SessionConfig};
use sideman_engine::model::{FRAME, Model};
use sideman_engine::text::Hidden;
use sideman_kernels::Backend;

use super::Runner;
use crate::event::EngineEvent;
use crate::failover::with_active_slot;

/// Hops that are played. The first one may allocate and does not count.
const HOPS: usize = 7;

/// The longest time of a few hops of `frames`, in a session of its own that plays from its first frame and is dropped.
fn longest_time<B: Backend>(
    backend: &mut B,
    model: &Model<B>,
    config: &SessionConfig,
    text: Option<&Hidden>,
    frames: usize,
) -> Result<Duration> {
    let config = SessionConfig { playing: true, bar1: 0, count_in: 0, ..config.clone() };
    let mut session = Session::new(backend, model, &config, text)?;
    // A quiet signal that is not silent: a stem that hears silence computes less.
    let heard: Vec<f32> = (0..frames * FRAME).map(|n| ((n * 7919) % 1000) as f32 * 1e-4 - 0.05).collect();
    let mut longest = Duration::ZERO;
    for n in 0..HOPS {
        let began = Instant::now();
        session.hop(backend, model, &heard)?;
        longest = longest.max(if n > 0 { began.elapsed() } else { Duration::ZERO });
    }
    Ok(longest)
}

impl<B: Backend> Runner<B> {
    /// Measures hops before the first one. `latency`: seconds that the devices are expected to add. Where a hop, its
    /// computing time and the latency don't fit into the lead, returns the event that says so; pass it to
    /// [`Runner::emit`] when somebody listens. The session that plays does not change.
    ///
    /// # Errors
    /// The backend has not enough memory for a second session, or fails.
    pub fn rehearse(&mut self, latency: f64) -> Result<Option<EngineEvent>> {
        let frames = self.hop_frames;
        let Runner { failover, info, text, .. } = self;
        let time = with_active_slot!(failover, slot => {
            longest_time(&mut slot.backend, &slot.model, &info.config, text.hidden.as_ref(), frames)
        })?;
        Ok(self.check_lead(frames * FRAME, time.as_secs_f64(), latency))
    }

    /// The event that says that the lead is too short for a hop of so many samples that takes `time` seconds to
    /// compute, on devices that add `latency` seconds; none where it is long enough, and after the first time.
    pub(crate) fn check_lead(&mut self, samples: usize, time: f64, latency: f64) -> Option<EngineEvent> {
        let ms = |samples: f64| samples * 1e3 / f64::from(RATE);
        let (needed, lead) = (ms(samples as f64) + 1e3 * (time + latency), ms(self.time().1 as f64));
        let too_short = needed > lead && !self.lead_reported;
        self.lead_reported |= too_short;
        too_short.then_some(EngineEvent::LeadTooShort { needed, lead })
    }
}
