//! The bottom of the screen: messages, and a row of keys; and the help over the whole screen.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::{Clear, Widget};
use sideman_engine::live::LoadShedding;
use sideman_io::event::shedding;
use unicode_width::UnicodeWidthStr;

use super::draw::put;
use super::keys::{Act, TABLE};
use super::plan;
use super::state::{Focus, State};
use super::theme::Theme;

/// The question, the state of load shedding, and the messages, newest first.
pub fn messages(buf: &mut Buffer, area: Rect, state: &State, theme: Theme) {
    let mut lines: Vec<(String, Style)> = vec![];
    if matches!(state.focus, Focus::Quit) {
        lines.push(("? The band is playing. Quit?   y, or quit again: yes   any other key: no".into(), theme.selected()));
    }
    let level = state.snapshot.health.shedding;
    if level > LoadShedding::None {
        lines.push((format!("! {}", shedding(level)), theme.red()));
    }
    lines.extend(state.messages.iter().rev().map(|m| (format!("» {m}"), theme.plain())));
    for (n, (line, style)) in lines.iter().take(usize::from(area.height)).enumerate() {
        put(buf, area.x + 1, area.y + n as u16, area.width.saturating_sub(2), line, *style);
    }
}

/// As many keys as fit, ending with help and quit.
pub fn keys(buf: &mut Buffer, area: Rect, state: &State, theme: Theme) {
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

/// The key table over the whole screen; only keys and names, in three columns, where its sentences don't fit.
pub fn help(buf: &mut Buffer, state: &State, theme: Theme) {
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
        // Keys and names only, in columns.
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
