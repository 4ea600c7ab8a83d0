//! The systems that cpal knows: ALSA, PipeWire and PulseAudio (features), CoreAudio, WASAPI. Input and output are two streams with two
//! clocks and two threads; the output is the master, the input's ratio is steered. Block sizes are always asked for: what ALSA and Pulse
//! take by default is up to two seconds. The first two output channels get left and right with the click in both, limited together.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{
    BufferSize, ErrorKind, FromSample, I24, InputCallbackInfo, OutputCallbackInfo, SampleFormat, SizedSample, StreamConfig,
};

use super::stream_clock::{Lapse, Origin, SETTLE};
use super::{DeviceConfig, DeviceStats, Stream};
use crate::input::InputWriter;
use crate::live::{DevicePorts, EngineHandle};
use crate::mix::Limiter;
use crate::output::{BLOCK_MAX, OutputReader};
use crate::rt;

/// Rates that are tried, best first: what the musician's card most likely runs at anyway.
const RATES: [u32; 5] = [48_000, 44_100, 96_000, 88_200, 192_000];
/// Formats that are tried, best first. An interface with nothing before it (ALSA's hw:1) takes integers.
const FORMATS: [SampleFormat; 4] = [SampleFormat::F32, SampleFormat::I32, SampleFormat::I24, SampleFormat::I16];
/// What helps against a format that none of these is, such as 24 bits in three bytes.
const CONVERTS: &str =
    if cfg!(target_os = "linux") { "; ALSA converts where the name begins with plughw in place of hw" } else { "" };
/// Longest time that opening a stream may take.
const PATIENCE: Duration = Duration::from_secs(5);

struct Cpal {
    about: String,
    rates: (u32, u32),
    stats: Arc<DeviceStats>,
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

/// The device that was asked for, by the system's identifier with or without the system's name, short forms included (hw:1), or by the
/// beginning of its description; else the default.
fn find(host: &cpal::Host, default: Option<cpal::Device>, asked: Option<&str>, flag: &str) -> Result<cpal::Device, String> {
    let Some(asked) = asked else {
        return default.ok_or_else(|| format!("there is no default device for {flag}; `sideman doctor` lists what there is"));
    };
    let known = [asked.to_owned(), format!("{}:{asked}", host.id())];
    let known = known.iter().find_map(|id| host.device_by_id(&id.parse().ok()?));
    let called = |d: &cpal::Device| d.description().is_ok_and(|d| d.name().starts_with(asked));
    known
        .or_else(|| host.devices().ok()?.find(called))
        .ok_or_else(|| format!("{flag} {asked}: no such device; `sideman doctor` lists what there is"))
}

/// What a device is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Config {
    rate: u32,
    format: SampleFormat,
    channels: u16,
}

/// The best of what the device can do: first a rate, then a format, then as near to two channels as can be.
fn best(ranges: impl Iterator<Item = cpal::SupportedStreamConfigRange>) -> Option<Config> {
    let ranges: Vec<_> = ranges.collect();
    let at = |rate: u32, format: SampleFormat| {
        let can =
            ranges.iter().filter(|r| r.sample_format() == format && (r.min_sample_rate()..=r.max_sample_rate()).contains(&rate));
        can.min_by_key(|r| r.channels().abs_diff(2)).map(|r| Config { rate, format, channels: r.channels() })
    };
    RATES.into_iter().find_map(|rate| FORMATS.into_iter().find_map(|format| at(rate, format)))
}

/// Frames of so long.
fn frames(seconds: f64, rate: u32) -> i64 {
    (seconds.clamp(-20.0, 20.0) * f64::from(rate)).round() as i64
}

/// What the output's callback owns.
struct Speaker {
    reader: OutputReader,
    /// Of band and click together.
    limiter: Limiter,
    config: Config,
    stats: Arc<DeviceStats>,
    xruns: Arc<AtomicU64>,
    /// Seconds that the device doesn't tell of.
    beyond: f64,
    /// Frames handed over, and lost, so far.
    passed: u64,
    lapse: Lapse,
    origin: Origin,
    /// Of the input, where there is one.
    heard: Option<Origin>,
    settled: bool,
}

impl Speaker {
    fn play<T: SizedSample + FromSample<f32>>(&mut self, data: &mut [T], info: &OutputCallbackInfo) {
        let (rate, width) = (self.config.rate, usize::from(self.config.channels));
        if self.passed == 0 {
            // Where it may not, it comes in time on an idle machine.
            let _ = rt::realtime_this_thread();
        }
        let stamp = info.timestamp();
        let away = stamp.playback.duration_since(stamp.callback).as_secs_f64();
        let passed = |frames: u64| frames as f64 / f64::from(rate);
        // What ran empty was silence: the band goes on where it would be.
        let air = stamp.playback.duration_since(cpal::StreamInstant::ZERO).as_secs_f64();
        let lost = frames(self.lapse.before(air, passed(self.passed), self.xruns.load(Ordering::Relaxed)), rate) as u64;
        if lost > 0 {
            self.reader.seek(self.reader.at() + lost);
            self.passed += lost;
        }
        self.origin.block(passed(self.passed), away);
        // Frames of both streams are counted from their own first one. What is heard and what is played belong together where they are in
        // the air together, so that the band is ahead by as much as its first frame came after the musician's.
        let after = self.heard.as_ref().map_or(Some(away), |heard| self.origin.after(heard));
        if let Some(after) = after.filter(|_| !self.settled && passed(self.passed) > SETTLE) {
            // Once: it may not wander afterwards.
            self.settled = true;
            self.stats.latency_out.store(frames(away, rate) as u32, Ordering::Relaxed);
            self.reader.seek(self.reader.at().saturating_add_signed(frames(after + self.beyond, rate)));
        }
        let stems = self.reader.channels() - 3;
        let n = data.len() / width;
        for block in data.chunks_mut(BLOCK_MAX * width) {
            let slots = self.reader.play(block.len() / width);
            for (frame, slot) in block.chunks_exact_mut(width).zip(slots.chunks_exact(stems + 3)) {
                // Integers go up to just below 1.
                let sample = |x: f32| T::from_sample(x.clamp(-1.0, 1.0 - f32::EPSILON / 2.0));
                let [left, right] = self.limiter.hold([slot[stems + 1] + slot[stems], slot[stems + 2] + slot[stems]]);
                frame.fill(T::EQUILIBRIUM);
                match frame {
                    [mono] => *mono = sample(0.5 * (left + right)),
                    [l, r, ..] => (*l, *r) = (sample(left), sample(right)),
                    [] => {}
                }
            }
        }
        self.passed += n as u64;
        self.stats.frames.store(self.passed, Ordering::Relaxed);
    }

    fn open<T: SizedSample + FromSample<f32>>(
        mut self,
        device: &cpal::Device,
        config: StreamConfig,
        trouble: impl FnMut(cpal::Error) + Send + 'static,
    ) -> Result<cpal::Stream, cpal::Error> {
        let block = move |data: &mut [T], info: &OutputCallbackInfo| rt::no_alloc(|| self.play(data, info));
        device.build_output_stream(config, block, trouble, Some(PATIENCE))
    }
}

/// What the input's callback owns.
struct Microphone {
    input: InputWriter,
    config: Config,
    /// Song time of its first frame.
    start: u64,
    stats: Arc<DeviceStats>,
    xruns: Arc<AtomicU64>,
    passed: u64,
    lapse: Lapse,
    origin: Origin,
    settled: bool,
}

impl Microphone {
    fn hear<T: SizedSample>(&mut self, data: &[T], info: &InputCallbackInfo)
    where
        f32: FromSample<T>,
    {
        let (rate, width) = (self.config.rate, usize::from(self.config.channels));
        if self.passed == 0 {
            // Where it may not, it comes in time on an idle machine.
            let _ = rt::realtime_this_thread();
        }
        let stamp = info.timestamp();
        let away = stamp.callback.duration_since(stamp.capture).as_secs_f64();
        let passed = |frames: u64| frames as f64 / f64::from(rate);
        let air = stamp.capture.duration_since(cpal::StreamInstant::ZERO).as_secs_f64();
        let lost = frames(self.lapse.before(air, passed(self.passed), self.xruns.load(Ordering::Relaxed)), rate) as u64;
        if lost > 0 {
            self.input.lost(lost);
            self.passed += lost;
        }
        self.origin.block(passed(self.passed), -away);
        if !self.settled && passed(self.passed) > SETTLE {
            self.settled = true;
            self.stats.latency_in.store(frames(away, rate) as u32, Ordering::Relaxed);
        }
        // The first channel is the instrument: on most interfaces the other input is open, and only hums.
        self.input
            .hear(self.start + self.passed, data.chunks_exact(width).map(|frame| <f32 as FromSample<T>>::from_sample_(frame[0])));
        self.passed += (data.len() / width) as u64;
    }

    fn open<T: SizedSample>(
        mut self,
        device: &cpal::Device,
        config: StreamConfig,
        trouble: impl FnMut(cpal::Error) + Send + 'static,
    ) -> Result<cpal::Stream, cpal::Error>
    where
        f32: FromSample<T>,
    {
        let block = move |data: &[T], info: &InputCallbackInfo| rt::no_alloc(|| self.hear(data, info));
        device.build_input_stream(config, block, trouble, Some(PATIENCE))
    }
}

/// Opens output and, where there is one, input. A machine without an input plays: the band hears silence.
///
/// # Errors
/// No such system or device, or it can't be opened.
pub fn open(asked: &DeviceConfig, link: &EngineHandle) -> Result<Box<dyn Stream>, String> {
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
    let output = find(&host, host.default_output_device(), asked.output.as_deref(), "--output")?;
    let input = match find(&host, host.default_input_device(), asked.input.as_deref(), "--input") {
        Ok(input) => Some(input),
        Err(e) if asked.input.is_some() => return Err(e),
        Err(_) => None,
    };
    let none =
        |what: &str| format!("{what} no 32-bit floats and no 16, 24 or 32-bit integers at a rate from 44.1 to 192 kHz{CONVERTS}");
    let configs = output.supported_output_configs().map_err(|e| format!("{}: {e}", name(&output)))?;
    let out = best(configs).ok_or_else(|| none(&format!("{} plays", name(&output))))?;
    let heard = input.as_ref().and_then(|d| best(d.supported_input_configs().ok()?));
    if input.is_some() && asked.input.is_some() && heard.is_none() {
        return Err(none("--input: the device gives"));
    }
    let rates = (heard.map_or(out.rate, |c| c.rate), out.rate);

    let DevicePorts { input: input_writer, reader, in_start, .. } = link.connect(rates.0, rates.1, heard.is_some())?;
    let (stats, lost, why) =
        (Arc::new(DeviceStats::default()), Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(String::new())));
    stats.period.store(asked.period, Ordering::Relaxed);
    let trouble = |xruns: &Arc<AtomicU64>| {
        let (stats, lost, why, xruns) = (stats.clone(), lost.clone(), why.clone(), xruns.clone());
        move |e: cpal::Error| match e.kind() {
            ErrorKind::Xrun => {
                xruns.fetch_add(1, Ordering::Relaxed);
                stats.xruns.fetch_add(1, Ordering::Relaxed);
            }
            ErrorKind::DeviceChanged | ErrorKind::RealtimeDenied => {}
            _ => {
                *why.lock().unwrap_or_else(PoisonError::into_inner) = e.to_string();
                lost.store(true, Ordering::Relaxed);
            }
        }
    };
    let config =
        |c: Config| StreamConfig { channels: c.channels, sample_rate: c.rate, buffer_size: BufferSize::Fixed(asked.period) };
    let epoch = Instant::now();
    let (played, captured) = (Origin::new(epoch), Origin::new(epoch));

    let speaker = Speaker {
        limiter: Limiter::default(),
        reader,
        config: out,
        stats: stats.clone(),
        xruns: Arc::default(),
        beyond: f64::from(asked.beyond) / 1e6,
        passed: 0,
        lapse: Lapse::default(),
        origin: played,
        heard: heard.map(|_| captured.clone()),
        settled: false,
    };
    let wrong = trouble(&speaker.xruns);
    let out_stream = match out.format {
        SampleFormat::I32 => speaker.open::<i32>(&output, config(out), wrong),
        SampleFormat::I24 => speaker.open::<I24>(&output, config(out), wrong),
        SampleFormat::I16 => speaker.open::<i16>(&output, config(out), wrong),
        _ => speaker.open::<f32>(&output, config(out), wrong),
    }
    .map_err(|e| format!("{}: {e}", name(&output)))?;

    let in_stream = match (&input, heard) {
        (Some(input), Some(c)) => {
            let microphone = Microphone {
                input: input_writer,
                config: c,
                start: in_start,
                stats: stats.clone(),
                xruns: Arc::default(),
                passed: 0,
                lapse: Lapse::default(),
                origin: captured,
                settled: false,
            };
            let wrong = trouble(&microphone.xruns);
            let stream = match c.format {
                SampleFormat::I32 => microphone.open::<i32>(input, config(c), wrong),
                SampleFormat::I24 => microphone.open::<I24>(input, config(c), wrong),
                SampleFormat::I16 => microphone.open::<i16>(input, config(c), wrong),
                _ => microphone.open::<f32>(input, config(c), wrong),
            };
            Some(stream.map_err(|e| format!("{}: {e}", name(input)))?)
        }
        _ => None,
    };
    let start = |e: cpal::Error| format!("{system}: {e}");
    out_stream.play().map_err(start)?;
    if let Some(stream) = &in_stream {
        stream.play().map_err(start)?;
    }
    let kind = |d: &cpal::Device, c: Config| format!("{} at {} Hz ({})", name(d), c.rate, c.format);
    let from = input.as_ref().zip(heard).map_or("no input".to_owned(), |(d, c)| kind(d, c));
    let about = format!("{from} to {}, {} frames", kind(&output, out), asked.period);
    Ok(Box::new(Cpal { about, rates, stats, lost, why, _streams: (in_stream, out_stream) }))
}

impl Stream for Cpal {
    fn about(&self) -> String {
        self.about.clone()
    }

    fn rates(&self) -> (u32, u32) {
        self.rates
    }

    fn stats(&self) -> &Arc<DeviceStats> {
        &self.stats
    }

    fn lost(&self) -> Option<String> {
        let lost = self.lost.load(Ordering::Relaxed);
        lost.then(|| self.why.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}
