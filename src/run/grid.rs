//! The grid: `[[method]]` blocks whose parameters are values or lists, expanded into named cells.
//!
//! Order: blocks as in the file; within a block the parameters alphabetically, the last one varying fastest;
//! each list in its own order. A cell's name holds only the parameters that vary within the run among the
//! cells of its method, so that a run of one setting has the plain name of its method.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use toml::Spanned;

use crate::session::method::MethodConfig;

/// One method with one setting of its parameters, and its name in results, traces and pages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Unique in the run, for example `eg-cfg γ=3`.
    pub name: String,
    /// The method and all its parameters.
    pub config: MethodConfig,
}

/// A `[[method]]` block as written.
pub(super) type Block = BTreeMap<Spanned<String>, Spanned<toml::Value>>;

/// A fault in a block: where in the text, and what.
#[derive(Debug)]
pub(super) struct Fault {
    pub span: Range<usize>,
    pub message: String,
}

/// More cells than this is taken for a mistake: every cell visits every task.
const MAX_CELLS: usize = 4096;

/// Expands the blocks into cells, in the documented order.
pub(super) fn expand(blocks: &[Spanned<Block>]) -> Result<Vec<Cell>, Fault> {
    let mut configs: Vec<MethodConfig> = Vec::new();
    for block in blocks {
        for config in expand_block(block, MAX_CELLS - configs.len())? {
            if configs.contains(&config) {
                let message = format!(
                    "this block repeats a setting of method {:?} that the run already has: {}",
                    config.name(),
                    as_object(&config)
                        .iter()
                        .filter(|(key, _)| *key != "method")
                        .map(|(key, value)| format!("{key} = {}", show(value)))
                        .collect::<Vec<_>>()
                        .join(", ")
                );
                return Err(Fault { span: block.span(), message });
            }
            configs.push(config);
        }
    }
    Ok(name_cells(configs))
}

fn expand_block(block: &Spanned<Block>, room: usize) -> Result<Vec<MethodConfig>, Fault> {
    let known = MethodConfig::NAMES.map(|name| format!("{name:?}")).join(", ");
    let method = block.get_ref().iter().find(|(key, _)| key.get_ref() == "method");
    let (_, method) = method.ok_or_else(|| Fault {
        span: block.span(),
        message: format!("this [[method]] block has no key `method`; it must be one of {known}"),
    })?;
    let name = method.get_ref().as_str().unwrap_or("(not a text)");
    let defaults = MethodConfig::of_name(name).ok_or_else(|| Fault {
        span: method.span(),
        message: format!("there is no method {name:?}; `method` must be one of {known}"),
    })?;

    let base = as_object(&defaults);
    let mut grid = vec![(base.clone(), defaults)];
    for (key, values) in block.get_ref() {
        if key.get_ref() == "method" {
            continue;
        }
        if !base.contains_key(key.get_ref()) {
            let allowed: Vec<&str> = base.keys().map(String::as_str).filter(|k| *k != "method").collect();
            let allowed = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
            let message = format!(
                "method {name:?} has no parameter `{}`; its parameters are: {allowed}",
                key.get_ref()
            );
            return Err(Fault { span: key.span(), message });
        }
        let list = match values.get_ref() {
            toml::Value::Array(list) => list.as_slice(),
            one => std::slice::from_ref(one),
        };
        if list.is_empty() {
            let message = format!("`{}` is an empty list; give at least one value", key.get_ref());
            return Err(Fault { span: values.span(), message });
        }
        if grid.len().saturating_mul(list.len()) > room {
            let message = format!("the grid has more than {MAX_CELLS} cells; shorten its lists");
            return Err(Fault { span: values.span(), message });
        }
        let mut wider = Vec::with_capacity(grid.len() * list.len());
        for (object, _) in &grid {
            for value in list {
                wider.push(set(object, key.get_ref(), value).map_err(|reason| Fault {
                    span: values.span(),
                    message: format!("`{}` of method {name:?}: {reason}", key.get_ref()),
                })?);
            }
        }
        grid = wider;
    }
    Ok(grid.into_iter().map(|(_, config)| config).collect())
}

/// `object` with one key replaced, as JSON and as what it means.
fn set(
    object: &Map<String, Value>,
    key: &str,
    value: &toml::Value,
) -> Result<(Map<String, Value>, MethodConfig), String> {
    let mut object = object.clone();
    let json = match value {
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Float(number) if number.is_finite() => Value::from(*number),
        toml::Value::Boolean(flag) => Value::from(*flag),
        toml::Value::String(text) => Value::from(text.as_str()),
        other => return Err(format!("a parameter cannot be {}", other.type_str())),
    };
    let shown = show(&json);
    object.insert(key.to_owned(), json);
    let config: MethodConfig =
        serde_json::from_value(Value::Object(object.clone())).map_err(|error| error.to_string())?;
    match config.check() {
        Err((at, must)) if at == key => Err(format!("{shown} is not allowed, it must be {must}")),
        _ => Ok((object, config)),
    }
}

fn as_object(config: &MethodConfig) -> Map<String, Value> {
    match serde_json::to_value(config) {
        Ok(Value::Object(object)) => object,
        _ => unreachable!("a method is a tagged struct of plain values"),
    }
}

fn name_cells(configs: Vec<MethodConfig>) -> Vec<Cell> {
    let objects: Vec<Map<String, Value>> = configs.iter().map(as_object).collect();
    let varies = |method: &str, key: &str| {
        let mut seen = objects.iter().filter(|o| o["method"] == method).map(|o| &o[key]);
        let first = seen.next();
        seen.any(|value| Some(value) != first)
    };
    let names: Vec<String> = objects
        .iter()
        .zip(&configs)
        .map(|(object, config)| {
            let mut name = config.name().to_owned();
            let sorted: BTreeMap<&String, &Value> = object.iter().collect();
            for (key, value) in sorted {
                if varies(config.name(), key) {
                    name.push_str(&format!(" {}={}", symbol(key), show(value)));
                }
            }
            name
        })
        .collect();
    names.into_iter().zip(configs).map(|(name, config)| Cell { name, config }).collect()
}

/// The field's short sign for a parameter, where it has one.
fn symbol(key: &str) -> &str {
    match key {
        "gamma" => "γ",
        "temperature" => "T",
        other => other,
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), |n| n.to_string()),
        other => other.to_string(),
    }
}
