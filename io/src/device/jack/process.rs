//! The client's process callback: audio, MIDI and transport of one block.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jack::{AudioIn, AudioOut, Client, Frames, MidiIn, MidiOut, Port, ProcessScope, RawMidi};
use jack::{TransportState, TransportStatePosition};
use ringbuf::traits::Producer;

use super::super::DeviceStats;
use crate::clock::{Beat, MidiClockOut, Transport};
use crate::live::DevicePorts;
use crate::midi::PortEvent;
use crate::output::BLOCK_MAX;
use crate::rt::{self, Callback};

/// The longest wait for the band in freewheel: a server waits longer, and so does who looks whether it is gone.
const PATIENCE: Duration = Duration::from_millis(500);
/// Time between two looks while it waits.
const LOOK: Duration = Duration::from_micros(500);

/// What the callback owns.
pub(super) struct Process {
    pub input: Port<AudioIn>,
    /// One for each channel of a slot.
    pub outputs: Vec<Port<AudioOut>>,
    pub midi_in: Port<MidiIn>,
    pub midi_out: Port<MidiOut>,
    /// The MIDI clock that is sent.
    pub clock: MidiClockOut,
    pub ports: DevicePorts,
    /// The server's frame time at which the next callback should come; none before the first one.
    pub expected: Option<Frames>,
    /// Frames since the first callback.
    pub passed: u64,
    /// Round-trip latency by which the output is ahead, in frames.
    pub ahead: u64,
    pub rate: u32,
    /// Latency that the server does not report, in microseconds.
    pub extra_latency: i32,
    pub stats: Arc<DeviceStats>,
    /// The transport as it was passed on last.
    pub transport: Option<Transport>,
    /// It waits for the band in freewheel: the band came within [`PATIENCE`] before.
    pub waits: bool,
}

impl jack::ProcessHandler for Process {
    fn process(&mut self, client: &Client, scope: &ProcessScope) -> jack::Control {
        rt::callback(Callback::Duplex, || {
            self.keep_time(scope);
            self.pass_on_transport(client);
            self.midi(scope);
            self.audio(scope);
        });
        jack::Control::Continue
    }

    fn buffer_size(&mut self, _: &Client, size: Frames) -> jack::Control {
        self.stats.period.store(size, Ordering::Relaxed);
        jack::Control::Continue
    }
}

impl Process {
    /// Skips frames that the server lost, and moves the output ahead by the round-trip latency.
    fn keep_time(&mut self, scope: &ProcessScope) {
        let now = scope.last_frame_time();
        let lost = now.wrapping_sub(self.expected.unwrap_or(now));
        // Half the counter's range or more: the server's clock was restarted.
        if lost < u32::MAX / 2 {
            self.passed += u64::from(lost);
            if lost > 0 {
                self.ports.output.seek(self.ports.output.at() + u64::from(lost));
            }
        }
        self.expected = Some(now.wrapping_add(scope.n_frames()));
        let trip = self.stats.round_trip(self.rate, self.rate, self.extra_latency);
        if trip != self.ahead {
            self.ports.output.seek((self.ports.output.at() + trip).saturating_sub(self.ahead));
            self.ahead = trip;
        }
    }

    /// Passes on where the server's transport is at the start of this block, where that is new.
    fn pass_on_transport(&mut self, client: &Client) {
        let Ok(TransportStatePosition { pos, state }) = client.transport().query() else { return };
        let rate = f64::from(self.rate);
        let bbt = pos.bbt();
        let beat = bbt.and_then(|b| {
            let beat = b.beat as f64 + b.tick as f64 / b.ticks_per_beat;
            let mut beat = Beat::new(b.bar as f64, beat, f64::from(b.sig_num), f64::from(b.sig_denom), b.bpm)?;
            // The position is that of the frame `bbt_offset` frames before the block.
            beat.quarters += f64::from(pos.bbt_offset().unwrap_or(0)) / rate * beat.tempo / 60.0;
            Some(beat)
        });
        let now = Transport {
            at: self.ports.output.at() as f64 / rate,
            rolling: state == TransportState::Rolling,
            seconds: f64::from(pos.frame()) / rate,
            beat,
            master: bbt.is_some(),
        };
        if now.is_news(self.transport.as_ref()) && self.ports.midi.try_push(PortEvent::Transport(now)).is_ok() {
            self.transport = Some(now);
        }
    }

    /// Passes on MIDI messages, and sends the MIDI clock.
    fn midi(&mut self, scope: &ProcessScope) {
        let n = scope.n_frames();
        // Song time, in frames, that leaves the speaker now: messages of this block belong to it, and the
        // clock is sent for it.
        let heard_now = self.ports.output.at() as f64 - f64::from(self.stats.latency_out.load(Ordering::Relaxed));
        let rate = f64::from(self.rate);
        for message in self.midi_in.iter(scope) {
            let at = (heard_now + f64::from(message.time)) / rate;
            if let Some(heard) = PortEvent::new(at, message.bytes) {
                // Full where the engine has stalled: the MIDI clock's follower sees the gap.
                let _ = self.ports.midi.try_push(heard);
            }
        }
        let mut out = self.midi_out.writer(scope);
        let last = n.saturating_sub(1);
        let (from, to) = (heard_now / rate, (heard_now + f64::from(n)) / rate);
        self.clock.advance(from, to, &mut self.ports.marks, |at, bytes| {
            let time = ((at * rate - heard_now).round() as u32).min(last);
            // Where the port's buffer is full the receiver sees a gap.
            let _ = out.write(&RawMidi { time, bytes });
        });
    }

    /// In freewheel, waits until the band has played the block. The server allows that: it is not in real time.
    fn wait_in_freewheel(&mut self, frames: u64) {
        if !self.stats.freewheel.load(Ordering::Relaxed) {
            self.waits = true;
            return;
        }
        let began = Instant::now();
        while self.waits && self.ports.output.ready() < frames {
            std::thread::sleep(LOOK);
            // The lead is too short for this block, or the engine has stalled.
            self.waits = began.elapsed() < PATIENCE;
        }
    }

    fn audio(&mut self, scope: &ProcessScope) {
        let n = scope.n_frames();
        let heard = self.input.as_slice(scope);
        self.ports.input.write(self.ports.input_start + self.passed, heard.iter().copied());
        self.wait_in_freewheel(u64::from(n));
        let channels = self.outputs.len();
        let mut done = 0;
        while done < n as usize {
            let piece = (n as usize - done).min(BLOCK_MAX);
            let slots = self.ports.output.play(piece);
            for (channel, port) in self.outputs.iter_mut().enumerate() {
                let out = &mut port.as_mut_slice(scope)[done..done + piece];
                for (x, slot) in out.iter_mut().zip(slots.chunks_exact(channels)) {
                    *x = slot[channel];
                }
            }
            done += piece;
        }
        self.passed += u64::from(n);
        self.stats.frames.fetch_add(u64::from(n), Ordering::Relaxed);
    }
}
