//! Which device and which of its formats are used.

use cpal::SampleFormat;
use cpal::traits::{DeviceTrait, HostTrait};

/// Rates that are tried, best first: what the musician's interface most likely runs at anyway.
const RATES: [u32; 5] = [48_000, 44_100, 96_000, 88_200, 192_000];
/// Formats that are tried, best first. An interface without a sound server (ALSA's hw:1) takes integers.
const FORMATS: [SampleFormat; 4] = [SampleFormat::F32, SampleFormat::I32, SampleFormat::I24, SampleFormat::I16];

/// What a device is opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamFormat {
    pub rate: u32,
    pub sample: SampleFormat,
    pub channels: u16,
}

/// A device of one of the systems that the program knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// The system: alsa, pipewire …
    pub system: String,
    /// The system's own identifier, as `--input` and `--output` take it.
    pub name: String,
    /// Channels in; 0: none.
    pub inputs: u16,
    /// Channels out; 0: none.
    pub outputs: u16,
    /// Default rate in Hz; 0: not known.
    pub rate: u32,
}

/// All devices, for `sideman doctor`.
pub fn list() -> Vec<DeviceInfo> {
    #[cfg(target_os = "linux")]
    let _messages = super::AlsaMessages::keep();
    let hosts = cpal::available_hosts().into_iter().filter_map(|id| Some((id, cpal::host_from_id(id).ok()?)));
    let devices = hosts.filter_map(|(id, host)| Some((id, host.devices().ok()?)));
    devices.flat_map(|(id, devices)| devices.map(move |device| info(id.to_string(), &device))).collect()
}

/// Name of the device on which the band plays where no other is chosen; `None`: there is none that works.
pub fn default_output() -> Option<String> {
    #[cfg(target_os = "linux")]
    let _messages = super::AlsaMessages::keep();
    let device = cpal::default_host().default_output_device()?;
    best(device.supported_output_configs().ok()?)?;
    Some(name(&device))
}

fn info(system: String, device: &cpal::Device) -> DeviceInfo {
    let (input, output) = (device.default_input_config().ok(), device.default_output_config().ok());
    DeviceInfo {
        system,
        name: name(device),
        rate: output.as_ref().or(input.as_ref()).map_or(0, |c| c.sample_rate()),
        inputs: input.map_or(0, |c| c.channels()),
        outputs: output.map_or(0, |c| c.channels()),
    }
}

/// The system's own identifier of a device.
pub(super) fn name(device: &cpal::Device) -> String {
    device.id().map(|id| id.to_string()).or_else(|_| device.description().map(|d| d.name().to_owned())).unwrap_or_default()
}

/// The host of that name, or the default.
pub(super) fn host(name: Option<&str>) -> Result<cpal::Host, String> {
    let Some(name) = name else { return Ok(cpal::default_host()) };
    let known = cpal::available_hosts();
    let id = known.iter().copied().find(|id| id.to_string().eq_ignore_ascii_case(name)).ok_or_else(|| {
        let names: Vec<String> = known.iter().map(ToString::to_string).collect();
        format!("--host {name}: no such system; this program has {}, jack and null", names.join(", "))
    })?;
    cpal::host_from_id(id).map_err(|e| format!("--host {name}: {e}"))
}

/// The device of that name: the system's identifier with or without the system's name, short forms included
/// (hw:1), or the beginning of its description. Without a name, the default.
pub(super) fn find(
    host: &cpal::Host,
    default: Option<cpal::Device>,
    wanted: Option<&str>,
    flag: &str,
) -> Result<cpal::Device, String> {
    let Some(wanted) = wanted else {
        return default.ok_or_else(|| format!("{flag}: there is no default device; `sideman doctor` lists the devices"));
    };
    let ids = [wanted.to_owned(), format!("{}:{wanted}", host.id())];
    let by_id = ids.iter().find_map(|id| host.device_by_id(&id.parse().ok()?));
    let is_called = |d: &cpal::Device| d.description().is_ok_and(|d| d.name().starts_with(wanted));
    by_id
        .or_else(|| host.devices().ok()?.find(is_called))
        .ok_or_else(|| format!("{flag} {wanted}: no such device; `sideman doctor` lists the devices"))
}

/// The best format that a device has: by rate, then by sample format, then by how near to two channels it is.
pub(super) fn best(ranges: impl Iterator<Item = cpal::SupportedStreamConfigRange>) -> Option<StreamFormat> {
    let ranges: Vec<_> = ranges.collect();
    let format = |rate: u32, sample: SampleFormat| {
        let has = |r: &&cpal::SupportedStreamConfigRange| {
            r.sample_format() == sample && (r.min_sample_rate()..=r.max_sample_rate()).contains(&rate)
        };
        let range = ranges.iter().filter(has).min_by_key(|r| r.channels().abs_diff(2))?;
        Some(StreamFormat { rate, sample, channels: range.channels() })
    };
    RATES.into_iter().find_map(|rate| FORMATS.into_iter().find_map(|sample| format(rate, sample)))
}
