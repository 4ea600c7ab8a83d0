//! The signs by which the screen names commands.

use sideman_engine::live::{Action, Command};

/// The sign of a command in the plan, one column wide.
pub fn letter(command: &Command) -> &'static str {
    match command {
        Command::Stem(_, Action::Regen) => "R",
        Command::Stem(_, Action::Freeze(0)) => "P",
        Command::Stem(_, Action::Freeze(_)) => "F",
        Command::Stem(_, Action::Undo) => "U",
        Command::Stem(_, Action::Redo) => "D",
        Command::Stem(..) => "*",
        Command::Play => "▶",
        Command::Stop => "■",
        Command::Tempo(_) => "T",
        Command::Chords(_) => "C",
        Command::Section(_) => "S",
        Command::Mode(_) => "M",
        _ => "*",
    }
}
