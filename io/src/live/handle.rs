//! How a device gets the rings that it runs its callbacks over: it requests them from the engine's thread.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use ringbuf::{HeapCons, HeapProd};

use crate::clock::BeatPosition;
use crate::device::DeviceStats;
use crate::input::InputWriter;
use crate::midi::PortEvent;
use crate::output::OutputReader;
use crate::slot_layout::SlotLayout;
use crate::touched;

/// How long a device waits for its rings.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// MIDI messages that may wait for the engine's thread.
const MIDI_QUEUE: usize = 1024;
/// Beat marks that may wait for the device.
const MARK_QUEUE: usize = 256;

/// What a device runs its callbacks over.
pub struct DevicePorts {
    /// Takes the musician's samples.
    pub input: InputWriter,
    /// Gives the slots to play. Its position is at first the song time that is heard now; the device moves it
    /// ahead by its latencies.
    pub output: OutputReader,
    /// Channels of a slot.
    pub layout: SlotLayout,
    /// Song time of the first input sample, in frames of the input.
    pub input_start: u64,
    /// Takes the messages of the device's MIDI port, where it has one.
    pub midi: HeapProd<PortEvent>,
    /// Gives beat marks, for the MIDI clock that the device sends.
    pub marks: HeapCons<BeatPosition>,
}

impl DevicePorts {
    /// The ports, and the engine's ends of their MIDI queues.
    pub(super) fn new(
        input: InputWriter,
        output: OutputReader,
        layout: SlotLayout,
        input_start: u64,
    ) -> (DevicePorts, HeapCons<PortEvent>, HeapProd<BeatPosition>) {
        let (midi, received) = touched::ring(MIDI_QUEUE, PortEvent::default());
        let (sent, marks) = touched::ring(MARK_QUEUE, BeatPosition::default());
        (DevicePorts { input, output, layout, input_start, midi, marks }, received, sent)
    }
}

/// A device that was opened: its counters, and its rates of input and output.
#[derive(Debug, Clone)]
pub struct OpenedDevice {
    /// Kept up to date by the device's callbacks.
    pub stats: Arc<DeviceStats>,
    /// Rates of input and output.
    pub rates: (u32, u32),
}

/// The interface of devices to the engine's thread.
#[derive(Debug, Clone)]
pub struct EngineHandle {
    requests: Sender<ConnectRequest>,
    opened: Sender<OpenedDevice>,
}

#[derive(Debug)]
pub(super) struct ConnectRequest {
    pub rate_in: u32,
    pub rate_out: u32,
    pub steered: bool,
    pub reply: Sender<Result<DevicePorts, String>>,
}

impl EngineHandle {
    /// A handle, and the engine's end of it.
    pub(crate) fn new() -> (EngineHandle, ConnectRequests) {
        let (requests, received) = channel();
        let (opened, devices) = channel();
        (EngineHandle { requests, opened }, ConnectRequests { requests: received, opened: devices })
    }

    /// Ports for a device of these rates, in place of those that were given before. `steered`: input and
    /// output have clocks of their own.
    ///
    /// # Errors
    /// The rates can't be resampled, or the session is over.
    pub fn connect(&self, rate_in: u32, rate_out: u32, steered: bool) -> Result<DevicePorts, String> {
        let (reply, answer) = channel();
        self.requests.send(ConnectRequest { rate_in, rate_out, steered, reply }).map_err(|_| "the session is over".to_owned())?;
        match answer.recv_timeout(CONNECT_TIMEOUT) {
            Ok(ports) => ports,
            Err(RecvTimeoutError::Timeout) => Err("the engine does not answer".into()),
            Err(RecvTimeoutError::Disconnected) => Err("the session is over".into()),
        }
    }

    /// Passes on the counters of a device that was opened; the snapshot shows them.
    pub fn opened(&self, device: OpenedDevice) {
        // The receiver is dropped only at the end of the session.
        let _ = self.opened.send(device);
    }
}

/// The engine's end of all [`EngineHandle`]s.
pub(crate) struct ConnectRequests {
    requests: Receiver<ConnectRequest>,
    opened: Receiver<OpenedDevice>,
}

impl ConnectRequests {
    pub(super) fn next(&self) -> Option<ConnectRequest> {
        self.requests.try_recv().ok()
    }

    pub(super) fn next_opened(&self) -> Option<OpenedDevice> {
        self.opened.try_recv().ok()
    }

    /// Waits up to `timeout` for one request and answers it with the rings that `make` returns for its rates.
    pub(crate) fn answer_one(
        &self,
        timeout: Duration,
        layout: SlotLayout,
        make: impl FnOnce(u32, u32, bool) -> sideman_engine::Result<(InputWriter, OutputReader)>,
    ) {
        let Ok(request) = self.requests.recv_timeout(timeout) else { return };
        let rings = make(request.rate_in, request.rate_out, request.steered);
        let ports = rings.map(|(input, output)| DevicePorts::new(input, output, layout, 0).0).map_err(|e| e.to_string());
        // Nobody waits for it any more after a timeout.
        let _ = request.reply.send(ports);
    }
}
