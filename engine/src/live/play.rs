//! Frame by frame: what a session decides, when it primes the next window, and when it changes over.

use sideman_kernels::{Backend, Sampling};

use super::schedule::Class;
use super::session::Session;
use super::timeline::Boundary;
use super::token_history::pass;
use super::window::{Role, Score};
use super::{Action, Clock, Command, Mode, Which};
use crate::error::Result;
use crate::model::FRAME;
use crate::model::Model;

/// Known columns of the next window that are fed beside one frame of the present one; one that has to be drawn counts as four.
const WORK: usize = 8;
/// A model that anticipates is told the truth every so many frames of the song: each time costs as many steps as it is ahead.
const CADENCE: i64 = 4;

/// A window that is primed.
pub(super) struct Next {
    /// Which.
    index: usize,
    /// Frame at which it takes over.
    swap: i64,
    /// First frame at which it can.
    ready: i64,
    /// It has no history: the band starts.
    fresh: bool,
}

pub(super) fn frame(t: i64) -> i64 {
    t.div_euclid(FRAME as i64)
}

pub(super) fn sample(f: i64) -> i64 {
    f * FRAME as i64
}

/// What columns are filled from, borrowed field by field.
macro_rules! score {
    ($session:expr, $known:expr) => {
        Score {
            history: &$session.history,
            stems: &$session.stems,
            timeline: &$session.timeline,
            clocked: $session.clock != Clock::Free,
            known: $known,
        }
    };
}

impl<B: Backend> Session<B> {
    /// Decides the next frame of undelayed streams, and those that are due of the others.
    pub(super) fn tick(&mut self, backend: &mut B, model: &Model<B>) -> Result<()> {
        let f = self.front;
        self.apply_due(backend, f);
        if self.fill_to > i64::MIN && f >= self.fill_to {
            self.fill_to = i64::MIN;
            self.resample(backend);
        }
        self.postpone(f);
        self.plan(backend, f)?;
        if self.next.as_ref().is_some_and(|next| f >= next.swap) {
            self.swap(backend, model, f)?;
        }
        self.keep_heard();
        if let Some(main) = self.main {
            let window = &mut self.windows[main];
            let mut known = (self.n - self.ahead).max(0);
            if !self.lagged {
                if self.n % CADENCE == 0 && known > self.let_in {
                    window.correct(backend, model, score!(self, known), self.let_in)?;
                    self.let_in = known;
                }
                known = self.let_in;
            }
            window.advance(backend, model, score!(self, known))?;
            window.commit(backend, &mut self.history, &mut self.stems);
            // The delayed streams have ended, too.
            if f >= self.stems.to.saturating_add(self.longest_delay()) {
                self.main = None;
            }
        } else {
            self.keep_silent(f + 1);
        }
        self.front = f + 1;
        self.prime(backend, model, WORK)?;
        self.gather();
        Ok(())
    }

    fn longest_delay(&self) -> i64 {
        self.history.delays.iter().copied().max().unwrap_or(0) as i64
    }

    /// Who plays what at present.
    fn present(&self) -> Role {
        self.main.map_or_else(|| self.role(), |main| self.windows[main].role)
    }

    /// The player's stem of the song is what was heard.
    fn keep_heard(&mut self) {
        let Some(input_stem) = self.present().input_stem else { return };
        let known = self.known();
        for level in 0..self.history.streams[input_stem].len() {
            let k = self.history.streams[input_stem][level];
            while self.history.made_to[k] < known {
                let token = self.history.heard(k, self.history.made_to[k]);
                self.history.make(k, token);
            }
        }
    }

    /// The band's stems are silent up to frame `to`, each stream less its delay.
    fn keep_silent(&mut self, to: i64) {
        let input_stem = self.present().input_stem;
        for k in 0..self.history.delays.len() {
            while input_stem != Some(self.history.stem_of[k]) && self.history.made_to[k] < to - self.history.delays[k] as i64 {
                self.history.make(k, self.history.silence[k]);
            }
        }
    }

    /// Ticks that priming takes.
    pub(super) fn need(&self, fresh: bool, redraw: bool) -> i64 {
        let (history, cost) = match (fresh, redraw) {
            (true, _) => (0, 1),
            (_, true) => (self.shape.history / 2, 4),
            _ => (self.shape.history, 1),
        };
        (self.shape.prefix.div_ceil(WORK) + (history * cost).div_ceil(WORK) + 2) as i64
    }

    /// Begins to prime a window when it is time to.
    pub(super) fn plan(&mut self, backend: &mut B, f: i64) -> Result<()> {
        if self.next.is_some() {
            return Ok(());
        }
        if let Some(start) = self.fresh {
            return self.ready(backend, f, start, start, true);
        }
        if self.main.is_none() && self.resume && self.stems.plays(f) {
            let earliest = sample(f + self.need(false, false));
            let bar = self.clock != Clock::Free;
            let at = if bar { self.timeline.next(earliest, Boundary::Bar) } else { earliest };
            return self.ready(backend, f, frame(at), at, false);
        }
        let Some(main) = self.main.filter(|_| self.stems.plays(f)) else { return Ok(()) };
        let end = self.windows[main].end();
        if let Some(at) = self.wished(f).filter(|&at| frame(at) <= end) {
            // As late as can be: who asks for more until then gets it with the same window.
            let redraw = self.redraws(at) != 0;
            let need = self.need(false, redraw);
            return if f + need >= frame(at) { self.ready(backend, f, frame(at), at, false) } else { Ok(()) };
        }
        let earliest = f + self.need(false, false);
        let (num, den) = self.timeline.bar_len(sample(f));
        let bar = (num / den / FRAME as i128) as i64 + 2;
        if self.clock != Clock::Free && earliest + bar < end {
            return Ok(());
        }
        let last = |line| self.timeline.last(sample(earliest) - 1, sample(end + 1) - 1, line);
        let bars = if self.clock == Clock::Free { None } else { last(Boundary::Bar).or_else(|| last(Boundary::Beat)) };
        let at = bars.unwrap_or(sample(end));
        if earliest >= frame(at) { self.ready(backend, f, frame(at), at, false) } else { Ok(()) }
    }

    /// Wishes whose line has gone by while they waited for a window wait for a later one.
    fn postpone(&mut self, f: i64) {
        let late = |e: &super::schedule::Entry| e.class == Class::Window && !e.taken && e.at < sample(f + 1);
        if !self.schedule.all().iter().any(late) {
            return;
        }
        let from = self.next.as_ref().map_or(f + 1, |next| next.swap + self.need(false, false)).max(f + 1);
        for entry in self.schedule.all().iter_mut().filter(|e| late(e)) {
            entry.at = entry.line.map_or(sample(from), |line| self.timeline.next(sample(from), line));
        }
        self.schedule.resort();
    }

    /// Song time at which the soonest of the wishes that need a window can come true, if there are any.
    fn wished(&mut self, f: i64) -> Option<i64> {
        let wish = self.schedule.all().iter().find(|e| e.class == Class::Window)?;
        let (line, at) = (wish.line, wish.at);
        let redraw = self.redraws(at) != 0;
        let earliest = at.max(sample(f + self.need(false, redraw)));
        let at = line.map_or(earliest, |line| self.timeline.next(earliest, line));
        let waits = |e: &&mut super::schedule::Entry| e.class == Class::Window && e.at < at;
        self.schedule.all().iter_mut().filter(waits).for_each(|e| e.at = at);
        self.schedule.resort();
        Some(at)
    }

    /// Stems that are to be made anew by sample `at`, as bits.
    fn redraws(&mut self, at: i64) -> u64 {
        let input_stem = self.present().input_stem;
        let mut bits = 0;
        for entry in self.schedule.all().iter().filter(|e| e.class == Class::Window && e.at <= at) {
            match entry.request.command {
                Command::Stem(Which::One(s), Action::Regen) => bits |= 1 << s,
                Command::Stem(Which::All, Action::Regen) => bits |= (1 << self.stems.stem.len()) - 1,
                _ => {}
            }
        }
        input_stem.map_or(bits, |p| bits & !(1 << p))
    }

    /// Begins to prime a window that takes over at frame `swap` (sample `at`).
    fn ready(&mut self, backend: &mut B, f: i64, swap: i64, at: i64, fresh: bool) -> Result<()> {
        let redraw = if fresh { 0 } else { self.redraws(at) };
        let (mut input_stem, mut mode) = (self.input_stem, self.mode);
        for entry in self.schedule.all().iter_mut().filter(|e| e.class == Class::Window && e.at <= at && !fresh) {
            entry.taken = true;
            entry.at = at;
            match entry.request.command {
                Command::InputStem(p) => input_stem = p.map(usize::from),
                Command::Mode(m) => mode = m,
                _ => {}
            }
        }
        let role = Role { input_stem: input_stem.filter(|_| mode != Mode::Lead), lag: self.lagged.then_some(self.lag) };
        self.salt += u64::from(redraw != 0);
        let history = if redraw != 0 { self.shape.history / 2 } else { self.shape.history } as i64;
        let start = if fresh { swap } else { (swap - history).max(self.stems.from).min(swap) };
        let cut = if fresh { start } else { self.history.whole().min(self.known()) };
        let index = self.main.map_or(0, |main| 1 - main);
        let known = self.known();
        self.windows[index].reset(backend, score!(self, known), start, cut, role, redraw)?;
        let (sampling, seed) = (self.dice(), self.seed());
        self.windows[index].set_sampling(backend, &sampling, Some(seed));
        let guided = self.guided && self.leans();
        self.windows[index].run().guide(guided);
        self.next = Some(Next { index, swap, ready: f + self.need(fresh, redraw != 0), fresh });
        Ok(())
    }

    /// Goes on priming.
    pub(super) fn prime(&mut self, backend: &mut B, model: &Model<B>, work: usize) -> Result<()> {
        let Some(next) = &self.next else { return Ok(()) };
        let known = (self.n - self.ahead).max(0);
        let window = &mut self.windows[next.index];
        let mut by = next.swap;
        for (k, &delay) in self.history.delays.iter().enumerate() {
            if window.role.input_stem != Some(self.history.stem_of[k]) {
                by = by.min(self.history.made_to[k] + delay as i64);
            } else if window.role.lag.is_none() {
                by = by.min(known);
            }
        }
        let limit = if next.fresh { self.shape.prefix } else { window.column(by) };
        window.prime(backend, model, score!(self, known), limit, self.block, work)
    }

    /// The primed window takes over with frame `f`.
    fn swap(&mut self, backend: &mut B, model: &Model<B>, f: i64) -> Result<()> {
        let Some(next) = self.next.take() else { return Ok(()) };
        if next.fresh {
            // No stream of the band goes on from before the start.
            let input_stem = self.windows[next.index].role.input_stem;
            for k in 0..self.history.delays.len() {
                while input_stem != Some(self.history.stem_of[k]) && self.history.made_to[k] < f {
                    self.history.make(k, self.history.silence[k]);
                }
            }
            self.fresh = None;
        } else {
            self.keep_heard();
        }
        (self.main, self.resume) = (Some(next.index), false);
        while let Some(entry) = self.schedule.taken() {
            self.assume(&entry.request.command, f);
            self.anchor(f);
            self.schedule.keep(entry);
        }
        self.voices(f);
        let known = self.known();
        self.let_in = known;
        let window = &mut self.windows[next.index];
        while window.at() < window.column(f) {
            window.advance(backend, model, score!(self, known))?;
            window.commit(backend, &mut self.history, &mut self.stems);
        }
        self.resample(backend);
        Ok(())
    }

    /// Takes up what a window was primed for.
    pub(super) fn assume(&mut self, command: &Command, f: i64) {
        match *command {
            Command::InputStem(input_stem) => self.input_stem = input_stem.map(usize::from),
            Command::Mode(mode) => self.turn(mode, f),
            Command::Stem(which, Action::Regen) => self.regenerated(which, f),
            _ => {}
        }
    }

    /// Ends priming; what it was for waits again.
    pub(super) fn unprime(&mut self) {
        if self.next.take().is_some() {
            self.schedule.all().iter_mut().for_each(|e| e.taken = false);
        }
    }

    /// After a request was taken back for which a window is being primed.
    pub(super) fn replan(&mut self) {
        let f = self.front;
        let end = self.main.map_or(i64::MAX, |main| self.windows[main].end());
        if self.next.as_ref().is_some_and(|n| !n.fresh) && f + self.need(false, false) < end {
            self.unprime();
        }
    }

    /// The clock has changed at frame `f`: lines lie elsewhere.
    pub(super) fn retime(&mut self, f: i64) {
        self.schedule.retime(&self.timeline, sample(f));
        if self.playing && f < self.stems.from {
            let mut bar1 = self.timeline.next(sample(f), Boundary::Bar);
            while self.timeline.place(bar1).bar < 1 {
                bar1 = self.timeline.next(bar1 + 1, Boundary::Bar);
            }
            self.counted.1 = bar1;
            self.stems.from = frame(bar1);
            self.fresh = Some(frame(bar1));
            self.next = None;
        } else if let (Some(next), Some(main)) = (&mut self.next, self.main) {
            let end = sample(self.windows[main].end());
            let at = self.timeline.next(sample(next.ready.max(f + 1)), Boundary::Bar);
            let at = if self.clock == Clock::Free { end } else { at.min(end) };
            next.swap = frame(at);
            self.schedule.all().iter_mut().filter(|e| e.taken).for_each(|e| e.at = at);
            self.schedule.resort();
        }
        let mut released = false;
        for s in 0..self.stems.stem.len() {
            released |= !self.keep_phase(s, f);
        }
        if released {
            self.mode = if self.mode == Mode::Loop { Mode::Follow } else { self.mode };
            self.say("what was repeated had another tempo or meter: the band plays freely");
        }
    }

    /// After a change of the clock at frame `f`: what a stem repeats goes on, in phase from its next pass on, if its bars are nearly as long
    /// as they were (a clock that we follow is never quite still); else the stem plays freely. False: so it does.
    fn keep_phase(&mut self, s: usize, f: i64) -> bool {
        let (num, den) = self.timeline.bar_len(sample(f + 1) - 1);
        let Some(bars) = self.stems.stem[s].bars() else { return true };
        let count = i64::from(bars.bars.max(1));
        let len = (num * i128::from(count), den);
        if (pass(1, len) - bars.frames).abs() > bars.frames / 100 + 1 {
            self.stems.stem[s].release(f);
            return false;
        }
        let now = self.timeline.place(sample(f)).bar;
        let first = bars.anchor.1 + ((now - bars.anchor.1).div_euclid(count) + 1) * count;
        let mut at = self.timeline.next(sample(f), Boundary::Bar);
        while self.timeline.place(at).bar < first {
            at = self.timeline.next(at + 1, Boundary::Bar);
        }
        bars.len = len;
        bars.anchor = (frame(at) - pass(1, len), first - count);
        true
    }

    /// Bars whose repetition begins with frame `f` are in phase with the bar that begins there.
    pub(super) fn anchor(&mut self, f: i64) {
        let bar = self.timeline.place(sample(f + 1) - 1).bar;
        self.stems.stem.iter_mut().for_each(|stem| stem.anchor(f, bar));
    }

    /// The dice in force.
    fn seed(&self) -> u64 {
        self.sampling.seed ^ self.salt.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    /// Sampling parameters in force.
    fn dice(&self) -> Sampling {
        let bolder = if self.fill_to > i64::MIN && self.sampling.temperature > 0.0 { 0.3 } else { 0.0 };
        Sampling { temperature: self.sampling.temperature + bolder, ..self.sampling }
    }

    /// Tells both windows how to draw.
    pub(super) fn resample(&mut self, backend: &mut B) {
        let sampling = self.dice();
        for window in &mut self.windows {
            window.set_sampling(backend, &sampling, None);
        }
    }

    /// Other dice for all that is drawn from now on.
    pub(super) fn reseed(&mut self, backend: &mut B) {
        let (sampling, seed) = (self.dice(), self.seed());
        for window in &mut self.windows {
            window.set_sampling(backend, &sampling, Some(seed));
        }
    }
}
