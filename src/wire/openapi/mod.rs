//! The API described (OpenAPI 3.1): made from the table of routes, the bodies, and the table of problem types.

mod operations;
mod responses;
mod schemas;
mod web;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use self::operations::{DETAILS, Details, TAGS};
use self::responses::Responses;
use self::schemas::{Schemas, Shape, of};
use self::web::{Cookie, OPEN, Open};
use super::{JSON, Problem, ProblemType, ROUTES, Route};
use crate::access::Role;
use crate::access::TokenName;
use crate::context::Name;
use crate::session::{ProcessNumber, SessionId};

/// The description of the API.
#[derive(Debug, Serialize)]
pub struct OpenApi {
    openapi: &'static str,
    info: Value,
    servers: Value,
    tags: Value,
    paths: BTreeMap<&'static str, Map<String, Value>>,
    components: Value,
}

/// What every operation of the admin API may be refused for.
const OF_ADMIN: [ProblemType; 9] = [
    ProblemType::Invalid,
    ProblemType::Unauthenticated,
    ProblemType::Forbidden,
    ProblemType::TooManyAttempts,
    ProblemType::TooSlow,
    ProblemType::TooLarge,
    ProblemType::Misdirected,
    ProblemType::Internal,
    ProblemType::Unavailable,
];

/// What everything that changes something may be refused for besides.
const OF_CHANGES: [ProblemType; 2] = [ProblemType::Busy, ProblemType::Unconfirmed];

const INTRODUCTION: &str = "\
Who is on the web server, and ending that one: the admin API of a session server, the routes for the application whose sessions \
they are, and those for web clients.

There are two listeners. The **web** one has `/session`, `/check` and `/logout`; the **admin** one has everything under `/v1`. Both \
have `/healthz` and `/readyz`. `x-roles` says which roles may ask for an operation; whoever has another one is answered 403.

The admin listener is a unix socket or an address. On the socket its owner and root are let in as `admin`, and the users of the \
groups that the server's configuration gives a role (`[group_roles]`) in that role, all without a token; everybody else is \
answered 403. On an address everybody needs a token, which says the role. An address beyond loopback is served over TLS alone \
(`https`). Whoever presents a token, on the socket too, is let in by that token or not at all: 401 if it is unknown, revoked or \
expired, and 429 for whoever presents too many of those.

Requests with unknown fields are refused. Answers may gain fields, and a refusal may have a type that is not listed here. What is \
refused is a problem (RFC 9457); `sessionctl-errors(7)` tells what to try. Besides what the operations list: a path that is not here \
is answered 404 (`unknown-route`), a method that a path does not have 405 (`method`) with `Allow`. `HEAD` is answered as `GET` is, \
without the body. No answer is for a cache.";

/// Describes the API of this version.
pub fn describe() -> OpenApi {
    let mut making = Making {
        schemas: Schemas::new(),
        responses: Responses::default(),
    };
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for (route, details) in described() {
        let item = paths
            .entry(route.path)
            .or_insert_with(|| making.item(route.path, &ADMIN_SERVERS));
        item.insert(route.method.to_lowercase(), making.admin(route, details));
    }
    for open in &OPEN {
        let servers: &[usize] = match open.cookie {
            Cookie::Never => &BOTH_SERVERS,
            Cookie::Perhaps | Cookie::Always => &WEB_SERVERS,
        };
        let mut item = making.item(open.path, servers);
        for (method, name) in open.methods {
            item.insert(method.to_lowercase(), making.open(open, name));
        }
        paths.insert(open.path, item);
    }
    let tag =
        |(name, description): &(&str, &str)| json!({"name": name, "description": description});
    OpenApi {
        openapi: "3.1.0",
        info: json!({
            "title": "sessionctl",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "The APIs of a session server.",
            "description": INTRODUCTION,
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        }),
        servers: servers(&BOTH_SERVERS),
        tags: TAGS.iter().map(tag).collect(),
        paths,
        components: making.components(),
    }
}

/// The routes that have their details.
fn described() -> impl Iterator<Item = (&'static Route, &'static Details)> {
    ROUTES.iter().filter_map(|route| {
        let mut all = DETAILS.iter();
        let details = all.find(|details| details.operation == route.operation)?;
        Some((route, details))
    })
}

const ADMIN_SERVERS: [usize; 1] = [0];
const WEB_SERVERS: [usize; 1] = [1];
const BOTH_SERVERS: [usize; 2] = [0, 1];

fn servers(which: &[usize]) -> Value {
    let all = [
        json!({
            "url": "http://localhost",
            "description": "The admin listener: over its unix socket, or with the port of its loopback address. With a \
                certificate it is `https`, and the only way beyond loopback, under a name that the certificate is for.",
        }),
        json!({
            "url": "http://127.0.0.1:8080",
            "description": "The web listener, at its default address; behind a proxy under the site's own name.",
        }),
    ];
    which.iter().map(|index| all[*index].clone()).collect()
}

/// A document in the making.
struct Making {
    schemas: Schemas,
    responses: Responses,
}

impl Making {
    /// A path without its operations.
    fn item(&mut self, path: &str, which: &[usize]) -> Map<String, Value> {
        let parts = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let parameters: Vec<_> = parts.map(|name| self.path_parameter(name)).collect();
        let mut item = Map::new();
        item.insert("servers".into(), servers(which));
        if !parameters.is_empty() {
            item.insert("parameters".into(), parameters.into());
        }
        item
    }

    fn path_parameter(&mut self, name: &str) -> Value {
        let (shape, description): (Shape, &str) = match name {
            "id" => (
                of::<SessionId>,
                "The session's UUID. The other spellings (32 digits, `urn:uuid:`, braces, any case) are read as well.",
            ),
            "process" => (of::<ProcessNumber>, "The number of the process."),
            "token" => (
                of::<TokenName>,
                "The name of the admin token, never its secret.",
            ),
            "table" => (
                of::<Name>,
                "The table. No control characters, not `.` or `..`; a slash is escaped.",
            ),
            "record" => (
                of::<Name>,
                "The record of the table; the same holds as for a table.",
            ),
            _ => (
                of::<Name>,
                "The name. No control characters, not `.` or `..`; a slash is escaped.",
            ),
        };
        json!({
            "name": name,
            "in": "path",
            "required": true,
            "description": description,
            "schema": self.schemas.read(shape),
        })
    }

    fn admin(&mut self, route: &Route, details: &Details) -> Value {
        let mut problems = OF_ADMIN.to_vec();
        problems.extend(details.problems);
        if details.body.is_some() {
            problems.push(ProblemType::MediaType);
        }
        if route.method != "GET" {
            problems.extend(OF_CHANGES);
        }
        let mut operation = self.operation(route.operation, route.summary, details);
        let roles = Role::ALL.iter().filter(|role| route.is_for(**role));
        operation.insert("x-roles".into(), roles.map(|role| role.as_str()).collect());
        operation.insert("security".into(), json!([{"token": []}]));
        let responses = self
            .responses
            .of(&mut self.schemas, details.answers, &problems, &[]);
        operation.insert("responses".into(), responses);
        operation.into()
    }

    fn open(&mut self, open: &Open, name: &str) -> Value {
        let details = &open.details;
        let mut operation = self.operation(name, open.summary, details);
        let security = match open.cookie {
            Cookie::Never => json!([]),
            Cookie::Perhaps => json!([{}, {"cookie": []}]),
            Cookie::Always => json!([{"cookie": []}]),
        };
        operation.insert("security".into(), security);
        let responses = self.responses.of(
            &mut self.schemas,
            details.answers,
            details.problems,
            open.to_proxy,
        );
        operation.insert("responses".into(), responses);
        operation.into()
    }

    /// What the operations of all listeners have.
    fn operation(&mut self, name: &str, summary: &str, details: &Details) -> Map<String, Value> {
        let mut operation = Map::new();
        let mut insert = |key: &str, value: Value| drop(operation.insert(key.into(), value));
        insert("operationId", json!(name));
        insert("summary", json!(summary));
        insert("tags", json!([details.tag]));
        if !details.description.is_empty() {
            insert("description", json!(details.description));
        }
        if let Some(query) = details.query {
            insert("parameters", parameters(&self.schemas.read(query)));
        }
        if let Some(body) = details.body {
            let body = json!({
                "required": true,
                "content": { JSON: { "schema": self.schemas.read(body) } },
            });
            insert("requestBody", body);
        }
        operation
    }

    fn components(mut self) -> Value {
        self.schemas.written(of::<Problem>);
        let [mut schemas, written] = self.schemas.definitions();
        schemas.extend(written);
        json!({
            "schemas": schemas,
            "responses": self.responses.named,
            "headers": responses::headers(),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An admin token: one of `createToken`, or one that the server reads from a file (the \
                        operators', the application's). On the admin socket its owner, root, and users of groups that have a \
                        role need none.",
                },
                "cookie": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "__Host-4DSID",
                    "description": "The session cookie. Its name follows the options `cookie_name`, `cookie_secure`, \
                        `cookie_domain` and `cookie_path`.",
                },
            },
        })
    }
}

/// The fields of a query as parameters.
fn parameters(query: &Value) -> Value {
    let required = query["required"].as_array();
    let is_required = |name: &str| required.is_some_and(|names| names.contains(&json!(name)));
    let properties = query["properties"].as_object().into_iter().flatten();
    let parameter = |(name, schema): (&String, &Value)| {
        let mut schema = schema.clone();
        let description = schema
            .as_object_mut()
            .and_then(|schema| schema.remove("description"));
        json!({
            "name": name,
            "in": "query",
            "required": is_required(name),
            "description": description,
            "schema": without_null(schema),
        })
    };
    properties.map(parameter).collect()
}

/// A schema of a query's field: what is absent there is null in Rust.
fn without_null(mut schema: Value) -> Value {
    let Some(object) = schema.as_object_mut() else {
        return schema;
    };
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [kind] = &types[..] {
            let kind = kind.clone();
            object.insert("type".into(), kind);
        }
    }
    if object.get("default") == Some(&Value::Null) {
        object.remove("default");
    }
    if let Some(Value::Array(variants)) = object.get_mut("anyOf") {
        variants.retain(|variant| variant["type"] != "null");
        if let [variant] = &variants[..] {
            return variant.clone();
        }
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read and what is written under one name is one thing.
    #[test]
    fn a_schema_has_one_meaning() {
        let mut schemas = Schemas::new();
        for details in DETAILS.iter().chain(OPEN.iter().map(|open| &open.details)) {
            for shape in details.query.iter().chain(&details.body) {
                schemas.read(*shape);
            }
            for answer in details.answers {
                answer.body.map(|shape| schemas.written(shape));
            }
        }
        let [read, written] = schemas.definitions();
        assert!(read.len() > 5 && written.len() > 20);
        for (name, schema) in read {
            if let Some(written) = written.get(&name) {
                assert_eq!(schema, *written, "{name}");
            }
        }
    }

    #[test]
    fn details_are_of_routes() {
        let described: Vec<_> = described().map(|(route, _)| route.operation).collect();
        let details: Vec<_> = DETAILS.iter().map(|details| details.operation).collect();
        assert_eq!(described, details, "each once, in the order of the table");
    }

    /// Nothing of the source shows: no link of a documentation, no name of a constant, no type of Rust.
    #[test]
    fn texts_are_for_everybody() {
        let text = serde_json::to_string(&describe()).unwrap();
        for foreign in [
            "[`", "`None`", "`Some", "_LIMIT", "LONGEST", "SCHEMA", "::", "\"uint\"",
        ] {
            let at = text
                .find(foreign)
                .map(|at| &text[at.saturating_sub(80)..][..120]);
            assert_eq!(at, None, "{foreign}");
        }
        assert!(text.len() > 50_000, "it is the whole of it");
    }
}
