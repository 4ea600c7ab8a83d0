use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use rosc::{OscBundle, OscMessage, OscPacket, OscTime, OscType};
use sideman_engine::live::{Action, Command, Pending, Request, Snapshot, StemState, Which};

use super::*;
use crate::command_language::Value;
use crate::control::Control;
use crate::event::Event;

fn addresses() -> Addresses {
    Addresses::new("house", &["bass", "drums", "other"])
}

fn snapshot() -> Snapshot {
    Snapshot { tempo: 112.0, bar: 1, beat: 1, stems: vec![StemState::default(); 3], ..Snapshot::default() }
}

fn osc(addr: &str, args: &[OscType]) -> OscMessage {
    OscMessage { addr: addr.into(), args: args.to_vec() }
}

fn said(addr: &str, args: &[OscType]) -> Vec<Result<Ask, String>> {
    parse(&osc(addr, args), &addresses())
}

fn command(addr: &str, args: &[OscType]) -> Command {
    match said(addr, args).remove(0) {
        Ok(Ask::Command { command, .. }) => command,
        other => panic!("{addr}: {other:?}"),
    }
}

fn s(text: &str) -> OscType {
    text.into()
}

#[test]
fn osc_types_are_read_by_their_meaning() {
    let on = |arg: OscType| command("/jam/stem/drums/mute", &[arg]);
    for yes in [OscType::Int(1), OscType::Float(1.0), OscType::Bool(true), OscType::Double(1.0), OscType::Long(1)] {
        assert_eq!(on(yes), Command::Stem(Which::One(1), Action::Mute(true)));
    }
    assert_eq!(command("/jam/sample/seed", &[OscType::Long(-7)]), Command::Seed(-7i64 as u64));
    assert!(said("/jam/tempo", &[OscType::Nil])[0].as_ref().is_err_and(|e| e.contains("/jam/tempo")));
    assert!(said("/jam/tempo", &[OscType::Float(f32::NAN)])[0].is_err());
}

#[test]
fn a_message_without_arguments_reads_a_value() {
    assert_eq!(said("/jam/tempo", &[]), [Ok(Ask::Read("/jam/tempo".into()))]);
    assert_eq!(said("/jam/beat", &[]), [Ok(Ask::Read("/jam/beat".into()))]);
}

#[test]
fn a_released_button_asks_for_nothing() {
    assert_eq!(said("/jam/fill", &[OscType::Float(1.0)]).len(), 1);
    assert_eq!(said("/jam/fill", &[OscType::Float(0.0)]), []);
}

#[test]
fn an_unknown_address_is_an_error_that_names_it() {
    for address in ["/jam/nothing", "/jam/x*"] {
        assert!(matches!(&said(address, &[])[..], [Err(e)] if e.contains(address)));
    }
}

#[test]
fn a_subscription_takes_host_port_and_seconds() {
    let subscribe = |args: &[OscType]| said("/jam/subscribe", args).remove(0);
    let local = Some([127, 0, 0, 1].into());
    for (args, host, port, seconds) in [
        (vec![], None, None, 60.0),
        (vec![OscType::Int(5)], None, None, 5.0),
        (vec![OscType::Int(9000), OscType::Int(5)], None, Some(9000), 5.0),
        (vec![s("localhost"), OscType::Int(9000)], local, Some(9000), 60.0),
        (vec![s("127.0.0.1"), OscType::Int(9000), OscType::Int(1_000_000)], local, Some(9000), 3600.0),
    ] {
        assert_eq!(subscribe(&args), Ok(Ask::Subscribe { host, port, seconds }));
    }
    for args in [vec![s("band.local")], vec![OscType::Int(0), OscType::Int(5)], vec![OscType::Int(1); 3]] {
        assert!(subscribe(&args).is_err(), "{args:?}");
    }
    assert!(said("/jam/ping", &[OscType::Int(1)])[0].is_err());
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn bytes(packet: &OscPacket) -> Vec<u8> {
    rosc::encoder::encode(packet).unwrap()
}

fn packet(addr: &str, args: &[OscType]) -> Vec<u8> {
    bytes(&OscPacket::Message(osc(addr, args)))
}

/// The messages that are sent to a port.
fn sent_to(state: &mut OscState, port: u16) -> Vec<OscMessage> {
    let to = state.out().into_iter().filter(|(to, _)| to.port() == port);
    to.map(|(_, b)| match rosc::decoder::decode_udp(&b).unwrap().1 {
        OscPacket::Message(m) => m,
        other => panic!("{other:?}"),
    })
    .collect()
}

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
fn bundles_wait_for_their_time_tag() {
    let start = Instant::now();
    let clock = UNIX_EPOCH + Duration::from_millis(1_800_000_000_250);
    let mut state = OscState::new(addresses(), 7, start);
    let tag = |ms: u64| {
        let ms = 2_208_988_800_000 + 1_800_000_000_250 + ms;
        OscTime { seconds: (ms / 1000) as u32, fractional: ((ms % 1000) * (1 << 32) / 1000) as u32 }
    };
    let bundle =
        |timetag, addr: &str| bytes(&OscPacket::Bundle(OscBundle { timetag, content: vec![OscPacket::Message(osc(addr, &[]))] }));
    state.packet(at(1), &bundle(tag(500), "/jam/fill"), start, clock);
    state.packet(at(1), &bundle(OscTime { seconds: 0, fractional: 1 }, "/jam/tap"), start, clock);
    state.packet(at(1), &bundle(tag(200), "/jam/panic"), start, clock);
    state.packet(at(1), &bundle(tag(10_000_000), "/jam/stop"), start, clock);
    let requests = |state: &mut OscState| state.requests().into_iter().map(|r| r.command).collect::<Vec<_>>();
    assert_eq!(requests(&mut state), [Command::Tap]);
    state.due(start + Duration::from_millis(190));
    assert_eq!(requests(&mut state), []);
    state.due(start + Duration::from_millis(600));
    assert_eq!(requests(&mut state), [Command::Panic, Command::Fill]);
    let errors = sent_to(&mut state, 1);
    assert!(matches!(&errors[..], [OscMessage { addr, .. }] if addr == "/jam/error"), "{errors:?}");
}

#[test]
fn of_a_flood_the_last_value_is_kept_and_the_rest_is_bounded() {
    let (now, clock) = (Instant::now(), SystemTime::now());
    let mut state = OscState::new(addresses(), 7, now);
    for n in 0..100_000 {
        state.packet(at(1), &packet("/jam/stem/drums/gain", &[OscType::Float(n as f32 / -1e5)]), now, clock);
        state.packet(at(1), &packet("/jam/fill", &[]), now, clock);
    }
    let requests = state.requests();
    assert!(requests.len() <= 32, "{}", requests.len());
    let gains: Vec<_> = requests
        .iter()
        .filter_map(|r| if let Command::Stem(_, Action::Gain(db)) = r.command { Some(db) } else { None })
        .collect();
    assert_eq!(gains, [-0.99999]);
    assert!(state.dropped > 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_malformed_packet_does_no_harm_and_is_counted(
        which: prop::sample::Index, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut: prop::sample::Index, noise in prop::collection::vec(any::<u8>(), 0..40)
    ) {
        let valid = [
            ("/jam/stem/drums/gain", vec![OscType::Float(-6.0), s("bar 17")]),
            ("/jam/meter", vec![OscType::Int(6), OscType::Int(8)]),
            ("/jam/text/2", vec![s("dub"), OscType::Float(0.5)]),
            ("/jam/sample/seed", vec![OscType::Long(-7)]),
            ("/jam/{fill,tap}", vec![]),
            ("/jam/subscribe", vec![s("127.0.0.1"), OscType::Int(9), OscType::Int(5)]),
        ];
        let (address, args) = which.get(&valid);
        let mut bytes = packet(address, args);
        changes.iter().for_each(|(at, b)| *at.get_mut(&mut bytes) = *b);
        bytes.truncate(cut.index(bytes.len()) + 1);
        let now = Instant::now();
        let mut state = OscState::new(addresses(), 7, now);
        for bytes in [&bytes, &noise] {
            state.packet(at(1), bytes, now, SystemTime::UNIX_EPOCH);
            // A message that rosc can't read is counted, except one without a type tag string.
            let tagged = [bytes.as_slice(), b",\0\0\0"].concat();
            prop_assert!(state.malformed > 0 || [bytes, &tagged].iter().any(|b| rosc::decoder::decode_udp(b).is_ok()));
        }
        state.due(now + Duration::from_secs(1000));
        state.echo(&snapshot(), now);
    }
}

#[test]
fn a_deeply_nested_packet_is_refused() {
    let now = Instant::now();
    let mut state = OscState::new(addresses(), 7, now);
    let mut deep = Vec::new();
    for n in (0..3000u32).rev() {
        deep.extend(b"#bundle\0\0\0\0\0\0\0\0\x01");
        deep.extend((n * 20 + 16).to_be_bytes());
    }
    deep.truncate(60_000);
    state.packet(at(1), &deep, now, SystemTime::now());
    let arrays = [b"/jam/tempo\0\0,".as_slice(), &vec![b'['; 50_000], &[0; 3]].concat();
    state.packet(at(1), &arrays, now, SystemTime::now());
    assert_eq!(state.malformed, 2);
    assert!(state.requests().is_empty());
}

#[test]
fn a_server_takes_requests_and_sends_changes() {
    let (control, mut model) = Control::new();
    let server = Server::start(control, addresses(), vec![Command::LoopBars(4)], vec![], at(0)).unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let send = |addr: &str, args: &[OscType]| assert!(peer.send_to(&packet(addr, args), server.address()).is_ok());
    let mut buffer = [0; 2000];
    let mut wait = |addr: &str| loop {
        let (len, _) = peer.recv_from(&mut buffer).unwrap();
        if let (_, OscPacket::Message(m)) = rosc::decoder::decode_udp(&buffer[..len]).unwrap()
            && m.addr == addr
        {
            break m.args;
        }
    };
    send("/jam/ping", &[]);
    assert_eq!(wait("/jam/pong")[1], s("house"));
    send("/jam/subscribe", &[]);
    let mut state = snapshot();
    state.pending = vec![Pending { command: Command::Stem(Which::One(1), Action::Freeze(2)), at: 32_000 }];
    model.publish(&state);
    // The values before it may be sent first.
    let pending = Some(wait("/jam/pending")).filter(|p| !p.is_empty()).unwrap_or_else(|| wait("/jam/pending"));
    assert_eq!(pending, [s("stem/drums/freeze 2"), OscType::Float(1.0)]);
    send("/jam/tempo", &[OscType::Int(99)]);
    let sent = loop {
        if let Some(sent) = model.take() {
            break sent;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    assert_eq!(sent.request.command, Command::Tempo(99.0));
    model.tell(Event::Controls("a string is broken".into()));
    assert_eq!(wait("/jam/error"), [s("a string is broken")]);
    drop(server);
}

#[test]
fn the_namespace_has_every_address_with_help() {
    let text = namespace();
    for row in listing() {
        assert!(text.contains(row.path) && !row.help.is_empty());
    }
}

#[test]
fn the_section_is_a_value() {
    let snapshot = Snapshot { section: "B".into(), section_bars: 3, chords: "[A] C [B] G".into(), ..Snapshot::default() };
    let values = values(&snapshot, addresses().namespace());
    assert_eq!(values["/jam/section"], ["B".into(), Value::Int(3)]);
    assert_eq!(values["/jam/section/goto"], ["B".into()]);
    assert_eq!(values["/jam/chords"], ["[A] C [B] G".into()]);
}

#[test]
fn values_are_also_sent_at_old_addresses() {
    let now = Instant::now();
    let mut state = OscState::new(addresses(), 7, now);
    state.echo(&Snapshot { dim: -12.0, input_stem: Some(1), ..snapshot() }, now);
    for (address, value) in [
        ("/jam/dim", OscType::Float(12.0)),
        ("/jam/dip", OscType::Float(12.0)),
        ("/jam/play", s("drums")),
        ("/jam/instrument", s("drums")),
    ] {
        state.packet(at(1), &packet(address, &[]), now, SystemTime::now());
        assert_eq!(sent_to(&mut state, 1), [osc(address, &[value])]);
    }
}

/// The messages in some bytes of a state's answers, by address.
fn answers(state: &mut OscState) -> Vec<(SocketAddr, OscMessage)> {
    let decode = |b: &[u8]| match rosc::decoder::decode_udp(b).unwrap().1 {
        OscPacket::Message(m) => m,
        other => panic!("{other:?}"),
    };
    state.out().into_iter().map(|(to, b)| (to, decode(&b))).collect()
}

fn is_error(message: &OscMessage) -> bool {
    message.addr == "/jam/error"
}

/// Commands of the queued requests.
fn queued(state: &mut OscState) -> Vec<Command> {
    state.requests().into_iter().map(|r| r.command).collect()
}

/// A bundle of elements, as bytes: some may not be valid.
fn raw_bundle(seconds: u32, elements: &[Vec<u8>]) -> Vec<u8> {
    let mut all = b"#bundle\0".to_vec();
    all.extend(seconds.to_be_bytes());
    all.extend(1u32.to_be_bytes());
    for element in elements {
        all.extend((element.len() as u32).to_be_bytes());
        all.extend(element);
    }
    all
}

/// 128 bytes that stopped the server for ever.
fn empty_alternatives() -> Vec<u8> {
    packet(&format!("/jam/{}!", "{,,,}".repeat(24)), &[])
}

#[test]
fn an_address_of_empty_alternatives_is_answered() {
    let now = Instant::now();
    let mut state = OscState::new(addresses(), 7, now);
    for address in [format!("/jam/{}!", "{,,,}".repeat(24)), format!("/jam/{}!", "*{,}".repeat(28)), "/jam/{a,{b,c}}".repeat(8)] {
        state.packet(at(1), &packet(&address, &[]), now, SystemTime::now());
    }
    assert!(answers(&mut state).iter().filter(|(_, m)| is_error(m)).count() >= 2);
    assert!(state.requests().is_empty());
}

#[test]
fn a_server_that_gets_hostile_patterns_still_ends() {
    let (control, _model) = Control::new();
    let server = Server::start(control, addresses(), vec![], vec![], at(0)).unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let bundle = raw_bundle(0, &vec![empty_alternatives(); 400]);
    for _ in 0..20 {
        peer.send_to(&empty_alternatives(), server.address()).unwrap();
        peer.send_to(&bundle, server.address()).unwrap();
    }
    // It still answers this peer after a while, and dropping it joins its thread.
    let mut buffer = [0; 10_000];
    for _ in 0..100 {
        peer.send_to(&packet("/jam/ping", &[]), server.address()).unwrap();
        if peer.recv_from(&mut buffer).is_ok() && buffer.starts_with(b"/jam/pong") {
            break;
        }
    }
    assert!(buffer.starts_with(b"/jam/pong"));
    drop(server);
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
fn answers_to_one_peer_are_limited() {
    let (now, clock) = (Instant::now(), SystemTime::now());
    let mut state = OscState::new(addresses(), 7, now);
    state.echo(&snapshot(), now);
    let sync = raw_bundle(0, &vec![packet("/jam/sync", &[]); 3000]);
    for _ in 0..10 {
        state.packet(at(1), &sync, now, clock);
    }
    let flood = answers(&mut state);
    assert!(flood.len() < 1000, "{}", flood.len());
    // Another peer is still answered, and the first one again after a while.
    let other = SocketAddr::from(([192, 168, 7, 20], 4000));
    for (peer, later) in [(other, 0), (at(1), 10)] {
        state.packet(peer, &packet("/jam/sync", &[]), now + Duration::from_secs(later), clock);
        assert!(answers(&mut state).iter().filter(|(to, m)| *to == peer && !is_error(m)).count() > 25);
    }
}

#[test]
fn a_message_without_type_tags_has_no_arguments() {
    let (now, clock) = (Instant::now(), SystemTime::now());
    let mut state = OscState::new(addresses(), 7, now);
    // As X32-Edit sends it: "/jam/ping" and three zeros.
    state.packet(at(1), b"/jam/ping\0\0\0", now, clock);
    state.packet(at(1), &raw_bundle(0, &[b"/jam/fill\0\0\0".to_vec(), b"/jam/ping\0\0\0".to_vec()]), now, clock);
    assert_eq!(answers(&mut state).iter().filter(|(_, m)| m.addr == "/jam/pong").count(), 2);
    assert_eq!((queued(&mut state), state.malformed), (vec![Command::Fill], 0));
}

#[test]
fn one_unreadable_element_of_a_bundle_is_answered_and_the_others_count() {
    let (now, clock) = (Instant::now(), SystemTime::now());
    let mut state = OscState::new(addresses(), 7, now);
    let bad_tag = b"/jam/click\0\0,Q\0\0".to_vec();
    let bad_text = b"/jam/key\0\0\0\0,s\0\0\xff\xfe\0\0".to_vec();
    let bundle = raw_bundle(0, &[packet("/jam/fill", &[]), bad_tag, bad_text, packet("/jam/tempo", &[OscType::Int(97)])]);
    state.packet(at(1), &bundle, now, clock);
    assert_eq!(queued(&mut state), [Command::Fill, Command::Tempo(97.0)]);
    assert_eq!((answers(&mut state).iter().filter(|(_, m)| is_error(m)).count(), state.malformed), (2, 2));
}

#[test]
fn impulse_nil_and_true_are_presses() {
    for press in [OscType::Inf, OscType::Nil, OscType::Bool(true), OscType::Int(1), OscType::Float(1.0)] {
        assert_eq!(command("/jam/fill", std::slice::from_ref(&press)), Command::Fill);
        assert_eq!(command("/jam/fill", &[press.clone(), s("bar")]), Command::Fill);
        assert_eq!(command("/jam/take/save", std::slice::from_ref(&press)), Command::Keep(String::new()));
        assert_eq!(command("/jam/stem/drums/mute", &[press]), Command::Stem(Which::One(1), Action::Mute(true)));
    }
    assert_eq!(said("/jam/fill", &[OscType::Bool(false)]), []);
    // A value is no press.
    assert!(said("/jam/tempo", &[OscType::Inf])[0].is_err() && said("/jam/stem/drums/gain", &[OscType::Nil])[0].is_err());
}

#[test]
fn numbers_in_text_are_numbers() {
    assert_eq!(command("/jam/tempo", &[s("97.5")]), Command::Tempo(97.5));
    assert_eq!(command("/jam/stem/drums/gain", &[s(" -6 "), s("bar")]), Command::Stem(Which::One(1), Action::Gain(-6.0)));
    assert_eq!(command("/jam/text/2", &[s("dub"), s("0.5")]), Command::Text { part: 2, text: "dub".into(), weight: 0.5 });
    assert_eq!(command("/jam/fill", &[s("1")]), Command::Fill);
    assert_eq!(said("/jam/fill", &[s("0")]), []);
    // Where a text is expected, it is one.
    assert_eq!(command("/jam/text", &[s("1984")]), Command::Text { part: 0, text: "1984".into(), weight: 1.0 });
    assert_eq!(command("/jam/take/save", &[s("0")]), Command::Keep("0".into()));
    for text in ["nan", "inf", "fast", ""] {
        assert!(said("/jam/tempo", &[s(text)])[0].is_err(), "{text}");
    }
}

#[test]
fn a_value_that_is_too_long_for_a_packet_is_answered() {
    let (now, clock) = (Instant::now(), SystemTime::now());
    let mut state = OscState::new(addresses(), 7, now);
    let read = packet("/jam/chords", &[]);
    for (bars, sent) in [(10, true), (1000, true), (10_000, false)] {
        let chords = "Em ".repeat(bars);
        state.echo(&Snapshot { chords: chords.clone(), ..snapshot() }, now);
        state.packet(at(1), &read, now, clock);
        let answer = answers(&mut state);
        assert_eq!(answer.len(), 1);
        assert_eq!(answer[0].1 == osc("/jam/chords", &[s(&chords)]), sent, "{bars} bars");
        assert_eq!(is_error(&answer[0].1), !sent);
    }
    // Long commands that are pending do not hide the others.
    let pending = |n: i64| Pending { command: Command::Text { part: 0, text: "x".repeat(4000), weight: 1.0 }, at: n * 32_000 };
    state.echo(&Snapshot { pending: (0..12).map(pending).collect(), ..snapshot() }, now);
    state.packet(at(1), &packet("/jam/pending", &[]), now, clock);
    assert_eq!(answers(&mut state)[0].1.args.len(), 24);
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

#[test]
fn all_that_is_due_at_once_is_handed_on() {
    let (now, clock) = (Instant::now(), UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let mut state = OscState::new(addresses(), 7, now);
    let cue = |n: u32| packet("/jam/section/goto", &[s(&format!("part {n}")), s(&format!("bar {n}"))]);
    let tag = (2_208_988_800u64 + 1_800_000_000 + 5) as u32;
    state.packet(at(1), &raw_bundle(tag, &(1..=100).map(cue).collect::<Vec<_>>()), now, clock);
    assert!(state.requests().is_empty());
    state.due(now + Duration::from_secs(6));
    let mut all = Vec::new();
    for _ in 0..10 {
        let batch = queued(&mut state);
        assert!(batch.len() <= 32);
        all.extend(batch);
    }
    assert_eq!(all.len(), 100);
    assert_eq!((state.dropped, answers(&mut state).len()), (0, 0));
}

#[test]
fn messages_that_wait_are_pending_and_can_be_cancelled() {
    let (now, clock) = (Instant::now(), UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let mut state = OscState::new(addresses(), 7, now);
    let tag = |seconds: u32| (2_208_988_800u64 + 1_800_000_000) as u32 + seconds;
    let mute = packet("/jam/stem/drums/mute", &[OscType::Int(1)]);
    let pending = |state: &mut OscState| {
        state.echo(&Snapshot { pending: vec![Pending { command: Command::Fill, at: 3 * 32_000 }], ..snapshot() }, now);
        state.packet(at(1), &packet("/jam/pending", &[]), now, clock);
        let answer = answers(state).remove(0).1;
        answer.args.chunks(2).map(|pair| pair[0].clone().string().unwrap()).collect::<Vec<_>>()
    };
    state.packet(at(1), &raw_bundle(tag(5), &[packet("/jam/tempo", &[OscType::Int(90)]), mute.clone()]), now, clock);
    state.packet(at(1), &raw_bundle(tag(2), &[packet("/jam/tap", &[])]), now, clock);
    assert_eq!(pending(&mut state), ["tap", "fill", "tempo 90", "stem/drums/mute 1"]);
    // One stem's, then all; from OSC and from the keys.
    state.packet(at(1), &packet("/jam/cancel", &[s("drums")]), now, clock);
    assert_eq!(pending(&mut state), ["tap", "fill", "tempo 90"]);
    state.applied(&Request { command: Command::Cancel(None), when: None, from: 3 });
    assert_eq!(pending(&mut state), ["fill"]);
    state.due(now + Duration::from_secs(600));
    assert_eq!(queued(&mut state), [Command::Cancel(Some(1))]);
}

#[test]
fn the_same_error_is_answered_once_in_a_while() {
    let (now, clock) = (Instant::now(), SystemTime::now());
    let mut state = OscState::new(addresses(), 7, now);
    let mut errors = 0;
    // A tablet's accelerometer: 100 messages a second for a minute.
    for n in 0..6000 {
        let now = now + Duration::from_millis(10 * n);
        state.packet(at(1), &packet("/accxyz", &[OscType::Float(n as f32)]), now, clock);
        errors += answers(&mut state).len();
        if n % 4 == 0 {
            state.echo(&snapshot(), now);
        }
    }
    assert!((1..=10).contains(&errors), "{errors}");
    // Another error, and another peer, are answered.
    state.packet(at(1), &packet("/accxy", &[]), now, clock);
    state.packet(at(2), &packet("/accxyz", &[]), now, clock);
    assert_eq!(answers(&mut state).len(), 2);
}

#[test]
fn a_value_out_of_range_is_set_to_its_limit_and_answered() {
    let (now, clock) = (Instant::now(), SystemTime::now());
    let mut state = OscState::new(addresses(), 7, now);
    state.packet(at(1), &packet("/jam/tempo", &[OscType::Float(-5.0)]), now, clock);
    let answer = answers(&mut state);
    assert!(answer.len() == 1 && is_error(&answer[0].1), "{answer:?}");
    assert_eq!(queued(&mut state), [Command::Tempo(-5.0)]);
    state.packet(at(1), &packet("/jam/tempo", &[OscType::Float(97.0)]), now, clock);
    assert!(state.out().is_empty());
}
