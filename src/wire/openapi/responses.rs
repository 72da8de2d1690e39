//! What comes back: answers, and refusals by their status.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::operations::Answer;
use super::schemas::{Schemas, of};
use super::web::SET_COOKIE;
use crate::wire::{IgnoredBody, JSON, PROBLEM_JSON, Problem, ProblemType};

const RETRY_AFTER: &str = "Retry-After";
const CHALLENGE: &str = "WWW-Authenticate";

/// The status of a refusal that a proxy can pass on: nginx makes a 500 of a 400.
const TO_PROXY: u16 = 403;

/// The refusals of a document that several operations share.
#[derive(Default)]
pub(super) struct Responses {
    pub(super) named: Map<String, Value>,
}

impl Responses {
    /// The responses of an operation. Those of `to_proxy` come with a status of their own as well.
    pub(super) fn of(
        &mut self,
        schemas: &mut Schemas,
        answers: &[Answer],
        problems: &[ProblemType],
        to_proxy: &[ProblemType],
    ) -> Value {
        let mut refused: BTreeMap<u16, Vec<ProblemType>> = BTreeMap::new();
        for kind in problems {
            refused.entry(kind.status()).or_default().push(*kind);
        }
        refused.entry(TO_PROXY).or_default().extend(to_proxy);
        let mut responses = Map::new();
        for (status, mut kinds) in refused {
            kinds.sort_unstable();
            kinds.dedup();
            if kinds.is_empty() {
                continue;
            }
            let name = self.named(schemas, status, &kinds);
            let reference = json!({"$ref": format!("#/components/responses/{name}")});
            responses.insert(status.to_string(), reference);
        }
        for answer in answers {
            let status = answer.status.to_string();
            let mut response = written(schemas, answer);
            // A refusal that has no body, beside one that has.
            if responses.contains_key(&status) {
                let kinds: Vec<_> = problems
                    .iter()
                    .copied()
                    .filter(|kind| kind.status() == answer.status)
                    .collect();
                let refusal = refusal(schemas, answer.status, &kinds);
                let says = format!(
                    "{}\n\n{}",
                    answer.says,
                    refusal["description"].as_str().unwrap_or_default()
                );
                response.insert("description".into(), json!(says));
                response.insert("content".into(), refusal["content"].clone());
            }
            responses.insert(status, response.into());
        }
        responses.into()
    }

    /// The name of a refusal that is described once.
    fn named(&mut self, schemas: &mut Schemas, status: u16, kinds: &[ProblemType]) -> String {
        let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
        let mut name = names.join(".");
        if kinds.iter().any(|kind| kind.status() != status) {
            name += &format!(".{status}");
        }
        if !self.named.contains_key(&name) {
            let refusal = refusal(schemas, status, kinds);
            self.named.insert(name.clone(), refusal);
        }
        name
    }
}

/// An answer that is no refusal.
fn written(schemas: &mut Schemas, answer: &Answer) -> Map<String, Value> {
    let mut response = Map::new();
    response.insert("description".into(), json!(answer.says));
    if let Some(body) = answer.body {
        let content = json!({ JSON: { "schema": schemas.written(body) } });
        response.insert("content".into(), content);
    }
    if !answer.headers.is_empty() {
        response.insert("headers".into(), references(answer.headers));
    }
    response
}

/// A refusal for one of some reasons.
fn refusal(schemas: &mut Schemas, status: u16, kinds: &[ProblemType]) -> Value {
    let says = |kind: &ProblemType| format!("- `{}`: {}", kind.name(), kind.meaning());
    let says: Vec<_> = kinds.iter().map(says).collect();
    let of_all = match kinds {
        // It has what the outcome has.
        [ProblemType::Ignored] => schemas.written(of::<IgnoredBody<'static>>),
        _ => schemas.written(of::<Problem>),
    };
    let uris: Vec<_> = kinds.iter().map(|kind| kind.uri()).collect();
    let schema = json!({
        "allOf": [
            of_all,
            { "properties": { "type": { "enum": uris }, "status": { "const": status } } },
        ],
    });
    let mut response = json!({
        "description": says.join("\n"),
        "content": { PROBLEM_JSON: { "schema": schema } },
    });
    let waits = [
        ProblemType::TooManyOpens,
        ProblemType::TooManyAttempts,
        ProblemType::LimitReached,
        ProblemType::Busy,
    ];
    let challenges = [ProblemType::Unauthenticated, ProblemType::Forbidden];
    let header = if kinds.iter().any(|kind| waits.contains(kind)) {
        RETRY_AFTER
    } else if kinds.iter().any(|kind| challenges.contains(kind)) {
        CHALLENGE
    } else {
        return response;
    };
    response["headers"] = references(&[header]);
    response
}

fn references(headers: &[&str]) -> Value {
    let reference = |name: &&str| {
        let reference = json!({"$ref": format!("#/components/headers/{name}")});
        ((*name).to_owned(), reference)
    };
    Value::Object(headers.iter().map(reference).collect())
}

/// The headers that answers have.
pub(super) fn headers() -> Value {
    let headers = [
        (
            SET_COOKIE,
            "The session cookie, new or renewed, or deleted (`Max-Age=0`). A secret.",
        ),
        (
            "X-Session-Id",
            "The UUID of the session, for a proxy that asks.",
        ),
        (
            "X-Session-User",
            "Who is signed in, for a proxy that asks; absent for a guest. UTF-8.",
        ),
        ("Remote-User", "The same as `X-Session-User`."),
        (
            RETRY_AFTER,
            "Seconds after which to try again, where trying again helps.",
        ),
        (
            CHALLENGE,
            "On the admin listener (RFC 6750): `Bearer` alone where a token is missing; with `error=\"invalid_token\"` where it is \
                unknown, revoked or expired, and with `error=\"insufficient_scope\"` where a role is not enough. Absent where no \
                token would help: a 403 to a user of the machine without a role, or to a page of another site.",
        ),
    ];
    let header = |(name, description): (&str, &str)| {
        let header = json!({"description": description, "schema": {"type": "string"}});
        (name.to_owned(), header)
    };
    Value::Object(headers.map(header).into_iter().collect())
}
