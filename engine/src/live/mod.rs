//! Live play: a player's samples in, the band's samples out, bit for bit the same whatever the hop.
//!
//! **Time** is song time: samples at 32 kHz since the session began (`i64`). The sample that the player hears at song time t, and the
//! sample that they play at song time t, belong together; latencies of devices are the runner's affair (`sideman-io`).
//!
//! **Lead.** After the player's first N samples (N a multiple of 640) are heard, the session has given the band's samples up to N + lead.
//! It is constant for a session: lagged play has as much of it as the lag leaves over the codecs' look-ahead and the delays of the
//! streams; anticipating play as much as its commit horizon. A hop is only how often the runner calls, and changes no sample.
//!
//! **Requests** ([`Request`]) are the one way to change anything. They wait for their boundary, can be seen waiting and be cancelled,
//! and are written down in a take, so that heard samples and requests together make the same song again.

mod apply;
mod click;
mod command;
pub mod commands;
mod config;
mod decide;
mod failover;
mod input;
mod loops;
mod model_state;
mod notice;
mod output;
mod prime;
mod requests;
mod schedule;
mod session;
mod snapshot;
mod song;
mod stem;
mod timeline;
mod token_history;
mod window;

pub use command::{Action, Clamped, Clock, Command, Mode, Origin, Request, When, Which};
pub use config::SessionConfig;
pub use notice::Notice;
pub use session::Session;
pub use snapshot::{Health, LoadShedding, Pending, Snapshot, StemState};
pub use timeline::{Boundary, Position, SECTION, Timeline, beats};
