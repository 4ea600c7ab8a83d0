//! The engine's thread: hops from the input's ring into the output's ring, for as long as the session lasts.

use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use ringbuf::traits::Producer;
use sideman_engine::audio::RATE;
use sideman_engine::limits::MAX_HOP;
use sideman_engine::live::{Command, LoadShedding, Request};
use sideman_engine::model::FRAME;
use sideman_kernels::Backend;

use super::connection::{Connection, SILENT_AFTER, count};
use super::handle::{ConnectRequest, ConnectRequests, DevicePorts, EngineHandle, OpenedDevice};
use super::lost_input::LostInputDetector;
use crate::clock::{BeatPosition, Opened};
use crate::event::{EngineEvent, RecordingEvent};
use crate::input;
use crate::join::join;
use crate::load_shedding::{Adjustment, LoadShedder};
use crate::mailbox::MailSender;
use crate::midi::PortEvent;
use crate::midi::ports::Feed;
use crate::output::{self, OutputState};
use crate::rt;
use crate::runner::Runner;

/// How long the thread sleeps when there is nothing to do.
const NAP: Duration = Duration::from_millis(1);
/// Load below which the engine counts as idle.
const IDLE_LOAD: f32 = 0.5;
/// Seconds of music that are repeated where there is no beat, and so no bar.
const PHRASE: f64 = 2.0;
/// Hops after which it is known how long one takes.
const MEASURED_HOPS: u64 = 25;

/// The engine's thread, before and while it runs.
pub struct EngineThread<B: Backend> {
    runner: Runner<B>,
    requests: ConnectRequests,
    device: Option<OpenedDevice>,
    connection: Option<Connection>,
    shedder: LoadShedder,
    longer_hops: bool,
    late_hops: u64,
    hops: u64,
    lost_input: LostInputDetector,
    heard: Vec<f32>,
    /// Takes the MIDI messages of the device.
    pub midi: Option<MailSender<PortEvent>>,
    /// MIDI ports that don't belong to the device: they need its clock and the beat.
    pub midi_ports: Option<Feed>,
    /// Gets every device that is opened, to know which song time is heard.
    pub playback_clocks: Vec<Sender<Opened>>,
}

impl<B: Backend> EngineThread<B> {
    /// Prepares a runner to play on devices.
    pub fn new(runner: Runner<B>) -> (EngineThread<B>, EngineHandle) {
        let (handle, requests) = EngineHandle::new();
        let thread = EngineThread {
            runner,
            requests,
            device: None,
            connection: None,
            shedder: LoadShedder::default(),
            longer_hops: false,
            late_hops: 0,
            hops: 0,
            lost_input: LostInputDetector::default(),
            heard: Vec::with_capacity(MAX_HOP * FRAME),
            midi: None,
            midi_ports: None,
            playback_clocks: Vec::new(),
        };
        (thread, handle)
    }

    /// Runs on the calling thread until the session is ended. Returns the last events of the recorder.
    pub fn run(mut self) -> Vec<RecordingEvent> {
        rt::flush_denormals();
        if let Err(e) = rt::raise_priority() {
            tracing::info!("{e}");
        }
        let events = self.runner.controls_mut().forward_events();
        let started = Instant::now();
        while !self.runner.controls().ended() {
            if let Some(request) = self.requests.next() {
                self.connect(&request);
            }
            if let Some(device) = self.requests.next_opened() {
                self.device = Some(device);
            }
            let samples = self.frames_of_next_hop() * FRAME;
            let Some(connection) = &mut self.connection else {
                std::thread::sleep(NAP);
                continue;
            };
            connection.pass_on_midi(self.midi.as_mut());
            if !connection.has_input(samples) {
                std::thread::sleep(NAP);
                connection.fill_silence();
                continue;
            }
            connection.input.take(samples, &mut self.heard);
            self.hop(started);
            // While the hop is computed no input is read; that does not count as silence of the device.
            if let Some(connection) = self.connection.as_mut().filter(|connection| !connection.silent) {
                connection.input_until = Instant::now();
            }
        }
        let last = self.runner.finish();
        // The runner is gone, so the thread ends when it has sent every event.
        let _ = events.map(join);
        last
    }

    /// Frames of the next hop: as requested; under load more, up to twice as many, as far as the lead covers
    /// them, since other hops would always be late; and as many as there can be while the music is late anyway,
    /// because a long hop takes less time than several short ones.
    fn frames_of_next_hop(&mut self) -> usize {
        let (frames, lead) = (self.runner.hop_frames(), self.runner.time().1);
        if let Some(connection) = &mut self.connection
            && connection.output.state().running.load(Ordering::Relaxed)
            && connection.output.ahead() < 0.0
            && connection.input.fill(MAX_HOP * FRAME) >= MAX_HOP * FRAME
        {
            return MAX_HOP;
        }
        let covered = 3 * lead / (4 * FRAME as i64);
        if self.longer_hops { (2 * frames).min(MAX_HOP).min(covered.max(0) as usize).max(frames) } else { frames }
    }

    /// One hop, from the samples in `heard` to slots in the output's ring.
    fn hop(&mut self, started: Instant) {
        self.runner.hop(&self.heard);
        let bar = self.runner.bar();
        let Some(connection) = &mut self.connection else { return };
        connection.output.set_bar(if bar > 0.0 { bar } else { PHRASE * f64::from(RATE) });
        // A device without a MIDI clock reads no marks, so its queue is full. New marks are then dropped.
        let mark = BeatPosition::of(self.runner.snapshot());
        let _ = connection.marks.try_push(mark);
        if let Some(ports) = &mut self.midi_ports {
            let _ = ports.marks.try_push(mark);
        }
        let dropped = connection.output.write(self.runner.slots());
        let state = connection.output.state().clone();
        if let Some(device) = &self.device {
            connection.steer_input(device);
        }
        let late = if state.running.load(Ordering::Relaxed) { connection.output.late() } else { 0.0 };
        self.late_hops += u64::from(late > 0.0);
        self.hops += 1;
        self.insert_lost_input(late);
        self.show_health(&state, dropped);
        self.check_lead();
        self.shed_load(started, late);
        self.runner.publish();
    }

    /// Inserts silence for input that was lost on the way.
    fn insert_lost_input(&mut self, late: f64) {
        let Some(connection) = &mut self.connection else { return };
        let Some((ahead, _)) = connection.drift else { return };
        let load = self.runner.snapshot().health.load;
        let samples = self.heard.len();
        let idle = load < IDLE_LOAD && connection.input.fill(samples) < samples;
        if let Some(lost) = self.lost_input.after_hop(late > 0.0 && idle, ahead) {
            connection.input.insert_gap(lost);
            self.runner.emit(EngineEvent::InputGap { length: lost * 1e3 });
        }
    }

    /// Says if hops take so long on this computer, with these devices, that they will be late; once, as the rehearsal
    /// may have done it.
    fn check_lead(&mut self) {
        if self.hops != MEASURED_HOPS {
            return;
        }
        let health = &self.runner.snapshot().health;
        let (time, latency) = (f64::from(health.p99) / 1e3, f64::from(health.latency_in + health.latency_out) / 1e3);
        if let Some(event) = self.runner.check_lead(self.heard.len(), time, latency) {
            self.runner.emit(event);
        }
    }

    /// Puts the device's counters into the snapshot.
    fn show_health(&mut self, state: &OutputState, dropped: usize) {
        let overrun = self.connection.as_ref().map_or(0, |c| count(&c.input.counts().overrun));
        let health = &mut self.runner.snapshot().health;
        health.late = self.late_hops;
        health.underrun = count(&state.underrun) + dropped as u64;
        health.overrun = overrun;
        if let Some(OpenedDevice { stats, rates }) = &self.device {
            (health.latency_in, health.latency_out) = stats.latency_ms(*rates);
            health.xruns = count(&stats.xruns);
        }
    }

    /// Gives up more, or less, according to how late the hop was.
    fn shed_load(&mut self, started: Instant, late: f64) {
        let guided = self.runner.guided();
        let load = self.runner.snapshot().health.load;
        let before = self.shedder.level();
        let adjustment = self.shedder.after_hop(started.elapsed().as_secs_f64(), late, load, guided);
        let level = self.shedder.level();
        self.runner.snapshot().health.shedding = level;
        if late > 0.0 && level == LoadShedding::RepeatedBar {
            self.runner.emit(EngineEvent::LateHop { late: late * 1e3 });
        } else if level > before {
            self.runner.emit(EngineEvent::Overload(level));
        } else if adjustment.is_some() {
            self.runner.emit(EngineEvent::Recovered);
        }
        if let Some(rest) = self.shedder.rest(started.elapsed().as_secs_f64(), late) {
            self.runner.request(Request { command: Command::Rest(rest), when: None, from: 0 });
            if rest {
                self.runner.emit(EngineEvent::Rest { late: late * 1e3 });
            }
        }
        match adjustment {
            Some(Adjustment::Guidance(on)) => {
                self.runner.request(Request { command: Command::Guided(on), when: None, from: 0 });
            }
            Some(Adjustment::LongerHops(on)) => self.longer_hops = on,
            None => {}
        }
    }

    /// Answers a device with new rings that begin at the song time that has been heard.
    fn connect(&mut self, request: &ConnectRequest) {
        let answer = match self.rings(request) {
            Ok((ports, connection)) => {
                self.connection = Some(connection);
                Ok(ports)
            }
            Err(e) => Err(e.to_string()),
        };
        // Nobody waits for it any more after a timeout.
        let _ = request.reply.send(answer);
    }

    fn rings(&self, request: &ConnectRequest) -> sideman_engine::Result<(DevicePorts, Connection)> {
        let (heard, lead) = self.runner.time();
        let (writer, input) = input::ring(request.rate_in, heard, request.steered)?;
        // Before the first hop the runner's slots hold song time 0 to `lead`. Later those slots are gone.
        let first = heard == 0;
        let start = if first { 0 } else { heard + lead };
        let layout = self.runner.layout();
        let (mut output, mut reader) = output::ring(request.rate_out, layout.channels(), start)?;
        if first {
            // The ring is empty and has room for them.
            let _ = output.write(self.runner.slots());
        }
        let frames = |song: i64, rate: u32| song.max(0) as u64 * u64::from(rate) / u64::from(RATE);
        reader.seek(frames(heard, request.rate_out));
        for clock in self.midi_ports.iter().map(|ports| &ports.opened).chain(&self.playback_clocks) {
            // They are gone only where the session is over.
            let _ = clock.send((output.state().clone(), request.rate_out));
        }
        let (ports, midi, marks) = DevicePorts::new(writer, reader, layout, frames(heard, request.rate_in));
        let now = Instant::now();
        let connection = Connection {
            input,
            output,
            midi,
            marks,
            input_until: now + SILENT_AFTER,
            silent: false,
            frames_in: 0,
            drift: request.steered.then_some((0.0, now)),
        };
        Ok((ports, connection))
    }
}
