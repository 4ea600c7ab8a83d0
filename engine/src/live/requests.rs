//! Takes requests: checks them, clamps their values and puts them into the schedule.

use sideman_kernels::Backend;

use super::notice::Notice;
use super::schedule::{Entry, Target, boundary, target};
use super::session::Session;
use super::song::{Song, sample};
use super::{Action, Clamped, Command, Request, When, Which};
use crate::model::FRAME;
use crate::task::tonic;

impl<B: Backend> Session<B> {
    /// Requests a change. Call it between hops; it may allocate. A value that is out of range is clamped, and
    /// what can't be done is refused: [`super::Snapshot::notice`] says so. Commands that the runner handles
    /// (text, taps, hop, takes) are ignored.
    pub fn request(&mut self, request: Request) {
        if self.song.request(request) == Cancelled::Primed {
            self.replan();
        }
    }
}

/// What a request has cancelled.
#[derive(PartialEq)]
enum Cancelled {
    /// Nothing, or only requests that were waiting.
    Waiting,
    /// A request for which a window is being primed.
    Primed,
}

impl Song {
    fn request(&mut self, request: Request) -> Cancelled {
        self.schedule.free_retired();
        self.notices.free_replaced();
        let Request { command, when, from } = request;
        if let Command::Cancel(stem) = command {
            return match self.clamped(command) {
                Some(_) if self.schedule.cancel(stem) => Cancelled::Primed,
                _ => Cancelled::Waiting,
            };
        }
        if let Some(command) = self.clamped(command)
            && let Err(notice) = self.schedule_request(command, when, from)
        {
            self.notify(notice);
        }
        Cancelled::Waiting
    }

    /// Puts a request into the schedule.
    fn schedule_request(&mut self, command: Command, when: Option<When>, from: super::Origin) -> Result<(), Notice> {
        let mut target = target(&command, self.arrangement.mode);
        if target == Target::Window && !self.transport.playing {
            target = Target::Frames;
        }
        let mut chords = None;
        match &command {
            _ if target == Target::Runner => return Ok(()),
            Command::Play if self.accept_offer() => return Ok(()),
            Command::Play if self.transport.playing => return Err(Notice::AlreadyPlaying),
            // A stop at `When::Now` also cancels a play that is pending.
            Command::Stop if when == Some(When::Now) && !self.transport.playing => self.schedule.withdraw(&Command::Play),
            Command::Section(name) if !name.trim().is_empty() && !self.has_section(name) => {
                let names = self.timeline.chords().into_iter().flat_map(|c| c.section_names()).filter(|n| !n.is_empty());
                let sections: Vec<String> = names.map(str::to_owned).collect();
                return Err(match sections.is_empty() {
                    true => Notice::ChartWithoutSections,
                    false => Notice::UnknownSection { name: name.trim().to_owned(), sections },
                });
            }
            // They were read where they were written, on another thread.
            Command::Chords(written) => {
                chords = written.chords().map_err(|why| Notice::InvalidChords(why.to_owned()))?.cloned();
            }
            _ => {}
        }
        // If the chart has section names, the next section can begin at any bar.
        let leaves = matches!(&command, Command::Section(name) if name.trim().is_empty() && self.timeline.section(sample(self.front)).is_some());
        let mut when = when.unwrap_or(if leaves { When::Bar } else { command.when() });
        if matches!(command, Command::Meter(_)) && matches!(when, When::Now | When::Beat) {
            when = When::Bar;
        }
        let boundary = boundary(when);
        let mut front = match target {
            Target::Samples => self.heard * FRAME as i64 + self.setup.lead,
            _ => sample(self.front),
        };
        if command == Command::Play {
            // The first window must be primed by bar 1.
            let (num, den) = self.timeline.bar_len(front);
            let count_in = (i128::from(self.transport.count_in) * num).div_euclid(den) as i64;
            front = front.max(sample(self.front + self.priming_frames(true, false) + 1) - count_in);
        }
        let at = match when {
            When::Sample(t) => front.max(t),
            _ => boundary.map_or(front, |boundary| self.timeline.next(front, boundary)),
        };
        let request = Request { command, when: Some(when), from };
        let entry = Entry { request, target, boundary, at, primed: false, chords };
        if self.schedule.push(entry) { Ok(()) } else { Err(Notice::TooManyRequests) }
    }

    /// Whether the chart has a section of that name, or a pending one has.
    fn has_section(&self, name: &str) -> bool {
        let pending = self.schedule.pending().iter().filter_map(|e| e.chords.as_ref());
        pending.chain(self.timeline.chords()).any(|chords| chords.find_section(name).is_some())
    }

    /// The command with its values in range; `None` if it can't be done. Reports both.
    fn clamped(&mut self, mut command: Command) -> Option<Command> {
        let clamped = command.clamp();
        match self.refused(&command) {
            Some(notice) => {
                self.notify(notice);
                return None;
            }
            None => clamped.into_iter().for_each(|clamped| self.notify(Notice::Clamped(clamped))),
        }
        if let Command::Lag(lag) = &mut command {
            let shortest = self.setup.base_lag;
            let longest = self.setup.shape.history.saturating_sub(1 + self.setup.longest_delay());
            let trained = self.setup.config.live.as_ref().and_then(|l| l.lags).map_or(longest, |l| l[1]);
            let used = (*lag).clamp(shortest as u32, longest.min(trained).max(shortest) as u32);
            if used != *lag {
                self.notify(Notice::Clamped(Clamped { name: "lag", asked: *lag as f32, used: used as f32 }));
                *lag = used;
            }
        }
        Some(command)
    }

    /// Why a command can't be done with this model and this input stem, if it can't.
    fn refused(&self, command: &Command) -> Option<Notice> {
        let stems = &self.setup.config.stems;
        match command {
            Command::Key(key) if !key.trim().is_empty() && tonic(key).is_none() => Some(Notice::InvalidKey(key.clone())),
            Command::Stem(Which::One(s), _) | Command::InputStem(Some(s)) | Command::Cancel(Some(s))
                if usize::from(*s) >= stems.len() =>
            {
                Some(Notice::NoSuchStem { stem: *s, stems: stems.clone() })
            }
            Command::Stem(Which::One(s), Action::Regen | Action::Freeze(_) | Action::Undo | Action::Redo)
                if self.window_input().stem == Some(usize::from(*s)) =>
            {
                Some(Notice::StemIsInput)
            }
            Command::InputStem(Some(_)) if stems.len() == 1 => Some(Notice::SingleStemModel),
            _ => None,
        }
    }
}
