//! The recorder: a thread that writes takes, so that the engine never waits for the disk.
//!
//! It puts the musician and the band side by side in song time, buffers the last ten minutes of the session
//! in temporary files, and writes takes ([`crate::take`]). The engine only sends [`RecorderCommand`]s. Where
//! the disk is slower than the music for longer than the queue lasts, hops become silence of their length in
//! the take, which is reported; no other command is lost, and what is heard does not change.

mod recent;
mod thread;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sideman_engine::model::FRAME;
use sideman_engine::touched::empty;

use crate::event::RecordingEvent;
use crate::mailbox::{MailSender, mailbox};
use crate::slot_layout::SlotLayout;
use crate::take::{Entry, HopState, TakeInfo, TakePlace};
use thread::RecorderThread;

/// Commands that may wait for the disk: 40 s of hops of 80 ms.
const QUEUE: usize = 512;
/// Hops whose buffers are made before the first one: 10 s of hops of 80 ms for which the disk may stall before the
/// engine's thread requests memory for another.
const SPARE: usize = 128;
/// Frames for which those buffers have room.
const SPARE_FRAMES: usize = 4;
/// Bytes of the name of a chord or a section for which they have room.
const NAME: usize = 64;
/// How long the end of a session waits for a disk on which nothing is written any more.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the engine sends to the recorder.
pub enum RecorderCommand {
    /// Adds a hop.
    Hop(RecordedHop),
    /// Adds a request that was applied.
    Request(Entry),
    /// Adds silence in place of hops that were lost.
    Lost(LostHops),
    /// Starts a take.
    Start(TakePlace),
    /// Closes the take.
    Stop,
    /// Makes a take of the last ten minutes.
    Keep(TakePlace),
}

/// What hops would have held that were lost: numbers of values, as in [`RecordedHop`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LostHops {
    /// Samples of the musician.
    pub heard: usize,
    /// Values of the band's slots.
    pub slots: usize,
    /// Tokens.
    pub tokens: usize,
}

impl LostHops {
    fn add(&mut self, hop: &RecordedHop) {
        self.heard += hop.heard.len();
        self.slots += hop.slots.len();
        self.tokens += hop.tokens.len();
    }
}

/// A hop as the recorder needs it.
#[derive(Default)]
pub struct RecordedHop {
    /// The musician's samples.
    pub heard: Vec<f32>,
    /// The band's slots, interleaved; they follow the last ones.
    pub slots: Vec<f32>,
    /// The stem that the musician plays.
    pub input_stem: Option<u8>,
    /// Tokens of the frames that were decided, all streams of a frame after another.
    pub tokens: Vec<i32>,
    /// What is in force after it.
    pub state: HopState,
}

impl RecordedHop {
    /// An empty one with room for `frames`.
    fn with_room(frames: usize, channels: usize, streams: usize) -> RecordedHop {
        let samples = frames * FRAME;
        let (heard, slots) = (empty(samples), empty(samples * channels));
        let [chord, section] = [(); 2].map(|()| String::with_capacity(NAME));
        let state = HopState { chord, section, ..HopState::default() };
        RecordedHop { heard, slots, tokens: Vec::with_capacity(frames * streams), state, ..RecordedHop::default() }
    }

    /// Without samples; the buffers keep their room.
    pub fn clear(&mut self) {
        self.heard.clear();
        self.slots.clear();
        self.tokens.clear();
    }
}

/// Sends a command and waits for room. The thread is gone where it has panicked, which was printed: nothing is
/// recorded any more.
fn send_waiting(queue: &mut MailSender<RecorderCommand>, mut command: RecorderCommand) {
    while let Err(back) = queue.send(command) {
        if !queue.is_open() {
            return;
        }
        command = back;
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// The engine's end of the recorder.
pub struct Recorder {
    queue: MailSender<RecorderCommand>,
    /// Commands that found no room in the queue, in order; hops are lost instead.
    backlog: VecDeque<RecorderCommand>,
    /// Hops that the thread has written: their buffers are used again.
    free: Receiver<RecordedHop>,
    events: Receiver<RecordingEvent>,
    /// Commands that the thread has done.
    done: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Recorder {
    /// Starts the thread. `info` describes the session from its start; the last ten minutes are buffered in a
    /// new folder below `recent`, if it is given. `pages`: takes get a page.
    ///
    /// # Errors
    /// The system makes no thread.
    pub fn start(info: TakeInfo, streams: usize, recent: Option<PathBuf>, pages: bool) -> std::io::Result<Recorder> {
        Self::start_after(info, streams, recent, pages, || {})
    }

    /// As [`Recorder::start`]; the thread calls `first` before it takes a command. Tests stall it with that.
    fn start_after(
        info: TakeInfo,
        streams: usize,
        recent: Option<PathBuf>,
        pages: bool,
        first: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Recorder> {
        let (queue, commands) = mailbox(QUEUE, || RecorderCommand::Stop);
        let (used, free) = sync_channel(QUEUE);
        let channels = SlotLayout::new(info.stems.len()).channels();
        // There is room.
        (0..SPARE).for_each(|_| drop(used.try_send(RecordedHop::with_room(SPARE_FRAMES, channels, streams))));
        let (sender, events) = channel();
        let done = Arc::new(AtomicU64::new(0));
        let counter = done.clone();
        let run = move || {
            first();
            RecorderThread::new(info, streams, recent.as_deref(), pages, sender).run(commands, &used, &counter);
        };
        let thread = std::thread::Builder::new().name("recorder".into()).spawn(run)?;
        Ok(Recorder { queue, backlog: VecDeque::with_capacity(QUEUE), free, events, done, thread })
    }

    /// An empty hop, if possible one that has been written, whose buffers have room.
    pub fn empty_hop(&self) -> RecordedHop {
        self.free.try_recv().unwrap_or_default()
    }

    /// Sends a command. Where the queue is full, a hop becomes silence of its length, and any other command
    /// waits for its turn; `wait` waits for room instead.
    pub fn send(&mut self, command: RecorderCommand, wait: bool) {
        if wait {
            let queue = &mut self.queue;
            self.backlog.drain(..).chain([command]).for_each(|command| send_waiting(queue, command));
            return;
        }
        if !self.queue.is_open() {
            return;
        }
        while let Some(waiting) = self.backlog.pop_front() {
            if let Err(waiting) = self.queue.send(waiting) {
                self.backlog.push_front(waiting);
                break;
            }
        }
        let full = if self.backlog.is_empty() { self.queue.send(command) } else { Err(command) };
        let Err(command) = full else { return };
        match (command, self.backlog.back_mut()) {
            (RecorderCommand::Hop(hop), Some(RecorderCommand::Lost(lost))) => lost.add(&hop),
            (RecorderCommand::Hop(hop), _) => {
                let mut lost = LostHops::default();
                lost.add(&hop);
                self.backlog.push_back(RecorderCommand::Lost(lost));
            }
            (other, _) => self.backlog.push_back(other),
        }
    }

    /// Whether hops are being lost.
    pub fn is_losing(&self) -> bool {
        self.backlog.iter().any(|command| matches!(command, RecorderCommand::Lost(_)))
    }

    /// The next event, if there is one.
    pub fn next_event(&self) -> Option<RecordingEvent> {
        self.events.try_recv().ok()
    }

    /// Closes the take and waits until it is on disk; if `wait` is false, no longer than the disk does
    /// something within 30 s. Returns the events that were not read yet.
    pub fn finish(self, wait: bool) -> Vec<RecordingEvent> {
        self.finish_within(if wait { Duration::MAX } else { PATIENCE })
    }

    fn finish_within(mut self, patience: Duration) -> Vec<RecordingEvent> {
        let mut all = Vec::new();
        let (mut done, mut since) = (0, Instant::now());
        let mut queue = Some(self.queue);
        loop {
            while let (Some(sender), Some(command)) = (&mut queue, self.backlog.pop_front()) {
                match sender.send(command) {
                    Err(command) if sender.is_open() => {
                        self.backlog.push_front(command);
                        break;
                    }
                    _ => {}
                }
            }
            if self.backlog.is_empty() {
                queue = None;
            }
            // The channel closes when the thread is done.
            match self.events.recv_timeout(Duration::from_millis(100)) {
                Ok(event) => all.push(event),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = self.done.load(Ordering::Relaxed);
            if now != done {
                (done, since) = (now, Instant::now());
            } else if since.elapsed() > patience {
                all.push(RecordingEvent::NotClosed { error: "nothing can be written to the disk any more".into() });
                return all;
            }
        }
        // It panicked: the panic was printed, and the take can be read.
        let _ = self.thread.join();
        all
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use sideman_engine::live::{Command, Request};

    use super::*;
    use crate::take::{self, tests::info};

    fn entry(at: i64) -> Entry {
        Entry { at, request: Request { command: Command::Seed(1), when: None, from: 0 } }
    }

    /// A hop of `n` samples whose slots lead by 1280 samples; every sample is its own song time, on every
    /// channel.
    fn hop(at: usize, n: usize) -> RecorderCommand {
        let times = |range: std::ops::Range<usize>| range.map(|t| t as f32);
        RecorderCommand::Hop(RecordedHop {
            heard: times(at..at + n).collect(),
            slots: times(at + 1280..at + n + 1280).flat_map(|t| [t; 5]).collect(),
            input_stem: Some(0),
            tokens: vec![1; n / FRAME * 2],
            state: HopState { at: at as i64, tempo: 120.0, ..HopState::default() },
        })
    }

    fn wav(dir: &Path, name: &str) -> Vec<f32> {
        hound::WavReader::open(dir.join(name)).unwrap().into_samples().map(std::result::Result::unwrap).collect()
    }

    #[test]
    fn musician_and_band_are_aligned_in_song_time() {
        let dir = tempfile::tempdir().unwrap();
        let (whole, kept) = (dir.path().join("whole"), dir.path().join("kept"));
        let mut recorder = Recorder::start(info(), 2, Some(dir.path().join("recent")), true).unwrap();
        recorder.send(RecorderCommand::Start(TakePlace::Folder(whole.clone())), true);
        recorder.send(
            RecorderCommand::Hop(RecordedHop {
                heard: Vec::new(),
                slots: (0..1280).flat_map(|t| [t as f32; 5]).collect(),
                input_stem: Some(0),
                tokens: vec![1; 4],
                state: HopState { tempo: 120.0, ..HopState::default() },
            }),
            true,
        );
        for at in (0..64_000).step_by(2560) {
            recorder.send(hop(at, 2560), true);
        }
        recorder.send(RecorderCommand::Keep(TakePlace::Folder(kept.clone())), true);
        recorder.send(hop(64_000, 640), true);
        assert_eq!(
            recorder.finish(true),
            [
                RecordingEvent::Started { dir: whole.clone(), at: 0 },
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
        let mut recorder = Recorder::start(info(), 2, None, true).unwrap();
        recorder.send(RecorderCommand::Start(TakePlace::Folder(dir.path().join("file/take"))), true);
        recorder.send(hop(0, 640), true);
        recorder.send(RecorderCommand::Start(TakePlace::Folder(dir.path().join("take"))), true);
        recorder.send(hop(640, 640), true);
        let events = recorder.finish(true);
        assert!(
            matches!(
                &events[..],
                [RecordingEvent::NotStarted { .. }, RecordingEvent::Started { .. }, RecordingEvent::Finished { .. }]
            ),
            "{events:?}"
        );
        assert!(dir.path().join("take/mix.wav").exists());
    }

    #[test]
    fn a_full_queue_is_silence_of_its_length_and_loses_no_beginning_and_no_end() {
        let dir = tempfile::tempdir().unwrap();
        let (thaw, frozen) = channel::<()>();
        // The thread answers only when the disk does.
        let mut recorder = Recorder::start_after(info(), 2, None, true, move || assert!(frozen.recv().is_err())).unwrap();
        let [first, second] = ["first", "second"].map(|name| dir.path().join(name));
        recorder.send(RecorderCommand::Start(TakePlace::Folder(first.clone())), false);
        let lead: Vec<f32> = (0..1280).flat_map(|t| [t as f32; 5]).collect();
        recorder.send(RecorderCommand::Hop(RecordedHop { slots: lead, tokens: vec![1; 4], ..RecordedHop::default() }), false);
        // Nothing is lost yet at 512 commands; then 300 hops, an end and a beginning are too many.
        (0..600).for_each(|n| recorder.send(hop(n * 640, 640), false));
        assert!(recorder.is_losing());
        recorder.send(RecorderCommand::Stop, false);
        recorder.send(RecorderCommand::Start(TakePlace::Folder(second.clone())), false);
        (600..800).for_each(|n| recorder.send(hop(n * 640, 640), false));
        drop(thaw);
        while recorder.is_losing() {
            recorder.send(RecorderCommand::Request(entry(0)), false);
            std::thread::sleep(Duration::from_millis(1));
        }
        (800..810).for_each(|n| recorder.send(hop(n * 640, 640), true));
        recorder.finish(true);
        let first = wav(&first, "input.wav");
        let kept = 1 + first[1..].iter().take_while(|x| **x != 0.0).count();
        assert_eq!(first.len(), 600 * 640, "the take is as long as the music");
        assert!((500 * 640..513 * 640).contains(&kept), "{kept}");
        assert!(first[..kept].iter().enumerate().all(|(t, x)| *x == t as f32) && first[kept..].iter().all(|x| *x == 0.0));
        let again = wav(&second, "input.wav");
        assert_eq!(again.len(), 210 * 640);
        assert!(again[..200 * 640].iter().all(|x| *x == 0.0));
        assert!(again[200 * 640..].iter().enumerate().all(|(t, x)| *x == (800 * 640 + t) as f32), "it is still in time");
        // The band leads by 1280 samples: its last slots before the gap end are lost with it.
        let drums = wav(&second, "drums.wav");
        assert!(drums[200 * 640 + 1280..].iter().enumerate().all(|(t, x)| *x == (800 * 640 + 1280 + t) as f32));
        assert_eq!(take::read(&second).unwrap().info.from, 600 * 640);
    }

    #[test]
    fn the_end_of_a_session_does_not_wait_for_a_disk_that_is_gone() {
        let (_thaw, frozen) = channel::<()>();
        let mut recorder = Recorder::start_after(info(), 2, None, true, move || assert!(frozen.recv().is_err())).unwrap();
        (0..600).for_each(|n| recorder.send(hop(n * 640, 640), false));
        assert!(matches!(&recorder.finish_within(Duration::from_millis(300))[..], [RecordingEvent::NotClosed { .. }]));
    }
}
