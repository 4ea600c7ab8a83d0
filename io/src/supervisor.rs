//! Keeps a device open for as long as the session lasts: when it is lost, it is opened again after 0.25, 0.5,
//! 1 and 2 s and then every 2 s. The session and its take go on meanwhile.

use std::time::{Duration, Instant};

use crate::control::Control;
use crate::device::{self, DeviceConfig, Link, Stream};
use crate::event::DeviceEvent;
use crate::live::{EngineHandle, OpenedDevice};

/// Seconds between attempts.
const RETRY: [f64; 4] = [0.25, 0.5, 1.0, 2.0];
/// How often the device's state is read.
const POLL: Duration = Duration::from_millis(50);

/// Keeps the device open until the session ends, on the calling thread. Every change is an event of
/// `control`.
///
/// # Errors
/// The device can't be opened at the start.
pub fn watch(control: &Control, config: &DeviceConfig, engine: &EngineHandle) -> Result<(), String> {
    let open = |again: Option<&[Link]>| -> Result<Box<dyn Stream>, String> {
        let stream = device::open(config, engine, again)?;
        engine.opened(OpenedDevice { stats: stream.stats().clone(), rates: stream.rates() });
        Ok(stream)
    };
    let mut stream = open(None)?;
    control.tell(DeviceEvent::Opened { description: stream.description() });
    while !control.ended() {
        let Some(error) = stream.failure() else {
            std::thread::sleep(POLL);
            continue;
        };
        let links = stream.links();
        // The device is free before it is opened again.
        drop(stream);
        control.tell(DeviceEvent::Lost { error });
        let Some(reopened) = reopen(control, || open(Some(&links))) else { return Ok(()) };
        stream = reopened;
        control.tell(DeviceEvent::Reopened { description: stream.description() });
    }
    Ok(())
}

/// Tries to open the device until it is there; none where the session ends before.
fn reopen(control: &Control, open: impl Fn() -> Result<Box<dyn Stream>, String>) -> Option<Box<dyn Stream>> {
    let waits = RETRY.into_iter().chain(std::iter::repeat(RETRY[RETRY.len() - 1]));
    for (attempt, wait) in waits.enumerate() {
        let until = Instant::now() + Duration::from_secs_f64(wait);
        while Instant::now() < until {
            if control.ended() {
                return None;
            }
            std::thread::sleep(POLL);
        }
        match open() {
            Ok(stream) => return Some(stream),
            Err(e) => tracing::debug!("attempt {}: {e}", attempt + 1),
        }
    }
    None
}

/// Prints the message of every event, on a thread of its own, until the session is over.
pub fn print_events(control: &Control, mut print: impl FnMut(String) + Send + 'static) {
    let events = control.events();
    std::thread::spawn(move || {
        for event in events {
            if let Some(message) = event.message() {
                print(message);
            }
        }
    });
}
