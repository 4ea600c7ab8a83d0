//! Texts become what the model reads on a thread of their own: T5 takes longer than a hop.

use std::sync::mpsc::{Receiver, Sender, channel};

use sideman_engine::Result;
use sideman_engine::text::{Hidden, TextEncoder};

/// A text, and what it became; none for a blank one.
type Encoded = (String, Result<Option<Hidden>>);

/// The text encoder, working.
pub struct TextEncoderThread {
    texts: Sender<String>,
    done: Receiver<Encoded>,
}

impl TextEncoderThread {
    /// Starts it. It ends when this is dropped.
    pub fn start(mut encoder: TextEncoder) -> TextEncoderThread {
        let (texts, asked) = channel::<String>();
        let (give, done) = channel();
        std::thread::spawn(move || {
            for text in asked {
                let hidden = match text.trim().is_empty() {
                    true => Ok(None),
                    false => encoder.encode(&text).map(Some),
                };
                if give.send((text, hidden)).is_err() {
                    return;
                }
            }
        });
        TextEncoderThread { texts, done }
    }

    /// Asks for a text.
    pub fn encode(&self, text: String) {
        // It only hangs up where this is dropped.
        let _ = self.texts.send(text);
    }

    /// The next one that is done.
    pub fn done(&self) -> Option<Encoded> {
        self.done.try_recv().ok()
    }

    /// The same, waited for.
    pub fn wait(&self) -> Option<Encoded> {
        self.done.recv().ok()
    }
}
