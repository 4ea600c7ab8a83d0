use sideman_engine::live::commands::{Access, CommandKind};
use sideman_engine::live::{Action, Command, When, Which};

use super::*;

fn namespace() -> Namespace {
    Namespace::new(&["bass", "drums", "other"])
}

fn say(text: &str) -> Vec<Result<Parsed, String>> {
    parse(&text.parse().unwrap(), &namespace()).into_iter().map(|(_, parsed)| parsed).collect()
}

fn message_to(address: &str, arguments: &[Value]) -> Message {
    Message { address: address.to_owned(), arguments: arguments.to_vec() }
}

/// What a message to one address requests.
fn one(message: &Message) -> Result<Parsed, String> {
    let namespace = namespace();
    let mut all = parse(message, &namespace);
    assert_eq!(all.len(), 1, "{message}");
    all.remove(0).1
}

fn command(address: &str, arguments: &[Value]) -> Command {
    match one(&message_to(address, arguments)) {
        Ok(Parsed::Command { command, .. }) => command,
        other => panic!("{address}: {other:?}"),
    }
}

/// Arguments that a command takes.
fn arguments(kind: CommandKind) -> Vec<Value> {
    match kind {
        CommandKind::Meter => vec![Value::Int(6), Value::Int(8)],
        CommandKind::Clock => vec!["midi".into()],
        CommandKind::Mode => vec!["lead".into()],
        CommandKind::InputStem => vec!["drums".into()],
        CommandKind::Chords => vec!["Am F C G".into()],
        CommandKind::Text | CommandKind::Key | CommandKind::GoToSection | CommandKind::SaveTake | CommandKind::MidiLearn => {
            vec!["some words".into()]
        }
        CommandKind::TextPart => vec!["dub".into(), Value::Float(0.5)],
        CommandKind::Cancel => vec!["other".into()],
        CommandKind::Seed => vec![Value::Long(-7)],
        CommandKind::Tempo => vec![Value::Float(97.25)],
        CommandKind::StemGain | CommandKind::StemPan => vec![Value::Float(-0.5)],
        CommandKind::Dim | CommandKind::Room | CommandKind::Temperature | CommandKind::TopP | CommandKind::CfgScale => {
            vec![Value::Float(0.75)]
        }
        kind if kind.spec().address.is_some_and(|address| address.access == Access::Value) => vec![Value::Int(1)],
        _ => vec![],
    }
}

/// A message to each address that a command or an alias has.
fn all() -> Vec<(CommandKind, Message)> {
    let stems = namespace().stems().to_vec();
    let mut all = Vec::new();
    for &kind in CommandKind::ALL {
        let Some(row) = kind.spec().address else { continue };
        let addresses = [row.path].into_iter().chain(row.aliases.iter().copied()).flat_map(|path| expand(path, &stems));
        all.extend(addresses.map(|address| (kind, message_to(&address, &arguments(kind)))));
    }
    all
}

#[test]
fn every_address_is_a_command_of_its_kind() {
    assert!(all().len() > 60);
    for (kind, message) in all() {
        let Ok(Parsed::Command { command, when: None }) = one(&message) else { panic!("{message}") };
        assert_eq!(command.kind(), kind, "{message}");
    }
}

#[test]
fn every_command_is_written_as_the_message_that_asks_for_it() {
    for (kind, asked) in all() {
        let Ok(Parsed::Command { command, .. }) = one(&asked) else { panic!("{asked}") };
        let written = message(&command, &namespace()).unwrap();
        assert_eq!(written.arguments, asked.arguments);
        if !kind.spec().address.unwrap().aliases.contains(&asked.address.as_str()) {
            assert_eq!(written.address, asked.address);
        }
    }
}

#[test]
fn every_command_takes_a_boundary_as_its_last_argument() {
    for (_, mut message) in all() {
        message.arguments.push("section".into());
        assert!(matches!(one(&message), Ok(Parsed::Command { when: Some(When::Section), .. })), "{message}");
    }
    assert!(matches!(say("/jam/stem/drums/mute 1 bar")[..], [Ok(Parsed::Command { when: Some(When::Bar), .. })]));
    let bar = one(&message_to("/jam/stem/drums/mute", &[Value::Int(1), "bar 17".into()]));
    assert!(matches!(bar, Ok(Parsed::Command { when: Some(When::AtBar(17)), .. })), "{bar:?}");
}

#[test]
fn an_error_names_the_address() {
    for (_, mut message) in all() {
        message.arguments.extend(["now".into(), Value::Int(1)]);
        assert!(one(&message).is_err_and(|e| e.contains(&message.address)), "{message}");
    }
}

#[test]
fn old_addresses_still_work() {
    assert_eq!(command("/jam/play", &["drums".into()]), Command::InputStem(Some(1)));
    assert_eq!(command("/jam/dip", &[Value::Int(12)]), Command::Dim(-12.0));
    assert_eq!(say("/jam/dip"), [Ok(Parsed::Read)]);
    // A pattern does not give a request twice.
    assert_eq!(say("/jam/di* 12").len(), 1);
    assert_eq!(say("/jam/d?p 12").len(), 1);
    assert_eq!(say("/jam/{play,instrument} drums").len(), 1);
}

#[test]
fn arguments_are_read_by_their_meaning() {
    let mute = |value: Value| command("/jam/stem/drums/mute", &[value]);
    for on in [Value::Int(1), Value::Float(1.0), Value::Long(1)] {
        assert_eq!(mute(on), Command::Stem(Which::One(1), Action::Mute(true)));
    }
    assert_eq!(mute(Value::Float(0.0)), Command::Stem(Which::One(1), Action::Mute(false)));
    assert_eq!(command("/jam/stem/all/freeze", &[Value::Float(4.0)]), Command::Stem(Which::All, Action::Freeze(4)));
    assert_eq!(command("/jam/instrument", &["none".into()]), Command::InputStem(None));
    for db in [12.0, -12.0] {
        assert_eq!(command("/jam/dim", &[Value::Float(db)]), Command::Dim(-12.0));
    }
    // The text itself is not a boundary, a word after it is.
    assert_eq!(command("/jam/text", &["bar".into()]), Command::Text { part: 0, text: "bar".into(), weight: 1.0 });
    let part = command("/jam/text/3", &["x".into(), "bar".into()]);
    assert_eq!(part, Command::Text { part: 3, text: "x".into(), weight: 1.0 });
    for (section, name) in [("Verse", "Verse"), ("2", "2"), ("3.0", "3")] {
        let Ok(Parsed::Command { command, .. }) = &say(&format!("/jam/section/goto {section}"))[0] else { panic!("{section}") };
        assert_eq!(*command, Command::Section(name.into()));
    }
}

#[test]
fn a_released_button_asks_for_nothing() {
    assert!(matches!(say("/jam/fill 1")[..], [Ok(Parsed::Command { command: Command::Fill, .. })]));
    assert_eq!(say("/jam/fill 0"), [Ok(Parsed::Released)]);
}

#[test]
fn wrong_arguments_are_errors() {
    for text in [
        "/jam/tempo fast",
        "/jam/tempo nan",
        "/jam/meter 5 4",
        "/jam/meter 4",
        "/jam/clock sun",
        "/jam/instrument flute",
        "/jam/stem/drums/mute 1 soon",
        "/jam/lag -1",
        "/jam/fill 1 2",
    ] {
        assert!(matches!(say(text)[..], [Err(_)]), "{text}");
    }
    assert_eq!(say("/jam/nothing"), []);
    assert_eq!(say("/jam/x*"), []);
}

#[test]
fn a_pattern_means_each_stem_once() {
    assert_eq!(say("/jam/stem/*/mute 1").len(), 3);
    assert_eq!(say("/jam/stem/{bass,drums}/[gm]* 1").len(), 4);
}

#[test]
fn a_command_can_be_written_as_text() {
    let text = |command: &Command| message(command, &namespace()).unwrap().to_string();
    assert_eq!(text(&Command::Stem(Which::One(1), Action::Freeze(2))), "/jam/stem/drums/freeze 2");
    assert_eq!(text(&Command::Temperature(0.1)), "/jam/sample/temperature 0.1");
    assert_eq!(message(&Command::Guided(true), &namespace()), None);
}
