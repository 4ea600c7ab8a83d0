//! The text encoder on a thread of its own: T5 takes longer than a hop.

use std::sync::mpsc::{Receiver, Sender, channel};

use sideman_engine::Result;
use sideman_engine::text::{Hidden, TextEncoder};

/// A text and its encoding; none for a blank text.
type Encoded = (String, Result<Option<Hidden>>);

/// The running thread. It ends when this is dropped.
pub struct TextEncoderThread {
    texts: Sender<String>,
    encoded: Receiver<Encoded>,
}

impl TextEncoderThread {
    /// Starts it.
    pub fn start(mut encoder: TextEncoder) -> TextEncoderThread {
        let (texts, requests) = channel::<String>();
        let (results, encoded) = channel();
        std::thread::spawn(move || {
            for text in requests {
                let hidden = match text.trim().is_empty() {
                    true => Ok(None),
                    false => encoder.encode(&text).map(Some),
                };
                if results.send((text, hidden)).is_err() {
                    return;
                }
            }
        });
        TextEncoderThread { texts, encoded }
    }

    /// Encodes a text after those that were passed before.
    pub fn encode(&self, text: String) {
        // The thread only ends where this is dropped.
        let _ = self.texts.send(text);
    }

    /// The next encoded text, if there is one.
    pub fn try_next(&self) -> Option<Encoded> {
        self.encoded.try_recv().ok()
    }

    /// Waits for the next encoded text.
    pub fn wait(&self) -> Option<Encoded> {
        self.encoded.recv().ok()
    }
}
