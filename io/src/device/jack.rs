//! JACK, as a rig uses it: one client, so that input and output share one callback and one clock; a port for every stem. Time is the
//! server's frame time: frames that it loses are silence going in and are passed over going out, so that the band stays in phase.
//!
//! JACK tells a client of its end by a signal-like callback that safe Rust can't take; a server that calls nobody for a second is gone.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jack::{AsyncClient, AudioIn, AudioOut, Client, ClientOptions, Frames, LatencyType, MidiIn, MidiOut, Port, RawMidi, Unowned};
use jack::{TransportState, TransportStatePosition};
use ringbuf::traits::Producer;

use super::{DeviceConfig, DeviceStats, Stream};
use crate::clock::{Beat, MidiClockOut, Transport};
use crate::live::{DevicePorts, EngineHandle};
use crate::midi::PortEvent;
use crate::output::BLOCK_MAX;
use crate::rt;

/// No callback for so long: the server is gone, or we were thrown out.
const GONE: Duration = Duration::from_secs(1);

struct Process {
    input: Port<AudioIn>,
    /// One for each channel of a slot: stems, click, left, right.
    outputs: Vec<Port<AudioOut>>,
    midi_in: Port<MidiIn>,
    midi_out: Port<MidiOut>,
    clock: MidiClockOut,
    line: DevicePorts,
    /// The server's frame time at the first callback, and of the callback that should come next.
    begun: Option<Frames>,
    next: Frames,
    /// Frames since the first callback.
    passed: u64,
    /// Round trip that the player stands ahead by.
    ahead: u64,
    rate: u32,
    beyond: i32,
    stats: Arc<DeviceStats>,
    /// The transport as it was told last.
    told: Option<Transport>,
}

impl Process {
    /// Tells where the server's transport is: its block is the one that is given now.
    fn transport(&mut self, client: &Client) {
        let Ok(TransportStatePosition { pos, state }) = client.transport().query() else { return };
        let rate = f64::from(self.rate);
        let beat = pos.bbt().and_then(|b| {
            let beat = b.beat as f64 + b.tick as f64 / b.ticks_per_beat;
            let mut beat = Beat::new(b.bar as f64, beat, f64::from(b.sig_num), f64::from(b.sig_denom), b.bpm)?;
            // It is of that many frames before the block.
            beat.quarters += f64::from(pos.bbt_offset().unwrap_or(0)) / rate * beat.tempo / 60.0;
            Some(beat)
        });
        let now = Transport {
            at: self.line.reader.at() as f64 / rate,
            rolling: state == TransportState::Rolling,
            seconds: f64::from(pos.frame()) / rate,
            beat,
        };
        if now.is_news(self.told.as_ref()) && self.line.heard.try_push(PortEvent::Transport(now)).is_ok() {
            self.told = Some(now);
        }
    }
}

impl jack::ProcessHandler for Process {
    fn process(&mut self, client: &Client, scope: &jack::ProcessScope) -> jack::Control {
        rt::no_alloc(|| {
            let (now, n) = (scope.last_frame_time(), scope.n_frames());
            if self.begun.is_none() {
                (self.begun, self.next) = (Some(now), now);
            }
            // What the server lost; less than half the counter's circle, else its clock began anew.
            let lost = now.wrapping_sub(self.next);
            if lost < u32::MAX / 2 {
                self.passed += u64::from(lost);
                if lost > 0 {
                    self.line.reader.seek(self.line.reader.at() + u64::from(lost));
                }
            }
            self.next = now.wrapping_add(n);
            let trip = self.stats.trip(self.rate, self.rate, self.beyond);
            if trip != self.ahead {
                self.line.reader.seek((self.line.reader.at() + trip).saturating_sub(self.ahead));
                self.ahead = trip;
            }
            self.transport(client);
            // What sounds at the speaker now; messages of this block belong to it, and ours are sent for it.
            let speaker = self.line.reader.at() as f64 - f64::from(self.stats.latency_out.load(Ordering::Relaxed));
            let rate = f64::from(self.rate);
            for message in self.midi_in.iter(scope) {
                let at = (speaker + f64::from(message.time)) / rate;
                if let Some(heard) = PortEvent::new(at, message.bytes) {
                    // The engine stalls: it will see by the clock's gap that something is missing.
                    let _ = self.line.heard.try_push(heard);
                }
            }
            let mut out = self.midi_out.writer(scope);
            let last = n.saturating_sub(1);
            let (from, to) = (speaker / rate, (speaker + f64::from(n)) / rate);
            self.clock.advance(from, to, &mut self.line.marks, |at, bytes| {
                let time = ((at * rate - speaker).round() as u32).min(last);
                // No room in the port's buffer: a receiver counts the gap.
                let _ = out.write(&RawMidi { time, bytes });
            });
            let heard = self.input.as_slice(scope);
            self.line.input.hear(self.line.in_start + self.passed, heard.iter().copied());
            let mut done = 0;
            while done < n as usize {
                let piece = (n as usize - done).min(BLOCK_MAX);
                let slots = self.line.reader.play(piece);
                let channels = self.outputs.len();
                for (c, port) in self.outputs.iter_mut().enumerate() {
                    let out = &mut port.as_mut_slice(scope)[done..done + piece];
                    for (x, slot) in out.iter_mut().zip(slots.chunks_exact(channels)) {
                        *x = slot[c];
                    }
                }
                done += piece;
            }
            self.passed += u64::from(n);
            self.stats.frames.fetch_add(u64::from(n), Ordering::Relaxed);
        });
        jack::Control::Continue
    }

    fn buffer_size(&mut self, _: &Client, size: Frames) -> jack::Control {
        self.stats.period.store(size, Ordering::Relaxed);
        jack::Control::Continue
    }
}

/// What the server tells outside of its realtime thread.
struct Notices {
    input: Port<Unowned>,
    output: Port<Unowned>,
    stats: Arc<DeviceStats>,
}

impl Notices {
    /// Latencies as the graph gives them: the longest way in, the longest way out.
    fn latencies(&self) {
        self.stats.latency_in.store(self.input.get_latency_range(LatencyType::Capture).1, Ordering::Relaxed);
        self.stats.latency_out.store(self.output.get_latency_range(LatencyType::Playback).1, Ordering::Relaxed);
    }
}

impl jack::NotificationHandler for Notices {
    fn graph_reorder(&mut self, _: &Client) -> jack::Control {
        self.latencies();
        jack::Control::Continue
    }

    fn ports_connected(&mut self, _: &Client, _: jack::PortId, _: jack::PortId, _: bool) {
        self.latencies();
    }

    fn xrun(&mut self, _: &Client) -> jack::Control {
        self.stats.xruns.fetch_add(1, Ordering::Relaxed);
        jack::Control::Continue
    }
}

struct Jack {
    client: AsyncClient<Notices, Process>,
    stats: Arc<DeviceStats>,
    rate: u32,
    seen: AtomicU64,
    when: Mutex<Instant>,
}

/// Becomes a client of the server that runs; starts none. Ports: `PLAYER_in`, `STEM_out` for each stem, `click_out`, `mix_out_1`,
/// `mix_out_2`, `midi_in`, `midi_out`. They are connected by who asked for it (`--input`, `--output`, `--midi` as beginnings of port names), else by hand.
///
/// # Errors
/// No server, or it takes no client.
pub fn open(asked: &DeviceConfig, link: &EngineHandle) -> Result<Box<dyn Stream>, String> {
    let wrong = |e: jack::Error| format!("JACK: {e}; is a server running? (jackd -d alsa, or PipeWire's pw-jack)");
    let (client, _) = Client::new(&asked.client, ClientOptions::NO_START_SERVER).map_err(wrong)?;
    let rate = client.sample_rate();
    let line = link.connect(rate, rate, false)?;
    let input = client.register_port(&format!("{}_in", asked.input_stem), AudioIn::default()).map_err(wrong)?;
    let names = asked.stems.iter().map(|s| format!("{s}_out")).chain(["click_out", "mix_out_1", "mix_out_2"].map(str::to_owned));
    let outputs: Vec<_> =
        names.map(|name| client.register_port(&name, AudioOut::default()).map_err(wrong)).collect::<Result<_, _>>()?;
    if outputs.len() != line.reader.channels() {
        return Err("the band has other stems than the device was asked for".into());
    }
    let midi_in = client.register_port("midi_in", MidiIn::default()).map_err(wrong)?;
    let midi_out = client.register_port("midi_out", MidiOut::default()).map_err(wrong)?;
    let midi = (midi_in.name().map_err(wrong)?, midi_out.name().map_err(wrong)?);
    let stats = Arc::new(DeviceStats::default());
    stats.period.store(client.buffer_size(), Ordering::Relaxed);
    let mix = outputs.len() - 2;
    let notices = Notices { input: input.clone_unowned(), output: outputs[mix].clone_unowned(), stats: stats.clone() };
    let wires: (String, Vec<String>) =
        (input.name().map_err(wrong)?, outputs[mix..].iter().map(|p| p.name()).collect::<Result<_, _>>().map_err(wrong)?);
    let process = Process {
        input,
        outputs,
        midi_in,
        midi_out,
        clock: MidiClockOut::default(),
        line,
        begun: None,
        next: 0,
        passed: 0,
        ahead: 0,
        rate,
        beyond: asked.beyond,
        stats: stats.clone(),
        told: None,
    };
    let client = client.activate_async(notices, process).map_err(wrong)?;
    if let Some(from) = &asked.input {
        let ports = client.as_client().ports(Some(&format!("^{}", escape(from))), None, jack::PortFlags::IS_OUTPUT);
        let port = ports.first().ok_or_else(|| format!("--input {from}: JACK has no output port of that name"))?;
        client.as_client().connect_ports_by_name(port, &wires.0).map_err(wrong)?;
    }
    if let Some(to) = &asked.output {
        let ports = client.as_client().ports(Some(&format!("^{}", escape(to))), None, jack::PortFlags::IS_INPUT);
        if ports.is_empty() {
            return Err(format!("--output {to}: JACK has no input port of that name"));
        }
        for (n, wire) in wires.1.iter().enumerate() {
            client.as_client().connect_ports_by_name(wire, &ports[n.min(ports.len() - 1)]).map_err(wrong)?;
        }
    }
    if let Some(name) = &asked.midi {
        let ports = |flag| client.as_client().ports(Some(&format!("^{}", escape(name))), Some("8 bit raw midi"), flag);
        let (from, to) = (ports(jack::PortFlags::IS_OUTPUT), ports(jack::PortFlags::IS_INPUT));
        if from.is_empty() && to.is_empty() {
            return Err(format!("--midi {name}: JACK has no MIDI port of that name"));
        }
        if let Some(port) = from.first() {
            client.as_client().connect_ports_by_name(port, &midi.0).map_err(wrong)?;
        }
        if let Some(port) = to.first() {
            client.as_client().connect_ports_by_name(&midi.1, port).map_err(wrong)?;
        }
    }
    Ok(Box::new(Jack { client, stats, rate, seen: AtomicU64::new(0), when: Mutex::new(Instant::now()) }))
}

/// Whether a server takes clients.
pub fn running() -> bool {
    Client::new("sideman-doctor", ClientOptions::NO_START_SERVER).is_ok()
}

/// A name as a regular expression that means itself.
fn escape(name: &str) -> String {
    name.chars().flat_map(|c| (!c.is_alphanumeric() && !"_: -".contains(c)).then_some('\\').into_iter().chain([c])).collect()
}

impl Stream for Jack {
    fn about(&self) -> String {
        let client = self.client.as_client();
        format!("JACK client {} at {} Hz, {} frames", client.name(), self.rate, self.stats.period.load(Ordering::Relaxed))
    }

    fn rates(&self) -> (u32, u32) {
        (self.rate, self.rate)
    }

    fn stats(&self) -> &Arc<DeviceStats> {
        &self.stats
    }

    fn lost(&self) -> Option<String> {
        let frames = self.stats.frames.load(Ordering::Relaxed);
        let mut when = self.when.lock().ok()?;
        if self.seen.swap(frames, Ordering::Relaxed) != frames {
            *when = Instant::now();
        }
        (when.elapsed() > GONE).then(|| "the JACK server is gone".to_owned())
    }
}
