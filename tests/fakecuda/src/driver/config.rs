//! Options of the device, which a test sets: words such as `sm=75 lazy order=reverse`, from the environment variable
//! `FAKECUDA` or from `fakecuda_configure`.

use crate::machine::{Options, Order};

/// The options.
#[derive(Clone, Debug)]
pub struct Config {
    /// Compute capability of the device: `sm=80`.
    pub sm: u32,
    /// Number of devices, 0 or 1: `devices=0`.
    pub devices: i32,
    /// `lazy`: nothing runs before a synchronising call; `eager`: work runs at its call.
    pub lazy: bool,
    /// Newest PTX version that the driver accepts, 80 for 8.0: `ptx=80`.
    pub ptx: u32,
    /// How launches run: `order=forward|reverse|random`, `seed=7`, `races=0`, `touched`, `threads=2`, `sms=16`.
    pub options: Options,
}

impl Default for Config {
    fn default() -> Self {
        Config { sm: 80, devices: 1, lazy: false, ptx: 90, options: Options::default() }
    }
}

impl Config {
    /// Applies the words of a text; an unknown word is an error that names it.
    pub fn apply(&mut self, text: &str) -> Result<(), String> {
        for word in text.split_whitespace() {
            let (key, value) = word.split_once('=').unwrap_or((word, "1"));
            let number = || value.parse::<u32>().map_err(|_| format!("`{word}`: a number expected"));
            match key {
                "sm" => self.sm = number()?,
                "devices" => self.devices = number()?.min(1) as i32,
                "lazy" => self.lazy = number()? != 0,
                "eager" => self.lazy = number()? == 0,
                "ptx" => self.ptx = number()?,
                "races" => self.options.races = number()? != 0,
                "touched" => self.options.touched = number()? != 0,
                "threads" => self.options.threads = number()?.clamp(1, 256) as usize,
                "seed" => self.options.seed = number()? as u64,
                "sms" => self.options.multiprocessors = number()?.clamp(1, 1024),
                "order" => {
                    self.options.order = match value {
                        "forward" => Order::Forward,
                        "reverse" => Order::Reverse,
                        "random" => Order::Random,
                        _ => return Err(format!("`{word}`: forward, reverse or random expected")),
                    }
                }
                _ => {
                    return Err(format!(
                        "`{word}`: sm=, devices=, lazy, eager, ptx=, races=, threads=, seed=, sms=, touched or order= expected"
                    ));
                }
            }
        }
        Ok(())
    }
}
