//! Announces the OSC port on the network by mDNS, as `_osc._udp`, so that tablets and patchers find it.

use std::net::{IpAddr, SocketAddr};

use mdns_sd::{IfKind, ServiceDaemon, ServiceInfo};

/// The mDNS service type of OSC.
pub const SERVICE: &str = "_osc._udp.local.";

/// A running announcement. Dropping it withdraws it.
pub struct Announcement {
    daemon: ServiceDaemon,
    name: String,
}

impl Announcement {
    /// Announces `name` at an address: a loopback address on this computer only, an unspecified one on all networks.
    ///
    /// # Errors
    /// mDNS gets no socket, or the name is not valid.
    pub fn start(name: &str, address: SocketAddr) -> Result<Announcement, String> {
        let wrong = |e: mdns_sd::Error| format!("no mDNS announcement: {e}");
        let daemon = ServiceDaemon::new().map_err(wrong)?;
        if address.ip().is_loopback() {
            daemon.disable_interface(IfKind::All).map_err(wrong)?;
            daemon.enable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6]).map_err(wrong)?;
        }
        let ips: Vec<IpAddr> = if address.ip().is_unspecified() { Vec::new() } else { vec![address.ip()] };
        let host = format!("sideman-{}.local.", std::process::id());
        let txt = [("txtvers", "1"), ("types", "ifsTFdhN")];
        let info = ServiceInfo::new(SERVICE, name, &host, &ips[..], address.port(), &txt[..]).map_err(wrong)?;
        let info = if ips.is_empty() { info.enable_addr_auto() } else { info };
        let name = info.get_fullname().to_owned();
        daemon.register(info).map_err(wrong)?;
        Ok(Announcement { daemon, name })
    }

    /// Its full name on the network.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // Withdrawn at once; without this it would expire after two minutes.
        if let Ok(gone) = self.daemon.unregister(&self.name) {
            let _ = gone.recv_timeout(std::time::Duration::from_millis(500));
        }
        let _ = self.daemon.shutdown();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use mdns_sd::ServiceEvent;

    use super::*;

    #[test]
    fn an_announcement_is_found_and_withdrawn() {
        let model = Announcement::start("Sideman 51234", ([127, 0, 0, 1], 51_234).into()).unwrap();
        let daemon = ServiceDaemon::new().unwrap();
        let seen = daemon.browse(SERVICE).unwrap();
        let wait = |hit: &dyn Fn(&ServiceEvent) -> bool| {
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(30) {
                if seen.recv_timeout(Duration::from_secs(1)).is_ok_and(|e| hit(&e)) {
                    return true;
                }
            }
            false
        };
        let name = model.name().to_owned();
        assert_eq!(name, "Sideman 51234._osc._udp.local.");
        let found = |e: &ServiceEvent| matches!(e, ServiceEvent::ServiceResolved(s) if s.fullname == name && s.port == 51_234);
        assert!(wait(&found), "the announcement is not found");
        drop(model);
        assert!(wait(&|e| matches!(e, ServiceEvent::ServiceRemoved(_, n) if *n == name)), "the announcement is not withdrawn");
        let _ = daemon.shutdown();
    }
}
