//! Load, hop times, lost audio and latencies.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use sideman_engine::audio::RATE;
use sideman_engine::live::{LoadShedding, Snapshot};
use unicode_width::UnicodeWidthStr;

use super::draw::put;
use super::state::State;
use super::theme::Theme;

/// Length of a frame in ms.
const FRAME_MS: f32 = 20.0;

/// Milliseconds by which a hop could take longer before the band is late: less than 0 where hops are late, or soon will be.
/// A hop is in time as long as the lead covers it, its computing time and the latencies, and as long as hops on average take less
/// time than they play.
fn headroom(snapshot: &Snapshot) -> f32 {
    let h = &snapshot.health;
    let hop = snapshot.hop as f32 * FRAME_MS;
    let lead = snapshot.lead as f32 / RATE as f32 * 1e3;
    (lead - hop - h.latency_in - h.latency_out - h.p99).min(hop * (1.0 - h.load))
}

/// Draws both rows.
pub fn draw(buf: &mut Buffer, area: Rect, state: &State, theme: Theme) {
    let h = &state.snapshot.health;
    let hop = state.snapshot.hop as f32 * FRAME_MS;
    let filled = (h.load.clamp(0.0, 1.0) * 10.0).round() as usize;
    let style = if h.shedding > LoadShedding::None || h.load > 0.9 { theme.red() } else { theme.plain() };
    put(buf, area.x + 1, area.y, 10, "LOAD", theme.strong());
    let gauge = format!("{}{} {:3.0} %", "█".repeat(filled), "░".repeat(10 - filled), h.load * 100.0);
    put(buf, area.x + 12, area.y, 20, &gauge, style);
    let hops = format!("hop {hop:.0} ms: p50 {:.1}  p99 {:.1}  headroom {:.0} ms", h.p50, h.p99, headroom(&state.snapshot));
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

#[cfg(test)]
mod tests {
    use sideman_engine::live::Health;

    use super::*;

    /// A session with hops of 80 ms and a lead of 193 ms.
    fn with(health: Health) -> f32 {
        headroom(&Snapshot { hop: 4, lead: 6176, health, ..Snapshot::default() })
    }

    #[test]
    fn headroom_is_negative_only_where_hops_are_late_or_take_more_time_than_they_play() {
        let health = Health { p50: 40.0, p99: 60.0, load: 0.5, latency_in: 10.0, latency_out: 20.0, ..Health::default() };
        assert!((with(health.clone()) - 23.0).abs() < 1e-3);
        // One hop of a hundred takes longer than it plays, and the lead covers it.
        assert!((with(Health { p99: 82.0, ..health.clone() }) - 1.0).abs() < 1e-3);
        assert!(with(Health { p99: 84.0, ..health.clone() }) < 0.0);
        assert!((with(Health { p50: 106.0, load: 1.32, p99: 50.0, ..health }) + 25.6).abs() < 1e-3);
    }
}
