//! The table of commands. For each [`Command`](super::Command): its name, when it takes effect, who handles
//! it, its range, its OSC address and arguments, what a MIDI control does with it, its keys and its help
//! text.
//!
//! The session, the runner, OSC (`sideman osc`), MIDI and the keys (`sideman keys`) all read this table.
//!
//! To add a command: add a variant to [`Command`](super::Command) and a row here, then follow the list in
//! CONTRIBUTING.md. The compiler names most of the places that have to handle the command; what the session
//! does with it (`apply.rs`) is not among them.

use super::When;
use crate::limits::{self, Range};

/// Who handles a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The session (`sideman-engine`), at the command's boundary.
    Session,
    /// The runner (`sideman-io`), which encodes the text first. What is heard changes.
    TextEncoder,
    /// The runner (`sideman-io`). What is heard doesn't change: a replay leaves it out.
    Runner,
    /// The MIDI mapper (`sideman-io`). What is heard doesn't change: a replay leaves it out.
    MidiMapper,
}

/// What a message to a command's address does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Sets a value with arguments, reads it without.
    Value,
    /// Triggers something. A button that sends 1 and then 0 triggers it once.
    Trigger,
}

/// A command's OSC address.
#[derive(Debug, Clone, Copy)]
pub struct Address {
    /// The path; `S` is a stem or `all`, `N` is 1 to 4.
    pub path: &'static str,
    /// Older paths, which still work but are not listed.
    pub aliases: &'static [&'static str],
    /// The arguments, as help shows them.
    pub arguments: &'static str,
    /// What a message does.
    pub access: Access,
    /// Help text.
    pub help: &'static str,
}

/// What a MIDI control does with a command when it is learned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MidiTarget {
    /// A fader sets a value: the first at 0, the second at 127.
    Fader(f32, f32),
    /// A button turns it on and off.
    OnOff,
    /// A button triggers it.
    Button,
}

/// A key action of the screen.
#[derive(Debug, Clone, Copy)]
pub struct KeyAction {
    /// The name, on the screen and in keys.toml.
    pub name: &'static str,
    /// The default keys.
    pub keys: &'static [&'static str],
    /// The boundary, where it is not the command's own.
    pub boundary: Option<When>,
    /// Help text.
    pub help: &'static str,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct CommandSpec {
    /// The name, in messages.
    pub name: &'static str,
    /// When it takes effect unless the request gives another boundary.
    pub boundary: When,
    /// Who handles it.
    pub owner: Owner,
    /// The range of its value, where it has a fixed one.
    pub range: Option<Range>,
    /// Its OSC address; `None`: only the program itself sends it.
    pub address: Option<Address>,
    /// What a learned MIDI control does.
    pub midi: MidiTarget,
    keys: [Option<KeyAction>; 2],
}

const fn command(name: &'static str, boundary: When, owner: Owner) -> CommandSpec {
    CommandSpec { name, boundary, owner, range: None, address: None, midi: MidiTarget::Button, keys: [None, None] }
}

impl CommandSpec {
    const fn range(mut self, range: Range) -> Self {
        self.range = Some(range);
        self
    }

    const fn value(self, path: &'static str, arguments: &'static str, help: &'static str) -> Self {
        self.address(Access::Value, path, arguments, help)
    }

    const fn trigger(self, path: &'static str, arguments: &'static str, help: &'static str) -> Self {
        self.address(Access::Trigger, path, arguments, help)
    }

    const fn address(mut self, access: Access, path: &'static str, arguments: &'static str, help: &'static str) -> Self {
        self.address = Some(Address { path, aliases: &[], arguments, access, help });
        self
    }

    const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        if let Some(address) = &mut self.address {
            address.aliases = aliases;
        }
        self
    }

    const fn midi(mut self, midi: MidiTarget) -> Self {
        self.midi = midi;
        self
    }

    const fn key(self, name: &'static str, keys: &'static [&'static str], help: &'static str) -> Self {
        self.with_key(KeyAction { name, keys, boundary: None, help })
    }

    const fn key_at(self, boundary: When, name: &'static str, keys: &'static [&'static str], help: &'static str) -> Self {
        self.with_key(KeyAction { name, keys, boundary: Some(boundary), help })
    }

    const fn with_key(mut self, action: KeyAction) -> Self {
        self.keys[if self.keys[0].is_none() { 0 } else { 1 }] = Some(action);
        self
    }

    /// The nth of its key actions.
    pub const fn key_action(&self, nth: usize) -> Option<KeyAction> {
        self.keys[nth]
    }

    /// Its key actions.
    pub fn keys(&self) -> impl Iterator<Item = &KeyAction> {
        self.keys.iter().flatten()
    }
}

/// Makes the enum of all commands and its table: a command without a row does not compile.
macro_rules! commands {
    ($($kind:ident => $spec:expr;)*) => {
        /// A [`Command`](super::Command) without its values. [`CommandKind::spec`] says what it does.
        #[allow(missing_docs)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum CommandKind {
            $($kind,)*
        }

        impl CommandKind {
            /// All commands, in the table's order.
            pub const ALL: &[CommandKind] = &[$(CommandKind::$kind),*];

            /// The command's row.
            pub const fn spec(self) -> &'static CommandSpec {
                match self {
                    $(CommandKind::$kind => const { &$spec },)*
                }
            }
        }
    };
}

use MidiTarget::{Fader, OnOff};
use Owner::{MidiMapper, Runner, Session, TextEncoder};
use When::{Bar, Beat, Now, Section};

commands! {
    Play => command("play", Now, Session)
        .trigger("/jam/transport/play", "", "starts the band at bar 1, after the count-in")
        .key_at(Bar, "play", &["space"], "stop at the bar; while the band is stopped: play");
    Stop => command("stop", Bar, Session)
        .trigger("/jam/transport/stop", "", "stops the band; the clock keeps running");
    CountIn => command("count-in", Now, Session)
        .range(limits::COUNT_IN)
        .value("/jam/transport/count_in", "bars", "bars of clicks before bar 1, 0 to 4");
    Tempo => command("tempo", Beat, Session)
        .range(limits::TEMPO)
        .value("/jam/tempo", "bpm", "quarter notes a minute, 20 to 400")
        .midi(Fader(60.0, 180.0))
        .key("faster", &[">", "."], "tempo up by 1 BPM")
        .key("slower", &["<", ","], "tempo down by 1 BPM");
    Tap => command("tap", Now, Runner)
        .trigger("/jam/tap", "", "taps the tempo: two taps or more set it")
        .key_at(Beat, "tap", &["t"], "tap the tempo, twice or more");
    Meter => command("meter", Bar, Session)
        .value("/jam/meter", "n d", "4 4, 3 4, 6 8 or 12 8");
    Half => command("half tempo", Beat, Session)
        .trigger("/jam/clock/half", "", "halves the tempo: a beat is twice as long")
        .key("half", &["h"], "half the tempo");
    Double => command("double tempo", Beat, Session)
        .trigger("/jam/clock/double", "", "doubles the tempo")
        .key("double", &["d"], "double the tempo");
    One => command("one", Beat, Session)
        .trigger("/jam/clock/one", "", "begins a bar: the next beat is its first")
        .key("one", &["b"], "begin a bar with the next beat");
    Clock => command("clock", Now, Session)
        .value("/jam/clock", "internal|midi|jack|link|ear|free", "where the beat comes from; ear: count in, then it follows you");
    Text => command("text", Now, TextEncoder)
        .value("/jam/text", "text", "describes the music; empty: no text")
        .key("text", &["e"], "edit the text that describes the music");
    TextPart => command("text part", Now, TextEncoder)
        .value("/jam/text/N", "text [weight]", "a part of the text; the part with the largest weight comes first");
    Chords => command("chords", Bar, Session)
        .value("/jam/chords", "\"Am F C G\"", "one chord a bar, repeated; [A] names a section; ear: as you play them; empty: unknown")
        .key("chords", &["c"], "edit the chords, one a bar: Em Em C D");
    Key => command("key", Bar, Session)
        .value("/jam/key", "\"Em\"", "the key; known chords are transposed to it; empty: unknown");
    InputStem => command("input stem", Bar, Session)
        .value("/jam/instrument", "STEM|none", "the input stem: the one that you play; none: the band plays all")
        .aliases(&["/jam/play"]);
    StemGain => command("gain", Now, Session)
        .range(limits::GAIN)
        .value("/jam/stem/S/gain", "dB", "level, -60 to 12")
        .midi(Fader(-40.0, 6.0))
        .key("louder", &["+", "="], "level of the stem up by 1 dB")
        .key("softer", &["-"], "level of the stem down by 1 dB");
    StemMute => command("mute", Now, Session)
        .value("/jam/stem/S/mute", "0|1", "mutes the stem; the model still hears it")
        .midi(OnOff)
        .key("mute", &["m"], "mute the stem; the model still hears it");
    StemSolo => command("solo", Now, Session)
        .value("/jam/stem/S/solo", "0|1", "while any stem is solo, only solo stems sound")
        .midi(OnOff)
        .key("solo", &["s"], "solo the stem: only solo stems sound");
    StemPan => command("pan", Now, Session)
        .range(limits::PAN)
        .value("/jam/stem/S/pan", "-1..1", "left to right")
        .midi(Fader(-1.0, 1.0));
    StemFreeze => command("freeze", Bar, Session)
        .range(limits::LOOP_BARS)
        .value("/jam/stem/S/freeze", "bars", "repeats the stem's last bars, 1 to 16; 0: ends the repetition")
        .midi(Fader(0.0, 2.0))
        .key("freeze", &["f"], "repeat the stem's last 4 bars; again: end the repetition");
    StemRegenerate => command("regenerate", Bar, Session)
        .trigger("/jam/stem/S/regen", "", "predicts the stem again, with other music, from the next bar on")
        .key("regenerate", &["r"], "predict the stem again, with other music")
        .key_at(Beat, "reject", &["x"], "reject the stem's open plan: regenerate at the next beat");
    StemUndo => command("undo", Bar, Session)
        .trigger("/jam/stem/S/undo", "", "goes back to what the stem played before the last regenerate or freeze")
        .key("undo", &["u"], "go back to before the last regenerate or freeze");
    StemRedo => command("redo", Bar, Session)
        .trigger("/jam/stem/S/redo", "", "reverts an undo")
        .key("redo", &["ctrl-r"], "revert an undo");
    Mode => command("mode", Bar, Session)
        .value("/jam/mode", "follow|loop|lead", "accompanies you, repeats its last bars, or plays by itself")
        .key("mode", &["o"], "next mode: follow you, loop the last bars, lead");
    LoopBars => command("loop bars", Bar, Session)
        .range(limits::LOOP_BARS)
        .value("/jam/loop", "bars", "bars that the loop mode repeats, 1 to 16");
    Lag => command("lag", Now, Session)
        .value("/jam/lag", "frames", "frames by which the model hears you late");
    Hop => command("hop", Now, Runner)
        .range(limits::HOP)
        .value("/jam/hop", "frames", "frames that are decided at a time, 1 to 25");
    Temperature => command("temperature", Now, Session)
        .range(limits::TEMPERATURE)
        .value("/jam/sample/temperature", "0..4", "sampling temperature")
        .midi(Fader(0.0, 2.0));
    TopK => command("top-k", Now, Session)
        .value("/jam/sample/top_k", "k", "samples from the k likeliest tokens; 0: from all");
    TopP => command("top-p", Now, Session)
        .range(limits::TOP_P)
        .value("/jam/sample/top_p", "p", "nucleus sampling, 0 to 1; 0: off");
    CfgScale => command("guidance", Now, Session)
        .range(limits::CFG_SCALE)
        .value("/jam/sample/cfg", "x", "guidance scale for beat, chords, input and text; 1: no guidance")
        .midi(Fader(1.0, 6.0));
    Seed => command("seed", Now, Session)
        .value("/jam/sample/seed", "n", "seed of the random numbers");
    NextSection => command("next section", Section, Session)
        .trigger("/jam/section/next", "", "goes to the next section")
        .key("next", &["n"], "go to the next section; a chart with names waits for a bar only");
    GoToSection => command("section", Bar, Session)
        .value("/jam/section/goto", "name|number", "goes to a section of the chart; read: the one that plays");
    Fill => command("fill", Now, Session)
        .trigger("/jam/fill", "", "a fill into the next bar")
        .key("fill", &["F"], "a fill into the next bar");
    Dim => command("dim", Now, Session)
        .range(limits::DIM)
        // 12 and -12 both attenuate by 12 dB.
        .value("/jam/dim", "dB", "attenuates everything but the input stem, 0 to 60; 0: no attenuation")
        .aliases(&["/jam/dip"])
        .midi(Fader(30.0, 0.0));
    Room => command("room", Now, Session)
        .range(limits::ROOM)
        .value("/jam/room", "0..1", "level of the room in the mix; the stems' own channels stay dry")
        .midi(Fader(0.0, 1.0))
        .key("wetter", &[")"], "more room in the mix, by 0.1")
        .key("drier", &["("], "less room in the mix, by 0.1");
    Click => command("click", Now, Session)
        .value("/jam/click", "0|1", "the metronome's click")
        .midi(OnOff)
        .key("click", &["k"], "click on or off");
    Panic => command("panic", Now, Session)
        .trigger("/jam/panic", "", "silences the band at once and cancels what is pending")
        .key("panic", &["!"], "silence at once; the clock keeps running");
    Cancel => command("cancel", Now, Session)
        .trigger("/jam/cancel", "[STEM]", "cancels what is pending: all, or one stem's")
        .key("cancel", &["esc"], "cancel all that is pending");
    Record => command("record", Now, Runner)
        .value("/jam/rec", "0|1", "starts or ends a take")
        .midi(OnOff)
        .key("record", &["R"], "start or end a take");
    SaveTake => command("save take", Now, Runner)
        .trigger("/jam/take/save", "[name]", "saves the last ten minutes as a take")
        .key("keep", &["K"], "save the last ten minutes as a take");
    MidiLearn => command("MIDI learn", Now, MidiMapper)
        .trigger("/jam/midi/learn", "address", "assigns the MIDI control that moves next to an address");
    Guided => command("guidance on or off", Now, Session);
    Rest => command("rest on or off", Now, Session);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_addresses_and_keys_are_unique() {
        let (mut names, mut paths, mut keys) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for spec in CommandKind::ALL.iter().map(|kind| kind.spec()) {
            assert!(names.insert(spec.name), "{}", spec.name);
            if let Some(address) = spec.address {
                assert!(!address.help.is_empty() && address.path.starts_with("/jam/"), "{}", spec.name);
                assert!([address.path].iter().chain(address.aliases).all(|path| paths.insert(*path)), "{}", spec.name);
            }
            for action in spec.keys() {
                assert!(!action.help.is_empty() && action.keys.iter().all(|key| keys.insert(*key)), "{}", action.name);
            }
        }
    }

    #[test]
    fn on_off_targets_take_0_or_1() {
        for spec in CommandKind::ALL.iter().map(|kind| kind.spec()) {
            let on_off = spec.address.is_some_and(|address| address.arguments == "0|1");
            assert_eq!(spec.midi == OnOff, on_off, "{}", spec.name);
        }
    }

    #[test]
    fn learned_faders_stay_in_range() {
        for spec in CommandKind::ALL.iter().map(|kind| kind.spec()) {
            if let (Fader(from, to), Some(range)) = (spec.midi, spec.range) {
                // A dim is an attenuation, its value the gain; a freeze of 0 bars ends it.
                let inside = |x: f32| range.contains(f64::from(x)) || range.contains(f64::from(-x)) || x == 0.0;
                assert!(inside(from) && inside(to), "{}", spec.name);
            }
        }
    }
}
