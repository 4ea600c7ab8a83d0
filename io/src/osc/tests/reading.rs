//! Reading messages and writing values.

use super::*;

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
