//! The description of the API as a judge: what goes to the built binary and what comes back is held against it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::OnceLock;

use boon::{Compiler, Draft, Schemas};
use serde_json::Value;
use sessionctl::wire::openapi::describe;

/// Where the validator finds the document.
const PLACE: &str = "http://described.invalid/openapi.json";

/// Methods that a path item of OpenAPI can have.
pub(crate) const METHODS: [&str; 7] = ["GET", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE"];

pub(crate) fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| serde_json::to_value(describe()).unwrap())
}

/// An operation of the document.
#[derive(Clone, Copy)]
pub(crate) struct Operation {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) described: &'static Value,
}

impl Operation {
    pub(crate) fn name(&self) -> &'static str {
        self.described["operationId"].as_str().unwrap()
    }

    /// Whether it is on the admin listener, or on both.
    pub(crate) fn is_of_admin(&self) -> bool {
        self.path.starts_with("/v1/") || self.path.ends_with("z")
    }

    /// Whether it is on the web listener, or on both.
    pub(crate) fn is_of_web(&self) -> bool {
        !self.path.starts_with("/v1/")
    }

    /// Whether it has a body.
    pub(crate) fn takes_body(&self) -> bool {
        self.described.get("requestBody").is_some()
    }

    /// Whether it has parameters in the query.
    pub(crate) fn takes_query(&self) -> bool {
        let parameters = self.described["parameters"].as_array();
        let is_of_query = |parameter: &Value| parameter["in"] == "query";
        parameters.is_some_and(|parameters| parameters.iter().any(is_of_query))
    }

    /// A pointer to a part of it.
    fn pointer(&self, rest: &[&str]) -> Vec<String> {
        let method = self.method.to_lowercase();
        let own = ["paths", self.path, &method];
        own.iter()
            .chain(rest)
            .map(|part| (*part).to_owned())
            .collect()
    }
}

pub(crate) fn operations() -> Vec<Operation> {
    let mut operations = Vec::new();
    for (path, item) in document()["paths"].as_object().unwrap() {
        for method in METHODS {
            if let Some(described) = item.get(method.to_lowercase()) {
                operations.push(Operation {
                    method,
                    path,
                    described,
                });
            }
        }
    }
    operations
}

/// The path of an operation with something in place of each of its parts.
pub(crate) fn filled(path: &str) -> String {
    path.replace("{id}", "5f0c6a52-93c1-4d55-8a3b-0c2f9f5d7e11")
        .replace("{process}", "1")
        .replace(['{', '}'], "")
}

/// The operation that a request is at; one asked for with HEAD is that of GET.
fn operation_at(method: &str, path: &str) -> Option<Operation> {
    let method = if method == "HEAD" { "GET" } else { method };
    let is_at = |described: &str| {
        let is_same = |(part, segment): (&str, &str)| part == segment || part.starts_with('{');
        described.split('/').count() == path.split('/').count()
            && described.split('/').zip(path.split('/')).all(is_same)
    };
    let mut operations = operations().into_iter();
    operations.find(|operation| operation.method == method && is_at(operation.path))
}

/// A part of the document with what it refers to in its place.
fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(reference) => document().pointer(&reference[1..]).unwrap(),
        None => value,
    }
}

/// Where a part of the document is, as a place in a URL.
fn place(parts: &[String]) -> String {
    let mut place = format!("{PLACE}#");
    for part in parts {
        place.push('/');
        for byte in part.replace('~', "~0").replace('/', "~1").bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'~' | b'.' | b'-' | b'_' => {
                    place.push(char::from(byte));
                }
                byte => place += &format!("%{byte:02X}"),
            }
        }
    }
    place
}

/// Whether a value is what the schema at this place allows.
fn validate(parts: &[String], value: &Value) -> Result<(), String> {
    thread_local! {
        static VALIDATOR: RefCell<(Compiler, Schemas)> = {
            let mut compiler = Compiler::new();
            compiler.set_default_draft(Draft::V2020_12);
            compiler.enable_format_assertions();
            compiler.add_resource(PLACE, document().clone()).unwrap();
            RefCell::new((compiler, Schemas::new()))
        };
    }
    VALIDATOR.with_borrow_mut(|(compiler, schemas)| {
        let place = place(parts);
        let schema = compiler
            .compile(&place, schemas)
            .unwrap_or_else(|error| panic!("{place}: {error:#}"));
        let valid = schemas.validate(value, schema);
        valid.map_err(|error| error.to_string())
    })
}

/// Whether a body is what the document allows for an operation.
pub(crate) fn takes(operation: &Operation, body: &Value) -> Result<(), String> {
    let schema = ["requestBody", "content", "application/json", "schema"];
    validate(&operation.pointer(&schema), body)
}

/// A request that was answered.
pub(crate) struct Exchange<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) sent: &'a str,
    pub(crate) status: u16,
    /// The head of the answer in small letters.
    pub(crate) head: &'a str,
    pub(crate) body: &'a str,
}

/// Holds a request and its answer against the document; what is at no operation of this listener is left alone.
pub(crate) fn check(exchange: &Exchange<'_>, is_of_admin: bool) {
    let (path, query) = exchange.path.split_once('?').unwrap_or((exchange.path, ""));
    let is_here = |operation: &Operation| match is_of_admin {
        true => operation.is_of_admin(),
        false => operation.is_of_web(),
    };
    let Some(operation) = operation_at(exchange.method, path).filter(is_here) else {
        return;
    };
    let found = check_answer(&operation, exchange).and_then(|()| match exchange.status {
        200..300 => check_request(&operation, query, exchange.sent),
        _ => Ok(()),
    });
    if let Err(error) = found {
        let Exchange {
            method,
            path,
            status,
            body,
            ..
        } = exchange;
        panic!("{method} {path} is not as described: {status} {body}: {error}");
    }
}

/// What was accepted is what the document allows.
fn check_request(operation: &Operation, query: &str, sent: &str) -> Result<(), String> {
    let parameters = operation.described["parameters"].as_array();
    let names: BTreeSet<_> = parameters
        .into_iter()
        .flatten()
        .map(|parameter| parameter["name"].as_str().unwrap())
        .collect();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let name = pair.split('=').next().unwrap_or_default();
        // A proxy passes its client's query on.
        if operation.path != "/check" && !names.contains(name) {
            return Err(format!("no parameter {name}"));
        }
    }
    match (operation.described.get("requestBody"), sent) {
        (None, _) => Ok(()),
        (Some(_), "") => Err("no body was sent".into()),
        (Some(_), sent) => {
            // Digits that no number of this program keeps are still JSON.
            let sent = serde_json::from_str(sent).map_err(|error| error.to_string())?;
            takes(operation, &sent)
        }
    }
}

fn check_answer(operation: &Operation, exchange: &Exchange<'_>) -> Result<(), String> {
    let status = exchange.status.to_string();
    let response = operation.described["responses"]
        .get(&status)
        .ok_or("this status is not listed")?;
    let mut pointer = operation.pointer(&["responses", &status]);
    if let Some(reference) = response["$ref"].as_str() {
        pointer = reference.split('/').skip(1).map(Into::into).collect();
    }
    let response = resolved(response);
    let header = |name: &str| {
        let name = format!("{}: ", name.to_lowercase());
        exchange
            .head
            .lines()
            .find_map(|line| line.strip_prefix(&name))
    };
    for name in document()["components"]["headers"]
        .as_object()
        .unwrap()
        .keys()
    {
        if header(name).is_some() && response["headers"].get(name).is_none() {
            return Err(format!("the header {name} is not listed"));
        }
    }
    let content = response.get("content").and_then(Value::as_object);
    let Some((media_type, _)) = content.and_then(|content| content.iter().next()) else {
        return match exchange.body {
            "" => Ok(()),
            _ => Err("no body is listed".into()),
        };
    };
    let has_none =
        exchange.method == "HEAD" || (operation.path, status.as_str()) == ("/logout", "401");
    if exchange.body.is_empty() && has_none {
        return Ok(());
    }
    if header("content-type") != Some(media_type) {
        return Err(format!("it is not {media_type}"));
    }
    pointer.extend(["content", media_type, "schema"].map(Into::into));
    let body = serde_json::from_str(exchange.body).map_err(|error| error.to_string())?;
    validate(&pointer, &body)
}
