//! The screen drawn from a fixed state, compared with `snapshots/*.snap`. To accept a change, run once with
//! INSTA_UPDATE=always.

#[path = "../../tests/all/pty/mod.rs"]
mod pty;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};
use sideman_engine::live::{Action, Clock, Command, Health, LoadShedding, Mode, Pending, Snapshot, StemState, Which};

use sideman_io::control::Control;

use super::draw;
use super::keys::Keymap;
use super::state::{Focus, State};
use super::text_field::TextField;
use super::theme::Theme;
use super::{About, Screen};

/// A session in the middle of a song, in which every block of the screen has something to show.
fn snapshot() -> Snapshot {
    let stem = StemState { peak: 0.3, rms: 0.08, ..StemState::default() };
    Snapshot {
        // Bar 13, beat 2: 112 bpm, 17142.86 samples a beat.
        time: 840_000,
        bar: 13,
        beat: 2,
        phase: 0.6,
        tempo: 112.4,
        clock: Clock::Midi,
        lock: 0.97,
        playing: true,
        input_stem: Some(0),
        stems: vec![
            StemState { peak: 0.0, rms: 0.0, ..stem },
            StemState { mute: true, frozen: 4, gain: -3.0, peak: 0.0, rms: 0.0, ..stem },
            StemState { solo: true, ..stem },
        ],
        heard: 0.5,
        pending: vec![
            Pending { command: Command::Stem(Which::One(2), Action::Regen), at: 880_997 },
            Pending { command: Command::Chords("Am F".into()), at: 880_997 },
        ],
        chord: "Em".into(),
        next_chord: "C".into(),
        chords: "Em C G D".into(),
        text: "warm funk, dry drums".into(),
        lag: 8,
        hop: 4,
        lead: 5536,
        committed: 842_000,
        planned: 842_000,
        click: true,
        recording: true,
        recorded: 32_000 * 83,
        health: Health {
            p50: 21.4,
            p99: 33.9,
            load: 0.31,
            late: 1,
            underrun: 512,
            latency_in: 5.3,
            latency_out: 10.7,
            ..Health::default()
        },
        ..Snapshot::default()
    }
}

fn state() -> State {
    let stems = ["bass", "drums", "other"].map(str::to_owned);
    let mut state = State::new("house", &stems, Keymap::default());
    state.update(snapshot());
    state.show_message("back on jack: 48000 Hz, 128 frames");
    state.show_message("regenerate is scheduled for bar 14");
    state
}

fn drawn(state: &State, width: u16, height: u16, theme: Theme) -> Buffer {
    let mut buf = Buffer::empty(Rect::new(0, 0, width, height));
    draw::draw(&mut buf, state, theme, 0.0);
    buf
}

fn text(buf: &Buffer) -> String {
    let rows = (0..buf.area.height).map(|y| {
        let row: String = (0..buf.area.width).map(|x| buf[(x, y)].symbol()).collect();
        row.trim_end().to_owned()
    });
    rows.collect::<Vec<_>>().join("\n")
}

fn shown(state: &State, width: u16, height: u16) -> String {
    text(&drawn(state, width, height, Theme::new(true)))
}

#[test]
fn the_screen_fits_80_by_24_and_grows_with_the_terminal() {
    let state = state();
    insta::assert_snapshot!("80x24", shown(&state, 80, 24));
    insta::assert_snapshot!("100x30", shown(&state, 100, 30));
    insta::assert_snapshot!("200x60", shown(&state, 200, 60));
    insta::assert_snapshot!("40x12", shown(&state, 40, 12));
}

#[test]
fn the_present_section_and_chart_are_shown() {
    let mut snapshot = snapshot();
    // New chords are pending until their bar: the current ones are shown.
    (snapshot.chords, snapshot.section, snapshot.section_bars) = ("[Verse] Em C [B] G D".into(), "Verse".into(), 2);
    let mut state = state();
    state.update(Snapshot { time: snapshot.time + 1, ..snapshot.clone() });
    let row = |state: &State| shown(state, 80, 24).lines().find(|l| l.starts_with(" CHORDS")).unwrap().to_owned();
    assert!(row(&state).contains("Em      then C   [Verse] 2 bars   of: [Verse] Em C [B] G D"), "{}", row(&state));
    assert_eq!(state.expected_chords(), "Am F", "editing starts from the pending chords");
    state.update(Snapshot { time: snapshot.time + 2, section_bars: 1, pending: vec![], ..snapshot });
    assert!(row(&state).contains("[Verse] last bar") && state.expected_chords().starts_with("[Verse]"));
}

#[test]
fn text_chords_help_and_the_question_before_quitting_are_shown() {
    let mut state = state();
    state.focus = Focus::Text(TextField::new("warm funk, drums"));
    insta::assert_snapshot!("80x24-text", shown(&state, 80, 24));
    state.focus = Focus::Chords(TextField::new("Em H"), "\"H\" is not a chord".into());
    assert!(shown(&state, 80, 24).contains("\"H\" is not a chord"));
    state.focus = Focus::Quit;
    assert!(shown(&state, 80, 24).contains("Quit?") && shown(&state, 40, 12).contains("Quit?"));
    state.focus = Focus::Help;
    insta::assert_snapshot!("80x24-help", shown(&state, 80, 24));
    insta::assert_snapshot!("100x39-help", shown(&state, 100, 39));
}

#[test]
fn the_count_in_and_load_shedding_are_shown() {
    let mut snapshot = snapshot();
    snapshot.time += 640;
    (snapshot.bar, snapshot.clock, snapshot.playing, snapshot.recording, snapshot.mode) =
        (-1, Clock::Free, true, false, Mode::Loop);
    (snapshot.pending, snapshot.chord, snapshot.next_chord, snapshot.text) =
        (vec![], String::new(), String::new(), String::new());
    snapshot.health.shedding = LoadShedding::NoGuidance;
    let mut state = state();
    state.update(snapshot);
    insta::assert_snapshot!("80x24-count-in", shown(&state, 80, 24));
}

#[test]
fn without_colour_the_screen_has_the_same_signs_and_no_cell_has_a_colour() {
    let state = state();
    let (with, without) = (drawn(&state, 80, 24, Theme::new(true)), drawn(&state, 80, 24, Theme::new(false)));
    assert_eq!(text(&with), text(&without));
    assert!(without.content.iter().all(|c| (c.fg, c.bg) == (Color::Reset, Color::Reset)));
    assert!(with.content.iter().any(|c| c.fg != Color::Reset), "the theme with colour has colours");
    // The selected stem has a sign and is reversed.
    let row = |name: &str| text(&without).lines().position(|l| l.contains(name)).unwrap() as u16;
    assert!(without[(0, row("1 bass"))].symbol() == " " && without[(0, row("2 drums"))].symbol() == "▸");
    assert!(without[(3, row("2 drums"))].modifier.contains(Modifier::REVERSED));
}

#[test]
fn the_screen_draws_any_state_at_any_size() {
    let mut state = state();
    for focus in [
        Focus::Session,
        Focus::Help,
        Focus::Quit,
        Focus::Text(TextField::new("日本語")),
        Focus::Chords(TextField::default(), "x".repeat(300)),
    ] {
        state.focus = focus;
        for (width, height) in
            [(1, 1), (10, 3), (79, 24), (80, 23), (80, 24), (81, 41), (133, 40), (500, 24), (80, 200), (300, 100)]
        {
            shown(&state, width, height);
        }
    }
    let mut wild = snapshot();
    wild.time += 640;
    (wild.tempo, wild.bar, wild.hop) = (f64::NAN, i64::MIN / 1000, 0);
    (wild.heard, wild.stems[1].peak, wild.stems[2].rms) = (f32::INFINITY, f32::NAN, -1.0);
    wild.health.load = f32::NAN;
    wild.pending = (0..64).map(|n| Pending { command: Command::Fill, at: n * 1_000_000_000_000 }).collect();
    state.focus = Focus::Session;
    state.update(wild);
    shown(&state, 80, 24);
    let empty = State::new("x", &[], Keymap::default());
    shown(&empty, 80, 24);
}

#[test]
fn a_panic_in_any_thread_restores_the_terminal_and_is_printed_on_it() {
    let child = ["screen::tests::a_child_that_panics", "--exact", "--ignored", "--nocapture"];
    let mut pty = pty::Pty::start(&std::env::current_exe().unwrap(), &child, (80, 24), &[]);
    pty.shows("SIDEMAN");
    assert!(pty.look(|s| s.alternate_screen() && s.hide_cursor()) && !pty.is_sane());
    pty.press("k");
    pty.shows("the drummer fell off the stage");
    assert!(!pty.look(|s| s.alternate_screen() || s.hide_cursor()), "{}", pty.text());
    assert!(pty.is_sane());
    pty.ends();
}

#[test]
#[ignore = "the program that runs in the terminal of the test above"]
fn a_child_that_panics() {
    let (control, mut controls) = Control::new();
    let stems = ["bass", "drums", "other"].map(str::to_owned);
    let about = About { model: "house", stems: &stems };
    let screen = Screen::open(&control, &about, Keymap::default(), Arc::new(AtomicBool::new(false))).unwrap();
    controls.publish(&snapshot());
    // Until a key is pressed.
    while controls.take().is_none() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = std::thread::spawn(|| panic!("the drummer fell off the stage")).join();
    // The screen must not be drawn again.
    std::thread::sleep(Duration::from_secs(1));
    drop(screen);
}
