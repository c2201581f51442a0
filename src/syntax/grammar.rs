//! tree-sitter's Python grammar, bounded, and the rules of CPython that it lacks.

use std::ops::ControlFlow;

use tree_sitter::{InputEdit, Language, Node, ParseOptions, Point, Tree};

use super::MAX_SOURCE;
use super::hanging::indented;
use super::scan::common_prefix;

/// How often tree-sitter may report progress (every hundred steps of its automaton) in a parse of `bytes`
/// bytes: a count, not a time, so that every machine gives the same answer. The standard library's files need
/// up to 9 reports per thousand bytes, the densest text that we found 50.
fn fuel(bytes: usize) -> usize {
    1000 + bytes / 8
}

/// What the grammar says of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opinion {
    Accepted,
    Refused,
    /// The fuel ran out.
    Unknown,
}

/// Which rules that the grammar lacks are checked: CPython looks for what its compiler refuses only in what its
/// parser took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rules {
    OfParser,
    OfParserAndCompiler,
}

/// A parser and the tree of the source that it accepted last.
pub(super) struct Grammar {
    parser: tree_sitter::Parser,
    accepted: Option<(String, Tree)>,
}

impl Default for Grammar {
    fn default() -> Self {
        let mut parser = tree_sitter::Parser::new();
        let language = Language::new(tree_sitter_python::LANGUAGE);
        parser.set_language(&language).expect("the grammar was generated for this version of tree-sitter");
        Self { parser, accepted: None }
    }
}

impl Grammar {
    /// Whether the whole `source` is Python as far as the grammar knows; the further `rules` of CPython are
    /// checked from byte `from` on only.
    pub(super) fn opinion(&mut self, source: &str, from: usize, rules: Rules) -> Opinion {
        let opinion = self.first_opinion(source, from, rules);
        if opinion == Opinion::Refused
            && let Some((source, from)) = indented(source, from)
        {
            return self.first_opinion(&source, from, rules);
        }
        opinion
    }

    fn first_opinion(&mut self, source: &str, from: usize, rules: Rules) -> Opinion {
        if source.len() > MAX_SOURCE {
            return Opinion::Refused;
        }
        let Some(tree) = self.parse(source) else { return Opinion::Unknown };
        if tree.root_node().has_error() || breaks_rules(&tree, source, from, rules) {
            return Opinion::Refused;
        }
        self.accepted = Some((source.to_owned(), tree));
        Opinion::Accepted
    }

    /// Parses with the nodes of the last accepted source where that gives a tree without error, and from
    /// nothing otherwise: how tree-sitter recovers from errors may depend on the nodes that it started from,
    /// and an answer must not depend on what was asked before.
    fn parse(&mut self, source: &str) -> Option<Tree> {
        if let Some((old, tree)) = self.accepted.take() {
            let mut base = tree.clone();
            base.edit(&edit(&old, source));
            let tree_now = self.parse_from(source, Some(&base));
            self.accepted = Some((old, tree));
            if let Some(tree) = tree_now
                && !tree.root_node().has_error()
            {
                return Some(tree);
            }
        }
        self.parse_from(source, None)
    }

    fn parse_from(&mut self, source: &str, old: Option<&Tree>) -> Option<Tree> {
        let bytes = source.as_bytes();
        let mut fuel = fuel(bytes.len());
        let mut progress = |_: &_| {
            fuel -= 1;
            if fuel == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let options = ParseOptions::new().progress_callback(&mut progress);
        let mut read = |offset: usize, _: Point| bytes.get(offset..).unwrap_or_default();
        let tree = self.parser.parse_with_options(&mut read, old, Some(options));
        if tree.is_none() {
            self.parser.reset();
        }
        tree
    }
}

/// The edit that makes `new` of `old`: all after their common beginning.
fn edit(old: &str, new: &str) -> InputEdit {
    let common = common_prefix(old.as_bytes(), new.as_bytes());
    InputEdit {
        start_byte: common,
        old_end_byte: old.len(),
        new_end_byte: new.len(),
        start_position: point(&old.as_bytes()[..common]),
        old_end_position: point(old.as_bytes()),
        new_end_position: point(new.as_bytes()),
    }
}

fn point(text: &[u8]) -> Point {
    let row = text.iter().filter(|byte| **byte == b'\n').count();
    let column = text.iter().rev().take_while(|byte| **byte != b'\n').count();
    Point { row, column }
}

/// Whether a node that reaches beyond byte `from` breaks a rule that CPython has and the grammar has not. Only
/// rules that a cut text can break by accident, and forms of Python 2.
fn breaks_rules(tree: &Tree, source: &str, from: usize, rules: Rules) -> bool {
    let mut cursor = tree.walk();
    loop {
        let node = cursor.node();
        if breaks_parser_rule(node, source)
            || rules == Rules::OfParserAndCompiler && breaks_compiler_rule(node, source)
        {
            return true;
        }
        // The first child that ends after `from`: those after it do too.
        if cursor.goto_first_child_for_byte(from).is_some() {
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return false;
            }
        }
    }
}

fn breaks_parser_rule(node: Node, source: &str) -> bool {
    let text = source.get(node.byte_range()).unwrap_or("");
    match node.kind() {
        "identifier" => is_keyword(text),
        "integer" | "float" => !is_number(text),
        "print_statement" => is_old_statement(text, "print"),
        "exec_statement" => is_old_statement(text, "exec"),
        "comparison_operator" => children(node).iter().any(|child| child.kind() == "<>"),
        "argument_list" => arguments_out_of_order(node),
        "parameters" | "lambda_parameters" => parameters_out_of_order(node),
        "delete_statement" | "as_pattern_target" => has_call_target(node),
        "import_statement" | "import_from_statement" => text.trim_end().ends_with(','),
        _ => false,
    }
}

fn breaks_compiler_rule(node: Node, source: &str) -> bool {
    match node.kind() {
        "parameters" | "lambda_parameters" => has_equal_parameters(node, source),
        "future_import_statement" => !imports_features(node, source),
        "expression_statement" | "assignment" | "parenthesized_expression" | "return_statement" => {
            has_lone_star(node)
        }
        _ => false,
    }
}

fn children(node: Node) -> Vec<Node> {
    let mut cursor = node.walk();
    node.children(&mut cursor).filter(|child| child.kind() != "comment").collect()
}

fn is_keyword(word: &str) -> bool {
    const KEYWORDS: [&str; 35] = [
        "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue",
        "def", "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in",
        "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
    ];
    KEYWORDS.contains(&word)
}

/// `print "x"`, which the grammar takes for Python 2's. `print -1` and `print (x), y` are Python 3 as well.
fn is_old_statement(text: &str, keyword: &str) -> bool {
    let rest = text.strip_prefix(keyword).unwrap_or("").trim_start();
    rest.starts_with(|c: char| c == '_' || c == '"' || c == '\'' || c.is_alphanumeric())
}

/// Numbers of Python 3: no `0777`, `10L`, `1_`, `0x`.
fn is_number(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let digits = |part: &str, radix: u32| {
        !part.is_empty()
            && !part.ends_with('_')
            && !part.contains("__")
            && part.chars().all(|c| c == '_' || c.is_digit(radix))
    };
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(rest) = lower.strip_prefix(prefix) {
            return digits(rest, radix);
        }
    }
    let number = lower.strip_suffix('j').unwrap_or(&lower);
    let is_integer = number == lower && !number.contains(['.', 'e']);
    if is_integer {
        let zeros = number.chars().all(|c| matches!(c, '0' | '_'));
        return digits(number, 10) && (zeros || !number.starts_with('0'));
    }
    let (mantissa, exponent) = match number.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (number, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let plain = |part: &str| part.is_empty() || digits(part, 10) && !part.starts_with('_');
    let exponent = exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e), 10));
    plain(whole) && plain(fraction) && !(whole.is_empty() && fraction.is_empty()) && exponent
}

/// A positional argument after a keyword argument, or `*args` after `**kwargs`.
fn arguments_out_of_order(node: Node) -> bool {
    let (mut keyword, mut splat) = (false, false);
    children(node).iter().filter(|child| child.is_named()).any(|child| match child.kind() {
        "keyword_argument" => {
            keyword = true;
            false
        }
        "dictionary_splat" => {
            splat = true;
            false
        }
        "list_splat" => splat,
        _ => keyword || splat,
    })
}

/// A parameter without default after one with, or a bare `*` with nothing after it.
fn parameters_out_of_order(node: Node) -> bool {
    let mut first = true;
    let (mut default, mut keyword_only, mut bare) = (false, false, false);
    for child in children(node).into_iter().filter(Node::is_named) {
        let has_default = matches!(child.kind(), "default_parameter" | "typed_default_parameter");
        match child.kind() {
            "keyword_separator" => {
                if keyword_only {
                    return true;
                }
                (keyword_only, bare) = (true, true);
                continue;
            }
            "positional_separator" => {
                if first || keyword_only {
                    return true;
                }
                continue;
            }
            _ => {}
        }
        first = false;
        match parameter_name(child).1 {
            1 if keyword_only => return true,
            1 => keyword_only = true,
            2 if bare => return true,
            2 => {}
            _ => {
                if default && !has_default && !keyword_only {
                    return true;
                }
                default |= has_default;
                bare = false;
            }
        }
    }
    bare
}

/// Two parameters of one name.
fn has_equal_parameters(node: Node, source: &str) -> bool {
    let mut names: Vec<&str> = Vec::new();
    for child in children(node).into_iter().filter(Node::is_named) {
        let name = parameter_name(child).0.and_then(|name| source.get(name.byte_range()));
        if name.is_some_and(|name| names.contains(&name)) {
            return true;
        }
        names.extend(name);
    }
    false
}

/// The first identifier in a parameter, and the number of stars before it.
fn parameter_name(mut node: Node) -> (Option<Node>, usize) {
    let mut stars = 0;
    for _ in 0..4 {
        match node.kind() {
            "identifier" => return (Some(node), stars),
            "list_splat_pattern" => stars = 1,
            "dictionary_splat_pattern" => stars = 2,
            _ => {}
        }
        match node.named_child(0) {
            Some(child) => node = child,
            None => break,
        }
    }
    (None, stars)
}

/// `del f()`, `with a as f()`: the beginning of `del f()[0]` is no statement.
fn has_call_target(node: Node) -> bool {
    children(node).iter().any(|child| {
        child.kind() == "call"
            || child.kind() == "expression_list" && children(*child).iter().any(|item| item.kind() == "call")
    })
}

/// `*x` where no list of values may stand: alone on a line, after `=`, in parentheses.
fn has_lone_star(node: Node) -> bool {
    let children = children(node);
    children.iter().any(|child| child.kind() == "list_splat")
        && !children.iter().any(|child| child.kind() == ",")
}

fn imports_features(node: Node, source: &str) -> bool {
    const FEATURES: [&str; 10] = [
        "nested_scopes",
        "generators",
        "division",
        "absolute_import",
        "with_statement",
        "print_function",
        "unicode_literals",
        "barry_as_FLUFL",
        "generator_stop",
        "annotations",
    ];
    let mut cursor = node.walk();
    node.children_by_field_name("name", &mut cursor).all(|name| {
        let text = source.get(name.byte_range()).unwrap_or("");
        FEATURES.contains(&text.split_whitespace().next().unwrap_or(""))
    })
}
