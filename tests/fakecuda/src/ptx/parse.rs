//! Tokens to a `Module`. Sizes in the text are checked against limits before anything is allocated.

use std::collections::HashMap;

use super::token::{Token, integer, tokens};
use super::{Arg, Kernel, LoadError, Module, Space, Ty, Variable};

/// Most bytes a variable may have.
const MAX_BYTES: u64 = 1 << 28;

pub(super) type Result<T> = std::result::Result<T, LoadError>;

/// Parses a PTX text. An error names the kernel, the line and the faulty text.
pub fn parse(text: &str) -> Result<Module> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0, loc: (0, 0), module: Module::default(), kernel: None };
    let result = parser.module();
    result.map_err(|mut e| {
        if let Some(k) = &parser.kernel {
            e.kernel = k.code.name.clone();
        }
        e
    })?;
    Ok(parser.module)
}

/// The kernel being read, with the names in scope.
pub(super) struct Open {
    pub(super) code: Kernel,
    pub(super) names: Vec<(u32, HashMap<String, u32>)>,
}

pub(super) struct Parser<'a> {
    pub(super) tokens: &'a [(Token<'a>, u32)],
    pub(super) at: usize,
    pub(super) loc: (u32, u32),
    pub(super) module: Module,
    pub(super) kernel: Option<Open>,
}

impl<'a> Parser<'a> {
    pub(super) fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).map(|t| t.0)
    }

    pub(super) fn line(&self) -> u32 {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |t| t.1)
    }

    pub(super) fn error<T>(&self, why: &str) -> Result<T> {
        let text = match self.peek() {
            None => "end of text".to_string(),
            Some(Token::Word(w) | Token::Number(w)) => w.to_string(),
            Some(Token::Text(t)) => format!("\"{t}\""),
            Some(Token::Mark(c)) => c.to_string(),
        };
        Err(LoadError::at(self.line(), &text, why))
    }

    pub(super) fn next(&mut self) -> Option<Token<'a>> {
        let t = self.peek();
        self.at += 1;
        t
    }

    pub(super) fn mark(&mut self, c: char) -> bool {
        let hit = self.peek() == Some(Token::Mark(c));
        self.at += hit as usize;
        hit
    }

    pub(super) fn expect(&mut self, c: char) -> Result<()> {
        if self.mark(c) { Ok(()) } else { self.error(&format!("`{c}` expected")) }
    }

    pub(super) fn word(&mut self) -> Result<&'a str> {
        match self.peek() {
            Some(Token::Word(w)) => {
                self.at += 1;
                Ok(w)
            }
            _ => self.error("a name expected"),
        }
    }

    pub(super) fn is_word(&mut self, w: &str) -> bool {
        let hit = self.peek() == Some(Token::Word(w));
        self.at += hit as usize;
        hit
    }

    pub(super) fn number(&mut self) -> Result<u64> {
        match self.peek() {
            Some(Token::Number(n)) => match integer(n) {
                Some(v) => {
                    self.at += 1;
                    Ok(v)
                }
                None => self.error("an integer expected"),
            },
            _ => self.error("an integer expected"),
        }
    }

    fn module(&mut self) -> Result<()> {
        while let Some(token) = self.peek() {
            let Token::Word(word) = token else { return self.error("a directive expected") };
            match word {
                ".version" => {
                    self.at += 1;
                    let Some(Token::Number(n)) = self.peek() else { return self.error("a version expected") };
                    let parts = n.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
                    let Some(version) = parts else { return self.error("a version such as 8.0 expected") };
                    self.module.version = version;
                    self.at += 1;
                }
                ".target" => {
                    self.at += 1;
                    let name = self.word()?;
                    let digits = name.trim_start_matches("sm_").trim_end_matches(['a', 'f']);
                    match digits.parse() {
                        Ok(n) => self.module.target = n,
                        Err(_) => return self.error("a target such as sm_80 expected before this"),
                    }
                    while self.mark(',') {
                        self.word()?;
                    }
                }
                ".address_size" => {
                    self.at += 1;
                    if self.number()? != 64 {
                        return self.error("only 64-bit addresses are known");
                    }
                }
                ".file" => self.file()?,
                ".section" => self.section()?,
                ".entry" => self.entry()?,
                ".func" => self.function()?,
                ".visible" | ".extern" | ".weak" | ".common" => self.at += 1,
                ".pragma" => self.skip_to_semicolon()?,
                ".global" | ".const" | ".shared" => {
                    let v = self.variable()?;
                    self.module.variables.push(v);
                    self.expect(';')?;
                }
                _ => return self.error("unknown directive"),
            }
        }
        if self.module.target == 0 || self.module.version == (0, 0) {
            return Err(LoadError::at(1, "", "no .version or no .target: this is no PTX"));
        }
        Ok(())
    }

    pub(super) fn skip_to_semicolon(&mut self) -> Result<()> {
        loop {
            match self.next() {
                Some(Token::Mark(';')) => return Ok(()),
                None => return self.error("`;` expected"),
                _ => {}
            }
        }
    }

    fn file(&mut self) -> Result<()> {
        self.at += 1;
        let number = self.number()? as u32;
        let Some(Token::Text(name)) = self.next() else { return self.error("a file name expected") };
        self.module.files.push((number, name.to_string()));
        while self.mark(',') {
            self.number()?;
        }
        Ok(())
    }

    fn section(&mut self) -> Result<()> {
        self.at += 1;
        self.word()?;
        self.expect('{')?;
        loop {
            match self.next() {
                Some(Token::Mark('}')) => return Ok(()),
                None => return self.error("a section that does not end"),
                _ => {}
            }
        }
    }

    /// `.space [.align n] .type name[n] [= init]`, up to but without the `;` or `,`.
    pub(super) fn variable(&mut self) -> Result<Variable> {
        let line = self.line();
        let space = match self.word()? {
            ".global" => Space::Global,
            ".const" => Space::Const,
            ".shared" => Space::Shared,
            ".local" => Space::Local,
            ".param" => Space::Param,
            _ => return self.error("a state space expected before this"),
        };
        let (mut align, mut ty, mut vector) = (0u64, None, 1u64);
        let mut words = 0;
        while ty.is_none() {
            words += 1;
            let w = self.word()?;
            match w {
                ".align" => align = self.number()?,
                ".v2" => vector = 2,
                ".v4" => vector = 4,
                ".attribute" | ".ptr" | ".volatile" => return self.error("unknown attribute"),
                _ => ty = w.strip_prefix('.').and_then(Ty::named),
            }
            if words > 4 {
                return self.error("a type expected before this");
            }
        }
        let ty = ty.unwrap_or(Ty::B8);
        // `.param .u64 .ptr .global .align 16 name`: facts about the pointer that we do not need.
        while let Some(Token::Word(w)) = self.peek() {
            match w {
                ".ptr" | ".global" | ".shared" | ".const" | ".local" => self.at += 1,
                ".align" => {
                    self.at += 1;
                    self.number()?;
                }
                _ => break,
            }
        }
        let name = self.word()?.to_string();
        let mut count = vector;
        while self.mark('[') {
            if self.mark(']') {
                count = 0;
            } else {
                let n = self.number()?;
                count =
                    count.checked_mul(n).filter(|c| *c <= MAX_BYTES).map_or_else(|| self.error("a variable of this size"), Ok)?;
                self.expect(']')?;
            }
        }
        let bytes = count * ty.bytes() as u64;
        if bytes > MAX_BYTES {
            return self.error("a variable of this size");
        }
        let align = if align == 0 { ty.bytes() as u64 * vector } else { align };
        if !align.is_power_of_two() || align > 1 << 16 {
            return self.error("an alignment that is no small power of two");
        }
        let mut init = Vec::new();
        if self.mark('=') {
            self.initial(ty, &mut init, 0)?;
            if init.len() as u64 > bytes {
                return self.error("more initial values than the variable holds");
            }
        }
        Ok(Variable { name, space, align: align as u32, ty, bytes, init, line })
    }

    fn initial(&mut self, ty: Ty, out: &mut Vec<u8>, depth: usize) -> Result<()> {
        if depth > 4 {
            return self.error("too deep an initial value");
        }
        if self.mark('{') {
            while !self.mark('}') {
                self.initial(ty, out, depth + 1)?;
                if !self.mark(',') && self.peek() != Some(Token::Mark('}')) {
                    return self.error("`,` or `}` expected");
                }
            }
            return Ok(());
        }
        let bits = match self.operand(0)? {
            Arg::Int(v) | Arg::F64(v) => v,
            Arg::F32(v) => v as u64,
            _ => return self.error("an initial value that is a number expected before this"),
        };
        out.extend_from_slice(&bits.to_le_bytes()[..ty.bytes() as usize]);
        Ok(())
    }

    /// A device function: its name is kept, its body skipped. Calls are refused when a kernel is decoded.
    fn function(&mut self) -> Result<()> {
        self.at += 1;
        if self.mark('(') {
            while !self.mark(')') {
                if self.next().is_none() {
                    return self.error("`)` expected");
                }
            }
        }
        let name = self.word()?.to_string();
        self.module.functions.push(name);
        let mut depth = 0usize;
        loop {
            match self.next() {
                Some(Token::Mark('{')) => depth += 1,
                Some(Token::Mark('}')) => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return Ok(());
                    }
                }
                Some(Token::Mark(';')) if depth == 0 => return Ok(()),
                None => return self.error("a function that does not end"),
                _ => {}
            }
        }
    }
}
