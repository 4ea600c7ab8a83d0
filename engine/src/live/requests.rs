//! Requests: brought into range, put into the queue, and made true at their time.

use sideman_kernels::Backend;

use super::play::{frame, sample};
use super::schedule::{Class, Entry, class, line};
use super::session::Session;
use super::stem::Source;
use super::timeline::Boundary;
use super::token_history::{LONGEST, RING};
use super::{Action, Clamped, Command, Mode, Request, When, Which};
use crate::model::FRAME;
use crate::task::{Chords, tonic};

impl<B: Backend> Session<B> {
    /// Asks for something; between hops, and may allocate. What can't be is brought into range or refused, and
    /// [`super::Snapshot::message`] says so. Text, taps, the hop and takes are the runner's: they are left alone.
    pub fn request(&mut self, request: Request) {
        self.schedule.sweep();
        let Request { command, when, from } = request;
        let Some(command) = self.checked(command) else { return };
        let mut class = class(&command, self.mode);
        if class == Class::Window && !self.playing {
            class = Class::Score;
        }
        let mut chords = None;
        match &command {
            _ if class == Class::Elsewhere => return,
            Command::Cancel(stem) => {
                if self.schedule.cancel(*stem) {
                    self.replan();
                }
                return;
            }
            Command::Play if self.playing => return self.say("the band plays already"),
            // Who is to be still now is not to begin in a moment.
            Command::Stop if when == Some(When::Now) && !self.playing => self.schedule.withdraw(&Command::Play),
            Command::Section(name) if !name.trim().is_empty() && !self.has_section(name) => {
                let names =
                    self.timeline.chords().map(|c| c.section_names().filter(|n| !n.is_empty()).collect::<Vec<_>>().join(", "));
                return match names.filter(|names| !names.is_empty()) {
                    Some(names) => self.say(&format!("the chart has no section {}: {names}", name.trim())),
                    None => self.say("the chart has no sections: write them into the chords, like [A] Em C [B] G D"),
                };
            }
            Command::Chords(text) if !text.trim().is_empty() => match text.parse::<Chords>() {
                Ok(read) => chords = Some(read),
                Err(e) => return self.say(&e.to_string()),
            },
            _ => {}
        }
        // In a chart with names the band need not wait for the end of a section to leave it.
        let leaves = matches!(&command, Command::Section(name) if name.trim().is_empty() && self.timeline.section(sample(self.front)).is_some());
        let mut when = when.unwrap_or(if leaves { When::Bar } else { command.when() });
        if matches!(command, Command::Meter(_)) && matches!(when, When::Now | When::Beat) {
            when = When::Bar;
        }
        let line = line(when);
        let mut front = if class == Class::Fader { self.heard_to() + self.lead() } else { sample(self.front) };
        if command == Command::Play {
            // The first window must be primed by bar 1.
            let (num, den) = self.timeline.bar_len(front);
            let count_in = (i128::from(self.count_in) * num).div_euclid(den) as i64;
            front = front.max(sample(self.front + self.need(true, false) + 1) - count_in);
        }
        let at = match when {
            When::Sample(t) => front.max(t),
            _ => line.map_or(front, |line| self.timeline.next(front, line)),
        };
        let request = Request { command, when: Some(when), from };
        if !self.schedule.push(Entry { request, class, line, at, taken: false, chords }) {
            self.say("too many requests wait: this one is not taken");
        }
    }

    /// Whether the chart has a section of that name, or one that waits has.
    fn has_section(&mut self, name: &str) -> bool {
        let waits = self.schedule.all().iter().filter_map(|e| e.chords.as_ref());
        waits.chain(self.timeline.chords()).any(|chords| chords.find_section(name).is_some())
    }

    /// Says something to the player.
    pub(super) fn say(&mut self, what: &str) {
        self.message.clear();
        let room = self.message.capacity().min(what.len());
        let end = (0..=room).rev().find(|&i| what.is_char_boundary(i)).unwrap_or(0);
        self.message.push_str(&what[..end]);
    }

    /// The command with its values in range; none where there is no sense in it.
    fn checked(&mut self, mut command: Command) -> Option<Command> {
        let mut said = None;
        let stems = self.stems.stem.len();
        if let Some(clamped) = command.clamp() {
            said = Some(clamped.to_string());
        }
        match &mut command {
            Command::Key(key) if !key.trim().is_empty() && tonic(key).is_none() => {
                self.say(&format!("key \"{key}\" is not known: write it like C, F#m, Bb major or E minor"));
                return None;
            }
            Command::Lag(lag) => {
                let most = self.shape.history.saturating_sub(1 + self.history.delays.iter().max().copied().unwrap_or(0));
                let most = self.config.live.as_ref().and_then(|l| l.lags).map_or(most, |l| most.min(l[1]));
                let fitted = (*lag).clamp(self.base_lag as u32, most.max(self.base_lag) as u32);
                if fitted != *lag {
                    said = Some(Clamped { name: "lag", asked: *lag as f32, used: fitted as f32 }.to_string());
                    *lag = fitted;
                }
            }
            _ => {}
        }
        let missing = match &command {
            Command::Stem(Which::One(s), _) | Command::InputStem(Some(s)) | Command::Cancel(Some(s)) => usize::from(*s) >= stems,
            _ => false,
        };
        if missing {
            said = Some(format!("there is no such stem: the model has {}", self.config.stems.join(", ")));
        } else if let Command::Stem(Which::One(s), Action::Regen | Action::Freeze(_) | Action::Undo | Action::Redo) = &command {
            if self.role().input_stem == Some(usize::from(*s)) {
                self.say("that stem is the player's");
                return None;
            }
        } else if matches!(command, Command::InputStem(Some(_))) && stems == 1 {
            said = Some("the model has one stem: nothing is left for a band to play".into());
            self.say(&said.unwrap_or_default());
            return None;
        }
        if let Some(said) = said {
            self.say(&said);
        }
        (!missing).then_some(command)
    }

    /// Makes true what is due on the samples before `t`.
    pub(super) fn faders(&mut self, t: i64) {
        while let Some(entry) = self.schedule.due(Class::Fader, t) {
            match entry.request.command {
                Command::Dim(db) => self.dim = db,
                Command::Click(on) => self.click_on = on,
                Command::Panic => self.panic(),
                Command::Stem(which, action) => {
                    for (_, stem) in self.meant(which) {
                        match action {
                            Action::Gain(db) => stem.gain = db,
                            Action::Pan(pan) => stem.pan = pan,
                            Action::Mute(mute) => stem.mute = mute,
                            Action::Solo(solo) => stem.solo = solo,
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
            self.schedule.keep(entry);
        }
    }

    fn meant(&mut self, which: Which) -> impl Iterator<Item = (usize, &mut super::stem::Stem)> {
        let meant = move |s: &(usize, &mut super::stem::Stem)| match which {
            Which::One(one) => usize::from(one) == s.0,
            Which::All => true,
        };
        self.stems.stem.iter_mut().enumerate().filter(meant)
    }

    fn panic(&mut self) {
        self.schedule.cancel(None);
        self.unprime();
        (self.main, self.fresh, self.playing, self.resume) = (None, None, false, false);
        (self.stems.from, self.stems.to) = (i64::MAX, i64::MAX);
        self.counted = (0, 0);
        let f = self.front;
        self.stems.stem.iter_mut().for_each(|stem| stem.release(f));
        if self.mode == Mode::Loop {
            self.mode = Mode::Follow;
        }
    }

    /// Makes true what is due on frame `f`.
    pub(super) fn apply_due(&mut self, backend: &mut B, f: i64) {
        while let Some(mut entry) = self.schedule.due(Class::Score, sample(f + 1)) {
            self.apply(backend, f, &mut entry);
            self.anchor(f);
            self.schedule.keep(entry);
        }
    }

    fn apply(&mut self, backend: &mut B, f: i64, entry: &mut Entry) {
        let at = entry.at.max(sample(f));
        if let Command::Key(key) = &mut entry.request.command {
            if let (Some(old), Some(new)) = (tonic(&self.key), tonic(key)) {
                self.timeline.transpose(new - old);
            }
            // The old one leaves with the entry: nothing is freed in a hop.
            std::mem::swap(&mut self.key, key);
        }
        if let Command::Chords(chart) = &mut entry.request.command {
            let bar = self.timeline.place(at).bar;
            entry.chords = self.timeline.set_chords(entry.chords.take(), bar);
            std::mem::swap(&mut self.chart, chart);
            self.schedule.retime_sections(&self.timeline, at);
        }
        match &entry.request.command {
            Command::Play => self.play(at),
            Command::Stop => self.stop(f),
            Command::CountIn(bars) => self.count_in = *bars,
            Command::LoopBars(bars) => self.loop_bars = *bars,
            Command::Lag(lag) => self.lag = *lag as usize,
            Command::Clock(clock) => self.clock = *clock,
            Command::Tempo(tempo) if (tempo * 1e6).round() != (self.timeline.tempo(at) * 1e6).round() => {
                self.timeline.set_tempo(at, *tempo);
                self.retime(f);
            }
            Command::Meter(meter) if *meter != self.timeline.meter(at) => {
                self.timeline.set_meter(at, *meter);
                self.retime(f);
            }
            Command::Section(name) => {
                let bar = self.timeline.place(at).bar;
                match self.section(name.trim(), at) {
                    Some(of) => self.timeline.go(bar, of),
                    None => self.say("the chart that plays has no section of that name"),
                }
                self.schedule.retime_sections(&self.timeline, at);
            }
            Command::Temperature(t) => self.sampling.temperature = *t,
            Command::TopK(k) => self.sampling.top_k = *k,
            Command::TopP(p) => self.sampling.top_p = *p,
            Command::Cfg(cfg) => self.sampling.cfg = *cfg,
            Command::Guided(on) => {
                self.guided = *on;
                if !on {
                    self.windows.iter_mut().for_each(|w| w.run().guide(false));
                }
            }
            Command::Seed(seed) => {
                self.sampling.seed = *seed;
                self.reseed(backend);
            }
            Command::Fill => {
                // Into the next bar; where less than a beat is left, through that bar, too.
                let soon = self.timeline.next(at + 1, Boundary::Beat);
                self.fill_to = frame(self.timeline.next(soon + 1, Boundary::Bar));
            }
            Command::InputStem(input_stem) => {
                self.input_stem = input_stem.map(usize::from);
                self.voices(f);
            }
            Command::Mode(mode) => {
                let mode = *mode;
                self.turn(mode, f);
                if self.main.is_none() {
                    self.voices(f);
                }
            }
            Command::Stem(which, action) => self.act(*which, *action, f),
            _ => {}
        }
        if matches!(
            entry.request.command,
            Command::Temperature(_) | Command::TopK(_) | Command::TopP(_) | Command::Cfg(_) | Command::Fill
        ) {
            self.resample(backend);
        }
    }

    /// The chart's bar that a section begins with, asked for at sample `at`: by name, or the next one. A chart without names begins anew.
    fn section(&self, name: &str, at: i64) -> Option<i64> {
        let Some(chords) = self.timeline.chords() else { return name.is_empty().then_some(0) };
        if !name.is_empty() {
            return chords.find_section(name);
        }
        // At the end of a section the next one is that which would begin there.
        let next = self.timeline.section(at - 1).map_or(0, |(i, _, _)| i + 1);
        Some(chords.section_start(next).unwrap_or(0))
    }

    /// Bar 1 a count-in after sample `at`.
    fn play(&mut self, at: i64) {
        self.timeline.rephase(at, 1 - i64::from(self.count_in));
        let mut bar1 = at;
        for _ in 0..self.count_in {
            bar1 = self.timeline.next(bar1 + 1, Boundary::Bar);
        }
        self.timeline.restart_chords(1);
        self.counted = (at, bar1);
        self.playing = true;
        (self.stems.from, self.stems.to) = (frame(bar1), i64::MAX);
        self.fresh = Some(frame(bar1));
        self.unprime();
        // A window that was still ending is not the one that starts.
        self.main = None;
        self.schedule.retime(&self.timeline, at + 1);
        let f = self.front;
        for stem in &mut self.stems.stem {
            stem.release(f);
            stem.forget();
        }
    }

    fn stop(&mut self, f: i64) {
        self.unprime();
        (self.playing, self.fresh) = (false, None);
        if f < self.stems.from {
            self.stems.from = i64::MAX;
        }
        self.stems.to = f;
        self.counted = (0, 0);
        // Nothing needs a window any more.
        self.schedule.all().iter_mut().filter(|e| e.class == Class::Window).for_each(|e| e.class = Class::Score);
    }

    /// Bars before frame `f` that can be repeated, `bars` of them at most, and the length of that many in samples.
    fn bars(&self, f: i64, bars: u32) -> Option<(u32, (i128, i128))> {
        let (num, den) = self.timeline.bar_len(sample(f));
        let there = (f - self.stems.from.max(0)).min(LONGEST - 1).min(RING - 64);
        // Half a frame is what rounding may take.
        let whole = ((2 * i128::from(there) + 1) * FRAME as i128 * den / (2 * num)).min(i128::from(bars));
        (whole > 0).then_some((whole as u32, (whole * num, den)))
    }

    fn act(&mut self, which: Which, action: Action, f: i64) {
        let input_stem = self.role().input_stem;
        for s in 0..self.stems.stem.len() {
            if Which::One(s as u8) != which && which != Which::All || input_stem == Some(s) {
                continue;
            }
            let mut done = true;
            match action {
                Action::Freeze(0) => {
                    let now = self.stems.stem[s].now();
                    if now != Source::Free {
                        self.stems.stem[s].act(f, now, Source::Free);
                    }
                }
                Action::Freeze(bars) => match self.bars(f, bars).filter(|_| self.stems.plays(f)) {
                    Some((some, len)) => {
                        let stem = &mut self.stems.stem[s];
                        let (now, kept) = (stem.now(), stem.keep(&self.history, s, f, some, len));
                        stem.act(f, now, kept);
                        if some < bars {
                            self.say("fewer bars than asked for have been played: those are repeated");
                        }
                    }
                    None => self.say("there is no bar yet to repeat"),
                },
                Action::Undo => done = self.stems.stem[s].undo(f),
                Action::Redo => done = self.stems.stem[s].redo(f),
                _ => {}
            }
            if !done && which != Which::All {
                self.say(if action == Action::Undo { "there is nothing to undo" } else { "there is nothing to redo" });
            }
        }
    }

    /// A stem is made anew from frame `f` on: what it played before can be had back.
    pub(super) fn regenerated(&mut self, which: Which, f: i64) {
        let input_stem = self.role().input_stem;
        for s in 0..self.stems.stem.len() {
            if Which::One(s as u8) != which && which != Which::All || input_stem == Some(s) {
                continue;
            }
            let kept = self.bars(f, self.loop_bars);
            let stem = &mut self.stems.stem[s];
            let before = match (stem.now(), kept) {
                (Source::Free, Some((bars, len))) => stem.keep(&self.history, s, f, bars, len),
                (now, _) => now,
            };
            stem.act(f, before, Source::Free);
        }
    }

    /// Another mode from frame `f` on.
    pub(super) fn turn(&mut self, mode: Mode, f: i64) {
        if mode == self.mode {
            return;
        }
        if self.mode == Mode::Loop {
            self.stems.stem.iter_mut().for_each(|stem| stem.release_mode(f));
        }
        if mode == Mode::Loop {
            let Some((bars, len)) = self.bars(f, self.loop_bars).filter(|_| self.stems.plays(f)) else {
                return self.say("there is no bar yet to repeat");
            };
            let input_stem = self.role().input_stem;
            for (s, stem) in self.stems.stem.iter_mut().enumerate().filter(|(s, stem)| input_stem != Some(*s) && stem.free()) {
                let kept = stem.keep(&self.history, s, f, bars, len);
                stem.repeat_by_mode(f, kept);
            }
        }
        self.mode = mode;
    }
}
