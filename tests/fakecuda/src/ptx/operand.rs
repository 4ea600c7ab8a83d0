//! Operands of a statement, and literals.

use super::Arg;
use super::parse::{Parser, Result};
use super::token::{Token, integer};

impl<'a> Parser<'a> {
    fn group(&mut self, end: char, depth: usize) -> Result<Arg> {
        let mut list = Vec::new();
        while !self.mark(end) {
            list.push(self.operand(depth + 1)?);
            if list.len() > 64 {
                return self.error("too many operands");
            }
            if !self.mark(',') && self.peek() != Some(Token::Mark(end)) {
                return self.error("`,` or a closing bracket expected");
            }
        }
        Ok(Arg::Group(list))
    }

    pub(super) fn operand(&mut self, depth: usize) -> Result<Arg> {
        if depth > 4 {
            return self.error("operands nested too deep");
        }
        let Some(token) = self.next() else { return self.error("an operand expected") };
        let arg = match token {
            Token::Mark('{') => self.group('}', depth)?,
            Token::Mark('(') => self.group(')', depth)?,
            Token::Mark('!') => Arg::Not(Box::new(self.operand(depth + 1)?)),
            Token::Mark('-') => match self.operand(depth + 1)? {
                Arg::Int(v) => Arg::Int(v.wrapping_neg()),
                Arg::F32(v) => Arg::F32(v ^ 1 << 31),
                Arg::F64(v) => Arg::F64(v ^ 1 << 63),
                _ => return self.error("a number expected before this"),
            },
            Token::Mark('[') => {
                let base = self.operand(depth + 1)?;
                let mut offset = 0i64;
                if self.mark('+') {
                    let minus = self.mark('-');
                    let n = self.number()? as i64;
                    offset = if minus { n.wrapping_neg() } else { n };
                } else if self.mark('-') {
                    offset = (self.number()? as i64).wrapping_neg();
                }
                self.expect(']')?;
                Arg::Memory(Box::new(base), offset)
            }
            Token::Number(n) => match number(n) {
                Some(a) => a,
                None => {
                    self.at -= 1;
                    return self.error("a number that we can't read");
                }
            },
            Token::Word("_") => Arg::Sink,
            Token::Word(w) => self.named(w),
            _ => {
                self.at -= 1;
                return self.error("an operand expected");
            }
        };
        if self.mark('|') {
            return Ok(Arg::Pair(Box::new(arg), Box::new(self.operand(depth + 1)?)));
        }
        Ok(arg)
    }

    fn named(&mut self, w: &str) -> Arg {
        let Some(open) = &self.kernel else { return Arg::Name(w.into(), 0) };
        if let Some(r) = open.names.iter().rev().find_map(|(_, n)| n.get(w)) {
            return Arg::Reg(*r);
        }
        let scope = open.names.last().map_or(0, |n| n.0);
        if w.starts_with('%') { Arg::Special(w.into()) } else { Arg::Name(w.into(), scope) }
    }
}

fn number(n: &str) -> Option<Arg> {
    if let Some(hex) = n.strip_prefix("0f").or(n.strip_prefix("0F")) {
        return (hex.len() == 8).then(|| u32::from_str_radix(hex, 16).ok().map(Arg::F32))?;
    }
    if let Some(hex) = n.strip_prefix("0d").or(n.strip_prefix("0D")) {
        return (hex.len() == 16).then(|| u64::from_str_radix(hex, 16).ok().map(Arg::F64))?;
    }
    if n.contains('.') {
        return n.parse::<f64>().ok().map(|v| Arg::F64(v.to_bits()));
    }
    integer(n).map(Arg::Int)
}
