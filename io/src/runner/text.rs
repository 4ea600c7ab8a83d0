//! The text of a session: its weighted parts, the request whose text is being encoded, and the text in force.

use sideman_engine::Result;
use sideman_engine::live::{Command, Request};
use sideman_engine::text::Hidden;

use crate::text_encoder_thread::TextEncoderThread;

/// Parts that can be set one by one.
const PARTS: usize = 4;

/// Text in force, and the text that will be.
pub(super) struct SessionText {
    encoder: Option<TextEncoderThread>,
    /// The newest text request, while its text is being encoded.
    encoding: Option<Request>,
    /// The text in force.
    pub(super) text: String,
    /// Its encoding, for a failover.
    pub(super) hidden: Option<Hidden>,
    /// Parts with their weights.
    parts: [(String, f32); PARTS],
}

impl SessionText {
    /// The text that the session starts with. No encoder: the model takes no text.
    pub(super) fn new(encoder: Option<TextEncoderThread>, text: String, hidden: Option<Hidden>) -> SessionText {
        SessionText { encoder, encoding: None, text, hidden, parts: Default::default() }
    }

    /// Sets part `part` (from 1). Returns the whole text: the parts in order of their weights, since the
    /// model weighs no words. None where there is no such part.
    pub(super) fn set_part(&mut self, part: u8, text: &str, weight: f32) -> Option<String> {
        *self.parts.get_mut(usize::from(part).checked_sub(1)?)? = (text.to_owned(), weight);
        let mut parts: Vec<&(String, f32)> = self.parts.iter().filter(|p| p.1 > 0.0 && !p.0.trim().is_empty()).collect();
        parts.sort_by(|a, b| b.1.total_cmp(&a.1));
        Some(parts.iter().map(|p| p.0.as_str()).collect::<Vec<_>>().join(", "))
    }

    /// Encodes the text of `request` in the background, in place of one that is being encoded. False: the
    /// model takes no text.
    pub(super) fn encode(&mut self, text: String, request: Request) -> bool {
        let Some(encoder) = &self.encoder else { return false };
        encoder.encode(text);
        self.encoding = Some(request);
        true
    }

    /// Gives up the request whose text is being encoded.
    pub(super) fn cancel(&mut self) {
        self.encoding = None;
    }

    /// The request whose text is being encoded.
    pub(super) fn encoding(&self) -> Option<&Request> {
        self.encoding.as_ref()
    }

    /// The request whose text has been encoded, its text and the encoding. `wait`: until it has.
    pub(super) fn next_encoded(&mut self, wait: bool) -> Option<(Request, String, Result<Option<Hidden>>)> {
        loop {
            let (request, encoder) = (self.encoding.as_ref()?, self.encoder.as_ref()?);
            let (text, hidden) = if wait { encoder.wait() } else { encoder.try_next() }?;
            // The encoding of an older request is dropped.
            if matches!(&request.command, Command::Text { text: newest, .. } if *newest == text) {
                return self.encoding.take().map(|request| (request, text, hidden));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_by_weight_and_those_without_weight_are_left_out() {
        let mut text = SessionText::new(None, String::new(), None);
        assert_eq!(text.set_part(1, "soft", 0.5).as_deref(), Some("soft"));
        assert_eq!(text.set_part(3, "funk drums", 1.0).as_deref(), Some("funk drums, soft"));
        assert_eq!(text.set_part(1, "soft", 0.0).as_deref(), Some("funk drums"));
        assert_eq!((text.set_part(0, "x", 1.0), text.set_part(5, "x", 1.0)), (None, None));
    }
}
