//! Who plays: a player with its model and session, or the processor in its stead, once the player is lost.

use sideman_engine::live::{Session, SessionConfig};
use sideman_engine::model::Model;
use sideman_engine::text::Hidden;
use sideman_engine::{Error, Result};
use sideman_kernels::Backend;
use sideman_kernels::cpu::CpuBackend;

use crate::runner::session;

/// A player with its model and session.
pub struct Slot<B: Backend> {
    /// The player.
    pub backend: B,
    /// The model in its memory.
    pub model: Model<B>,
    /// What it plays.
    pub session: Session<B>,
}

/// Who plays.
pub enum Failover<B: Backend> {
    /// Whom the session began with.
    Primary(Box<Slot<B>>),
    /// The processor in its stead.
    Standby(Box<Slot<CpuBackend>>),
}

/// `$do` with the seat of who plays as `$slot`.
macro_rules! on_slot {
    ($failover:expr, $slot:ident => $do:expr) => {
        match $failover {
            $crate::failover::Failover::Primary($slot) => $do,
            $crate::failover::Failover::Standby($slot) => $do,
        }
    };
}
pub(crate) use on_slot;

impl Slot<CpuBackend> {
    /// A session on the CPU that can take over the session of `config` at any time. It plays nothing until then.
    ///
    /// # Errors
    /// Those of [`session`].
    pub fn standby(mut cpu: CpuBackend, mut model: Model<CpuBackend>, config: &SessionConfig) -> Result<Slot<CpuBackend>> {
        let text_room = match (config.text.trim().is_empty(), &mut model.text) {
            (false, Some(text)) => config.text_room.max(text.encode(&config.text)?.len),
            _ => config.text_room,
        };
        let waits = SessionConfig { playing: false, text: String::new(), text_room, ..config.clone() };
        let (session, _) = session(&mut cpu, &mut model, &waits)?;
        Ok(Slot { backend: cpu, model, session })
    }
}

impl<B: Backend> Failover<B> {
    /// Why who plays can't any more.
    pub fn fault(&self) -> Option<&str> {
        on_slot!(self, slot => slot.backend.fault())
    }

    /// The relief takes over the song; `text` is the text in force. What the first one had is given back.
    ///
    /// # Errors
    /// The processor plays already, or the two don't fit.
    pub fn relieve(&mut self, standby: Box<Slot<CpuBackend>>, text: Option<&Hidden>) -> Result<()> {
        let former = std::mem::replace(self, Failover::Standby(standby));
        match (former, self) {
            (Failover::Primary(lost), Failover::Standby(slot)) => {
                slot.session.take_over(&mut slot.backend, &slot.model, lost.session, text)
            }
            _ => Err(Error::Input("the processor plays already".into())),
        }
    }
}
