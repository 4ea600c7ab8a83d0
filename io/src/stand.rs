//! Who plays: a player with its model and session, or the processor in its stead, once the player is lost.

use sideman_engine::live::Session;
use sideman_engine::task::Band;
use sideman_engine::text::Hidden;
use sideman_engine::{Error, Result};
use sideman_kernels::Ops;
use sideman_kernels::cpu::Cpu;

use crate::runner::session;
use crate::take::Sheet;

/// A player with its model and session.
pub struct Seat<O: Ops> {
    /// The player.
    pub ops: O,
    /// The model in its memory.
    pub band: Band<O>,
    /// What it plays.
    pub session: Session<O>,
}

/// Who plays.
pub enum Stand<O: Ops> {
    /// Whom the session began with.
    First(Box<Seat<O>>),
    /// The processor in its stead.
    Relief(Box<Seat<Cpu>>),
}

/// `$do` with the seat of who plays as `$seat`.
macro_rules! seated {
    ($stand:expr, $seat:ident => $do:expr) => {
        match $stand {
            $crate::stand::Stand::First($seat) => $do,
            $crate::stand::Stand::Relief($seat) => $do,
        }
    };
}
pub(crate) use seated;

impl Seat<Cpu> {
    /// The processor, ready to take over the session of `sheet` at any moment. It plays nothing until then.
    ///
    /// # Errors
    /// Those of [`session`].
    pub fn relief(mut cpu: Cpu, mut band: Band<Cpu>, sheet: &Sheet) -> Result<Seat<Cpu>> {
        let room = match (sheet.text.trim().is_empty(), &mut band.text) {
            (false, Some(text)) => sheet.text_room.max(text.encode(&sheet.text)?.len),
            _ => sheet.text_room,
        };
        let waits = Sheet { playing: false, text: String::new(), text_room: room, ..sheet.clone() };
        let (session, _) = session(&mut cpu, &mut band, &waits)?;
        Ok(Seat { ops: cpu, band, session })
    }
}

impl<O: Ops> Stand<O> {
    /// Why who plays can't any more.
    pub fn fault(&self) -> Option<&str> {
        seated!(self, seat => seat.ops.fault())
    }

    /// The relief takes over the song; `text` is the text in force. What the first one had is given back.
    ///
    /// # Errors
    /// The processor plays already, or the two don't fit.
    pub fn relieve(&mut self, relief: Box<Seat<Cpu>>, text: Option<&Hidden>) -> Result<()> {
        let former = std::mem::replace(self, Stand::Relief(relief));
        match (former, self) {
            (Stand::First(lost), Stand::Relief(seat)) => seat.session.take_over(&mut seat.ops, &seat.band, lost.session, text),
            _ => Err(Error::Input("the processor plays already".into())),
        }
    }
}
