//! The recorder: a thread that writes takes, so that the engine never waits for the disk.
//!
//! It puts the musician and the band side by side in song time, buffers the last ten minutes of the session
//! in temporary files, and writes takes ([`crate::take`]). The engine only sends [`RecorderCommand`]s. Where
//! the disk is slower than the music for longer than the queue lasts, hops are missing in the take, which is
//! counted and reported; what is heard does not change.

mod recent;
mod thread;

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use sideman_engine::task::Meter;

use crate::event::RecordingEvent;
use crate::take::{Entry, TakeInfo};
use thread::RecorderThread;

/// Commands that may wait for the disk: 40 s of hops of 80 ms.
const QUEUE: usize = 512;
/// Events that may wait for the engine.
const EVENTS: usize = 64;

/// What the engine sends to the recorder.
pub enum RecorderCommand {
    /// Adds a hop.
    Hop(RecordedHop),
    /// Adds a request that was applied.
    Request(Entry),
    /// Starts a take in this folder.
    Start(PathBuf),
    /// Closes the take.
    Stop,
    /// Makes a take of the last ten minutes in this folder.
    Keep(PathBuf),
}

/// A hop as the recorder needs it.
pub struct RecordedHop {
    /// The musician's samples.
    pub heard: Vec<f32>,
    /// The band's slots, interleaved; they follow the last ones.
    pub slots: Vec<f32>,
    /// The stem that the musician plays.
    pub input_stem: Option<u8>,
    /// Tokens of the frames that were decided, all streams of a frame after another.
    pub tokens: Vec<i32>,
    /// Song time from which tempo and meter hold.
    pub tempo_at: i64,
    /// Quarter notes a minute.
    pub tempo: f64,
    /// Meter.
    pub meter: Meter,
}

/// The engine's end of the recorder.
pub struct Recorder {
    queue: SyncSender<RecorderCommand>,
    events: Receiver<RecordingEvent>,
    thread: JoinHandle<()>,
    lost: u64,
}

impl Recorder {
    /// Starts the thread. `info` describes the session from its start; `keep_recent`: the last ten minutes
    /// are buffered.
    ///
    /// # Errors
    /// The system makes no thread.
    pub fn start(info: TakeInfo, streams: usize, keep_recent: bool) -> std::io::Result<Recorder> {
        let (queue, commands) = sync_channel(QUEUE);
        let (sender, events) = sync_channel(EVENTS);
        let recorder = RecorderThread::new(info, streams, keep_recent, sender);
        let thread = std::thread::Builder::new().name("recorder".into()).spawn(move || recorder.run(&commands))?;
        Ok(Recorder { queue, events, thread, lost: 0 })
    }

    /// Sends a command. False: the queue is full and the command is lost. `wait` waits for room instead.
    pub fn send(&mut self, command: RecorderCommand, wait: bool) -> bool {
        let sent = match wait {
            true => self.queue.send(command).is_ok(),
            false => !matches!(self.queue.try_send(command), Err(TrySendError::Full(_) | TrySendError::Disconnected(_))),
        };
        self.lost += u64::from(!sent);
        sent
    }

    /// The next event, if there is one.
    pub fn next_event(&self) -> Option<RecordingEvent> {
        self.events.try_recv().ok()
    }

    /// Commands lost so far.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Closes the take and waits until it is on disk. Returns the events that were not read yet.
    pub fn finish(self) -> Vec<RecordingEvent> {
        let Recorder { queue, events, thread, .. } = self;
        drop(queue);
        // The channel closes when the thread is done.
        let events = events.iter().collect();
        // It panicked: the panic was printed, and the take can be read.
        let _ = thread.join();
        events
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use sideman_engine::model::FRAME;

    use super::*;
    use crate::take::{self, tests::info};

    /// A hop of `n` samples whose slots lead by 1280 samples; every sample is its own song time, on every
    /// channel.
    fn hop(at: usize, n: usize) -> RecorderCommand {
        let times = |range: std::ops::Range<usize>| range.map(|t| t as f32);
        RecorderCommand::Hop(RecordedHop {
            heard: times(at..at + n).collect(),
            slots: times(at + 1280..at + n + 1280).flat_map(|t| [t; 5]).collect(),
            input_stem: Some(0),
            tokens: vec![1; n / FRAME * 2],
            tempo_at: at as i64,
            tempo: 120.0,
            meter: Meter::FourFour,
        })
    }

    fn wav(dir: &Path, name: &str) -> Vec<f32> {
        hound::WavReader::open(dir.join(name)).unwrap().into_samples().map(std::result::Result::unwrap).collect()
    }

    #[test]
    fn musician_and_band_are_aligned_in_song_time() {
        let dir = tempfile::tempdir().unwrap();
        let (whole, kept) = (dir.path().join("whole"), dir.path().join("kept"));
        let mut recorder = Recorder::start(info(), 2, true).unwrap();
        recorder.send(RecorderCommand::Start(whole.clone()), true);
        recorder.send(
            RecorderCommand::Hop(RecordedHop {
                heard: Vec::new(),
                slots: (0..1280).flat_map(|t| [t as f32; 5]).collect(),
                input_stem: Some(0),
                tokens: vec![1; 4],
                tempo_at: 0,
                tempo: 120.0,
                meter: Meter::FourFour,
            }),
            true,
        );
        for at in (0..64_000).step_by(2560) {
            recorder.send(hop(at, 2560), true);
        }
        recorder.send(RecorderCommand::Keep(kept.clone()), true);
        recorder.send(hop(64_000, 640), true);
        assert_eq!(
            recorder.finish(),
            [
                RecordingEvent::Kept { dir: kept.clone(), seconds: 2.0 },
                RecordingEvent::Finished { dir: whole.clone(), seconds: 2.02 }
            ]
        );
        let want = |n: usize| (0..n).map(|t| t as f32).collect::<Vec<f32>>();
        for (dir, n) in [(&whole, 64_640), (&kept, 64_000)] {
            for name in ["input.wav", "drums.wav", "click.wav"] {
                assert_eq!(wav(dir, name), want(n), "{name}");
            }
            assert_eq!(take::read(dir).unwrap().info.samples, n as u64);
        }
    }

    #[test]
    fn after_a_take_that_cannot_start_another_one_can() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let mut recorder = Recorder::start(info(), 2, false).unwrap();
        recorder.send(RecorderCommand::Start(dir.path().join("file/take")), true);
        recorder.send(hop(0, 640), true);
        recorder.send(RecorderCommand::Start(dir.path().join("take")), true);
        recorder.send(hop(640, 640), true);
        let events = recorder.finish();
        assert!(matches!(&events[..], [RecordingEvent::NotStarted { .. }, RecordingEvent::Finished { .. }]), "{events:?}");
        assert!(dir.path().join("take/mix.wav").exists());
    }
}
