//! The plan: the current bar and the next three, one lane per stem. Decided music can't be changed any more,
//! repeated music is known, and open music is not decided yet. A pending command is a letter at its boundary.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use sideman_engine::live::{Action, Clock, Command, Which};

use super::draw::put;
use super::messages;
use super::position;
use super::state::State;
use super::theme::Theme;

/// Columns before the lanes.
const LEFT: u16 = 12;
/// Bars shown.
const BARS: i64 = 4;

/// Meaning of a lane's signs.
pub const LEGEND: &str = "█ decided  ≡ repeats  ░ open  · silent";

/// Draws the bar numbers and a lane of `high` rows for each stem. `since`: seconds since the snapshot was
/// received.
pub fn draw(buf: &mut Buffer, area: Rect, state: &State, theme: Theme, high: u16, since: f64) {
    let snapshot = &state.snapshot;
    buf.set_style(Rect { height: 1, ..area }, theme.head());
    put(buf, area.x + 1, area.y, LEFT, "PLAN", theme.head());
    let lanes = Rect { x: area.x + LEFT, width: area.width.saturating_sub(LEFT + 1), ..area };
    let now = position::now(snapshot, since);
    let bar = snapshot.meter.beats();
    let first = position::at(snapshot, now).bar;
    // The column of a song time. All beats are equally wide.
    let column = |t: i64| {
        let beats = position::beats_at(snapshot, t) - (first * bar) as f64;
        (beats / (BARS * bar) as f64 * f64::from(lanes.width)).round().clamp(-1.0, f64::from(lanes.width)) as i32
    };
    for n in 0..BARS {
        let x = lanes.x + (n as f64 / BARS as f64 * f64::from(lanes.width)).round() as u16;
        let name = if snapshot.clock == Clock::Free { "|".to_owned() } else { format!("|{}", first + n) };
        put(buf, x, area.y, lanes.width / BARS as u16, &name, theme.head());
    }
    let pending = state.pending();
    for p in pending.iter().filter(|p| !matches!(p.command, Command::Stem(..))) {
        let x = column(p.at);
        if (0..i32::from(lanes.width)).contains(&x) && p.at > snapshot.time {
            put(buf, lanes.x + x as u16, area.y, 1, messages::letter(&p.command), theme.selected());
        }
    }
    let edges = (column(now), column(snapshot.committed));
    for s in 0..state.stems.len() {
        let y = area.y + 1 + s as u16 * high;
        put(buf, area.x + 1, y, LEFT - 2, &state.stems[s], theme.plain());
        for row in 0..(high - 1).max(1) {
            lane(buf, Rect { y: y + row, height: 1, ..lanes }, state, s, theme, edges, &column);
        }
    }
}

fn lane(
    buf: &mut Buffer,
    area: Rect,
    state: &State,
    s: usize,
    theme: Theme,
    (now, decided): (i32, i32),
    column: &impl Fn(i64) -> i32,
) {
    let snapshot = &state.snapshot;
    let stem = snapshot.stems.get(s).copied().unwrap_or_default();
    let solo = snapshot.stems.iter().any(|s| s.solo);
    let mut silent = !snapshot.playing || stem.mute || solo && !stem.solo;
    let mut frozen = stem.frozen > 0 || snapshot.mode == sideman_engine::live::Mode::Loop && snapshot.input_stem != Some(s as u8);
    let is_input = snapshot.input_stem == Some(s as u8) && snapshot.mode != sideman_engine::live::Mode::Lead;
    let pending = state.pending();
    let mut upcoming = pending
        .iter()
        .filter(|p| match p.command {
            Command::Stem(which, _) => which == Which::All || which == Which::One(s as u8),
            Command::Stop | Command::Play => true,
            _ => false,
        })
        .map(|p| (column(p.at).max(decided), p))
        .peekable();
    for col in 0..i32::from(area.width) {
        let mut mark = None;
        while let Some((_, p)) = upcoming.next_if(|(at, _)| *at <= col) {
            match p.command {
                Command::Stem(_, Action::Mute(m)) => silent = m,
                Command::Stem(_, Action::Freeze(bars)) => frozen = bars > 0,
                Command::Stem(_, Action::Undo) => frozen = true,
                Command::Stem(_, Action::Regen) => frozen = false,
                Command::Stop => silent = true,
                Command::Play => silent = stem.mute || solo && !stem.solo,
                _ => {}
            }
            mark = Some(messages::letter(&p.command));
        }
        let (symbol, style) = match mark {
            Some(letter) if !is_input && col > now => (letter, theme.selected()),
            _ if col == now => ("┃", theme.strong()),
            _ if col < now => (" ", theme.plain()),
            // The input stem is not predicted.
            _ if is_input => (" ", theme.plain()),
            _ if silent => ("·", theme.faint()),
            _ if col <= decided => ("█", theme.good()),
            _ if frozen => ("≡", theme.amber()),
            _ => ("░", theme.faint()),
        };
        put(buf, area.x + col as u16, area.y, 1, symbol, style);
    }
    if is_input {
        put(
            buf,
            area.x + (now + 2).max(0) as u16,
            area.y,
            24.min(area.width.saturating_sub((now + 2).max(0) as u16)),
            "you: not predicted",
            theme.faint(),
        );
    }
}
