//! The schedule: requests that are pending, each waiting for its boundary.

use super::timeline::{Boundary, Timeline};
use super::{Action, Command, Mode, Pending, Request, When, Which};
use crate::task::Chords;

/// The most requests that can be pending: enough for a script that sends some minutes of a piece ahead.
pub(super) const MAX_PENDING: usize = 256;

/// What a command takes effect on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// The samples that are given next.
    Samples,
    /// The frames that are decided next.
    Frames,
    /// A window that is primed for it. While the band is silent: the next frames.
    Window,
    /// Not the session: the runner handles it.
    Runner,
}

/// What a command takes effect on while the session is in `mode`.
pub(super) fn target(command: &Command, mode: Mode) -> Target {
    match command {
        Command::Stem(_, Action::Gain(_) | Action::Pan(_) | Action::Mute(_) | Action::Solo(_))
        | Command::Dim(_)
        | Command::Room(_)
        | Command::Click(_)
        | Command::Panic => Target::Samples,
        Command::InputStem(_) | Command::Stem(_, Action::Regen) => Target::Window,
        Command::Mode(m) if *m == Mode::Lead || mode == Mode::Lead => Target::Window,
        Command::Mode(_)
        | Command::Play
        | Command::Stop
        | Command::CountIn(_)
        | Command::Tempo(_)
        | Command::Half
        | Command::Double
        | Command::One
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
        | Command::Guided(_)
        | Command::Rest(_) => Target::Frames,
        Command::Text { .. } | Command::Tap | Command::Hop(_) | Command::Record(_) | Command::Keep(_) | Command::Learn(_) => {
            Target::Runner
        }
    }
}

/// A pending request.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The request.
    pub request: Request,
    /// What it takes effect on.
    pub target: Target,
    /// The boundary that it waits for; `None`: a sample.
    pub boundary: Option<Boundary>,
    /// Song time at which it takes effect.
    pub at: i64,
    /// A window is being primed for it.
    pub primed: bool,
    /// The chords of [`Command::Chords`], parsed.
    pub chords: Option<Chords>,
}

/// Pending requests, soonest first. Of two at the same time, the one that was requested first comes first.
#[derive(Default)]
pub(super) struct Schedule {
    entries: Vec<Entry>,
    /// Entries that are done. A hop frees nothing: the next request does.
    retired: Vec<Entry>,
}

impl Schedule {
    pub fn new() -> Self {
        Schedule { entries: Vec::with_capacity(MAX_PENDING), retired: Vec::with_capacity(2 * MAX_PENDING) }
    }

    /// Frees the entries that are done. Not to be called in a hop.
    pub fn free_retired(&mut self) {
        self.retired.clear();
    }

    /// Adds an entry. False: there is no room.
    pub fn push(&mut self, entry: Entry) -> bool {
        if self.entries.len() == MAX_PENDING {
            return false;
        }
        self.entries.push(entry);
        self.sort();
        true
    }

    /// Restores the order after times have changed. Stable, and in place.
    pub fn sort(&mut self) {
        for i in 1..self.entries.len() {
            let mut j = i;
            while j > 0 && self.entries[j - 1].at > self.entries[j].at {
                self.entries.swap(j - 1, j);
                j -= 1;
            }
        }
    }

    /// All pending entries.
    pub fn pending(&self) -> &[Entry] {
        &self.entries
    }

    /// The same. A caller that changes a time calls [`Schedule::sort`] afterwards.
    pub fn pending_mut(&mut self) -> &mut [Entry] {
        &mut self.entries
    }

    /// Takes the first entry of a target that takes effect before sample `t`. Give it to [`Schedule::retire`]
    /// afterwards.
    pub fn take_due(&mut self, target: Target, t: i64) -> Option<Entry> {
        let i = self.entries.iter().position(|e| e.target == target && e.at < t)?;
        Some(self.entries.remove(i))
    }

    /// Takes the first entry for which a window was primed.
    pub fn take_primed(&mut self) -> Option<Entry> {
        let i = self.entries.iter().position(|e| e.primed)?;
        Some(self.entries.remove(i))
    }

    /// Keeps an entry that is done until the next request frees it.
    pub fn retire(&mut self, entry: Entry) {
        if self.retired.len() < self.retired.capacity() {
            self.retired.push(entry);
        }
    }

    /// Removes all requests of a command.
    pub fn withdraw(&mut self, command: &Command) {
        while let Some(i) = self.entries.iter().position(|e| e.request.command == *command) {
            let entry = self.entries.remove(i);
            self.retire(entry);
        }
    }

    /// Removes all requests, or those for one stem. True: a window was being primed for one of them.
    pub fn cancel(&mut self, stem: Option<u8>) -> bool {
        let mut primed = false;
        let mut i = 0;
        while i < self.entries.len() {
            let applies = match (&self.entries[i].request.command, stem) {
                (_, None) => true,
                (Command::Stem(Which::One(s), _), Some(stem)) => *s == stem,
                _ => false,
            };
            if applies {
                let entry = self.entries.remove(i);
                primed |= entry.primed;
                self.retire(entry);
            } else {
                i += 1;
            }
        }
        primed
    }

    /// Moves all entries to their next boundaries from sample `front` on, after the clock has changed.
    pub fn move_boundaries(&mut self, timeline: &Timeline, front: i64) {
        for entry in &mut self.entries {
            if let Some(boundary) = entry.boundary {
                entry.at = timeline.next(front, boundary);
            }
        }
        self.sort();
    }

    /// Moves the entries that wait for a section, after the chart or the position in it has changed at sample
    /// `at`. Those that take effect with the change still do.
    pub fn move_sections(&mut self, timeline: &Timeline, at: i64) {
        for entry in self.entries.iter_mut().filter(|e| e.boundary == Some(Boundary::Section) && !e.primed && e.at > at) {
            entry.at = timeline.next(at + 1, Boundary::Section);
        }
        self.sort();
    }

    /// Writes the pending requests to `out`.
    pub fn show(&self, out: &mut Vec<Pending>) {
        out.clear();
        out.extend(self.entries.iter().map(|e| Pending { command: e.request.command.clone(), at: e.at }));
    }
}

/// The boundary that a request waits for. `None`: it waits for a sample.
pub(super) fn boundary(when: When) -> Option<Boundary> {
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
        let target = target(&command, Mode::Follow);
        Entry { target, request: Request { command, when: None, from: 0 }, boundary: None, at, primed: false, chords: None }
    }

    #[test]
    fn the_session_schedules_exactly_the_commands_it_owns() {
        let text = Command::Text { part: 0, text: String::new(), weight: 1.0 };
        let commands = [text, Command::Tap, Command::Hop(4), Command::Record(true), Command::Keep(String::new())];
        for command in
            commands.iter().chain(&[Command::Learn(String::new()), Command::Play, Command::Tempo(99.0), Command::Panic])
        {
            let owned = command.kind().spec().owner == crate::live::commands::Owner::Session;
            assert_eq!(target(command, Mode::Follow) != Target::Runner, owned, "{command:?}");
        }
    }

    #[test]
    fn pending_requests_are_sorted_by_time_and_then_by_arrival() {
        let mut schedule = Schedule::new();
        for (command, at) in
            [(Command::Temperature(1.0), 50), (Command::Seed(1), 20), (Command::Seed(2), 20), (Command::Dim(1.0), 1)]
        {
            assert!(schedule.push(entry(command, at)));
        }
        let mut pending = vec![];
        schedule.show(&mut pending);
        assert_eq!(pending.iter().map(|p| p.at).collect::<Vec<_>>(), [1, 20, 20, 50]);
        let due = |schedule: &mut Schedule, target, t| schedule.take_due(target, t).map(|e| e.request.command);
        assert_eq!(due(&mut schedule, Target::Frames, 20), None);
        assert_eq!(due(&mut schedule, Target::Frames, 21), Some(Command::Seed(1)));
        assert_eq!(due(&mut schedule, Target::Frames, 21), Some(Command::Seed(2)));
        assert_eq!(due(&mut schedule, Target::Frames, 21), None);
        assert_eq!(due(&mut schedule, Target::Samples, 21), Some(Command::Dim(1.0)));
    }

    #[test]
    fn cancel_removes_all_requests_or_those_of_one_stem() {
        let mut schedule = Schedule::new();
        schedule.push(entry(Command::Stem(Which::One(1), Action::Regen), 5));
        schedule.push(entry(Command::Stem(Which::One(2), Action::Freeze(4)), 5));
        schedule.push(entry(Command::Stop, 9));
        assert!(!schedule.cancel(Some(1)));
        assert_eq!(schedule.pending().len(), 2);
        schedule.pending_mut()[0].primed = true;
        assert!(schedule.cancel(None));
        assert!(schedule.pending().is_empty());
    }

    #[test]
    fn a_full_schedule_refuses_requests() {
        let mut schedule = Schedule::new();
        assert!((0..MAX_PENDING).all(|_| schedule.push(entry(Command::Stop, 1))));
        assert!(!schedule.push(entry(Command::Stop, 1)));
    }
}
