//! A line that is being written: text or chords.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use unicode_width::UnicodeWidthChar;

/// The most characters of a line.
const MOST: usize = 500;

/// What became of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// The line goes on.
    No,
    /// Enter.
    Enter,
    /// Esc.
    Leave,
}

/// The line and its cursor.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Editor {
    text: Vec<char>,
    cursor: usize,
}

impl Editor {
    /// With a text to begin from.
    pub fn new(text: &str) -> Self {
        let mut editor = Editor::default();
        editor.paste(text);
        editor
    }

    /// What is written.
    pub fn text(&self) -> String {
        self.text.iter().collect()
    }

    /// Puts a text in; lines become one.
    pub fn paste(&mut self, text: &str) {
        for c in text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| !c.is_control()) {
            if self.text.len() < MOST {
                self.text.insert(self.cursor, c);
                self.cursor += 1;
            }
        }
    }

    /// A key.
    pub fn press(&mut self, key: KeyEvent) -> Done {
        let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Enter => return Done::Enter,
            KeyCode::Esc => return Done::Leave,
            KeyCode::Char('u') if ctrl => {
                self.text.drain(..std::mem::take(&mut self.cursor));
            }
            KeyCode::Char('a') if ctrl => self.cursor = 0,
            KeyCode::Char('e') if ctrl => self.cursor = self.text.len(),
            KeyCode::Char(c) if !ctrl && !key.modifiers.contains(KeyModifiers::ALT) => self.paste(c.encode_utf8(&mut [0; 4])),
            KeyCode::Backspace if self.cursor > 0 => {
                self.cursor -= 1;
                self.text.remove(self.cursor);
            }
            KeyCode::Delete if self.cursor < self.text.len() => {
                self.text.remove(self.cursor);
            }
            KeyCode::Left => self.cursor = self.cursor.saturating_sub(1),
            KeyCode::Right => self.cursor = (self.cursor + 1).min(self.text.len()),
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = self.text.len(),
            _ => {}
        }
        Done::No
    }

    /// What fits into `width` columns around the cursor: before it, under it (a blank at the end), after it.
    pub fn shown(&self, width: usize) -> [String; 3] {
        let wide = |c: &char| c.width().unwrap_or(0);
        let under = self.text.get(self.cursor).copied().unwrap_or(' ');
        let mut room = width.saturating_sub(wide(&under).max(1));
        let mut fit = |c: &&char| {
            let fits = wide(c) <= room;
            room = if fits { room - wide(c) } else { 0 };
            fits
        };
        let before: Vec<char> = self.text[..self.cursor].iter().rev().take_while(&mut fit).copied().collect();
        let after: String = self.text.iter().skip(self.cursor + 1).take_while(&mut fit).collect();
        [before.into_iter().rev().collect(), under.to_string(), after]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(editor: &mut Editor, code: KeyCode) -> Done {
        editor.press(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn a_line_is_written_and_mended() {
        let mut editor = Editor::new("warm\nfunk");
        assert_eq!(editor.text(), "warm funk");
        for code in [
            KeyCode::Left,
            KeyCode::Backspace,
            KeyCode::Char('ñ'),
            KeyCode::End,
            KeyCode::Char('!'),
            KeyCode::Home,
            KeyCode::Delete,
        ] {
            assert_eq!(press(&mut editor, code), Done::No);
        }
        assert_eq!(editor.text(), "arm fuñk!");
        editor.press(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
        assert_eq!(editor.text(), "arm fuñk!", "nothing is before the cursor");
        assert_eq!((press(&mut editor, KeyCode::Enter), press(&mut editor, KeyCode::Esc)), (Done::Enter, Done::Leave));
    }

    #[test]
    fn the_cursor_stays_in_sight() {
        let mut editor = Editor::new("0123456789");
        assert_eq!(editor.shown(5), ["6789".to_owned(), " ".into(), String::new()]);
        press(&mut editor, KeyCode::Home);
        assert_eq!(editor.shown(5), [String::new(), "0".into(), "1234".into()]);
        assert_eq!(Editor::new("日本").shown(4), ["本".to_owned(), " ".into(), String::new()]);
        editor.paste(&"x".repeat(1000));
        assert_eq!(editor.text().len(), MOST);
    }
}
