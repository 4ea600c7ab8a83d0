//! Requests that wait for their boundary.

use super::timeline::{Boundary, Timeline};
use super::{Action, Command, Mode, Pending, Request, When, Which};
use crate::task::Chords;

/// The most requests that wait: a piece of some minutes, asked for ahead.
pub const MOST: usize = 256;

/// When in the making of music a command takes hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// On the samples that go out next.
    Fader,
    /// On the frames that are decided next.
    Score,
    /// On a window primed for it; while the band is still, on the next frames.
    Window,
    /// Not the session's affair.
    Elsewhere,
}

pub(super) fn class(command: &Command, mode: Mode) -> Class {
    match command {
        Command::Stem(_, Action::Gain(_) | Action::Pan(_) | Action::Mute(_) | Action::Solo(_))
        | Command::Dim(_)
        | Command::Click(_)
        | Command::Panic => Class::Fader,
        Command::InputStem(_) | Command::Stem(_, Action::Regen) => Class::Window,
        Command::Mode(m) if *m == Mode::Lead || mode == Mode::Lead => Class::Window,
        Command::Mode(_)
        | Command::Play
        | Command::Stop
        | Command::CountIn(_)
        | Command::Tempo(_)
        | Command::Meter(_)
        | Command::Clock(_)
        | Command::Chords(_)
        | Command::Key(_)
        | Command::Stem(_, Action::Freeze(_) | Action::Undo | Action::Redo)
        | Command::LoopBars(_)
        | Command::Lag(_)
        | Command::Temperature(_)
        | Command::TopK(_)
        | Command::TopP(_)
        | Command::Cfg(_)
        | Command::Seed(_)
        | Command::Section(_)
        | Command::Fill
        | Command::Cancel(_)
        | Command::Guided(_) => Class::Score,
        Command::Text { .. } | Command::Tap | Command::Hop(_) | Command::Record(_) | Command::Keep(_) | Command::Learn(_) => {
            Class::Elsewhere
        }
    }
}

/// One that waits.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub request: Request,
    pub class: Class,
    /// Line of the clock that it waits for.
    pub line: Option<Boundary>,
    /// Song time at which it comes true.
    pub at: i64,
    /// A window is being primed for it.
    pub taken: bool,
    /// What [`Command::Chords`] says, read.
    pub chords: Option<Chords>,
}

/// Soonest first; of two at the same time, the one that came first.
#[derive(Default)]
pub(super) struct Schedule {
    entries: Vec<Entry>,
    /// Done with: dropped by the next request, not in a hop.
    done: Vec<Entry>,
}

impl Schedule {
    pub fn new() -> Self {
        Schedule { entries: Vec::with_capacity(MOST), done: Vec::with_capacity(2 * MOST) }
    }

    /// Drops what is done with.
    pub fn sweep(&mut self) {
        self.done.clear();
    }

    /// Adds one; false: there are too many.
    pub fn push(&mut self, entry: Entry) -> bool {
        if self.entries.len() == MOST {
            return false;
        }
        self.entries.push(entry);
        self.sort();
        true
    }

    /// Stable, in place.
    fn sort(&mut self) {
        for i in 1..self.entries.len() {
            let mut j = i;
            while j > 0 && self.entries[j - 1].at > self.entries[j].at {
                self.entries.swap(j - 1, j);
                j -= 1;
            }
        }
    }

    /// Takes the first one of a class that comes true before sample `t`. It owes itself to [`Schedule::keep`] afterwards.
    pub fn due(&mut self, class: Class, t: i64) -> Option<Entry> {
        let i = self.entries.iter().position(|e| e.class == class && e.at < t)?;
        Some(self.entries.remove(i))
    }

    /// Keeps what is done with until the next request: in a hop nothing is freed.
    pub fn keep(&mut self, entry: Entry) {
        if self.done.len() < self.done.capacity() {
            self.done.push(entry);
        }
    }

    /// All that wait.
    pub fn all(&mut self) -> &mut [Entry] {
        &mut self.entries
    }

    /// Takes the first one for which a window was primed.
    pub fn taken(&mut self) -> Option<Entry> {
        let i = self.entries.iter().position(|e| e.taken)?;
        Some(self.entries.remove(i))
    }

    /// Takes back what asks for this.
    pub fn withdraw(&mut self, command: &Command) {
        while let Some(i) = self.entries.iter().position(|e| e.request.command == *command) {
            let entry = self.entries.remove(i);
            self.keep(entry);
        }
    }

    /// Takes back everything, or what is meant for one stem. True: a window was being primed for one of them.
    pub fn cancel(&mut self, stem: Option<u8>) -> bool {
        let mut taken = false;
        let mut i = 0;
        while i < self.entries.len() {
            let meant = match (&self.entries[i].request.command, stem) {
                (_, None) => true,
                (Command::Stem(Which::One(s), _), Some(stem)) => *s == stem,
                _ => false,
            };
            if meant {
                let entry = self.entries.remove(i);
                taken |= entry.taken;
                self.keep(entry);
            } else {
                i += 1;
            }
        }
        taken
    }

    /// Finds the lines again after a change of the clock: the next ones from sample `front` on.
    pub fn retime(&mut self, timeline: &Timeline, front: i64) {
        for entry in &mut self.entries {
            if let Some(line) = entry.line {
                entry.at = timeline.next(front, line);
            }
        }
        self.sort();
    }

    /// The same for what waits for a section, after a change of the chart or of the place in it at sample `at`. What was to come true with that
    /// change still does.
    pub fn retime_sections(&mut self, timeline: &Timeline, at: i64) {
        for entry in self.entries.iter_mut().filter(|e| e.line == Some(Boundary::Section) && !e.taken && e.at > at) {
            entry.at = timeline.next(at + 1, Boundary::Section);
        }
        self.sort();
    }

    /// Puts the order right after times have been changed.
    pub fn resort(&mut self) {
        self.sort();
    }

    /// For the screen.
    pub fn pending(&self, out: &mut Vec<Pending>) {
        out.clear();
        out.extend(self.entries.iter().map(|e| Pending { command: e.request.command.clone(), at: e.at }));
    }
}

/// The line that a request waits for.
pub(super) fn line(when: When) -> Option<Boundary> {
    match when {
        When::Now | When::Sample(_) => None,
        When::Beat => Some(Boundary::Beat),
        When::Bar => Some(Boundary::Bar),
        When::Section => Some(Boundary::Section),
        When::AtBar(bar) => Some(Boundary::Numbered(bar)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(command: Command, at: i64) -> Entry {
        let class = class(&command, Mode::Follow);
        Entry { class, request: Request { command, when: None, from: 0 }, line: None, at, taken: false, chords: None }
    }

    #[test]
    fn the_session_schedules_exactly_the_commands_it_owns() {
        let text = Command::Text { part: 0, text: String::new(), weight: 1.0 };
        let commands = [text, Command::Tap, Command::Hop(4), Command::Record(true), Command::Keep(String::new())];
        for command in
            commands.iter().chain(&[Command::Learn(String::new()), Command::Play, Command::Tempo(99.0), Command::Panic])
        {
            let owned = command.kind().spec().owner == crate::live::commands::Owner::Session;
            assert_eq!(class(command, Mode::Follow) != Class::Elsewhere, owned, "{command:?}");
        }
    }

    #[test]
    fn soonest_first_and_in_the_order_they_came() {
        let mut schedule = Schedule::new();
        for (command, at) in
            [(Command::Temperature(1.0), 50), (Command::Seed(1), 20), (Command::Seed(2), 20), (Command::Dim(1.0), 1)]
        {
            assert!(schedule.push(entry(command, at)));
        }
        let mut pending = vec![];
        schedule.pending(&mut pending);
        assert_eq!(pending.iter().map(|p| p.at).collect::<Vec<_>>(), [1, 20, 20, 50]);
        let due = |schedule: &mut Schedule, class, t| schedule.due(class, t).map(|e| e.request.command);
        assert_eq!(due(&mut schedule, Class::Score, 20), None);
        assert_eq!(due(&mut schedule, Class::Score, 21), Some(Command::Seed(1)));
        assert_eq!(due(&mut schedule, Class::Score, 21), Some(Command::Seed(2)));
        assert_eq!(due(&mut schedule, Class::Score, 21), None);
        assert_eq!(due(&mut schedule, Class::Fader, 21), Some(Command::Dim(1.0)));
    }

    #[test]
    fn cancels_all_or_a_stem_s() {
        let mut schedule = Schedule::new();
        schedule.push(entry(Command::Stem(Which::One(1), Action::Regen), 5));
        schedule.push(entry(Command::Stem(Which::One(2), Action::Freeze(4)), 5));
        schedule.push(entry(Command::Stop, 9));
        assert!(!schedule.cancel(Some(1)));
        assert_eq!(schedule.all().len(), 2);
        schedule.all()[0].taken = true;
        assert!(schedule.cancel(None));
        assert!(schedule.all().is_empty());
    }

    #[test]
    fn bounded() {
        let mut schedule = Schedule::new();
        assert!((0..MOST).all(|_| schedule.push(entry(Command::Stop, 1))));
        assert!(!schedule.push(entry(Command::Stop, 1)));
    }
}
