//! The recorder's thread.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, SyncSender};

use sideman_engine::atomic::AtomicDir;
use sideman_engine::audio::RATE;
use sideman_engine::model::FRAME;
use sideman_engine::{Error, Result};
use sideman_kernels::UNKNOWN;

use super::recent::RecentRows;
use super::{LostHops, RecordedHop, RecorderCommand};
use crate::event::RecordingEvent;
use crate::mailbox::MailReceiver;
use crate::slot_layout::SlotLayout;
use crate::take::{Entry, HopState, TakeInfo, TakePlace, TakeWriter};

/// What the thread owns.
pub(super) struct RecorderThread {
    info: TakeInfo,
    streams: usize,
    layout: SlotLayout,
    events: Sender<RecordingEvent>,
    /// Samples of the musician and slots of the band that have not been joined to rows yet.
    heard: VecDeque<f32>,
    slots: VecDeque<f32>,
    /// Slots before song time 0 that are still to come; no take holds them.
    skip: usize,
    /// Takes get a page.
    pages: bool,
    take: Option<TakeWriter>,
    recent: Option<RecentRows>,
    /// Requests of the last ten minutes, for a take of them.
    requests: VecDeque<Entry>,
    /// States of the last ten minutes, or, without a buffer of them, of the lead: the band is ahead of the rows.
    states: VecDeque<HopState>,
    /// Input stem of the last hop.
    input_stem: Option<u8>,
    /// Song time up to which rows were made.
    at: i64,
    /// Tokens of the last ten minutes, and the frame of the first of them.
    tokens: VecDeque<i32>,
    first_frame: i64,
    rows: Vec<f32>,
}

impl RecorderThread {
    pub(super) fn new(info: TakeInfo, streams: usize, place: Option<&Path>, pages: bool, events: Sender<RecordingEvent>) -> Self {
        let layout = SlotLayout::new(info.stems.len());
        let mut recorder = RecorderThread {
            skip: usize::try_from(-info.lead).unwrap_or(0),
            info,
            streams,
            layout,
            events,
            heard: VecDeque::new(),
            slots: VecDeque::new(),
            pages,
            take: None,
            recent: None,
            requests: VecDeque::new(),
            states: VecDeque::new(),
            input_stem: None,
            at: 0,
            tokens: VecDeque::new(),
            first_frame: 0,
            rows: Vec::new(),
        };
        if let Some(place) = place {
            match RecentRows::new(layout, place) {
                Ok(recent) => recorder.recent = Some(recent),
                Err(e) => recorder.emit(RecordingEvent::BufferLost { error: e.to_string() }),
            }
        }
        recorder
    }

    fn emit(&self, event: RecordingEvent) {
        // Nobody waits for it any more at the end of the session.
        let _ = self.events.send(event);
    }

    /// Does all commands, and closes the take. `used` takes the hops whose buffers are free again; `done` counts
    /// the commands.
    pub(super) fn run(mut self, mut commands: MailReceiver<RecorderCommand>, used: &SyncSender<RecordedHop>, done: &AtomicU64) {
        while let Some(command) = commands.wait() {
            match command {
                RecorderCommand::Hop(mut hop) => {
                    self.hop(&hop);
                    hop.clear();
                    // There are enough of them already.
                    let _ = used.try_send(hop);
                }
                RecorderCommand::Lost(lost) => self.lost(lost),
                RecorderCommand::Request(entry) => self.request(entry),
                RecorderCommand::Start(place) => self.start(&place),
                RecorderCommand::Stop => self.stop(),
                RecorderCommand::Keep(place) => match self.keep(&place) {
                    Ok((dir, samples)) => self.emit(RecordingEvent::Kept { dir, seconds: seconds(samples) }),
                    Err(e) => self.emit(RecordingEvent::NotKept { error: e.to_string() }),
                },
            }
            done.fetch_add(1, Ordering::Relaxed);
        }
        // With a negative lead the band has no slots for the musician's last samples: they get silence.
        let needed = self.heard.len() * self.layout.channels();
        self.slots.resize(self.slots.len().max(needed), 0.0);
        self.write_rows(None);
        self.stop();
    }

    fn request(&mut self, entry: Entry) {
        self.write(|take| take.event(&entry));
        if self.recent.is_some() {
            self.requests.push_back(entry);
            let from = self.at - RecentRows::SAMPLES as i64;
            while self.requests.front().is_some_and(|first| first.at < from) {
                self.requests.pop_front();
            }
        }
    }

    fn hop(&mut self, hop: &RecordedHop) {
        let channels = self.layout.channels();
        let skipped = self.skip.min(hop.slots.len() / channels);
        self.skip -= skipped;
        self.slots.extend(&hop.slots[skipped * channels..]);
        self.heard.extend(&hop.heard);
        self.input_stem = hop.input_stem;
        self.write_rows(hop.input_stem);
        self.add_tokens(&hop.tokens);
        self.write(|take| {
            take.state(&hop.state);
            Ok(())
        });
        self.states.push_back(hop.state.clone());
        let from = self.at - if self.recent.is_some() { RecentRows::SAMPLES as i64 } else { 0 };
        // The last one before that time says what was in force then.
        while self.states.get(1).is_some_and(|second| second.at <= from) {
            self.states.pop_front();
        }
    }

    /// States from song time `from` on, and the one before.
    fn states_from(&self, from: i64) -> impl Iterator<Item = &HopState> {
        let first = self.states.partition_point(|state| state.at <= from).saturating_sub(1);
        self.states.range(first..)
    }

    /// Silence, and unknown tokens, of the length of hops that were lost.
    fn lost(&mut self, mut lost: LostHops) {
        let channels = self.layout.channels();
        let skipped = self.skip.min(lost.slots / channels);
        self.skip -= skipped;
        lost.slots -= skipped * channels;
        // Piece by piece: it can be long.
        while lost != LostHops::default() {
            let piece = LostHops {
                heard: lost.heard.min(FRAME),
                slots: lost.slots.min(FRAME * channels),
                tokens: lost.tokens.min(self.streams),
            };
            self.heard.extend(std::iter::repeat_n(0.0, piece.heard));
            self.slots.extend(std::iter::repeat_n(0.0, piece.slots));
            self.write_rows(self.input_stem);
            self.add_tokens(&vec![UNKNOWN; piece.tokens]);
            lost.heard -= piece.heard;
            lost.slots -= piece.slots;
            lost.tokens -= piece.tokens;
        }
    }

    fn add_tokens(&mut self, tokens: &[i32]) {
        self.tokens.extend(tokens);
        let most = RecentRows::SAMPLES / FRAME * self.streams;
        while self.tokens.len() > most {
            self.tokens.drain(..self.streams);
            self.first_frame += 1;
        }
        self.write(|take| take.tokens(tokens));
    }

    /// Writes all rows of which both the musician's sample and the band's slot are there.
    fn write_rows(&mut self, input_stem: Option<u8>) {
        let channels = self.layout.channels();
        let n = self.heard.len().min(self.slots.len() / channels);
        let mut rows = std::mem::take(&mut self.rows);
        rows.clear();
        for (heard, slot) in self.heard.drain(..n).zip(0..n) {
            rows.push(heard);
            rows.extend(self.slots.range(slot * channels..(slot + 1) * channels));
        }
        self.slots.drain(..n * channels);
        self.at += n as i64;
        self.write(|take| take.rows(&rows, input_stem));
        if let Some(Err(e)) = self.recent.as_mut().map(|recent| recent.add(&rows, input_stem)) {
            self.recent = None;
            self.emit(RecordingEvent::BufferLost { error: e.to_string() });
        }
        self.rows = rows;
    }

    /// Writes to the take, if there is one. Where that fails the take ends, and the session goes on.
    fn write(&mut self, what: impl FnOnce(&mut TakeWriter) -> Result<()>) {
        if let Some(take) = &mut self.take
            && let Err(e) = what(take)
        {
            let (dir, error) = (take.dir().to_owned(), e.to_string());
            let samples = self.take.take().map_or(0, |take| take.end_early(&error));
            self.emit(RecordingEvent::Stopped { dir, seconds: seconds(samples), error });
        }
    }

    fn start(&mut self, place: &TakePlace) {
        self.stop();
        let info = TakeInfo { from: self.at, ..self.info.clone() };
        match place.create().and_then(|dir| TakeWriter::create(&dir, &info, self.streams, self.pages)) {
            Ok(take) => {
                self.emit(RecordingEvent::Started { dir: take.dir().to_owned(), at: self.at });
                self.take = Some(take);
            }
            Err(e) => return self.emit(RecordingEvent::NotStarted { error: e.to_string() }),
        }
        // The frames that were decided ahead belong to the take.
        let tokens = self.tokens_from(self.at);
        self.write(|take| take.tokens(&tokens));
        if let Some(mut take) = self.take.take() {
            self.states_from(self.at).for_each(|state| take.state(state));
            self.take = Some(take);
        }
    }

    fn stop(&mut self) {
        let Some(take) = self.take.take() else { return };
        let seconds = seconds(take.samples());
        match take.finish() {
            Ok(dir) => self.emit(RecordingEvent::Finished { dir, seconds }),
            Err(e) => self.emit(RecordingEvent::NotClosed { error: e.to_string() }),
        }
    }

    /// Makes a take of the last minutes; returns its folder and its length in samples.
    fn keep(&mut self, place: &TakePlace) -> Result<(PathBuf, u64)> {
        let Some(recent) = &self.recent else {
            return Err(Error::Input("this session does not buffer them".into()));
        };
        let from = self.at - recent.samples() as i64;
        // The empty folder holds the name until the take is complete.
        let dir = place.create()?;
        let written = || -> Result<u64> {
            let files = AtomicDir::create_or_merge(&dir)?;
            let info = TakeInfo { from, ..self.info.clone() };
            let mut take = TakeWriter::create(files.temporary(), &info, self.streams, self.pages)?;
            self.states_from(from).for_each(|state| take.state(state));
            recent.read(|rows, input_stem| take.rows(rows, input_stem))?;
            self.requests.iter().filter(|e| e.at >= from).try_for_each(|e| take.event(e))?;
            take.tokens(&self.tokens_from(from))?;
            let samples = take.samples();
            take.finish()?;
            files.commit()?;
            Ok(samples)
        };
        let result = written();
        if result.is_err() {
            // It goes only if it is empty.
            let _ = std::fs::remove_dir(&dir);
        }
        result.map(|samples| (dir, samples))
    }

    /// Tokens from song time `from` on.
    fn tokens_from(&self, from: i64) -> Vec<i32> {
        let skip = (from / FRAME as i64 - self.first_frame).max(0) as usize * self.streams;
        self.tokens.iter().skip(skip).copied().collect()
    }
}

fn seconds(samples: u64) -> f64 {
    samples as f64 / f64::from(RATE)
}
