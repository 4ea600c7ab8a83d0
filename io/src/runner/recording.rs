//! What the runner sends to the recorder.

use std::path::PathBuf;
use std::time::Duration;

use sideman_engine::audio::RATE;
use sideman_engine::live::Clock;
use sideman_engine::{Error, Result};
use sideman_kernels::Backend;

use super::Runner;
use crate::event::RecordingEvent;
use crate::failover::with_active_slot;
use crate::recorder::{Recorder, RecorderCommand};
use crate::take::TakePlace;

/// Bars before bar 1 that a take's beats are counted in.
const MAX_COUNT_IN: i64 = 4;
/// Failed takes that are remembered for the end of the session.
const MAX_FAILURES: usize = 64;

impl<B: Backend> Runner<B> {
    /// Starts the recorder, before the first hop. `dir`: a take from the start; `recent`: the last ten minutes
    /// can be kept as a take, and are buffered below this folder.
    ///
    /// # Errors
    /// The system makes no thread.
    pub fn record(&mut self, dir: Option<PathBuf>, recent: Option<PathBuf>) -> Result<()> {
        let recorder = Recorder::start(self.info.clone(), self.streams, recent, self.pages);
        self.recorder = Some(recorder.map_err(|e| Error::Input(format!("can't start the recorder's thread: {e}")))?);
        if let Some(dir) = dir {
            self.record_command(RecorderCommand::Start(TakePlace::Folder(dir)));
        }
        self.record_hop(&[], Duration::ZERO);
        Ok(())
    }

    /// Whether takes get a page, which is the default. Call it before [`Runner::record`].
    pub fn set_pages(&mut self, pages: bool) {
        self.pages = pages;
    }

    /// Records the hop that was played and took `time`. `heard` is the musician's part of it.
    pub(super) fn record_hop(&mut self, heard: &[f32], time: Duration) {
        let Some(recorder) = &self.recorder else { return };
        let mut hop = recorder.empty_hop();
        let first = self.hops == 0;
        let config = &self.info.config;
        hop.heard.extend_from_slice(heard);
        hop.slots.extend_from_slice(self.mixer.slots());
        with_active_slot!(&self.failover, slot => hop.tokens.extend_from_slice(slot.session.tokens().1));
        hop.input_stem = if first { config.input_stem } else { self.snapshot.input_stem };
        let (s, state) = (&self.snapshot, &mut hop.state);
        state.at = s.time;
        // Before the first hop there is no snapshot.
        (state.tempo, state.meter) = if first { (config.tempo, config.meter) } else { (s.tempo, s.meter) };
        state.beats = s.playing && s.clock != Clock::Free && s.bar > -MAX_COUNT_IN;
        (state.bar, state.beat, state.phase) = (s.bar, s.beat, s.phase);
        state.chord.clear();
        state.section.clear();
        if s.playing {
            state.chord.push_str(&s.chord);
            state.section.push_str(&s.section);
        }
        state.load = time.as_secs_f32() * RATE as f32 / (heard.len().max(1) as f32);
        state.late = s.health.late;
        self.record_command(RecorderCommand::Hop(hop));
    }

    pub(super) fn record_command(&mut self, command: RecorderCommand) {
        let wait = self.mode.is_offline();
        let Some(recorder) = &mut self.recorder else { return };
        recorder.send(command, wait);
        let was_losing = std::mem::replace(&mut self.losing_hops, recorder.is_losing());
        if self.losing_hops && !was_losing {
            self.emit(RecordingEvent::Gap);
        }
    }

    /// Reads what the recorder's thread has done.
    pub(super) fn take_recording_events(&mut self) {
        while let Some(event) = self.recorder.as_ref().and_then(|recorder| recorder.next_event()) {
            match &event {
                RecordingEvent::Started { at, .. } => (self.recording, self.recording_start) = (true, *at),
                RecordingEvent::Finished { .. }
                | RecordingEvent::NotStarted { .. }
                | RecordingEvent::Stopped { .. }
                | RecordingEvent::NotClosed { .. } => self.recording = false,
                RecordingEvent::Gap
                | RecordingEvent::Kept { .. }
                | RecordingEvent::NotKept { .. }
                | RecordingEvent::BufferLost { .. } => {}
            }
            if event.is_failure() && self.recording_failures.len() < MAX_FAILURES {
                self.recording_failures.push(event.clone());
            }
            self.emit(event);
        }
    }

    /// Ends the session and its take. Returns the failures of the session's takes, and the last events of the
    /// recorder.
    pub fn finish(mut self) -> Vec<RecordingEvent> {
        let wait = self.mode.is_offline();
        let last = self.recorder.take().map(|recorder| recorder.finish(wait)).unwrap_or_default();
        last.iter().for_each(|event| self.controls.tell(event.clone().into()));
        let last = last.into_iter().filter(|event| !matches!(event, RecordingEvent::Started { .. }));
        self.controls.end();
        std::mem::take(&mut self.recording_failures).into_iter().chain(last).collect()
    }
}
