//! Applies requests when they are due: to the next samples that a hop gives, or to the next frame that is
//! decided.

use sideman_kernels::Backend;

use super::notice::Notice;
use super::schedule::{Entry, Target};
use super::session::Session;
use super::song::{Song, frame, part, sample};
use super::stem::{Stem, Stems};
use super::timeline::Boundary;
use super::{Action, Clock, Command, Mode, Which};
use crate::limits::TEMPO;
use crate::task::by_ear;
use crate::task::tonic;

impl<B: Backend> Session<B> {
    /// Applies what is due on the samples before `t`.
    pub(super) fn apply_immediate(&mut self, t: i64) {
        while let Some(entry) = self.song.schedule.take_due(Target::Samples, t) {
            match entry.request.command {
                Command::Dim(db) => self.song.stems.dim = db,
                Command::Room(amount) => self.song.stems.room = amount,
                Command::Click(on) => self.song.metronome.on = on,
                Command::Panic => self.panic(),
                Command::Stem(which, action) => self.song.stems.of(which).for_each(|(_, stem)| stem.set_mix(action)),
                // Not for the next samples (`schedule::target`).
                Command::Play
                | Command::Stop
                | Command::CountIn(_)
                | Command::Tempo(_)
                | Command::Tap
                | Command::Half
                | Command::Double
                | Command::One
                | Command::Meter(_)
                | Command::Clock(_)
                | Command::Text { .. }
                | Command::Chords(_)
                | Command::Key(_)
                | Command::InputStem(_)
                | Command::Mode(_)
                | Command::LoopBars(_)
                | Command::Lag(_)
                | Command::Hop(_)
                | Command::Temperature(_)
                | Command::TopK(_)
                | Command::TopP(_)
                | Command::Cfg(_)
                | Command::Seed(_)
                | Command::Section(_)
                | Command::Fill
                | Command::Cancel(_)
                | Command::Record(_)
                | Command::Keep(_)
                | Command::Learn(_)
                | Command::Guided(_)
                | Command::Rest(_) => {}
            }
            self.song.schedule.retire(entry);
        }
    }

    /// Lets the model rest while the band plays: its stems are silent, clock and requests go on. Afterwards it comes in at the
    /// first bar line for which a window can be primed.
    fn rest(&mut self, rest: bool) {
        // A band that is about to start has no music that could be late.
        if rest && self.model_state.current.is_some() {
            self.stop_priming();
            self.model_state.current = None;
            self.song.transport.resume = true;
        }
        self.song.transport.resting = rest;
    }

    /// Silences the band at once and cancels all requests. The clock goes on.
    fn panic(&mut self) {
        self.song.schedule.cancel(None);
        self.stop_priming();
        self.model_state.current = None;
        let song = &mut self.song;
        song.ear_clock.stop();
        let transport = &mut song.transport;
        (transport.start_at, transport.playing, transport.resume) = (None, false, false);
        transport.count_in_span = (0, 0);
        (song.stems.from, song.stems.to) = (i64::MAX, i64::MAX);
        let f = song.front;
        song.stems.stem.iter_mut().for_each(|stem| stem.release(f));
        if song.arrangement.mode == Mode::Loop {
            song.arrangement.mode = Mode::Follow;
        }
    }

    /// Applies what is due on frame `f`.
    pub(super) fn apply_due(&mut self, backend: &mut B, f: i64) {
        while let Some(mut entry) = self.song.schedule.take_due(Target::Frames, sample(f + 1)) {
            self.apply(backend, f, &mut entry);
            self.song.anchor_loops(f);
            self.song.schedule.retire(entry);
        }
    }

    fn apply(&mut self, backend: &mut B, f: i64, entry: &mut Entry) {
        let at = entry.at.max(sample(f));
        let song = &mut self.song;
        match &mut entry.request.command {
            Command::Play => self.play(at),
            Command::Stop => self.stop(f),
            Command::CountIn(bars) => song.transport.count_in = *bars,
            Command::LoopBars(bars) => song.arrangement.loop_bars = *bars,
            Command::Lag(lag) => song.input.lag = *lag as usize,
            Command::Clock(clock) => {
                song.transport.clock = *clock;
                song.ear_clock.stop();
                if *clock == Clock::Ear && song.transport.playing {
                    song.ear_clock.start(song.timeline.next(at, Boundary::Beat), &song.timeline);
                }
            }
            Command::Tempo(tempo) if (*tempo * 1e6).round() != (song.timeline.tempo(at) * 1e6).round() => {
                song.timeline.set_tempo(at, *tempo);
                song.ear_clock.set_by_hand();
                song.ear_clock.restart(at, &song.timeline);
                self.clock_changed(f);
            }
            Command::Half | Command::Double => {
                let factor = if entry.request.command == Command::Half { 0.5 } else { 2.0 };
                let tempo = song.timeline.tempo(at) * factor;
                if TEMPO.contains(tempo) {
                    song.timeline.set_tempo(at, tempo);
                    song.ear_clock.restart(at, &song.timeline);
                    self.clock_changed(f);
                } else {
                    song.notify(Notice::TempoLimit);
                }
            }
            Command::One => {
                let bar = song.timeline.position(at - 1).bar + 1;
                song.timeline.start_bar(at, bar);
                self.clock_changed(f);
            }
            Command::Meter(meter) if *meter != song.timeline.meter(at) => {
                song.timeline.set_meter(at, *meter);
                song.ear_clock.restart(at, &song.timeline);
                self.clock_changed(f);
            }
            Command::Key(key) => song.set_key(key),
            Command::Chords(chart) => {
                let bar = song.timeline.position(at).bar;
                // The previous chords go into the entry: a hop frees nothing, the next request frees them.
                entry.chords = song.timeline.set_chords(entry.chords.take(), bar);
                song.ear.chords = by_ear(chart.text());
                std::mem::swap(&mut song.arrangement.chart, chart);
                song.schedule.move_sections(&song.timeline, at);
            }
            Command::Section(name) => song.go_to_section(name.trim(), at),
            Command::Temperature(t) => song.sampling.params.temperature = *t,
            Command::TopK(k) => song.sampling.params.top_k = *k,
            Command::TopP(p) => song.sampling.params.top_p = *p,
            Command::Cfg(scale) => song.sampling.params.cfg = *scale,
            Command::Guided(on) => {
                song.sampling.guided = *on;
                if !*on {
                    self.model_state.stop_guidance();
                }
            }
            Command::Rest(rest) => self.rest(*rest),
            Command::Seed(seed) => {
                song.sampling.params.seed = *seed;
                self.update_seed(backend);
            }
            Command::Fill => {
                // Up to the next bar line; where less than a beat is left, up to the one after.
                let soon = song.timeline.next(at + 1, Boundary::Beat);
                song.sampling.fill_until = frame(song.timeline.next(soon + 1, Boundary::Bar));
            }
            Command::InputStem(input_stem) => {
                song.set_input_stem(*input_stem);
                song.update_audible(f);
            }
            Command::Mode(mode) => {
                song.set_mode(*mode, f);
                if self.model_state.current.is_none() {
                    song.update_audible(f);
                }
            }
            Command::Stem(which, Action::Freeze(bars)) => song.freeze(*which, *bars, f),
            Command::Stem(which, Action::Undo) => song.undo(*which, f),
            Command::Stem(which, Action::Redo) => song.redo(*which, f),
            // The tempo is as requested already.
            Command::Tempo(_) => song.ear_clock.set_by_hand(),
            // So is the meter; a cancel has been carried out.
            Command::Meter(_) | Command::Cancel(_) => {}
            // Not for the next frames (`schedule::target`).
            Command::Stem(_, Action::Gain(_) | Action::Pan(_) | Action::Mute(_) | Action::Solo(_) | Action::Regen)
            | Command::Tap
            | Command::Text { .. }
            | Command::Hop(_)
            | Command::Dim(_)
            | Command::Room(_)
            | Command::Click(_)
            | Command::Panic
            | Command::Record(_)
            | Command::Keep(_)
            | Command::Learn(_) => {}
        }
        if matches!(
            entry.request.command,
            Command::Temperature(_) | Command::TopK(_) | Command::TopP(_) | Command::Cfg(_) | Command::Fill
        ) {
            self.update_sampling(backend);
        }
    }

    /// Starts the band: the count-in begins at sample `at`, and bar 1 after it.
    fn play(&mut self, at: i64) {
        let song = &mut self.song;
        let count_in = song.transport.count_in;
        song.timeline.start_bar(at, 1 - i64::from(count_in));
        let mut bar1 = at;
        for _ in 0..count_in {
            bar1 = song.timeline.next(bar1 + 1, Boundary::Bar);
        }
        song.timeline.restart_chords(1);
        song.transport.count_in_span = (at, bar1);
        if song.transport.clock == Clock::Ear {
            song.ear_clock.start(bar1, &song.timeline);
        }
        song.transport.playing = true;
        (song.stems.from, song.stems.to) = (frame(bar1), i64::MAX);
        song.transport.start_at = Some(frame(bar1));
        self.stop_priming();
        // A window that was still ending is not the one that starts.
        self.model_state.current = None;
        let song = &mut self.song;
        song.schedule.move_boundaries(&song.timeline, at + 1);
        for stem in &mut song.stems.stem {
            stem.release(song.front);
            stem.clear_undo();
        }
    }

    /// Stops the band at frame `f`.
    fn stop(&mut self, f: i64) {
        self.stop_priming();
        let song = &mut self.song;
        (song.transport.playing, song.transport.start_at) = (false, None);
        song.ear_clock.stop();
        if f < song.stems.from {
            song.stems.from = i64::MAX;
        }
        song.stems.to = f;
        song.transport.count_in_span = (0, 0);
        // Nothing needs a window any more.
        let windows = |e: &&mut Entry| e.target == Target::Window;
        song.schedule.pending_mut().iter_mut().filter(windows).for_each(|e| e.target = Target::Frames);
    }

    /// Moves everything that waits for a boundary after tempo or meter has changed at frame `f`.
    fn clock_changed(&mut self, f: i64) {
        let Session { song, model_state } = self;
        song.schedule.move_boundaries(&song.timeline, sample(f));
        if song.transport.playing && f < song.stems.from {
            let mut bar1 = song.timeline.next(sample(f), Boundary::Bar);
            while song.timeline.position(bar1).bar < 1 {
                bar1 = song.timeline.next(bar1 + 1, Boundary::Bar);
            }
            song.transport.count_in_span.1 = bar1;
            song.stems.from = frame(bar1);
            song.transport.start_at = Some(frame(bar1));
            model_state.next = None;
        } else if let (Some(next), Some(current)) = (&mut model_state.next, model_state.current) {
            let end = sample(model_state.windows[current].end());
            let at = song.timeline.next(sample(next.ready.max(f + 1)), Boundary::Bar);
            let at = if song.transport.clock == Clock::Free { end } else { at.min(end) };
            next.swap = frame(at);
            song.schedule.pending_mut().iter_mut().filter(|e| e.primed).for_each(|e| e.at = at);
            song.schedule.sort();
        }
        song.fit_loops(f);
    }
}

impl Song {
    /// Sets the stem that the musician plays.
    pub(super) fn set_input_stem(&mut self, stem: Option<u8>) {
        self.input.stem = stem.map(usize::from);
        self.ear.set_part(part(self.input.stem.and_then(|stem| self.setup.config.stems.get(stem))));
    }

    /// Sets the key. Transposes the chords to it, if both keys are known.
    fn set_key(&mut self, key: &mut String) {
        if let (Some(old), Some(new)) = (tonic(&self.arrangement.key), tonic(key)) {
            self.timeline.transpose(new - old);
        }
        // The previous key goes into the entry: a hop frees nothing, the next request frees it.
        std::mem::swap(&mut self.arrangement.key, key);
    }

    /// Goes to a section of the chart at sample `at`: by name, or, if it is empty, to the next one. A chart
    /// without section names starts again.
    fn go_to_section(&mut self, name: &str, at: i64) {
        let bar = self.timeline.position(at).bar;
        let target = match self.timeline.chords() {
            None => name.is_empty().then_some(0),
            Some(chords) if !name.is_empty() => chords.find_section(name),
            Some(chords) => {
                // At the end of a section, the next one is the one that would start there.
                let next = self.timeline.section(at - 1).map_or(0, |(i, _, _)| i + 1);
                Some(chords.section_start(next).unwrap_or(0))
            }
        };
        match target {
            Some(chart_bar) => self.timeline.jump(bar, chart_bar),
            None => self.notify(Notice::SectionGone),
        }
        self.schedule.move_sections(&self.timeline, at);
    }
}

impl Stems {
    /// The stems that a command applies to, with their numbers.
    pub fn of(&mut self, which: Which) -> impl Iterator<Item = (usize, &mut Stem)> {
        let applies = move |s: &(usize, &mut Stem)| match which {
            Which::One(one) => usize::from(one) == s.0,
            Which::All => true,
        };
        self.stem.iter_mut().enumerate().filter(applies)
    }
}
