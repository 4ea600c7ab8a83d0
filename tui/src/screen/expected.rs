//! The session's values once all pending commands have taken effect. Keys toggle and step these, so that two
//! presses before the boundary count twice.

use sideman_engine::live::{Action, Command, Mode, Pending, StemState, Which};

use super::state::State;

impl State {
    /// All pending commands, soonest first; those that the session has not confirmed yet come last.
    pub fn pending(&self) -> Vec<Pending> {
        let mut all = self.snapshot.pending.clone();
        for (command, _) in &self.unconfirmed {
            if !all.iter().any(|p| p.command == *command) {
                all.push(Pending { command: command.clone(), at: self.snapshot.time });
            }
        }
        all
    }

    /// The value that the last pending command sets, else the current one.
    fn expected<T>(&self, present: T, set_by: impl Fn(&Command) -> Option<T>) -> T {
        self.pending().iter().rev().find_map(|p| set_by(&p.command)).unwrap_or(present)
    }

    /// Mute, solo, gain and freeze of a stem.
    pub fn expected_stem(&self, stem: usize) -> StemState {
        let mut state = self.snapshot.stems.get(stem).copied().unwrap_or_default();
        for p in self.pending() {
            match p.command {
                Command::Stem(which, action) if which == Which::All || which == Which::One(stem as u8) => match action {
                    Action::Mute(on) => state.mute = on,
                    Action::Solo(on) => state.solo = on,
                    Action::Gain(db) => state.gain = db,
                    Action::Freeze(bars) => state.frozen = bars,
                    _ => {}
                },
                _ => {}
            }
        }
        state
    }

    /// The mode.
    pub fn expected_mode(&self) -> Mode {
        self.expected(self.snapshot.mode, |c| if let Command::Mode(mode) = c { Some(*mode) } else { None })
    }

    /// The tempo.
    pub fn expected_tempo(&self) -> f64 {
        self.expected(self.snapshot.tempo, |c| if let Command::Tempo(tempo) = c { Some(*tempo) } else { None })
    }

    /// The level of the room.
    pub fn expected_room(&self) -> f32 {
        self.expected(self.snapshot.room, |c| if let Command::Room(amount) = c { Some(*amount) } else { None })
    }

    /// Whether the click is on.
    pub fn expected_click(&self) -> bool {
        self.expected(self.snapshot.click, |c| if let Command::Click(on) = c { Some(*on) } else { None })
    }

    /// Whether a take is recorded.
    pub fn expected_recording(&self) -> bool {
        self.expected(self.snapshot.recording, |c| if let Command::Record(on) = c { Some(*on) } else { None })
    }

    /// The text.
    pub fn expected_text(&self) -> String {
        self.expected(self.snapshot.text.clone(), |c| if let Command::Text { text, .. } = c { Some(text.clone()) } else { None })
    }

    /// The chords.
    pub fn expected_chords(&self) -> String {
        self.expected(self.snapshot.chords.clone(), |c| {
            if let Command::Chords(chords) = c { Some(chords.text().to_owned()) } else { None }
        })
    }

    /// Whether a play or stop command is pending.
    pub fn play_or_stop_is_pending(&self) -> bool {
        self.pending().iter().any(|p| matches!(p.command, Command::Play | Command::Stop))
    }
}
