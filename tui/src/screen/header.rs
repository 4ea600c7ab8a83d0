//! The top of the screen: model, mode and recording; bar, beat and tempo in large digits; a block for each
//! beat of the bar.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use sideman_engine::live::{Clock, EarState};
use sideman_engine::task::Meter;
use sideman_io::command_text;
use unicode_width::UnicodeWidthStr;

use super::draw::put;
use super::state::State;
use super::theme::Theme;
use super::{digits, position};

/// Whether the band plays, as a word with a sign.
pub fn play_state(state: &State, since: f64) -> &'static str {
    let bar = position::at(&state.snapshot, position::now(&state.snapshot, since)).bar;
    match state.snapshot.playing {
        true if bar < 1 => "▶ COUNT-IN",
        true => "▶ PLAYING",
        false => "■ STOPPED",
    }
}

/// One row: model, input stem, mode, recording, play state.
pub fn title(buf: &mut Buffer, area: Rect, state: &State, theme: Theme, since: f64) {
    let input_stem = match state.snapshot.input_stem {
        Some(p) => format!("you play {}", state.name(p)),
        None => "the band plays all stems".into(),
    };
    let left = format!(" SIDEMAN  {}  {input_stem}  {}", state.model, command_text::mode(state.snapshot.mode));
    put(buf, area.x, area.y, area.width, &left, theme.strong());
    let rec = if state.snapshot.recording {
        format!("● REC {}", position::clock(state.snapshot.recorded))
    } else {
        "○ not recording".into()
    };
    let playing = play_state(state, since);
    let x = area.right().saturating_sub(playing.width() as u16 + 1);
    put(buf, x, area.y, 12, playing, if state.snapshot.playing { theme.good() } else { theme.amber() }.patch(theme.strong()));
    let x = x.saturating_sub(rec.width() as u16 + 2);
    put(buf, x, area.y, 20, &rec, if state.snapshot.recording { theme.red() } else { theme.faint() });
}

/// Bar, beat and tempo in large digits, and next to them the source of the tempo.
pub fn numerals(buf: &mut Buffer, area: Rect, state: &State, theme: Theme, scale: u16, since: f64) {
    let snapshot = &state.snapshot;
    let now = position::at(snapshot, position::now(snapshot, since));
    let (bar, beat) = (format!("{:>3}", now.bar), now.beat.to_string());
    let tempo = format!("{:>3.0}", snapshot.tempo);
    let bar_x = area.x + 1;
    let beat_x = bar_x + digits::width(&bar, scale) + 4 * scale;
    let tempo_x = beat_x + digits::width(&beat, scale) + 6 * scale;
    let side = tempo_x + digits::width(&tempo, scale) + 2;
    for (x, head) in [(bar_x, "BAR"), (beat_x, "BEAT"), (tempo_x, "TEMPO")] {
        put(buf, x, area.y, 8, head, theme.faint());
    }
    let y = area.y + 1;
    let color = if snapshot.playing { theme.good() } else { theme.plain() };
    digits::draw(buf, bar_x, y, &bar, scale, color);
    put(buf, beat_x - 3 * scale, y + 5 * scale - 1, 2 * scale, &"█".repeat(usize::from(2 * scale)), color);
    digits::draw(buf, beat_x, y, &beat, scale, if now.beat == 1 { theme.amber() } else { color });
    digits::draw(buf, tempo_x, y, &tempo, scale, theme.plain());
    let lock = match snapshot.clock {
        Clock::Internal => "steady".to_owned(),
        Clock::Free => "no lock".to_owned(),
        Clock::Ear if snapshot.offer > 0.0 => format!("{:.0} bpm? play on one", snapshot.offer),
        Clock::Ear if snapshot.ear == Some(EarState::Waiting) => {
            format!("count me in: {} notes", if snapshot.meter == Meter::ThreeFour { 3 } else { 4 })
        }
        Clock::Ear if snapshot.ear == Some(EarState::Holding) => format!("holding {:.1}", snapshot.tempo),
        _ => {
            let filled = (snapshot.lock.clamp(0.0, 1.0) * 5.0).round() as usize;
            format!("lock {}{} {:3.0} %", "█".repeat(filled), "░".repeat(5 - filled), snapshot.lock * 100.0)
        }
    };
    let unlocked = !matches!(snapshot.clock, Clock::Internal | Clock::Free) && snapshot.lock < 0.5;
    let lines = [
        (format!("{:.1} bpm", snapshot.tempo), theme.strong()),
        (command_text::source(snapshot.clock).to_owned(), theme.plain()),
        (lock, if unlocked { theme.red() } else { theme.plain() }),
        (format!("{} meter", snapshot.meter), theme.plain()),
        (if snapshot.click { "click on" } else { "click off" }.to_owned(), theme.plain()),
    ];
    for (n, (line, style)) in lines.iter().enumerate() {
        put(buf, side, y + n as u16, area.right().saturating_sub(side), line, *style);
    }
}

/// A block for each beat of the bar; the block of the current beat fills up.
pub fn beat_blocks(buf: &mut Buffer, area: Rect, state: &State, theme: Theme, since: f64) {
    let now = position::at(&state.snapshot, position::now(&state.snapshot, since));
    let all = state.snapshot.meter.beats();
    let wide = (i64::from(area.width) - 2) / all;
    for beat in 1..=all {
        let x = area.x + 1 + ((beat - 1) * wide) as u16;
        let inner = (wide - 3).max(1);
        let filled = match beat {
            b if b < now.beat => inner,
            b if b == now.beat => ((now.phase * inner as f64).ceil() as i64).clamp(1, inner),
            _ => 0,
        };
        let block = "█".repeat(filled as usize) + &"░".repeat((inner - filled) as usize);
        for row in 0..area.height {
            put(buf, x, area.y + row, wide as u16, &format!("{beat}"), theme.plain());
            put(buf, x + 1, area.y + row, inner as u16, &block, if beat == 1 { theme.amber() } else { theme.good() });
        }
    }
}
