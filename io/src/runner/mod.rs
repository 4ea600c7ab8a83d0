//! A session without threads and devices: it takes requests between hops, plays the hop, mixes it, records it
//! and updates the snapshot.
//!
//! [`crate::live`] runs it against devices, [`crate::device::file`] between files and for a replay. All of
//! them give the same samples for the same input and the same requests.

mod hop_times;
mod recording;
mod rehearsal;
mod requests;
mod state;
mod text;

use std::path::PathBuf;
use std::time::Instant;

use sideman_engine::limits::MAX_HOP;
use sideman_engine::live::{Action, Command, Request, Session, SessionConfig, Snapshot, Which};
use sideman_engine::model::{FRAME, Model};
use sideman_engine::text::Hidden;
use sideman_engine::{Error, Result};
use sideman_kernels::Backend;
use sideman_kernels::cpu::CpuBackend;

use crate::clock::Taps;
use crate::control::ControlReceiver;
use crate::event::{EngineEvent, RecordingEvent};
use crate::failover::{Failover, Slot, with_active_slot};
use crate::mix::Mixer;
use crate::recorder::Recorder;
use crate::rt;
use crate::run_mode::RunMode;
use crate::silence_watchdog::SilenceWatchdog;
use crate::slot_layout::SlotLayout;
use crate::take::TakeInfo;
use crate::text_encoder_thread::TextEncoderThread;
use hop_times::HopTimes;
pub use requests::longest_hop;
use text::SessionText;

/// A session that is played hop by hop.
pub struct Runner<B: Backend> {
    mode: RunMode,
    failover: Failover<B>,
    /// Takes over when the backend is lost.
    standby: Option<Box<Slot<CpuBackend>>>,
    /// The next hop may allocate, because it is the first one on this backend.
    may_allocate: bool,
    /// Names of the stems.
    stems: Vec<String>,
    streams: usize,
    controls: ControlReceiver,
    info: TakeInfo,
    snapshot: Snapshot,
    mixer: Mixer,
    silence: Vec<f32>,
    text: SessionText,
    /// Requests that the runner handles itself and that wait for their bar.
    scheduled: Vec<Request>,
    /// Bar that the last hop ended in.
    bar: i64,
    /// The band is stopped, and its clock is Ableton Link.
    stopped_on_link: bool,
    recorder: Option<Recorder>,
    /// Takes get a page.
    pages: bool,
    /// Parent folder of takes that are requested without a name.
    takes: PathBuf,
    /// A take is being written.
    recording: bool,
    /// Song time at which the take began.
    recording_start: i64,
    /// The disk is too slow, and hops are not written.
    losing_hops: bool,
    recording_failures: Vec<RecordingEvent>,
    taps: Taps,
    started: Instant,
    hop_frames: usize,
    hop_times: HopTimes,
    hops: u64,
    silence_watchdog: SilenceWatchdog,
    /// It was said that the lead is too short.
    lead_reported: bool,
    /// Called before each hop with the song time heard. Tests delay the engine with it.
    pub before_hop: Option<Box<dyn FnMut(i64) + Send>>,
}

/// Starts the session that `config` describes. Returns it with its text, encoded.
///
/// # Errors
/// Those of [`Session::new`], and a text for a model that takes none.
pub fn session<B: Backend>(
    backend: &mut B,
    model: &mut Model<B>,
    config: &SessionConfig,
) -> Result<(Session<B>, Option<Hidden>)> {
    let text = match (config.text.trim().is_empty(), &mut model.text) {
        (true, _) => None,
        (false, Some(text)) => Some(text.encode(&config.text)?),
        (false, None) => return Err(Error::Input(format!("the model {} takes no text", model.config().name))),
    };
    Ok((Session::new(backend, model, config, text.as_ref())?, text))
}

impl<B: Backend> Runner<B> {
    /// Starts a session. [`Runner::slots`] then holds what the band plays before it has heard anything. Takes
    /// that are requested without a folder go below `takes`.
    ///
    /// # Errors
    /// Those of [`session`].
    pub fn new(
        mut backend: B,
        mut model: Model<B>,
        mut info: TakeInfo,
        controls: ControlReceiver,
        takes: PathBuf,
        mode: RunMode,
    ) -> Result<Self> {
        rt::flush_denormals();
        let (session, hidden) = session(&mut backend, &mut model, &info.config)?;
        info.lead = session.lead();
        // A take that is replayed was a file.
        info.stems.clone_from(&model.config().stems);
        let encoder = model.text.take().map(TextEncoderThread::start);
        let layout = SlotLayout::new(model.config().stems.len());
        let mut runner = Runner {
            mode,
            text: SessionText::new(encoder, info.config.text.clone(), hidden),
            mixer: Mixer::new(layout, MAX_HOP + session.lead().unsigned_abs() as usize / FRAME + 1, info.config.room),
            silence: vec![0.0; MAX_HOP * FRAME],
            scheduled: Vec::new(),
            bar: i64::MIN,
            stopped_on_link: false,
            may_allocate: true,
            stems: model.config().stems.clone(),
            streams: model.config().streams.len(),
            failover: Failover::Primary(Box::new(Slot { backend, model, session })),
            standby: None,
            controls,
            info,
            snapshot: Snapshot::default(),
            recorder: None,
            pages: true,
            takes,
            recording: false,
            recording_start: 0,
            losing_hops: false,
            recording_failures: Vec::new(),
            taps: Taps::default(),
            started: Instant::now(),
            hop_frames: 4,
            hop_times: HopTimes::new(),
            hops: 0,
            silence_watchdog: SilenceWatchdog::new(layout.stems()),
            lead_reported: false,
            before_hop: None,
        };
        let Runner { mixer, failover, .. } = &mut runner;
        with_active_slot!(failover, slot => mixer.add(|s| (slot.session.stem(s), slot.session.levels(s)), slot.session.room(), slot.session.click()));
        Ok(runner)
    }

    /// Sets the CPU session that takes over, in phase, when the backend is lost ([`Backend::failure`]).
    pub fn set_standby(&mut self, standby: Slot<CpuBackend>) {
        self.standby = Some(Box::new(standby));
    }

    /// What the session started with.
    pub fn info(&self) -> &TakeInfo {
        &self.info
    }

    /// Where requests come from and events go.
    pub fn controls(&self) -> &ControlReceiver {
        &self.controls
    }

    /// The same, to change how events are sent.
    pub(crate) fn controls_mut(&mut self) -> &mut ControlReceiver {
        &mut self.controls
    }

    /// Song time heard, and the lead: the band has played up to their sum. Both in samples.
    pub fn time(&self) -> (i64, i64) {
        with_active_slot!(&self.failover, slot => (slot.session.heard_to(), slot.session.lead()))
    }

    fn heard_to(&self) -> i64 {
        self.time().0
    }

    /// Frames of a hop, as requested.
    pub fn hop_frames(&self) -> usize {
        self.hop_frames
    }

    /// Slots of the last hop, interleaved, at 32 kHz.
    pub fn slots(&self) -> &[f32] {
        self.mixer.slots()
    }

    /// Channels of a slot.
    pub fn layout(&self) -> SlotLayout {
        SlotLayout::new(self.stems.len())
    }

    /// Whether guidance is in use: load shedding can then switch it off.
    pub fn guided(&self) -> bool {
        self.info.config.guided && with_active_slot!(&self.failover, slot => slot.session.guidance_applies())
    }

    /// One hop: `heard` is a whole number of frames, 1 to 25. A hop that can't be played is silence of the
    /// same length, and an event.
    pub fn hop(&mut self, heard: &[f32]) {
        self.last_hop(heard, heard.len());
    }

    /// The last hop of a file: only the first `length` samples of `heard` are music, and a take ends with
    /// them.
    pub fn last_hop(&mut self, heard: &[f32], length: usize) {
        let heard_to = self.heard_to();
        if let Some(before_hop) = &mut self.before_hop {
            before_hop(heard_to);
        }
        self.take_requests();
        let began = Instant::now();
        let played = self.play(heard);
        let time = began.elapsed();
        self.hops += 1;
        if let Err(e) = played {
            self.emit(EngineEvent::HopFailed { error: e.to_string() });
        }
        self.fail_over();
        self.update_snapshot();
        if self.mode != RunMode::Replay {
            self.regenerate_silent_stem();
        }
        self.record_hop(&heard[..length.min(heard.len())], time);
        self.measure(time, heard.len());
    }

    fn play(&mut self, heard: &[f32]) -> Result<()> {
        let Runner { failover, mixer, silence, may_allocate, .. } = self;
        with_active_slot!(failover, slot => {
            let Slot { backend, model, session } = &mut **slot;
            let mut play = || session.hop(backend, model, heard);
            let played = if std::mem::take(may_allocate) { play() } else { rt::no_alloc(play) };
            mixer.clear();
            match &played {
                Ok(()) => mixer.add(|s| (session.stem(s), session.levels(s)), session.room(), session.click()),
                Err(_) => mixer.add(|_| (&silence[..heard.len()], &[]), &[], &silence[..heard.len()]),
            };
            played
        })
    }

    /// Changes to the standby where the backend is lost.
    fn fail_over(&mut self) {
        let Some(fault) = self.failover.fault().map(str::to_owned) else { return };
        let Some(standby) = self.standby.take() else { return };
        match self.failover.fail_over(standby, self.text.hidden.as_ref()) {
            Ok(()) => self.emit(EngineEvent::Failover { fault }),
            Err(e) => self.emit(EngineEvent::FailoverFailed { fault, error: e.to_string() }),
        }
        self.may_allocate = true;
    }

    /// Regenerates a stem that has been silent for too long.
    fn regenerate_silent_stem(&mut self) {
        let (bar, heard_to) = (self.bar(), self.heard_to());
        if with_active_slot!(&self.failover, slot => slot.session.window().is_none()) {
            self.silence_watchdog.rest(self.snapshot.time);
        }
        for s in 0..self.snapshot.stems.len() {
            with_active_slot!(&self.failover, slot => self.silence_watchdog.hear(s, slot.session.stem(s), self.snapshot.time));
        }
        if let Some(s) = self.silence_watchdog.silent_stem(heard_to, &self.snapshot, bar) {
            self.emit(EngineEvent::StemRegenerated { stem: self.stems[usize::from(s)].clone() });
            self.request(Request { command: Command::Stem(Which::One(s), Action::Regen), when: None, from: 0 });
        }
    }
}
