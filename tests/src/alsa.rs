//! A device of ALSA for tests: its jack plugin (Debian: libasound2-plugins), on a JACK server that the test starts.

use sideman_io::device::{self, DeviceConfig, Stream};
use sideman_io::live::EngineHandle;
use sideman_skip::{Need, without};

use crate::jackd::{device_config, jackd};

/// Frames of a period. Two of them leave a loaded machine 43 ms.
pub const PERIOD: u32 = 1024;

/// Whether the device can be opened for `test`. Where it can't, the test is reported as skipped.
pub fn available(test: &str) -> bool {
    jackd(test) && plugin(test)
}

/// Whether ALSA has its jack plugin. Where it hasn't, `test` is reported as skipped.
pub fn plugin(test: &str) -> bool {
    !without(test, &[Need::AlsaPlugin("libasound_module_pcm_jack.so", "libasound2-plugins")])
}

/// Opens the device, input and output, as `sideman live --host alsa` does. A server has to run.
///
/// # Panics
/// It can't be opened.
pub fn open(engine: &EngineHandle) -> Box<dyn Stream> {
    let name = Some("jack".to_owned());
    let config = DeviceConfig { host: Some("alsa".into()), input: name.clone(), output: name, ..device_config("unused", PERIOD) };
    device::open(&config, engine, None).unwrap_or_else(|e| panic!("{e}"))
}
