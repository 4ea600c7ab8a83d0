//! A row for each stem: name, marks (YOU, MUTE, SOLO, FROZEN), level, fader, and its pending commands.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use sideman_engine::live::{Command, Which};
use sideman_io::command_text;

use super::draw::put;
use super::position::boundary;
use super::state::State;
use super::theme::Theme;

/// The lowest level that the meter shows, dB.
const FLOOR: f32 = -48.0;
/// Columns before the meter.
const LEFT: u16 = 31;
/// Columns after it.
const RIGHT: u16 = 36;

/// Draws the heading, and `high` rows for each stem.
pub fn draw(buf: &mut Buffer, area: Rect, state: &State, theme: Theme, high: u16) {
    buf.set_style(Rect { height: 1, ..area }, theme.head());
    let meter = area.width.saturating_sub(LEFT + RIGHT).max(4);
    let right = area.x + LEFT + meter;
    for (x, head) in [
        (area.x + 1, "STEM"),
        (area.x + 12, "MARKS"),
        (area.x + LEFT, "LEVEL"),
        (right + 2, "PEAK"),
        (right + 9, "FADER"),
        (right + 16, "PENDING"),
    ] {
        put(buf, x, area.y, 20, head, theme.head());
    }
    for s in 0..state.stems.len() {
        let y = area.y + 1 + s as u16 * high;
        row(buf, Rect { x: area.x, y, width: area.width, height: (high - 1).max(1) }, state, s, theme, meter);
    }
}

fn row(buf: &mut Buffer, area: Rect, state: &State, s: usize, theme: Theme, meter: u16) {
    let (x, y, right) = (area.x, area.y, area.x + LEFT + meter);
    let stem = state.snapshot.stems.get(s).copied().unwrap_or_default();
    let selected = state.selected.is_none_or(|c| usize::from(c) == s);
    let name = format!("{}{} {:<8}", if selected { "▸" } else { " " }, s + 1, state.stems[s]);
    put(buf, x, y, 11, &name, if selected { theme.selected() } else { theme.strong() });
    let mut at = x + 12;
    let mut mark = |word: &str, style| {
        put(buf, at, y, LEFT.saturating_sub(at - x + 1), word, style);
        at += word.len() as u16 + 1;
    };
    if state.snapshot.input_stem == Some(s as u8) {
        mark("YOU", theme.strong());
    }
    if stem.mute {
        mark("MUTE", theme.red());
    }
    if stem.solo {
        mark("SOLO", theme.good());
    }
    if stem.frozen > 0 {
        mark(&format!("FROZEN{}", stem.frozen), theme.amber());
    }
    level(buf, Rect { x: x + LEFT, width: meter, ..area }, state, s, theme);
    let peak = state.peak(s);
    let peak = if peak < -99.0 { "--- dB".into() } else { format!("{peak:+3.0} dB") };
    put(buf, right + 2, y, 6, &peak, if state.peak(s) >= -0.3 { theme.red() } else { theme.plain() });
    put(buf, right + 9, y, 6, &format!("{:+3.0} dB", stem.gain), theme.plain());
    let pending = state.pending();
    let mut of_stem =
        pending.iter().filter(|p| matches!(p.command, Command::Stem(w, _) if w == Which::All || w == Which::One(s as u8)));
    if let Some(p) = of_stem.next() {
        let more = of_stem.count();
        let more = if more > 0 { format!(" +{more}") } else { String::new() };
        let width = area.width.saturating_sub(LEFT + meter + 16);
        put(
            buf,
            right + 16,
            y,
            width,
            &format!("…{} {}{more}", command_text::of(&p.command), boundary(&state.snapshot, p.at)),
            theme.amber(),
        );
    }
}

/// The level meter: a full bar for RMS, a lighter one for the peak, a line for the held peak.
fn level(buf: &mut Buffer, area: Rect, state: &State, s: usize, theme: Theme) {
    let inner = area.width.saturating_sub(2);
    let columns = |db: f32| (((db - FLOOR) / -FLOOR).clamp(0.0, 1.0) * f32::from(inner)).round() as u16;
    // The input stem has no RMS.
    let is_input = state.snapshot.input_stem == Some(s as u8);
    let rms = if is_input { 0 } else { columns(20.0 * state.snapshot.stems.get(s).map_or(0.0, |b| b.rms).log10()) };
    let (peak, hold) = (columns(state.peak(s)), columns(state.held_peaks.get(s).copied().unwrap_or(f32::NEG_INFINITY)));
    for row in 0..area.height {
        put(buf, area.x, area.y + row, 1, "▕", theme.plain());
        for col in 0..inner {
            let (symbol, style) = match col {
                c if c < rms => ("█", theme.good()),
                c if c < peak => ("▓", theme.good()),
                c if hold > 0 && c + 1 == hold => ("│", theme.amber()),
                _ => ("·", theme.faint()),
            };
            put(buf, area.x + 1 + col, area.y + row, 1, symbol, style);
        }
        put(buf, area.x + 1 + inner, area.y + row, 1, "▏", theme.plain());
    }
}
