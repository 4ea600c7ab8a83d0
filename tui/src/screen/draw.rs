//! The whole screen from the state. It fits 80 × 24, grows with the terminal, and says less, not wrong, in a smaller one.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::{Clear, Widget};
use sideman_engine::live::{Clock, beats};
use unicode_width::UnicodeWidthStr;

use super::digits;
use super::editor::Editor;
use super::keys::{Act, TABLE};
use super::position;
use super::state::{Focus, State};
use super::theme::Theme;
use super::{messages, plan, stems};

/// The smallest terminal that holds everything.
pub const SMALLEST: (u16, u16) = (80, 24);

/// Writes a text of at most `max` columns; what lies outside is left out.
pub fn put(buf: &mut Buffer, x: u16, y: u16, max: u16, text: &str, style: Style) {
    if buf.area.contains((x, y).into()) {
        buf.set_stringn(x, y, text, usize::from(max), style);
    }
}

/// How the rows are shared out.
struct Rows {
    /// Scale of the numerals.
    scale: u16,
    /// Rows of the beats, of a stem, of a lane.
    beats: u16,
    stem: u16,
    lane: u16,
    /// Rows between blocks.
    gap: u16,
    /// Rows for what waits.
    pending: u16,
}

impl Rows {
    fn of(area: Rect) -> Rows {
        let fits = |scale: &u16| 5 * scale <= area.height / 4 && 56 * scale + 20 <= area.width;
        let scale = (1..=4).rev().find(fits).unwrap_or(1);
        match area.height {
            ..28 => Rows { scale, beats: 1, stem: 1, lane: 1, gap: 0, pending: 1 },
            28..40 => Rows { scale, beats: 1, stem: 1, lane: 1, gap: 1, pending: 1 },
            40..56 => Rows { scale, beats: 2, stem: 2, lane: 2, gap: 1, pending: 3 },
            _ => Rows { scale, beats: 3, stem: 3, lane: 2, gap: 1, pending: 4 },
        }
    }
}

/// Draws it; `since`: seconds since the snapshot came.
pub fn draw(buf: &mut Buffer, state: &State, theme: Theme, since: f64) {
    let area = buf.area;
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        return small(buf, state, theme, since);
    }
    let rows = Rows::of(area);
    let n = state.stems.len() as u16;
    let mut y = area.y;
    let mut next = |high: u16, gap: u16| {
        let block = Rect { y, height: high, ..area };
        y += high + gap;
        block
    };
    title(buf, next(1, 0), state, theme, since);
    numerals(buf, next(1 + 5 * rows.scale, 0), state, theme, rows.scale, since);
    device_stats(buf, next(rows.beats, rows.gap), state, theme, since);
    stems::draw(buf, next(1 + n * rows.stem, rows.gap), state, theme, rows.stem);
    plan::draw(buf, next(1 + n * rows.lane, 0), state, theme, rows.lane, since);
    pending(buf, next(rows.pending, rows.gap), state, theme);
    song(buf, next(2, rows.gap), state, theme);
    load(buf, next(2, 0), state, theme);
    let rest = Rect { y, height: area.bottom().saturating_sub(y + 1), ..area };
    messages(buf, rest, state, theme);
    foot(buf, Rect { y: area.bottom() - 1, height: 1, ..area }, state, theme);
    if state.focus == Focus::Help {
        help(buf, state, theme);
    }
}

fn playing(state: &State, since: f64) -> &'static str {
    let bar = position::place(&state.band, position::now(&state.band, since)).bar;
    match state.band.playing {
        true if bar < 1 => "▶ COUNT-IN",
        true => "▶ PLAYING",
        false => "■ STOPPED",
    }
}

/// What fits where little does.
fn small(buf: &mut Buffer, state: &State, theme: Theme, since: f64) {
    let (area, place) = (buf.area, position::place(&state.band, position::now(&state.band, since)));
    let lines = [
        format!("{}  bar {} beat {}  {:.1} bpm", playing(state, since), place.bar, place.beat, state.band.tempo),
        if state.band.recording { format!("● REC {}", position::clock(state.band.recorded)) } else { "not recording".into() },
        match state.focus {
            Focus::Quit => "Quit while the band plays? y: yes, any other key: no".into(),
            _ => state.messages.back().cloned().unwrap_or_default(),
        },
        format!("all is shown in {} x {}; keys work", SMALLEST.0, SMALLEST.1),
    ];
    for (n, line) in lines.iter().enumerate() {
        put(buf, area.x, area.y + n as u16, area.width, line, theme.plain());
    }
}

fn title(buf: &mut Buffer, area: Rect, state: &State, theme: Theme, since: f64) {
    let who = match state.band.input_stem {
        Some(p) => format!("you play {}", state.name(p)),
        None => "the band plays all".into(),
    };
    let left = format!(" SIDEMAN  {}  {who}  {}", state.model, messages::mode(state.band.mode));
    put(buf, area.x, area.y, area.width, &left, theme.strong());
    let rec = if state.band.recording {
        format!("● REC {}", position::clock(state.band.recorded))
    } else {
        "○ not recording".into()
    };
    let playing = playing(state, since);
    let x = area.right().saturating_sub(playing.width() as u16 + 1);
    put(buf, x, area.y, 12, playing, if state.band.playing { theme.good() } else { theme.amber() }.patch(theme.strong()));
    let x = x.saturating_sub(rec.width() as u16 + 2);
    put(buf, x, area.y, 20, &rec, if state.band.recording { theme.red() } else { theme.faint() });
}

/// Bar, beat and tempo, large, and where the tempo comes from.
fn numerals(buf: &mut Buffer, area: Rect, state: &State, theme: Theme, scale: u16, since: f64) {
    let band = &state.band;
    let place = position::place(band, position::now(band, since));
    let (bar, beat) = (format!("{:>3}", place.bar), place.beat.to_string());
    let tempo = format!("{:>3.0}", band.tempo);
    let bar_x = area.x + 1;
    let beat_x = bar_x + digits::width(&bar, scale) + 4 * scale;
    let tempo_x = beat_x + digits::width(&beat, scale) + 6 * scale;
    let side = tempo_x + digits::width(&tempo, scale) + 2;
    for (x, head) in [(bar_x, "BAR"), (beat_x, "BEAT"), (tempo_x, "TEMPO")] {
        put(buf, x, area.y, 8, head, theme.faint());
    }
    let y = area.y + 1;
    let lit = if band.playing { theme.good() } else { theme.plain() };
    digits::draw(buf, bar_x, y, &bar, scale, lit);
    put(buf, beat_x - 3 * scale, y + 5 * scale - 1, 2 * scale, &"█".repeat(usize::from(2 * scale)), lit);
    digits::draw(buf, beat_x, y, &beat, scale, if place.beat == 1 { theme.amber() } else { lit });
    digits::draw(buf, tempo_x, y, &tempo, scale, theme.plain());
    let lock = match band.clock {
        Clock::Internal => "steady".to_owned(),
        Clock::Free => "no lock".to_owned(),
        _ => {
            let full = (band.lock.clamp(0.0, 1.0) * 5.0).round() as usize;
            format!("lock {}{} {:3.0} %", "█".repeat(full), "░".repeat(5 - full), band.lock * 100.0)
        }
    };
    let bad = !matches!(band.clock, Clock::Internal | Clock::Free) && band.lock < 0.5;
    let lines = [
        (format!("{:.1} bpm", band.tempo), theme.strong()),
        (messages::source(band.clock).to_owned(), theme.plain()),
        (lock, if bad { theme.red() } else { theme.plain() }),
        (format!("{} meter", band.meter), theme.plain()),
        (if band.click { "click on" } else { "click off" }.to_owned(), theme.plain()),
    ];
    for (n, (line, style)) in lines.iter().enumerate() {
        put(buf, side, y + n as u16, area.right().saturating_sub(side), line, *style);
    }
}

/// A block for each beat of the bar; that which sounds fills up.
fn device_stats(buf: &mut Buffer, area: Rect, state: &State, theme: Theme, since: f64) {
    let place = position::place(&state.band, position::now(&state.band, since));
    let all = beats(state.band.meter);
    let wide = (i64::from(area.width) - 2) / all;
    for beat in 1..=all {
        let x = area.x + 1 + ((beat - 1) * wide) as u16;
        let inner = (wide - 3).max(1);
        let full = match beat {
            b if b < place.beat => inner,
            b if b == place.beat => ((place.phase * inner as f64).ceil() as i64).clamp(1, inner),
            _ => 0,
        };
        let block = "█".repeat(full as usize) + &"░".repeat((inner - full) as usize);
        for row in 0..area.height {
            put(buf, x, area.y + row, wide as u16, &format!("{beat}"), theme.plain());
            put(buf, x + 1, area.y + row, inner as u16, &block, if beat == 1 { theme.amber() } else { theme.good() });
        }
    }
}

/// What waits, soonest first.
fn pending(buf: &mut Buffer, area: Rect, state: &State, theme: Theme) {
    let all = state.pending();
    let cancel = state.keys.written(Act::Cancel);
    let x = area.x + 12;
    put(buf, area.x + 1, area.y, 10, "PENDING", theme.strong());
    if all.is_empty() {
        put(buf, x, area.y, area.width, "nothing", theme.faint());
        let legend = area.right().saturating_sub(plan::LEGEND.width() as u16 + 1);
        return put(buf, legend, area.y, area.width, plan::LEGEND, theme.faint());
    }
    let items: Vec<String> = all
        .iter()
        .map(|p| format!("{} → {}", messages::whole(&p.command, state), position::boundary(&state.band, p.at)))
        .collect();
    let hint = format!("{cancel}: cancel");
    let hint_x = area.right().saturating_sub(hint.width() as u16 + 1);
    put(buf, hint_x, area.y, area.width, &hint, theme.plain());
    let room = hint_x.saturating_sub(x + 2);
    let last = usize::from(area.height - 1);
    for (n, item) in items.iter().take(last).enumerate() {
        put(buf, x, area.y + n as u16, room, item, theme.amber());
    }
    let rest = items.get(last..).unwrap_or_default();
    if !rest.is_empty() {
        put(buf, x, area.y + last as u16, room, &rest.join("  ·  "), theme.amber());
    }
}

/// Text and chords, or the line that is being written.
fn song(buf: &mut Buffer, area: Rect, state: &State, theme: Theme) {
    let x = area.x + 12;
    let room = area.width.saturating_sub(13);
    put(buf, area.x + 1, area.y, 10, "TEXT", theme.strong());
    put(buf, area.x + 1, area.y + 1, 10, "CHORDS", theme.strong());
    let band = &state.band;
    match &state.focus {
        Focus::Text(editor) => write(buf, x, area.y, room, editor, "", theme),
        _ => {
            let text = if band.text.is_empty() { "(none)" } else { &band.text };
            put(buf, x, area.y, room, text, theme.plain());
        }
    }
    match &state.focus {
        Focus::Chords(editor, wrong) => write(buf, x, area.y + 1, room, editor, wrong, theme),
        _ => {
            let known = |c: &str| if c.is_empty() { "–".to_owned() } else { c.to_owned() };
            let now = format!("{:<7}", known(&band.chord));
            put(buf, x, area.y + 1, 10, &now, theme.strong());
            let chart = if band.chords.trim().is_empty() { "unknown" } else { &band.chords };
            let section = match (band.section_bars, band.section.as_str()) {
                (0, _) => String::new(),
                (1, name) => format!("   [{name}] last bar"),
                (bars, name) => format!("   [{name}] {bars} bars"),
            };
            let line = format!("then {}{section}   of: {chart}", known(&band.next_chord));
            put(buf, x + 8, area.y + 1, room - 8, &line, theme.plain());
        }
    }
}

fn write(buf: &mut Buffer, x: u16, y: u16, room: u16, editor: &Editor, wrong: &str, theme: Theme) {
    let hint = if wrong.is_empty() { " enter: play it  esc: leave it".to_owned() } else { format!(" {wrong}") };
    let hint_room = (hint.width() as u16).min(room * 2 / 3);
    let [before, under, after] = editor.shown(usize::from(room - hint_room));
    put(buf, x, y, room, &before, theme.plain());
    let at = x + before.width() as u16;
    put(buf, at, y, 2, &under, theme.chosen());
    put(buf, at + under.width().max(1) as u16, y, room, &after, theme.plain());
    put(buf, x + room - hint_room, y, hint_room, &hint, if wrong.is_empty() { theme.faint() } else { theme.red() });
}

/// How the computer keeps up.
fn load(buf: &mut Buffer, area: Rect, state: &State, theme: Theme) {
    let h = &state.band.health;
    let hop = state.band.hop as f32 * 20.0;
    let full = (h.load.clamp(0.0, 1.0) * 10.0).round() as usize;
    let style = if h.rung > 0 || h.load > 0.9 { theme.red() } else { theme.plain() };
    put(buf, area.x + 1, area.y, 10, "LOAD", theme.strong());
    let gauge = format!("{}{} {:3.0} %", "█".repeat(full), "░".repeat(10 - full), h.load * 100.0);
    put(buf, area.x + 12, area.y, 20, &gauge, style);
    let hops = format!("hop {hop:.0} ms: p50 {:.1}  p99 {:.1}  head room {:.0} ms", h.p50, h.p99, hop - h.p99);
    put(buf, area.x + 30, area.y, area.width.saturating_sub(31), &hops, style);
    let lost = h.late + h.underrun + h.overrun + h.xruns + h.faults;
    let faults = if h.faults > 0 { format!("  faults {}", h.faults) } else { String::new() };
    let counts = format!("late {}  underrun {}  overrun {}  xruns {}{faults}", h.late, h.underrun, h.overrun, h.xruns);
    put(buf, area.x + 12, area.y + 1, area.width, &counts, if lost > 0 { theme.amber() } else { theme.plain() });
    let x = area.x + 14 + (counts.width() as u16).max(40);
    let lead = state.band.lead as f32 / 32.0;
    let latency = format!("in {:.0} out {:.0} lead {lead:.0} ms", h.latency_in, h.latency_out);
    put(buf, x, area.y + 1, area.right().saturating_sub(x), &latency, theme.plain());
}

/// What went wrong, the question, and what was said, newest first.
fn messages(buf: &mut Buffer, area: Rect, state: &State, theme: Theme) {
    let mut lines: Vec<(String, Style)> = vec![];
    if state.focus == Focus::Quit {
        lines.push(("? Quit while the band plays?   y: yes   any other key: no".into(), theme.chosen()));
    }
    if state.band.health.rung > 0 {
        lines.push((format!("! {}", state.band.health.reason), theme.red()));
    }
    lines.extend(state.messages.iter().rev().map(|m| (format!("» {m}"), theme.plain())));
    for (n, (line, style)) in lines.iter().take(usize::from(area.height)).enumerate() {
        put(buf, area.x + 1, area.y + n as u16, area.width.saturating_sub(2), line, *style);
    }
}

/// The keys that fit, with help and quit at the end.
fn foot(buf: &mut Buffer, area: Rect, state: &State, theme: Theme) {
    let one = |act| {
        let name = TABLE.iter().find(|row| row.act == act).map_or("", |row| row.name);
        let keys = state.keys.written(act);
        let first = keys.split(' ').next().unwrap_or_default().to_owned();
        (!first.is_empty()).then(|| format!("{first} {name}"))
    };
    let end: Vec<String> = [Act::Help, Act::Quit].into_iter().filter_map(one).collect();
    let end = end.join("  ");
    let mut line = String::from(" ");
    for act in [
        Act::Play,
        Act::Tap,
        Act::Stem,
        Act::Mute,
        Act::Solo,
        Act::Regenerate,
        Act::Freeze,
        Act::Undo,
        Act::Text,
        Act::Chords,
        Act::Record,
        Act::Next,
        Act::Click,
        Act::Cancel,
        Act::Panic,
        Act::Reject,
        Act::Redo,
        Act::Fill,
        Act::Mode,
        Act::Keep,
    ] {
        let Some(key) = one(act) else { continue };
        if line.width() + key.width() + 2 + end.width() < usize::from(area.width) {
            line += &key;
            line += "  ";
        }
    }
    put(buf, area.x, area.y, area.width, &format!("{line}{end}"), theme.faint());
}

/// The key table over everything; in two columns where one is too high.
fn help(buf: &mut Buffer, state: &State, theme: Theme) {
    let area = buf.area;
    Clear.render(area, buf);
    let lines = state.keys.lines();
    let high = area.height.saturating_sub(4).max(1);
    put(buf, area.x + 1, area.y, area.width, "KEYS   any key closes this; the band plays on", theme.strong());
    if lines.len() as u16 <= high {
        for (n, line) in lines.iter().enumerate() {
            put(buf, area.x + 1, area.y + 2 + n as u16, area.width - 2, line, if n == 0 { theme.head() } else { theme.plain() });
        }
    } else {
        // Short: key and name, in columns.
        let rows = TABLE.len().div_ceil(3) as u16;
        for (n, row) in TABLE.iter().enumerate() {
            let (x, y) = (area.x + 1 + n as u16 / rows * (area.width / 3), area.y + 2 + n as u16 % rows);
            put(buf, x, y, 10, &state.keys.written(row.act), theme.strong());
            put(buf, x + 9, y, area.width / 3 - 9, row.name, theme.plain());
        }
        put(buf, area.x + 1, area.y + 3 + rows, area.width, "what each key does: `sideman keys`", theme.plain());
    }
    put(buf, area.x + 1, area.bottom() - 1, area.width, plan::LEGEND, theme.faint());
}
