//! The grid: `[[method]]` blocks whose parameters are values or lists, expanded into named cells.
//!
//! Order: blocks as in the file; within a block its methods; for each the parameters alphabetically, among them
//! `prompt` and `seed`, the last one varying fastest; each list in its own order. A cell's name holds only the
//! parameters that vary within the run among the cells of its method, so that a run of one setting has the plain name of
//! its method.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use toml::Spanned;

use crate::session::method::MethodConfig;
use crate::session::style::PromptStyle;

/// One method with one setting of its parameters, and its name in results, traces and pages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Unique in the run, for example `eg-cfg γ=3`.
    pub name: String,
    /// The method and all its parameters.
    pub config: MethodConfig,
    /// How the prompt asks for the program.
    #[serde(default, skip_serializing_if = "PromptStyle::is_default")]
    pub prompt: PromptStyle,
    /// Seed of its sessions, where the configuration gives several or the block has its own; else the run's counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// What a block takes on where it does not say otherwise.
pub(super) struct RunWide<'a> {
    pub seeds: &'a [u64],
    pub styles: &'a [PromptStyle],
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

/// Parameters of every block, besides those of its method.
const OF_EVERY_METHOD: [&str; 2] = ["prompt", "seed"];

/// A cell without its name.
#[derive(Clone, PartialEq)]
struct Point {
    config: MethodConfig,
    prompt: PromptStyle,
    seed: Option<u64>,
}

impl Point {
    /// All that tells it from others, by name.
    fn parameters(&self, wide: &RunWide) -> Map<String, Value> {
        let mut parameters = self.config.parameters();
        parameters.insert("prompt".to_owned(), self.prompt.name().into());
        parameters.insert("seed".to_owned(), self.seed.unwrap_or(wide.seeds[0]).into());
        parameters
    }
}

/// Expands the blocks into cells, in the documented order.
pub(super) fn expand(blocks: &[Spanned<Block>], wide: &RunWide) -> Result<Vec<Cell>, Fault> {
    let mut points: Vec<Point> = Vec::new();
    let mut settings: Vec<Map<String, Value>> = Vec::new();
    for block in blocks {
        for (name, span) in methods_of(block)? {
            for point in expand_method(block, &name, span, wide, MAX_CELLS - points.len())? {
                let setting = point.parameters(wide);
                if settings.contains(&setting) {
                    let shown = |(key, value): (&String, &Value)| format!("{key} = {}", show(value));
                    let message = format!(
                        "this block repeats a setting of method {name:?} that the run already has: {}",
                        setting
                            .iter()
                            .filter(|(key, _)| *key != "method")
                            .map(shown)
                            .collect::<Vec<_>>()
                            .join(", ")
                    );
                    return Err(Fault { span: block.span(), message });
                }
                settings.push(setting);
                points.push(point);
            }
        }
    }
    Ok(name_cells(points, &settings))
}

/// The methods of a block, each with its place in the text.
fn methods_of(block: &Spanned<Block>) -> Result<Vec<(String, Range<usize>)>, Fault> {
    let known = MethodConfig::NAMES.map(|name| format!("{name:?}")).join(", ");
    let method = block.get_ref().iter().find(|(key, _)| key.get_ref() == "method");
    let (_, method) = method.ok_or_else(|| Fault {
        span: block.span(),
        message: format!("this [[method]] block has no key `method`; it must be one of {known}"),
    })?;
    values_of("method", method)?
        .iter()
        .map(|value| {
            let name = value.as_str().unwrap_or("(not a text)").to_owned();
            match MethodConfig::of_name(&name) {
                Some(_) => Ok((name, method.span())),
                None => Err(Fault {
                    span: method.span(),
                    message: format!("there is no method {name:?}; `method` must be one of {known}"),
                }),
            }
        })
        .collect()
}

/// The values that a parameter takes on.
fn values_of<'a>(key: &str, value: &'a Spanned<toml::Value>) -> Result<&'a [toml::Value], Fault> {
    match value.get_ref() {
        toml::Value::Array(list) if list.is_empty() => {
            let message = format!("`{key}` is an empty list; give at least one value");
            Err(Fault { span: value.span(), message })
        }
        toml::Value::Array(list) => Ok(list.as_slice()),
        one => Ok(std::slice::from_ref(one)),
    }
}

fn expand_method(
    block: &Spanned<Block>,
    name: &str,
    at: Range<usize>,
    wide: &RunWide,
    room: usize,
) -> Result<Vec<Point>, Fault> {
    let Some(config) = MethodConfig::of_name(name) else { return Ok(Vec::new()) };
    let known = config.parameters();
    // What the block says, with the run's lists for what it does not: by name, as values and their place.
    let mut dimensions: BTreeMap<&str, (Vec<Value>, Range<usize>)> = BTreeMap::new();
    dimensions.insert("prompt", (wide.styles.iter().map(|style| style.name().into()).collect(), at.clone()));
    if wide.seeds.len() > 1 {
        dimensions.insert("seed", (wide.seeds.iter().map(|seed| (*seed).into()).collect(), at));
    }
    for (key, value) in block.get_ref() {
        let (key, span) = (key.get_ref().as_str(), key.span());
        if key == "method" {
            continue;
        }
        if !known.contains_key(key) && !OF_EVERY_METHOD.contains(&key) {
            let own = known.keys().map(String::as_str).filter(|k| *k != "method");
            let allowed: Vec<&str> = own.chain(OF_EVERY_METHOD).collect();
            let message = format!(
                "method {name:?} has no parameter `{key}`; its parameters are: {}",
                allowed.join(", ")
            );
            return Err(Fault { span, message });
        }
        let values = values_of(key, value)?.iter().map(as_json).collect::<Result<_, _>>();
        let fault = |reason| Fault { span: value.span(), message: told(key, name, reason) };
        dimensions.insert(key, (values.map_err(fault)?, value.span()));
    }

    let mut points = vec![Point { config, prompt: PromptStyle::Default, seed: None }];
    for (key, (values, span)) in dimensions {
        if points.len().saturating_mul(values.len()) > room {
            let message = format!("the grid has more than {MAX_CELLS} cells; shorten its lists");
            return Err(Fault { span, message });
        }
        let mut wider = Vec::with_capacity(points.len() * values.len());
        for point in &points {
            for value in &values {
                let set = set(point, key, value);
                wider.push(
                    set.map_err(|reason| Fault { span: span.clone(), message: told(key, name, reason) })?,
                );
            }
        }
        points = wider;
    }
    Ok(points)
}

fn told(key: &str, method: &str, reason: String) -> String {
    format!("`{key}` of method {method:?}: {reason}")
}

fn as_json(value: &toml::Value) -> Result<Value, String> {
    match value {
        toml::Value::Integer(number) => Ok(Value::from(*number)),
        toml::Value::Float(number) if number.is_finite() => Ok(Value::from(*number)),
        toml::Value::Boolean(flag) => Ok(Value::from(*flag)),
        toml::Value::String(text) => Ok(Value::from(text.as_str())),
        other => Err(format!("a parameter cannot be {}", other.type_str())),
    }
}

/// `point` with one parameter replaced.
fn set(point: &Point, key: &str, value: &Value) -> Result<Point, String> {
    fn read<T: DeserializeOwned>(value: Value) -> Result<T, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }
    let mut point = point.clone();
    match key {
        "prompt" => point.prompt = read(value.clone())?,
        "seed" => point.seed = Some(read(value.clone())?),
        _ => {
            let mut parameters = point.config.parameters();
            parameters.insert(key.to_owned(), value.clone());
            point.config = read(Value::Object(parameters))?;
            if let Err((at, must)) = point.config.check()
                && at == key
            {
                return Err(format!("{} is not allowed, it must be {must}", show(value)));
            }
        }
    }
    Ok(point)
}

fn name_cells(points: Vec<Point>, settings: &[Map<String, Value>]) -> Vec<Cell> {
    let varies = |method: &str, key: &str| {
        let mut seen = settings.iter().filter(|o| o["method"] == method).map(|o| &o[key]);
        let first = seen.next();
        seen.any(|value| Some(value) != first)
    };
    let name = |point: &Point, setting: &Map<String, Value>| {
        let mut name = point.config.name().to_owned();
        let sorted: BTreeMap<&String, &Value> = setting.iter().collect();
        for (key, value) in sorted {
            if varies(point.config.name(), key) {
                name.push_str(&format!(" {}={}", symbol(key), show(value)));
            }
        }
        name
    };
    let names: Vec<String> =
        points.iter().zip(settings).map(|(point, setting)| name(point, setting)).collect();
    let cell = |(name, Point { config, prompt, seed })| Cell { name, config, prompt, seed };
    names.into_iter().zip(points).map(cell).collect()
}

/// The field's short sign for a parameter, where it has one.
fn symbol(key: &str) -> &str {
    match key {
        "gamma" => "γ",
        "temperature" => "T",
        "refresh_lines" => "k",
        other => other,
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        // A whole number of more than 53 bits is no floating-point number: a seed may be one.
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(real) if real != 0.0 && real.abs() < 0.001 => format!("{real:e}"),
            Some(real) => real.to_string(),
            None => number.to_string(),
        },
        other => other.to_string(),
    }
}
