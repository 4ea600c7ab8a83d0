//! Kernels: parameters, registers, labels and statements, with names resolved by scope.

use std::collections::HashMap;

use super::parse::{Open, Parser, Result};
use super::token::Token;
use super::{Arg, Kernel, Label, LoadError, Register, Statement, Ty};

/// Most registers a kernel may declare, and scopes that may nest.
const MAX_REGISTERS: usize = 1 << 16;
const MAX_DEPTH: usize = 64;

impl<'a> Parser<'a> {
    pub(super) fn entry(&mut self) -> Result<()> {
        let line = self.line();
        self.at += 1;
        let name = self.word()?.to_string();
        let code = Kernel { name, line, scopes: vec![0], ..Kernel::default() };
        self.kernel = Some(Open { code, names: vec![(0, HashMap::new())] });
        if self.mark('(') {
            while !self.mark(')') {
                let v = self.variable()?;
                self.open().code.params.push(v);
                if !self.mark(',') && self.peek() != Some(Token::Mark(')')) {
                    return self.error("`,` or `)` expected");
                }
            }
        }
        while let Some(Token::Word(w)) = self.peek() {
            self.at += 1;
            match w {
                ".maxntid" | ".reqntid" => {
                    let mut product = self.number()?;
                    while self.mark(',') {
                        product = product.saturating_mul(self.number()?);
                    }
                    self.open().code.max_threads = Some(product);
                    self.open().code.required = w == ".reqntid";
                }
                ".minnctapersm" | ".maxnctapersm" | ".maxnreg" => {
                    self.number()?;
                }
                ".pragma" => self.skip_to_semicolon()?,
                _ => return self.error("unknown directive of a kernel before this"),
            }
        }
        self.expect('{')?;
        self.body()?;
        if let Some(open) = self.kernel.take() {
            if self.module.kernels.iter().any(|k| k.name == open.code.name) {
                return Err(LoadError::at(line, &open.code.name, "a second kernel of this name"));
            }
            self.module.kernels.push(open.code);
        }
        Ok(())
    }

    fn open(&mut self) -> &mut Open {
        self.kernel.get_or_insert_with(|| Open { code: Kernel::default(), names: Vec::new() })
    }

    fn body(&mut self) -> Result<()> {
        loop {
            let line = self.line();
            let Some(token) = self.peek() else { return self.error("`}` expected") };
            match token {
                Token::Mark('{') => {
                    self.at += 1;
                    let open = self.open();
                    let parent = open.names.last().map_or(0, |n| n.0);
                    let scope = open.code.scopes.len() as u32;
                    open.code.scopes.push(parent);
                    open.names.push((scope, HashMap::new()));
                    if open.names.len() > MAX_DEPTH {
                        return self.error("scopes nested too deep");
                    }
                }
                Token::Mark('}') => {
                    self.at += 1;
                    let open = self.open();
                    open.names.pop();
                    if open.names.is_empty() {
                        return Ok(());
                    }
                }
                Token::Mark('@') => self.statement()?,
                Token::Mark(';') => self.at += 1,
                Token::Word(".reg") => self.registers()?,
                Token::Word(".shared" | ".local" | ".param") => {
                    let v = self.variable()?;
                    self.open().code.variables.push(v);
                    self.expect(';')?;
                }
                Token::Word(".loc") => self.location()?,
                Token::Word(".pragma") => self.skip_to_semicolon()?,
                Token::Word(word) => {
                    if self.tokens.get(self.at + 1).is_some_and(|t| t.0 == Token::Mark(':')) {
                        self.at += 2;
                        if self.is_word(".branchtargets") {
                            let mut labels = vec![self.word()?.to_string()];
                            while self.mark(',') {
                                labels.push(self.word()?.to_string());
                            }
                            self.expect(';')?;
                            self.open().code.tables.push((word.to_string(), labels));
                            continue;
                        }
                        let open = self.open();
                        let scope = open.names.last().map_or(0, |n| n.0);
                        let at = open.code.body.len();
                        if open.code.labels.iter().any(|l| l.name == word && l.scope == scope) {
                            return Err(LoadError::at(line, word, "a second label of this name"));
                        }
                        open.code.labels.push(Label { name: word.into(), scope, at });
                    } else {
                        self.statement()?;
                    }
                }
                _ => return self.error("a statement expected"),
            }
        }
    }

    fn location(&mut self) -> Result<()> {
        self.at += 1;
        let file = self.number()? as u32;
        let line = self.number()? as u32;
        self.number()?;
        self.loc = (file, line);
        // `, function_name $L, inlined_at 1 2 3`: the innermost location is enough.
        while self.mark(',') {
            let what = self.word()?;
            if what == "function_name" {
                self.word()?;
                if self.mark('+') {
                    self.number()?;
                }
            } else {
                for _ in 0..3 {
                    self.number()?;
                }
            }
        }
        Ok(())
    }

    fn registers(&mut self) -> Result<()> {
        self.at += 1;
        let w = self.word()?;
        let Some(ty) = w.strip_prefix('.').and_then(Ty::named) else { return self.error("a register type expected before this") };
        loop {
            let name = self.word()?;
            let count = if self.mark('<') {
                let n = self.number()?;
                self.expect('>')?;
                Some(n)
            } else {
                None
            };
            let have = self.open().code.registers.len();
            if count.unwrap_or(1) > (MAX_REGISTERS - have.min(MAX_REGISTERS)) as u64 {
                return self.error("more registers than we take, before this");
            }
            let names: Vec<String> = match count {
                Some(n) => (0..n).map(|i| format!("{name}{i}")).collect(),
                None => vec![name.to_string()],
            };
            let open = self.open();
            for name in names {
                let index = open.code.registers.len() as u32;
                if let Some((_, scope)) = open.names.last_mut() {
                    scope.insert(name.clone(), index);
                }
                open.code.registers.push(Register { name, ty });
            }
            if !self.mark(',') {
                return self.expect(';');
            }
        }
    }

    fn statement(&mut self) -> Result<()> {
        let line = self.line();
        let mut guard = None;
        if self.mark('@') {
            let negated = self.mark('!');
            match self.operand(0)? {
                Arg::Reg(r) => guard = Some((r, negated)),
                _ => return self.error("a predicate register expected before this"),
            }
        }
        let opcode = self.word()?.to_string();
        let mut args = Vec::new();
        if !self.mark(';') {
            loop {
                args.push(self.operand(0)?);
                if args.len() > 64 {
                    return self.error("too many operands");
                }
                if self.mark(';') {
                    break;
                }
                self.expect(',')?;
            }
        }
        let loc = self.loc;
        let open = self.open();
        open.code.body.push(Statement { line, loc, guard, opcode, args });
        Ok(())
    }
}
