//! What the screen shows: the newest snapshot, the commands that were sent and are not in it yet, the focus,
//! and the messages.

use std::collections::VecDeque;
use std::time::Instant;

use sideman_engine::live::{Command, Snapshot, Which};

use super::keys::Keymap;
use super::text_field::TextField;

/// Messages that are kept.
const MAX_MESSAGES: usize = 64;
/// Rate at which a held peak falls, dB per second.
const PEAK_FALL: f32 = 20.0;

/// What the next key is for.
#[derive(Debug, Clone)]
pub enum Focus {
    /// The actions of the key table.
    Session,
    /// Editing the text.
    Text(TextField),
    /// Editing the chords; the string is the error of the last attempt, or empty.
    Chords(TextField, String),
    /// Closing the help.
    Help,
    /// Answering whether to quit.
    Quit,
}

/// What the screen shows.
pub struct State {
    /// The newest snapshot.
    pub snapshot: Snapshot,
    /// When it was received.
    pub received: Instant,
    /// Names of the stems, in the model's order.
    pub stems: Vec<String>,
    /// Name of the model.
    pub model: String,
    /// The key bindings.
    pub keys: Keymap,
    /// The stem that stem keys address; `None`: all stems that the band plays.
    pub selected: Option<u8>,
    /// What the next key is for.
    pub focus: Focus,
    /// Messages, newest last.
    pub messages: VecDeque<String>,
    /// Held peak of each stem, dB.
    pub held_peaks: Vec<f32>,
    /// Commands that were sent from here and that no snapshot can show yet, with the number of snapshots
    /// received since.
    pub(super) unconfirmed: Vec<(Command, u8)>,
}

impl State {
    /// The state before the first snapshot.
    pub fn new(model: &str, stems: &[String], keys: Keymap) -> Self {
        State {
            snapshot: Snapshot::default(),
            received: Instant::now(),
            stems: stems.to_vec(),
            model: model.to_owned(),
            keys,
            selected: None,
            focus: Focus::Session,
            messages: VecDeque::new(),
            held_peaks: vec![f32::NEG_INFINITY; stems.len()],
            unconfirmed: vec![],
        }
    }

    /// Takes a snapshot. One that is not newer changes nothing.
    pub fn update(&mut self, snapshot: Snapshot) {
        // Before the first hop a snapshot has no stems.
        let first = self.snapshot.stems.is_empty();
        if snapshot.stems.is_empty() || snapshot.time == self.snapshot.time && !first {
            return;
        }
        if first {
            self.selected = (0..self.stems.len() as u8).find(|s| snapshot.input_stem != Some(*s));
        }
        let shown = self.snapshot.notice.as_ref();
        if let Some(notice) = snapshot.notice.as_ref().filter(|notice| shown != Some(*notice)) {
            self.show_message(&notice.to_string());
        }
        let elapsed = self.received.elapsed().as_secs_f32();
        self.snapshot = snapshot;
        self.received = Instant::now();
        for s in 0..self.stems.len() {
            self.held_peaks[s] = self.peak(s).max(self.held_peaks[s] - PEAK_FALL * elapsed);
        }
        // The session reads commands before a hop: the second snapshot after a command shows its effect.
        self.unconfirmed.iter_mut().for_each(|u| u.1 += 1);
        self.unconfirmed.retain(|u| u.1 < 2);
    }

    /// Peak of a stem in dB; for the input stem, that of the input.
    pub fn peak(&self, stem: usize) -> f32 {
        let peak = match self.snapshot.input_stem {
            Some(p) if usize::from(p) == stem => self.snapshot.heard,
            _ => self.snapshot.stems.get(stem).map_or(0.0, |s| s.peak),
        };
        20.0 * peak.log10()
    }

    /// Adds a message, unless it repeats the last one. Control characters are left out.
    pub fn show_message(&mut self, message: &str) {
        let message: String = message.trim_end().chars().filter(|c| !c.is_control()).collect();
        if !message.is_empty() && self.messages.back() != Some(&message) {
            self.messages.push_back(message);
        }
        while self.messages.len() > MAX_MESSAGES {
            self.messages.pop_front();
        }
    }

    /// Notes a command that was sent from here, so that it is shown as pending at once.
    pub fn sent(&mut self, command: &Command) {
        match command {
            // They discard what is pending, and what was sent before them must not reappear on the screen.
            Command::Cancel(_) | Command::Panic => self.unconfirmed.clear(),
            Command::Tap => {}
            _ => self.unconfirmed.push((command.clone(), 0)),
        }
    }

    /// The stems that stem keys address, as a command names them.
    pub fn which(&self) -> Which {
        self.selected.map_or(Which::All, Which::One)
    }

    /// The stems that stem keys address, by number. The input stem is among them only if it is selected
    /// itself.
    pub fn selected_stems(&self) -> Vec<usize> {
        let all = 0..self.stems.len();
        all.filter(|s| match self.selected {
            Some(selected) => usize::from(selected) == *s,
            None => self.snapshot.input_stem.map(usize::from) != Some(*s),
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
    use sideman_engine::live::{Action, Pending, StemState};

    use super::*;

    fn snapshot(time: i64) -> Snapshot {
        Snapshot { time, stems: vec![StemState::default(); 3], input_stem: Some(0), playing: true, ..Snapshot::default() }
    }

    fn state() -> State {
        let stems = ["bass", "drums", "other"].map(str::to_owned);
        let mut state = State::new("house", &stems, Keymap::default());
        state.update(snapshot(640));
        state
    }

    #[test]
    fn a_sent_command_is_pending_until_a_snapshot_shows_it() {
        let mut state = state();
        assert_eq!(state.selected, Some(1), "the first stem that is not the input stem");
        let mute = Command::Stem(Which::One(1), Action::Mute(true));
        state.sent(&mute);
        assert!(state.expected_stem(1).mute && !state.snapshot.stems[1].mute);
        assert_eq!(state.pending().len(), 1);
        // The hop that ran while it was sent does not show it. The same snapshot twice counts once.
        state.update(snapshot(1280));
        state.update(snapshot(1280));
        assert_eq!(state.pending().len(), 1);
        let mut after = snapshot(1920);
        after.pending.push(Pending { command: mute, at: 64_000 });
        state.update(after);
        assert_eq!((state.pending().len(), state.pending()[0].at), (1, 64_000));
        state.update(snapshot(2560));
        assert!(state.pending().is_empty() && !state.expected_stem(1).mute);
    }

    #[test]
    fn messages_are_limited_and_have_no_control_characters() {
        let mut state = state();
        state.show_message("a\x1b[31mb\n");
        state.show_message("a[31mb");
        assert_eq!(state.messages, ["a[31mb"]);
        (0..200).for_each(|n| state.show_message(&n.to_string()));
        assert_eq!((state.messages.len(), state.messages.back().map(String::as_str)), (MAX_MESSAGES, Some("199")));
    }

    #[test]
    fn a_held_peak_falls_slowly() {
        let mut state = state();
        let mut loud = snapshot(1280);
        (loud.stems[1].peak, loud.heard) = (1.0, 0.1);
        state.update(loud);
        assert!(state.held_peaks[1] == 0.0 && (state.held_peaks[0] + 20.0).abs() < 1e-4, "{:?}", state.held_peaks);
        state.update(snapshot(1920));
        assert!(state.held_peaks[1] > -10.0 && state.peak(1) == f32::NEG_INFINITY);
    }
}
