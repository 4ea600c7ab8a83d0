//! Large digits: five rows of three points, each point two columns wide, times a scale.

use ratatui::buffer::Buffer;
use ratatui::style::Style;

/// Glyphs of 0 to 9, `-` and `.`: five rows of 3 bits, from the top.
const POINTS: [[u8; 5]; 12] = [
    [7, 5, 5, 5, 7],
    [2, 6, 2, 2, 7],
    [7, 1, 7, 4, 7],
    [7, 1, 3, 1, 7],
    [5, 5, 7, 1, 1],
    [7, 4, 7, 1, 7],
    [7, 4, 7, 5, 7],
    [7, 1, 2, 2, 2],
    [7, 5, 7, 5, 7],
    [7, 5, 7, 1, 7],
    // -
    [0, 0, 7, 0, 0],
    // .
    [0, 0, 0, 0, 2],
];

/// Width in columns of a text of digits, `-` and `.`.
pub fn width(text: &str, scale: u16) -> u16 {
    (text.chars().count() as u16 * 7 * scale).saturating_sub(scale)
}

/// Draws a text; other characters are gaps.
pub fn draw(buf: &mut Buffer, x: u16, y: u16, text: &str, scale: u16, style: Style) {
    for (n, c) in text.chars().enumerate() {
        let glyph = match c {
            '-' => POINTS[10],
            '.' => POINTS[11],
            _ => match c.to_digit(10) {
                Some(d) => POINTS[d as usize],
                None => continue,
            },
        };
        for row in 0..5 * scale {
            for col in 0..6 * scale {
                let bits = glyph[(row / scale) as usize];
                if bits >> (2 - col / (2 * scale)) & 1 == 1
                    && let Some(cell) = buf.cell_mut((x + n as u16 * 7 * scale + col, y + row))
                {
                    cell.set_symbol("█").set_style(style);
                }
            }
        }
    }
}
