//! Chords by ear and clock by ear in a live session on the fixture models.

use sideman_engine::live::{Clock, Command, EarState, Request, Session, SessionConfig, Snapshot};
use sideman_tests::fixture::Fixture;
use sideman_tests::jam::{Jam, counted_line, pluck};

const RATE: usize = 32_000;

/// A bass at 240 BPM from song time 0: bars of Em Am C G, four notes a bar.
fn line(bars: usize) -> Vec<f32> {
    let mut out = vec![0.0; bars * RATE];
    for beat in 0..4 * bars {
        let root = [40.0, 45.0, 36.0, 43.0][beat / 4 % 4];
        pluck(&mut out, beat as f64 * 0.25, root + [0.0, 7.0, 12.0, 7.0][beat % 4], 0.24);
    }
    out
}

fn settings(jam: &Jam) -> SessionConfig {
    SessionConfig { lag: 6, tempo: 240.0, chords: Some("ear".into()), ..SessionConfig::for_model(jam.model.config()) }
}

/// The chord in force after each hop, and all samples of the band, of a session that hears `input`.
fn play(
    jam: &mut Jam,
    settings: &SessionConfig,
    input: &[f32],
    hops: &[usize],
    requests: &[(usize, Command)],
) -> (Vec<String>, Vec<f32>) {
    let mut session = Session::new(&mut jam.cpu, &jam.model, settings, None).unwrap();
    let (mut chords, mut samples, mut snapshot) = (vec![], vec![], Snapshot::default());
    let (mut at, mut i) = (0, 0);
    while at < input.len() {
        for (_, command) in requests.iter().filter(|(frame, _)| frame * 640 == at) {
            session.request(Request { command: command.clone(), when: None, from: 0 });
        }
        let n = (hops[i % hops.len()] * 640).min(input.len() - at);
        session.hop(&mut jam.cpu, &jam.model, &input[at..at + n]).unwrap();
        session.snapshot(&mut snapshot);
        chords.push(snapshot.chord.clone());
        (0..3).for_each(|s| samples.extend_from_slice(session.stem(s)));
        (at, i) = (at + n, i + 1);
    }
    (chords, samples)
}

#[test]
fn chords_by_ear_are_those_that_the_bass_plays() {
    let mut jam = Jam::open(Fixture::short());
    let settings = settings(&jam);
    let (chords, _) = play(&mut jam, &settings, &line(12), &[1], &[]);
    // From bar 9 on the loop is known: the chord changes with the bar.
    for (frame, chord) in chords.iter().enumerate().skip(8 * 50) {
        let bar = (frame * 640 + 641) / RATE;
        if frame % 50 < 40 {
            let root = ["E", "A", "C", "G"][bar % 4];
            assert!(chord.starts_with(root), "frame {frame}: {chord}, not {root}");
        }
    }
}

#[test]
fn the_hop_changes_nothing_of_what_is_heard() {
    let mut jam = Jam::open(Fixture::short());
    let settings = settings(&jam);
    let input = line(5);
    let (_, whole) = play(&mut jam, &settings, &input, &[5], &[]);
    for hops in [&[1usize][..], &[7, 2, 25]] {
        // Samples of the three stems alternate by hop, so each hop's are compared as a set of equal bits.
        let (_, split) = play(&mut jam, &settings, &input, hops, &[]);
        let sum = |samples: &[f32]| samples.iter().map(|x| u64::from(x.to_bits())).fold(0u64, u64::wrapping_add);
        assert_eq!(sum(&whole), sum(&split));
    }
}

#[test]
fn chords_by_ear_reach_the_model_and_a_typed_chart_wins() {
    let mut jam = Jam::open(Fixture::short());
    let by_ear = settings(&jam);
    let unknown = SessionConfig { chords: None, ..by_ear.clone() };
    let typed = SessionConfig { chords: Some("F".into()), ..by_ear.clone() };
    let input = line(5);
    let hops = [10];
    let heard = play(&mut jam, &by_ear, &input, &hops, &[]);
    let nothing = play(&mut jam, &unknown, &input, &hops, &[]);
    assert!(heard.1 != nothing.1 && nothing.0.iter().all(String::is_empty));
    let (chords, samples) = play(&mut jam, &typed, &input, &hops, &[]);
    assert!(chords.iter().all(|chord| chord == "F") && samples != heard.1);
    // Chords that are typed in mid-song take the place of those that are heard, and the other way round.
    let requests = [(50, Command::Chords("Bb".into())), (150, Command::Chords("ear".into()))];
    let (chords, _) = play(&mut jam, &by_ear, &input, &hops, &requests);
    assert!(chords[12] == "Bb" && chords[22].starts_with('E'), "{chords:?}");
    // Without a clock there are no bars.
    let free = SessionConfig { clock: Clock::Free, ..by_ear };
    let free_unknown = SessionConfig { clock: Clock::Free, ..unknown };
    assert!(play(&mut jam, &free, &input, &hops, &[]).1 == play(&mut jam, &free_unknown, &input, &hops, &[]).1);
}

/// A session with the clock by ear that waits for a count.
fn waiting(jam: &Jam) -> SessionConfig {
    SessionConfig { clock: Clock::Ear, playing: false, tempo: 120.0, ..settings(jam) }
}

/// Every beat in force: seconds, bar and beat; and the last snapshot.
fn beats_of(
    jam: &mut Jam,
    settings: &SessionConfig,
    input: &[f32],
    requests: &[(usize, Command)],
) -> (Vec<(f64, i64, u32)>, Snapshot) {
    let mut session = Session::new(&mut jam.cpu, &jam.model, settings, None).unwrap();
    let (mut beats, mut s) = (vec![], Snapshot::default());
    for (frame, hop) in input.chunks_exact(640).enumerate() {
        for (_, command) in requests.iter().filter(|(at, _)| *at == frame) {
            session.request(Request { command: command.clone(), when: None, from: 0 });
        }
        session.hop(&mut jam.cpu, &jam.model, hop).unwrap();
        session.snapshot(&mut s);
        let last = beats.last().map(|&(_, bar, beat)| (bar, beat));
        if s.playing && s.bar >= 1 && last != Some((s.bar, s.beat)) {
            beats.push((s.time as f64 / RATE as f64 - f64::from(s.phase) * 60.0 / s.tempo, s.bar, s.beat));
        }
    }
    (beats, s)
}

/// Whether the beats are those of a line: each in its place, and from bar 5 on within 70 ms.
fn assert_follows(found: &[(f64, i64, u32)], beats: usize, at: impl Fn(f64) -> f64) {
    assert!(found.len() + 1 >= beats, "{} beats of {beats}", found.len());
    for (n, &(time, bar, beat)) in found.iter().take(beats).enumerate() {
        assert_eq!((bar, beat), (n as i64 / 4 + 1, n as u32 % 4 + 1), "beat {n} at {time}");
        let error = time - (1.5 + at(n as f64 + 4.0));
        assert!(n < 16 || error.abs() < 0.07, "beat {n}: {error:.3} s beside the line");
    }
}

#[test]
fn a_count_starts_the_band_and_the_beat_follows_the_musician() {
    let mut jam = Jam::open(Fixture::short());
    let settings = waiting(&jam);
    // Steady; a tempo that slows down by 4 % from the ninth beat on; one that gets 5 % faster in 40 beats.
    let steady = |beat: f64| beat * 0.5;
    let slower = |beat: f64| beat * 0.5 + (beat - 12.0).max(0.0) * 0.02;
    let faster = |beat: f64| 0.5 * (beat - 0.05 * beat * beat / 80.0);
    let laws: [&dyn Fn(f64) -> f64; 3] = [&steady, &slower, &faster];
    for at in laws {
        let (found, s) = beats_of(&mut jam, &settings, &counted_line(40, 40.0, at), &[]);
        assert_follows(&found, 40, at);
        assert!(s.lock > 0.8 && s.ear == Some(EarState::Following), "{} {:?}", s.lock, s.ear);
    }
}

#[test]
fn the_clock_by_ear_is_the_same_for_every_hop() {
    let mut jam = Jam::open(Fixture::short());
    let settings = waiting(&jam);
    let input = counted_line(16, 40.0, |beat| beat * 0.45);
    let sum = |samples: &[f32]| samples.iter().map(|x| u64::from(x.to_bits())).fold(0u64, u64::wrapping_add);
    let whole = sum(&play(&mut jam, &settings, &input, &[1], &[]).1);
    for hops in [&[4usize][..], &[9, 1, 25]] {
        assert_eq!(sum(&play(&mut jam, &settings, &input, hops, &[]).1), whole);
    }
}

#[test]
fn the_tempo_is_held_while_the_musician_rests_and_found_again() {
    let mut jam = Jam::open(Fixture::short());
    let settings = waiting(&jam);
    let at = |beat: f64| beat * 0.5;
    let mut input = counted_line(48, 40.0, at);
    // Beats 16 to 31 are silent.
    let silent = |seconds: f64| (seconds * RATE as f64) as usize;
    input[silent(1.5 + at(20.0) - 0.05)..silent(1.5 + at(36.0) - 0.05)].fill(0.0);
    let middle = silent(1.5 + at(34.0)) / 640 * 640;
    let (_, held) = beats_of(&mut jam, &settings, &input[..middle], &[]);
    assert!(held.ear == Some(EarState::Holding) && (held.tempo - 120.0).abs() < 1.0, "{:?} {}", held.ear, held.tempo);
    let (found, s) = beats_of(&mut jam, &settings, &input, &[]);
    assert_follows(&found, 48, at);
    assert_eq!(s.ear, Some(EarState::Following));
}

#[test]
fn nothing_but_a_count_starts_the_band() {
    let mut jam = Jam::open(Fixture::short());
    let settings = waiting(&jam);
    let n = 8 * RATE;
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f64 / 16_777_216.0
    };
    let noise: Vec<f32> = (0..n).map(|_| (0.1 * (random() - 0.5)) as f32).collect();
    let hum: Vec<f32> = (0..n).map(|i| (0.1 * (std::f64::consts::TAU * 50.0 * i as f64 / RATE as f64).sin()) as f32).collect();
    // Speech: syllables of uneven length and pitch. A free introduction: notes without a beat.
    let (mut speech, mut free) = (vec![0.0; n], vec![0.0; n]);
    let (mut t, mut u) = (0.3, 0.3);
    while t < 7.5 {
        pluck(&mut speech, t, 45.0 + 8.0 * random(), 0.1 + 0.1 * random());
        t += 0.12 + 0.25 * random();
    }
    for k in 0.. {
        pluck(&mut free, u, [40.0, 47.0, 43.0, 52.0][k % 4], 0.5);
        u += 0.5 + 0.9 * random();
        if u > 7.5 {
            break;
        }
    }
    for (name, input) in [("silence", vec![0.0; n]), ("noise", noise), ("hum", hum), ("speech", speech), ("free", free)] {
        let (beats, s) = beats_of(&mut jam, &settings, &input, &[]);
        assert!(!s.playing && beats.is_empty() && s.ear == Some(EarState::Waiting), "{name}");
    }
}

#[test]
fn half_double_and_one_move_the_beat() {
    let mut jam = Jam::open(Fixture::short());
    let settings = waiting(&jam);
    let input = counted_line(32, 40.0, |beat| beat * 0.5);
    let tempo = |requests: &[(usize, Command)], jam: &mut Jam| beats_of(jam, &settings, &input, requests);
    let (_, s) = tempo(&[(400, Command::Half)], &mut jam);
    assert!((s.tempo - 60.0).abs() < 2.0, "{}", s.tempo);
    let (_, s) = tempo(&[(400, Command::Double)], &mut jam);
    assert!((s.tempo - 240.0).abs() < 8.0, "{}", s.tempo);
    // Beat 3 of a bar becomes beat 1 of the next one.
    let third = ((1.5 + 0.5 * (4.0 + 16.0 + 2.0)) * 50.0) as usize;
    let (beats, _) = tempo(&[(third - 15, Command::One)], &mut jam);
    let after: Vec<(i64, u32)> = beats[14..20].iter().map(|&(_, bar, beat)| (bar, beat)).collect();
    assert_eq!(after, [(4, 3), (4, 4), (5, 1), (5, 2), (6, 1), (6, 2)]);
}

#[test]
fn a_take_by_ear_replays() {
    let mut jam = Jam::open(Fixture::short());
    let settings = waiting(&jam);
    let input = counted_line(16, 40.0, |beat| beat * 0.5 + 0.004 * beat);
    let once = play(&mut jam, &settings, &input, &[4], &[]);
    assert!(once == play(&mut jam, &settings, &input, &[4], &[]));
}

#[test]
fn a_count_in_half_or_double_time_is_corrected_and_then_followed() {
    let mut jam = Jam::open(Fixture::short());
    let settings = waiting(&jam);
    // Four notes of the count, then a line whose beats are half or twice as long.
    for (count, beat, command) in [(1.0, 0.5, Command::Double), (0.35, 0.7, Command::Half)] {
        let at = |place: f64| if place <= 4.0 { place * count } else { 4.0 * count + (place - 4.0) * beat };
        let input = counted_line(40, 40.0, at);
        let bar1 = 1.5 + 4.0 * count;
        // It is corrected just before beat 12 of the line, which the wrong grid has too.
        let corrected = ((bar1 + 12.0 * beat - 0.2) * 50.0) as usize;
        let (found, s) = beats_of(&mut jam, &settings, &input, &[(corrected, command.clone())]);
        assert!((s.tempo * beat / 60.0 - 1.0).abs() < 0.02 && s.ear == Some(EarState::Following), "{command:?}: {}", s.tempo);
        let after: Vec<f64> = found.iter().map(|beat| beat.0).filter(|&time| time > bar1 + 13.5 * beat).collect();
        assert!(after.len() >= 20, "{command:?}: {} beats", after.len());
        for (n, time) in after.iter().enumerate() {
            let place = (time - bar1) / beat;
            assert!((place - place.round()).abs() * beat < 0.07, "{command:?}: beat {n} at {time}");
            assert!(n == 0 || ((time - after[n - 1]) / beat - 1.0).abs() < 0.1, "{command:?}: beat {n} at {time}");
        }
    }
}

#[test]
fn a_count_goes_on_after_failover_and_the_band_comes_in() {
    let (mut jam, mut standby) = (Jam::open(Fixture::short()), Jam::open(Fixture::short()));
    let settings = waiting(&jam);
    let at = |beat: f64| beat * 0.5;
    let input = counted_line(20, 40.0, at);
    // The backend is lost before the count, after its second note, while the window is primed, and after the last note.
    for seconds in [1.0, 2.2, 2.8, 3.2] {
        let lost = (seconds * 50.0) as usize;
        let mut hops = input.chunks_exact(640);
        let (mut beats, mut s, mut last) = (vec![], Snapshot::default(), None);
        // Whether the band sounds in each frame.
        let mut sounds = vec![];
        let mut note = |session: &Session<_>| {
            session.snapshot(&mut s);
            if s.playing && s.bar >= 1 && last != Some((s.bar, s.beat)) {
                last = Some((s.bar, s.beat));
                beats.push((s.time as f64 / RATE as f64 - f64::from(s.phase) * 60.0 / s.tempo, s.bar, s.beat));
            }
            // Where it doesn't play its gain is 0.
            sounds.push(session.levels(1).iter().any(|gain| gain[0] > 0.0));
        };
        let mut first = Session::new(&mut jam.cpu, &jam.model, &settings, None).unwrap();
        for hop in hops.by_ref().take(lost) {
            first.hop(&mut jam.cpu, &jam.model, hop).unwrap();
            note(&first);
        }
        let mut second = Session::new(&mut standby.cpu, &standby.model, &settings, None).unwrap();
        second.take_over(&mut standby.cpu, &standby.model, first, None).unwrap();
        for hop in hops {
            second.hop(&mut standby.cpu, &standby.model, hop).unwrap();
            note(&second);
        }
        assert_follows(&beats, 20, at);
        // Bar 1 begins at second 3.5; it enters with bar 2 at the latest, or with bar 3 after the last note.
        let enters = if seconds < 3.0 { 5.5 } else { 7.5 };
        let from = |seconds: f64| (seconds * 50.0) as usize;
        assert!(sounds[..from(3.0)].iter().all(|&sounds| !sounds), "{seconds}: the band plays in the count");
        assert!(sounds[from(enters + 0.1)..].iter().all(|&sounds| sounds), "{seconds}: the band does not play");
    }
}

/// A line at 120 BPM that nobody counts in: from second 1 on, `bars` bars of a dotted figure.
fn uncounted_line(bars: usize) -> Vec<f32> {
    let mut out = vec![0.0; (2 * bars + 2) * RATE];
    for bar in 0..bars {
        for (k, place) in [0.0, 1.0, 1.5, 2.0, 3.0, 3.5].into_iter().enumerate() {
            let note = [40.0, 43.0, 45.0, 47.0][bar % 4] + [0.0, 7.0, 12.0, 7.0, 0.0, 5.0][k];
            pluck(&mut out, 1.0 + 2.0 * bar as f64 + 0.5 * place, note, 0.22);
        }
    }
    out
}

#[test]
fn the_tempo_of_an_uncounted_line_is_offered_and_play_accepts_it_on_the_one() {
    let mut jam = Jam::open(Fixture::short());
    let settings = SessionConfig { tempo: 90.0, ..waiting(&jam) };
    let input = uncounted_line(14);
    let eight_bars = &input[..17 * RATE];
    // Nothing starts by itself.
    let (found, s) = beats_of(&mut jam, &settings, eight_bars, &[]);
    assert!(found.is_empty() && !s.playing && (s.offer / 120.0 - 1.0).abs() < 0.01, "{} beats, offer {}", found.len(), s.offer);
    // Play 40 ms after bar 9 begins.
    let (found, s) = beats_of(&mut jam, &settings, &input, &[(852, Command::Play)]);
    assert!(found.len() >= 16 && s.offer == 0.0, "{} beats", found.len());
    for (n, &(time, bar, beat)) in found.iter().enumerate() {
        assert_eq!((bar, beat), (n as i64 / 4 + 1, n as u32 % 4 + 1));
        assert!((time - 19.0 - 0.5 * n as f64).abs() < 0.07, "beat {n} at {time}");
    }
    // A tempo that the musician sets is not replaced.
    let (found, s) = beats_of(&mut jam, &settings, &input, &[(500, Command::Tempo(90.0)), (852, Command::Play)]);
    assert!(s.offer == 0.0 && found.first().is_some_and(|&(time, ..)| (time - 19.0).abs() > 0.2), "{found:?}");
}
