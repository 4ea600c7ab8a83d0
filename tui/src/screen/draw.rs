//! Lays out the screen and draws it from the state. It fits 80 × 24 and grows with the terminal; a smaller
//! terminal shows less.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::state::{Focus, State};
use super::theme::Theme;
use super::{footer, header, health, pending, plan, position, song, stems};

/// The smallest terminal that shows everything.
pub const SMALLEST: (u16, u16) = (80, 24);

/// Writes a text of at most `max` columns, cut off at the edge of the buffer.
pub fn put(buf: &mut Buffer, x: u16, y: u16, max: u16, text: &str, style: Style) {
    if buf.area.contains((x, y).into()) {
        buf.set_stringn(x, y, text, usize::from(max), style);
    }
}

/// Heights of the blocks, in rows.
struct Rows {
    /// Scale of the digits.
    scale: u16,
    /// The beat blocks.
    beats: u16,
    /// A stem.
    stem: u16,
    /// A lane of the plan.
    lane: u16,
    /// Between blocks.
    gap: u16,
    /// The pending commands.
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

/// Draws the screen. `since`: seconds since the snapshot was received.
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
    header::title(buf, next(1, 0), state, theme, since);
    header::numerals(buf, next(1 + 5 * rows.scale, 0), state, theme, rows.scale, since);
    header::beat_blocks(buf, next(rows.beats, rows.gap), state, theme, since);
    stems::draw(buf, next(1 + n * rows.stem, rows.gap), state, theme, rows.stem);
    plan::draw(buf, next(1 + n * rows.lane, 0), state, theme, rows.lane, since);
    pending::draw(buf, next(rows.pending, rows.gap), state, theme);
    song::draw(buf, next(2, rows.gap), state, theme);
    health::draw(buf, next(2, 0), state, theme);
    let rest = Rect { y, height: area.bottom().saturating_sub(y + 1), ..area };
    footer::messages(buf, rest, state, theme);
    footer::keys(buf, Rect { y: area.bottom() - 1, height: 1, ..area }, state, theme);
    if matches!(state.focus, Focus::Help) {
        footer::help(buf, state, theme);
    }
}

/// The screen in a small terminal: position, tempo, recording and the newest message.
fn small(buf: &mut Buffer, state: &State, theme: Theme, since: f64) {
    let (area, now) = (buf.area, position::at(&state.snapshot, position::now(&state.snapshot, since)));
    let lines = [
        format!("{}  bar {} beat {}  {:.1} bpm", header::play_state(state, since), now.bar, now.beat, state.snapshot.tempo),
        if state.snapshot.recording {
            format!("● REC {}", position::clock(state.snapshot.recorded))
        } else {
            "not recording".into()
        },
        match state.focus {
            Focus::Quit => "The band is playing. Quit? y: yes, other keys: no".into(),
            _ => state.messages.back().cloned().unwrap_or_default(),
        },
        format!("{} x {} shows everything; keys work", SMALLEST.0, SMALLEST.1),
    ];
    for (n, line) in lines.iter().enumerate() {
        put(buf, area.x, area.y + n as u16, area.width, line, theme.plain());
    }
}
