//! Messages with a time tag.

use super::*;

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
