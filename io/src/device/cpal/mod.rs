//! Devices of the systems that cpal knows: ALSA, PipeWire and PulseAudio (features), CoreAudio, WASAPI.
//!
//! Input and output are two streams with two clocks and two threads; the output is the master, the input's
//! ratio is steered. Block sizes are always requested: the defaults of ALSA and PulseAudio are up to two
//! seconds.

#[cfg(target_os = "linux")]
mod alsa_messages;
mod input;
mod output;
mod selection;

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{BufferSize, ErrorKind, I24, SampleFormat, StreamConfig};

use super::stream_clock::{GapDetector, StreamStart};
use super::{DeviceConfig, DeviceStats, Stream};
use crate::live::{DevicePorts, EngineHandle};
use crate::mix::Limiter;
use crate::rt::{self, Callback};
#[cfg(target_os = "linux")]
use alsa_messages::AlsaMessages;
use input::InputCallback;
use output::OutputCallback;
pub use selection::{DeviceInfo, default_output, list};
use selection::{StreamFormat, best, find, host, name};

/// Longest time that opening a stream may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// ALSA's device that is ready at any time: its callbacks would come without a pause, with realtime priority.
const NO_CLOCK: &str = "alsa:null";
/// Looks of the supervisor, 20 a second, between which the output asks for no samples, until the device counts as lost. Some plugins
/// of ALSA report no error when their server ends. Looks and not seconds: the computer may have been asleep.
const MAX_LOOKS: u32 = 200;
/// What helps against a format that is not supported, such as 24 bits in three bytes.
const CONVERSION_HINT: &str =
    if cfg!(target_os = "linux") { "; ALSA converts where the name begins with plughw in place of hw" } else { "" };

/// What to do where the default device doesn't work.
const NO_DEVICE_HINT: &str = "`sideman doctor` lists the devices, which --output and --input choose; --host jack plays through JACK, \
                              --from FILE --to DIR with files, and `sideman --demo` shows the band without a sound card.";

struct CpalStream {
    description: String,
    rates: (u32, u32),
    faults: Faults,
    /// Frames of the output at the last look, and the looks since then.
    idle: Cell<(u64, u32)>,
    /// Closed when this is dropped.
    _streams: (Option<cpal::Stream>, cpal::Stream),
}

/// What the streams' error callbacks report.
#[derive(Clone, Default)]
struct Faults {
    stats: Arc<DeviceStats>,
    lost: Arc<AtomicBool>,
    /// The error that the device was lost with.
    error: Arc<OnceLock<cpal::Error>>,
}

impl Faults {
    /// The error callback of a stream. It counts that stream's xruns in `xruns`.
    fn callback(&self, xruns: &Arc<AtomicU64>) -> impl FnMut(cpal::Error) + Send + 'static {
        let (faults, xruns) = (self.clone(), xruns.clone());
        // It runs on the callback's thread. An error that is not kept may have a text, which is freed after `report`.
        move |e: cpal::Error| {
            let mut error = Some(e);
            rt::callback(Callback::Error, || faults.report(&mut error, &xruns));
        }
    }

    /// Counts an xrun. Takes the first error that the device is lost with: it is moved as it is, and becomes text
    /// on another thread.
    fn report(&self, error: &mut Option<cpal::Error>, xruns: &AtomicU64) {
        match error.as_ref().map(cpal::Error::kind) {
            Some(ErrorKind::Xrun) => {
                xruns.fetch_add(1, Ordering::Relaxed);
                self.stats.xruns.fetch_add(1, Ordering::Relaxed);
            }
            None | Some(ErrorKind::DeviceChanged | ErrorKind::RealtimeDenied) => {}
            Some(_) if !self.lost.swap(true, Ordering::Relaxed) => {
                // One of the two streams comes here, so it doesn't wait for the other one.
                error.take().into_iter().for_each(|first| drop(self.error.set(first)));
            }
            Some(_) => {}
        }
    }
}

/// Frames in `seconds`.
fn frames(seconds: f64, rate: u32) -> i64 {
    (seconds.clamp(-20.0, 20.0) * f64::from(rate)).round() as i64
}

/// Opens the output and, where there is one, the input. On a machine without an input the band hears silence.
///
/// # Errors
/// No such system or device, or it can't be opened.
pub fn open(config: &DeviceConfig, engine: &EngineHandle) -> Result<Box<dyn Stream>, String> {
    #[cfg(target_os = "linux")]
    let _messages = AlsaMessages::keep();
    let host = host(config.host.as_deref())?;
    let output = find(&host, host.default_output_device(), config.output.as_deref(), "--output")?;
    let input = match find(&host, host.default_input_device(), config.input.as_deref(), "--input") {
        Ok(input) => Some(input),
        Err(e) if config.input.is_some() => return Err(e),
        Err(_) => None,
    };
    for (flag, device) in [("--output", Some(&output)), ("--input", input.as_ref())] {
        if device.is_some_and(|device| name(device) == NO_CLOCK) {
            return Err(format!("{flag} null: it is ready at any time, so it has no clock; --host null plays without a device"));
        }
    }
    let formats = output.supported_output_configs().map_err(|e| match config.output {
        Some(_) => format!("{}: {e}", name(&output)),
        None => format!("the default output, {}, can't be used: {e} {NO_DEVICE_HINT}", name(&output)),
    })?;
    let out_format = best(formats).ok_or_else(|| unsupported(&output))?;
    let input = input.and_then(|device| {
        let format = best(device.supported_input_configs().ok()?)?;
        Some((device, format))
    });
    if let (Some(wanted), None) = (&config.input, &input) {
        return Err(format!("--input {wanted}: {NO_FORMAT}{CONVERSION_HINT}"));
    }
    let rates = (input.as_ref().map_or(out_format.rate, |(_, f)| f.rate), out_format.rate);

    let ports = engine.connect(rates.0, rates.1, input.is_some())?;
    let DevicePorts { input: writer, output: reader, layout, input_start: song_start, .. } = ports;
    let faults = Faults::default();
    faults.stats.period.store(config.period, Ordering::Relaxed);
    let stream_config = |f: StreamFormat| StreamConfig {
        channels: f.channels,
        sample_rate: f.rate,
        buffer_size: BufferSize::Fixed(config.period),
    };
    let epoch = Instant::now();
    let (out_start, in_start) = (StreamStart::new(epoch), StreamStart::new(epoch));

    let callback = OutputCallback {
        reader,
        layout,
        limiter: Limiter::default(),
        format: out_format,
        stats: faults.stats.clone(),
        xruns: Arc::default(),
        extra_latency: f64::from(config.extra_latency) / 1e6,
        passed: 0,
        gaps: GapDetector::default(),
        start: out_start,
        input_start: input.is_some().then(|| in_start.clone()),
        settled: false,
    };
    let on_error = faults.callback(&callback.xruns);
    let out_stream = match out_format.sample {
        SampleFormat::I32 => callback.open::<i32>(&output, stream_config(out_format), on_error),
        SampleFormat::I24 => callback.open::<I24>(&output, stream_config(out_format), on_error),
        SampleFormat::I16 => callback.open::<i16>(&output, stream_config(out_format), on_error),
        _ => callback.open::<f32>(&output, stream_config(out_format), on_error),
    }
    .map_err(|e| format!("{}: {e}", name(&output)))?;

    let in_stream = match &input {
        Some((device, format)) => {
            let callback = InputCallback {
                writer,
                format: *format,
                song_start,
                stats: faults.stats.clone(),
                xruns: Arc::default(),
                passed: 0,
                gaps: GapDetector::default(),
                start: in_start,
                settled: false,
            };
            let on_error = faults.callback(&callback.xruns);
            let stream = match format.sample {
                SampleFormat::I32 => callback.open::<i32>(device, stream_config(*format), on_error),
                SampleFormat::I24 => callback.open::<I24>(device, stream_config(*format), on_error),
                SampleFormat::I16 => callback.open::<i16>(device, stream_config(*format), on_error),
                _ => callback.open::<f32>(device, stream_config(*format), on_error),
            };
            Some(stream.map_err(|e| format!("{}: {e}", name(device)))?)
        }
        None => None,
    };
    let start = |e: cpal::Error| format!("{}: {e}", host.id());
    out_stream.play().map_err(start)?;
    if let Some(stream) = &in_stream {
        stream.play().map_err(start)?;
    }
    let describe = |d: &cpal::Device, f: StreamFormat| format!("{} at {} Hz ({})", name(d), f.rate, f.sample);
    let from = input.as_ref().map_or("no input".to_owned(), |(d, f)| describe(d, *f));
    let description = format!("{from} to {}, {} frames", describe(&output, out_format), config.period);
    Ok(Box::new(CpalStream { description, rates, faults, idle: Cell::default(), _streams: (in_stream, out_stream) }))
}

/// Why a device can't be used.
const NO_FORMAT: &str = "no format with 32-bit floats or 16, 24 or 32-bit integers at a rate from 44.1 to 192 kHz";

fn unsupported(device: &cpal::Device) -> String {
    format!("{}: {NO_FORMAT}{CONVERSION_HINT}", name(device))
}

impl Stream for CpalStream {
    fn description(&self) -> String {
        self.description.clone()
    }

    fn rates(&self) -> (u32, u32) {
        self.rates
    }

    fn stats(&self) -> &Arc<DeviceStats> {
        &self.faults.stats
    }

    fn failure(&self) -> Option<String> {
        let frames = self.faults.stats.frames.load(Ordering::Relaxed);
        let (before, looks) = self.idle.get();
        let looks = if frames == before { looks + 1 } else { 0 };
        self.idle.set((frames, looks));
        let error = self.faults.error.get().map(ToString::to_string);
        error.or_else(|| (looks >= MAX_LOOKS).then(|| "it has asked for no samples for 10 s".to_owned()))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_counted_or_kept_without_memory() {
        let (faults, xruns) = (Faults::default(), Arc::default());
        let mut errors = faults.callback(&xruns);
        let before = rt::allocations();
        let lost = |what: &str| cpal::Error::with_message(ErrorKind::BackendError, what.to_owned());
        for error in
            [ErrorKind::Xrun.into(), ErrorKind::DeviceChanged.into(), lost("first"), lost("second"), ErrorKind::Xrun.into()]
        {
            errors(error);
        }
        assert_eq!(rt::allocations(), before);
        let counts = (xruns.load(Ordering::Relaxed), faults.stats.xruns.load(Ordering::Relaxed));
        assert_eq!((counts, faults.error.get().unwrap().to_string()), ((2, 2), "first".to_owned()));
    }

    #[test]
    fn alsa_s_null_device_is_refused() {
        // Its engine's thread is gone.
        let (engine, _) = EngineHandle::new();
        let null = Some("null".to_owned());
        let config = DeviceConfig {
            host: Some("alsa".into()),
            input: null.clone(),
            output: null,
            midi: None,
            client: String::new(),
            period: 256,
            extra_latency: 0,
            input_stem: "bass".into(),
            stems: Vec::new(),
        };
        let error = open(&config, &engine).err().unwrap_or_default();
        assert!(error.starts_with("--output null"), "{error}");
    }
}
