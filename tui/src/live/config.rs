//! The configuration of a live session, from the flags, the song's JSON file and the model's defaults.

use anyhow::Result;
use sideman_engine::audio::RATE;
use sideman_engine::live::{CHORDS_BY_EAR, Clock, Command, Request, Session, SessionConfig};
use sideman_engine::model::{FRAME, Model, ModelDir};
use sideman_engine::task::Meter;
use sideman_io::device::DeviceConfig;
use sideman_io::runner::longest_hop;
use sideman_io::take::{self, TakeInfo};
use sideman_kernels::{Activations, Backend};

use crate::cli::{ClockSource, Live};
use crate::song_info::SongInfo;
use crate::usage;

/// Frames of a hop without `--hop`.
const DEFAULT_HOP: u8 = 4;
/// Time that computing and resampling a hop may take besides the length of the hop, seconds.
const COMPUTE_SECONDS: f64 = 0.04;

impl From<ClockSource> for Clock {
    fn from(source: ClockSource) -> Self {
        match source {
            ClockSource::Internal => Clock::Internal,
            ClockSource::Midi => Clock::Midi,
            ClockSource::Jack => Clock::Jack,
            ClockSource::Link => Clock::Link,
            ClockSource::Ear => Clock::Ear,
            ClockSource::Free => Clock::Free,
        }
    }
}

/// The devices.
///
/// # Errors
/// The model has no such stem.
pub fn device_config(args: &Live, dir: &ModelDir) -> Result<DeviceConfig> {
    let stems = dir.config.stems.clone();
    if args.input_stem().is_some_and(|stem| !stems.iter().any(|s| s == stem)) {
        let named = if stems.iter().any(|stem| stem == "other") { " guitar, keys or voice," } else { "" };
        let message = format!(
            "--instrument {}: the model has the stems {}; use one of them,{named} or none to generate all stems",
            args.instrument,
            stems.join(", ")
        );
        return Err(usage(message));
    }
    Ok(DeviceConfig {
        host: args.host.clone(),
        input: args.input.clone(),
        output: args.output.clone(),
        midi: args.surfaces.midi.clone().filter(|name| name != "none"),
        client: args.client.clone(),
        period: args.period,
        extra_latency: (args.latency * 1e3) as i32,
        input_stem: args.input_stem().unwrap_or(&stems[0]).to_owned(),
        stems,
    })
}

/// What take.json says about the session, with its configuration.
///
/// # Errors
/// A value is out of range, or the model can't be read.
pub fn take_info<B: Backend>(
    args: &Live,
    song: &SongInfo,
    dir: &ModelDir,
    model: &Model<B>,
    device: &DeviceConfig,
    activations: Activations,
) -> Result<TakeInfo> {
    let precision = args.run.precision.into();
    Ok(TakeInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        model: std::path::absolute(&dir.path).unwrap_or_else(|_| dir.path.clone()),
        model_sha256: take::model_hash(&dir.path)?,
        precision,
        activations: activations.with(precision),
        stems: dir.config.stems.clone(),
        // The runner sets it.
        lead: 0,
        devices: match &args.from {
            Some(from) => from.display().to_string(),
            None => args.host.clone().unwrap_or_else(|| "default".into()),
        },
        latency_in: 0.0,
        latency_out: 0.0,
        from: 0,
        samples: 0,
        ended: None,
        config: session_config(args, song, model, device)?,
    })
}

/// The source of the beat. Without a flag and without a tempo the band waits for a count on devices; a file has
/// no clock.
pub fn clock(args: &Live, song: &SongInfo) -> Clock {
    let with_devices = args.from.is_none();
    match args.surfaces.clock {
        Some(source) => source.into(),
        None if song.bpm.is_none() && !with_devices => Clock::Free,
        None if song.bpm.is_none() && args.input_stem().is_some() => Clock::Ear,
        None => Clock::Internal,
    }
}

/// The settings at the start of the session.
fn session_config<B: Backend>(args: &Live, song: &SongInfo, model: &Model<B>, device: &DeviceConfig) -> Result<SessionConfig> {
    let config = model.config();
    let default = SessionConfig::for_model(config);
    let text = song.text.clone().filter(|_| config.text.is_some()).unwrap_or_default();
    if song.text.is_some() && config.text.is_none() {
        tracing::warn!("the model {} takes no text", config.name);
    }
    let with_devices = args.from.is_none();
    let [n, d] = song.meter.unwrap_or([4, 4]);
    let meter: Meter = format!("{n}/{d}").parse().map_err(|e: sideman_engine::Error| usage(e.to_string()))?;
    let tempo = song.bpm.unwrap_or(default.tempo);
    let count_in = u32::from(args.count_in.unwrap_or(u8::from(with_devices)));
    let bar = 60.0 / tempo * meter.quarters() as f64;
    let bar1 = match song.bar1 {
        Some(bar1) => bar1,
        None if with_devices => f64::from(count_in) * bar + 0.5,
        None => 0.0,
    };
    let clock = clock(args, song);
    let (top_k, top_p) = args.sampling.top_k_and_p((default.top_k, default.top_p));
    let settings = SessionConfig {
        input_stem: args.input_stem().and_then(|stem| config.stems.iter().position(|s| s == stem)).map(|p| p as u8),
        lag: lag(args, model, device, default.lag),
        tempo,
        meter,
        bar1: (bar1 * f64::from(RATE)).round() as i64,
        // Without a chart the band takes the chords that it hears; that needs bars.
        chords: song
            .chords
            .clone()
            .or_else(|| (clock != Clock::Free && args.input_stem().is_some()).then(|| CHORDS_BY_EAR.to_owned())),
        count_in,
        // With an external clock, its start message starts the band; by ear, a count does.
        playing: !matches!(clock, Clock::Midi | Clock::Jack | Clock::Link | Clock::Ear),
        click: args.click,
        clock,
        // Reserves the null lane; the session uses it once there is something to be guided by.
        guided: config.text.is_some() || config.controls.iter().any(|c| c.guides),
        text,
        text_room: default.text_room,
        temperature: args.sampling.temperature.unwrap_or(default.temperature),
        top_k,
        top_p,
        cfg_scale: args.sampling.cfg_scale.unwrap_or(default.cfg_scale),
        room: args.mix.room,
        seed: args.sampling.seed_or_new(),
        block: default.block,
    };
    settings.validate(config).map_err(|e| usage(e.to_string()))?;
    Ok(settings)
}

/// The lag of `--lag`, or the shortest whose lead is long enough for a hop, its computing time and the
/// devices' latencies.
fn lag<B: Backend>(args: &Live, model: &Model<B>, device: &DeviceConfig, default: usize) -> usize {
    let trained = model.config().live.as_ref().and_then(|l| l.lags);
    let ms = |samples: i64| samples as f64 * 1e3 / f64::from(RATE);
    let hop = f64::from(args.hop.unwrap_or(DEFAULT_HOP)) * FRAME as f64 / f64::from(RATE);
    let latency = if args.from.is_none() { device.expected_latency() + hop / 2.0 + COMPUTE_SECONDS } else { 0.0 };
    let needed = ((hop + latency) * f64::from(RATE)) as i64;
    let lag = match args.lag {
        // Whether this machine is fast enough for it is measured before the first note (`Runner::rehearse`).
        Some(lag) => usize::from(lag),
        None => Session::lag_for(model, needed).unwrap_or_else(|| {
            tracing::warn!("a hop and the devices need {:.0} ms, more than the lead of the model's longest lag", ms(needed));
            trained.map_or(default, |[_, longest]| longest)
        }),
    };
    if let Some([from, to]) = trained
        && !(from..=to).contains(&lag)
    {
        tracing::warn!("--lag {lag}: the model is trained for {from} to {to} frames");
    }
    lag
}

/// Frames of a hop: those of `--hop`, or the default, shorter where the lead is short. Between files nothing is late,
/// so every hop is allowed.
///
/// # Errors
/// Every hop of `--hop` would be late; which hop fits, and which lag.
pub fn hop<B: Backend>(args: &Live, model: &Model<B>, lag: usize) -> Result<u8> {
    let wanted = args.hop.unwrap_or(DEFAULT_HOP);
    let lead = Session::lead_of(model, lag);
    let most = longest_hop(lead);
    if args.from.is_some() || usize::from(wanted) <= most {
        return Ok(wanted);
    }
    let ms = lead as f64 * 1e3 / f64::from(RATE);
    if args.hop.is_none() {
        tracing::warn!("a lag of {lag} leaves a lead of {ms:.0} ms: hops are {most} frames long, not {DEFAULT_HOP}");
        return Ok(most as u8);
    }
    let longer = Session::lag_for(model, (i64::from(wanted) + 1) * FRAME as i64);
    let longer = longer.map(|lag| format!(", or --lag {lag}")).unwrap_or_default();
    Err(usage(format!(
        "--hop {wanted} takes {} ms, and a lag of {lag} leaves a lead of {ms:.0} ms, so every hop would be late; use --hop {most}{longer}",
        20 * u32::from(wanted)
    )))
}

/// The command that sets the hop.
pub fn hop_request(hop: u8) -> Request {
    Request { command: Command::Hop(u32::from(hop)), when: None, from: 0 }
}
