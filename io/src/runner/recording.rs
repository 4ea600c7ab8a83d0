//! What the runner sends to the recorder.

use std::path::PathBuf;

use sideman_engine::{Error, Result};
use sideman_kernels::Backend;

use super::Runner;
use crate::event::RecordingEvent;
use crate::failover::with_active_slot;
use crate::recorder::{RecordedHop, Recorder, RecorderCommand};

impl<B: Backend> Runner<B> {
    /// Starts the recorder, before the first hop. `dir`: a take from the start; `keep_recent`: the last ten
    /// minutes can be kept as a take.
    ///
    /// # Errors
    /// The system makes no thread.
    pub fn record(&mut self, dir: Option<PathBuf>, keep_recent: bool) -> Result<()> {
        let recorder = Recorder::start(self.info.clone(), self.streams, keep_recent);
        self.recorder = Some(recorder.map_err(|e| Error::Input(format!("can't start the recorder's thread: {e}")))?);
        self.recording = dir.is_some();
        if let Some(dir) = dir {
            self.record_command(RecorderCommand::Start(dir));
        }
        self.record_hop(&[]);
        Ok(())
    }

    /// Records the hop that was played. `heard` is the musician's part of it.
    pub(super) fn record_hop(&mut self, heard: &[f32]) {
        if self.recorder.is_none() {
            return;
        }
        let first = self.hops == 0;
        let config = &self.info.config;
        let hop = RecordedHop {
            heard: heard.to_vec(),
            slots: self.mixer.slots().to_vec(),
            input_stem: if first { config.input_stem } else { self.snapshot.input_stem },
            tokens: with_active_slot!(&self.failover, slot => slot.session.tokens().1.to_vec()),
            tempo_at: if first { config.bar1 } else { self.snapshot.time },
            tempo: if first { config.tempo } else { self.snapshot.tempo },
            meter: if first { config.meter } else { self.snapshot.meter },
        };
        self.record_command(RecorderCommand::Hop(hop));
    }

    pub(super) fn record_command(&mut self, command: RecorderCommand) {
        let wait = self.mode.is_offline();
        if let Some(recorder) = &mut self.recorder
            && !recorder.send(command, wait)
            && recorder.lost() == 1
        {
            self.emit(RecordingEvent::Gap);
        }
    }

    /// Ends the session and its take. Returns the last events of the recorder.
    pub fn finish(mut self) -> Vec<RecordingEvent> {
        let events = self.recorder.take().map(Recorder::finish).unwrap_or_default();
        events.iter().for_each(|event| self.controls.tell(&event.clone().into()));
        self.controls.end();
        events
    }
}

/// Name of a take that starts now: `take-YYYYMMDD-HHMMSS` in local time.
pub fn take_name() -> String {
    jiff::Zoned::now().strftime("take-%Y%m%d-%H%M%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_take_is_named_by_date_and_time() {
        let name = take_name();
        let shape: String = name.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "take-00000000-000000", "{name}");
    }
}
