//! Owns the device: opens it, sees it go, tries again after 0.25, 0.5, 1 and 2 s and then every 2 s, for as long as the session lasts.
//! The band plays on meanwhile; a take goes on.

use std::time::{Duration, Instant};

use crate::control::{Control, Event};
use crate::device::{self, DeviceConfig, Stream};
use crate::live::{EngineHandle, Told};

/// Waits between attempts.
const RETRY: [f64; 4] = [0.25, 0.5, 1.0, 2.0];
/// How often a device is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Keeps a device open until the session ends, on the calling thread. `say` is told what happens, in sentences.
///
/// # Errors
/// The first opening failed: nothing was played on anything.
pub fn watch(
    control: &Control,
    asked: &DeviceConfig,
    link: &EngineHandle,
    told: &Told,
    mut say: impl FnMut(String),
) -> Result<(), String> {
    let open = || -> Result<Box<dyn Stream>, String> {
        let stream = device::open(asked, link)?;
        // The engine is gone only where the session is over.
        let _ = told.send((stream.stats().clone(), stream.rates()));
        Ok(stream)
    };
    let mut stream = Some(open()?);
    say(stream.as_ref().map_or(String::new(), |s| s.about()));
    while !control.ended() {
        let Some(why) = stream.as_ref().and_then(|s| s.lost()) else {
            std::thread::sleep(LOOK);
            continue;
        };
        stream = None;
        say(format!("the device is lost ({why}); the band plays on, and comes back with the device"));
        let mut attempt = 0;
        while stream.is_none() && !control.ended() {
            let until = Instant::now() + Duration::from_secs_f64(RETRY[attempt.min(RETRY.len() - 1)]);
            while Instant::now() < until && !control.ended() {
                std::thread::sleep(LOOK);
            }
            attempt += 1;
            match open() {
                Ok(new) => {
                    say(format!("back on {}", new.about()));
                    stream = Some(new);
                }
                Err(e) => tracing::debug!("attempt {attempt}: {e}"),
            }
        }
    }
    Ok(())
}

/// Prints what is said, on a thread of its own, until the session is over.
pub fn narrate(control: &Control, mut print: impl FnMut(String) + Send + 'static) {
    let events = control.events();
    std::thread::spawn(move || {
        for event in events {
            if let Event::Said(what) = event {
                print(what);
            }
        }
    });
}
