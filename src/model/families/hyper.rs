//! Hyperparameters by name, whichever file they stand in.

use serde_json::{Map, Value};

use crate::model::ModelError;
use crate::model::gguf::Gguf;

/// A hyperparameter's names: in `config.json` (the first that is there counts), and in GGUF metadata behind the
/// architecture's name.
pub(super) struct Key(pub &'static [&'static str], pub &'static str);

/// Where hyperparameters stand.
#[derive(Clone, Copy)]
pub(super) enum Hyper<'a> {
    /// An object of a `config.json`.
    Json(&'a Map<String, Value>),
    /// A GGUF file and the name of its architecture.
    Gguf(&'a Gguf, &'a str),
}

/// What a number can be.
const MOST: f64 = (1u64 << 40) as f64;

impl<'a> Hyper<'a> {
    /// Whether they come from a GGUF file, whose converters have changed some tensors.
    pub fn is_gguf(&self) -> bool {
        matches!(self, Self::Gguf(..))
    }

    fn json(self, key: &Key) -> Option<(&'static str, &'a Value)> {
        let Self::Json(map) = self else { return None };
        key.0.iter().find_map(|&name| map.get(name).filter(|v| !v.is_null()).map(|v| (name, v)))
    }

    fn shown(&self, key: &Key) -> String {
        match self {
            Self::Json(_) => key.0.first().copied().unwrap_or_default().to_owned(),
            Self::Gguf(_, arch) => format!("{arch}.{}", key.1),
        }
    }

    /// A number; `None` where there is none (or null).
    pub fn number(self, key: &Key) -> Result<Option<f64>, ModelError> {
        let value = match self {
            Self::Json(_) => match self.json(key) {
                None => return Ok(None),
                Some((_, value)) => value.as_f64(),
            },
            Self::Gguf(gguf, arch) => match gguf.number(&format!("{arch}.{}", key.1)) {
                None => return Ok(None),
                value => value,
            },
        };
        match value.filter(|v| v.is_finite() && v.abs() <= MOST) {
            Some(value) => Ok(Some(value)),
            None => Err(ModelError::Config(format!("{} is not a sensible number", self.shown(key)))),
        }
    }

    /// A number of things.
    pub fn count(self, key: &Key) -> Result<Option<usize>, ModelError> {
        match self.number(key)? {
            None => Ok(None),
            Some(v) if v >= 0.0 && v.fract() == 0.0 => Ok(Some(v as usize)),
            Some(v) => Err(ModelError::Config(format!("{} is {v}", self.shown(key)))),
        }
    }

    /// A number of things that must be there.
    pub fn need_count(self, key: &Key) -> Result<usize, ModelError> {
        self.count(key)?.ok_or_else(|| ModelError::Config(format!("{} is missing", self.shown(key))))
    }

    /// A truth value; `None` where there is none.
    pub fn flag(self, key: &Key) -> Result<Option<bool>, ModelError> {
        match self {
            Self::Json(_) => match self.json(key) {
                None => Ok(None),
                Some((_, Value::Bool(flag))) => Ok(Some(*flag)),
                Some((name, _)) => Err(ModelError::Config(format!("{name} is neither true nor false"))),
            },
            Self::Gguf(gguf, arch) => Ok(gguf.flag(&format!("{arch}.{}", key.1))),
        }
    }

    /// A text; `None` where there is none.
    pub fn text(self, key: &Key) -> Option<&'a str> {
        match self {
            Self::Json(_) => self.json(key).and_then(|(_, v)| v.as_str()),
            Self::Gguf(gguf, arch) => gguf.text(&format!("{arch}.{}", key.1)),
        }
    }

    /// A list of a `config.json`; `None` where there is none.
    pub fn list(self, name: &'static str) -> Option<&'a [Value]> {
        let Self::Json(map) = self else { return None };
        map.get(name).and_then(Value::as_array).map(Vec::as_slice)
    }

    /// An object within a `config.json`.
    pub fn within(self, name: &'static str) -> Option<Hyper<'a>> {
        let Self::Json(map) = self else { return None };
        map.get(name).and_then(Value::as_object).map(Hyper::Json)
    }
}
