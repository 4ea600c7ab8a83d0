//! Floods, broken packets and hostile patterns.

use super::*;

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

/// Public reports: SwiftOSC 52 (an element of four bytes without type tags), trowaSoft 63 (brackets that a regular expression refuses),
/// SuperCollider 7326 (what is no OSC), OSCRouter 20 (a bundle of eight bytes).
#[test]
fn packets_that_ended_other_programs_are_answered() {
    let (now, clock) = (Instant::now(), SystemTime::now());
    let mut state = OscState::new(addresses(), 7, now);
    let label = packet("/1/labelS1", &[s("Sub")]);
    for hostile in [
        raw_bundle(0, &[b"/1\0\0".to_vec(), label]),
        packet("/jam/[", &[OscType::Float(1.0)]),
        packet("/jam/[z-a]*{", &[OscType::Float(1.0)]),
        packet("/jam/{[}", &[]),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"#bundle\0".to_vec(),
        b"/jam/tempo".to_vec(),
        Vec::new(),
    ] {
        state.packet(at(1), &hostile, now, clock);
        assert_eq!(queued(&mut state), [], "{hostile:?}");
        assert!(answers(&mut state).iter().all(|(_, message)| is_error(message)), "{hostile:?}");
    }
    state.packet(at(1), &packet("/jam/fill", &[]), now, clock);
    assert_eq!(queued(&mut state), [Command::Fill]);
}

/// Each take is a folder, with up to ten minutes of music that the recorder's thread has to write.
#[test]
fn a_flood_of_takes_is_limited_and_answered() {
    let (now, clock) = (Instant::now(), SystemTime::now());
    let mut state = OscState::new(addresses(), 7, now);
    let takes = |state: &mut OscState, later: u64, packets: u32| {
        let mut takes = 0;
        for n in 0..packets {
            let packet = match n % 3 {
                0 => packet("/jam/take/save", &[s(&n.to_string())]),
                1 => packet("/jam/rec", &[OscType::Int(1)]),
                _ => packet("/jam/rec", &[OscType::Int(0)]),
            };
            state.packet(at(1), &packet, now + Duration::from_secs(later), clock);
            takes += queued(state).iter().filter(|c| matches!(c, Command::Keep(_) | Command::Record(true))).count();
        }
        takes
    };
    assert_eq!(takes(&mut state, 0, 1000), 12);
    assert!(answers(&mut state).iter().any(|(_, message)| is_error(message)));
    assert_eq!(takes(&mut state, 35, 1000), 3);
    // Another host makes its own.
    state.packet(SocketAddr::from(([192, 168, 7, 20], 4000)), &packet("/jam/take/save", &[]), now, clock);
    assert_eq!(queued(&mut state), [Command::Keep(String::new())]);
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
