//! Pictures of the screen from a fixed state, held by snapshots: `snapshots/*.snap`. To accept a change, run once with INSTA_UPDATE=always.

#[path = "../../tests/all/pty/mod.rs"]
mod pty;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};
use sideman_engine::live::{Action, Clock, Command, Health, Mode, Pending, Snapshot, StemState, Which};

use sideman_io::control::Control;

use super::draw;
use super::editor::Editor;
use super::keys::Keymap;
use super::state::{Focus, State};
use super::theme::Theme;
use super::{About, Screen};

/// A band in the middle of a song, with something of everything.
fn band() -> Snapshot {
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
        lead: 1696,
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
    state.see(band());
    state.say("back on jack: 48000 Hz, 128 frames");
    state.say("regenerate waits for bar 14");
    state
}

fn picture(state: &State, width: u16, height: u16, theme: Theme) -> Buffer {
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
    text(&picture(state, width, height, Theme::new(true)))
}

#[test]
fn it_fits_80_by_24_and_grows() {
    let state = state();
    insta::assert_snapshot!("80x24", shown(&state, 80, 24));
    insta::assert_snapshot!("100x30", shown(&state, 100, 30));
    insta::assert_snapshot!("200x60", shown(&state, 200, 60));
    insta::assert_snapshot!("40x12", shown(&state, 40, 12));
}

#[test]
fn sections_and_the_chart_in_force_are_shown() {
    let mut band = band();
    // Chords wait for their bar: until then the chart is what it was.
    (band.chords, band.section, band.section_bars) = ("[Verse] Em C [B] G D".into(), "Verse".into(), 2);
    let mut state = state();
    state.see(Snapshot { time: band.time + 1, ..band.clone() });
    let row = |state: &State| shown(state, 80, 24).lines().find(|l| l.starts_with(" CHORDS")).unwrap().to_owned();
    assert!(row(&state).contains("Em      then C   [Verse] 2 bars   of: [Verse] Em C [B] G D"), "{}", row(&state));
    assert_eq!(state.chords(), "Am F", "who edits them goes on from those that were asked for last");
    state.see(Snapshot { time: band.time + 2, section_bars: 1, pending: vec![], ..band });
    assert!(row(&state).contains("[Verse] last bar") && state.chords().starts_with("[Verse]"));
}

#[test]
fn what_keys_open_is_shown() {
    let mut state = state();
    state.focus = Focus::Text(Editor::new("warm funk, drums"));
    insta::assert_snapshot!("80x24-text", shown(&state, 80, 24));
    state.focus = Focus::Chords(Editor::new("Em H"), "\"H\" is no chord".into());
    assert!(shown(&state, 80, 24).contains("\"H\" is no chord"));
    state.focus = Focus::Quit;
    assert!(shown(&state, 80, 24).contains("Quit while the band plays?") && shown(&state, 40, 12).contains("Quit while"));
    state.focus = Focus::Help;
    insta::assert_snapshot!("80x24-help", shown(&state, 80, 24));
    insta::assert_snapshot!("100x34-help", shown(&state, 100, 34));
}

#[test]
fn other_states() {
    let mut band = band();
    band.time += 640;
    (band.bar, band.clock, band.playing, band.recording, band.mode) = (-1, Clock::Free, true, false, Mode::Loop);
    (band.pending, band.chord, band.next_chord, band.text) = (vec![], String::new(), String::new(), String::new());
    (band.health.rung, band.health.reason) = (2, "late again: the text is given less regard".into());
    let mut state = state();
    state.see(band);
    insta::assert_snapshot!("80x24-count-in", shown(&state, 80, 24));
}

/// Without colours nothing is lost: the same signs, and no cell has a colour.
#[test]
fn no_meaning_by_colour_alone() {
    let state = state();
    let (with, without) = (picture(&state, 80, 24, Theme::new(true)), picture(&state, 80, 24, Theme::new(false)));
    assert_eq!(text(&with), text(&without));
    assert!(without.content.iter().all(|c| (c.fg, c.bg) == (Color::Reset, Color::Reset)));
    assert!(with.content.iter().any(|c| c.fg != Color::Reset), "there are colours to do without");
    // What is chosen can be told from what is not without the colour, too.
    let row = |name: &str| text(&without).lines().position(|l| l.contains(name)).unwrap() as u16;
    assert!(without[(0, row("1 bass"))].symbol() == " " && without[(0, row("2 drums"))].symbol() == "▸");
    assert!(without[(3, row("2 drums"))].modifier.contains(Modifier::REVERSED));
}

/// No state and no size makes it panic or write outside.
#[test]
fn any_size() {
    let mut state = state();
    for focus in [
        Focus::Model,
        Focus::Help,
        Focus::Quit,
        Focus::Text(Editor::new("日本語")),
        Focus::Chords(Editor::default(), "x".repeat(300)),
    ] {
        state.focus = focus;
        for (width, height) in
            [(1, 1), (10, 3), (79, 24), (80, 23), (80, 24), (81, 41), (133, 40), (500, 24), (80, 200), (300, 100)]
        {
            shown(&state, width, height);
        }
    }
    let mut wild = band();
    wild.time += 640;
    (wild.tempo, wild.bar, wild.hop) = (f64::NAN, i64::MIN / 1000, 0);
    (wild.heard, wild.stems[1].peak, wild.stems[2].rms) = (f32::INFINITY, f32::NAN, -1.0);
    wild.health.load = f32::NAN;
    wild.pending = (0..64).map(|n| Pending { command: Command::Fill, at: n * 1_000_000_000_000 }).collect();
    state.focus = Focus::Model;
    state.see(wild);
    shown(&state, 80, 24);
    let empty = State::new("x", &[], Keymap::default());
    shown(&empty, 80, 24);
}

/// A thread of the band panics while the screen is up: the terminal is as it was, and what happened can be read on it.
#[test]
fn a_panic_gives_the_terminal_back() {
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
#[ignore = "the program in the terminal of a_panic_gives_the_terminal_back"]
fn a_child_that_panics() {
    let (control, controls) = Control::new();
    let stems = ["bass", "drums", "other"].map(str::to_owned);
    let about = About { model: "house", stems: &stems };
    let screen = Screen::open(&control, &about, Keymap::default(), Arc::new(AtomicBool::new(false))).unwrap();
    controls.publish(&mut band());
    // Once a key has come.
    while controls.take().is_none() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = std::thread::spawn(|| panic!("the drummer fell off the stage")).join();
    // The screen does not come back.
    std::thread::sleep(Duration::from_secs(1));
    drop(screen);
}
