//! Who plays on the band beside its keys: OSC and MIDI, as the command line asks for them.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};

use anyhow::{Result, anyhow};
use sideman_engine::live::{Command, SessionConfig};
use sideman_io::command_language::Namespace;
use sideman_io::control::Control;
use sideman_io::midi::ports::{self, Feed, Ports};
use sideman_io::midi::{self, Map, PortEvent};
use sideman_io::osc::{Addresses, Announcement, PORT, Server};
use sideman_io::take::TakeInfo;

use crate::{cli, folders};

/// What runs beside the band; it ends when this is dropped.
pub struct ControlSurfaces {
    _osc: Option<(Server, Option<Announcement>)>,
    _midi: Option<midi::Server>,
    _open: Option<Ports>,
    /// For the MIDI that a device hears.
    pub midi: Option<Sender<PortEvent>>,
    /// For what MIDI ports beside a device are told.
    pub ports: Option<Feed>,
}

/// Reads `--osc`: an address and a port, or one of them.
///
/// # Errors
/// A sentence with what would be right.
pub fn osc_address(text: &str) -> std::result::Result<SocketAddr, String> {
    let local = IpAddr::from([127, 0, 0, 1]);
    let port = text.strip_prefix(':').unwrap_or(text).parse().map(|port| SocketAddr::new(local, port));
    let host = || text.parse().map(|host: IpAddr| SocketAddr::new(host, PORT));
    let name =
        || text.strip_prefix("localhost:").ok_or(()).and_then(|p| p.parse().map_err(|_| ())).map(|p| SocketAddr::new(local, p));
    text.parse()
        .ok()
        .or(port.ok())
        .or_else(|| host().ok())
        .or_else(|| name().ok())
        .ok_or_else(|| format!("no address: 127.0.0.1:{PORT} is this computer alone, 0.0.0.0:{PORT} everyone on the network"))
}

/// Starts what was asked for, before the session's first hop. `jack`: the band is JACK's client, whose ports and transport are there anyway.
///
/// # Errors
/// A sentence with the flag at fault.
pub fn start(
    args: &cli::ControlSurfaces,
    jack: bool,
    control: &Control,
    model: &str,
    info: &TakeInfo,
) -> Result<ControlSurfaces> {
    let stems: Vec<&str> = info.stems.iter().map(String::as_str).collect();
    let played = (jack || args.midi.is_some()).then(|| midi(args, control, &stems)).transpose()?;
    let osc = args.osc.map(|address| osc(args, control, Addresses::new(model, &stems), &info.config, address)).transpose()?;
    let (midi, server) = played.unzip();
    let (open, ports) = match (&args.midi, &midi) {
        (Some(name), Some(heard)) if !jack => {
            let (open, ports) = ports::open(name, control, heard.clone()).map_err(|e| anyhow!("--midi {name}: {e}"))?;
            eprintln!("{}", open.about());
            (Some(open), Some(ports))
        }
        _ => (None, None),
    };
    Ok(ControlSurfaces { _osc: osc, _midi: server, _open: open, midi, ports })
}

fn osc(
    args: &cli::ControlSurfaces,
    control: &Control,
    addresses: Addresses,
    config: &SessionConfig,
    address: SocketAddr,
) -> Result<(Server, Option<Announcement>)> {
    let server = Server::start(control.clone(), addresses, begun(config), address)
        .map_err(|e| anyhow!("--osc {address}: {e}; another program may listen there"))?;
    let address = server.address();
    if !address.ip().is_loopback() {
        tracing::warn!("--osc {address}: everyone on the network can play on this band");
    }
    // Without it the band is played all the same.
    let name = format!("Sideman {}", address.port());
    let said =
        (!args.no_announce).then(|| Announcement::start(&name, address).inspect_err(|e| tracing::info!("{e}")).ok()).flatten();
    eprintln!("OSC: {address}");
    Ok((server, said))
}

/// The hands on MIDI: where messages go, and their thread.
fn midi(args: &cli::ControlSurfaces, control: &Control, stems: &[&str]) -> Result<(Sender<PortEvent>, midi::Server)> {
    let file = args.midi_map.clone().or_else(|| folders::config_file("midi.toml"));
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).map_err(|e| anyhow!("{}: {e}", path.display()))?;
        Map::parse(&text).map_err(|e| anyhow!("{}: {e}", path.display()))
    };
    let map = match file.as_ref().filter(|path| path.exists()).map(read) {
        Some(Err(e)) if args.midi.is_none() && args.midi_map.is_none() => {
            tracing::warn!("{e}: pedals do as without it");
            midi::default_map(stems)
        }
        Some(map) => map?,
        None => midi::default_map(stems),
    };
    let (tx, inbox) = channel();
    let mapper = midi::MidiMapper::new(Namespace::new(stems), map, control.origin());
    let server = midi::Server::start(control.clone(), mapper, inbox, file).map_err(|e| anyhow!("no thread for MIDI: {e}"))?;
    Ok((tx, server))
}

/// What the session began with that no snapshot shows.
fn begun(config: &SessionConfig) -> Vec<Command> {
    vec![
        Command::CountIn(config.count_in),
        // The engine's own, as nothing sets it at the start.
        Command::LoopBars(4),
        Command::Temperature(config.temperature),
        Command::TopK(config.top_k),
        Command::TopP(config.top_p),
        Command::Cfg(config.cfg_scale),
        Command::Seed(config.seed),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_may_be_short() {
        for (text, address) in [
            ("127.0.0.1:9940", "127.0.0.1:9940"),
            ("7000", "127.0.0.1:7000"),
            (":7000", "127.0.0.1:7000"),
            ("localhost:7000", "127.0.0.1:7000"),
            ("0.0.0.0", "0.0.0.0:9940"),
            ("[::1]:9", "[::1]:9"),
        ] {
            assert_eq!(osc_address(text).map(|a| a.to_string()).as_deref(), Ok(address));
        }
        assert!(osc_address("band.local").is_err() && osc_address("70000").is_err());
    }
}
