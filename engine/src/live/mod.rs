//! Live play: the musician's samples in, the band's samples out, hop by hop. The music is the same, bit for
//! bit, whatever the hop.
//!
//! The runner in `sideman-io` owns a [`Session`] and calls it from the engine thread: [`Session::request`]
//! for each request, then [`Session::hop`], then [`Session::snapshot`]. For a recording that is known as a
//! whole, use [`crate::task`].
//!
//! **Song time** is counted in samples at 32 kHz since the session started (`i64`). The musician's sample and
//! the band's sample of the same song time belong together. The devices' latencies are not part of the
//! session: the caller compensates them.
//!
//! **Lead.** After N samples of the musician (N a multiple of 640), the session has given the band's samples
//! up to N + lead. The lead is constant for a session ([`Session::lead_of`]). The hop only says how often the
//! session is called; it changes no sample.
//!
//! **Requests** ([`Request`]) are the only way to change anything. They wait for their boundary, are listed
//! while they wait and can be cancelled. A take records them: the same samples and the same requests give
//! the same music.
//!
//! **Realtime.** [`Session::hop`] allocates and frees nothing, takes no lock, and its work is bounded.
//! [`Session::request`] and [`Session::snapshot`] may allocate.
//!
//! # Parts
//!
//! A [`Session`] has two parts: a `Song`, its state in host memory, and a `ModelState`, what the model holds
//! on a backend. If the backend is lost, the song moves as a whole to a session on another one
//! ([`Session::take_over`]).
//!
//! | module | what it does |
//! |---|---|
//! | `config` | [`SessionConfig`], the settings that a session starts with |
//! | `command`, [`commands`] | [`Command`], and the table of all commands |
//! | `session` | [`Session`]: start, hop, and what a hop gave |
//! | `song`, `model_state` | the two parts of a session |
//! | `requests`, `schedule`, `apply` | requests: checked, pending, applied |
//! | `input` | the musician's samples are encoded |
//! | `ear`, `ear_clock` | chords and clock by ear, without the model |
//! | `decide`, `prime`, `window` | the model decides frames; the next window is primed while the current one plays |
//! | `token_history` | tokens of the last minutes, and loops |
//! | `stem`, `loops` | mix of each stem, freeze, undo, regenerate and the loop mode |
//! | `timeline` | tempo, meter, bars, beats and chords |
//! | `output`, `click` | tokens are decoded; levels and click |
//! | `snapshot`, `notice` | what the screen and OSC show |
//! | `failover` | another backend takes over |

mod apply;
mod click;
mod command;
pub mod commands;
mod config;
mod decide;
mod ear;
mod ear_clock;
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

pub use crate::task::{CHORDS_BY_EAR, by_ear};
pub use command::{Action, Clamped, Clock, Command, Mode, Origin, Request, When, Which};
pub use config::SessionConfig;
pub use ear_clock::EarState;
pub use notice::Notice;
pub use session::Session;
pub use snapshot::{Health, LoadShedding, Pending, Snapshot, StemState};
pub use timeline::{Boundary, Position, SECTION, Timeline};
