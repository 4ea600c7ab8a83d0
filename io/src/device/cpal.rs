//! The systems that cpal knows: ALSA, PipeWire and PulseAudio (features), CoreAudio, WASAPI. Input and output are two streams with two
//! clocks and two threads; the output is the master, the input's ratio is steered. Block sizes are always asked for: what ALSA and Pulse
//! take by default is up to two seconds. The first two output channels get left and right with the click in both.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{BufferSize, ErrorKind, StreamConfig};

use super::{Asked, Pulse, Stream};
use crate::live::{Line, Link};
use crate::output::BLOCK_MAX;
use crate::rt;

/// Rates that are tried, best first: what the musician's card most likely runs at anyway.
const RATES: [u32; 5] = [48_000, 44_100, 96_000, 88_200, 192_000];
/// Longest time that opening a stream may take.
const PATIENCE: Duration = Duration::from_secs(5);

struct Cpal {
    about: String,
    rates: (u32, u32),
    pulse: Arc<Pulse>,
    lost: Arc<AtomicBool>,
    why: Arc<Mutex<String>>,
    /// Closed when this is dropped.
    _streams: (Option<cpal::Stream>, cpal::Stream),
}

/// Devices of every system that this program knows: (system, name, inputs, outputs, default rate), for `sideman doctor`.
pub fn list() -> Vec<(String, String, u16, u16, u32)> {
    let mut all = Vec::new();
    for id in cpal::available_hosts() {
        let Ok(host) = cpal::host_from_id(id) else { continue };
        let Ok(devices) = host.devices() else { continue };
        for device in devices {
            let (input, output) = (device.default_input_config().ok(), device.default_output_config().ok());
            let rate = output.as_ref().or(input.as_ref()).map_or(0, |c| c.sample_rate());
            all.push((
                id.to_string(),
                name(&device),
                input.map_or(0, |c| c.channels()),
                output.map_or(0, |c| c.channels()),
                rate,
            ));
        }
    }
    all
}

/// As it can be asked for: the system's own identifier.
fn name(device: &cpal::Device) -> String {
    device.id().map(|id| id.to_string()).or_else(|_| device.description().map(|d| d.name().to_owned())).unwrap_or_default()
}

/// The device that was asked for, or the system's.
fn find(all: Vec<cpal::Device>, default: Option<cpal::Device>, asked: Option<&str>, flag: &str) -> Result<cpal::Device, String> {
    let Some(asked) = asked else {
        return default.ok_or_else(|| format!("there is no default device for {flag}; `sideman doctor` lists what there is"));
    };
    let called = |d: &cpal::Device| {
        let (id, words) = (name(d), d.description().map(|d| d.name().to_owned()).unwrap_or_default());
        id == asked || id.ends_with(&format!(":{asked}")) || words.starts_with(asked)
    };
    all.into_iter().find(called).ok_or_else(|| format!("{flag} {asked}: no such device; `sideman doctor` lists what there is"))
}

/// A rate that the device can do with 32-bit floats, and its channels.
fn rate_of(ranges: impl Iterator<Item = cpal::SupportedStreamConfigRange>) -> Option<(u32, u16)> {
    let ranges: Vec<_> = ranges.filter(|r| r.sample_format() == cpal::SampleFormat::F32).collect();
    let at = |rate: u32| {
        let can = ranges.iter().filter(|r| (r.min_sample_rate()..=r.max_sample_rate()).contains(&rate));
        can.min_by_key(|r| r.channels().abs_diff(2)).map(|r| (rate, r.channels()))
    };
    RATES.into_iter().find_map(at)
}

/// Opens output and, where there is one, input. A machine without an input plays: the band hears silence.
///
/// # Errors
/// No such system or device, or it can't be opened.
pub fn open(asked: &Asked, link: &Link) -> Result<Box<dyn Stream>, String> {
    let host = match &asked.host {
        None => cpal::default_host(),
        Some(name) => {
            let known = cpal::available_hosts();
            let id = known.iter().copied().find(|id| id.to_string().eq_ignore_ascii_case(name)).ok_or_else(|| {
                let names: Vec<String> = known.iter().map(ToString::to_string).collect();
                format!("--host {name}: this program has {}, jack and null", names.join(", "))
            })?;
            cpal::host_from_id(id).map_err(|e| format!("{name}: {e}"))?
        }
    };
    let system = host.id().to_string();
    let all = || host.devices().map(|d| d.collect::<Vec<_>>()).unwrap_or_default();
    let output = find(all(), host.default_output_device(), asked.output.as_deref(), "--output")?;
    let input = match find(all(), host.default_input_device(), asked.input.as_deref(), "--input") {
        Ok(input) => Some(input),
        Err(e) if asked.input.is_some() => return Err(e),
        Err(_) => None,
    };
    let configs = output.supported_output_configs().map_err(|e| format!("{}: {e}", name(&output)))?;
    let (rate_out, channels_out) =
        rate_of(configs).ok_or_else(|| format!("{} plays no 32-bit floats at a rate from 44.1 to 192 kHz", name(&output)))?;
    let heard = input.as_ref().and_then(|d| rate_of(d.supported_input_configs().ok()?));
    if input.is_some() && asked.input.is_some() && heard.is_none() {
        return Err("--input: the device gives no 32-bit floats at a rate from 44.1 to 192 kHz".into());
    }
    let (rate_in, channels_in) = heard.unwrap_or((rate_out, 1));

    let Line { mut ear, mut player, in_start, .. } = link.connect(rate_in, rate_out, heard.is_some())?;
    let (pulse, lost, why) = (Arc::new(Pulse::default()), Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(String::new())));
    pulse.period.store(asked.period, Ordering::Relaxed);
    let trouble = || {
        let (pulse, lost, why) = (pulse.clone(), lost.clone(), why.clone());
        move |e: cpal::Error| match e.kind() {
            ErrorKind::Xrun => drop(pulse.xruns.fetch_add(1, Ordering::Relaxed)),
            ErrorKind::DeviceChanged | ErrorKind::RealtimeDenied => {}
            _ => {
                *why.lock().unwrap_or_else(PoisonError::into_inner) = e.to_string();
                lost.store(true, Ordering::Relaxed);
            }
        }
    };
    let config = |channels, rate| StreamConfig { channels, sample_rate: rate, buffer_size: BufferSize::Fixed(asked.period) };
    let frames_of = |d: Duration, rate: u32| (d.as_secs_f64() * f64::from(rate)).round().min(1e6) as u32;

    let counts = pulse.clone();
    let (mut ahead, mut begun, beyond) = (0u64, false, asked.beyond);
    let stems = player.channels() - 3;
    let out = output
        .build_output_stream(
            config(channels_out, rate_out),
            move |data: &mut [f32], info: &cpal::OutputCallbackInfo| {
                rt::no_alloc(|| {
                    let stamp = info.timestamp();
                    // The latency once, when all is running: it may not wander afterwards.
                    if !begun {
                        begun = true;
                        counts
                            .latency_out
                            .store(frames_of(stamp.playback.duration_since(stamp.callback), rate_out), Ordering::Relaxed);
                    }
                    let trip = counts.trip(rate_in, rate_out, beyond);
                    if trip != ahead {
                        player.seek((player.at() + trip).saturating_sub(ahead));
                        ahead = trip;
                    }
                    let width = usize::from(channels_out);
                    let frames = data.len() / width;
                    for block in data.chunks_mut(BLOCK_MAX * width) {
                        let slots = player.play(block.len() / width);
                        for (frame, slot) in block.chunks_exact_mut(width).zip(slots.chunks_exact(stems + 3)) {
                            frame.fill(0.0);
                            let (left, right) = (slot[stems + 1] + slot[stems], slot[stems + 2] + slot[stems]);
                            match frame {
                                [mono] => *mono = 0.5 * (left + right),
                                [l, r, ..] => (*l, *r) = (left, right),
                                [] => {}
                            }
                        }
                    }
                    counts.frames.fetch_add(frames as u64, Ordering::Relaxed);
                });
            },
            trouble(),
            Some(PATIENCE),
        )
        .map_err(|e| format!("{}: {e}", name(&output)))?;

    let counts = pulse.clone();
    let (mut passed, mut begun) = (0u64, false);
    let heard = match (&input, heard) {
        (Some(input), Some(_)) => {
            let width = usize::from(channels_in);
            let stream = input.build_input_stream(
                config(channels_in, rate_in),
                move |data: &[f32], info: &cpal::InputCallbackInfo| {
                    rt::no_alloc(|| {
                        let stamp = info.timestamp();
                        if !begun {
                            begun = true;
                            counts
                                .latency_in
                                .store(frames_of(stamp.callback.duration_since(stamp.capture), rate_in), Ordering::Relaxed);
                        }
                        // The first channel is the instrument: on most interfaces the other input is open, and only hums.
                        ear.hear(in_start + passed, data.chunks_exact(width).map(|frame| frame[0]));
                        passed += (data.len() / width) as u64;
                    });
                },
                trouble(),
                Some(PATIENCE),
            );
            Some(stream.map_err(|e| format!("{}: {e}", name(input)))?)
        }
        _ => None,
    };
    let start = |e: cpal::Error| format!("{system}: {e}");
    out.play().map_err(start)?;
    if let Some(heard) = &heard {
        heard.play().map_err(start)?;
    }
    let from = input.as_ref().filter(|_| heard.is_some()).map_or("no input".to_owned(), name);
    let about = format!("{from} at {rate_in} Hz to {} at {rate_out} Hz, {} frames", name(&output), asked.period);
    Ok(Box::new(Cpal { about, rates: (rate_in, rate_out), pulse, lost, why, _streams: (heard, out) }))
}

impl Stream for Cpal {
    fn about(&self) -> String {
        self.about.clone()
    }

    fn rates(&self) -> (u32, u32) {
        self.rates
    }

    fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    fn lost(&self) -> Option<String> {
        let lost = self.lost.load(Ordering::Relaxed);
        lost.then(|| self.why.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}
