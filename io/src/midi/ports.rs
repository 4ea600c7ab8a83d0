//! MIDI ports of the system (ALSA, CoreMIDI, WinMM), by midir, for devices whose audio and MIDI are two systems; JACK has ports of its own
//! (`crate::device::jack`). From its bytes on everything is the same.
//!
//! These systems know no song time: it is read off the device's counter, once a millisecond, which is how well a tick is heard and sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use midir::{Ignore, MidiIO, MidiInput, MidiInputConnection, MidiOutput, MidiOutputConnection};
use ringbuf::traits::Split;
use ringbuf::{HeapCons, HeapProd, HeapRb};

use super::{Clock, Heard, Mark};
use crate::control::Control;
use crate::playback_clock::{Opened, PlaybackClock};

/// Between two looks at the device's counter, and two stretches of our own clock.
const LOOK: Duration = Duration::from_millis(1);
/// Song time that jumps by more than this, s, is at another place.
const JUMP: f64 = 0.1;
/// Marks that may wait.
const MARKS: usize = 256;

/// Open ports; dropping them closes them.
pub struct Ports {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    _input: Option<MidiInputConnection<()>>,
    about: String,
}

/// What the engine tells the ports.
pub struct Feed {
    /// For every device that is opened.
    pub opened: Sender<Opened>,
    /// Where the beat lies.
    pub marks: HeapProd<Mark>,
}

/// Names of the inputs and of the outputs that there are.
///
/// # Errors
/// The system has no MIDI at all; why, and what is needed.
pub fn list() -> Result<(Vec<String>, Vec<String>), String> {
    let (input, output) = systems("sideman")?;
    Ok((names(&input), names(&output)))
}

/// Finds a port by the beginning of its name, else by a part of it, whatever its case.
///
/// # Errors
/// No MIDI, or no such port; and which there are.
pub fn find(wanted: &str) -> Result<(Option<String>, Option<String>), String> {
    let (ins, outs) = list()?;
    let (input, output) = (place(&ins, wanted), place(&outs, wanted));
    if input.is_none() && output.is_none() {
        let mut all: Vec<String> = ins.into_iter().chain(outs).collect();
        all.dedup();
        let there = if all.is_empty() { "there is none at all".to_owned() } else { format!("there are {}", all.join(", ")) };
        return Err(format!("no MIDI port of that name; {there}"));
    }
    Ok((input.map(|i| ins[i].clone()), output.map(|i| outs[i].clone())))
}

/// Opens the ports of that name, in and out, as far as there are both. What they hear goes to `heard`.
///
/// # Errors
/// Those of [`find`], or a port is another program's.
pub fn open(wanted: &str, control: &Control, heard: Sender<Heard>) -> Result<(Ports, Feed), String> {
    let (from, to) = find(wanted)?;
    let (mut input, output) = systems("sideman")?;
    // The clock is for us; system exclusive and active sensing are not.
    input.ignore(Ignore::SysexAndActiveSense);
    // Song time less the time since `began`, ns.
    let (began, song) = (Instant::now(), Arc::new(AtomicI64::new(0)));
    let wrong = |name: &str, e: &dyn std::fmt::Display| format!("the MIDI port {name} can't be opened: {e}");
    let input = match &from {
        Some(name) => {
            let port = port(&input, name).ok_or_else(|| wrong(name, &"it is gone"))?;
            let song = song.clone();
            let hear = move |_: u64, bytes: &[u8], (): &mut ()| {
                let at = began.elapsed().as_secs_f64() + song.load(Ordering::Relaxed) as f64 * 1e-9;
                if let Some(message) = Heard::new(at, bytes) {
                    // The hands are gone only where the session is over.
                    let _ = heard.send(message);
                }
            };
            Some(input.connect(&port, "midi_in", hear, ()).map_err(|e| wrong(name, &e))?)
        }
        None => None,
    };
    let output = match &to {
        Some(name) => {
            let port = port(&output, name).ok_or_else(|| wrong(name, &"it is gone"))?;
            Some(output.connect(&port, "midi_out").map_err(|e| wrong(name, &e))?)
        }
        None => None,
    };
    let about = format!("MIDI: in {}, out {}", from.as_deref().unwrap_or("none"), to.as_deref().unwrap_or("none"));
    let stop = Arc::new(AtomicBool::new(false));
    let (speaker, opened) = PlaybackClock::new();
    let (marks, beats) = HeapRb::new(MARKS).split();
    let (ended, told) = (stop.clone(), control.clone());
    let serve = move || serve(&told, output, speaker, beats, began, &song, &ended);
    let thread = std::thread::Builder::new().name("midi ports".into()).spawn(serve).map_err(|e| format!("no thread: {e}"))?;
    Ok((Ports { stop, thread: Some(thread), _input: input, about }, Feed { opened, marks }))
}

impl Ports {
    /// In words: what was opened.
    pub fn about(&self) -> &str {
        &self.about
    }
}

impl Drop for Ports {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // It panicked: there is nobody to tell.
            let _ = thread.join();
        }
    }
}

fn systems(client: &str) -> Result<(MidiInput, MidiOutput), String> {
    const ELSE: &str = "under --host jack the band has MIDI ports of its own";
    // ALSA would complain to the terminal, in its own words.
    if cfg!(target_os = "linux") && !std::path::Path::new("/dev/snd/seq").exists() {
        return Err(format!("this system has no MIDI: the ALSA sequencer is missing (/dev/snd/seq; modprobe snd-seq); {ELSE}"));
    }
    let wrong = |e: midir::InitError| format!("this system has no MIDI ({e}); {ELSE}");
    Ok((MidiInput::new(client).map_err(wrong)?, MidiOutput::new(client).map_err(wrong)?))
}

fn names<T: MidiIO>(io: &T) -> Vec<String> {
    io.ports().iter().filter_map(|port| io.port_name(port).ok()).collect()
}

fn port<T: MidiIO>(io: &T, name: &str) -> Option<T::Port> {
    io.ports().into_iter().find(|port| io.port_name(port).is_ok_and(|n| n == name))
}

/// Place of the port that is meant.
fn place(all: &[String], wanted: &str) -> Option<usize> {
    let (all, wanted): (Vec<String>, String) = (all.iter().map(|n| n.to_lowercase()).collect(), wanted.to_lowercase());
    all.iter().position(|n| n.starts_with(&wanted)).or_else(|| all.iter().position(|n| n.contains(&wanted)))
}

/// Keeps song time, and sends our clock.
fn serve(
    control: &Control,
    mut output: Option<MidiOutputConnection>,
    mut speaker: PlaybackClock,
    mut beats: HeapCons<Mark>,
    began: Instant,
    song: &AtomicI64,
    stop: &AtomicBool,
) {
    let (mut clock, mut sent) = (Clock::default(), 0.0);
    while !stop.load(Ordering::Acquire) && !control.ended() {
        std::thread::sleep(LOOK);
        let now = began.elapsed().as_secs_f64();
        let Some(offset) = speaker.look(control, now) else { continue };
        song.store((offset * 1e9) as i64, Ordering::Relaxed);
        let to = now + offset;
        let from = if (to - sent).abs() > JUMP { to - LOOK.as_secs_f64() } else { sent };
        if to <= from {
            continue;
        }
        sent = to;
        let mut lost = None;
        clock.advance(from, to, &mut beats, |_, bytes| {
            if let Some(port) = &mut output {
                lost = port.send(bytes).err().or(lost.take());
            }
        });
        if let Some(e) = lost {
            output = None;
            control.say(format!("the MIDI output is gone ({e}): the clock is not sent any more"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_found_by_their_names() {
        let all = ["Midi Through:Midi Through Port-0 14:0", "FCB1010 20:0", "USB Midi 24:0"].map(str::to_owned);
        let at = |name| place(&all, name);
        assert_eq!([at("midi"), at("fcb"), at("usb midi"), at("1010"), at("launch")], [Some(0), Some(1), Some(2), Some(1), None]);
    }

    #[test]
    fn no_port_is_a_sentence() {
        // Where there is no MIDI system, and where there is one without this port.
        let why = find("no such port at all").unwrap_err();
        assert!(why.contains("no MIDI") && (why.contains("--host jack") || why.contains("there")), "{why}");
        let (control, _desk) = Control::new();
        assert_eq!(open("no such port at all", &control, std::sync::mpsc::channel().0).err(), Some(why));
    }
}
