//! Colours, and the text attributes that replace them without colour. A colour only repeats what a word or a
//! sign already says.

use ratatui::style::{Color, Modifier, Style};

/// The styles of the screen.
#[derive(Debug, Clone, Copy)]
pub struct Theme {
    color: bool,
}

impl Theme {
    /// Styles with or without colour.
    pub fn new(color: bool) -> Self {
        Theme { color }
    }

    /// Styles without colour if `NO_COLOR` is set and not empty (no-color.org), else with.
    pub fn of_environment() -> Self {
        Theme::new(std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()))
    }

    fn style(self, color: Color, without_color: Modifier) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new().add_modifier(without_color) }
    }

    /// Ordinary text.
    pub fn plain(self) -> Style {
        Style::new()
    }

    /// Emphasised text.
    pub fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Less important text.
    pub fn faint(self) -> Style {
        self.style(Color::DarkGray, Modifier::DIM)
    }

    /// Headings of blocks.
    pub fn head(self) -> Style {
        self.style(Color::Cyan, Modifier::empty()).add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
    }

    /// What is selected or edited.
    pub fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD)
    }

    /// What sounds or plays.
    pub fn good(self) -> Style {
        self.style(Color::Green, Modifier::empty())
    }

    /// What is pending or held.
    pub fn amber(self) -> Style {
        self.style(Color::Yellow, Modifier::BOLD)
    }

    /// What is recorded or has failed.
    pub fn red(self) -> Style {
        self.style(Color::LightRed, Modifier::BOLD)
    }
}
