//! A session with a device whose callbacks the test calls.

use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sideman_engine::live::SessionConfig;
use sideman_io::control::Control;
use sideman_io::event::RecordingEvent;
use sideman_io::live::{DevicePorts, EngineHandle, EngineThread};
use sideman_io::rt;
use sideman_io::run_mode::RunMode;

use crate::stage;

/// Called before each hop with the song time heard.
pub type BeforeHop = Box<dyn FnMut(i64) + Send>;

/// The session, its engine's thread and the device's ports.
pub struct ManualDevice {
    /// Opens devices.
    pub handle: EngineHandle,
    /// What the callbacks run over.
    pub ports: DevicePorts,
    /// The session's control.
    pub control: Control,
    engine: JoinHandle<Vec<RecordingEvent>>,
    /// Frames a second.
    pub rate: u32,
    /// Frames of input so far, from song time 0 on.
    pub heard: u64,
}

impl ManualDevice {
    /// A session of the committed model at lag 12. `take`: its folder, if it is recorded.
    ///
    /// # Panics
    /// The session can't be started.
    pub fn new(rate: u32, before_hop: Option<BeforeHop>, take: Option<PathBuf>) -> ManualDevice {
        ManualDevice::with(stage::config(12), rate, before_hop, take)
    }

    /// The same with other settings.
    ///
    /// # Panics
    /// The session can't be started.
    pub fn with(config: SessionConfig, rate: u32, before_hop: Option<BeforeHop>, take: Option<PathBuf>) -> ManualDevice {
        let (mut runner, control) = stage::runner(config, RunMode::Devices);
        runner.before_hop = before_hop;
        if take.is_some() {
            runner.record(take, None).expect("a recorder");
        }
        let (engine, handle) = EngineThread::new(runner);
        let engine = std::thread::spawn(move || engine.run());
        let ports = handle.connect(rate, rate, false).expect("ports");
        ManualDevice { handle, ports, control, engine, rate, heard: 0 }
    }

    /// The input callback: one block in.
    pub fn input(&mut self, samples: &[f32]) {
        let ManualDevice { ports, heard, .. } = self;
        rt::no_alloc(|| ports.input.write(*heard, samples.iter().copied()));
        self.heard += samples.len() as u64;
    }

    /// The output callback: the slots of one block.
    pub fn output(&mut self, frames: usize) -> &[f32] {
        let ports = &mut self.ports;
        rt::no_alloc(|| ports.output.play(frames))
    }

    /// One block in, one block out. `wait`: until the band has played it.
    ///
    /// # Panics
    /// The band has not played it after two minutes.
    pub fn block(&mut self, samples: &[f32], wait: bool, out: &mut Vec<f32>) {
        self.input(samples);
        let began = Instant::now();
        while wait && self.ports.output.ready() < samples.len() as u64 {
            assert!(began.elapsed() < Duration::from_secs(120), "no output at frame {}", self.heard);
            std::thread::sleep(Duration::from_micros(200));
        }
        out.extend_from_slice(self.output(samples.len()));
    }

    /// Ends the session. Returns the last events of its recorder.
    ///
    /// # Panics
    /// The engine's thread has panicked.
    pub fn end(self) -> Vec<RecordingEvent> {
        self.control.end();
        self.engine.join().expect("the engine's thread ends")
    }
}
