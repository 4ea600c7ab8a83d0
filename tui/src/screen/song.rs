//! The text and the chords, or the line in which one of them is edited.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::{Paragraph, Widget};
use sideman_engine::live::by_ear;
use unicode_width::UnicodeWidthStr;

use super::draw::put;
use super::state::{Focus, State};
use super::text_field::TextField;
use super::theme::Theme;

/// Draws both rows.
pub fn draw(buf: &mut Buffer, area: Rect, state: &State, theme: Theme) {
    let x = area.x + 12;
    let room = area.width.saturating_sub(13);
    put(buf, area.x + 1, area.y, 10, "TEXT", theme.strong());
    put(buf, area.x + 1, area.y + 1, 10, "CHORDS", theme.strong());
    let snapshot = &state.snapshot;
    match &state.focus {
        Focus::Text(field) => edit_row(buf, Rect { x, y: area.y, width: room, height: 1 }, field, "", theme),
        _ => {
            let text = if snapshot.text.is_empty() { "(none)" } else { &snapshot.text };
            put(buf, x, area.y, room, text, theme.plain());
        }
    }
    match &state.focus {
        Focus::Chords(field, error) => edit_row(buf, Rect { x, y: area.y + 1, width: room, height: 1 }, field, error, theme),
        _ => {
            let known = |c: &str| if c.is_empty() { "–".to_owned() } else { c.to_owned() };
            let now = format!("{:<7}", known(&snapshot.chord));
            put(buf, x, area.y + 1, 10, &now, theme.strong());
            let chart = if snapshot.chords.trim().is_empty() { "unknown" } else { &snapshot.chords };
            let section = match (snapshot.section_bars, snapshot.section.as_str()) {
                (0, _) => String::new(),
                (1, name) => format!("   [{name}] last bar"),
                (bars, name) => format!("   [{name}] {bars} bars"),
            };
            let chart = match (by_ear(chart), snapshot.chord_loop) {
                (true, 0) => "heard".to_owned(),
                (true, bars) => format!("heard, a loop of {bars}"),
                (false, _) => chart.to_owned(),
            };
            let line = format!("then {}{section}   of: {chart}", known(&snapshot.next_chord));
            put(buf, x + 8, area.y + 1, room - 8, &line, theme.plain());
        }
    }
}

/// A text field, and the error of the last attempt or the keys that end it.
fn edit_row(buf: &mut Buffer, area: Rect, field: &TextField, error: &str, theme: Theme) {
    let hint = if error.is_empty() { " enter: use it  esc: discard it".to_owned() } else { format!(" {error}") };
    let hint_width = (hint.width() as u16).min(area.width * 2 / 3);
    let window = Rect { width: area.width - hint_width, ..area };
    let (scroll, cursor) = field.scroll(window.width);
    Paragraph::new(field.text()).scroll((0, scroll)).render(window, buf);
    buf.set_style(Rect { x: window.x + cursor, width: 1, ..window }, theme.selected());
    put(buf, window.right(), area.y, hint_width, &hint, if error.is_empty() { theme.faint() } else { theme.red() });
}
