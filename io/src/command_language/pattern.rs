//! Address patterns of OSC 1.0: one message to several addresses.
//!
//! A pattern is compiled to a regular expression, which the `regex` crate matches in linear time: a hostile pattern costs no more than
//! another one. The matcher in rosc 0.11 is not used: its `[!a]` takes any number of characters, slashes included, its `{a,ab}` never
//! matches `ab`, and its `*` matches no empty text at the end of a part.

use regex::Regex;

/// The longest pattern, in bytes. Names of stems aside, the longest address has 26.
const MAX_LENGTH: usize = 128;

/// A pattern: `?` is one character, `*` any number of them, `[a-c]` one of a set, `[!a-c]` one outside it, `{ab,cd}` one of several
/// words. None of them matches a `/`.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// Reads a pattern; `None`: it is not valid, or too long.
    pub fn new(pattern: &str) -> Option<Pattern> {
        if pattern.is_empty() || pattern.len() > MAX_LENGTH {
            return None;
        }
        let mut regex = String::from(r"\A");
        let mut rest = pattern.chars();
        while let Some(c) = rest.next() {
            match c {
                '?' => regex.push_str("[^/]"),
                '*' => regex.push_str("[^/]*"),
                '{' => {
                    let (words, after) = rest.as_str().split_once('}')?;
                    let words: Vec<String> = words.split(',').map(regex::escape).collect();
                    regex.push_str(&format!("(?:{})", words.join("|")));
                    rest = after.chars();
                }
                '[' => {
                    let (set, after) = rest.as_str().split_once(']')?;
                    regex.push_str(&characters(set));
                    rest = after.chars();
                }
                _ => regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
            }
        }
        regex.push_str(r"\z");
        Regex::new(&regex).ok().map(Pattern)
    }

    /// Whether an address matches.
    pub fn matches(&self, address: &str) -> bool {
        self.0.is_match(address)
    }
}

/// A set of characters as a regular expression.
fn characters(set: &str) -> String {
    let (negated, set) = set.strip_prefix('!').map_or(("", set), |set| ("^", set));
    let all: Vec<char> = set.chars().collect();
    let mut class = String::new();
    for (at, c) in all.iter().enumerate() {
        // A dash between two characters is a range, another one a dash.
        let range = *c == '-' && at > 0 && at + 1 < all.len();
        class.push_str(&if range { "-".to_owned() } else { format!(r"\x{{{:x}}}", u32::from(*c)) });
    }
    if negated.is_empty() { format!("[[{class}]&&[^/]]") } else { format!("[^/{class}]") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, address: &str) -> bool {
        Pattern::new(pattern).is_some_and(|pattern| pattern.matches(address))
    }

    #[test]
    fn patterns_match_as_in_osc_1_0() {
        for (pattern, address, hit) in [
            ("/jam/stem/*/mute", "/jam/stem/drums/mute", true),
            ("/jam/*/mute", "/jam/stem/drums/mute", false),
            ("/jam/tempo*", "/jam/tempo", true),
            ("/jam/stem/{bass,other}/mute", "/jam/stem/other/mute", true),
            ("/jam/stem/{bass,other}/mute", "/jam/stem/drums/mute", false),
            ("/jam/stem/{bass,bass2}/mute", "/jam/stem/bass2/mute", true),
            ("/jam/text/[1-3]", "/jam/text/3", true),
            ("/jam/text/[1-3]", "/jam/text/33", false),
            ("/jam/text/[!1-3]", "/jam/text/3", false),
            ("/jam/text/[!1-3]", "/jam/text/4", true),
            ("/jam/stem/[!b]*/mute", "/jam/stem/drums/mute", true),
            ("/jam/stem/[!b]", "/jam/stem/drums/mute", false),
            ("/jam/text[+-0]4", "/jam/text/4", false),
            ("/jam/text/[4-]", "/jam/text/4", true),
            ("/jam/text/?", "/jam/text/4", true),
            ("/jam/t*", "/jam/tempo", true),
            ("/jam.tempo", "/jam/tempo", false),
            ("/jam/text/[", "/jam/text/1", false),
            ("/jam/text/[]", "/jam/text/1", false),
            ("/jam/text/[9-1]", "/jam/text/1", false),
            ("/jam/{text", "/jam/text", false),
            ("", "", false),
        ] {
            assert_eq!(matches(pattern, address), hit, "{pattern} {address}");
        }
    }

    #[test]
    fn a_long_pattern_is_refused() {
        assert!(Pattern::new(&"*".repeat(MAX_LENGTH)).is_some());
        assert!(Pattern::new(&"*".repeat(MAX_LENGTH + 1)).is_none());
    }

    #[test]
    fn a_hostile_pattern_takes_no_longer_than_a_millisecond() {
        let pattern = Pattern::new(&"*a".repeat(MAX_LENGTH / 2)).unwrap();
        let address = format!("/jam/{}", "a".repeat(60));
        let began = std::time::Instant::now();
        (0..100).for_each(|_| assert!(!pattern.matches(&address)));
        assert!(began.elapsed().as_millis() < 1000, "{:?} for 100", began.elapsed());
    }

    proptest! {
        #[test]
        fn any_text_is_a_pattern_or_none(pattern in "[\\x00-\\x7fé*?\\[\\]{},!/-]{0,40}", address in "(/[a-z0-9é-]{0,5}){0,4}") {
            matches(&pattern, &address);
        }

        #[test]
        fn an_address_matches_itself(address in "(/[a-z0-9_.+-]{1,8}){1,4}") {
            prop_assert!(matches(&address, &address));
        }
    }
}
