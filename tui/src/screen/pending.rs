//! The list of pending commands.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use sideman_io::command_text;
use unicode_width::UnicodeWidthStr;

use super::draw::put;
use super::keys::Act;
use super::state::State;
use super::theme::Theme;
use super::{plan, position};

/// Draws the pending commands, soonest first; the last row holds those that have no row of their own.
pub fn draw(buf: &mut Buffer, area: Rect, state: &State, theme: Theme) {
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
        .map(|p| format!("{} → {}", command_text::whole(&p.command, &state.stems), position::boundary(&state.snapshot, p.at)))
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
