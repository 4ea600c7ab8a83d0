use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use rosc::{OscBundle, OscMessage, OscPacket, OscTime, OscType};
use sideman_engine::live::{Action, Command, Pending, Request, Snapshot, StemState, When, Which};

use super::*;
use crate::control::{Control, Event};

fn names() -> Names {
    Names::new("house", &["bass", "drums", "other"])
}

fn snapshot() -> Snapshot {
    Snapshot { tempo: 112.0, bar: 1, beat: 1, stems: vec![StemState::default(); 3], ..Snapshot::default() }
}

fn osc(addr: &str, args: &[OscType]) -> OscMessage {
    OscMessage { addr: addr.into(), args: args.to_vec() }
}

fn said(addr: &str, args: &[OscType]) -> Vec<Result<Ask, String>> {
    parse(&osc(addr, args), &names())
}

fn command(addr: &str, args: &[OscType]) -> Command {
    match said(addr, args).remove(0) {
        Ok(Ask::Do { command, .. }) => command,
        other => panic!("{addr}: {other:?}"),
    }
}

fn s(text: &str) -> OscType {
    text.into()
}

/// A message for every address that does something, with arguments that it takes.
fn all() -> Vec<OscMessage> {
    let mut all = Vec::new();
    for (address, at) in names().addresses {
        let entry = &ADDRESSES[at];
        let args = match entry.path {
            "/jam/meter" => vec![OscType::Int(6), OscType::Int(8)],
            "/jam/clock" => vec![s("midi")],
            "/jam/mode" => vec![s("lead")],
            "/jam/play" => vec![s("drums")],
            "/jam/chords" => vec![s("Am F C G")],
            "/jam/text" | "/jam/key" | "/jam/section/goto" | "/jam/take/save" | "/jam/midi/learn" => vec![s("some words")],
            "/jam/text/N" => vec![s("dub"), OscType::Float(0.5)],
            "/jam/cancel" => vec![s("other")],
            "/jam/sample/seed" => vec![OscType::Long(-7)],
            "/jam/tempo" => vec![OscType::Double(97.25)],
            p if p.ends_with("gain") || p.ends_with("pan") => vec![OscType::Float(-0.5)],
            "/jam/dip" | "/jam/sample/temperature" | "/jam/sample/top_p" | "/jam/sample/cfg" => vec![OscType::Float(0.75)],
            _ if matches!(entry.kind, Kind::Value(_)) => vec![OscType::Int(1)],
            _ => vec![],
        };
        if matches!(entry.kind, Kind::Value(_) | Kind::Deed(_)) {
            all.push(OscMessage { addr: address, args });
        }
    }
    all
}

#[test]
fn every_address_is_a_command_and_every_command_its_address() {
    assert!(all().len() > 60);
    for m in all() {
        let asks = parse(&m, &names());
        let [Ok(Ask::Do { command, when: None, .. })] = asks.as_slice() else { panic!("{m:?}: {asks:?}") };
        assert_eq!(message(command, &names()).unwrap(), m);
        // And at a boundary.
        let args = [m.args.as_slice(), &[s("section")]].concat();
        let asks = said(&m.addr, &args);
        assert!(matches!(asks.as_slice(), [Ok(Ask::Do { when: Some(When::Section), .. })]), "{m:?}: {asks:?}");
        // One argument too many, or of a wrong kind, is told in a sentence.
        let args = [m.args.as_slice(), &[OscType::Nil]].concat();
        assert!(said(&m.addr, &args)[0].as_ref().is_err_and(|e| e.contains(&m.addr)), "{m:?}");
    }
}

#[test]
fn arguments_are_taken_as_they_are_meant() {
    let on = |arg: OscType| command("/jam/stem/drums/mute", &[arg]);
    for yes in [OscType::Int(1), OscType::Float(1.0), OscType::Bool(true), OscType::Double(1.0), OscType::Long(1)] {
        assert_eq!(on(yes), Command::Stem(Which::One(1), Action::Mute(true)));
    }
    assert_eq!(on(OscType::Float(0.0)), Command::Stem(Which::One(1), Action::Mute(false)));
    assert_eq!(command("/jam/stem/all/freeze", &[OscType::Float(4.0)]), Command::Stem(Which::All, Action::Freeze(4)));
    assert_eq!(command("/jam/play", &[s("none")]), Command::InputStem(None));
    for db in [12.0, -12.0] {
        assert_eq!(command("/jam/dip", &[OscType::Float(db)]), Command::Dim(-12.0));
    }
    let at = said("/jam/stem/drums/mute", &[OscType::Int(1), s("bar 17")]);
    assert!(matches!(at[..], [Ok(Ask::Do { when: Some(When::AtBar(17)), .. })]), "{at:?}");
    // A word of a text is no boundary, one after it is.
    assert_eq!(command("/jam/text", &[s("bar")]), Command::Text { part: 0, text: "bar".into(), weight: 1.0 });
    assert_eq!(command("/jam/text/3", &[s("x"), s("bar")]), Command::Text { part: 3, text: "x".into(), weight: 1.0 });
    // A button is pressed and let go.
    assert_eq!(said("/jam/fill", &[OscType::Float(1.0)]).len(), 1);
    assert_eq!(said("/jam/fill", &[OscType::Float(0.0)]), []);
    assert_eq!(said("/jam/tempo", &[]), [Ok(Ask::Read("/jam/tempo".into()))]);
    for (addr, args, what) in [
        ("/jam/tempo", vec![s("fast")], "a number is needed"),
        ("/jam/tempo", vec![OscType::Float(f32::NAN)], "a number is needed"),
        ("/jam/meter", vec![OscType::Int(5), OscType::Int(4)], "5/4"),
        ("/jam/meter", vec![OscType::Int(4)], "an argument is missing"),
        ("/jam/clock", vec![s("sun")], "internal|midi"),
        ("/jam/play", vec![s("flute")], "no stem \"flute\": bass, drums, other"),
        ("/jam/stem/drums/mute", vec![OscType::Int(1), s("soon")], "now, beat, bar, section"),
        ("/jam/nothing", vec![], "no address /jam/nothing"),
        ("/jam/x*", vec![], "no address /jam/x*"),
        ("/jam/lag", vec![OscType::Int(-1)], "is no count"),
    ] {
        let found = said(addr, &args).remove(0).unwrap_err();
        assert!(found.contains(what), "{addr}: {found}");
    }
}

#[test]
fn patterns_reach_what_they_should() {
    for (pattern, address, hit) in [
        ("/jam/stem/*/mute", "/jam/stem/drums/mute", true),
        ("/jam/*/mute", "/jam/stem/drums/mute", false),
        ("/jam/stem/{bass,other}/mute", "/jam/stem/other/mute", true),
        ("/jam/stem/{bass,other}/mute", "/jam/stem/drums/mute", false),
        ("/jam/text/[1-3]", "/jam/text/3", true),
        ("/jam/text/[!1-3]", "/jam/text/3", false),
        ("/jam/text/?", "/jam/text/4", true),
        ("/jam/t*", "/jam/tempo", true),
        ("/jam/text/[", "/jam/text/1", false),
        ("/jam/{text", "/jam/text", false),
        ("", "", true),
    ] {
        assert_eq!(matches(pattern, address), hit, "{pattern} {address}");
    }
    assert_eq!(said("/jam/stem/*/mute", &[OscType::Int(1)]).len(), 3);
    assert_eq!(said("/jam/stem/{bass,drums}/[gm]*", &[OscType::Int(1)]).len(), 4);
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

/// Packets that went out to a port, decoded.
fn told(state: &mut OscState, port: u16) -> Vec<OscMessage> {
    let to = state.out().into_iter().filter(|(to, _)| to.port() == port);
    to.map(|(_, b)| match rosc::decoder::decode_udp(&b).unwrap().1 {
        OscPacket::Message(m) => m,
        other => panic!("{other:?}"),
    })
    .collect()
}

#[test]
fn subscribers_are_told_what_they_did_not_say_themselves() {
    let (start, clock) = (Instant::now(), SystemTime::now());
    let mut state = OscState::new(names(), 7, start);
    for port in [1, 2] {
        state.packet(at(port), &packet("/jam/subscribe", &[OscType::Int(10)]), start, clock);
    }
    state.packet(at(9), &packet("/jam/subscribe", &[OscType::Int(3), OscType::Int(10)]), start, clock);
    let mut now = snapshot();
    state.echo(&now, start);
    // All of it, once.
    let first = told(&mut state, 1);
    assert!(first.contains(&osc("/jam/tempo", &[OscType::Float(112.0)])) && first.len() > 25, "{first:?}");
    state.echo(&now, start);
    assert!(state.out().is_empty());
    // One sets a tempo: the other two are told, it is not.
    state.packet(at(1), &packet("/jam/tempo", &[OscType::Int(90)]), start, clock);
    assert_eq!(state.wishes(), [Request { command: Command::Tempo(90.0), when: None, from: 7 }]);
    now.tempo = 90.0;
    now.stems[1].mute = true;
    state.echo(&now, start);
    let out = state.out();
    let to = |port: u16, addr: &str| out.iter().filter(|(to, b)| to.port() == port && b.starts_with(addr.as_bytes())).count();
    assert_eq!([to(1, "/jam/tempo\0"), to(2, "/jam/tempo\0"), to(3, "/jam/tempo\0")], [0, 1, 1]);
    // By keys: all are told.
    assert_eq!([1, 2, 3].map(|p| to(p, "/jam/stem/drums/mute")), [1, 1, 1]);
    // It set one thing and got another: it is told.
    state.packet(at(1), &packet("/jam/tempo", &[OscType::Int(9000)]), start, clock);
    now.tempo = 400.0;
    state.echo(&now, start);
    assert!(told(&mut state, 1).contains(&osc("/jam/tempo", &[OscType::Float(400.0)])));
    // What no snapshot shows is told when it was taken, and can be read.
    state.applied(&Request { command: Command::Cfg(2.5), when: None, from: 1 });
    state.echo(&now, start);
    assert!(told(&mut state, 2).contains(&osc("/jam/sample/cfg", &[OscType::Float(2.5)])));
    state.packet(at(5), &packet("/jam/sample/cfg", &[]), start, clock);
    assert_eq!(told(&mut state, 5), [osc("/jam/sample/cfg", &[OscType::Float(2.5)])]);
    state.packet(at(5), &packet("/jam/sync", &[]), start, clock);
    assert!(told(&mut state, 5).len() > 25);
    // Who does not subscribe again is forgotten; who unsubscribes at once.
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
fn bundles_wait_for_their_time() {
    let start = Instant::now();
    let clock = UNIX_EPOCH + Duration::from_millis(1_800_000_000_250);
    let mut state = OscState::new(names(), 7, start);
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
    let wishes = |state: &mut OscState| state.wishes().into_iter().map(|r| r.command).collect::<Vec<_>>();
    assert_eq!(wishes(&mut state), [Command::Tap]);
    state.due(start + Duration::from_millis(190));
    assert_eq!(wishes(&mut state), []);
    state.due(start + Duration::from_millis(600));
    assert_eq!(wishes(&mut state), [Command::Panic, Command::Fill]);
    let errors = told(&mut state, 1);
    assert!(matches!(&errors[..], [OscMessage { addr, .. }] if addr == "/jam/error"), "{errors:?}");
}

#[test]
fn a_flood_leaves_the_last_value_and_room_for_others() {
    let (now, clock) = (Instant::now(), SystemTime::now());
    let mut state = OscState::new(names(), 7, now);
    for n in 0..100_000 {
        state.packet(at(1), &packet("/jam/stem/drums/gain", &[OscType::Float(n as f32 / -1e5)]), now, clock);
        state.packet(at(1), &packet("/jam/fill", &[]), now, clock);
    }
    let wishes = state.wishes();
    assert!(wishes.len() <= 32, "{}", wishes.len());
    let gains: Vec<_> =
        wishes.iter().filter_map(|r| if let Command::Stem(_, Action::Gain(db)) = r.command { Some(db) } else { None }).collect();
    assert_eq!(gains, [-0.99999]);
    assert!(state.dropped > 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ten_thousand_malformed_packets_ask_for_nothing_and_are_counted(
        which: prop::sample::Index, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut: prop::sample::Index, noise in prop::collection::vec(any::<u8>(), 0..40)
    ) {
        let all = all();
        let mut bytes = packet(&which.get(&all).addr, &which.get(&all).args);
        changes.iter().for_each(|(at, b)| *at.get_mut(&mut bytes) = *b);
        bytes.truncate(cut.index(bytes.len()) + 1);
        let now = Instant::now();
        let mut state = OscState::new(names(), 7, now);
        for bytes in [&bytes, &noise] {
            state.packet(at(1), bytes, now, SystemTime::UNIX_EPOCH);
            prop_assert!(state.malformed > 0 || rosc::decoder::decode_udp(bytes).is_ok());
        }
        state.due(now + Duration::from_secs(1000));
        state.echo(&snapshot(), now);
    }
}

#[test]
fn a_packet_of_nothing_but_nesting_is_refused() {
    let now = Instant::now();
    let mut state = OscState::new(names(), 7, now);
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
    assert!(state.wishes().is_empty());
}

#[test]
fn a_server_takes_wishes_and_echoes_changes() {
    let (control, model) = Control::new();
    let server = Server::start(control, names(), vec![Command::LoopBars(4)], at(0)).unwrap();
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
    model.publish(&mut state.clone());
    // What there was before may be told first.
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
    model.tell(&Event::Said("a string is broken".into()));
    assert_eq!(wait("/jam/error"), [s("a string is broken")]);
    drop(server);
}

#[test]
fn the_namespace_is_printed_whole() {
    let text = namespace();
    for entry in ADDRESSES {
        assert!(text.contains(entry.path) && !entry.what.is_empty());
    }
}

#[test]
fn sections_are_told_by_name_and_asked_for_by_name_or_number() {
    let section = |args: &[OscType]| said("/jam/section/goto", args);
    for (args, name) in [(vec![s("Verse 1")], "Verse 1"), (vec![OscType::Int(2)], "2"), (vec![OscType::Float(3.0)], "3")] {
        let asks = section(&args);
        assert!(matches!(&asks[..], [Ok(Ask::Do { command: Command::Section(n), .. })] if n == name), "{asks:?}");
    }
    let told =
        shown(&Snapshot { section: "B".into(), section_bars: 3, chords: "[A] C [B] G".into(), ..Snapshot::default() }, &names());
    assert_eq!(told["/jam/section"], [s("B"), OscType::Int(3)]);
    assert_eq!((&told["/jam/section/goto"], &told["/jam/chords"]), (&vec![s("B")], &vec![s("[A] C [B] G")]));
}
