//! Failover: the CPU takes over a session when the backend that plays it is lost.

use sideman_engine::live::{Session, SessionConfig};
use sideman_engine::model::Model;
use sideman_engine::text::Hidden;
use sideman_engine::{Error, Result};
use sideman_kernels::Backend;
use sideman_kernels::cpu::CpuBackend;

use crate::runner::session;

/// A backend with its model and session.
pub struct Slot<B: Backend> {
    /// The backend.
    pub backend: B,
    /// The model in the backend's memory.
    pub model: Model<B>,
    /// The session that it plays.
    pub session: Session<B>,
}

/// The slot that plays: the first one, or the standby once that is lost.
pub enum Failover<B: Backend> {
    /// The slot that the session started with.
    Primary(Box<Slot<B>>),
    /// The CPU, after a failover.
    Standby(Box<Slot<CpuBackend>>),
}

/// Evaluates `$expression` with `$slot` bound to the slot that plays, whichever backend it has.
macro_rules! with_active_slot {
    ($failover:expr, $slot:ident => $expression:expr) => {
        match $failover {
            $crate::failover::Failover::Primary($slot) => $expression,
            $crate::failover::Failover::Standby($slot) => $expression,
        }
    };
}
pub(crate) use with_active_slot;

impl Slot<CpuBackend> {
    /// A session on the CPU that can take over the session of `config` at any time. It plays nothing until
    /// then.
    ///
    /// # Errors
    /// Those of [`session`].
    pub fn standby(mut cpu: CpuBackend, mut model: Model<CpuBackend>, config: &SessionConfig) -> Result<Slot<CpuBackend>> {
        let text_room = match (config.text.trim().is_empty(), &mut model.text) {
            (false, Some(text)) => config.text_room.max(text.encode(&config.text)?.len),
            _ => config.text_room,
        };
        let stopped = SessionConfig { playing: false, text: String::new(), text_room, ..config.clone() };
        let (session, _) = session(&mut cpu, &mut model, &stopped)?;
        Ok(Slot { backend: cpu, model, session })
    }
}

impl<B: Backend> Failover<B> {
    /// Why the slot that plays is lost; none while it works.
    pub fn fault(&self) -> Option<&str> {
        with_active_slot!(self, slot => slot.backend.failure())
    }

    /// Moves the song to the standby and drops the lost slot. `text` is the text in force.
    ///
    /// # Errors
    /// The CPU plays already, or the two sessions don't fit.
    pub fn fail_over(&mut self, standby: Box<Slot<CpuBackend>>, text: Option<&Hidden>) -> Result<()> {
        let former = std::mem::replace(self, Failover::Standby(standby));
        match (former, self) {
            (Failover::Primary(lost), Failover::Standby(slot)) => {
                slot.session.take_over(&mut slot.backend, &slot.model, lost.session, text)
            }
            _ => Err(Error::Input("the CPU plays already".into())),
        }
    }
}
