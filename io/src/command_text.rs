//! Commands, clocks and modes in words, for the screen and for pages.

use sideman_engine::live::{Action, Clock, Command, Mode, Which};

/// A command in a word or two, without its stem.
pub fn of(command: &Command) -> String {
    let on = |what: &str, on: bool| if on { what.to_owned() } else { format!("{what} off") };
    match command {
        Command::Play => "play".into(),
        Command::Stop => "stop".into(),
        Command::CountIn(bars) => format!("count-in {bars}"),
        Command::Tempo(bpm) => format!("tempo {bpm:.1}"),
        Command::Tap => "tap".into(),
        Command::Half => "half tempo".into(),
        Command::Double => "double tempo".into(),
        Command::One => "one".into(),
        Command::Meter(meter) => format!("meter {meter}"),
        Command::Clock(clock) => format!("clock {}", source(*clock)),
        Command::Text { text, .. } => format!("text \"{text}\""),
        Command::Chords(chords) => format!("chords {}", if chords.text().is_empty() { "unknown" } else { chords.text() }),
        Command::InputStem(_) => "input stem".into(),
        Command::Stem(_, action) => match action {
            Action::Gain(db) => format!("fader {db:+.0} dB"),
            Action::Pan(pan) => format!("pan {pan:+.1}"),
            Action::Mute(m) => on("mute", *m),
            Action::Solo(s) => on("solo", *s),
            Action::Regen => "regenerate".into(),
            Action::Freeze(0) => "unfreeze".into(),
            Action::Freeze(bars) => format!("freeze {bars}"),
            Action::Undo => "undo".into(),
            Action::Redo => "redo".into(),
        },
        Command::Mode(m) => mode(*m).into(),
        Command::LoopBars(bars) => format!("loop {bars} bars"),
        Command::Lag(frames) => format!("lag {frames}"),
        Command::Hop(frames) => format!("hop {frames}"),
        Command::Temperature(t) => format!("temperature {t:.2}"),
        Command::TopK(k) => format!("top-k {k}"),
        Command::TopP(p) => format!("top-p {p:.2}"),
        Command::Cfg(cfg) => format!("guidance {cfg:.1}"),
        Command::Seed(seed) => format!("seed {seed}"),
        Command::Section(name) if name.is_empty() => "next section".into(),
        Command::Section(name) => format!("section {name}"),
        Command::Fill => "fill".into(),
        Command::Dim(db) => format!("dim {db:.0} dB"),
        Command::Room(amount) => format!("room {amount:.1}"),
        Command::Click(c) => on("click", *c),
        Command::Panic => "panic".into(),
        Command::Cancel(_) => "cancel".into(),
        Command::Record(r) => on("record", *r),
        Command::Keep(_) => "keep".into(),
        Command::Key(key) => format!("key {}", if key.is_empty() { "unknown" } else { key }),
        Command::Learn(address) => format!("learn {address}"),
        Command::Guided(g) => on("guidance", *g),
        Command::Rest(r) => on("rest", *r),
    }
}

/// A command with its stem; `stems` are the model's.
pub fn whole(command: &Command, stems: &[String]) -> String {
    let name = |stem: u8| stems.get(usize::from(stem)).map_or("?", String::as_str);
    match command {
        Command::Stem(Which::One(stem), _) => format!("{} {}", name(*stem), of(command)),
        Command::Stem(Which::All, _) => format!("all {}", of(command)),
        Command::InputStem(Some(stem)) => format!("you play {}", name(*stem)),
        Command::InputStem(None) => "the band plays all stems".into(),
        _ => of(command),
    }
}

/// Source of the beat.
pub fn source(clock: Clock) -> &'static str {
    match clock {
        Clock::Internal => "internal clock",
        Clock::Midi => "MIDI clock",
        Clock::Jack => "JACK transport",
        Clock::Link => "Ableton Link",
        Clock::Ear => "your playing",
        Clock::Free => "no clock",
    }
}

/// The mode.
pub fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Follow => "follow",
        Mode::Loop => "loop",
        Mode::Lead => "lead",
    }
}
