//! The recorder's thread.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender};

use sideman_engine::audio::RATE;
use sideman_engine::model::FRAME;
use sideman_engine::{Error, Result};

use super::recent::RecentRows;
use super::{RecordedHop, RecorderCommand};
use crate::event::RecordingEvent;
use crate::slot_layout::SlotLayout;
use crate::take::{Entry, TakeInfo, TakeWriter};

/// What the thread owns.
pub(super) struct RecorderThread {
    info: TakeInfo,
    streams: usize,
    layout: SlotLayout,
    events: SyncSender<RecordingEvent>,
    /// Samples of the musician and slots of the band that have not been joined to rows yet.
    heard: VecDeque<f32>,
    slots: VecDeque<f32>,
    /// Slots before song time 0 that are still to come; no take holds them.
    skip: usize,
    take: Option<TakeWriter>,
    recent: Option<RecentRows>,
    /// All requests of the session.
    requests: Vec<Entry>,
    /// Song time up to which rows were made.
    at: i64,
    /// Tokens of the last ten minutes, and the frame of the first of them.
    tokens: VecDeque<i32>,
    first_frame: i64,
    rows: Vec<f32>,
}

impl RecorderThread {
    pub(super) fn new(info: TakeInfo, streams: usize, keep_recent: bool, events: SyncSender<RecordingEvent>) -> Self {
        let layout = SlotLayout::new(info.stems.len());
        let mut recorder = RecorderThread {
            skip: usize::try_from(-info.lead).unwrap_or(0),
            info,
            streams,
            layout,
            events,
            heard: VecDeque::new(),
            slots: VecDeque::new(),
            take: None,
            recent: None,
            requests: Vec::new(),
            at: 0,
            tokens: VecDeque::new(),
            first_frame: 0,
            rows: Vec::new(),
        };
        if keep_recent {
            match RecentRows::new(layout) {
                Ok(recent) => recorder.recent = Some(recent),
                Err(e) => recorder.emit(RecordingEvent::BufferLost { error: e.to_string() }),
            }
        }
        recorder
    }

    fn emit(&self, event: RecordingEvent) {
        // The queue is full only if no events have been read for a long time; then the event is dropped.
        let _ = self.events.try_send(event);
    }

    pub(super) fn run(mut self, commands: &Receiver<RecorderCommand>) {
        for command in commands {
            match command {
                RecorderCommand::Hop(hop) => self.hop(hop),
                RecorderCommand::Request(entry) => {
                    self.write(|take| take.event(&entry));
                    self.requests.push(entry);
                }
                RecorderCommand::Start(dir) => self.start(&dir),
                RecorderCommand::Stop => self.stop(),
                RecorderCommand::Keep(dir) => match self.keep(&dir) {
                    Ok(samples) => self.emit(RecordingEvent::Kept { dir, seconds: seconds(samples) }),
                    Err(e) => self.emit(RecordingEvent::NotKept { error: e.to_string() }),
                },
            }
        }
        // With a negative lead the band has no slots for the musician's last samples: they get silence.
        let needed = self.heard.len() * self.layout.channels();
        self.slots.resize(self.slots.len().max(needed), 0.0);
        self.write_rows(None);
        self.stop();
    }

    fn hop(&mut self, hop: RecordedHop) {
        let channels = self.layout.channels();
        let skipped = self.skip.min(hop.slots.len() / channels);
        self.skip -= skipped;
        self.slots.extend(&hop.slots[skipped * channels..]);
        self.heard.extend(&hop.heard);
        self.write_rows(hop.input_stem);
        self.tokens.extend(&hop.tokens);
        let most = RecentRows::SAMPLES / FRAME * self.streams;
        while self.tokens.len() > most {
            self.tokens.drain(..self.streams);
            self.first_frame += 1;
        }
        self.write(|take| {
            take.tempo(hop.tempo_at, hop.tempo, hop.meter);
            take.tokens(&hop.tokens)
        });
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
            let (dir, seconds) = (take.dir().to_owned(), seconds(take.samples()));
            self.take = None;
            self.emit(RecordingEvent::Stopped { dir, seconds, error: e.to_string() });
        }
    }

    fn start(&mut self, dir: &Path) {
        self.stop();
        let info = TakeInfo { from: self.at, ..self.info.clone() };
        match TakeWriter::create(dir, &info, self.streams) {
            Ok(take) => self.take = Some(take),
            Err(e) => return self.emit(RecordingEvent::NotStarted { error: e.to_string() }),
        }
        // The frames that were decided ahead belong to the take.
        let tokens = self.tokens_from(self.at);
        self.write(|take| take.tokens(&tokens));
    }

    fn stop(&mut self) {
        let Some(take) = self.take.take() else { return };
        let seconds = seconds(take.samples());
        match take.finish() {
            Ok(dir) => self.emit(RecordingEvent::Finished { dir, seconds }),
            Err(e) => self.emit(RecordingEvent::NotClosed { error: e.to_string() }),
        }
    }

    /// Makes a take of the last minutes; returns its length in samples.
    fn keep(&mut self, dir: &Path) -> Result<u64> {
        let Some(recent) = &self.recent else {
            return Err(Error::Input("this session does not buffer them".into()));
        };
        let from = self.at - recent.samples() as i64;
        let mut take = TakeWriter::create(dir, &TakeInfo { from, ..self.info.clone() }, self.streams)?;
        recent.read(|rows, input_stem| take.rows(rows, input_stem))?;
        self.requests.iter().filter(|e| e.at >= from).try_for_each(|e| take.event(e))?;
        take.tokens(&self.tokens_from(from))?;
        let samples = take.samples();
        take.finish()?;
        Ok(samples)
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
