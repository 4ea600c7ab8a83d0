//! Takes the screen pictures of docs/reference/keys.md: runs the program in a pseudo-terminal and writes the
//! screen as SVG. See `scripts/pictures.sh`.

#[path = "../tests/all/pty/mod.rs"]
mod pty;

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use pty::Pty;

/// Size of a character in the picture, pixels.
const CELL: (f64, f64) = (8.4, 18.0);
/// The sixteen ANSI colours.
const COLORS: [&str; 16] = [
    "#1c1c1c", "#cc4444", "#5fb85f", "#d9a83a", "#4f7fd0", "#b060b0", "#4fb0b8", "#d8d8d8", "#7a7a7a", "#ff6b6b", "#8fe08f",
    "#ffd75f", "#8fb4ff", "#e08fe0", "#8fe8f0", "#ffffff",
];

fn main() {
    let mut args = std::env::args().skip(1);
    let (Some(bass), Some(to)) = (args.next(), args.next()) else {
        eprintln!("picture BASS.wav FOLDER [options of sideman live]: writes FOLDER/screen-*.svg");
        std::process::exit(2);
    };
    let more: Vec<String> = args.collect();
    // Cargo puts examples/picture beside the program.
    let program = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("sideman");
    let take = std::env::temp_dir().join(format!("sideman-pictures-{}", std::process::id()));
    let take = take.to_string_lossy().into_owned();
    for (name, size, keys) in
        [("80x24", (80, 24), ""), ("100x30", (100, 30), ""), ("200x60", (200, 60), ""), ("help", (100, 34), "?")]
    {
        let mut line = vec![
            "live",
            "--from",
            &bass,
            "--to",
            &take,
            "--pace",
            "real",
            "--instrument",
            "bass",
            "--tempo",
            "100",
            "--seed",
            "7",
        ];
        line.extend(["--chords", "Em7 Em7 A7 A7", "--text", "warm funk, dry drums", "--click"]);
        line.extend(more.iter().map(String::as_str));
        let mut pty = Pty::start(&program, &line, size, &[]);
        pty.shows("PLAYING");
        // A changed gain, a mute, a freeze in effect and a pending regenerate.
        pty.press("3--m");
        pty.row("3 other", "MUTE");
        std::thread::sleep(Duration::from_secs(5));
        pty.press("2f");
        pty.row("2 drums", "FROZEN");
        pty.press("3mc\x15Am F C G\r2r");
        pty.row("2 drums", "…regenerate");
        pty.press(keys);
        std::thread::sleep(Duration::from_millis(200));
        let picture = Path::new(&to).join(format!("screen-{name}.svg"));
        std::fs::write(&picture, pty.look(svg)).unwrap();
        println!("{}", picture.display());
        // The first key closes the help.
        pty.press(if keys.is_empty() { "qy" } else { " qy" });
        pty.ends();
        let _ = std::fs::remove_dir_all(&take);
    }
}

fn color(color: vt100::Color, default: &str) -> String {
    match color {
        vt100::Color::Default => default.to_owned(),
        vt100::Color::Idx(n) => COLORS[usize::from(n) % 16].to_owned(),
        vt100::Color::Rgb(r, g, b) => format!("#{r:02x}{g:02x}{b:02x}"),
    }
}

/// The screen as SVG: a rectangle and a text for each run of cells with the same style.
fn svg(screen: &vt100::Screen) -> String {
    let (rows, cols) = screen.size();
    let (rows, cols) = (rows.get(), cols.get());
    let (w, h) = (f64::from(cols) * CELL.0, f64::from(rows) * CELL.1);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w:.0} {h:.0}\" font-family=\"DejaVu Sans Mono, Menlo, Consolas, monospace\" \
         font-size=\"14\">\n<rect width=\"100%\" height=\"100%\" fill=\"#101010\"/>\n"
    );
    for y in 0..rows {
        let cell = |x: u16| screen.cell(y, x);
        let look = |c: &vt100::Cell| (c.fgcolor(), c.bgcolor(), c.bold(), c.dim(), c.inverse(), c.underline());
        let mut x = 0;
        while x < cols {
            let Some(first) = cell(x) else { break };
            let mut end = x + 1;
            while end < cols && cell(end).is_some_and(|c| look(c) == look(first)) {
                end += 1;
            }
            let text: String = (x..end)
                .map(|x| cell(x).map(vt100::Cell::contents).filter(|c| !c.is_empty()).unwrap_or(" ").to_owned())
                .collect();
            let (mut ink, mut paper) = (color(first.fgcolor(), "#d8d8d8"), color(first.bgcolor(), "#101010"));
            if first.inverse() {
                std::mem::swap(&mut ink, &mut paper);
            }
            let (left, top, wide) = (f64::from(x) * CELL.0, f64::from(y) * CELL.1, f64::from(end - x) * CELL.0);
            if paper != "#101010" {
                let _ = writeln!(
                    out,
                    "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{wide:.1}\" height=\"{}\" fill=\"{paper}\"/>",
                    CELL.1
                );
            }
            if !text.trim().is_empty() {
                let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                let bold = if first.bold() { " font-weight=\"bold\"" } else { "" };
                let line = if first.underline() { " text-decoration=\"underline\"" } else { "" };
                let _ = writeln!(
                    out,
                    "<text x=\"{left:.1}\" y=\"{:.1}\" fill=\"{ink}\" textLength=\"{wide:.1}\" lengthAdjust=\"spacingAndGlyphs\" \
                     xml:space=\"preserve\"{bold}{line}>{text}</text>",
                    top + CELL.1 * 0.78
                );
            }
            x = end;
        }
    }
    out + "</svg>\n"
}
