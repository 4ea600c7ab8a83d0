//! Open Sound Control (OSC) over UDP: programs and tablets set, read and watch everything at addresses below `/jam`
//! (docs/reference/osc.md).
//!
//! [`addresses`] has all addresses, and `sideman osc` prints them. [`parse`] reads a message, [`values`] gives the value at each address,
//! [`OscState`] has the subscribers and their last values (without a socket or a clock, for tests), [`Server`] is the thread with the socket.

pub mod addresses;
mod announce;
mod packet;
mod parse;
mod peers;
mod requests;
mod serve;
mod state;
mod values;
mod waiting;

pub use addresses::{Addresses, listing};
pub use announce::{Announcement, SERVICE};
pub use parse::{Ask, parse};
pub use serve::Server;
pub use state::{OscState, Out};
pub use values::{Values, value_set, values};

/// The default UDP port.
pub const PORT: u16 = 9940;

/// The text of `sideman osc`: every address with its arguments, what a message to it does, and help.
pub fn namespace() -> String {
    let rules = "A message with arguments sets a value, one without arguments reads it. S is the name of a stem or `all`, N is 1 to 4.\n\
        A last argument `now`, `beat`, `bar`, `section` or `bar 17` says when a command takes effect. Numbers and booleans of every\n\
        OSC type are accepted. Address patterns (* ? [a-z] {a,b}) and bundles with time tags work.\n\n";
    let lines = listing().map(|a| format!("{:<26} {:<30} {:<11} {}\n", a.path, a.arguments, a.access, a.help));
    rules.to_owned() + &lines.collect::<String>()
}

#[cfg(test)]
mod tests;
