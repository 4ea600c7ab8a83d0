//! Who is sent which changes.

use super::*;

#[test]
fn subscribers_get_the_changes_that_they_did_not_make_themselves() {
    let (start, clock) = (Instant::now(), SystemTime::now());
    let mut state = OscState::new(addresses(), 7, start);
    for port in [1, 2] {
        state.packet(at(port), &packet("/jam/subscribe", &[OscType::Int(10)]), start, clock);
    }
    state.packet(at(9), &packet("/jam/subscribe", &[OscType::Int(3), OscType::Int(10)]), start, clock);
    let mut now = snapshot();
    state.echo(&now, start);
    // All values, once.
    let first = sent_to(&mut state, 1);
    assert!(first.contains(&osc("/jam/tempo", &[OscType::Float(112.0)])) && first.len() > 25, "{first:?}");
    state.echo(&now, start);
    assert!(state.out().is_empty());
    // One sets the tempo: it is sent to the other two.
    state.packet(at(1), &packet("/jam/tempo", &[OscType::Int(90)]), start, clock);
    assert_eq!(state.requests(), [Request { command: Command::Tempo(90.0), when: None, from: 7 }]);
    now.tempo = 90.0;
    now.stems[1].mute = true;
    state.echo(&now, start);
    let out = state.out();
    let to = |port: u16, addr: &str| out.iter().filter(|(to, b)| to.port() == port && b.starts_with(addr.as_bytes())).count();
    assert_eq!([to(1, "/jam/tempo\0"), to(2, "/jam/tempo\0"), to(3, "/jam/tempo\0")], [0, 1, 1]);
    // A mute from the keys is sent to all.
    assert_eq!([1, 2, 3].map(|p| to(p, "/jam/stem/drums/mute")), [1, 1, 1]);
    // The value becomes another one than it set: it is sent.
    state.packet(at(1), &packet("/jam/tempo", &[OscType::Int(9000)]), start, clock);
    now.tempo = 400.0;
    state.echo(&now, start);
    assert!(sent_to(&mut state, 1).contains(&osc("/jam/tempo", &[OscType::Float(400.0)])));
    // A value that is in no snapshot is sent when its request is applied, and can be read.
    state.applied(&Request { command: Command::Cfg(2.5), when: None, from: 1 });
    state.echo(&now, start);
    assert!(sent_to(&mut state, 2).contains(&osc("/jam/sample/cfg", &[OscType::Float(2.5)])));
    state.packet(at(5), &packet("/jam/sample/cfg", &[]), start, clock);
    assert_eq!(sent_to(&mut state, 5), [osc("/jam/sample/cfg", &[OscType::Float(2.5)])]);
    state.packet(at(5), &packet("/jam/sync", &[]), start, clock);
    assert!(sent_to(&mut state, 5).len() > 25);
    // A subscription ends after its time, or when it is cancelled.
    state.packet(at(2), &packet("/jam/unsubscribe", &[]), start, clock);
    now.tempo = 100.0;
    state.echo(&now, start + Duration::from_secs(9));
    let out = state.out();
    assert!(out.iter().any(|(to, _)| to.port() == 1) && out.iter().all(|(to, _)| to.port() != 2));
    now.tempo = 101.0;
    state.echo(&now, start + Duration::from_secs(11));
    assert!(state.out().is_empty());
}

#[test]
fn only_an_own_address_can_be_subscribed() {
    let (now, clock) = (Instant::now(), SystemTime::now());
    let stranger = SocketAddr::from(([192, 168, 7, 20], 4000));
    let subscribe = |host: &str| packet("/jam/subscribe", &[s(host), OscType::Int(9000), OscType::Int(60)]);
    let reached = |state: &mut OscState| {
        state.echo(&snapshot(), now);
        answers(state).into_iter().filter(|(_, m)| !is_error(m)).map(|(to, _)| to).collect::<std::collections::BTreeSet<_>>()
    };
    let mut state = OscState::new(addresses(), 7, now);
    for host in ["192.168.7.21", "10.0.0.1", "127.0.0.1", "255.255.255.255", "224.0.0.1", "0.0.0.0"] {
        state.packet(stranger, &subscribe(host), now, clock);
    }
    assert!(answers(&mut state).iter().all(|(to, m)| *to == stranger && is_error(m)));
    assert_eq!(reached(&mut state), [].into());
    // Another port of its own host.
    state.packet(stranger, &subscribe("192.168.7.20"), now, clock);
    assert_eq!(reached(&mut state), [SocketAddr::from(([192, 168, 7, 20], 9000))].into());
    // Programs of this computer, by any of its loopback addresses.
    let mut state = OscState::new(addresses(), 7, now);
    state.packet(at(5), &subscribe("127.0.0.1"), now, clock);
    assert_eq!(reached(&mut state), [at(9000)].into());
    // A host that the musician allows.
    let mut state = OscState::new(addresses(), 7, now).with_allowed(vec![[192, 168, 7, 21].into()]);
    state.packet(stranger, &subscribe("192.168.7.21"), now, clock);
    state.packet(stranger, &subscribe("192.168.7.22"), now, clock);
    assert_eq!(reached(&mut state), [SocketAddr::from(([192, 168, 7, 21], 9000))].into());
}

#[test]
fn a_surface_that_listens_on_another_port_does_not_hear_its_own_moves() {
    let (now, clock) = (Instant::now(), SystemTime::now());
    let mut state = OscState::new(addresses(), 7, now);
    state.packet(at(4000), &packet("/jam/subscribe", &[OscType::Int(9000), OscType::Int(60)]), now, clock);
    state.packet(at(5000), &packet("/jam/subscribe", &[OscType::Int(9001), OscType::Int(60)]), now, clock);
    state.echo(&snapshot(), now);
    state.out();
    state.packet(at(4000), &packet("/jam/tempo", &[OscType::Int(90)]), now, clock);
    state.echo(&Snapshot { tempo: 90.0, ..snapshot() }, now);
    let told: Vec<u16> = answers(&mut state).iter().filter(|(_, m)| m.addr == "/jam/tempo").map(|(to, _)| to.port()).collect();
    assert_eq!(told, [9001]);
}

/// The session takes a move with its next hop; a fader that is sent the old value meanwhile jumps back.
#[test]
fn a_surface_does_not_hear_the_value_from_before_its_move_unless_the_move_has_no_effect() {
    let (now, clock) = (Instant::now(), SystemTime::now());
    let mut state = OscState::new(addresses(), 7, now);
    state.packet(at(4000), &packet("/jam/subscribe", &[OscType::Int(60)]), now, clock);
    state.echo(&snapshot(), now);
    state.out();
    let told = |state: &mut OscState| -> Vec<f32> {
        let tempi = answers(state).into_iter().filter(|(_, m)| m.addr == "/jam/tempo");
        tempi.map(|(_, m)| m.args[0].clone().float().unwrap()).collect()
    };
    let after = |ms| now + Duration::from_millis(ms);
    state.packet(at(4000), &packet("/jam/tempo", &[OscType::Float(90.0)]), now, clock);
    state.echo(&snapshot(), after(40));
    assert_eq!(told(&mut state), [0.0; 0]);
    state.echo(&Snapshot { tempo: 90.0, ..snapshot() }, after(80));
    assert_eq!(told(&mut state), [0.0; 0]);
    // Somebody else moves it.
    state.echo(&Snapshot { tempo: 95.0, ..snapshot() }, after(120));
    assert_eq!(told(&mut state), [95.0]);
    // A move that the session does not take.
    state.packet(at(4000), &packet("/jam/tempo", &[OscType::Float(100.0)]), after(200), clock);
    state.echo(&Snapshot { tempo: 95.0, ..snapshot() }, after(900));
    assert_eq!(told(&mut state), [0.0; 0]);
    state.echo(&Snapshot { tempo: 95.0, ..snapshot() }, after(1300));
    assert_eq!(told(&mut state), [95.0]);
}

#[test]
fn unsubscribing_ends_only_the_peer_s_own_subscriptions() {
    let (now, clock) = (Instant::now(), SystemTime::now());
    let mut state = OscState::new(addresses(), 7, now);
    let mut tempo = 100.0;
    let mut told = |state: &mut OscState| {
        tempo += 1.0;
        state.echo(&Snapshot { tempo, ..snapshot() }, now);
        let all = answers(state);
        all.iter().filter(|(_, m)| m.addr == "/jam/tempo").map(|(to, _)| to.port()).collect::<Vec<u16>>()
    };
    state.packet(at(4000), &packet("/jam/subscribe", &[OscType::Int(9000), OscType::Int(60)]), now, clock);
    state.packet(at(5000), &packet("/jam/subscribe", &[]), now, clock);
    state.packet(at(6000), &packet("/jam/subscribe", &[]), now, clock);
    assert_eq!(told(&mut state), [5000, 6000, 9000]);
    // A peer without a subscription ends none.
    state.packet(at(7000), &packet("/jam/unsubscribe", &[]), now, clock);
    assert_eq!(told(&mut state), [5000, 6000, 9000]);
    state.packet(at(4000), &packet("/jam/unsubscribe", &[]), now, clock);
    assert_eq!(told(&mut state), [5000, 6000]);
    // That of another port of the same host, by its number.
    state.packet(at(7000), &packet("/jam/unsubscribe", &[OscType::Int(6000)]), now, clock);
    assert_eq!(told(&mut state), [5000]);
}
