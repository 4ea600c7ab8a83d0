//! A one-line text field, for the text and the chords. `tui_input` edits; this limits the length and makes
//! one line of what is pasted. A text that is longer already is kept whole.

use crossterm::event::{Event, KeyCode, KeyEvent};
use tui_input::backend::crossterm::to_input_request;
use tui_input::{Input, InputRequest};

/// The longest line that can be typed, in characters: a text that OSC takes, too.
const MAX_CHARS: usize = 4000;

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
pub struct TextField {
    input: Input,
    /// The line at first.
    begun: String,
}

impl TextField {
    /// A field with this text, of any length, and the cursor at its end.
    pub fn new(text: &str) -> Self {
        let input = Input::new(text.chars().filter_map(one_line).collect());
        TextField { begun: input.value().to_owned(), input }
    }

    /// The text.
    pub fn text(&self) -> &str {
        self.input.value()
    }

    /// Whether the line is another one than at first.
    pub fn changed(&self) -> bool {
        self.text().trim() != self.begun.trim()
    }

    /// Inserts a text at the cursor. Line breaks and tabs become spaces, other control characters are left
    /// out.
    pub fn paste(&mut self, text: &str) {
        for c in text.chars().filter_map(one_line) {
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
            self.input.handle(request);
        }
    }

    /// For a window of `width` columns that contains the cursor: the columns to scroll, and the cursor's
    /// column in the window.
    pub fn scroll(&self, width: u16) -> (u16, u16) {
        // The cursor after the last character needs a column, too.
        let scroll = self.input.visual_scroll(usize::from(width.saturating_sub(1)));
        (scroll as u16, (self.input.visual_cursor() - scroll) as u16)
    }
}

/// A character of the line: line breaks and tabs are spaces, other control characters are left out.
fn one_line(c: char) -> Option<char> {
    if c.is_whitespace() { Some(' ') } else { Some(c).filter(|c| !c.is_control()) }
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
    fn what_is_typed_has_a_longest_length_and_what_is_there_is_kept() {
        let mut field = TextField::default();
        field.paste(&"x".repeat(MAX_CHARS + 1000));
        assert_eq!(field.text().len(), MAX_CHARS);
        let mut field = TextField::new(&"x".repeat(9000));
        press(&mut field, KeyCode::Char('y'));
        assert!(field.text().len() == 9000 && !field.changed());
        press(&mut field, KeyCode::Backspace);
        assert!(field.text().len() == 8999 && field.changed());
    }
}
