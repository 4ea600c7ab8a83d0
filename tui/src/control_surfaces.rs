//! Starts the control surfaces of the command line: OSC and MIDI.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Result, anyhow};
use sideman_engine::live::{Command, SessionConfig};
use sideman_io::command_language::Namespace;
use sideman_io::control::Control;
use sideman_io::mailbox::{MailSender, mailbox};
use sideman_io::midi::ports::{self, Feed, Ports};
use sideman_io::midi::{self, Map, PortEvent};
use sideman_io::osc::{Addresses, Announcement, PORT, Server};
use sideman_io::take::TakeInfo;

use crate::cli::SurfaceArgs;
use crate::folders;

/// MIDI messages that may wait for their thread: a burst of every knob of a controller.
const MIDI_QUEUE: usize = 1024;

/// The running control surfaces. They end when this is dropped.
pub struct ControlSurfaces {
    _osc: Option<(Server, Option<Announcement>)>,
    _midi: Option<midi::Server>,
    _ports: Option<Ports>,
    /// Takes the MIDI messages that an audio device receives.
    pub midi: Option<MailSender<PortEvent>>,
    /// Sends to the MIDI ports that are not part of an audio device.
    pub ports: Option<Feed>,
}

/// Reads the value of `--osc`: an address and a port, or one of them.
///
/// # Errors
/// The text is no address.
pub fn osc_address(text: &str) -> std::result::Result<SocketAddr, String> {
    let local = IpAddr::from([127, 0, 0, 1]);
    let port = text.strip_prefix(':').unwrap_or(text).parse().map(|port| SocketAddr::new(local, port));
    let host = || text.parse().map(|host: IpAddr| SocketAddr::new(host, PORT));
    let name = || match text.strip_prefix("localhost")?.strip_prefix(':') {
        Some(port) => port.parse().ok().map(|port| SocketAddr::new(local, port)),
        None => (text == "localhost").then(|| SocketAddr::new(local, PORT)),
    };
    text.parse().ok().or(port.ok()).or_else(|| host().ok()).or_else(name).ok_or_else(|| {
        format!("must be HOST:PORT, such as 127.0.0.1:{PORT} for this computer only or 0.0.0.0:{PORT} for the whole network")
    })
}

/// Starts the surfaces of the flags, before the session's first hop. `jack`: the session is a JACK client,
/// which has MIDI ports anyway.
///
/// # Errors
/// The error names the flag.
pub fn start(args: &SurfaceArgs, jack: bool, control: &Control, model: &str, info: &TakeInfo) -> Result<ControlSurfaces> {
    let stems: Vec<&str> = info.stems.iter().map(String::as_str).collect();
    let midi_server = (jack || args.midi.is_some()).then(|| midi(args, control, &stems, &info.config)).transpose()?;
    let osc = args.osc.map(|address| osc(args, control, Addresses::new(model, &stems), &info.config, address)).transpose()?;
    let (mut midi, server) = midi_server.unzip();
    let (mut open, mut ports) = (None, None);
    // Messages come from JACK or from the system's ports, never from both.
    if let Some(name) = args.midi.as_ref().filter(|_| !jack)
        && let Some(events) = midi.take()
    {
        let (opened, feed) = ports::open(name, control, events).map_err(|e| anyhow!("--midi {name}: {e}"))?;
        eprintln!("{}", opened.about());
        (open, ports) = (Some(opened), Some(feed));
    }
    Ok(ControlSurfaces { _osc: osc, _midi: server, _ports: open, midi, ports })
}

fn osc(
    args: &SurfaceArgs,
    control: &Control,
    addresses: Addresses,
    config: &SessionConfig,
    address: SocketAddr,
) -> Result<(Server, Option<Announcement>)> {
    let server = Server::start(control.clone(), addresses, initial_values(config), args.osc_allow.clone(), address)
        .map_err(|e| anyhow!("--osc {address}: can't open the port: {e}"))?;
    let address = server.address();
    let name = format!("Sideman {}", address.port());
    let announcement = if address.ip().is_loopback() {
        // An announcement needs a port that the whole network reaches.
        None
    } else {
        tracing::warn!("--osc {address}: everyone on the network can control this session");
        // OSC works without the announcement.
        (!args.no_announce).then(|| Announcement::start(&name, address).inspect_err(|e| tracing::info!("{e}")).ok()).flatten()
    };
    eprintln!("OSC: {address}");
    Ok((server, announcement))
}

/// Starts the thread that maps MIDI messages to commands. Returns where to send the messages.
fn midi(
    args: &SurfaceArgs,
    control: &Control,
    stems: &[&str],
    config: &SessionConfig,
) -> Result<(MailSender<PortEvent>, midi::Server)> {
    let file = args.midi_map.clone().or_else(|| folders::config_file("midi.toml"));
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).map_err(|e| anyhow!("{}: {e}", path.display()))?;
        Map::parse(&text).map_err(|e| anyhow!("{}: {e}", path.display()))
    };
    let map = match file.as_ref().filter(|path| path.exists()).map(read) {
        Some(Err(e)) if args.midi.is_none() && args.midi_map.is_none() => {
            tracing::warn!("{e}; the default MIDI map is used");
            midi::default_map(stems)
        }
        Some(map) => map?,
        None => midi::default_map(stems),
    };
    let (tx, inbox) = mailbox(MIDI_QUEUE, PortEvent::default);
    let mut mapper = midi::MidiMapper::new(Namespace::new(stems), map, control.origin());
    initial_values(config).iter().for_each(|command| mapper.applied(command));
    let server =
        midi::Server::start(control.clone(), mapper, inbox, file).map_err(|e| anyhow!("can't start the MIDI thread: {e}"))?;
    Ok((tx, server))
}

/// The initial values that no snapshot has.
fn initial_values(config: &SessionConfig) -> Vec<Command> {
    vec![
        Command::CountIn(config.count_in),
        // The engine's default: no flag sets it.
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
    fn an_osc_address_may_leave_out_host_or_port() {
        for (text, address) in [
            ("127.0.0.1:9940", "127.0.0.1:9940"),
            ("7000", "127.0.0.1:7000"),
            (":7000", "127.0.0.1:7000"),
            ("localhost:7000", "127.0.0.1:7000"),
            ("localhost", "127.0.0.1:9940"),
            ("0.0.0.0", "0.0.0.0:9940"),
            ("[::1]:9", "[::1]:9"),
        ] {
            assert_eq!(osc_address(text).map(|a| a.to_string()).as_deref(), Ok(address));
        }
        assert!(["band.local", "70000", "localhost7000", "localhost:"].iter().all(|text| osc_address(text).is_err()));
    }
}
