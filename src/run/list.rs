//! One or more: what a configuration writes as a value or as a list of values.

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// Values of a key, at least one. In TOML and JSON a single one is written without brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOrMore<T>(Vec<T>);

impl<'de, T: DeserializeOwned> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = match Value::deserialize(deserializer)? {
            Value::Array(values) => values,
            one => vec![one],
        };
        if values.is_empty() {
            return Err(D::Error::custom("an empty list; give at least one value"));
        }
        // Read one by one, so that an error is about the value and not about the choice between value and list.
        let values: Result<Vec<T>, _> = values.into_iter().map(serde_json::from_value).collect();
        values.map(Self).map_err(D::Error::custom)
    }
}

impl<T: Serialize> Serialize for OneOrMore<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            more => more.serialize(serializer),
        }
    }
}

impl<T> OneOrMore<T> {
    /// One value.
    pub fn one(value: T) -> Self {
        Self(vec![value])
    }

    /// All values, in the order in which they were written.
    pub fn all(&self) -> &[T] {
        &self.0
    }
}

impl<T: Clone> OneOrMore<T> {
    /// The first value.
    pub fn first(&self) -> T {
        self.0[0].clone()
    }
}
