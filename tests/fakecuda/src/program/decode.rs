//! Decodes one kernel's statements. Each family of instructions (integer, float, ...) decodes its own opcodes.

use std::collections::HashMap;

use super::decoder::{Decoder, Home, Result, Words};
use super::op::{Inst, Op};
use super::{Code, Param};
use crate::ptx::{Arg, Kernel, LoadError, Module, Space, Statement, Ty};

fn align(at: u64, to: u32) -> u64 {
    at.div_ceil(to.max(1) as u64) * to.max(1) as u64
}

/// Decodes a kernel. `globals` are the addresses of module variables.
pub fn decode(module: &Module, kernel: &Kernel, globals: &HashMap<String, u64>) -> std::result::Result<Code, LoadError> {
    let fail = |line: u32, text: &str, why: String| LoadError { kernel: kernel.name.clone(), line, text: text.into(), why };
    let mut symbols: HashMap<String, (Space, u64)> = HashMap::new();
    for v in module.variables.iter().filter(|v| v.space != Space::Shared) {
        if let Some(a) = globals.get(&v.name) {
            symbols.insert(v.name.clone(), (v.space, *a));
        }
    }
    let (mut params, mut param_bytes) = (Vec::new(), 0u64);
    for p in &kernel.params {
        param_bytes = align(param_bytes, p.align);
        params.push(Param { name: p.name.clone(), offset: param_bytes as usize, bytes: p.bytes as usize, pointer: false });
        symbols.insert(p.name.clone(), (Space::Param, param_bytes));
        param_bytes += p.bytes;
    }
    if param_bytes > 32764 {
        return Err(fail(kernel.line, &kernel.name, "more than 32764 bytes of parameters".into()));
    }
    // Shared variables of the module that the kernel names, then its own; the dynamic array comes last.
    let named: std::collections::HashSet<&str> = kernel.body.iter().flat_map(|s| names(&s.args)).collect();
    let shared = module.variables.iter().filter(|v| v.space == Space::Shared && named.contains(v.name.as_str()));
    let (mut shared_bytes, mut local_bytes, mut shared_names, mut dynamic) = (0u64, 0u64, Vec::new(), Vec::new());
    for v in shared.chain(&kernel.variables) {
        match v.space {
            Space::Shared if v.bytes == 0 => dynamic.push(v),
            Space::Shared => {
                shared_bytes = align(shared_bytes, v.align);
                symbols.insert(v.name.clone(), (Space::Shared, shared_bytes));
                shared_names.push((shared_bytes as u32, v.bytes as u32, v.name.clone()));
                shared_bytes += v.bytes;
            }
            Space::Local => {
                local_bytes = align(local_bytes, v.align);
                symbols.insert(v.name.clone(), (Space::Local, local_bytes));
                local_bytes += v.bytes;
            }
            // Arguments of a call: kept in local memory, so that st.param can go there.
            Space::Param => {
                local_bytes = align(local_bytes, v.align);
                symbols.insert(v.name.clone(), (Space::Local, local_bytes));
                local_bytes += v.bytes;
            }
            _ => return Err(fail(v.line, &v.name, "a variable of this space inside a kernel".into())),
        }
    }
    for v in &dynamic {
        shared_bytes = align(shared_bytes, v.align);
    }
    for v in dynamic {
        symbols.insert(v.name.clone(), (Space::Shared, shared_bytes));
        shared_names.push((shared_bytes as u32, u32::MAX, v.name.clone()));
    }
    if shared_bytes > 1 << 20 || local_bytes > 1 << 19 {
        return Err(fail(kernel.line, &kernel.name, "more shared or local memory than any device has".into()));
    }
    let (mut registers, mut predicates) = (0, 0);
    let homes = kernel
        .registers
        .iter()
        .map(|r| match r.ty {
            Ty::Pred => {
                predicates += 1;
                Home::Pred(predicates - 1)
            }
            ty => {
                registers += 1;
                Home::Data(registers - 1, ty.bits().max(16))
            }
        })
        .collect();
    let blank = Statement { line: 0, loc: (0, 0), guard: None, opcode: String::new(), args: Vec::new() };
    let mut d = Decoder {
        kernel,
        homes,
        registers,
        predicates,
        constants: Vec::new(),
        constant_numbers: HashMap::new(),
        specials: Vec::new(),
        symbols,
        from_param: HashMap::new(),
        params,
        slots: 0,
        statement: &blank,
        functions: &module.functions,
    };
    let mut insts = Vec::with_capacity(kernel.body.len() + 1);
    for s in &kernel.body {
        d.statement = s;
        let guard = match s.guard {
            None => None,
            Some((r, negated)) => {
                let p = d.to_pred(&Arg::Reg(r)).map_err(|e| fail(s.line, &s.opcode, e))?;
                Some((p, negated))
            }
        };
        let op = one(&mut d, &s.opcode).map_err(|e| fail(s.line, &s.opcode, e))?;
        insts.push(Inst { op, guard, line: s.line, loc: s.loc });
    }
    let line = kernel.body.last().map_or(kernel.line, |s| s.line);
    insts.push(Inst { op: Op::Exit, guard: None, line, loc: (0, 0) });
    Ok(Code {
        name: kernel.name.clone(),
        insts,
        registers: d.registers,
        predicates: d.predicates,
        constants: d.constants,
        specials: d.specials,
        params: d.params,
        param_bytes: param_bytes as usize,
        shared_bytes: shared_bytes as u32,
        shared_names,
        local_bytes: align(local_bytes, 16) as u32,
        max_threads: kernel.max_threads,
        required: kernel.required,
        slots: d.slots,
        files: module.files.iter().cloned().collect(),
        version: module.version.0 * 10 + module.version.1,
        target: module.target,
    })
}

fn names(args: &[Arg]) -> Vec<&str> {
    args.iter()
        .flat_map(|a| match a {
            Arg::Name(n, _) => vec![n.as_str()],
            Arg::Memory(b, _) => names(std::slice::from_ref(b)),
            Arg::Group(l) => names(l),
            _ => vec![],
        })
        .collect()
}

fn one(d: &mut Decoder, opcode: &str) -> Result<Op> {
    let mut words = Words { left: opcode.split('.').collect() };
    let Some(first) = words.front() else { return Err("no opcode".into()) };
    type Family = fn(&mut Decoder, &str, &mut Words) -> Result<Option<Op>>;
    const FAMILIES: [Family; 9] = [
        super::sync::decode,
        super::memory::decode,
        super::matrix::decode,
        super::predicate::decode,
        super::convert::decode,
        super::half::decode,
        super::float::decode,
        super::integer::decode,
        super::bits::decode,
    ];
    for family in FAMILIES {
        let before = words.left.clone();
        if let Some(op) = family(d, first, &mut words)? {
            return match words.left.first() {
                None => Ok(op),
                Some(w) => Err(format!("modifier .{w} is not known here")),
            };
        }
        words.left = before;
    }
    Err("this instruction is not known".into())
}
