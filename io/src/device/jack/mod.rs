//! JACK: one client, so that input and output share one callback and one clock, with a port for every stem.
//! Time is the server's frame time: frames that the server loses become silence in the input and are skipped
//! in the output, so the band stays in phase. A server in freewheel runs as fast as its clients compute: the callback
//! then waits for the band, so that nothing is late. A server whose rate changes is opened again.
//!
//! JACK reports the end of the server in a callback that safe Rust can't register; a server that makes no
//! callback for a second counts as gone.

mod connections;
mod links;
mod process;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jack::{AsyncClient, AudioIn, AudioOut, Client, ClientOptions, LatencyType, MidiIn, MidiOut, Port, Unowned};

use super::{DeviceConfig, DeviceStats, Link, Stream};
use crate::clock::MidiClockOut;
use crate::live::EngineHandle;
use connections::{Connections, PortNames};
use links::LinkHistory;
use process::Process;

/// Time without a callback after which the server is gone, or has removed the client.
const GONE_AFTER: Duration = Duration::from_secs(1);
/// The most time that one look adds to it. A program that stood still for longer, as on a machine that was suspended,
/// has seen nothing of the server meanwhile.
const LOOK: Duration = Duration::from_millis(250);

/// What the server reports outside its realtime thread.
struct Notifications {
    input: Port<Unowned>,
    output: Port<Unowned>,
    stats: Arc<DeviceStats>,
}

impl Notifications {
    /// Reads the graph's latencies: the longest way in, the longest way out.
    fn read_latencies(&self) {
        self.stats.latency_in.store(self.input.get_latency_range(LatencyType::Capture).1, Ordering::Relaxed);
        self.stats.latency_out.store(self.output.get_latency_range(LatencyType::Playback).1, Ordering::Relaxed);
    }
}

impl jack::NotificationHandler for Notifications {
    fn graph_reorder(&mut self, _: &Client) -> jack::Control {
        self.read_latencies();
        jack::Control::Continue
    }

    fn ports_connected(&mut self, _: &Client, _: jack::PortId, _: jack::PortId, _: bool) {
        self.read_latencies();
    }

    fn freewheel(&mut self, _: &Client, on: bool) {
        self.stats.freewheel.store(on, Ordering::Relaxed);
    }

    fn sample_rate(&mut self, _: &Client, rate: jack::Frames) -> jack::Control {
        self.stats.rate.store(rate, Ordering::Relaxed);
        jack::Control::Continue
    }

    fn xrun(&mut self, _: &Client) -> jack::Control {
        self.stats.xruns.fetch_add(1, Ordering::Relaxed);
        jack::Control::Continue
    }
}

struct JackStream {
    client: AsyncClient<Notifications, Process>,
    stats: Arc<DeviceStats>,
    rate: u32,
    connections: Mutex<Connections>,
    /// What was missing when it was opened.
    missing: Option<String>,
    callbacks: Mutex<CallbackWatch>,
    links: Mutex<LinkHistory>,
}

/// Notices that callbacks no longer come.
struct CallbackWatch {
    /// Frames that had passed at the last look, and when that was.
    frames: u64,
    looked: Instant,
    /// Time without a callback.
    silent: Duration,
}

impl CallbackWatch {
    fn new(now: Instant) -> CallbackWatch {
        CallbackWatch { frames: 0, looked: now, silent: Duration::ZERO }
    }

    /// Looks at the frames that have passed; whether there was no callback for too long.
    fn is_gone(&mut self, frames: u64, now: Instant) -> bool {
        let passed = now.duration_since(self.looked).min(LOOK);
        self.silent = if frames == self.frames { self.silent + passed } else { Duration::ZERO };
        (self.frames, self.looked) = (frames, now);
        self.silent > GONE_AFTER
    }
}

fn jack_error(e: jack::Error) -> String {
    format!("JACK: {e}; is a server running? (jackd -d alsa, or PipeWire's pw-jack)")
}

/// Becomes a client of the running server; starts none. Its ports are `STEM_in` of the musician's stem,
/// `STEM_out` of every stem, `click_out`, `mix_out_1`, `mix_out_2`, `midi_in`, `midi_out`. `--input`,
/// `--output` and `--midi` connect them by beginnings of port names. `again`: it was open before, with these
/// connections, which are made again. Then a port that is missing is connected when it appears: a pedal that is off
/// must not keep the band silent.
///
/// # Errors
/// There is no server, it accepts no client, or, unless `again`, it has no port of a name.
pub fn open(config: &DeviceConfig, engine: &EngineHandle, again: Option<&[Link]>) -> Result<Box<dyn Stream>, String> {
    let (client, _) = Client::new(&config.client, ClientOptions::NO_START_SERVER).map_err(jack_error)?;
    let rate = client.sample_rate();
    let ports = engine.connect(rate, rate, false)?;
    let layout = ports.layout;
    let input = client.register_port(&format!("{}_in", config.input_stem), AudioIn::default()).map_err(jack_error)?;
    let stems = config.stems.iter().map(|s| format!("{s}_out"));
    let names = stems.chain(["click_out", "mix_out_1", "mix_out_2"].map(str::to_owned));
    let register = |name: String| client.register_port(&name, AudioOut::default()).map_err(jack_error);
    let outputs: Vec<_> = names.map(register).collect::<Result<_, _>>()?;
    if outputs.len() != layout.channels() {
        return Err("the session has other stems than the device was configured for".into());
    }
    let (left, right) = (&outputs[layout.left()], &outputs[layout.right()]);
    let midi_in = client.register_port("midi_in", MidiIn::default()).map_err(jack_error)?;
    let midi_out = client.register_port("midi_out", MidiOut::default()).map_err(jack_error)?;
    let stats = Arc::new(DeviceStats::default());
    stats.period.store(client.buffer_size(), Ordering::Relaxed);
    let notifications = Notifications { input: input.clone_unowned(), output: left.clone_unowned(), stats: stats.clone() };
    let own: Vec<_> = [input.clone_unowned(), midi_in.clone_unowned(), midi_out.clone_unowned()]
        .into_iter()
        .chain(outputs.iter().map(Port::clone_unowned))
        .collect();
    let names = PortNames {
        input: input.name().map_err(jack_error)?,
        mix: [left.name().map_err(jack_error)?, right.name().map_err(jack_error)?],
        midi_in: midi_in.name().map_err(jack_error)?,
        midi_out: midi_out.name().map_err(jack_error)?,
    };
    let process = Process {
        input,
        outputs,
        midi_in,
        midi_out,
        clock: MidiClockOut::default(),
        ports,
        expected: None,
        passed: 0,
        ahead: 0,
        rate,
        extra_latency: config.extra_latency,
        stats: stats.clone(),
        transport: None,
        waits: true,
    };
    let client = client.activate_async(notifications, process).map_err(jack_error)?;
    let mut connections = Connections::new(names, config, again.unwrap_or_default());
    let missing = match connections.make(client.as_client()) {
        Err(e) if again.is_none() => return Err(e),
        made => made.err(),
    };
    let (connections, callbacks) = (Mutex::new(connections), Mutex::new(CallbackWatch::new(Instant::now())));
    let links = Mutex::new(LinkHistory::new(own, again.unwrap_or_default()));
    Ok(Box::new(JackStream { client, stats, rate, connections, missing, callbacks, links }))
}

/// Whether a server accepts clients.
pub fn running() -> bool {
    Client::new("sideman-doctor", ClientOptions::NO_START_SERVER).is_ok()
}

impl Stream for JackStream {
    fn description(&self) -> String {
        let client = self.client.as_client();
        let frames = self.stats.period.load(Ordering::Relaxed);
        let missing = self.missing.as_ref().map(|e| format!("; {e}: it is connected when it appears")).unwrap_or_default();
        format!("JACK client {} at {} Hz, {frames} frames{missing}", client.name(), self.rate)
    }

    fn rates(&self) -> (u32, u32) {
        (self.rate, self.rate)
    }

    fn stats(&self) -> &Arc<DeviceStats> {
        &self.stats
    }

    fn failure(&self) -> Option<String> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).retry(self.client.as_client());
        let frames = self.stats.frames.load(Ordering::Relaxed);
        let rate = self.stats.rate.load(Ordering::Relaxed);
        if rate != 0 && rate != self.rate {
            return Some(format!("the JACK server runs at {rate} Hz now, before at {} Hz", self.rate));
        }
        let (mut callbacks, now) = (self.callbacks.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        if frames != callbacks.frames {
            self.links.lock().unwrap_or_else(PoisonError::into_inner).look(now);
        }
        callbacks.is_gone(frames, now).then(|| "the JACK server is gone".to_owned())
    }

    fn links(&self) -> Vec<Link> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner).settled();
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        // A server that is lost twice: a program that has not come back in between is still waited for.
        for link in connections.missing_links() {
            if !links.contains(link) {
                links.push(link.clone());
            }
        }
        links
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_stood_still_does_not_take_the_server_for_gone() {
        let start = Instant::now();
        let after = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let mut watch = CallbackWatch::new(start);
        assert!(!watch.is_gone(1024, after(0.05)));
        // The program stands still for 5 s. Its next look comes before the next callback.
        assert!(!watch.is_gone(1024, after(5.05)) && !watch.is_gone(2048, after(5.1)));
        // Without callbacks the server is gone after a second.
        assert!((1..=20).all(|n| !watch.is_gone(2048, after(5.1 + 0.05 * f64::from(n)))));
        assert!((21..=24).any(|n| watch.is_gone(2048, after(5.1 + 0.05 * f64::from(n)))));
    }
}
