//! From a message to a command.

use sideman_engine::live::commands::{Access, CommandKind};
use sideman_engine::live::{Action, Clock, Command, Mode, When};
use sideman_engine::task::WrittenChords;

use super::{Arguments, Message, Namespace, Pattern, Value};

/// What a message to one address requests.
#[derive(Debug, Clone, PartialEq)]
pub enum Parsed {
    /// A command.
    Command {
        /// The command.
        command: Command,
        /// The boundary, if the message names one.
        when: Option<When>,
    },
    /// The value of the address.
    Read,
    /// Nothing: a button was released.
    Released,
}

/// Reads a message. A pattern gives a result for each address that it matches; no address gives no result.
///
/// # Errors
/// For an address: a sentence that says which argument is wrong.
pub fn parse<'a>(message: &Message, namespace: &'a Namespace) -> Vec<(&'a str, Result<Parsed, String>)> {
    let find = || Pattern::new(&message.address).map(|pattern| namespace.find(&pattern)).unwrap_or_default();
    let found = namespace.get_key(&message.address).map_or_else(find, |exact| vec![exact]);
    let parsed = |(address, kind)| (address, parse_arguments(kind, address, &message.arguments, namespace));
    found.into_iter().map(parsed).collect()
}

/// Reads the arguments of a message to a command's address.
///
/// # Errors
/// A sentence that says which argument is wrong.
pub fn parse_arguments(kind: CommandKind, address: &str, arguments: &[Value], namespace: &Namespace) -> Result<Parsed, String> {
    let Some(row) = kind.spec().address else { return Err(format!("{address}: takes no message")) };
    let expected = if row.arguments.is_empty() { "none" } else { row.arguments };
    let wrong = |what: String| format!("{address}: {what}; arguments: {expected}");
    let mut arguments = Arguments::new(arguments, namespace, address);
    match row.access {
        Access::Value if arguments.is_empty() => return Ok(Parsed::Read),
        // The buttons of a tablet send 1 when they are pressed and 0 when they are released.
        Access::Trigger if arguments.press_next(row.arguments) && arguments.number().map_err(wrong)? == 0.0 => {
            return Ok(Parsed::Released);
        }
        Access::Value | Access::Trigger => {}
    }
    let command = command(kind, &mut arguments).map_err(wrong)?;
    let when = arguments.when().map_err(wrong)?;
    if arguments.is_empty() { Ok(Parsed::Command { command, when }) } else { Err(wrong("too many arguments".into())) }
}

/// Reads a command from its arguments.
fn command(kind: CommandKind, args: &mut Arguments) -> Result<Command, String> {
    let which = args.which();
    Ok(match kind {
        CommandKind::Play => Command::Play,
        CommandKind::Stop => Command::Stop,
        CommandKind::CountIn => Command::CountIn(args.whole()?),
        CommandKind::Tempo => Command::Tempo(args.number()?),
        CommandKind::Tap => Command::Tap,
        CommandKind::Half => Command::Half,
        CommandKind::Double => Command::Double,
        CommandKind::One => Command::One,
        CommandKind::Meter => {
            let (n, d) = (args.whole()?, args.whole()?);
            Command::Meter(format!("{n}/{d}").parse().map_err(|e: sideman_engine::Error| e.to_string())?)
        }
        CommandKind::Clock => Command::Clock(args.one_of(&Clock::NAMES)?),
        CommandKind::Text => Command::Text { part: 0, text: args.text()?, weight: 1.0 },
        CommandKind::TextPart => {
            Command::Text { part: args.part(), text: args.text()?, weight: if args.number_next() { args.float()? } else { 1.0 } }
        }
        CommandKind::Chords => {
            let chords = WrittenChords::from(args.text()?);
            chords.chords()?;
            Command::Chords(chords)
        }
        CommandKind::Key => Command::Key(args.text()?),
        CommandKind::InputStem => Command::InputStem(args.instrument()?),
        CommandKind::StemGain => Command::Stem(which, Action::Gain(args.float()?)),
        CommandKind::StemMute => Command::Stem(which, Action::Mute(args.flag()?)),
        CommandKind::StemSolo => Command::Stem(which, Action::Solo(args.flag()?)),
        CommandKind::StemPan => Command::Stem(which, Action::Pan(args.float()?)),
        CommandKind::StemFreeze => Command::Stem(which, Action::Freeze(args.whole()?)),
        CommandKind::StemRegenerate => Command::Stem(which, Action::Regen),
        CommandKind::StemUndo => Command::Stem(which, Action::Undo),
        CommandKind::StemRedo => Command::Stem(which, Action::Redo),
        CommandKind::Mode => Command::Mode(args.one_of(&Mode::NAMES)?),
        CommandKind::LoopBars => Command::LoopBars(args.whole()?),
        CommandKind::Lag => Command::Lag(args.whole()?),
        CommandKind::Hop => Command::Hop(args.whole()?),
        CommandKind::Temperature => Command::Temperature(args.float()?),
        CommandKind::TopK => Command::TopK(args.whole()?),
        CommandKind::TopP => Command::TopP(args.float()?),
        CommandKind::CfgScale => Command::Cfg(args.float()?),
        CommandKind::Seed => Command::Seed(args.seed()?),
        CommandKind::NextSection => Command::Section(String::new()),
        CommandKind::GoToSection => Command::Section(if args.number_next() { args.whole()?.to_string() } else { args.text()? }),
        CommandKind::Fill => Command::Fill,
        // 12 and -12 both attenuate by 12 dB.
        CommandKind::Room => Command::Room(args.float()?),
        CommandKind::Dim => Command::Dim(-args.float()?.abs()),
        CommandKind::Click => Command::Click(args.flag()?),
        CommandKind::Panic => Command::Panic,
        CommandKind::Cancel => Command::Cancel(args.cancelled()?),
        CommandKind::Record => Command::Record(args.flag()?),
        // A button has no name to send.
        CommandKind::SaveTake => Command::Keep(if args.is_empty() { String::new() } else { args.text()? }),
        CommandKind::MidiLearn => Command::Learn(args.text()?),
        CommandKind::Guided | CommandKind::Rest => return Err("takes no message".into()),
    })
}
