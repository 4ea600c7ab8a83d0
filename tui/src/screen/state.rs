//! What the screen knows: the newest snapshot, what was asked for and is not in it yet, and what the player is about to say.

use std::collections::VecDeque;
use std::time::Instant;

use sideman_engine::live::{Action, Command, Mode, Pending, Snapshot, StemState, Which};

use super::editor::Editor;
use super::keys::Keymap;

/// Messages that are remembered.
const MESSAGES: usize = 64;
/// dB a second by which a held peak falls.
const FALL: f32 = 20.0;

/// What the keys mean just now.
#[derive(Debug, Clone, PartialEq)]
pub enum Focus {
    /// What the table says.
    Model,
    /// They write the text, and what is wrong with it.
    Text(Editor),
    /// They write chords, and what is wrong with them.
    Chords(Editor, String),
    /// The table is shown.
    Help,
    /// The question whether to quit is asked.
    Quit,
}

/// What the screen shows.
pub struct State {
    /// The band, and when this came.
    pub band: Snapshot,
    /// See `band`.
    pub came: Instant,
    /// Stems' names in the model's order.
    pub stems: Vec<String>,
    /// Name of the model.
    pub model: String,
    /// The keys as they are bound.
    pub keys: Keymap,
    /// The stem that keys are for; none: all of the band's.
    pub chosen: Option<u8>,
    /// What keys mean.
    pub focus: Focus,
    /// What was said, newest last.
    pub messages: VecDeque<String>,
    /// Held peak of each stem, dB.
    pub holds: Vec<f32>,
    /// What was asked for here and can't be in the snapshot yet, with the number of snapshots since.
    unseen: Vec<(Command, u8)>,
}

impl State {
    /// Of a band that has shown nothing yet.
    pub fn new(model: &str, stems: &[String], keys: Keymap) -> Self {
        State {
            band: Snapshot::default(),
            came: Instant::now(),
            stems: stems.to_vec(),
            model: model.to_owned(),
            keys,
            chosen: None,
            focus: Focus::Model,
            messages: VecDeque::new(),
            holds: vec![f32::NEG_INFINITY; stems.len()],
            unseen: vec![],
        }
    }

    /// Takes the newest snapshot; one that is known already changes nothing.
    pub fn see(&mut self, band: Snapshot) {
        // Before the first hop there is nothing to see.
        if band.stems.is_empty() || band.time == self.band.time && !self.band.stems.is_empty() {
            return;
        }
        if self.band.stems.is_empty() {
            self.chosen = (0..self.stems.len() as u8).find(|s| band.input_stem != Some(*s));
        }
        if !band.message.is_empty() && band.message != self.band.message {
            self.say(&band.message);
        }
        let passed = self.came.elapsed().as_secs_f32();
        self.band = band;
        self.came = Instant::now();
        for s in 0..self.stems.len() {
            self.holds[s] = self.peak(s).max(self.holds[s] - FALL * passed);
        }
        // A request is taken before a hop begins: the second snapshot after it holds what became of it.
        self.unseen.iter_mut().for_each(|u| u.1 += 1);
        self.unseen.retain(|u| u.1 < 2);
    }

    /// Peak of a stem in dB; of the player's, as they were heard.
    pub fn peak(&self, stem: usize) -> f32 {
        let peak = match self.band.input_stem {
            Some(p) if usize::from(p) == stem => self.band.heard,
            _ => self.band.stems.get(stem).map_or(0.0, |s| s.peak),
        };
        20.0 * peak.log10()
    }

    /// A sentence for the player.
    pub fn say(&mut self, what: &str) {
        let what: String = what.trim_end().chars().filter(|c| !c.is_control()).collect();
        if !what.is_empty() && self.messages.back() != Some(&what) {
            self.messages.push_back(what);
        }
        while self.messages.len() > MESSAGES {
            self.messages.pop_front();
        }
    }

    /// Something was asked for here.
    pub fn asked(&mut self, command: &Command) {
        match command {
            // What waits goes, and what was asked before it is not to come back on the screen.
            Command::Cancel(_) | Command::Panic => self.unseen.clear(),
            Command::Tap => {}
            _ => self.unseen.push((command.clone(), 0)),
        }
    }

    /// All that waits, soonest first; what was asked for just now last.
    pub fn pending(&self) -> Vec<Pending> {
        let mut all = self.band.pending.clone();
        for (command, _) in &self.unseen {
            if !all.iter().any(|p| p.command == *command) {
                all.push(Pending { command: command.clone(), at: self.band.time });
            }
        }
        all
    }

    /// The last of what waits that `find` finds something in, else what is.
    fn intended<T>(&self, is: T, find: impl Fn(&Command) -> Option<T>) -> T {
        self.pending().iter().rev().find_map(|p| find(&p.command)).unwrap_or(is)
    }

    /// A stem as it will be when all that waits has come true.
    pub fn stem(&self, stem: usize) -> StemState {
        let mut state = self.band.stems.get(stem).copied().unwrap_or_default();
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

    /// The same of the mode.
    pub fn mode(&self) -> Mode {
        self.intended(self.band.mode, |c| if let Command::Mode(mode) = c { Some(*mode) } else { None })
    }

    /// The same of the tempo.
    pub fn tempo(&self) -> f64 {
        self.intended(self.band.tempo, |c| if let Command::Tempo(tempo) = c { Some(*tempo) } else { None })
    }

    /// The same of the click.
    pub fn click(&self) -> bool {
        self.intended(self.band.click, |c| if let Command::Click(on) = c { Some(*on) } else { None })
    }

    /// The same of the take.
    pub fn recording(&self) -> bool {
        self.intended(self.band.recording, |c| if let Command::Record(on) = c { Some(*on) } else { None })
    }

    /// The same of the text.
    pub fn text(&self) -> String {
        self.intended(self.band.text.clone(), |c| if let Command::Text { text, .. } = c { Some(text.clone()) } else { None })
    }

    /// The same of the chords.
    pub fn chords(&self) -> String {
        self.intended(self.band.chords.clone(), |c| if let Command::Chords(chords) = c { Some(chords.clone()) } else { None })
    }

    /// Play or stop waits for its boundary.
    pub fn turning(&self) -> bool {
        self.pending().iter().any(|p| matches!(p.command, Command::Play | Command::Stop))
    }

    /// What a key is for.
    pub fn which(&self) -> Which {
        self.chosen.map_or(Which::All, Which::One)
    }

    /// The chosen stems of the band; the player's own is one only where it is chosen by itself.
    pub fn meant(&self) -> Vec<usize> {
        let all = 0..self.stems.len();
        all.filter(|s| match self.chosen {
            Some(chosen) => usize::from(chosen) == *s,
            None => self.band.input_stem.map(usize::from) != Some(*s),
        })
        .collect()
    }

    /// Name of a stem.
    pub fn name(&self, stem: u8) -> &str {
        self.stems.get(usize::from(stem)).map_or("?", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(time: i64) -> Snapshot {
        Snapshot { time, stems: vec![StemState::default(); 3], input_stem: Some(0), playing: true, ..Snapshot::default() }
    }

    pub fn state() -> State {
        let stems = ["bass", "drums", "other"].map(str::to_owned);
        let mut state = State::new("house", &stems, Keymap::default());
        state.see(seen(640));
        state
    }

    #[test]
    fn what_was_asked_for_is_pending_until_it_is_seen() {
        let mut state = state();
        assert_eq!(state.chosen, Some(1), "the first stem that is not the player's");
        let mute = Command::Stem(Which::One(1), Action::Mute(true));
        state.asked(&mute);
        assert!(state.stem(1).mute && !state.band.stems[1].mute);
        assert_eq!(state.pending().len(), 1);
        // The hop that ran when it was asked shows nothing of it; and the same snapshot twice is one.
        state.see(seen(1280));
        state.see(seen(1280));
        assert_eq!(state.pending().len(), 1);
        let mut after = seen(1920);
        after.pending.push(Pending { command: mute, at: 64_000 });
        state.see(after);
        assert_eq!((state.pending().len(), state.pending()[0].at), (1, 64_000));
        state.see(seen(2560));
        assert!(state.pending().is_empty() && !state.stem(1).mute);
    }

    #[test]
    fn messages_are_few_and_clean() {
        let mut state = state();
        state.say("a\x1b[31mb\n");
        state.say("a[31mb");
        assert_eq!(state.messages, ["a[31mb"]);
        (0..200).for_each(|n| state.say(&n.to_string()));
        assert_eq!((state.messages.len(), state.messages.back().map(String::as_str)), (MESSAGES, Some("199")));
    }

    #[test]
    fn a_peak_is_held_and_falls() {
        let mut state = state();
        let mut loud = seen(1280);
        (loud.stems[1].peak, loud.heard) = (1.0, 0.1);
        state.see(loud);
        assert!(state.holds[1] == 0.0 && (state.holds[0] + 20.0).abs() < 1e-4, "{:?}", state.holds);
        state.see(seen(1920));
        assert!(state.holds[1] > -10.0 && state.peak(1) == f32::NEG_INFINITY);
    }
}
