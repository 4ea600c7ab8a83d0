//! Load, hop times, lost audio and latencies.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use sideman_engine::live::LoadShedding;
use unicode_width::UnicodeWidthStr;

use super::draw::put;
use super::state::State;
use super::theme::Theme;

/// Draws both rows.
pub fn draw(buf: &mut Buffer, area: Rect, state: &State, theme: Theme) {
    let h = &state.snapshot.health;
    let hop = state.snapshot.hop as f32 * 20.0;
    let filled = (h.load.clamp(0.0, 1.0) * 10.0).round() as usize;
    let style = if h.shedding > LoadShedding::None || h.load > 0.9 { theme.red() } else { theme.plain() };
    put(buf, area.x + 1, area.y, 10, "LOAD", theme.strong());
    let gauge = format!("{}{} {:3.0} %", "█".repeat(filled), "░".repeat(10 - filled), h.load * 100.0);
    put(buf, area.x + 12, area.y, 20, &gauge, style);
    let hops = format!("hop {hop:.0} ms: p50 {:.1}  p99 {:.1}  headroom {:.0} ms", h.p50, h.p99, hop - h.p99);
    put(buf, area.x + 30, area.y, area.width.saturating_sub(31), &hops, style);
    let lost = h.late + h.underrun + h.overrun + h.xruns + h.faults;
    let faults = if h.faults > 0 { format!("  faults {}", h.faults) } else { String::new() };
    let counts = format!("late {}  underrun {}  overrun {}  xruns {}{faults}", h.late, h.underrun, h.overrun, h.xruns);
    put(buf, area.x + 12, area.y + 1, area.width, &counts, if lost > 0 { theme.amber() } else { theme.plain() });
    let x = area.x + 14 + (counts.width() as u16).max(40);
    let lead = state.snapshot.lead as f32 / 32.0;
    let latency = format!("in {:.0} out {:.0} lead {lead:.0} ms", h.latency_in, h.latency_out);
    put(buf, x, area.y + 1, area.right().saturating_sub(x), &latency, theme.plain());
}
