//! Colours, and what stands for them where there are none. A colour only repeats what a word or a shape says already.

use ratatui::style::{Color, Modifier, Style};

/// What the screen is drawn with.
#[derive(Debug, Clone, Copy)]
pub struct Theme {
    color: bool,
}

impl Theme {
    /// With colours, or without.
    pub fn new(color: bool) -> Self {
        Theme { color }
    }

    /// As the player's environment asks: no colours where `NO_COLOR` is set to anything (no-color.org).
    pub fn of_environment() -> Self {
        Theme::new(std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()))
    }

    fn theme(self, color: Color, else_: Modifier) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new().add_modifier(else_) }
    }

    /// Plain.
    pub fn plain(self) -> Style {
        Style::new()
    }

    /// What is said loud.
    pub fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What may be overlooked.
    pub fn faint(self) -> Style {
        self.theme(Color::DarkGray, Modifier::DIM)
    }

    /// Heads of blocks.
    pub fn head(self) -> Style {
        self.theme(Color::Cyan, Modifier::empty()).add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
    }

    /// What is chosen, or being written.
    pub fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD)
    }

    /// Sounds, plays.
    pub fn good(self) -> Style {
        self.theme(Color::Green, Modifier::empty())
    }

    /// Waits, or is held.
    pub fn amber(self) -> Style {
        self.theme(Color::Yellow, Modifier::BOLD)
    }

    /// Is recorded, or has gone wrong.
    pub fn red(self) -> Style {
        self.theme(Color::LightRed, Modifier::BOLD)
    }
}
