//! The header of a GGUF file: metadata, and where each tensor lies. Format: `docs/gguf.md` of the ggml project, versions 2
//! and 3.
//!
//! The file is believed in nothing: whatever it says of lengths is held against the bytes that are left, so that reading a
//! damaged one costs no more memory than it is long, times a small factor.

use std::collections::HashMap;

use crate::model::quant::WeightType;

/// A value of a GGUF file's metadata, of any of its types.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Any integer.
    Int(i64),
    /// Any floating-point number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A text.
    Text(String),
    /// Several texts.
    Texts(Vec<String>),
    /// Several integers.
    Ints(Vec<i64>),
    /// Several floating-point numbers.
    Floats(Vec<f32>),
    /// What nothing here asks for: nested lists, lists of truth values.
    Other,
}

/// A tensor as the header describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Type of its elements.
    pub dtype: WeightType,
    /// Dimensions, the outermost first.
    pub shape: Vec<usize>,
    /// Where its bytes begin, from the beginning of the file.
    pub start: usize,
}

/// Everything before the tensors' bytes.
#[derive(Debug, Default)]
pub struct Header {
    /// Metadata by key.
    pub metadata: HashMap<String, Value>,
    /// Tensors by name.
    pub tensors: HashMap<String, TensorInfo>,
}

/// Most dimensions of a tensor.
const DIMENSIONS: u32 = 4;

impl Header {
    /// Reads the header of a file.
    ///
    /// # Errors
    /// One sentence about the first thing that is wrong.
    pub fn read(file: &[u8]) -> Result<Self, String> {
        let mut bytes = Bytes { left: file };
        if bytes.take(4)? != b"GGUF" {
            return Err("it does not begin with `GGUF`".into());
        }
        let version = bytes.u32()?;
        if !(2..=3).contains(&version) {
            return Err(format!("version {version} of the format; 2 and 3 are read"));
        }
        let (tensors, entries) = (bytes.u64()?, bytes.u64()?);
        let mut header = Self::default();
        for _ in 0..entries {
            let key = bytes.text()?;
            let kind = bytes.u32()?;
            let value = bytes.value(kind).map_err(|why| format!("metadata `{key}`: {why}"))?;
            header.metadata.insert(key, value);
        }
        let alignment = match header.metadata.get("general.alignment") {
            None => 32,
            Some(Value::Int(alignment @ 1..=0x1_0000)) => *alignment as usize,
            Some(_) => return Err("`general.alignment` is no sensible number".into()),
        };
        let mut relative = Vec::new();
        for _ in 0..tensors {
            let name = bytes.text()?;
            let info = bytes.tensor().map_err(|why| format!("tensor `{name}`: {why}"))?;
            relative.push((name, info));
        }
        let data = (file.len() - bytes.left.len()).next_multiple_of(alignment);
        for (name, info) in relative {
            let start = info.start.checked_add(data);
            let start = start.ok_or_else(|| format!("tensor `{name}` lies beyond all addresses"))?;
            header.tensors.insert(name, TensorInfo { start, ..info });
        }
        Ok(header)
    }
}

/// What is left to read.
struct Bytes<'a> {
    left: &'a [u8],
}

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, left) = self.left.split_at_checked(count).ok_or("it ends in the middle of its header")?;
        self.left = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    /// A length, which cannot be more than what is left.
    fn length(&mut self) -> Result<usize, String> {
        let length = self.u64()?;
        match usize::try_from(length) {
            Ok(length) if length <= self.left.len() => Ok(length),
            _ => Err(format!("a length of {length} with {} bytes left", self.left.len())),
        }
    }

    fn text(&mut self) -> Result<String, String> {
        let length = self.length()?;
        // Vocabularies hold pieces of characters in some files; what is no text is replaced, as it is compared only.
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    fn int(&mut self, kind: u32) -> Result<Option<i64>, String> {
        Ok(Some(match kind {
            0 => i64::from(self.array::<1>()?[0]),
            1 => i64::from(i8::from_le_bytes(self.array()?)),
            2 => i64::from(u16::from_le_bytes(self.array()?)),
            3 => i64::from(i16::from_le_bytes(self.array()?)),
            4 => i64::from(self.u32()?),
            5 => i64::from(i32::from_le_bytes(self.array()?)),
            10 => i64::try_from(self.u64()?).unwrap_or(i64::MAX),
            11 => i64::from_le_bytes(self.array()?),
            _ => return Ok(None),
        }))
    }

    fn value(&mut self, kind: u32) -> Result<Value, String> {
        if let Some(int) = self.int(kind)? {
            return Ok(Value::Int(int));
        }
        match kind {
            6 => Ok(Value::Float(f64::from(f32::from_le_bytes(self.array()?)))),
            12 => self.array().map(|b| Value::Float(f64::from_le_bytes(b))),
            7 => Ok(Value::Bool(self.array::<1>()?[0] != 0)),
            8 => self.text().map(Value::Text),
            9 => self.list(0),
            _ => Err(format!("type {kind} is not known")),
        }
    }

    /// A list; `depth` lists stand around it.
    fn list(&mut self, depth: usize) -> Result<Value, String> {
        let (kind, count) = (self.u32()?, self.length()?);
        match kind {
            6 => {
                let bytes = self.take(count.checked_mul(4).ok_or("a list without end")?)?;
                Ok(Value::Floats(bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()))
            }
            8 => (0..count).map(|_| self.text()).collect::<Result<_, _>>().map(Value::Texts),
            7 => self.take(count).map(|_| Value::Other),
            12 => self.take(count.checked_mul(8).ok_or("a list without end")?).map(|_| Value::Other),
            9 if depth < 4 => {
                for _ in 0..count {
                    self.list(depth + 1)?;
                }
                Ok(Value::Other)
            }
            0..=5 | 10 | 11 => {
                let ints = (0..count).map(|_| Ok(self.int(kind)?.unwrap_or(0)));
                ints.collect::<Result<_, String>>().map(Value::Ints)
            }
            _ => Err(format!("a list of type {kind}")),
        }
    }

    fn tensor(&mut self) -> Result<TensorInfo, String> {
        let dimensions = self.u32()?;
        if !(1..=DIMENSIONS).contains(&dimensions) {
            return Err(format!("it has {dimensions} dimensions"));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            let size = self.u64()?;
            shape.push(usize::try_from(size).map_err(|_| format!("a dimension of {size}"))?);
        }
        // The file has the innermost first.
        shape.reverse();
        let kind = self.u32()?;
        let dtype = WeightType::from_ggml(kind).ok_or_else(|| unknown(kind))?;
        let start = self.u64()?;
        let start = usize::try_from(start).map_err(|_| format!("it begins at {start}"))?;
        Ok(TensorInfo { dtype, shape, start })
    }
}

/// Types of ggml that are not read here, by number.
fn unknown(kind: u32) -> String {
    let name = match kind {
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        21 => "IQ3_S",
        22 => "IQ2_S",
        24..=28 => "integers or F64",
        29 => "IQ1_M",
        _ => "unknown",
    };
    let known: Vec<String> = WeightType::ALL.iter().map(|dtype| format!("{dtype:?}")).collect();
    format!("its weights are of type {kind} ({name}); this version reads {}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of two entries and a tensor.
    fn header() -> Vec<u8> {
        let text = |t: &str| [&(t.len() as u64).to_le_bytes()[..], t.as_bytes()].concat();
        [
            b"GGUF".to_vec(),
            3u32.to_le_bytes().to_vec(),
            1u64.to_le_bytes().to_vec(),
            2u64.to_le_bytes().to_vec(),
            [text("a.b"), 4u32.to_le_bytes().to_vec(), 7u32.to_le_bytes().to_vec()].concat(),
            [text("list"), 9u32.to_le_bytes().to_vec(), 8u32.to_le_bytes().to_vec()].concat(),
            [2u64.to_le_bytes().to_vec(), text("x"), text("")].concat(),
            [text("t"), 2u32.to_le_bytes().to_vec(), 64u64.to_le_bytes().to_vec()].concat(),
            [3u64.to_le_bytes().to_vec(), 2u32.to_le_bytes().to_vec(), 32u64.to_le_bytes().to_vec()].concat(),
        ]
        .concat()
    }

    #[test]
    fn a_header_is_read() {
        let bytes = header();
        let header = Header::read(&bytes).expect("valid");
        assert_eq!(header.metadata["a.b"], Value::Int(7));
        assert_eq!(header.metadata["list"], Value::Texts(vec!["x".into(), String::new()]));
        let start = bytes.len().next_multiple_of(32) + 32;
        let expected = TensorInfo { dtype: WeightType::Q4_0, shape: vec![3, 64], start };
        assert_eq!(header.tensors["t"], expected);
    }

    #[test]
    fn every_truncated_header_is_refused() {
        let bytes = header();
        for len in 0..bytes.len() {
            assert!(Header::read(&bytes[..len]).is_err(), "{len} bytes of {}", bytes.len());
        }
    }

    #[test]
    fn absurd_numbers_are_refused() {
        let refuse = |at: usize, with: &[u8]| {
            let mut bytes = header();
            bytes[at..at + with.len()].copy_from_slice(with);
            Header::read(&bytes).expect_err("must be refused")
        };
        assert!(refuse(0, b"GGML").contains("GGUF"));
        assert!(refuse(4, &1u32.to_le_bytes()).contains("version 1"));
        // A text, and a list, of a length that nothing can hold.
        assert!(refuse(24, &u64::MAX.to_le_bytes()).contains("bytes left"));
        let list = 24 + 8 + 3 + 8 + 8 + 4 + 8;
        assert!(refuse(list, &(1u64 << 40).to_le_bytes()).contains("bytes left"));
        // A type without a reader is named.
        let kind = header().len() - 12;
        assert!(refuse(kind, &16u32.to_le_bytes()).contains("IQ2_XXS"));
    }
}
