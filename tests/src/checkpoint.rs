//! A writer of checkpoints as torch.save writes them: a zip with a pickle and one record for each tensor. Tensors can be sparse (a hole in
//! the file that reads as zeros), so a checkpoint of full size takes no disk space.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

/// A tensor's values.
#[derive(Clone)]
pub enum Data {
    /// Stored as f32.
    F32(Vec<f32>),
    /// Stored as f16.
    F16(Vec<f32>),
    /// f16 zeros, not written to the disk.
    Sparse,
}

/// A named tensor.
#[derive(Clone)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values.
    pub data: Data,
}

/// A record of a zip.
pub enum Record {
    /// The record's bytes.
    Bytes(Vec<u8>),
    /// This many zeros, not written to the disk.
    Sparse(u64),
}

/// A writer of pickle protocol 2, with the opcodes that torch.save uses.
#[derive(Default)]
pub struct Pickle(pub Vec<u8>);

impl Pickle {
    /// A pickle that holds the PROTO opcode.
    pub fn new() -> Self {
        Pickle(vec![0x80, 2])
    }

    /// Appends raw opcodes.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend(bytes);
        self
    }

    /// Appends a string.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
    }

    /// Appends an integer.
    pub fn int(&mut self, n: u64) -> &mut Self {
        match i32::try_from(n) {
            Ok(n) => self.raw(b"J").raw(&n.to_le_bytes()),
            Err(_) => self.raw(&[0x8a, 8]).raw(&n.to_le_bytes()),
        }
    }

    /// Appends a tuple of integers.
    pub fn ints(&mut self, all: &[usize]) -> &mut Self {
        self.raw(b"(");
        for n in all {
            self.int(*n as u64);
        }
        self.raw(b"t")
    }

    /// Appends a tensor on storage `key` of `len` values, whose type is `class`.
    pub fn tensor(&mut self, class: &str, key: &str, len: u64, offset: u64, shape: &[usize], stride: &[usize]) -> &mut Self {
        self.raw(b"ctorch._utils\n_rebuild_tensor_v2\n((").text("storage").raw(format!("ctorch\n{class}\n").as_bytes());
        self.text(key).text("cpu").int(len).raw(b"tQ").int(offset).ints(shape).ints(stride);
        self.raw(b"\x89ccollections\nOrderedDict\n)RtR")
    }
}

/// The strides of a contiguous tensor.
pub fn strides(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|i| shape[i + 1..].iter().product()).collect()
}

/// Writes a checkpoint as audiocraft exports it: `best_state` with the tensors, `xp.cfg` with `config`.
pub fn save(path: &Path, tensors: &[Tensor], config: &str) {
    let mut pickle = Pickle::new();
    pickle.raw(b"}q\x00(").text("best_state");
    let mut records = state(&mut pickle, tensors);
    pickle.text("xp.cfg").text(config).text("exported").raw(b"\x88u.");
    records.insert(0, ("archive/data.pkl".into(), Record::Bytes(pickle.0)));
    zip(path, &records);
}

/// Writes a checkpoint as the package `demucs` does: `klass` (module and name, with a newline between them), `kwargs` (opcodes of names and
/// values), and `state` with the tensors.
pub fn save_demucs(path: &Path, class: &str, kwargs: &[u8], tensors: &[Tensor]) {
    let mut pickle = Pickle::new();
    pickle.raw(b"}q\x00(").text("klass").raw(format!("c{class}\n").as_bytes()).text("args").raw(b")");
    pickle.text("kwargs").raw(b"}(").raw(kwargs).raw(b"u").text("state");
    let mut records = state(&mut pickle, tensors);
    pickle.text("training_args").raw(b"}u.");
    records.insert(0, ("archive/data.pkl".into(), Record::Bytes(pickle.0)));
    zip(path, &records);
}

/// The pickle of a checkpoint of the package `demucs`, with fractions, lists, floats and numbers of NumPy, and a tensor on storage `0`.
pub fn network_pickle() -> Vec<u8> {
    let mut net = Pickle::new();
    net.raw(b"}(").text("klass").raw(b"cdemucs.htdemucs\nHTDemucs\n").text("args").raw(b"](X\x01\0\0\0aX\x01\0\0\0be\x85");
    net.text("kwargs")
        .raw(b"}(")
        .text("s")
        .raw(b"cfractions\nFraction\nX\x04\0\0\x0039/5\x85R")
        .text("f")
        .raw(b"G?\xe0\0\0\0\0\0\0");
    net.text("l").raw(b"]q\x05(\x88\x89NK\x02eu").text("state").raw(b"}").text("x");
    net.tensor("HalfStorage", "0", 48, 0, &[4, 6], &[6, 1]).raw(b"s").text("metrics").raw(b"cnumpy.core.multiarray\nscalar\n");
    net.raw(b"cnumpy\ndtype\nX\x02\0\0\0f8\x89\x88\x87R(K\x03NtbX\x01\0\0\0a\x86Ru.");
    net.0
}

/// Appends a state dict with the tensors. Gives the records of their values.
fn state(pickle: &mut Pickle, tensors: &[Tensor]) -> Vec<(String, Record)> {
    let mut records = Vec::new();
    pickle.raw(b"ccollections\nOrderedDict\n)R(");
    for (key, t) in tensors.iter().enumerate() {
        let len: usize = t.shape.iter().product();
        let (class, record) = match &t.data {
            Data::F32(v) => ("FloatStorage", Record::Bytes(v.iter().flat_map(|x| x.to_le_bytes()).collect())),
            Data::F16(v) => ("HalfStorage", Record::Bytes(v.iter().flat_map(|x| half(*x).to_le_bytes()).collect())),
            Data::Sparse => ("HalfStorage", Record::Sparse(2 * len as u64)),
        };
        pickle.text(&t.name).tensor(class, &key.to_string(), len as u64, 0, &t.shape, &strides(&t.shape));
        records.push((format!("archive/data/{key}"), record));
    }
    // torch.save adds `_metadata` to a state dict.
    pickle.raw(b"u}").text("_metadata").raw(b"}sb");
    records
}

fn half(x: f32) -> half::f16 {
    half::f16::from_f32(x)
}

/// Writes a zip of uncompressed records.
pub fn zip(path: &Path, records: &[(String, Record)]) {
    let mut file = File::create(path).expect("created");
    let mut directory = Vec::new();
    for (name, record) in records {
        let at = file.stream_position().expect("a position") as u32;
        let len = match record {
            Record::Bytes(b) => b.len() as u32,
            Record::Sparse(n) => u32::try_from(*n).expect("less than 4 GiB"),
        };
        let head = |extra: &[u8]| {
            let mut h = Vec::new();
            // version, flags, method 0 (stored), time, date, crc
            h.extend([10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            h.extend(len.to_le_bytes());
            h.extend(len.to_le_bytes());
            h.extend((name.len() as u16).to_le_bytes());
            h.extend([0, 0]);
            h.extend(extra);
            h.extend(name.as_bytes());
            h
        };
        file.write_all(b"PK\x03\x04").and_then(|()| file.write_all(&head(&[]))).expect("written");
        match record {
            Record::Bytes(b) => file.write_all(b).expect("written"),
            Record::Sparse(n) => drop(file.seek(SeekFrom::Current(*n as i64)).expect("a position")),
        }
        directory.extend(b"PK\x01\x02\x0a\x00");
        // comment, disk, attributes, offset of the local header
        directory.extend(head(&[[0; 10].as_slice(), &at.to_le_bytes()].concat()));
    }
    let at = file.stream_position().expect("a position") as u32;
    let n = (records.len() as u16).to_le_bytes();
    let end = [b"PK\x05\x06\0\0\0\0".as_slice(), &n, &n, &(directory.len() as u32).to_le_bytes(), &at.to_le_bytes(), &[0, 0]];
    file.write_all(&directory).and_then(|()| file.write_all(&end.concat())).expect("written");
}
