//! A one-line text field, for the text and the chords. `tui_input` edits; this limits the length and makes
//! one line of what is pasted.

use crossterm::event::{Event, KeyCode, KeyEvent};
use tui_input::backend::crossterm::to_input_request;
use tui_input::{Input, InputRequest};

/// The longest line, in characters.
const MAX_CHARS: usize = 500;

/// What a key did to the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldEvent {
    /// The line may have changed; editing goes on.
    Edited,
    /// Enter: the line is finished.
    Submitted,
    /// Esc: the line is discarded.
    Cancelled,
}

/// The line and its cursor.
#[derive(Debug, Clone, Default)]
pub struct TextField(Input);

impl TextField {
    /// A field with this text, and the cursor at its end.
    pub fn new(text: &str) -> Self {
        let mut field = TextField::default();
        field.paste(text);
        field
    }

    /// The text.
    pub fn text(&self) -> &str {
        self.0.value()
    }

    /// Inserts a text at the cursor. Line breaks and tabs become spaces, other control characters are left
    /// out.
    pub fn paste(&mut self, text: &str) {
        for c in text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| !c.is_control()) {
            self.edit(InputRequest::InsertChar(c));
        }
    }

    /// Handles a key.
    pub fn press(&mut self, key: KeyEvent) -> FieldEvent {
        match key.code {
            KeyCode::Enter => return FieldEvent::Submitted,
            KeyCode::Esc => return FieldEvent::Cancelled,
            _ => {}
        }
        if let Some(request) = to_input_request(&Event::Key(key)) {
            self.edit(request);
        }
        FieldEvent::Edited
    }

    fn edit(&mut self, request: InputRequest) {
        let full = self.text().chars().count() >= MAX_CHARS;
        if !(full && matches!(request, InputRequest::InsertChar(_))) {
            self.0.handle(request);
        }
    }

    /// For a window of `width` columns that contains the cursor: the columns to scroll, and the cursor's
    /// column in the window.
    pub fn scroll(&self, width: u16) -> (u16, u16) {
        // The cursor after the last character needs a column, too.
        let scroll = self.0.visual_scroll(usize::from(width.saturating_sub(1)));
        (scroll as u16, (self.0.visual_cursor() - scroll) as u16)
    }
}

#[cfg(test)]
mod tests {
    use crossterm::event::KeyModifiers;

    use super::*;

    fn press(field: &mut TextField, code: KeyCode) -> FieldEvent {
        field.press(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn keys_edit_the_line() {
        let mut field = TextField::new("warm\nfunk");
        assert_eq!(field.text(), "warm funk");
        for code in [
            KeyCode::Left,
            KeyCode::Backspace,
            KeyCode::Char('ñ'),
            KeyCode::End,
            KeyCode::Char('!'),
            KeyCode::Home,
            KeyCode::Delete,
        ] {
            assert_eq!(press(&mut field, code), FieldEvent::Edited);
        }
        assert_eq!(field.text(), "arm fuñk!");
        assert_eq!(press(&mut field, KeyCode::Enter), FieldEvent::Submitted);
        assert_eq!(press(&mut field, KeyCode::Esc), FieldEvent::Cancelled);
        field.press(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
        assert_eq!(field.text(), "");
    }

    #[test]
    fn the_cursor_is_always_in_the_window() {
        let mut field = TextField::new("0123456789");
        assert_eq!(field.scroll(5), (6, 4));
        press(&mut field, KeyCode::Home);
        assert_eq!(field.scroll(5), (0, 0));
        assert_eq!(TextField::new("日本").scroll(4), (2, 2));
    }

    #[test]
    fn the_line_has_a_longest_length() {
        assert_eq!(TextField::new(&"x".repeat(1000)).text().len(), MAX_CHARS);
    }
}
