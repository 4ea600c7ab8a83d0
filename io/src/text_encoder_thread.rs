//! The text encoder on a thread of its own: T5 takes longer than a hop.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

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
        // An encoding is large, and one that nobody has taken yet is enough.
        let (results, encoded) = sync_channel(1);
        std::thread::spawn(move || run(&requests, &results, |text| encoder.encode(text)));
        TextEncoderThread { texts, encoded }
    }

    /// Encodes a text. Of texts that wait only the newest is encoded.
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

/// Encodes texts until nobody sends one or takes an encoding any more.
fn run(texts: &Receiver<String>, results: &SyncSender<Encoded>, mut encode: impl FnMut(&str) -> Result<Hidden>) {
    for text in texts {
        let text = texts.try_iter().last().unwrap_or(text);
        let hidden = match text.trim().is_empty() {
            true => Ok(None),
            false => encode(&text).map(Some),
        };
        if results.send((text, hidden)).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_texts_that_come_faster_than_they_are_encoded_only_the_newest_counts() {
        let (texts, waiting) = channel();
        (0..1000).for_each(|n| texts.send(format!("text {n}")).unwrap());
        drop(texts);
        let (results, encoded) = sync_channel(1);
        let mut times = 0;
        run(&waiting, &results, |_| {
            times += 1;
            Ok(Hidden::default())
        });
        assert_eq!((times, encoded.recv().unwrap().0.as_str()), (1, "text 999"));
    }
}
