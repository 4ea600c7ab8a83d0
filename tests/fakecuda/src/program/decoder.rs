//! Helpers for decoding the statements of a kernel: opcode words, operands, registers, constants.

use std::collections::HashMap;

use super::op::{CONSTANT, Op, Place, Pred, Reg, Src};
use super::{Param, Special};
use crate::ptx::{Arg, Kernel, Space, Statement, Ty};

/// Why a statement was refused.
pub type Refusal = String;
pub(crate) type Result<T> = std::result::Result<T, Refusal>;

/// The dotted words of an opcode that have not been read yet. Words left at the end are unknown, and refused.
pub struct Words<'a> {
    pub(super) left: Vec<&'a str>,
}

impl<'a> Words<'a> {
    /// Takes the word if it is there.
    pub fn take(&mut self, word: &str) -> bool {
        match self.left.iter().position(|w| *w == word) {
            Some(i) => {
                self.left.remove(i);
                true
            }
            None => false,
        }
    }

    /// Takes the first of these words that is there.
    pub fn one_of<T: Copy>(&mut self, table: &[(&str, T)]) -> Option<T> {
        table.iter().find(|(w, _)| self.take(w)).map(|(_, v)| *v)
    }

    /// Takes the next word if it names a type.
    pub fn next_ty(&mut self) -> Result<Ty> {
        let i = self.left.iter().position(|w| Ty::named(w).is_some()).ok_or("a type is missing or not known")?;
        Ok(Ty::named(self.left.remove(i)).unwrap_or(Ty::B32))
    }

    /// Takes the word at the front.
    pub fn front(&mut self) -> Option<&'a str> {
        if self.left.is_empty() { None } else { Some(self.left.remove(0)) }
    }

    /// Takes a word that starts so, and returns its rest.
    pub fn prefixed(&mut self, prefix: &str) -> Option<&'a str> {
        let i = self.left.iter().position(|w| w.starts_with(prefix))?;
        self.left.remove(i).strip_prefix(prefix)
    }
}

#[derive(Clone, Copy)]
pub(super) enum Home {
    Data(Reg, u32),
    Pred(u32),
}

/// State of decoding one kernel.
pub struct Decoder<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) homes: Vec<Home>,
    pub(super) registers: u32,
    pub(super) predicates: u32,
    pub(super) constants: Vec<u64>,
    pub(super) constant_numbers: HashMap<u64, u32>,
    pub(super) specials: Vec<(Special, u32)>,
    pub(super) symbols: HashMap<String, (Space, u64)>,
    /// Which parameter a register holds, for finding pointers.
    pub(super) from_param: HashMap<Reg, usize>,
    pub(crate) params: Vec<Param>,
    pub(super) slots: u32,
    pub(super) statement: &'a Statement,
    pub(super) functions: &'a [String],
}

impl<'a> Decoder<'a> {
    /// The statement's operands; refuses another number than `n`.
    pub fn args(&self, n: usize) -> Result<&'a [Arg]> {
        if self.statement.args.len() == n {
            Ok(&self.statement.args)
        } else {
            Err(format!("{n} operands expected, {} found", self.statement.args.len()))
        }
    }

    /// All operands.
    pub fn all_args(&self) -> &'a [Arg] {
        &self.statement.args
    }

    fn home(&self, arg: &Arg) -> Result<Home> {
        match arg {
            Arg::Reg(r) => self.homes.get(*r as usize).copied().ok_or_else(|| "no such register".into()),
            _ => Err("a register expected".into()),
        }
    }

    /// A destination register that holds exactly `bits`.
    pub fn to(&self, arg: &Arg, bits: u32) -> Result<Reg> {
        match self.home(arg)? {
            Home::Data(r, have) if have == bits => Ok(r),
            Home::Data(_, have) => Err(format!("a register of {bits} bits expected, one of {have} found")),
            Home::Pred(_) => Err("a data register expected, a predicate found".into()),
        }
    }

    /// A destination of `bits` or wider, with its width; for loads and conversions.
    pub fn to_wide(&self, arg: &Arg, bits: u32) -> Result<(Reg, u32)> {
        match self.home(arg)? {
            Home::Data(r, have) if have >= bits => Ok((r, have)),
            _ => Err(format!("a register of at least {bits} bits expected")),
        }
    }

    /// A destination that may be `_`.
    pub fn to_or_sink(&self, arg: &Arg, bits: u32) -> Result<Option<Reg>> {
        if *arg == Arg::Sink { Ok(None) } else { self.to(arg, bits).map(Some) }
    }

    /// A destination predicate.
    pub fn to_pred(&self, arg: &Arg) -> Result<u32> {
        match self.home(arg)? {
            Home::Pred(p) => Ok(p),
            Home::Data(..) => Err("a predicate expected".into()),
        }
    }

    /// A destination predicate that may be `_`.
    pub fn to_pred_or_sink(&self, arg: &Arg) -> Result<Option<u32>> {
        if *arg == Arg::Sink { Ok(None) } else { self.to_pred(arg).map(Some) }
    }

    /// A source predicate, possibly negated.
    pub fn pred(&self, arg: &Arg) -> Result<Pred> {
        match arg {
            Arg::Not(inner) => Ok((self.to_pred(inner)?, true)),
            other => Ok((self.to_pred(other)?, false)),
        }
    }

    /// Whether this operand is a predicate register.
    pub fn is_pred(&self, arg: &Arg) -> bool {
        matches!(self.home(arg), Ok(Home::Pred(_)))
    }

    /// Width of a data register.
    pub fn width(&self, arg: &Arg) -> Option<u32> {
        match self.home(arg) {
            Ok(Home::Data(_, bits)) => Some(bits),
            _ => None,
        }
    }

    /// The number of a constant.
    pub fn constant(&mut self, value: u64) -> Src {
        let next = self.constants.len() as u32;
        let n = *self.constant_numbers.entry(value).or_insert(next);
        if n == next {
            self.constants.push(value);
        }
        CONSTANT + n
    }

    /// The value of a constant, by its number.
    pub fn constant_value(&self, number: u32) -> u64 {
        self.constants.get(number as usize).copied().unwrap_or(0)
    }

    fn special(&mut self, s: Special) -> Reg {
        if let Some((_, r)) = self.specials.iter().find(|(have, _)| *have == s) {
            return *r;
        }
        let r = self.registers;
        self.registers += 1;
        self.specials.push((s, r));
        r
    }

    /// A source of this type: register of that width, literal, special register or the address of a variable.
    pub fn from(&mut self, arg: &Arg, ty: Ty) -> Result<Src> {
        let bits = ty.bits();
        let mask = if bits >= 64 { u64::MAX } else { (1 << bits) - 1 };
        match arg {
            Arg::Reg(_) => self.to(arg, bits.max(16)),
            Arg::Int(_) if matches!(ty, Ty::F32 | Ty::F64) => Err("an integer literal for a float".into()),
            Arg::Int(v) => Ok(self.constant(v & mask)),
            Arg::F32(v) if ty == Ty::F64 => Ok(self.constant((f32::from_bits(*v) as f64).to_bits())),
            Arg::F32(v) if bits == 32 => Ok(self.constant(*v as u64)),
            Arg::F64(v) if ty == Ty::F32 => Ok(self.constant((f64::from_bits(*v) as f32).to_bits() as u64)),
            Arg::F64(v) if bits == 64 => Ok(self.constant(*v)),
            Arg::Special(name) => {
                let special = match (name.as_str(), Special::named(name)) {
                    (_, Some(s)) => s,
                    ("WARP_SZ", _) => return Ok(self.constant(32)),
                    _ => return Err(format!("special register {name} is not known")),
                };
                if bits < 16 || (bits < 32 && !matches!(special, Special::Tid(_) | Special::Ntid(_))) {
                    return Err("a register of this width can't take a special register".into());
                }
                Ok(self.special(special))
            }
            Arg::Name(name, _) => {
                let (_, address) = self.symbol(name)?;
                Ok(self.constant(address & mask))
            }
            _ => Err("this operand does not fit here".into()),
        }
    }

    fn symbol(&self, name: &str) -> Result<(Space, u64)> {
        self.symbols.get(name).copied().ok_or_else(|| format!("{name} is not declared"))
    }

    /// A literal integer.
    pub fn literal(&self, arg: &Arg) -> Result<u64> {
        match arg {
            Arg::Int(v) => Ok(*v),
            _ => Err("an integer literal expected".into()),
        }
    }

    /// The registers of `{a, b, ...}` or of a single operand.
    pub fn group<'b>(&self, arg: &'b Arg) -> &'b [Arg] {
        match arg {
            Arg::Group(list) => list,
            other => std::slice::from_ref(other),
        }
    }

    /// A memory operand in this space.
    pub fn place(&mut self, arg: &Arg, space: Space) -> Result<Place> {
        let Arg::Memory(base, offset) = arg else { return Err("a memory operand `[...]` expected".into()) };
        match &**base {
            Arg::Name(name, _) => {
                let (have, address) = self.symbol(name)?;
                let fits = have == space || space == Space::Generic && matches!(have, Space::Global | Space::Const);
                if !fits {
                    return Err(format!("{name} is not in this state space"));
                }
                Ok(Place { space, base: self.constant(address), offset: *offset })
            }
            Arg::Int(v) => Ok(Place { space, base: self.constant(*v), offset: *offset }),
            reg => match self.home(reg)? {
                Home::Data(r, 64) => Ok(Place { space, base: r, offset: *offset }),
                Home::Data(r, 32) if matches!(space, Space::Shared | Space::Local | Space::Param) => {
                    Ok(Place { space, base: r, offset: *offset })
                }
                _ => Err("an address register of 64 bits (32 for shared, local) expected".into()),
            },
        }
    }

    /// A slot for the region cache of a memory instruction.
    pub fn slot(&mut self) -> u32 {
        self.slots += 1;
        self.slots - 1
    }

    /// Notes that a register holds a parameter.
    pub fn note_param(&mut self, reg: Reg, offset: i64, bytes: u32) {
        let fits = |p: &Param| bytes == 8 && p.offset as i64 == offset && p.bytes == 8;
        if let Some(i) = self.params.iter().position(fits) {
            self.from_param.insert(reg, i);
        }
    }

    /// Notes a copy of a register.
    pub fn note_copy(&mut self, to: Reg, from: Src) {
        if let Some(p) = self.from_param.get(&from).copied() {
            self.from_param.insert(to, p);
        }
    }

    /// Notes that a register is used as a global address.
    pub fn note_pointer(&mut self, reg: Src) {
        if let Some(p) = self.from_param.get(&reg) {
            self.params[*p].pointer = true;
        }
    }

    /// The statement after a label.
    pub fn label(&self, arg: &Arg) -> Result<u32> {
        let Arg::Name(name, scope) = arg else { return Err("a label expected".into()) };
        let mut scope = *scope;
        loop {
            if let Some(l) = self.kernel.labels.iter().find(|l| l.name == *name && l.scope == scope) {
                return Ok(l.at as u32);
            }
            if scope == 0 {
                return Err(format!("label {name} is not defined"));
            }
            scope = self.kernel.scopes.get(scope as usize).copied().unwrap_or(0);
        }
    }

    /// The labels of a branch table.
    pub fn table(&self, arg: &Arg) -> Result<Vec<u32>> {
        let Arg::Name(name, scope) = arg else { return Err("a branch table expected".into()) };
        let (_, labels) = self.kernel.tables.iter().find(|t| t.0 == *name).ok_or("this branch table is not defined")?;
        labels.iter().map(|l| self.label(&Arg::Name(l.clone(), *scope))).collect()
    }

    /// Whether a device function of this name was declared.
    pub fn is_function(&self, name: &str) -> bool {
        self.functions.iter().any(|f| f == name)
    }
}

/// An `Op::Alu` whose operands have these types.
pub fn alu(d: &mut Decoder, f: super::lane::Alu, to: Ty, from: &[Ty]) -> Result<Op> {
    let args = d.args(from.len() + 1)?;
    let to = d.to(&args[0], to.bits().max(16))?;
    let zero = d.constant(0);
    let mut srcs = [zero; 3];
    for (i, ty) in from.iter().enumerate() {
        srcs[i] = d.from(&args[i + 1], *ty)?;
    }
    Ok(Op::Alu { f, to, a: srcs[0], b: srcs[1], c: srcs[2] })
}
