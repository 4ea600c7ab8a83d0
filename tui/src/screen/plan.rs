//! The plan: this bar and those that follow, a lane for each stem. What is decided can't be changed any more, what repeats is known, the
//! rest is open; what waits stands at its boundary.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use sideman_engine::live::{Action, Clock, Command, Which, beats};

use super::draw::put;
use super::messages;
use super::position;
use super::state::State;
use super::theme::Theme;

/// Columns before the lanes.
const LEFT: u16 = 12;
/// Bars that are shown.
const BARS: i64 = 4;

/// What a lane's signs mean.
pub const LEGEND: &str = "█ decided  ≡ repeats  ░ open  · silent";

/// Bar numbers over a lane of `high` rows for each stem; `since`: seconds since the snapshot came.
pub fn draw(buf: &mut Buffer, area: Rect, state: &State, theme: Theme, high: u16, since: f64) {
    let band = &state.band;
    buf.set_style(Rect { height: 1, ..area }, theme.head());
    put(buf, area.x + 1, area.y, LEFT, "PLAN", theme.head());
    let lanes = Rect { x: area.x + LEFT, width: area.width.saturating_sub(LEFT + 1), ..area };
    let now = position::now(band, since);
    let bar = beats(band.meter);
    let first = position::place(band, now).bar;
    // Columns of a song time: a beat is equally wide everywhere.
    let column = |t: i64| {
        let beats = position::beats_at(band, t) - (first * bar) as f64;
        (beats / (BARS * bar) as f64 * f64::from(lanes.width)).round().clamp(-1.0, f64::from(lanes.width)) as i32
    };
    for n in 0..BARS {
        let x = lanes.x + (n as f64 / BARS as f64 * f64::from(lanes.width)).round() as u16;
        let name = if band.clock == Clock::Free { "|".to_owned() } else { format!("|{}", first + n) };
        put(buf, x, area.y, lanes.width / BARS as u16, &name, theme.head());
    }
    let pending = state.pending();
    for p in pending.iter().filter(|p| !matches!(p.command, Command::Stem(..))) {
        let x = column(p.at);
        if (0..i32::from(lanes.width)).contains(&x) && p.at > band.time {
            put(buf, lanes.x + x as u16, area.y, 1, messages::letter(&p.command), theme.chosen());
        }
    }
    let edges = (column(now), column(band.committed));
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
    (now, sure): (i32, i32),
    column: &impl Fn(i64) -> i32,
) {
    let band = &state.band;
    let stem = band.stems.get(s).copied().unwrap_or_default();
    let solo = band.stems.iter().any(|s| s.solo);
    let mut silent = !band.playing || stem.mute || solo && !stem.solo;
    let mut frozen = stem.frozen > 0 || band.mode == sideman_engine::live::Mode::Loop && band.input_stem != Some(s as u8);
    let yours = band.input_stem == Some(s as u8) && band.mode != sideman_engine::live::Mode::Lead;
    let pending = state.pending();
    let mut waits = pending
        .iter()
        .filter(|p| match p.command {
            Command::Stem(which, _) => which == Which::All || which == Which::One(s as u8),
            Command::Stop | Command::Play => true,
            _ => false,
        })
        .map(|p| (column(p.at).max(sure), p))
        .peekable();
    for col in 0..i32::from(area.width) {
        let mut mark = None;
        while let Some((_, p)) = waits.next_if(|(at, _)| *at <= col) {
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
            Some(letter) if !yours && col > now => (letter, theme.chosen()),
            _ if col == now => ("┃", theme.strong()),
            _ if col < now => (" ", theme.plain()),
            // The player is heard, not foretold.
            _ if yours => (" ", theme.plain()),
            _ if silent => ("·", theme.faint()),
            _ if col <= sure => ("█", theme.good()),
            _ if frozen => ("≡", theme.amber()),
            _ => ("░", theme.faint()),
        };
        put(buf, area.x + col as u16, area.y, 1, symbol, style);
    }
    if yours {
        put(
            buf,
            area.x + (now + 2).max(0) as u16,
            area.y,
            24.min(area.width.saturating_sub((now + 2).max(0) as u16)),
            "you: heard, not planned",
            theme.faint(),
        );
    }
}
